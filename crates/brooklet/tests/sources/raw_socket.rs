//! `raw_socket_stream` and `RawSender`.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::source::{RawSender, SocketOptions};
use brooklet::{DStream, Wire};
use brooklet_testkit::{Collector, TestEngine, TestTcpServer};

use crate::support::{Notes, both_engines, collect, counter, multiset, until};

fn stream_of<T: Wire>(
    make: impl FnOnce(&StreamingContext) -> DStream<T>,
) -> (StreamingContext, Collector<T>) {
    let ssc = StreamingContext::new(Conf::new("raw").master("local[2]"), millis(20)).unwrap();
    let seen = Collector::new();
    collect(&make(&ssc), &seen);
    (ssc, seen)
}

fn count(ssc: &StreamingContext, name: &str) -> u64 {
    counter(ssc, &format!("raw_socket_stream-0.{name}"))
}

type Record = (u32, String);

fn records(numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(|n| (n, format!("record {n}"))).collect()
}

/// What a sender sends for these blocks, and how many bytes of it come before the first block.
fn sent<T: Wire>(blocks: impl IntoIterator<Item = Vec<T>>) -> (Vec<u8>, usize) {
    let mut sender = RawSender::bind("127.0.0.1", 0).unwrap();
    let mut receiver = TcpStream::connect(sender.local_addr()).unwrap();
    sender.wait_for_receiver().unwrap();
    // Magic, version, length of the name, name, checksum.
    let mut head = vec![0; 10];
    receiver.read_exact(&mut head).unwrap();
    let before = 10 + usize::from(u16::from_be_bytes([head[8], head[9]])) + 4;
    let reader = std::thread::spawn(move || {
        receiver.read_to_end(&mut head).unwrap();
        head
    });
    blocks.into_iter().for_each(|b| sender.send(b).unwrap());
    drop(sender);
    (reader.join().unwrap(), before)
}

#[test]
fn blocks_come_once_each_on_both_engines() {
    for engine in [TestEngine::Local, TestEngine::Loopback] {
        let mut sender = RawSender::<Record>::bind("127.0.0.1", 0).unwrap();
        let port = sender.local_addr().port();
        let sending = std::thread::spawn(move || {
            (0..20).for_each(|i| sender.send(records(i * 100..(i + 1) * 100)).unwrap());
            sender.finish().unwrap();
        });
        let seen = both_engines(engine, 2_000, move |ssc| {
            ssc.raw_socket_stream::<Record>("127.0.0.1", port)
        });
        sending.join().unwrap();
        assert_eq!(multiset(seen), multiset(records(0..2_000)), "{engine:?}");
    }
}

#[test]
fn text_comes_as_lines_on_both_engines() {
    let lines: Vec<Str> = (0..500).map(|i| Str::from(format!("line {i} of text 河"))).collect();
    for engine in [TestEngine::Local, TestEngine::Loopback] {
        let (bytes, _) = sent([lines.clone()]);
        let server = TestTcpServer::serving(bytes).unwrap();
        let port = server.port();
        let seen = both_engines(engine, 500, move |ssc| ssc.raw_socket_stream("127.0.0.1", port));
        let text = |lines: &[Str]| lines.iter().map(Str::to_string).collect::<Vec<_>>();
        assert_eq!(multiset(text(&seen)), multiset(text(&lines)), "{engine:?}");
    }
}

#[test]
fn a_block_is_a_partition() {
    let (bytes, _) = sent((0..7).map(|i| records(i..i + 1 + i % 2)));
    let server = TestTcpServer::serving(bytes).unwrap();
    let parts = Arc::<Mutex<Vec<usize>>>::default();
    let p = parts.clone();
    let (ssc, seen) = stream_of(|ssc| {
        let stream = ssc.raw_socket_stream::<Record>("127.0.0.1", server.port());
        stream.foreach_rdd(move |rdd, _| p.lock().unwrap().push(rdd.num_partitions()));
        stream
    });
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 10);
    ssc.stop(true).unwrap();
    assert_eq!(parts.lock().unwrap().iter().sum::<usize>(), 7);
    assert_eq!(seen.len(), 10);
}

#[test]
fn every_storage_level_gives_the_records_back() {
    let levels = [
        StorageLevel::MEMORY_ONLY,
        StorageLevel::MEMORY_ONLY_SER_2,
        StorageLevel::DISK_ONLY,
        StorageLevel::MEMORY_AND_DISK_2,
    ];
    for level in levels {
        let (bytes, _) = sent([records(0..50), records(50..60)]);
        let server = TestTcpServer::serving(bytes).unwrap();
        let options = SocketOptions::new("127.0.0.1", server.port()).storage_level(level);
        let (ssc, seen) = stream_of(|ssc| ssc.raw_socket_stream_with::<Record>(options));
        ssc.start().unwrap();
        seen.wait_until(|_, n| n >= 60);
        ssc.stop(true).unwrap();
        assert_eq!(seen.multiset(), multiset(records(0..60)), "{level}");
    }
}

#[test]
fn a_block_cut_by_a_disconnect_is_counted_and_taken_when_it_comes_whole() {
    let (bytes, before) = sent([records(0..10)]);
    for cut in [3, before, before + 5, before + 9, before + 40, bytes.len() - 1] {
        let server = TestTcpServer::script()
            .send(&bytes[..cut])
            .disconnect()
            .send(&bytes)
            .in_pieces([1, 11])
            .start()
            .unwrap();
        let (ssc, seen) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", server.port()));
        ssc.start().unwrap();
        seen.wait_until(|_, n| n >= 10);
        ssc.stop(true).unwrap();
        assert_eq!(seen.multiset(), multiset(records(0..10)), "cut at {cut}");
        let half = u64::from(cut != before);
        assert_eq!((count(&ssc, "half_records"), count(&ssc, "errors")), (half, 0), "cut at {cut}");
    }
}

#[test]
fn a_damaged_block_is_refused_and_the_stream_goes_on() {
    let (bytes, before) = sent([records(0..10), records(10..20)]);
    let mut damaged = bytes.clone();
    damaged[before + 30] ^= 0x40;
    let server = TestTcpServer::script().send(&damaged).disconnect().send(&bytes).start().unwrap();
    let (ssc, seen) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", server.port()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    assert!(e.last_error.contains("is damaged: its checksum is wrong"), "{e:?}");
    assert!(e.last_error_message.contains("`raw_socket_stream` ("), "{e:?}");
    until("the stream goes on", || {
        seen.multiset() == multiset(records(0..20)) || count(&ssc, "refused_blocks") > 2
    });
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(records(0..20)));
    assert!(count(&ssc, "refused_blocks") >= 1);
}

#[test]
fn a_peer_that_sends_no_blocks_is_told_so() {
    let server = TestTcpServer::serving("HTTP/1.1 200 OK\r\n").unwrap();
    let (ssc, _) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", server.port()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert!(e.last_error.contains("doesn't send blocks, it begins with `H`"), "{e:?}");
    assert!(e.last_error.contains("`RawSender`"), "{e:?}");
    assert!(count(&ssc, "refused_blocks") >= 1);
}

#[test]
fn a_sender_of_another_type_is_refused() {
    let (bytes, _) = sent([vec![1u64]]);
    let server = TestTcpServer::serving(bytes).unwrap();
    let (ssc, _) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", server.port()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert_eq!(
        e.last_error,
        "the sender sends records of `u64`, this stream reads `(u32, String)`"
    );
}

mod theirs {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    pub struct Point {
        pub x: u8,
        pub name: String,
    }
}

mod ours {
    #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
    pub struct Point {
        pub name: String,
        pub x: u8,
    }
}

#[test]
fn records_that_do_not_decode_fail_their_batch_and_name_the_stream() {
    let point = theirs::Point { x: 200, name: "far".into() };
    let (bytes, _) = sent([vec![point]]);
    let server = TestTcpServer::serving(bytes).unwrap();
    let (ssc, seen) = stream_of(|s| s.raw_socket_stream::<ours::Point>("127.0.0.1", server.port()));
    ssc.start().unwrap();
    let e = ssc.await_termination().unwrap_err().to_string();
    assert!(e.contains("of `raw_socket_stream` (") && e.contains("raw_socket.rs:"), "{e}");
    assert!(e.contains("ours::Point"), "{e}");
    assert!(seen.is_empty());
}

#[test]
fn a_block_above_the_limit_is_refused_on_both_sides() {
    let (bytes, _) = sent([records(0..1_000)]);
    let server = TestTcpServer::serving(bytes).unwrap();
    let options = SocketOptions::new("127.0.0.1", server.port()).max_record_bytes(1_000);
    let (ssc, _) = stream_of(|ssc| ssc.raw_socket_stream_with::<Record>(options));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert!(e.last_error.contains("from 1 to 1000 are allowed"), "{e:?}");

    let mut sender = RawSender::<String>::bind("127.0.0.1", 0).unwrap();
    let e = sender.send(["x".repeat(70 << 20)]).unwrap_err().to_string();
    assert!(e.contains("send fewer records at once"), "{e}");
}

#[test]
fn a_receiver_that_left_is_replaced_by_the_next() {
    let mut sender = RawSender::<Record>::bind("127.0.0.1", 0).unwrap();
    let addr = sender.local_addr();
    let early = TcpStream::connect(addr).unwrap();
    assert_eq!(sender.wait_for_receiver().unwrap(), early.local_addr().unwrap());
    drop(early);
    let (ssc, seen) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", addr.port()));
    ssc.start().unwrap();
    sender.send(records(0..5)).unwrap();
    sender.send([]).unwrap();
    sender.send(records(5..9)).unwrap();
    sender.finish().unwrap();
    ssc.stop(true).unwrap();
    assert_eq!(
        seen.multiset(),
        multiset(records(0..9)),
        "what arrived before the stop is processed"
    );
}

#[test]
fn stop_ends_a_read_that_waits() {
    let (bytes, before) = sent([records(0..3), records(3..6)]);
    for silent_after in [0, before, bytes.len() - 7] {
        let server = TestTcpServer::script().send(&bytes[..silent_after]).stall().start().unwrap();
        let (ssc, seen) = stream_of(|s| s.raw_socket_stream::<Record>("127.0.0.1", server.port()));
        ssc.start().unwrap();
        server.wait_stalled();
        ssc.stop(true).unwrap();
        let whole = if silent_after > before { records(0..3) } else { Vec::new() };
        // The stop may come before the first block is read.
        assert!(seen.is_empty() || seen.multiset() == multiset(whole));
        assert_eq!(count(&ssc, "errors"), 0);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let first = RawSender::<u8>::bind("127.0.0.1", 0).unwrap();
    let port = first.local_addr().port();
    let e = RawSender::<u8>::bind("127.0.0.1", port).unwrap_err().to_string();
    assert!(e.contains(&format!("127.0.0.1:{port}")) && e.contains("in use"), "{e}");
}
