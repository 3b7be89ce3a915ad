//! `socket_text_stream` against a server that does what a script says.

use std::io::Write;
use std::net::TcpListener;

use brooklet::ContextState;
use brooklet::prelude::*;
use brooklet::source::SocketOptions;
use brooklet::time::{Clock, ManualClock};
use brooklet_testkit::{Collector, TestTcpServer};

use crate::support::{Heard, Notes, collect, counter, multiset, until};

const TEXT: &str = "the quick brook\nθάλασσα και ποτάμι\n河流 流向 大海\n\nπ ≈ 3.14159\n🦀 walks sideways\n\
                    a line with e\u{301} composed\nالنهر\nпоследняя строка\n";

/// A stream of the lines that a server sends, with batches of 20 ms, not started.
fn lines_of(port: u16, conf: impl FnOnce(Conf) -> Conf) -> (StreamingContext, Collector<String>) {
    let conf = conf(Conf::new("socket").master("local[2]"));
    let ssc = StreamingContext::new(conf, millis(20)).unwrap();
    let seen = Collector::new();
    collect(&ssc.socket_text_stream("127.0.0.1", port).map(|l| l.to_string()).boxed(), &seen);
    (ssc, seen)
}

fn count(ssc: &StreamingContext, name: &str) -> u64 {
    counter(ssc, &format!("socket_text_stream-0.{name}"))
}

/// The lines of a text that is cut at `cuts` into what one connection each sends, and the half lines.
fn lines_of_pieces(text: &[u8], cuts: &[usize]) -> (Vec<String>, u64) {
    let (mut lines, mut halves, mut from) = (Vec::new(), 0, 0);
    for to in cuts.iter().copied().chain([text.len()]) {
        let piece = &text[from..to];
        halves += u64::from(!piece.is_empty() && !piece.ends_with(b"\n"));
        let whole = piece.strip_suffix(b"\n").unwrap_or(piece);
        if !piece.is_empty() {
            let line = |l: &[u8]| String::from_utf8_lossy(l).into_owned();
            lines.extend(whole.split(|b| *b == b'\n').map(line));
        }
        from = to;
    }
    (lines, halves)
}

#[test]
fn disconnects_anywhere_lose_and_double_nothing() {
    // Offsets from a generator with a fixed seed; inside of lines and of characters.
    let mut seed = 7_u64;
    let mut next = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for round in 0..3 {
        let text = TEXT.repeat(40);
        let mut cuts: Vec<usize> = (0..6).map(|_| next(text.len())).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut script = TestTcpServer::script().send(&text).in_pieces([1, 700, 13]);
        for at in &cuts {
            script = script.disconnect_at(*at);
        }
        let server = script.start().unwrap();
        let (want, halves) = lines_of_pieces(text.as_bytes(), &cuts);
        let (ssc, seen) = lines_of(server.port(), |c| c);
        ssc.start().unwrap();
        seen.wait_until(|_, n| n >= want.len());
        ssc.stop(true).unwrap();
        let lost = "every line is there once";
        assert_eq!(seen.multiset(), multiset(want), "round {round}, cuts {cuts:?}: {lost}");
        assert_eq!(count(&ssc, "half_lines"), halves, "cuts {cuts:?}");
        assert_eq!(count(&ssc, "reconnects"), cuts.len() as u64, "cuts {cuts:?}");
        assert_eq!(server.total_sent(), text.len() as u64);
    }
}

#[test]
fn text_of_all_scripts_survives_cuts_at_every_byte() {
    let server = TestTcpServer::script().send(TEXT).in_pieces([1]).start().unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c);
    ssc.start().unwrap();
    let want: Vec<&str> = TEXT.lines().collect();
    seen.wait_until(|_, n| n >= want.len());
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), want);
    assert_eq!((count(&ssc, "invalid_utf8"), count(&ssc, "half_lines")), (0, 0));
}

#[test]
fn invalid_utf8_is_replaced_and_counted() {
    let server = TestTcpServer::serving(b"good\nb\xffd\n\xe6\xb2\n\xe6\xb2\xb3\n").unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 4);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["good", "b\u{fffd}d", "\u{fffd}", "河"]);
    assert_eq!(count(&ssc, "invalid_utf8"), 2);
}

#[test]
fn long_lines_are_cut_at_the_limit_and_counted() {
    let long = "x".repeat(40);
    let server = TestTcpServer::serving(format!("short\n{long}\nend\n")).unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c.max_line_bytes(16));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 5);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["short", &long[..16], &long[..16], &long[..8], "end"]);
    assert_eq!(count(&ssc, "long_lines"), 1);
}

#[test]
fn refused_connection_is_reported_and_made_when_the_server_comes() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (ssc, seen) = lines_of(port, |c| c);
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    assert!(e.last_error.contains(&format!("127.0.0.1:{port}")), "{e:?}");
    assert!(e.active, "it goes on: {e:?}");
    until("a second attempt", || count(&ssc, "connect_failures") >= 2);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (mut client, _) = listener.accept().unwrap();
    client.write_all(b"late\nbut here\n").unwrap();
    seen.wait_until(|_, n| n >= 2);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["late", "but here"]);
    assert_eq!(count(&ssc, "errors"), 1, "a series of failures is reported once");
}

#[test]
fn stream_goes_on_when_the_server_ends() {
    let server = TestTcpServer::script().send("one\ntwo").hang_up().start().unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    drop(server);
    let batches = seen.times().len();
    seen.wait_until(|b, _| b >= batches + 3);
    assert_eq!(ssc.state(), ContextState::Active);
    assert!(!ssc.await_termination_or_timeout(millis(0)).unwrap());
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["one", "two"]);
}

#[test]
fn graceful_stop_processes_everything_received() {
    let text: String = (0..2_000_000).map(|i| format!("line {i}\n")).collect();
    let server = TestTcpServer::serving(&text).unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n > 0);
    ssc.stop(true).unwrap();
    let items = seen.items();
    assert_eq!(items.len() as u64, count(&ssc, "records"), "all that was stored is processed");
    let half = count(&ssc, "half_lines") as usize;
    let whole = items.len() - half;
    assert!(text.lines().take(whole).eq(items[..whole].iter().map(String::as_str)));
    if half == 1 {
        let rest = text.lines().nth(whole).unwrap();
        assert!(rest.starts_with(&items[whole]), "{rest} {}", items[whole]);
    }
}

#[test]
fn stop_ends_a_read_that_waits() {
    let server = TestTcpServer::serving("only\n").unwrap();
    let (ssc, seen) = lines_of(server.port(), |c| c);
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n == 1);
    ssc.stop(true).unwrap(); // the server is silent for ever: without its end this would time out
    notes.wait("stopped receiver", |e| matches!(e, Heard::ReceiverStopped(_)).then_some(()));
    server.send("nobody reads this\n");
    assert_eq!(seen.items(), ["only"]);
}

#[test]
fn stop_ends_the_pause_between_two_connections() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let clock = ManualClock::new(Time::ZERO);
    let (ssc, _) = lines_of(port, |c| c.clock(clock.clone()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    notes.receiver_error();
    ssc.stop(true).unwrap();
    assert_eq!(
        clock.now().time(),
        Time::ZERO,
        "the pause can't have passed: its clock stood still"
    );
}

#[test]
fn two_sockets_are_two_streams() {
    let (a, b) =
        (TestTcpServer::serving("a\n").unwrap(), TestTcpServer::serving("b\nb\n").unwrap());
    let conf = Conf::new("socket").master("local[2]");
    let ssc = StreamingContext::new(conf, millis(20)).unwrap();
    let lines = |s: &TestTcpServer| ssc.socket_text_stream("127.0.0.1", s.port());
    let both = ssc.union([lines(&a), lines(&b)]).unwrap();
    let seen = Collector::new();
    collect(&both.map(|l| l.to_string()).boxed(), &seen);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 3);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(["a", "b", "b"].map(String::from)));
    assert_eq!(counter(&ssc, "socket_text_stream-1.records"), 2);
}

#[test]
fn storage_level_of_a_socket_is_the_users() {
    let server = TestTcpServer::serving("kept\non disk\n").unwrap();
    let ssc = StreamingContext::new(Conf::new("socket").master("local[2]"), millis(20)).unwrap();
    let level = StorageLevel::DISK_ONLY;
    let seen = Collector::new();
    let lines = ssc.socket_text_stream_at("127.0.0.1", server.port(), level);
    collect(&lines.map(|l| l.to_string()).boxed(), &seen);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["kept", "on disk"]);
}

#[test]
fn text_of_another_character_set_is_read_cut_anywhere() {
    // "千里" in GBK, a malformed byte, and a character that the cuts part.
    let bytes = b"\xc7\xa7\xc0\xef one\n\xff two\n\xc0\xef\n";
    let script = TestTcpServer::script().send(bytes).in_pieces([1, 2, 3]);
    let server = script.start().unwrap();
    let ssc = StreamingContext::new(Conf::new("socket").master("local[2]"), millis(20)).unwrap();
    let options = SocketOptions::new("127.0.0.1", server.port()).charset("gbk");
    let seen = Collector::new();
    collect(&ssc.socket_text_stream_with(options).map(|l| l.to_string()).boxed(), &seen);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 3);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["千里 one", "\u{fffd} two", "里"]);
    assert_eq!(count(&ssc, "invalid_utf8"), 1);

    let ssc = StreamingContext::new(Conf::new("socket"), millis(20)).unwrap();
    ssc.socket_text_stream_with(SocketOptions::new("127.0.0.1", 1).charset("gkb")).print();
    let e = ssc.start().unwrap_err().to_string();
    assert!(e.contains("`gkb` is no known character set"), "{e}");
}
