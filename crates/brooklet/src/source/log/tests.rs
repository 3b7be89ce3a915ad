//! Logs in a model of a folder: rotation of all kinds between and within batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::file::LogRange;
use super::follow::{Begin, Rules};
use super::follower::Follower;
use super::fs::Files;
use super::model::{Model, Node};
use super::names::LogPath;
use super::scan::{Lines, count_lines};
use crate::Time;
use crate::receiver::HalfLines;
use crate::source::Charset;
use crate::sync::LockExt;

const MAX_LINE: usize = 64;
const LINES: Lines = Lines { max_line: MAX_LINE, charset: Charset::UTF_8 };

/// Follows logs in a model, batch by batch.
struct Rig {
    fs: Model,
    follower: Follower<Model>,
    time: Time,
    last: Vec<LogRange>,
}

fn rules() -> Rules {
    Rules {
        lines: LINES,
        half_lines: HalfLines::Keep,
        rotated_wait: Duration::from_secs(10),
        split: 256,
    }
}

impl Rig {
    fn new(fs: &Model, name: &str, begin: Begin) -> Rig {
        Rig::with(fs, name, begin, rules(), 1 << 20)
    }

    fn with(fs: &Model, name: &str, begin: Begin, rules: Rules, batch: u64) -> Rig {
        let path = LogPath::new(&Model::path(name)).unwrap();
        let mut follower = Follower::new(fs.clone(), path, rules, begin, batch);
        follower.look(Time::ZERO);
        Rig { fs: fs.clone(), follower, time: Time::ZERO, last: Vec::new() }
    }

    /// The lines of the next batch, read at once.
    fn batch(&mut self) -> Vec<String> {
        self.limited(None)
    }

    fn limited(&mut self, limit: Option<u64>) -> Vec<String> {
        self.time = self.time + Duration::from_secs(1);
        let chosen = self.follower.choose(self.time, limit);
        let mut lines = Vec::new();
        for (range, file) in &chosen {
            assert!(range.to > range.from);
            let mut bytes = vec![0; (range.to - range.from) as usize];
            assert_eq!(self.fs.read_at(file, &mut bytes, range.from).unwrap(), bytes.len());
            assert_eq!(crc32c::crc32c(&bytes), range.crc);
            let text = LINES.prepare(&bytes, false).text;
            assert_eq!(count_lines(&text), range.records);
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
        self.last = chosen.into_iter().map(|(r, _)| r).collect();
        lines
    }

    fn count(&self, name: &str) -> u64 {
        self.follower.counts().get(name).copied().unwrap_or_default()
    }
}

#[test]
fn end_is_where_the_last_whole_line_ended_at_the_start() {
    let fs = Model::default();
    let log = fs.write("log", "old\nha");
    let mut rig = Rig::new(&fs, "log", Begin::End);
    assert!(rig.batch().is_empty());
    fs.append(&log, b"lf\nnew\n");
    assert_eq!(rig.batch(), ["half", "new"]);
    assert!(rig.batch().is_empty());
}

#[test]
fn start_reads_the_file_and_not_the_rotated_ones() {
    let fs = Model::default();
    fs.write("log.1", "older\n");
    fs.write("log", "old\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["old"]);
    fs.rotate("log");
    assert!(rig.batch().is_empty(), "what was there at the start is never new");
}

#[test]
fn rotated_files_come_oldest_first_and_compressed_ones_are_reported() {
    let fs = Model::default();
    fs.write("log.3", "0\n");
    fs.compress("log.3");
    for (name, text) in [("log.2", "1\n"), ("log.1", "2\n"), ("log", "3\n")] {
        fs.write(name, text);
    }
    let mut rig = Rig::new(&fs, "log", Begin::Rotated);
    assert_eq!(rig.batch(), ["1", "2", "3"]);
    assert_eq!(rig.count("lost_files"), 1);
}

#[test]
fn log_that_is_missing_at_the_start_is_read_from_its_first_line() {
    let fs = Model::default();
    fs.write("log.1", "old\n");
    let mut rig = Rig::new(&fs, "log", Begin::End);
    assert!(rig.batch().is_empty());
    fs.write("log", "one\n");
    fs.rotate("log");
    assert_eq!(rig.batch(), ["one"], "created and rotated between two looks");
}

#[test]
fn several_rotations_between_two_batches_lose_nothing() {
    let fs = Model::default();
    fs.write("log", "0\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["0"]);
    let mut log = fs.get("log").unwrap();
    for n in 1..6 {
        fs.append(&log, format!("{n}a\n").as_bytes());
        log = fs.rotate("log");
        fs.append(&log, format!("{n}b\n").as_bytes());
    }
    assert_eq!(rig.batch(), ["1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b", "5a", "5b"]);
    assert_eq!((rig.count("rotations"), rig.count("gaps"), rig.count("lost_bytes")), (5, 0, 0));
}

#[test]
fn rotated_file_is_read_as_long_as_it_is_written_to() {
    let fs = Model::default();
    let old = fs.write("log", "1\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    rig.batch();
    let new = fs.rotate("log");
    fs.append(&new, b"3\n");
    assert_eq!(rig.batch(), ["3"]);
    fs.append(&old, b"2");
    for _ in 0..9 {
        assert!(rig.batch().is_empty());
    }
    fs.append(&old, b"b\nhalf");
    assert_eq!(rig.batch(), ["2b"], "ten seconds begin again with each write");
    for _ in 0..9 {
        assert!(rig.batch().is_empty());
    }
    assert_eq!(rig.batch(), ["half"]);
    assert_eq!(rig.count("half_lines"), 1);
    fs.append(&old, b"!\nlate\n");
    assert!(rig.batch().is_empty());
    fs.rotate("log");
    assert_eq!(rig.batch(), ["!", "late"], "what is written later is found at the next rotation");
    assert_eq!(rig.count("rotations"), 2, "a file that goes on is no new one");
    drop(new);
}

#[test]
fn half_lines_of_rotated_files_may_be_dropped() {
    let fs = Model::default();
    fs.write("log", "1\nhalf");
    let rules = Rules { half_lines: HalfLines::Drop, ..rules() };
    let mut rig = Rig::with(&fs, "log", Begin::Start, rules, 1 << 20);
    assert_eq!(rig.batch(), ["1"]);
    fs.rotate("log");
    assert!((0..20).all(|_| rig.batch().is_empty()));
    assert_eq!(rig.count("half_lines"), 1);
}

#[test]
fn deleted_file_is_read_to_its_end() {
    let fs = Model::default();
    let log = fs.write("log", "1\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    rig.batch();
    fs.append(&log, b"2\n");
    fs.delete("log");
    assert_eq!(rig.batch(), ["2"]);
    drop(log);
    fs.write("log", "3\n");
    assert_eq!(rig.batch(), ["3"]);
}

#[test]
fn inode_of_a_deleted_file_is_not_taken_for_that_file() {
    let fs = Model::default();
    fs.write("log.1", "old\n");
    fs.write("log", "1\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["1"]);
    fs.delete("log.1"); // its inode goes to the next file
    fs.rotate("log");
    fs.append(&fs.get("log").unwrap(), b"2\n");
    fs.rotate("log");
    assert_eq!(rig.batch(), ["2"]);
}

#[test]
fn copied_content_of_a_truncated_log_is_read_from_the_copy() {
    let fs = Model::default();
    let log = fs.write("log", "1\n2\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["1", "2"]);
    fs.append(&log, b"3\n");
    fs.copy_truncate("log");
    fs.append(&log, b"4\n");
    fs.copy_truncate("log");
    fs.append(&log, b"5\n");
    assert_eq!(rig.batch(), ["3", "4", "5"]);
    assert_eq!((rig.count("truncations"), rig.count("lost_bytes")), (1, 0));
    fs.rotate("log");
    assert!(rig.batch().is_empty(), "copies aren't new files");
}

#[test]
fn truncation_without_a_copy_is_counted_with_the_bytes_that_were_seen() {
    let fs = Model::default();
    let log = fs.write("log", "1\n22");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["1"]);
    fs.truncate(&log);
    fs.append(&log, b"3\n");
    assert_eq!(rig.batch(), ["3"]);
    assert_eq!((rig.count("truncations"), rig.count("lost_bytes")), (1, 2));
}

#[test]
fn truncated_log_that_has_grown_beyond_the_position_is_noticed_by_its_content() {
    let fs = Model::default();
    let log = fs.write("log", "1 first\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["1 first"]);
    fs.truncate(&log);
    fs.append(&log, b"2 first\n3\n");
    assert_eq!(rig.batch(), ["2 first", "3"]);
}

#[test]
fn file_that_was_compressed_before_it_was_read_is_reported() {
    let fs = Model::default();
    fs.write("log", "1\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["1"]);
    fs.append(&fs.rotate("log"), b"2 lost with its file\n");
    fs.append(&fs.rotate("log"), b"3\n");
    fs.compress("log.1");
    fs.compress("log.2"); // was read: not lost
    assert_eq!(rig.batch(), ["3"]);
    assert_eq!((rig.count("lost_files"), rig.count("lost_bytes")), (1, 7));
    fs.rotate("log");
    rig.batch();
    assert_eq!(rig.count("lost_files"), 1, "reported once");
}

#[test]
fn file_that_may_not_be_read_is_reported_once_and_the_log_goes_on() {
    let fs = Model::default();
    fs.write("log", "1\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    rig.batch();
    let secret = fs.rotate("log");
    secret.get().forbidden = true;
    fs.append(&secret, b"2\n");
    assert!(rig.batch().is_empty() && rig.batch().is_empty());
    assert_eq!(rig.count("read_errors"), 1);
    fs.append(&fs.rotate("log"), b"3\n");
    assert_eq!(rig.batch(), ["3"]);
    fs.rotate("log");
    rig.batch();
    assert_eq!((rig.count("lost_files"), rig.count("lost_bytes")), (1, 2));
}

#[test]
fn backlog_comes_in_batches_of_bounded_size() {
    let fs = Model::default();
    let text: String = (0..1_000).map(|n| format!("{n:03}\n")).collect();
    fs.write("log", &text);
    let mut rig = Rig::with(&fs, "log", Begin::Start, rules(), 1_000);
    let mut all = Vec::new();
    for _ in 0..4 {
        let lines = rig.batch();
        assert_eq!(lines.len(), 250);
        assert!(rig.last.iter().all(|r| r.to - r.from <= 256), "{:?}", rig.last);
        all.extend(lines);
    }
    assert_eq!(all.join("\n") + "\n", text);
    assert!(rig.batch().is_empty());
}

#[test]
fn limit_of_records_is_kept() {
    let fs = Model::default();
    fs.write("log", &"line\n".repeat(500));
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.limited(Some(120)).len(), 120);
    assert_eq!(rig.limited(Some(0)).len(), 0);
    assert_eq!(rig.limited(None).len(), 380);
}

#[test]
fn long_lines_are_cut_and_counted_once_however_they_arrive() {
    let long = "x".repeat(5 * MAX_LINE + 7);
    for piece in [1_000, 10, 63, 64, 65, 66] {
        let fs = Model::default();
        let log = fs.write("log", "");
        let mut rig = Rig::new(&fs, "log", Begin::Start);
        let mut lines = Vec::new();
        for p in format!("a\n{long}\nb\n").as_bytes().chunks(piece) {
            fs.append(&log, p);
            lines.extend(rig.batch());
        }
        assert_eq!(lines.len(), 8, "pieces of {piece}: {lines:?}");
        assert_eq!(lines[1..7].concat(), long);
        assert_eq!(rig.count("long_lines"), 1, "pieces of {piece}");
    }
}

#[test]
fn invalid_utf8_is_counted() {
    let fs = Model::default();
    let log = fs.create("log");
    fs.append(&log, b"caf\xe9\n\xff\xfe\n");
    let mut rig = Rig::new(&fs, "log", Begin::Start);
    assert_eq!(rig.batch(), ["caf\u{fffd}", "\u{fffd}\u{fffd}"]);
    assert_eq!(rig.count("invalid_utf8"), 3);
}

#[test]
fn logs_of_a_pattern_share_the_batch_and_rotated_files_are_none_of_them() {
    let fs = Model::default();
    let text = "line\n".repeat(100);
    for name in ["a.log", "b.log", "other"] {
        fs.write(name, &text);
    }
    fs.write("a.log.1", "old\n");
    let mut rig = Rig::with(&fs, "*.log*", Begin::Start, rules(), 200);
    for _ in 0..5 {
        assert_eq!(rig.batch().len(), 40);
        let of = |name: &str| rig.last.iter().filter(|r| r.log.ends_with(name)).count();
        assert!(of("a.log") > 0 && of("b.log") > 0, "{:?}", rig.last);
    }
    assert_eq!(rig.batch().len(), 0);
    fs.append(&fs.get("b.log").unwrap(), &text.as_bytes()[..150]);
    assert_eq!(rig.batch().len(), 30, "one alone may take all");
    fs.write("c.log", "1\n");
    fs.append(&fs.rotate("c.log"), b"2\n");
    assert_eq!(rig.batch(), ["1", "2"], "a new log is read from its first line");
    for name in fs.names() {
        fs.delete(&name);
    }
    (0..30).for_each(|_| assert!(rig.batch().is_empty()));
    fs.write("d.log", "3\n");
    assert_eq!(rig.batch(), ["3"]);
}

#[test]
fn graceful_stop_waits_for_what_was_there_and_not_for_half_lines() {
    let fs = Model::default();
    let log = fs.write("log", "1\n2\nhalf");
    let mut rig = Rig::with(&fs, "log", Begin::Start, rules(), 1);
    assert!(rig.follower.has_unread());
    assert_eq!(rig.batch(), ["1"]);
    assert!(rig.follower.has_unread());
    assert_eq!(rig.batch(), ["2"]);
    fs.append(&log, b"later");
    while rig.follower.has_unread() {
        assert!(rig.batch().is_empty());
    }
}

/// What happens to a log.
#[derive(Clone, Debug)]
enum Op {
    /// The next so many bytes of the endless text of numbered lines.
    Append(usize),
    /// Rename and create; the writer finishes its line in the old file, and the next ones with `late`.
    Rotate {
        late: usize,
    },
    CopyTruncate,
    Truncate,
    DeleteAndCreate,
    Compress(usize),
    Batch,
    Limited(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1usize..120).prop_map(Op::Append),
        3 => Just(Op::Rotate { late: 0 }),
        1 => (1usize..60).prop_map(|late| Op::Rotate { late }),
        1 => Just(Op::CopyTruncate),
        1 => Just(Op::Truncate),
        1 => Just(Op::DeleteAndCreate),
        1 => (1usize..4).prop_map(Op::Compress),
        4 => Just(Op::Batch),
        2 => (0u64..5).prop_map(Op::Limited),
    ]
}

/// The program that writes the log, and what may be lost of what it wrote.
struct Writer {
    fs: Model,
    file: Node,
    /// The rest of the line that is being written.
    rest: Vec<u8>,
    next: u64,
    /// The lines of each file, by the file's node and the generation of its content.
    written: Vec<(Node, Vec<String>)>,
    lost: BTreeSet<String>,
}

impl Writer {
    fn new(fs: &Model) -> Writer {
        let file = fs.create("log");
        let (fs, rest) = (fs.clone(), Vec::new());
        let written = vec![(file.clone(), Vec::new())];
        Writer { fs, file, rest, next: 0, written, lost: BTreeSet::new() }
    }

    fn append(&mut self, mut n: usize) {
        while n > 0 {
            if self.rest.is_empty() {
                let line = format!("{} {}", self.next, "x".repeat(self.next as usize * 7 % 40));
                self.rest = format!("{line}\n").into_bytes();
                self.next += 1;
                let of = self.written.iter_mut().rfind(|(f, _)| Arc::ptr_eq(f, &self.file));
                of.unwrap().1.push(line);
            }
            let take = n.min(self.rest.len());
            let piece: Vec<u8> = self.rest.drain(..take).collect();
            self.fs.append(&self.file, &piece);
            n -= take;
        }
    }

    fn finish_line(&mut self) {
        self.append(self.rest.len());
    }

    fn open(&mut self) {
        self.file = self.fs.get("log").unwrap();
        self.written.push((self.file.clone(), Vec::new()));
    }

    /// The content is in `log.1` now.
    fn copied(&mut self) {
        let of = self.written.iter_mut().rfind(|(f, _)| Arc::ptr_eq(f, &self.file));
        of.unwrap().0 = self.fs.get("log.1").unwrap();
        self.written.push((self.file.clone(), Vec::new()));
    }

    /// The lines of the last content of this file may be lost.
    fn lose(&mut self, file: &Node) {
        let of = self.written.iter().rfind(|(f, _)| Arc::ptr_eq(f, file));
        self.lost.extend(of.iter().flat_map(|(_, lines)| lines).cloned());
    }
}

fn follow(ops: Vec<Op>, split: usize, wait: u64) -> Result<(), TestCaseError> {
    let fs = Model::default();
    let mut writer = Writer::new(&fs);
    let rules = Rules { split, rotated_wait: Duration::from_secs(wait), ..rules() };
    let mut rig = Rig::with(&fs, "log", Begin::Start, rules, 1 << 20);
    let mut seen: Vec<String> = Vec::new();
    // Files that there were at the last look: whatever happens to their names, they are read.
    let mut looked: Vec<u128> = vec![writer.file.get().serial];
    // A copy beside a deleted file may be older or younger than that.
    let (mut in_order, mut copied, mut deleted) = (true, false, false);
    for op in ops {
        match op {
            Op::Append(n) => writer.append(n),
            Op::Rotate { late } => {
                writer.fs.rotate("log");
                writer.append(late);
                in_order &= late == 0;
                writer.finish_line();
                writer.open();
            }
            Op::CopyTruncate => {
                writer.finish_line();
                fs.copy_truncate("log");
                writer.copied();
                (copied, in_order) = (true, in_order && !deleted);
            }
            Op::Truncate => {
                writer.finish_line();
                let file = writer.file.clone();
                writer.lose(&file);
                fs.truncate(&file);
                writer.written.push((file, Vec::new()));
                in_order = false; // the copy of an earlier truncation may be read later
            }
            Op::DeleteAndCreate => {
                writer.finish_line();
                let file = writer.file.clone();
                if !looked.contains(&file.get().serial) {
                    writer.lose(&file);
                }
                (deleted, in_order) = (true, in_order && !copied);
                fs.delete("log");
                fs.create("log");
                writer.open();
            }
            Op::Compress(n) => {
                let name = format!("log.{n}");
                if let Some(file) = fs.get(&name) {
                    if !looked.contains(&file.get().serial) {
                        writer.lose(&file);
                    }
                    (deleted, in_order) = (true, in_order && !copied);
                    fs.compress(&name);
                }
            }
            Op::Batch | Op::Limited(_) => {
                let limit = if let Op::Limited(n) = op { Some(n) } else { None };
                seen.extend(rig.limited(limit));
                let names = fs.names().into_iter().filter(|n| !n.ends_with(".gz"));
                looked = names.filter_map(|n| Some(fs.get(&n)?.get().serial)).collect();
            }
        }
    }
    writer.finish_line();
    loop {
        let lines = rig.batch();
        if lines.is_empty() {
            break;
        }
        seen.extend(lines);
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    seen.iter().for_each(|l| *times.entry(l).or_default() += 1);
    let again: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    prop_assert!(again.is_empty(), "twice: {again:?}");
    let written: BTreeSet<&str> =
        writer.written.iter().flat_map(|(_, l)| l).map(|l| &**l).collect();
    let broken: Vec<_> = times.keys().filter(|l| !written.contains(*l)).collect();
    prop_assert!(broken.is_empty(), "never written: {broken:?}");
    let missing = written.iter().filter(|l| !times.contains_key(*l) && !writer.lost.contains(**l));
    let missing: Vec<_> = missing.collect();
    prop_assert!(missing.is_empty(), "missing: {missing:?}");
    let number = |l: &String| l.split(' ').next().unwrap().parse::<u64>().unwrap();
    if in_order {
        prop_assert!(seen.iter().map(number).is_sorted(), "out of order: {seen:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_line_comes_once_whatever_happens_to_the_log(
        ops in prop::collection::vec(op(), 1..60),
        split in 16usize..200,
        wait in prop_oneof![Just(0u64), Just(3), Just(1_000)],
    ) {
        follow(ops, split, wait)?;
    }

    #[test]
    fn any_bytes_are_followed_in_bounded_memory(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12),
        batch in 1u64..400,
        split in 1usize..300,
        truncate in any::<Option<u8>>(),
    ) {
        let fs = Model::default();
        let log = fs.create("log");
        let rules = Rules { split, ..rules() };
        let mut rig = Rig::with(&fs, "log", Begin::Start, rules, batch);
        let mut records = 0;
        for (i, p) in pieces.iter().enumerate() {
            if truncate == Some(i as u8) {
                fs.truncate(&log);
            }
            fs.append(&log, p);
            records += rig.batch().len();
            let largest = rig.last.iter().map(|r| r.to - r.from).max().unwrap_or(0);
            prop_assert!(largest <= (split.max(MAX_LINE + 2)) as u64);
        }
        loop {
            match rig.batch().len() {
                0 => break,
                n => records += n,
            }
        }
        prop_assert_eq!(rig.count("records"), records as u64);
        if truncate.is_none_or(|i| i as usize >= pieces.len()) {
            // The same text in one piece has the same lines, but for the half line at the end.
            let all = pieces.concat();
            let end = memchr::memrchr(b'\n', &all).map_or(0, |at| at + 1);
            let whole = count_lines(&LINES.prepare(&all[..end], false).text);
            let half = count_lines(&LINES.prepare(&all[end..], false).text);
            prop_assert!((whole..=whole + half).contains(&(records as u64)), "{records} {whole} {half}");
        }
    }
}
