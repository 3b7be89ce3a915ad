//! `socket_stream`: converters of bytes against a server that does what a script says.

use std::io::{BufRead, BufReader, Read};

use brooklet::prelude::*;
use brooklet::receiver::HalfLines;
use brooklet::source::{
    Decoded, Decoder, Delimited, FixedLength, LengthPrefixed, Lines, SocketBytes, SocketOptions,
    from_reader,
};
use brooklet::time::{Clock, ManualClock};
use brooklet::{DStream, Wire};
use brooklet_testkit::{Collector, TestEngine, TestTcpServer};

use crate::support::{Heard, Notes, both_engines, collect, counter, multiset, until};

/// A stream with batches of 20 ms, not started.
fn stream_of<T: Wire>(
    make: impl FnOnce(&StreamingContext) -> DStream<T>,
) -> (StreamingContext, Collector<T>) {
    let ssc = StreamingContext::new(Conf::new("socket").master("local[2]"), millis(20)).unwrap();
    let seen = Collector::new();
    collect(&make(&ssc), &seen);
    (ssc, seen)
}

fn count(ssc: &StreamingContext, name: &str) -> u64 {
    counter(ssc, &format!("socket_stream-0.{name}"))
}

fn frame(n: u64) -> Vec<u8> {
    let body = format!("record {n}");
    [&(body.len() as u16).to_be_bytes()[..], body.as_bytes()].concat()
}

fn frames(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(frame).collect()
}

fn texts() -> impl Decoder<Item = String> {
    LengthPrefixed::new(2).and_then(String::from_utf8)
}

#[test]
fn frames_come_once_each_on_both_engines() {
    let want: Vec<String> = (0..3_000).map(|n| format!("record {n}")).collect();
    for engine in [TestEngine::Local, TestEngine::Loopback] {
        let bytes = frames(0..3_000);
        let server = TestTcpServer::script().send(bytes).in_pieces([1, 700, 13]).start().unwrap();
        let port = server.port();
        let seen = both_engines(engine, want.len(), move |ssc| {
            ssc.socket_stream("127.0.0.1", port, texts()).boxed()
        });
        assert_eq!(multiset(seen), multiset(want.clone()), "{engine:?}");
    }
}

#[test]
fn a_record_cut_by_a_disconnect_is_counted_and_the_next_connection_begins_afresh() {
    let server = TestTcpServer::script()
        .send(frames(0..10))
        .send(&frame(10)[..4])
        .disconnect()
        .send(frames(10..20))
        .disconnect()
        .send(&frame(20)[..1])
        .disconnect()
        .send(frames(20..30))
        .start()
        .unwrap();
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), texts()));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 30);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset((0..30).map(|n| format!("record {n}"))));
    assert_eq!((count(&ssc, "half_records"), count(&ssc, "reconnects")), (2, 3));
    assert_eq!(count(&ssc, "decode_errors"), 0);
}

#[test]
fn garbage_is_reported_with_its_place_and_the_stream_goes_on() {
    let server = TestTcpServer::script()
        .send(frames(0..3))
        .send([0xff; 100])
        .disconnect()
        .send(frames(3..5))
        .start()
        .unwrap();
    let options = SocketOptions::new("127.0.0.1", server.port()).max_record_bytes(1_000);
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream_with(options, texts()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    let at = frames(0..3).len();
    assert!(e.last_error_message.contains("`socket_stream` ("), "{e:?}");
    assert!(e.last_error_message.contains("socket_stream.rs:"), "{e:?}");
    assert!(e.last_error_message.contains(&format!("at byte {at} of")), "{e:?}");
    assert!(e.last_error.contains("65537 bytes or more, 1000 are allowed"), "{e:?}");
    // What is left of the garbage may begin the next connection, which is refused, too.
    seen.wait_until(|_, n| n >= 5);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset((0..5).map(|n| format!("record {n}"))));
    assert!(count(&ssc, "decode_errors") >= 1);
}

#[test]
fn a_converter_that_fails_or_panics_is_named_and_loses_only_its_record() {
    let server = TestTcpServer::script()
        .send("1\n2\nbad\n")
        .disconnect()
        .send("3\npanic\n")
        .disconnect()
        .send("4\n")
        .start()
        .unwrap();
    let numbers = Lines::new().and_then(|line| {
        let line = String::from_utf8(line)?;
        assert!(line != "panic", "told to");
        Ok::<_, BoxError>(line.parse::<u32>()?)
    });
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), numbers));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 4);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(1..=4));
    assert_eq!(count(&ssc, "decode_errors"), 2);
    // A series of failures of one kind is reported once.
    let errors: Vec<_> = notes
        .all()
        .into_iter()
        .filter_map(|e| match e {
            Heard::ReceiverError(r) => Some((r.last_error_message, r.last_error)),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].0.contains("failed at byte 4 of the connection"), "{errors:?}");
    assert!(errors[0].1.contains("invalid digit"), "{errors:?}");
}

#[test]
fn a_panic_is_reported_with_its_text() {
    let server = TestTcpServer::serving("x\n").unwrap();
    let panics = Lines::new().and_then(|line| -> Result<u8, BoxError> { panic!("saw {line:?}") });
    let (ssc, _) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), panics));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert!(e.last_error_message.contains("panicked at byte 0"), "{e:?}");
    assert_eq!(e.last_error, "saw [120]");
    assert!(e.active, "the receiver itself goes on: {e:?}");
}

#[test]
fn stop_ends_a_read_that_waits_and_keeps_what_came() {
    let server = TestTcpServer::serving([frames(0..2), frame(2)[..3].to_vec()].concat()).unwrap();
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), texts()));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n == 2);
    ssc.stop(true).unwrap(); // the server is silent for ever: without its end this would time out
    assert_eq!(seen.items(), ["record 0", "record 1"]);
    assert_eq!(count(&ssc, "errors"), 0);
}

#[test]
fn pauses_grow_while_the_server_sends_garbage() {
    let garbage = [0xff; 2];
    let server = TestTcpServer::script()
        .send([&frames(0..1)[..], &garbage].concat())
        .disconnect()
        .send(garbage)
        .disconnect()
        .send(garbage)
        .start()
        .unwrap();
    let clock = ManualClock::new(Time::ZERO);
    let conf = Conf::new("socket").master("local[2]").clock(clock.clone());
    let ssc = StreamingContext::new(conf, seconds(1)).unwrap();
    let options = SocketOptions::new("127.0.0.1", server.port()).max_record_bytes(1_000);
    collect(&ssc.socket_stream_with(options, texts()), &Collector::new());
    ssc.start().unwrap();
    // Pauses of 100, 200 and 400 ms lie before the next attempts: the clock must have moved that far.
    for (failures, earliest) in [(1, 0), (2, 100), (3, 300)] {
        until("the next failure", || {
            let there = count(&ssc, "decode_errors") >= failures;
            if !there {
                clock.advance(millis(10));
            }
            there
        });
        let now = clock.now().time().millis();
        assert!(now >= earliest, "failure {failures} at {now} ms, before {earliest} ms");
    }
    ssc.stop(false).unwrap();
}

#[test]
fn lines_delimiters_and_fixed_lengths_are_ready_made() {
    let server = TestTcpServer::script().send(b"a\r\n\n\xff\nhalf").hang_up().start().unwrap();
    let (ssc, seen) = stream_of(|s| s.socket_stream("127.0.0.1", server.port(), Lines::new()));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 4);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), [&b"a"[..], b"", b"\xff", b"half"]);
    drop(server);

    let server = TestTcpServer::serving("x--y--z").unwrap();
    let by = Delimited::by("--");
    let (ssc, seen) = stream_of(|s| s.socket_stream("127.0.0.1", server.port(), by));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items()[..2], [b"x", b"y"]);

    let server = TestTcpServer::serving([7u8, 0, 8, 0, 9]).unwrap();
    let shorts =
        FixedLength::new(2).and_then(|b| Ok::<_, BoxError>(u16::from_le_bytes([b[0], b[1]])));
    let (ssc, seen) = stream_of(|s| s.socket_stream("127.0.0.1", server.port(), shorts));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), [7, 8]);
    assert_eq!(count(&ssc, "half_records"), 1);
}

/// A decoder of one's own, with state: numbers separated by a byte that the first byte chooses.
#[derive(Clone, Default)]
struct Chosen {
    separator: Option<u8>,
}

impl Decoder for Chosen {
    type Item = u64;
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<u64>, BoxError> {
        let Some(separator) = self.separator else {
            self.separator = Some(bytes[0]);
            return Ok(Decoded::Skip(1));
        };
        match bytes.iter().position(|b| *b == separator) {
            None => Ok(Decoded::Incomplete),
            Some(n) => Ok(Decoded::Record(std::str::from_utf8(&bytes[..n])?.parse()?, n + 1)),
        }
    }
}

#[test]
fn a_decoder_of_ones_own_begins_afresh_on_each_connection() {
    let server = TestTcpServer::script()
        .send(";1;2;")
        .disconnect()
        .send(",3,4,")
        .in_pieces([1])
        .start()
        .unwrap();
    let own = Chosen::default();
    let (ssc, seen) = stream_of(|s| s.socket_stream("127.0.0.1", server.port(), own));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 4);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(1..=4));
}

#[test]
fn a_function_from_a_reader_to_an_iterator_is_a_converter() {
    let text: String = (0..500).map(|n| format!("{n}\n")).collect();
    let server = TestTcpServer::script().send(&text).disconnect().send("500\n").start().unwrap();
    let parse = from_reader(|bytes| {
        BufReader::new(bytes).lines().map(|line| Ok::<_, BoxError>(line?.parse::<u32>()?))
    });
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), parse));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 501);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(0..=500));
    assert_eq!((count(&ssc, "reconnects"), count(&ssc, "errors")), (1, 0));
}

#[test]
fn a_function_that_fails_panics_or_never_ends_a_record_is_refused() {
    let server = TestTcpServer::script()
        .send("1\nx\n")
        .disconnect()
        .send("panic\n")
        .disconnect()
        .send(vec![b'9'; 3 << 20])
        .disconnect()
        .send("2\n")
        .start()
        .unwrap();
    let parse = |bytes: SocketBytes| {
        BufReader::new(bytes).lines().map(|line| {
            let line = line?;
            assert!(line != "panic");
            Ok::<_, BoxError>(line.parse::<u32>()?)
        })
    };
    let options = SocketOptions::new("127.0.0.1", server.port()).max_record_bytes(1_000);
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream_with(options, from_reader(parse)));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset([1, 2]));
    assert!(count(&ssc, "decode_errors") >= 3);
}

#[test]
fn stop_ends_a_function_that_reads() {
    let server = TestTcpServer::serving("1").unwrap();
    let bytes = from_reader(|bytes| BufReader::new(bytes).bytes());
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream("127.0.0.1", server.port(), bytes));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n == 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), [b'1']);
    assert_eq!(count(&ssc, "errors"), 0);
}

#[test]
fn options_reach_the_stream() {
    let server = TestTcpServer::serving(frames(0..5)).unwrap();
    let options =
        SocketOptions::new("127.0.0.1", server.port()).storage_level(StorageLevel::DISK_ONLY);
    let (ssc, seen) = stream_of(|ssc| ssc.socket_stream_with(options, texts()));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 5);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset((0..5).map(|n| format!("record {n}"))));
}

#[test]
fn options_of_text_are_refused_where_there_are_no_lines() {
    let options = SocketOptions::new("127.0.0.1", 1).half_lines(HalfLines::Drop);
    let (ssc, _) = stream_of(|ssc| ssc.socket_stream_with(options, texts()));
    let e = ssc.start().unwrap_err().to_string();
    assert!(e.contains("half_lines") && e.contains("only text streams"), "{e}");
}

#[test]
fn half_lines_and_long_lines_of_text_follow_the_options() {
    let server = TestTcpServer::script().send("whole line\nhalf").hang_up().start().unwrap();
    let options = SocketOptions::new("127.0.0.1", server.port())
        .half_lines(HalfLines::Drop)
        .max_record_bytes(6);
    let (ssc, seen) =
        stream_of(|ssc| ssc.socket_text_stream_with(options).map(|l| l.to_string()).boxed());
    ssc.start().unwrap();
    until("the end", || counter(&ssc, "socket_text_stream-0.half_lines") == 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["whole ", "line"]);
}
