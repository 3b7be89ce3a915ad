//! Logs on the disk, followed by a stream: rotation, truncation, deletion, and a writer at full speed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use brooklet::prelude::*;
use brooklet::source::LogOptions;
use brooklet_testkit::{Collector, Driver, TestEngine};
use proptest::prelude::*;

use crate::support::{Notes, collect, counter, multiset};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// A folder of its own that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Relaxed);
        let name = format!("brooklet-logs-{name}-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text.as_bytes());
    }

    /// `log.1` to `log.2` and so on, then `log` to `log.1`.
    fn rotate(&self, name: &str) {
        for n in (1..100).rev() {
            let from = self.path(&format!("{name}.{n}"));
            if from.exists() {
                fs::rename(from, self.path(&format!("{name}.{}", n + 1))).unwrap();
            }
        }
        fs::rename(self.path(name), self.path(&format!("{name}.1"))).unwrap();
        File::create(self.path(name)).unwrap();
    }

    fn copy_truncate(&self, name: &str) {
        for n in (1..100).rev() {
            let from = self.path(&format!("{name}.{n}"));
            if from.exists() {
                fs::rename(from, self.path(&format!("{name}.{}", n + 1))).unwrap();
            }
        }
        fs::copy(self.path(name), self.path(&format!("{name}.1"))).unwrap();
        truncate(&self.path(name));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn truncate(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

struct Rig {
    driver: Driver<()>,
    seen: Collector<Str>,
}

impl Rig {
    fn new(path: PathBuf, options: LogOptions) -> Rig {
        Rig::on(TestEngine::Local, path, options)
    }

    fn on(engine: TestEngine, path: PathBuf, options: LogOptions) -> Rig {
        let seen = Collector::new();
        let s = seen.clone();
        let mut driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
            collect(&ssc.log_file_stream_with(&path, options.clone()), &s);
            Ok(())
        })
        .unwrap();
        driver.start().unwrap();
        Rig { driver, seen }
    }

    fn batch(&mut self) -> Vec<String> {
        let t = self.driver.batch().unwrap();
        self.seen.batch(t).iter().map(Str::to_string).collect()
    }

    fn count(&self, name: &str) -> u64 {
        counter(self.driver.context(), &format!("log_file_stream-0.{name}"))
    }
}

#[test]
fn log_is_followed_through_rotation_truncation_and_deletion() {
    for engine in ENGINES {
        let folder = Folder::new("follow");
        folder.append("log", "old\n");
        let mut rig = Rig::on(engine, folder.path("log"), LogOptions::new());
        assert!(rig.batch().is_empty(), "{engine:?}");
        folder.append("log", "1\n2\nha");
        assert_eq!(rig.batch(), ["1", "2"], "{engine:?}");
        folder.append("log", "lf\n");
        folder.rotate("log");
        folder.append("log", "3\n");
        folder.rotate("log");
        folder.append("log", "4\n");
        assert_eq!(rig.batch(), ["half", "3", "4"], "{engine:?}");
        folder.append("log", "5\n");
        folder.copy_truncate("log");
        folder.append("log", "6\n");
        assert_eq!(rig.batch(), ["5", "6"], "{engine:?}");
        fs::remove_file(folder.path("log")).unwrap();
        folder.append("log", "7\n");
        assert_eq!(rig.batch(), ["7"], "{engine:?}");
        truncate(&folder.path("log"));
        folder.append("log", "8 8 8\n");
        assert_eq!(rig.batch(), ["8 8 8"], "{engine:?}");
        assert_eq!((rig.count("rotations"), rig.count("truncations")), (3, 2), "{engine:?}");
        assert_eq!((rig.count("lost_bytes"), rig.count("records")), (0, 9), "{engine:?}");
    }
}

#[test]
fn listeners_see_the_files_and_bytes_of_a_batch() {
    let folder = Folder::new("info");
    let mut rig = Rig::new(folder.path("log"), LogOptions::new());
    let notes = Notes::of(rig.driver.context());
    folder.append("log", "1\n2\n");
    rig.batch();
    let info = notes.completed(1).stream_id_to_input_info[&0].clone();
    assert_eq!(info.num_records, 2);
    let path = folder.path("log").display().to_string();
    assert_eq!(info.metadata[&path], "0..4");
    let description = info.metadata_description().unwrap();
    assert_eq!(description, format!("{path}: 4 bytes of 1 file"));
}

#[test]
fn large_batch_has_several_partitions_that_end_at_line_ends() {
    for engine in ENGINES {
        let folder = Folder::new("split");
        let text: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
        folder.append("log", &text);
        let seen = Collector::new();
        let (s, path) = (seen.clone(), folder.path("log"));
        let mut driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
            let s = s.clone();
            let options = LogOptions::new().from_start().split_bytes(10_000);
            ssc.log_file_stream_with(&path, options).glom().foreach_rdd(move |rdd, t| {
                s.push(t, rdd.collect()?);
                Ok::<_, Error>(())
            });
            Ok(())
        })
        .unwrap();
        let t = driver.batch().unwrap();
        let parts = seen.batch(t);
        assert_eq!(parts.len(), text.len().div_ceil(10_000), "{engine:?}");
        let all: String = parts.iter().flatten().map(|l| format!("{l}\n")).collect();
        assert!(all == text, "{engine:?}");
    }
}

#[test]
fn batch_reads_the_same_again_although_the_log_has_been_rotated_away() {
    for engine in ENGINES {
        let folder = Folder::new("again");
        folder.append("log", "1\n2\n3\n");
        let (seen, path) = (Collector::new(), folder.path("log"));
        let (s, f) = (seen.clone(), Arc::new(folder));
        let moved = Arc::new(AtomicBool::new(false));
        let (f2, m) = (f.clone(), moved.clone());
        let mut driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
            let (s, f, m) = (s.clone(), f2.clone(), m.clone());
            let lines = ssc.log_file_stream_with(&path, LogOptions::new().from_start());
            lines.foreach_rdd(move |rdd, t| {
                s.push(t, rdd.collect()?);
                if !m.swap(true, SeqCst) {
                    f.copy_truncate("log");
                    f.append("log", "other\ncontent\n");
                    f.rotate("log");
                }
                s.push(t, rdd.collect()?);
                Ok::<_, Error>(())
            });
            Ok(())
        })
        .unwrap();
        let t = driver.batch().unwrap();
        assert_eq!(seen.batch(t), ["1", "2", "3", "1", "2", "3"], "{engine:?}");
        let t = driver.batch().unwrap();
        assert_eq!(seen.batch(t), ["other", "content", "other", "content"], "{engine:?}");
    }
}

#[test]
fn batch_whose_bytes_are_gone_fails_and_says_which() {
    for engine in ENGINES {
        let folder = Folder::new("gone");
        folder.append("log", "1\n2\n3\n");
        let path = folder.path("log");
        let p = path.clone();
        let mut driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
            let p = p.clone();
            let lines = ssc.log_file_stream_with(&path, LogOptions::new().from_start());
            lines.foreach_rdd(move |rdd, _| {
                fs::write(&p, "4\n5\n6\n").unwrap();
                rdd.collect().map(drop)
            });
            Ok(())
        })
        .unwrap();
        let e = driver.batch().unwrap_err().to_string();
        for text in ["0..6", "gone-", "can't be read any more", "other content"] {
            assert!(e.contains(text), "{engine:?}: {e}");
        }
    }
}

#[test]
fn wrong_paths_and_options_end_the_start() {
    let folder = Folder::new("wrong");
    let log = folder.path("log");
    let refused = |path: &Path, options: LogOptions, text: &str| {
        let ssc = StreamingContext::new(Driver::<()>::conf(), seconds(1)).unwrap();
        ssc.log_file_stream_with(path, options).print();
        let e = ssc.start().unwrap_err().to_string();
        assert!(e.contains(text), "{e}");
    };
    refused(&folder.0, LogOptions::new(), "is a folder");
    refused(Path::new("/"), LogOptions::new(), "is a folder");
    refused(&folder.path("*/log"), LogOptions::new(), "last part of the path only");
    refused(&log, LogOptions::new().charset("gkb"), "`gkb` is no known character set");
    refused(&log, LogOptions::new().charset("utf-16le"), "UTF-16LE");
    refused(&log, LogOptions::new().max_line_bytes(3), "at least 16");
    refused(&log, LogOptions::new().split_bytes(0), "split_bytes");
    refused(&log, LogOptions::new().max_batch_bytes(0), "max_batch_bytes");
}

#[test]
fn other_character_sets_are_converted() {
    let folder = Folder::new("gbk");
    append(&folder.path("log"), b"\xc7\xa7\xc0\xef\nplain\n\xff\n");
    let mut rig = Rig::new(folder.path("log"), LogOptions::new().from_start().charset("gbk"));
    assert_eq!(rig.batch(), ["千里", "plain", "\u{fffd}"]);
    assert_eq!(rig.count("invalid_text"), 1);
}

#[test]
fn pattern_follows_logs_that_come_later() {
    let folder = Folder::new("pattern");
    folder.append("a.log", "old\n");
    let mut rig = Rig::new(folder.path("*.log"), LogOptions::new());
    rig.batch();
    folder.append("a.log", "a1\n");
    folder.append("b.log", "b1\n");
    folder.append("b.txt", "no\n");
    let mut lines = rig.batch();
    lines.sort();
    assert_eq!(lines, ["a1", "b1"]);
    folder.rotate("a.log");
    folder.append("a.log", "a2\n");
    assert_eq!(rig.batch(), ["a2"]);
}

#[test]
fn graceful_stop_processes_what_was_written_before() {
    let folder = Folder::new("stop");
    let options = LogOptions::new().from_start().max_batch_bytes(10);
    let rig = Rig::new(folder.path("log"), options);
    folder.append("log", &"12345\n".repeat(20));
    folder.append("log", "half");
    rig.driver.context().stop(true).unwrap();
    assert_eq!(rig.seen.len(), 20);
    assert_eq!(rig.count("records"), 20, "counters outlive the stop");
}

#[test]
fn invalid_text_and_long_lines_are_counted_once() {
    let folder = Folder::new("counted");
    let mut rig = Rig::new(folder.path("log"), LogOptions::new());
    append(&folder.path("log"), b"\xff\n");
    rig.batch();
    append(&folder.path("log"), &b"x".repeat(3 << 20));
    append(&folder.path("log"), b"\n");
    assert_eq!(rig.batch().len(), 3);
    assert_eq!((rig.count("invalid_utf8"), rig.count("long_lines")), (1, 1));
    assert_eq!(rig.count("records"), 4);
}

/// Writes numbered lines as fast as it can, in odd pieces, and rotates; every line is written at once into
/// the file that is open then.
#[test]
fn fast_writer_with_twenty_rotations_loses_and_repeats_no_line() {
    const LINES: u64 = 200_000;
    const ROTATIONS: u64 = 20;
    let folder = Arc::new(Folder::new("fast"));
    let options = LogOptions::new().max_batch_bytes(1 << 20).split_bytes(64 << 10);
    let mut rig = Rig::new(folder.path("log"), options);
    let (f, written) = (folder.clone(), Arc::new(AtomicU64::new(0)));
    let w = written.clone();
    let writer = std::thread::spawn(move || {
        let mut file = OpenOptions::new().append(true).create(true).open(f.path("log")).unwrap();
        let mut text = String::new();
        for n in 0..LINES {
            use std::fmt::Write;
            writeln!(text, "{n} {}", "x".repeat(n as usize % 61)).unwrap();
            if n % 53 == 0 || n == LINES - 1 {
                file.write_all(text.as_bytes()).unwrap();
                text.clear();
                w.store(n + 1, SeqCst);
            }
            if n % (LINES / ROTATIONS) == LINES / ROTATIONS / 2 {
                f.rotate("log");
                // The half of what is waiting still goes to the old file.
                file.write_all(text.as_bytes()).unwrap();
                text.clear();
                file = OpenOptions::new().append(true).open(f.path("log")).unwrap();
            }
        }
    });
    let mut lines = Vec::new();
    let mut ended = false;
    loop {
        let done = writer.is_finished();
        let batch = rig.batch();
        if batch.is_empty() && ended {
            break;
        }
        ended = done;
        lines.extend(batch);
    }
    writer.join().unwrap();
    let number = |l: &String| l.split(' ').next().unwrap().parse::<u64>().unwrap();
    let times = multiset(lines.iter().map(number));
    assert_eq!(times.len() as u64, LINES);
    assert!(times.values().all(|n| *n == 1), "{:?}", times.iter().find(|(_, n)| **n != 1));
    assert_eq!(rig.count("records"), LINES);
    assert_eq!((rig.count("rotations"), rig.count("lost_bytes")), (ROTATIONS, 0));
}

/// What happens to a log on the disk.
#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Rotate,
    CopyTruncate,
    DeleteAndCreate,
    Batch,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1usize..100).prop_map(Op::Append),
        2 => Just(Op::Rotate),
        1 => Just(Op::CopyTruncate),
        1 => Just(Op::DeleteAndCreate),
        4 => Just(Op::Batch),
    ]
}

/// Lines go on from file to file: those of a file that is rotated or deleted are finished first. A file is
/// deleted right after a batch has seen it.
fn follow(rig: &mut Rig, folder: &Folder, from: usize, ops: &[Op]) -> (Vec<String>, Vec<String>) {
    let name = "log";
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    let mut rest = String::new();
    let append = |rest: &mut String, written: &mut Vec<String>, mut n: usize| {
        while n > 0 {
            if rest.is_empty() {
                let n = from + written.len();
                let line = format!("{n} {}", "ü".repeat(n * 7 % 30));
                *rest = format!("{line}\n");
                written.push(line);
            }
            let mut take = n.min(rest.len());
            while !rest.is_char_boundary(take) {
                take += 1;
            }
            folder.append(name, &rest[..take]);
            rest.drain(..take);
            n = n.saturating_sub(take);
        }
    };
    for op in ops {
        if let Op::Append(n) = op {
            append(&mut rest, &mut written, *n);
            continue;
        }
        let end = rest.len();
        match op {
            Op::Append(_) => {}
            Op::Rotate => {
                append(&mut rest, &mut written, end);
                folder.rotate(name);
            }
            Op::CopyTruncate => {
                append(&mut rest, &mut written, end);
                folder.copy_truncate(name);
            }
            Op::DeleteAndCreate => {
                append(&mut rest, &mut written, end);
                seen.extend(rig.batch());
                fs::remove_file(folder.path(name)).unwrap();
                File::create(folder.path(name)).unwrap();
            }
            Op::Batch => seen.extend(rig.batch()),
        }
    }
    let end = rest.len().max(1);
    append(&mut rest, &mut written, end);
    let end = rest.len();
    append(&mut rest, &mut written, end);
    seen.extend(rig.batch());
    (written, seen)
}

fn check(engine: TestEngine, ops: &[Vec<Op>]) -> Result<(), TestCaseError> {
    let folder = Folder::new("ops");
    File::create(folder.path("log")).unwrap();
    let mut rig = Rig::on(engine, folder.path("log"), LogOptions::new().split_bytes(64));
    let mut lines = 0;
    for ops in ops {
        let (written, seen) = follow(&mut rig, &folder, lines, ops);
        lines += written.len();
        prop_assert_eq!(multiset(seen), multiset(written), "{:?}", engine);
        for entry in fs::read_dir(&folder.0).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "log" {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    prop_assert_eq!(rig.count("lost_bytes"), 0);
    Ok(())
}

fn cases() -> impl Strategy<Value = Vec<Vec<Op>>> {
    prop::collection::vec(prop::collection::vec(op(), 1..25), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn every_line_comes_once_through_any_operations(ops in cases()) {
        check(TestEngine::Local, &ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_line_comes_once_on_an_engine_without_shared_memory(ops in cases()) {
        check(TestEngine::Loopback, &ops)?;
    }
}
