//! Streams of what clients push: what is answered is what is stored, and no request harms the server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::{ContextState, HttpOptions, Wire};
use brooklet_testkit::{Collector, HttpClient};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{Gate, collect, counter, multiset};

const AT: &str = "127.0.0.1:0";

/// A running stream of what is pushed to `/in`.
struct Pushed<T> {
    ssc: StreamingContext,
    seen: Collector<T>,
    address: SocketAddr,
}

impl<T: Wire + Ord> Pushed<T> {
    fn start(conf: Conf, stream: impl FnOnce(&StreamingContext) -> DStream<T>) -> Pushed<T> {
        let ssc = StreamingContext::new(conf.master("local[2]"), millis(20)).unwrap();
        let seen = Collector::new();
        collect(&stream(&ssc), &seen);
        ssc.start().unwrap();
        let address = ssc.http_address_of(AT).unwrap();
        Pushed { ssc, seen, address }
    }

    fn client(&self) -> HttpClient {
        HttpClient::connect(self.address).unwrap()
    }

    /// Everything that has come into a batch, at the end.
    fn end(self) -> Vec<T> {
        self.ssc.stop(true).unwrap();
        sorted(&self.seen)
    }
}

fn sorted<T: Clone + Ord>(seen: &Collector<T>) -> Vec<T> {
    let mut all = seen.items();
    all.sort();
    all
}

fn conf() -> Conf {
    Conf::new("http")
}

fn text_stream(ssc: &StreamingContext) -> DStream<String> {
    ssc.http_text_stream(AT, "/in").map(|l| l.to_string()).boxed()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn strings(lines: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = lines.iter().map(|l| l.to_string()).collect();
    all.sort();
    all
}

#[test]
fn lines_that_are_answered_with_200_are_in_a_batch() {
    let pushed = Pushed::start(conf(), text_stream);
    let mut client = pushed.client();
    for (body, stored) in
        [("one\ntwo\n", 2), ("", 0), ("κ λ", 1), ("crlf\r\n\r\nlast", 3), ("\n", 1)]
    {
        let answer = client.post("/in", body).unwrap();
        assert_eq!((answer.status, answer.text()), (200, format!("{{\"stored\":{stored}}}")));
    }
    assert_eq!(client.post("/in", b"bad \xff utf-8").unwrap().status, 200);
    let count = |name: &str| counter(&pushed.ssc, &format!("http_text_stream-0.{name}"));
    assert_eq!((count("requests"), count("invalid_utf8")), (6, 1));
    let want = ["one", "two", "κ λ", "crlf", "", "last", "", "bad \u{fffd} utf-8"];
    assert_eq!(pushed.end(), strings(&want));
}

#[test]
fn many_clients_at_once_lose_and_double_nothing() {
    let pushed = Pushed::start(conf(), text_stream);
    let lines = |c: usize, r: usize| (0..50).map(move |i| format!("{c}-{r}-{i}"));
    std::thread::scope(|s| {
        for c in 0..8 {
            let mut client = pushed.client();
            s.spawn(move || {
                for r in 0..40 {
                    let body: String = lines(c, r).map(|l| l + "\n").collect();
                    // The queue may be full for a moment; then nothing of the request is stored.
                    while client.post("/in", &body).unwrap().status != 200 {}
                }
            });
        }
    });
    let want = multiset((0..8).flat_map(|c| (0..40).flat_map(move |r| lines(c, r))));
    assert_eq!(multiset(pushed.end()), want);
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Reading {
    room: String,
    degrees: i32,
}

#[test]
fn json_lines_are_records_and_a_bad_one_refuses_its_request() {
    let pushed = Pushed::start(conf(), |ssc| ssc.http_stream::<Reading>(AT, "/in"));
    let mut client = pushed.client();
    let good = "{\"room\":\"a\",\"degrees\":1}\n\n {\"degrees\":-2,\"room\":\"流\"}\r\n";
    assert_eq!(client.post("/in", good).unwrap().text(), "{\"stored\":2}");
    let bad = format!("{good}{{\"room\":\"b\"}}\n{good}");
    let answer = client.post("/in", bad).unwrap();
    let error = serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].to_string();
    assert_eq!(answer.status, 400);
    assert!(error.contains("line 4,") && error.contains("missing field `degrees`"), "{error}");
    assert!(error.contains("nothing of the request is stored"), "{error}");
    let count = |name: &str| counter(&pushed.ssc, &format!("http_stream-0.{name}"));
    assert_eq!((count("requests"), count("bad_requests"), count("records")), (1, 1, 2));
    let reading = |room: &str, degrees| Reading { room: room.into(), degrees };
    assert_eq!(pushed.end(), [reading("a", 1), reading("流", -2)]);
}

#[test]
fn packed_bodies_are_unpacked_up_to_a_limit() {
    let options = HttpOptions::new().max_body(1_000).max_decompressed(10_000);
    let pushed = Pushed::start(conf(), |ssc| {
        ssc.http_text_stream_with(AT, "/in", options).map(|l| l.to_string()).boxed()
    });
    let mut client = pushed.client();
    let mut post = |encoding: &str, body: &[u8]| {
        let answer = client.request("POST", "/in", &[("content-encoding", encoding)], body);
        let answer = answer.unwrap();
        if answer.header("connection") == Some("close") {
            client = HttpClient::connect(pushed.address).unwrap();
        }
        (answer.status, answer.text())
    };
    assert_eq!(post("gzip", &gzip(b"a\nb\n")).0, 200);
    assert_eq!(post("GZIP", &[gzip(b"c\n"), gzip(b"d")].concat()).1, "{\"stored\":2}");
    let (status, text) = post("gzip", &gzip(&vec![b'x'; 10_001]));
    assert!(status == 413 && text.contains("more than 10000 bytes"), "{status} {text}");
    let whole = gzip(b"not to be stored");
    let (status, text) = post("gzip", &whole[..whole.len() - 4]);
    assert!(status == 400 && text.contains("no whole gzip"), "{status} {text}");
    assert_eq!(post("gzip", b"plain").0, 400);
    assert_eq!(post("br", b"x").0, 415);
    assert_eq!(post("identity", &[b'y'; 1_000]).0, 200);
    let (status, text) = post("identity", &[b'y'; 1_001]);
    assert!(status == 413 && text.contains("more than 1000 bytes"), "{status} {text}");
    assert_eq!(pushed.end(), strings(&["a", "b", "c", "d", &"y".repeat(1_000)]));
}

#[test]
fn a_body_that_grows_too_large_is_refused_without_its_length_being_known() {
    let options = HttpOptions::new().max_body(1_000);
    let pushed = Pushed::start(conf(), |ssc| {
        ssc.http_text_stream_with(AT, "/in", options).map(|l| l.to_string()).boxed()
    });
    let mut client = pushed.client();
    client.send(b"POST /in HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..3 {
        client.send(format!("190\r\n{}\r\n", "x".repeat(400)).as_bytes()).unwrap();
    }
    client.send(b"0\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 413);
    let mut client = pushed.client();
    client.send(b"POST /in HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    client.send(b"3\r\na\nb\r\n2\r\nc\n\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().text(), "{\"stored\":2}");
    assert_eq!(pushed.end(), strings(&["a", "bc"]));
}

#[test]
fn clients_are_told_to_come_again_while_memory_is_full() {
    // Batches stand still behind a gate, and blocks may not go to disk.
    let gate = Gate::default();
    let g = gate.clone();
    let options = HttpOptions::new().storage_level(StorageLevel::MEMORY_ONLY);
    let conf = conf().receiver_max_unprocessed_bytes(200_000).max_queued_batches(1);
    let pushed = Pushed::start(conf, |ssc| {
        let lines = ssc.http_text_stream_with(AT, "/in", options).map(|l| l.to_string());
        lines.transform(move |rdd| (g.pass(), rdd).1).boxed()
    });
    let mut client = pushed.client();
    let body = |i: usize| format!("{i}{}\n", "x".repeat(50_000));
    let mut stored = Vec::new();
    let busy = loop {
        let line = body(stored.len());
        let answer = client.post("/in", &line).unwrap();
        if answer.status != 200 {
            break answer;
        }
        stored.push(line.trim_end().to_string());
        assert!(stored.len() < 20, "the memory limit holds nothing back");
    };
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
    assert!(busy.text().contains("nothing is stored"), "{}", busy.text());
    assert!(counter(&pushed.ssc, "http_text_stream-0.busy_requests") > 0);
    gate.open();
    let again = body(stored.len());
    while client.post("/in", &again).unwrap().status != 200 {}
    stored.push(again.trim_end().to_string());
    stored.sort();
    assert_eq!(pushed.end(), stored);
}

#[test]
fn other_paths_and_methods_have_their_own_answers() {
    let pushed = Pushed::start(conf(), text_stream);
    let mut client = pushed.client();
    assert_eq!(client.post("/other", "x").unwrap().status, 404);
    let mut client = pushed.client();
    assert_eq!(client.get("/streams").unwrap().status, 404, "nothing is served here");
    let answer = client.get("/in").unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    assert_eq!(pushed.end(), Vec::<String>::new());
}

#[test]
fn one_address_takes_several_streams_and_serves() {
    let ssc = StreamingContext::new(conf().master("local[2]"), millis(20)).unwrap();
    ssc.serve_at(AT).unwrap();
    let seen = Collector::new();
    let numbers = ssc.http_stream::<u32>(AT, "/numbers");
    collect(&ssc.http_text_stream(AT, "/lines").map(|l| l.len() as u32).union(&numbers), &seen);
    numbers.count().serve("count");
    ssc.start().unwrap();
    assert_eq!(ssc.http_address(), ssc.http_address_of(AT));
    let mut client = HttpClient::connect(ssc.http_address().unwrap()).unwrap();
    assert_eq!(client.post("/numbers", "1\n2").unwrap().status, 200);
    assert_eq!(client.post("/lines", "abcd").unwrap().status, 200);
    assert_eq!(client.get("/streams/count").unwrap().status, 200);
    ssc.stop(true).unwrap();
    assert_eq!(sorted(&seen), [1, 2, 4]);
}

#[test]
fn a_taken_port_is_an_error_of_start_that_names_it_and_the_stream() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ssc = StreamingContext::new(conf().master("local[1]"), millis(20)).unwrap();
    ssc.http_text_stream(&address, "/in").print();
    let e = ssc.start().unwrap_err().to_string();
    assert!(
        e.contains(&address) && e.contains("`http_text_stream` (") && e.contains(file!()),
        "{e}"
    );
    assert!(e.contains("choose another port"), "{e}");
    assert_eq!(ssc.state(), ContextState::Stopped);
}

#[test]
fn two_spellings_of_one_address_may_not_have_one_path() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ssc = StreamingContext::new(conf().master("local[1]"), millis(20)).unwrap();
    ssc.http_text_stream(&format!("127.0.0.1:{port}"), "/in").print();
    ssc.http_text_stream(&format!("127.0.0.1:0{port}"), "/in").print();
    let e = ssc.start().unwrap_err().to_string();
    assert!(e.contains("`http_text_stream` (") && e.contains("choose another path"), "{e}");
}

#[test]
#[should_panic(expected = "is taken by `http_text_stream` (")]
fn two_streams_at_one_place_are_refused() {
    let ssc = StreamingContext::new(conf(), millis(20)).unwrap();
    let _ = ssc.http_text_stream(AT, "/in");
    let _ = ssc.http_stream::<u32>(AT, "/in");
}

#[test]
#[should_panic(expected = "`in` is no path")]
fn a_path_without_a_slash_is_refused() {
    let ssc = StreamingContext::new(conf(), millis(20)).unwrap();
    let _ = ssc.http_text_stream(AT, "in");
}

/// A record type whose own code panics.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
struct Touchy(u32);

impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(d)?;
        assert!(n != 13, "thirteen (this panic belongs to the test)");
        Ok(Touchy(n))
    }
}

#[test]
fn a_record_type_that_panics_refuses_its_request_only() {
    let pushed = Pushed::start(conf(), |ssc| ssc.http_stream::<Touchy>(AT, "/in"));
    let mut client = pushed.client();
    let answer = client.post("/in", "1\n13\n").unwrap();
    assert!(answer.status == 400 && answer.text().contains("thirteen"), "{}", answer.text());
    assert_eq!(client.post("/in", "2\n").unwrap().text(), json!({"stored": 1}).to_string());
    assert_eq!(pushed.end(), [Touchy(2)]);
}

/// How long a sender waits for an answer before it ends its side; decides only which way is taken.
const PATIENCE: Duration = Duration::from_millis(20);

/// Sends bytes as they are, waits a little for an answer, ends the sending side, and reads to the end; the
/// server may close at any time.
fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = vec![0; 1 << 16];
    let _ = stream.write_all(bytes);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let n = stream.read(&mut answer).unwrap_or(0);
    answer.truncate(n);
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(crate::support::GUARD)).unwrap();
    match stream.read_to_end(&mut answer) {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => panic!("no end: {e}"),
        _ => answer,
    }
}

#[test]
fn malformed_requests_are_refused_or_dropped_and_the_server_lives_on() {
    let pushed = Pushed::start(conf(), text_stream);
    let long_head = format!("POST /in HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let many_headers = format!("POST /in HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for bad in [
        "",
        "\r\n",
        "\0\0\0\0",
        "GET",
        "POST /in HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /in HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nlines",
        "POST /in HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "POST /in HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "POST /in HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "POST /in HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf",
        "POST in HTTP/1.1\r\n\r\n",
        "POST /in HTTP/9.9\r\n\r\n",
        "CONNECT /in HTTP/1.1\r\n\r\n",
        &long_head,
        &many_headers,
    ] {
        let answer = raw(pushed.address, bad.as_bytes());
        let ok = answer.is_empty() || !answer.starts_with(b"HTTP/1.1 2");
        assert!(ok, "{bad:.60?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(pushed.client().post("/in", "good").unwrap().status, 200);
    assert_eq!(pushed.end(), ["good"]);
}

/// A request with something wrong at a place, or just bytes.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let method =
        prop::sample::select(vec!["POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "P\0ST"]);
    let path = prop::sample::select(vec!["/json", "/text", "/text", "/streams/s", "*", "/%ff"]);
    let header = prop::sample::select(vec![
        "content-encoding: gzip\r\n",
        "content-encoding: \u{1}\r\n",
        "transfer-encoding: chunked\r\n",
        "expect: 100-continue\r\n",
        "connection: close\r\n",
        "last-event-id: x\r\n",
        "content-length: 3\r\n",
        "",
        ":\r\n",
    ]);
    let body = prop_oneof![
        noise.clone(),
        prop::collection::vec(prop::sample::select(b"0123456789\n[]\"x, ".to_vec()), 0..200),
        noise.clone().prop_map(|b| gzip(&b)),
    ];
    let whole = (method, path, header, body, any::<bool>()).prop_map(|(m, p, h, body, length)| {
        let length =
            if length { format!("content-length: {}\r\n", body.len()) } else { String::new() };
        let mut all = format!("{m} {p} HTTP/1.1\r\nhost: x\r\n{length}{h}\r\n").into_bytes();
        all.extend(body);
        all
    });
    // A whole one, with some bytes changed, cut off.
    let damaged =
        (whole.clone(), prop::collection::vec((any::<u16>(), any::<u8>()), 0..4), any::<u16>())
            .prop_map(|(mut all, changes, end)| {
                for (at, byte) in changes {
                    let at = usize::from(at) % all.len();
                    all[at] = byte;
                }
                all.truncate(all.len() - usize::from(end) % (all.len() / 2 + 1));
                all
            });
    prop_oneof![noise, whole, damaged]
}

#[test]
fn random_requests_never_harm_the_server() {
    const CASES: u32 = 1_500;
    let ssc = StreamingContext::new(conf().master("local[2]"), millis(20)).unwrap();
    ssc.serve_at(AT).unwrap();
    let seen = Collector::new();
    collect(&ssc.http_stream::<Vec<u32>>(AT, "/json"), &seen);
    let lines = Collector::new();
    collect(&ssc.http_text_stream(AT, "/text").map(|l| l.to_string()).boxed(), &lines);
    ssc.start().unwrap();
    let address = ssc.http_address().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let stored = std::cell::Cell::new(0);
    let ran = runner.run(&requests(), |bytes| {
        let answer = String::from_utf8_lossy(&raw(address, &bytes)).into_owned();
        prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer:?}");
        // A request may have more than one in it.
        for part in answer.split("{\"stored\":").skip(1) {
            let n: usize = part.split('}').next().unwrap_or_default().parse().unwrap();
            stored.set(stored.get() + n);
        }
        Ok(())
    });
    ran.unwrap();
    let mut client = HttpClient::connect(address).unwrap();
    assert_eq!(client.post("/text", "still here").unwrap().status, 200);
    let errors: u64 = ["http_stream-0.errors", "http_text_stream-1.errors"]
        .map(|n| counter(&ssc, n))
        .iter()
        .sum();
    assert_eq!(errors, 0);
    ssc.stop(true).unwrap();
    let received = seen.len() + lines.len();
    assert!(received > stored.get(), "{received} records, {} acknowledged", stored.get());
}
