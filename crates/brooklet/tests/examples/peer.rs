//! The example `peer`: its protocol, and results equal to a count made here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{Example, serve};

const LINES: usize = 2_350;
const PER_BATCH: usize = 1_000;
const PASSES: usize = 2;
/// In every thirteenth line.
const NEEDLE: &str = "Nadel";

/// A file that goes when the test ends.
struct Text {
    path: PathBuf,
    lines: Vec<String>,
}

impl Text {
    fn new(case: &str) -> Text {
        let word = |i: usize| match i % 13 {
            0 => format!("{NEEDLE}{}", i % 3),
            n => format!("wörter{}", i * n % 701),
        };
        let line = |i: usize| (0..5).map(|j| word(i + 13 * j)).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = (0..LINES).map(line).collect();
        let name = format!("brooklet-peer-{case}-{}.txt", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        Text { path, lines }
    }

    fn data(&self) -> String {
        format!("data={}", self.path.display())
    }

    /// Keys and words, per batch and added up over all of them and over all passes.
    fn counted(&self, per_batch: usize, batches: usize, passes: usize) -> String {
        let (mut keys, mut words) = (0, 0);
        for batch in self.lines.chunks(per_batch).take(batches) {
            let all: Vec<_> = batch.iter().flat_map(|l| l.split(' ')).collect();
            words += all.len();
            keys += all.into_iter().collect::<BTreeSet<_>>().len();
        }
        format!("{}/{}", keys * passes, words * passes)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The events of a run.
fn events(args: &[&str]) -> Vec<Value> {
    let lines = Example::start("peer", args).rest();
    lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn batches(events: &[Value]) -> Vec<u64> {
    let batches: Vec<_> = events.iter().filter(|e| e["ev"] == "batch").collect();
    for (i, b) in batches.iter().enumerate() {
        assert_eq!(b["i"], i, "{b}");
        assert!(b["ms"].as_f64().unwrap() > 0.0, "{b}");
    }
    batches.iter().map(|b| b["n"].as_u64().unwrap()).collect()
}

fn fingerprint(events: &[Value]) -> &str {
    let checks: Vec<_> = events.iter().filter(|e| e["ev"] == "check").collect();
    assert_eq!(checks.len(), 1, "{events:?}");
    checks[0]["v"].as_str().unwrap()
}

#[test]
fn word_count_has_the_fingerprint_of_a_count_by_hand() {
    let text = Text::new("wordcount");
    let (lines, passes) = (format!("lines={PER_BATCH}"), format!("passes={PASSES}"));
    let events = events(&["wordcount", &text.data(), &lines, "batches=20", &passes]);
    // Three batches, the last of which is short, twice; five words a line.
    assert_eq!(batches(&events), [5_000, 5_000, 1_750, 5_000, 5_000, 1_750]);
    assert_eq!(fingerprint(&events), text.counted(PER_BATCH, 20, PASSES));
}

#[test]
fn grep_finds_every_line_with_the_needle() {
    let text = Text::new("grep");
    let (lines, needle) = (format!("lines={PER_BATCH}"), format!("needle={NEEDLE}"));
    let events = events(&["grep", &text.data(), &lines, "passes=1", &needle]);
    assert_eq!(batches(&events).len(), 3);
    let found = text.lines.iter().filter(|l| l.contains(NEEDLE)).count();
    assert!(found > 100);
    assert_eq!(fingerprint(&events), found.to_string());
}

#[test]
fn batches_of_one_line_are_counted_too() {
    let text = Text::new("empty");
    let events = events(&["empty", &text.data(), "lines=1", "passes=1", "batches=50"]);
    assert_eq!(batches(&events), [5; 50]);
    assert_eq!(fingerprint(&events), text.counted(1, 50, 1));
}

#[test]
fn a_socket_is_counted() {
    const LINES: u64 = 5_000;
    let port = format!("port={}", serve("a line\n".repeat(LINES as usize)));
    let events = events(&["socket", &port, "interval=100", "secs=1"]);
    assert!(events.iter().any(|e| e["ev"] == "first"), "{events:?}");
    assert_eq!(batches(&events).iter().sum::<u64>(), LINES);
    let records = events.iter().find(|e| e["k"] == "records").unwrap();
    assert_eq!((&records["ev"], &records["v"]), (&"metric".into(), &LINES.into()));
}

#[test]
fn an_unknown_case_is_refused_with_code_3() {
    let mut example = Example::start("peer", &["kafka-count"]);
    assert_eq!(example.child.wait().unwrap().code(), Some(3));
}
