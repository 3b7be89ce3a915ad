//! The example `live_dashboard`: its page, and a word on its way from the socket to a subscriber.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use brooklet_testkit::HttpClient;
use serde_json::Value;

use super::Example;

fn address(example: &mut Example) -> SocketAddr {
    let line = example.line();
    let address = line.strip_prefix("the page is at http://").and_then(|l| l.strip_suffix('/'));
    address.unwrap_or_else(|| panic!("{line}")).to_socket_addrs().unwrap().next().unwrap()
}

/// Waits for an event that has the word, and returns its count.
fn seen(at: SocketAddr, word: &str) -> u64 {
    let mut events =
        HttpClient::connect(at).unwrap().events("/streams/counts/events", None).unwrap();
    loop {
        let batch: Value = serde_json::from_str(&events.next_event().data).unwrap();
        let pairs = batch["values"].as_array().unwrap();
        if let Some(pair) = pairs.iter().find(|p| p[0] == word) {
            return pair[1].as_u64().unwrap();
        }
    }
}

#[test]
fn live_dashboard_shows_a_word_from_the_socket() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut example = Example::start("live_dashboard", &["127.0.0.1", &port, "127.0.0.1:0"]);
    let at = address(&mut example);
    let page = HttpClient::connect(at).unwrap().get("/").unwrap();
    assert!(page.text().contains("/streams/counts/events"), "{}", page.text());
    let (mut client, _) = listener.accept().unwrap();
    client.write_all("rivière rivière\n".as_bytes()).unwrap();
    assert_eq!(seen(at, "rivière"), 2);
}

#[test]
fn live_dashboard_has_text_of_its_own() {
    let mut example = Example::start("live_dashboard", &[]);
    let at = address(&mut example);
    assert!(seen(at, "brook") > 0);
}
