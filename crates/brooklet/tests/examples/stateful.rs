//! The examples that keep state: totals over runs, sessions, a leaderboard.

use std::net::ToSocketAddrs;

use brooklet_testkit::{HttpClient, TestTcpServer};
use serde_json::{Value, json};

use super::{Example, pair};

/// What `stateful_network_word_count` shows of a text with `n` words, sorted, and what it shows while it stops.
fn totals(text: &str, directory: Option<&str>) -> Vec<(String, u64)> {
    let server = TestTcpServer::serving(text).unwrap();
    let port = server.port().to_string();
    let args: Vec<&str> = ["127.0.0.1", &port].into_iter().chain(directory).collect();
    let mut example = Example::start("stateful_network_word_count", &args);
    let mut lines = Vec::new();
    let count = text.split_whitespace().count();
    while lines.len() < count {
        lines.extend(example.page().1);
    }
    lines.extend(example.stop());
    let mut pairs: Vec<_> = lines.iter().filter_map(|l| pair(l)).collect();
    pairs.sort();
    pairs
}

fn owned(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(word, n)| (word.to_string(), *n)).collect()
}

#[test]
fn stateful_network_word_count_goes_on_with_the_totals_of_the_run_before() {
    let dir = std::env::temp_dir().join(format!("brooklet-example-totals-{}", std::process::id()));
    let place = Some(dir.to_str().unwrap());
    let first = totals("hello world\nhello 流\n", place);
    assert_eq!(first, owned(&[("hello", 2), ("hello", 3), ("world", 2), ("流", 1)]));
    // `hello` doesn't begin at 1 again.
    let second = totals("流 hello\n\nnew\n", place);
    assert_eq!(second, owned(&[("hello", 4), ("new", 1), ("流", 2)]));
    let third = totals("new world world 流\n", place);
    assert_eq!(third, owned(&[("new", 2), ("world", 3), ("world", 4), ("流", 3)]));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn stateful_network_word_count_begins_anew_without_a_directory() {
    for _ in 0..2 {
        let seen = totals("hello brook\nhello\n", None);
        assert_eq!(seen, owned(&[("brook", 1), ("hello", 2), ("hello", 3)]));
    }
}

/// A closed session as `sessionization` shows it: user, clicks, first and last page.
fn session(line: &str) -> (String, u64, String, String) {
    let (user, rest) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
    let words: Vec<&str> = rest.split(' ').collect();
    let ["clicks", clicks, "seconds", time, "from", entry, "to", exit] = words[..] else {
        panic!("{line}")
    };
    assert!(time.trim_end_matches(',').parse::<u64>().is_ok(), "{line}");
    let clicks = clicks.trim_end_matches(',').parse().unwrap();
    (user.into(), clicks, entry.into(), exit.into())
}

#[test]
fn sessionization_closes_sessions_of_users_who_are_gone() {
    let text = "ada /index\nbob /news\nada /shop\nno-click\nada /cart\nbob /bye\n";
    let server = TestTcpServer::script().send(text).in_pieces([3, 11]).start().unwrap();
    let port = server.port().to_string();
    let mut example = Example::start("sessionization", &["127.0.0.1", &port, "2"]);
    let mut closed: Vec<(String, u64, String, String)> = Vec::new();
    while closed.iter().map(|(_, clicks, ..)| clicks).sum::<u64>() < 5 {
        closed.push(session(&example.line()));
    }
    // A session could end between two clicks if this machine stood still for two seconds.
    for (user, clicks, entry, exit) in [("ada", 3, "/index", "/cart"), ("bob", 2, "/news", "/bye")]
    {
        let own: Vec<_> = closed.iter().filter(|s| s.0 == user).collect();
        assert_eq!(own.iter().map(|s| s.1).sum::<u64>(), clicks, "{closed:?}");
        assert_eq!((own[0].2.as_str(), own[own.len() - 1].3.as_str()), (entry, exit), "{closed:?}");
    }
    // The next click of a user begins another session.
    server.send("ada /again\n");
    assert_eq!(session(&example.line()), ("ada".into(), 1, "/again".into(), "/again".into()));
}

#[test]
fn leaderboard_shows_the_best_in_the_terminal_and_on_its_page() {
    let text =
        "ada 10\ngrace 25\nada 20\nmary ann 40\nnobody\nx y\nedsger 30\nbarbara -5\nleslie 1\n";
    let server = TestTcpServer::serving(text).unwrap();
    let port = server.port().to_string();
    let mut example = Example::start("leaderboard", &["127.0.0.1", &port, "127.0.0.1:0"]);
    let line = example.line();
    let address =
        line.strip_prefix("the leaderboard is at http://").unwrap_or_else(|| panic!("{line}"));
    let at = address.trim_end_matches('/').to_socket_addrs().unwrap().next().unwrap();
    let page = HttpClient::connect(at).unwrap().get("/").unwrap();
    assert!(page.text().contains("/streams/leaders/events"), "{}", page.text());

    let mut events =
        HttpClient::connect(at).unwrap().events("/streams/leaders/events", None).unwrap();
    let mut shown = |best: Value| {
        loop {
            let batch: Value = serde_json::from_str(&events.next_event().data).unwrap();
            let players = batch["values"].as_array().unwrap();
            let points: Vec<i64> = players.iter().map(|p| p[1].as_i64().unwrap()).collect();
            assert!(points.len() <= 5 && points.is_sorted_by(|a, b| a >= b), "{batch}");
            if batch["values"] == best {
                break;
            }
        }
        let lines = best.as_array().unwrap().iter();
        let lines: Vec<String> = lines.map(|p| format!("({}, {})", p[0], p[1])).collect();
        while example.page().1 != lines {}
    };
    // Who has as many points as another one comes by name.
    shown(json!([["mary ann", 40], ["ada", 30], ["edsger", 30], ["grace", 25], ["leslie", 1]]));
    server.send("barbara 70\nmary ann -39\n");
    shown(json!([["barbara", 65], ["ada", 30], ["edsger", 30], ["grace", 25], ["leslie", 1]]));
}

#[test]
fn stateful_examples_say_how_they_are_used() {
    for name in ["stateful_network_word_count", "sessionization", "leaderboard"] {
        assert_eq!(Example::start(name, &[]).code(), Some(2), "{name}");
        assert_eq!(Example::start(name, &["localhost", "port"]).code(), Some(2), "{name}");
    }
    let never = ["localhost", "9999", "0"];
    assert_eq!(Example::start("sessionization", &never).code(), Some(2));
}
