//! `udp_text_stream` and `udp_stream`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};

use brooklet::prelude::*;
use brooklet::source::UdpOptions;
use brooklet::time::ManualClock;
use brooklet::{DStream, Wire};
use brooklet_testkit::{Collector, TestEngine};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Notes, both_engines, collect, counter, multiset, until};

/// A socket at a free port.
fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn send(to: SocketAddr, datagram: impl AsRef<[u8]>) {
    socket().0.send_to(datagram.as_ref(), to).unwrap();
}

fn stream_of<T: Wire>(
    make: impl FnOnce(&StreamingContext) -> DStream<T>,
) -> (StreamingContext, Collector<T>) {
    let ssc = StreamingContext::new(Conf::new("udp").master("local[2]"), millis(20)).unwrap();
    let seen = Collector::new();
    collect(&make(&ssc), &seen);
    (ssc, seen)
}

fn text_of(options: UdpOptions) -> (StreamingContext, Collector<String>) {
    stream_of(|ssc| ssc.udp_text_stream_with(options).map(|l| l.to_string()).boxed())
}

fn count(ssc: &StreamingContext, name: &str) -> u64 {
    counter(ssc, &format!("udp_text_stream-0.{name}"))
}

/// A graceful stop, for whose batches the clock has to move.
fn stop(ssc: &StreamingContext, clock: &ManualClock) {
    std::thread::scope(|s| {
        let stopping = s.spawn(|| ssc.stop(true).unwrap());
        until("the stop", || {
            clock.advance(seconds(1));
            stopping.is_finished()
        });
    });
}

#[test]
fn lines_of_datagrams_come_once_each_on_both_engines() {
    for engine in [TestEngine::Local, TestEngine::Loopback] {
        let (listening, addr) = socket();
        let options = UdpOptions::from_socket(listening);
        // They wait in the system's buffer until the stream begins.
        (0..50).for_each(|i| send(addr, format!("a {i}\nb {i}")));
        let seen = both_engines(engine, 100, move |ssc| {
            ssc.udp_text_stream_with(options.clone()).map(|l| l.to_string()).boxed()
        });
        let want = (0..50).flat_map(|i| [format!("a {i}"), format!("b {i}")]);
        assert_eq!(multiset(seen), multiset(want), "{engine:?}");
    }
}

#[test]
fn a_datagram_has_one_or_several_lines_and_ends_the_last() {
    let (listening, addr) = socket();
    let (ssc, seen) = text_of(UdpOptions::from_socket(listening));
    ssc.start().unwrap();
    for d in ["one", "two\n", "three\r\nfour", "", "\n", "fünf \u{1f980}"] {
        send(addr, d);
    }
    seen.wait_until(|_, n| n >= 6);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["one", "two", "three", "four", "", "fünf \u{1f980}"]);
    assert_eq!(count(&ssc, "datagrams"), 5, "an empty one has nothing");
    assert_eq!((count(&ssc, "half_lines"), count(&ssc, "invalid_utf8")), (0, 0));
}

#[test]
fn an_address_as_text_is_bound_at_the_start_and_free_after_the_stop() {
    let (probe, addr) = socket();
    drop(probe);
    let (ssc, seen) =
        stream_of(|ssc| ssc.udp_text_stream(&addr.to_string()).map(|l| l.to_string()).boxed());
    ssc.start().unwrap();
    send(addr, "here");
    seen.wait_until(|_, n| n >= 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["here"]);
    UdpSocket::bind(addr).unwrap();
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let (_taken, addr) = socket();
    let (ssc, _) =
        stream_of(|ssc| ssc.udp_text_stream(&addr.to_string()).map(|l| l.to_string()).boxed());
    let e = ssc.start().unwrap_err().to_string();
    assert!(e.contains(&format!("UDP address `{addr}`")) && e.contains("in use"), "{e}");
    assert_eq!(ssc.state(), brooklet::ContextState::Stopped);
    for bad in ["no port", "127.0.0.1:99999"] {
        let (ssc, _) = stream_of(|ssc| ssc.udp_text_stream(bad).map(|l| l.to_string()).boxed());
        let e = ssc.start().unwrap_err().to_string();
        assert!(e.contains(&format!("UDP address `{bad}`")), "{e}");
    }
}

#[test]
fn long_datagrams_are_cut_for_text_dropped_for_records_and_counted() {
    let (listening, addr) = socket();
    let (ssc, seen) = text_of(UdpOptions::from_socket(listening).max_datagram_bytes(10));
    ssc.start().unwrap();
    send(addr, "0123456789");
    send(addr, "0123456789a");
    send(addr, "x".repeat(60_000));
    seen.wait_until(|_, n| n >= 3);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["0123456789", "0123456789", "xxxxxxxxxx"]);
    assert_eq!(count(&ssc, "long_datagrams"), 2);

    let (listening, addr) = socket();
    let options = UdpOptions::from_socket(listening).max_datagram_bytes(3);
    let (ssc, seen) =
        stream_of(|ssc| ssc.udp_stream_with(options, |d| Ok::<_, BoxError>([d.len() as u32])));
    ssc.start().unwrap();
    for d in ["abcd", "abc", "abcde"] {
        send(addr, d);
    }
    until("all are there", || counter(&ssc, "udp_stream-0.datagrams") == 3);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), [3]);
    assert_eq!(counter(&ssc, "udp_stream-0.long_datagrams"), 2);
}

#[test]
fn a_converter_that_fails_or_panics_loses_only_its_datagram() {
    let (listening, addr) = socket();
    let options = UdpOptions::from_socket(listening);
    let (ssc, seen) = stream_of(|ssc| {
        ssc.udp_stream_with(options, |d| {
            let text = std::str::from_utf8(d)?;
            assert!(text != "panic", "told to");
            text.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>().map_err(BoxError::from)
        })
    });
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    for d in [&b"1,2"[..], b"3,x", b"panic", b"\xff", b"4"] {
        send(addr, d);
    }
    seen.wait_until(|_, n| n >= 3);
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), [1, 2, 4]);
    assert_eq!(counter(&ssc, "udp_stream-0.decode_errors"), 3);
    assert_eq!(counter(&ssc, "udp_stream-0.errors"), 2, "the first and the second are reported");
    assert!(e.last_error_message.contains("`udp_stream` ("), "{e:?}");
    assert!(
        e.last_error_message.contains("failed on a datagram of 3 bytes from 127.0.0.1:"),
        "{e:?}"
    );
    assert!(e.last_error.contains("invalid digit"), "{e:?}");
}

#[test]
fn stop_ends_a_read_that_waits_and_takes_what_has_arrived() {
    let (listening, addr) = socket();
    let clock = ManualClock::new(Time::ZERO);
    let conf = Conf::new("udp").master("local[2]").clock(clock.clone()).receiver_max_rate(1);
    let ssc = StreamingContext::new(conf, seconds(1)).unwrap();
    let seen = Collector::new();
    let options = UdpOptions::from_socket(listening);
    collect(&ssc.udp_text_stream_with(options).map(|l| l.to_string()).boxed(), &seen);
    // The clock stands still: the rate limit lets no second one through before the stop.
    ssc.start().unwrap();
    (0..30).for_each(|i| send(addr, format!("line {i}")));
    until("the first datagram", || count(&ssc, "datagrams") > 0);
    stop(&ssc, &clock);
    assert_eq!(seen.multiset(), multiset((0..30).map(|i| format!("line {i}"))));

    let (listening, _) = socket();
    let (ssc, seen) = text_of(UdpOptions::from_socket(listening));
    ssc.start().unwrap();
    ssc.stop(true).unwrap();
    assert!(seen.is_empty());
    assert_eq!(count(&ssc, "errors"), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn datagrams_that_the_system_drops_are_counted() {
    const SENT: u64 = 5_000;
    let (listening, addr) = socket();
    let clock = ManualClock::new(Time::ZERO);
    let conf = Conf::new("udp").master("local[2]").clock(clock.clone()).receiver_max_rate(1);
    let ssc = StreamingContext::new(conf, seconds(1)).unwrap();
    let seen = Collector::new();
    let options = UdpOptions::from_socket(listening).receive_buffer_bytes(20_000);
    collect(&ssc.udp_text_stream_with(options).map(|l| l.len() as u64).boxed(), &seen);
    ssc.start().unwrap();
    let from = socket().0;
    for _ in 0..SENT {
        from.send_to(&[b'x'; 500], addr).unwrap();
    }
    stop(&ssc, &clock);
    let (got, lost) = (count(&ssc, "datagrams"), count(&ssc, "lost_datagrams"));
    assert!(lost > SENT / 2, "{lost} lost");
    assert_eq!(got + lost, SENT, "each was taken or counted");
    assert_eq!(seen.len() as u64, got);
}

/// Any bytes in any datagrams: every line once, no panic, and the receiver never begins anew.
#[test]
fn garbage_in_datagrams_gives_its_lines() {
    let (listening, addr) = socket();
    let (ssc, seen) = text_of(UdpOptions::from_socket(listening));
    ssc.start().unwrap();
    let from = socket().0;
    let byte = prop_oneof![Just(b'\n'), Just(b'\r'), 0xc0..=0xffu8, any::<u8>()];
    let small = prop::collection::vec(byte, 0..80);
    let large = (any::<u8>(), 1_000usize..65_000).prop_map(|(b, n)| vec![b; n]);
    let datagram = prop_oneof![20 => small, 1 => large];
    let mut want = BTreeMap::<String, usize>::new();
    let mut sent = 0;
    let want_of = std::cell::RefCell::new((&mut want, &mut sent));
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(1_500) });
    runner
        .run(&datagram, |d| {
            let (want, sent) = &mut *want_of.borrow_mut();
            from.send_to(&d, addr).unwrap();
            **sent += u64::from(!d.is_empty());
            until("it is taken", || count(&ssc, "datagrams") == **sent);
            let mut text = String::from_utf8_lossy(&d).into_owned();
            if !d.is_empty() && !d.ends_with(b"\n") {
                text.push('\n'); // the end of a datagram ends its last line, whose `\r` is part of that end
            }
            for line in text.lines() {
                *want.entry(line.to_string()).or_default() += 1;
            }
            Ok(())
        })
        .unwrap();
    let lines: usize = want.values().sum();
    seen.wait_until(|_, n| n >= lines);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), want);
    assert_eq!((count(&ssc, "restarts"), count(&ssc, "errors")), (0, 0));
}

#[test]
fn a_converter_sees_each_datagram_as_it_was_sent() {
    let (listening, addr) = socket();
    let options = UdpOptions::from_socket(listening);
    let (ssc, seen) = stream_of(|ssc| {
        ssc.udp_stream_with(options, |d| if d[0] < 128 { Ok([d.to_vec()]) } else { Err("high") })
    });
    ssc.start().unwrap();
    let from = socket().0;
    let (mut want, mut sent) = (Vec::new(), 0);
    let both = std::cell::RefCell::new((&mut want, &mut sent));
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(1_000) });
    runner
        .run(&prop::collection::vec(any::<u8>(), 1..200), |d| {
            let (want, sent) = &mut *both.borrow_mut();
            from.send_to(&d, addr).unwrap();
            **sent += 1;
            until("it is taken", || counter(&ssc, "udp_stream-0.datagrams") == **sent);
            if d[0] < 128 {
                want.push(d);
            }
            Ok(())
        })
        .unwrap();
    seen.wait_until(|_, n| n >= want.len());
    ssc.stop(true).unwrap();
    let failed = sent - want.len() as u64;
    assert_eq!(seen.multiset(), multiset(want));
    assert_eq!(counter(&ssc, "udp_stream-0.decode_errors"), failed);
    assert_eq!(counter(&ssc, "udp_stream-0.restarts"), 0);
}
