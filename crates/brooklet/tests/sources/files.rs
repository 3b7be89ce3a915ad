//! Directories that are filled while the stream runs: every line exactly once, or a counted, named error.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::source::file::{Csv, FileOptions, InputFormat, JsonLines, StartFrom, WholeFiles};
use brooklet::{DStream, StreamInputInfo, Wire};
use brooklet_testkit::{Collector, Driver, TestEngine};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Notes, collect, counter, multiset};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("brooklet-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("in")).unwrap();
        Folder(path)
    }

    /// The directory that is watched.
    fn watched(&self) -> PathBuf {
        self.0.join("in")
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.watched().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn append(&self, name: &str, content: &str) {
        let path = self.watched().join(name);
        fs::OpenOptions::new()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files are taken as soon as they are seen.
fn at_once() -> FileOptions {
    FileOptions::new().settle_time(Duration::ZERO)
}

struct Rig<T: Wire> {
    driver: Driver<()>,
    seen: Collector<T>,
    notes: Notes,
}

impl<T: Wire + Ord> Rig<T> {
    fn new(
        engine: TestEngine,
        policy: FailurePolicy,
        stream: impl Fn(&StreamingContext) -> DStream<T>,
    ) -> Rig<T> {
        let seen = Collector::new();
        let s = seen.clone();
        let conf = Driver::<()>::conf().failure_policy(policy);
        let driver = Driver::with(engine, conf, move |ssc| {
            collect(&stream(ssc), &s);
            Ok(())
        })
        .unwrap();
        let notes = Notes::of(driver.context());
        Rig { driver, seen, notes }
    }

    fn batch(&mut self) -> Vec<T> {
        let t = self.driver.batch().unwrap();
        let mut all = self.seen.batch(t);
        all.sort_unstable();
        all
    }

    fn counter(&self, name: &str) -> u64 {
        counter(self.driver.context(), &format!("text_file_stream-0.{name}"))
    }

    /// What the batch at `seconds` says of the input.
    fn info(&self, seconds: u64) -> StreamInputInfo {
        self.notes.completed(seconds).stream_id_to_input_info[&0].clone()
    }

    fn everything(&self) -> BTreeMap<T, usize> {
        multiset(self.seen.items())
    }
}

fn lines(engine: TestEngine, dir: &Path, options: FileOptions) -> Rig<Str> {
    let dir = dir.to_owned();
    Rig::new(engine, FailurePolicy::stop(), move |ssc| {
        ssc.text_file_stream_with(&dir, options.clone())
    })
}

/// A shell that does one line after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn at(folder: &Path) -> Shell {
        let mut child = Command::new("sh")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Shell { child, input, output: BufReader::new(output) }
    }

    fn does(&mut self, line: &str) {
        writeln!(self.input, "{line}\necho done").unwrap();
        self.input.flush().unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{line}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

#[test]
fn directory_that_another_process_fills() {
    for engine in ENGINES {
        let folder = Folder::new();
        let mut other = Shell::at(&folder.0);
        fs::write(folder.0.join("packed"), [gzip("z1\nz2\n"), gzip("z3\n")].concat()).unwrap();
        let mut rig = lines(engine, &folder.watched(), FileOptions::new());
        let mut step = |line: &str| {
            other.does(line);
            rig.batch()
        };
        // Created and written in pieces, a half line among them.
        assert_eq!(step("printf 'a1\\na' > in/a"), [""; 0]);
        assert_eq!(step("printf '2\\na3' >> in/a"), [""; 0]);
        assert_eq!(step("printf '\\n' >> in/a"), [""; 0]);
        assert_eq!(step(":"), ["a1", "a2", "a3"], "{engine:?}");
        // Moved in, as old as the hills, and renamed after it was taken.
        let old = "echo b1 > b; touch -d 2001-02-03 b";
        step(&format!("{old}; mv b in/b"));
        step(":");
        step("mv in/b in/renamed; mv packed in/c.gz");
        // Written under a name that isn't looked at.
        step("echo d1 > in/.d; echo d2 >> in/_d");
        step(":");
        step("mv in/.d in/d; mv in/_d in/e");
        // A link to nothing, which becomes one to something.
        step("ln -s ../nowhere in/link");
        step(":");
        step("echo f1 > nowhere");
        step(":");
        // Another file under an old name.
        step("echo new > n; mv n in/a");
        // Many at once.
        step("i=0; while [ $i -lt 10000 ]; do echo m$i > in/m$i; i=$((i+1)); done");
        step("mv in/m7 in/seven");
        (0..4).for_each(|_| drop(step(":")));
        let mut want: Vec<Str> =
            ["a1", "a2", "a3", "b1", "z1", "z2", "z3", "d1", "d2", "f1", "new"]
                .map(Str::from)
                .into();
        want.extend((0..10_000).map(|i| Str::from(format!("m{i}"))));
        assert!(rig.everything() == multiset(want), "{engine:?}: {} lines", rig.seen.len());
        assert_eq!(rig.counter("unreadable_files"), 1);
        assert_eq!(rig.counter("changed_files"), 0);
        let metrics = rig.driver.context().metrics().unwrap().snapshot();
        assert_eq!(metrics.total_processed_records, 10_011);
        assert_eq!(metrics.total_received_records, 10_011);
    }
}

#[test]
fn records_are_counted_while_they_are_read() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put("a", "1\n2\n3\n");
        folder.put("b", "4\n");
        let dir = folder.watched();
        let conf = Driver::<()>::conf();
        // Two outputs read the files twice; a third one reads a part of them.
        let mut driver = Driver::with(engine, conf, move |ssc| {
            let lines = ssc.text_file_stream_with(&dir, at_once());
            lines.foreach_rdd(|rdd, _| rdd.count().map(drop));
            lines
                .map(|l| (l, 1))
                .reduce_by_key(|a, b| a + b)
                .foreach_rdd(|rdd, _| rdd.count().map(drop));
            lines.foreach_rdd(|rdd, _| rdd.is_empty().map(drop));
            Ok(())
        })
        .unwrap();
        let notes = Notes::of(driver.context());
        driver.batches(2).unwrap();
        let info = notes.completed(1).stream_id_to_input_info[&0].clone();
        assert_eq!(info.num_records, 4, "{engine:?}");
        let names = info.metadata_description().unwrap().to_string();
        assert!(names.contains("in/a") && names.contains("in/b"), "{names}");
        assert_eq!((&*info.metadata["Files"], &*info.metadata["Bytes"]), ("2", "8"));
        assert_eq!(notes.completed(2).stream_id_to_input_info[&0].num_records, 0);
        let metrics = driver.context().metrics().unwrap();
        assert_eq!(metrics.gauge("totalReceivedRecords"), Some(4));
        assert_eq!(metrics.gauge("totalProcessedRecords"), Some(4));
    }
}

#[test]
fn failed_attempts_count_no_records() {
    let folder = Folder::new();
    folder.put("a", "1\n2\n3\n");
    let dir = folder.watched();
    let mut driver = Driver::new(move |ssc| {
        let failures = std::sync::Arc::new(AtomicU32::new(0));
        let lines = ssc.text_file_stream_with(&dir, at_once());
        let checked = lines.try_map(move |l| match failures.fetch_add(1, Relaxed) {
            2 => Err("not yet"), // the last record of the first attempt
            _ => Ok(l),
        });
        checked.foreach_rdd(|rdd, _| rdd.count().map(drop));
        Ok(())
    })
    .unwrap();
    let notes = Notes::of(driver.context());
    driver.batch().unwrap();
    assert_eq!(notes.completed(1).stream_id_to_input_info[&0].num_records, 3);
}

/// A stream whose file is deleted after it was taken and before it is read.
fn deleted(
    engine: TestEngine,
    folder: &Folder,
    options: FileOptions,
) -> (Driver<()>, Collector<Str>) {
    let seen = Collector::new();
    let (s, dir) = (seen.clone(), folder.watched());
    let driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
        let (s, gone) = (s.clone(), dir.join("gone"));
        ssc.text_file_stream_with(&dir, options.clone()).foreach_rdd(move |rdd, t| {
            let _ = fs::remove_file(&gone);
            s.push(t, rdd.collect()?);
            Ok::<_, Error>(())
        });
        Ok(())
    });
    (driver.unwrap(), seen)
}

#[test]
fn file_that_is_deleted_before_it_is_read_is_an_error_that_names_it() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put("gone", "1\n");
        folder.put("there", "2\n");
        let (mut driver, _) = deleted(engine, &folder, at_once());
        let e = driver.batch().unwrap_err().to_string();
        assert!(e.contains("text_file_stream") && e.contains("in/gone`"), "{engine:?}: {e}");
    }
}

#[test]
fn deleted_file_can_be_skipped_and_is_counted_and_named() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put("gone", "1\n");
        folder.put("there", "2\n");
        let (mut driver, seen) = deleted(engine, &folder, at_once().on_file_error(OnError::Skip));
        let notes = Notes::of(driver.context());
        driver.batches(2).unwrap();
        assert_eq!(seen.items(), ["2"], "{engine:?}");
        assert_eq!(counter(driver.context(), "text_file_stream-0.failed_files"), 1);
        let info = notes.completed(1).stream_id_to_input_info[&0].clone();
        assert_eq!(info.num_records, 1);
        assert!(info.metadata["Errors"].contains("in/gone`"), "{:?}", info.metadata);
    }
}

#[test]
fn file_that_is_cut_off_before_it_is_read_is_an_error() {
    let folder = Folder::new();
    let path = folder.put("short", "1\n2\n3\n");
    let dir = folder.watched();
    let mut driver = Driver::new(move |ssc| {
        let path = path.clone();
        ssc.text_file_stream_with(&dir, at_once()).foreach_rdd(move |rdd, _| {
            fs::OpenOptions::new().write(true).open(&path)?.set_len(2)?;
            rdd.count().map(drop)
        });
        Ok(())
    })
    .unwrap();
    let e = driver.batch().unwrap_err().to_string();
    assert!(e.contains("in/short`") && e.contains("has 2 bytes and had 6"), "{e}");
}

#[test]
fn file_that_grows_after_it_was_taken_is_counted_and_named_once() {
    let folder = Folder::new();
    folder.put("a", "1\n");
    let mut rig = lines(TestEngine::Local, &folder.watched(), at_once());
    assert_eq!(rig.batch(), ["1"]);
    folder.append("a", "2\n");
    assert_eq!(rig.batch(), [""; 0]);
    folder.append("a", "3\n");
    assert_eq!(rig.batch(), [""; 0]);
    assert_eq!(rig.counter("changed_files"), 1);
    let text = rig.info(2).metadata["Errors"].clone();
    assert!(text.contains("in/a`") && text.contains("from 2 to 4 bytes"), "{text}");
    assert_eq!(rig.info(3).metadata.get("Errors"), None);
}

#[test]
fn file_is_read_as_it_was_when_it_was_taken() {
    let folder = Folder::new();
    let path = folder.put("a", "1\n2\n");
    let (seen, dir) = (Collector::<Str>::new(), folder.watched());
    let s = seen.clone();
    let mut driver = Driver::new(move |ssc| {
        let (s, path) = (s.clone(), path.clone());
        ssc.text_file_stream_with(&dir, at_once()).foreach_rdd(move |rdd, t| {
            let mut file = fs::OpenOptions::new().append(true).open(&path)?;
            file.write_all(b"more\n")?;
            s.push(t, rdd.collect()?);
            Ok::<_, Error>(())
        });
        Ok(())
    })
    .unwrap();
    driver.batches(2).unwrap();
    assert_eq!(seen.items(), ["1", "2"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_reported_once_and_tried_again() {
    let folder = Folder::new();
    let path = folder.watched().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    folder.put("a", "1\n");
    fs::create_dir(folder.watched().join("folder")).unwrap();
    fs::write(folder.watched().join("folder/b"), "not read\n").unwrap();
    let mut rig = lines(TestEngine::Local, &folder.watched(), at_once());
    assert_eq!(rig.batch(), ["1"]);
    rig.batch();
    assert_eq!(rig.counter("unreadable_files"), 1);
    let text = rig.info(1).metadata["Errors"].clone();
    assert!(text.contains("in/socket`") && text.contains("neither a file nor"), "{text}");
    assert_eq!(rig.info(2).metadata.get("Errors"), None);
    drop(listener);
    fs::remove_file(&path).unwrap();
    folder.put("socket", "2\n");
    assert_eq!(rig.batch(), ["2"]);
}

#[test]
fn missing_directory_is_waited_for() {
    let folder = Folder::new();
    let dir = folder.0.join("later");
    let mut rig = lines(TestEngine::Local, &dir, at_once().start_from(StartFrom::NewOnly));
    assert_eq!(rig.batch(), [""; 0]);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "1\n").unwrap();
    assert_eq!(rig.batch(), ["1"]);
}

#[test]
fn what_is_wrong_with_the_call_is_an_error_of_the_start() {
    let folder = Folder::new();
    let start = |dir: PathBuf, options: FileOptions| {
        let mut rig = lines(TestEngine::Local, &dir, options);
        rig.driver.start().unwrap_err().to_string()
    };
    let missing = FileOptions::new().missing_directory(OnError::Fail);
    let e = start(folder.0.join("no"), missing);
    assert!(e.contains("there is no directory") && e.contains("files.rs"), "{e}");
    let e = start(folder.watched(), FileOptions::new().charset("gkb"));
    assert!(e.contains("`gkb`") && e.contains("charset"), "{e}");
    let e = start("hdfs://host/logs".into(), FileOptions::new());
    assert!(e.contains("local files only"), "{e}");
    let e = start(folder.0.join("{in"), FileOptions::new());
    assert!(e.contains("`{` has no `}`"), "{e}");
}

#[test]
fn directories_by_pattern_are_found_when_they_come() {
    let folder = Folder::new();
    let put = |dir: &str, name: &str| {
        let dir = folder.0.join(dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), format!("{name}\n")).unwrap();
    };
    put("logs/one/in", "a");
    put("logs/one/out", "b");
    put("logs/one/in/deeper", "c");
    let mut rig = lines(TestEngine::Local, &folder.0.join("logs/*/in"), at_once());
    assert_eq!(rig.batch(), ["a"]);
    put("logs/two/in", "d");
    put("logs/one/in", "e");
    assert_eq!(rig.batch(), ["d", "e"]);
    assert_eq!(rig.batch(), [""; 0]);
}

#[test]
fn new_only_leaves_out_what_is_there_at_the_start() {
    let folder = Folder::new();
    folder.put("old", "1\n");
    let mut rig =
        lines(TestEngine::Local, &folder.watched(), at_once().start_from(StartFrom::NewOnly));
    rig.driver.start().unwrap();
    folder.put("new", "2\n");
    fs::rename(folder.watched().join("old"), folder.watched().join("older")).unwrap();
    assert_eq!(rig.batch(), ["2"]);
    assert_eq!(rig.batch(), [""; 0]);
}

#[test]
fn filter_and_limit_choose_the_oldest_that_are_wanted() {
    let folder = Folder::new();
    for (i, name) in ["c.log", "a.log", "b.log", "d.txt"].iter().enumerate() {
        let path = folder.put(name, format!("{name}\n"));
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_000 + i as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }
    let options = FileOptions::new()
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .settle_time(Duration::ZERO)
        .max_files_per_batch(2);
    let mut rig = lines(TestEngine::Local, &folder.watched(), options);
    assert_eq!(rig.batch(), ["a.log", "c.log"]);
    assert_eq!(rig.batch(), ["b.log"]);
    assert_eq!(rig.info(1).metadata["Files left for later"], "1");
    assert_eq!(rig.batch(), [""; 0]);
}

#[test]
fn two_names_of_one_file_are_taken_once() {
    let folder = Folder::new();
    let path = folder.put("a", "1\n");
    fs::hard_link(&path, folder.watched().join("b")).unwrap();
    let mut rig = lines(TestEngine::Local, &folder.watched(), at_once());
    assert_eq!(rig.batch(), ["1"]);
    fs::hard_link(&path, folder.watched().join("c")).unwrap();
    fs::remove_file(&path).unwrap();
    (0..6).for_each(|_| assert_eq!(rig.batch(), [""; 0]));
}

#[test]
fn panic_of_a_filter_names_the_stream() {
    let folder = Folder::new();
    folder.put("a", "1\n");
    let options = at_once().filter(|_| panic!("no such luck"));
    let mut rig = lines(TestEngine::Local, &folder.watched(), options);
    let e = rig.driver.batch().unwrap_err().to_string();
    assert!(e.contains("text_file_stream") && e.contains("no such luck"), "{e}");
}

#[test]
fn big_file_is_read_by_several_tasks() {
    const LINES: u64 = 4_000_000;
    let folder = Folder::new();
    let mut out =
        std::io::BufWriter::with_capacity(1 << 20, fs::File::create(folder.0.join("big")).unwrap());
    for i in 0..LINES {
        writeln!(out, "{i} {}", i * 7).unwrap();
    }
    out.into_inner().unwrap();
    let bytes = fs::metadata(folder.0.join("big")).unwrap().len();
    assert!(bytes > 60 << 20, "{bytes}");
    fs::rename(folder.0.join("big"), folder.watched().join("big")).unwrap();
    for engine in ENGINES {
        let dir = folder.watched();
        let parts = Collector::<u64>::new();
        let (p, options) = (parts.clone(), at_once().split_bytes(8 << 20));
        let mut rig = Rig::new(engine, FailurePolicy::stop(), move |ssc| {
            let lines = ssc.text_file_stream_with(&dir, options.clone());
            let p = p.clone();
            lines.foreach_rdd(move |rdd, t| p.push(t, vec![rdd.num_partitions() as u64]));
            lines
                .map(|l| {
                    l.split_once(" ").map_or(0, |(a, b)| {
                        let (a, b): (u64, u64) = (a.parse().unwrap(), b.parse().unwrap());
                        assert_eq!(a * 7, b, "a line was torn");
                        a
                    })
                })
                .map(|a| (1u64, a))
                .reduce(|(n, a), (m, b)| (n + m, a + b))
        });
        assert_eq!(rig.batch(), [(LINES, LINES * (LINES - 1) / 2)], "{engine:?}");
        assert_eq!(rig.info(1).num_records, LINES);
        assert_eq!(parts.items(), [bytes.div_ceil(8 << 20)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any texts, any split size: the same multiset as reading them whole, on both engines.
    #[test]
    fn splits_change_nothing(
        texts in prop::collection::vec("([a-z流 ]{0,20}(\n|\r\n)){0,30}[a-z]{0,4}", 1..4),
        split in 1u64..200,
    ) {
        let folder = Folder::new();
        for (i, text) in texts.iter().enumerate() {
            folder.put(&format!("f{i}"), text);
        }
        let want = multiset(texts.iter().flat_map(|t| t.lines()).map(Str::from));
        for engine in ENGINES {
            let mut rig = lines(engine, &folder.watched(), at_once().split_bytes(split));
            rig.batch();
            prop_assert_eq!(&rig.everything(), &want);
            prop_assert_eq!(rig.info(1).num_records, want.values().sum::<usize>() as u64);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sale {
    word: String,
    n: i64,
}

fn sale(word: &str, n: i64) -> Sale {
    Sale { word: word.into(), n }
}

/// What a format makes of the files, under a policy for bad records.
fn formats<F: InputFormat<Item: Wire + Ord>>(
    engine: TestEngine,
    folder: &Folder,
    make: impl Fn() -> F,
    options: FileOptions,
) -> Rig<F::Item> {
    let dir = folder.watched();
    Rig::new(engine, FailurePolicy::stop(), move |ssc| {
        ssc.file_stream_with(&dir, make(), options.clone())
    })
}

#[test]
fn json_and_csv_become_values_and_bad_records_are_counted_or_named() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put(
            "a.json",
            "{\"word\":\"brook\",\"n\":2}\n\n{\"word\":1}\n{\"word\":\"sea\",\"n\":5}",
        );
        let skip = at_once().on_bad_record(OnError::Skip);
        let mut rig = formats(engine, &folder, JsonLines::<Sale>::new, skip.clone());
        assert_eq!(rig.batch(), [sale("brook", 2), sale("sea", 5)], "{engine:?}");
        rig.batch();
        assert_eq!(counter(rig.driver.context(), "file_stream-0.bad_records"), 1);
        assert!(rig.info(1).metadata["Errors"].contains("a.json, line 3"), "{:?}", rig.info(1));
        let mut rig = formats(engine, &folder, JsonLines::<Sale>::new, at_once());
        let e = rig.driver.batch().unwrap_err().to_string();
        assert!(e.contains("a.json`") && e.contains("line 3") && e.contains("file_stream"), "{e}");

        let folder = Folder::new();
        folder.put("a.csv", "n;word\n2;brook\n5\n7;\"a;b\nc\"\n");
        let csv = || Csv::<Sale>::new().delimiter(b';');
        let mut rig = formats(engine, &folder, csv, skip);
        assert_eq!(rig.batch(), [sale("a;b\nc", 7), sale("brook", 2)], "{engine:?}");
        let mut rig = formats(engine, &folder, csv, at_once());
        let e = rig.driver.batch().unwrap_err().to_string();
        assert!(e.contains("a.csv`") && e.contains("line 3"), "{e}");
    }
}

#[test]
fn whole_files_and_fixed_records_are_bytes() {
    for engine in ENGINES {
        let folder = Folder::new();
        let path = folder.put("a.bin", [0, 1, 2, 3, 4, 5]);
        let mut rig = formats(engine, &folder, WholeFiles::new, at_once());
        let path = Str::from(path.to_str().unwrap());
        assert_eq!(rig.batch(), [(path, vec![0, 1, 2, 3, 4, 5])], "{engine:?}");

        let records = |n| {
            let dir = folder.watched();
            Rig::new(engine, FailurePolicy::stop(), move |ssc| ssc.binary_records_stream(&dir, n))
        };
        let mut good = records(3);
        good.batch();
        assert_eq!(good.batch(), [vec![0, 1, 2], vec![3, 4, 5]]);
        let mut bad = records(4);
        bad.batch();
        let e = bad.driver.batch().unwrap_err().to_string();
        assert!(e.contains("a.bin`") && e.contains("6 bytes") && e.contains('4'), "{e}");
    }
}

#[test]
fn other_character_sets_are_read_and_malformed_text_is_counted() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put("gbk", b"\xc7\xa7\xc0\xef\n\xff\n");
        let mut rig = lines(engine, &folder.watched(), at_once().charset("GBK").split_bytes(3));
        assert_eq!(rig.batch(), ["千里", "\u{fffd}"], "{engine:?}");
        rig.batch();
        assert_eq!(rig.counter("invalid_text"), 1);
    }
}

#[test]
fn long_lines_are_cut_and_counted() {
    let folder = Folder::new();
    folder.put("a", format!("{}\nshort\n", "x".repeat(25)));
    let mut rig = lines(TestEngine::Local, &folder.watched(), at_once().max_line_bytes(10));
    assert_eq!(rig.batch(), ["short", "xxxxx", "xxxxxxxxxx", "xxxxxxxxxx"]);
    rig.batch();
    assert_eq!(rig.counter("long_lines"), 1);
}

/// Panics in a task as a user's format may.
struct Clumsy;

impl InputFormat for Clumsy {
    type Item = u8;
    fn read(
        &self,
        _: &brooklet::source::file::FilePart<'_>,
        _: impl FnMut(u8) -> std::ops::ControlFlow<()>,
    ) -> Result<(), BoxError> {
        panic!("dropped it")
    }
}

#[test]
fn panic_of_a_format_names_the_stream() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.put("a", "1\n");
        let mut rig = formats(engine, &folder, || Clumsy, at_once());
        let e = rig.driver.batch().unwrap_err().to_string();
        assert!(e.contains("file_stream") && e.contains("dropped it"), "{engine:?}: {e}");
    }
}
