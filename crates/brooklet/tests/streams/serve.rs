//! Streams over HTTP: the newest batch as JSON, live events, and what happens to slow and to bad clients.

use std::net::TcpListener;

use brooklet::ServeOptions;
use brooklet::prelude::*;
use brooklet::testing::{Driver, TestEngine};
use brooklet_testkit::{HttpClient, HttpEvents};
use serde_json::{Value, json};

use super::{ENGINES, conf, driver};

fn client<I>(driver: &Driver<I>) -> HttpClient {
    HttpClient::connect(driver.context().http_address().unwrap()).unwrap()
}

fn get<I>(driver: &Driver<I>, path: &str) -> Value {
    let answer = client(driver).get(path).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    serde_json::from_slice(&answer.body).unwrap()
}

fn events<I>(driver: &Driver<I>, name: &str, last: Option<u64>) -> HttpEvents {
    client(driver).events(&format!("/streams/{name}/events"), last).unwrap()
}

/// Id and values of the next event.
fn next(events: &mut HttpEvents) -> (u64, Value) {
    let event = events.next_event();
    let data: Value = serde_json::from_str(&event.data).unwrap();
    let id = event.id.unwrap();
    assert_eq!(data["time"], id);
    (id, data["values"].clone())
}

#[test]
fn the_newest_batch_is_there_as_json() {
    for engine in ENGINES {
        let mut driver = driver(engine, conf(), |_, s: &DStream<String>| {
            s.map(|w| (w, 1)).reduce_by_key(|a, b| a + b).repartition(1).serve("counts");
            s.count().serve("lines");
        });
        driver.start().unwrap();
        let none = json!({"stream": "counts", "time": null, "records": 0, "truncated": false, "values": []});
        assert_eq!(get(&driver, "/streams/counts"), none);
        driver.input().push(["a", "b", "流 \"q\"\n", "a"].map(String::from));
        driver.batch().unwrap();
        let mut got = get(&driver, "/streams/counts");
        let values = got["values"].as_array_mut().unwrap();
        values.sort_by_key(|v| v.to_string());
        let values = [json!(["a", 2]), json!(["b", 1]), json!(["流 \"q\"\n", 1])];
        let want = json!({"stream": "counts", "time": 1000, "records": 3, "truncated": false,
            "values": values});
        assert_eq!(got, want);
        driver.batch().unwrap();
        assert_eq!(get(&driver, "/streams/lines")["values"], json!([0]));
        let list = get(&driver, "/streams");
        let want = json!({"streams": [
            {"name": "counts", "time": 2000, "records": 0, "subscribers": 0},
            {"name": "lines", "time": 2000, "records": 1, "subscribers": 0},
        ]});
        assert_eq!(list, want);
    }
}

#[test]
fn a_large_batch_is_cut_and_says_so() {
    for engine in ENGINES {
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let a = asked.clone();
        let mut driver = driver(engine, conf(), move |_, s: &DStream<u32>| {
            let a = a.clone();
            let seen = s.map(move |x| (a.fetch_add(1, std::sync::atomic::Ordering::SeqCst), x).1);
            seen.serve("all");
            s.serve_with("three", ServeOptions::new().max_elements(3));
            s.serve_with("ten", ServeOptions::new().max_elements(10));
            s.map(|x| "x".repeat(x as usize))
                .serve_with("bytes", ServeOptions::new().max_bytes(20));
            s.filter(|x| *x > 8).serve_with("tail", ServeOptions::new().max_elements(2));
        });
        driver.input().push(1..=10);
        driver.input().push(0..100_000);
        driver.batch().unwrap();
        let shown = |name: &str| {
            let got = get(&driver, &format!("/streams/{name}"));
            let n = got["values"].as_array().unwrap().len();
            assert_eq!(got["records"], n);
            (n, got["truncated"].as_bool().unwrap())
        };
        assert_eq!(shown("three"), (3, true));
        assert_eq!(shown("ten"), (10, false), "exactly as many as may be");
        assert_eq!(shown("tail"), (2, false));
        // "x","xx","xxx" are 14 bytes; the next one and its comma are 7 more.
        assert_eq!(shown("bytes"), (3, true));
        assert_eq!(shown("all"), (10, false));
        let before = asked.load(std::sync::atomic::Ordering::SeqCst);
        driver.batch().unwrap();
        assert_eq!(get(&driver, "/streams/all")["truncated"], true);
        let n = asked.load(std::sync::atomic::Ordering::SeqCst) - before;
        assert!(n < 10_000, "{n} records were made to show 1,000");
    }
}

#[test]
fn subscribers_get_the_newest_at_once_and_then_every_batch() {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.serve("s");
    });
    for n in 1..=4 {
        driver.input().push([n]);
    }
    driver.batches(2).unwrap();
    let mut first = events(&driver, "s", None);
    assert_eq!(next(&mut first), (2000, json!([2])));
    driver.batch().unwrap();
    assert_eq!(next(&mut first), (3000, json!([3])));
    assert_eq!(get(&driver, "/streams")["streams"][0]["subscribers"], 1);

    let mut again = events(&driver, "s", Some(1000));
    assert_eq!(next(&mut again), (2000, json!([2])));
    assert_eq!(next(&mut again), (3000, json!([3])));
    let mut seen_all = events(&driver, "s", Some(3000));
    driver.batch().unwrap();
    for subscriber in [&mut first, &mut again, &mut seen_all] {
        assert_eq!(next(subscriber), (4000, json!([4])));
    }
}

#[test]
fn a_graceful_stop_delivers_the_last_batch_and_then_the_end() {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.serve("s");
    });
    driver.input().push([1]);
    driver.input().push([2]);
    driver.batch().unwrap();
    let address = driver.context().http_address().unwrap();
    let mut subscriber = events(&driver, "s", None);
    assert_eq!(next(&mut subscriber), (1000, json!([1])));
    driver.batch().unwrap();
    driver.context().stop(true).unwrap();
    let rest: Vec<_> = subscriber.filter(|e| !e.data.is_empty()).collect();
    let ids: Vec<_> = rest.iter().map(|e| (e.id, e.event.as_deref())).collect();
    assert_eq!(ids, [(Some(2000), None), (None, Some("end"))]);
    assert!(HttpClient::connect(address).is_err(), "the port is free");
}

#[test]
fn a_slow_subscriber_goes_on_with_the_newest_and_the_rest_is_counted() {
    // Batches of 1 MB, of which two are kept: what the connection's buffers don't hold is skipped.
    let options = ServeOptions::new().history(2).max_bytes(2 << 20);
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.map(|x| (x, "x".repeat(1 << 20))).serve_with("s", options);
    });
    const BATCHES: u32 = 60;
    for n in 1..=BATCHES {
        driver.input().push([n]);
    }
    driver.batch().unwrap();
    let mut slow = events(&driver, "s", None);
    assert_eq!(next(&mut slow).0, 1000);
    driver.batches(BATCHES as usize - 1).unwrap();
    let (mut ids, mut skipped) = (Vec::new(), 0);
    while ids.last() != Some(&(u64::from(BATCHES) * 1000)) {
        let event = slow.next_event();
        for comment in &event.comments {
            let n = comment.strip_suffix(" events skipped").unwrap();
            skipped += n.parse::<u64>().unwrap();
        }
        ids.push(event.id.unwrap());
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(ids.len() as u64 + skipped, u64::from(BATCHES) - 1, "{ids:?}");
    assert!(skipped > 0);
    assert_eq!(driver.context().counters()["serve-s.skipped_events"], skipped);
}

#[test]
fn a_quiet_stream_sends_comments() {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.serve_with("s", ServeOptions::new().keep_alive(millis(1)));
    });
    driver.start().unwrap();
    let quiet = events(&driver, "s", None);
    let comments = quiet.filter(|e| e.data.is_empty() && e.comments == [""]).take(3);
    assert_eq!(comments.count(), 3);
}

#[test]
fn pages_own_values_and_other_paths() {
    let mut driver = driver(TestEngine::Local, conf(), |ssc, s: &DStream<u32>| {
        s.print_to(1, drop);
        ssc.serve_page("/", "text/html; charset=utf-8", "<p>hello</p>");
        let own = ssc.serve_values("own", ServeOptions::new().max_elements(2));
        own.publish(Time::from_millis(7), ["a", "b", "c"]).unwrap();
    });
    driver.start().unwrap();
    let mut client = client(&driver);
    let page = client.get("/?x=1").unwrap();
    assert_eq!((page.status, &*page.text()), (200, "<p>hello</p>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let head = client.request("HEAD", "/", &[], b"").unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
    let own: Value = serde_json::from_slice(&client.get("/streams/own").unwrap().body).unwrap();
    let want =
        json!({"stream": "own", "time": 7, "records": 2, "truncated": true, "values": ["a", "b"]});
    assert_eq!(own, want);
    for path in ["/x", "/streams/none", "/streams/own/events/more", "/streams/own/x", "/streamsown"]
    {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("GET /streams lists"), "{}", answer.text());
    }
    for path in ["/", "/streams", "/streams/own", "/streams/own/events"] {
        let answer = client.post(path, "x").unwrap();
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(client.request("OPTIONS", path, &[], b"").unwrap().status, 204);
    }
}

#[test]
fn the_address_is_the_contexts_or_the_configurations() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |at: &str, serve_at: Option<&str>| {
        let conf = conf().http_address(at);
        let mut driver = driver(TestEngine::Local, conf, |ssc, s: &DStream<u32>| {
            s.serve("s");
            serve_at.map(|a| ssc.serve_at(a)).transpose().unwrap();
        });
        driver.start().map_err(|e| e.to_string())?;
        Ok::<_, String>(driver.context().http_address().unwrap())
    };
    let e = start(&address, None).unwrap_err();
    assert!(e.contains(&format!("listening on {address} for `serve` ({}:", file!())), "{e}");
    assert!(e.contains("choose another port"), "{e}");
    assert!(start("127.0.0.1:0", Some(&address)).is_err());
    assert!(start(&address, Some("localhost:0")).unwrap().ip().is_loopback());
    let e = start("8080", None).unwrap_err();
    assert!(e.contains("`8080`") && e.contains("write HOST:PORT"), "{e}");
}

#[test]
fn a_record_without_a_json_form_fails_its_batch_with_its_type() {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.map(|x| std::collections::BTreeMap::from([((x, x), x)])).serve("s");
    });
    driver.input().push([1]);
    let e = driver.batch().unwrap_err().to_string();
    assert!(e.contains("BTreeMap") && e.contains("serve"), "{e}");
}

#[test]
fn nothing_is_listening_when_nothing_is_served() {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.print_to(1, drop);
    });
    driver.start().unwrap();
    assert_eq!(driver.context().http_address(), None);
    let e = driver.context().serve_at("127.0.0.1:0").unwrap_err().to_string();
    assert!(e.contains("before `start()`"), "{e}");
}

#[test]
#[should_panic(expected = "the served name `x` is taken by `serve` (")]
fn two_streams_of_one_name_are_refused_with_both_places() {
    driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.serve("x");
        s.map(|x| x + 1).serve("x");
    });
}

#[test]
#[should_panic(expected = "`a/b` can't be the name of a served stream")]
fn a_name_that_is_no_part_of_an_address_is_refused() {
    driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.serve("a/b");
    });
}
