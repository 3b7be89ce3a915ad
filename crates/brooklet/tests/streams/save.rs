//! Saved files: their content, that a folder is whole or not there, and errors that say what to do.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use brooklet::prelude::*;
use brooklet::testing::TestEngine;
use brooklet::{Output, SaveOptions};
use serde::{Deserialize, Serialize};

use super::{ENGINES, conf, driver};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("brooklet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn prefix(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What is in the folder, temporary things too.
    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Name and content of each file, unpacked.
fn contents(dir: &Path) -> BTreeMap<String, String> {
    let read = |name: String| {
        let bytes = fs::read(dir.join(&name)).unwrap();
        let mut text = String::new();
        if name.ends_with(".gz") {
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        } else if name.ends_with(".zst") {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).unwrap();
                frame.read_to_string(&mut text).unwrap();
            }
        } else {
            text = String::from_utf8(bytes).unwrap();
        }
        (name, text)
    };
    names(dir).into_iter().map(read).collect()
}

fn files(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = all.iter().map(|(n, t)| (n.to_string(), t.to_string()));
    owned.chain([("_SUCCESS".to_string(), String::new())]).collect()
}

#[derive(Clone, Serialize, Deserialize)]
struct Hit {
    path: String,
    bytes: u64,
    note: Option<String>,
}

fn hits() -> Vec<Hit> {
    let hit = |path: &str, bytes, note: Option<&str>| Hit {
        path: path.into(),
        bytes,
        note: note.map(Into::into),
    };
    vec![hit("/a,\"b\"", 1, None), hit("/流\n2", 2, Some("x"))]
}

/// One batch of [`hits`] in two partitions, saved by `save` under `PREFIX` without a suffix.
fn saved(
    engine: TestEngine,
    folder: &Folder,
    save: impl Fn(&DStream<Hit>, &str) -> Output,
) -> BTreeMap<String, String> {
    let prefix = folder.prefix("out");
    let mut driver = driver(engine, conf(), |_, s| drop(save(s, &prefix)));
    driver.input().push(hits());
    driver.batch().unwrap();
    assert_eq!(folder.names(), ["out-1000"]);
    contents(&folder.0.join("out-1000"))
}

#[test]
fn json_files_have_a_value_a_line() {
    for engine in ENGINES {
        let folder = Folder::new("save-json");
        let first = r#"{"path":"/a,\"b\"","bytes":1,"note":null}"#.to_string() + "\n";
        let second = r#"{"path":"/流\n2","bytes":2,"note":"x"}"#.to_string() + "\n";
        let plain = saved(engine, &folder, |s, p| s.save_as_json_files(p, ""));
        assert_eq!(plain, files(&[("part-00000.json", &first), ("part-00001.json", &second)]));
        for (options, end) in
            [(SaveOptions::new().gzip(), "gz"), (SaveOptions::new().zstd(), "zst")]
        {
            let packed = saved(engine, &folder, |s, p| s.save_as_json_files_with(p, "", options));
            let names = [format!("part-00000.json.{end}"), format!("part-00001.json.{end}")];
            assert_eq!(packed, files(&[(&names[0], &first), (&names[1], &second)]));
        }
    }
}

#[test]
fn csv_files_have_a_header_where_records_have_names() {
    for engine in ENGINES {
        let folder = Folder::new("save-csv");
        let first = "path,bytes,note\n\"/a,\"\"b\"\"\",1,\n";
        let second = "path,bytes,note\n\"/流\n2\",2,x\n";
        let plain = saved(engine, &folder, |s, p| s.save_as_csv_files(p, ""));
        assert_eq!(plain, files(&[("part-00000.csv", first), ("part-00001.csv", second)]));

        let options = SaveOptions::new().csv_header(false).csv_delimiter(b';').zstd();
        let packed = saved(engine, &folder, |s, p| s.save_as_csv_files_with(p, "", options));
        let rows = ["\"/a,\"\"b\"\"\";1;\n", "\"/流\n2\";2;x\n"];
        let want = [("part-00000.csv.zst", rows[0]), ("part-00001.csv.zst", rows[1])];
        assert_eq!(packed, files(&want));

        let pairs =
            |s: &DStream<Hit>, p: &str| s.map(|h| (h.path, h.bytes)).save_as_csv_files(p, "");
        let rows = ["\"/a,\"\"b\"\"\",1\n", "\"/流\n2\",2\n"];
        let want = [("part-00000.csv", rows[0]), ("part-00001.csv", rows[1])];
        assert_eq!(saved(engine, &folder, pairs), files(&want));
    }
}

#[test]
fn text_files_are_packed_and_plain_ones_keep_their_names() {
    for engine in ENGINES {
        let folder = Folder::new("save-text");
        let plain = |s: &DStream<Hit>, p: &str| s.map(|h| h.bytes).save_as_text_files(p, "");
        let want = files(&[("part-00000", "1\n"), ("part-00001", "2\n")]);
        assert_eq!(saved(engine, &folder, plain), want);
        let gzip = |s: &DStream<Hit>, p: &str| {
            s.map(|h| h.bytes).save_as_text_files_with(p, "", SaveOptions::new().gzip())
        };
        let want = files(&[("part-00000.gz", "1\n"), ("part-00001.gz", "2\n")]);
        assert_eq!(saved(engine, &folder, gzip), want);
    }
}

#[test]
fn large_files_come_back_from_every_compression() {
    // Several zstd frames in one file.
    let lines = |i: u64| format!("{i} of the brook, {}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let want: String = (0..80_000).map(|i| lines(i) + "\n").collect();
    assert!(want.len() > 3 << 20);
    for options in [SaveOptions::new().gzip(), SaveOptions::new().zstd()] {
        let folder = Folder::new("save-large");
        let prefix = folder.prefix("out");
        let mut driver = driver(TestEngine::Local, conf(), move |_, s: &DStream<u64>| {
            s.map(lines).repartition(1).save_as_text_files_with(&prefix, "", options);
        });
        driver.input().push(0..80_000);
        driver.batch().unwrap();
        let dir = folder.0.join("out-1000");
        let size = |e: fs::DirEntry| e.metadata().unwrap().len() as usize;
        let packed: usize = fs::read_dir(&dir).unwrap().map(|e| size(e.unwrap())).sum();
        assert!(packed < want.len(), "{packed} of {}", want.len());
        let got: String = contents(&dir).into_values().collect();
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_string).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&got), sorted(&want));
    }
}

#[test]
fn empty_partitions_and_batches_without_records_have_files_too() {
    for engine in ENGINES {
        for options in [SaveOptions::new(), SaveOptions::new().gzip(), SaveOptions::new().zstd()] {
            let folder = Folder::new("save-empty");
            let prefix = folder.prefix("out");
            let mut driver = driver(engine, conf(), |_, s: &DStream<u32>| {
                s.filter(|x| *x > 1).save_as_json_files_with(&prefix, "", options);
                s.map(|x| (x, x)).filter(|_| false).save_as_csv_files_with(&prefix, "csv", options);
            });
            driver.input().push([1, 2]);
            driver.batches(2).unwrap();
            let text: Vec<String> = contents(&folder.0.join("out-1000")).into_values().collect();
            assert_eq!(text, ["", "", "2\n"], "_SUCCESS, an empty part, a part");
            let text: Vec<String> =
                contents(&folder.0.join("out-1000.csv")).into_values().collect();
            assert_eq!(text, ["", "", ""]);
            assert!(folder.0.join("out-2000/_SUCCESS").exists(), "an empty batch");
        }
    }
}

#[test]
fn a_failing_task_leaves_nothing_and_the_batch_before_stays() {
    for engine in ENGINES {
        let folder = Folder::new("save-atomic");
        let prefix = folder.prefix("out");
        let conf = conf().task_max_failures(2).failure_policy(FailurePolicy::skip());
        let mut driver = driver(engine, conf, |_, s: &DStream<u32>| {
            let broken = s.map(|x| {
                assert!(x != 7, "seven (this panic belongs to the test)");
                x
            });
            broken.save_as_json_files_with(&prefix, "j", SaveOptions::new().gzip());
            broken.save_as_csv_files(&prefix, "c");
            broken.save_as_text_files(&prefix, "t");
        });
        driver.input().push([1, 2]);
        driver.input().push([1, 7]);
        driver.input().push([3]);
        driver.batches(3).unwrap();
        let batch = |t: u32| ["c", "j", "t"].map(|s| format!("out-{t}.{s}"));
        assert_eq!(folder.names(), [batch(1000), batch(3000)].concat());
    }
}

#[test]
fn an_attempt_that_failed_leaves_nothing_in_the_one_that_succeeds() {
    let folder = Folder::new("save-retry");
    let prefix = folder.prefix("out");
    let tries = Arc::new(AtomicU32::new(0));
    let t = tries.clone();
    let mut driver = driver(TestEngine::Local, conf(), move |_, s: &DStream<u32>| {
        let t = t.clone();
        let shaky = s.map(move |x| {
            assert!(x != 4 || t.fetch_add(1, SeqCst) > 1, "(this panic belongs to the test)");
            x
        });
        shaky.save_as_json_files(&prefix, "");
    });
    driver.input().push([1, 2, 3, 4]);
    driver.batch().unwrap();
    let want = files(&[("part-00000.json", "1\n2\n"), ("part-00001.json", "3\n4\n")]);
    assert_eq!(contents(&folder.0.join("out-1000")), want);
    assert_eq!(tries.load(SeqCst), 3);
}

#[test]
fn a_batch_that_runs_again_replaces_what_it_wrote() {
    // A second context that begins at the same time runs the same batch.
    let folder = Folder::new("save-again");
    let prefix = folder.prefix("out");
    let run = |records: Vec<u32>, parts: usize| {
        let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
            s.repartition(parts).save_as_text_files(&prefix, "");
        });
        driver.input().push(records);
        driver.batch().unwrap();
        let all: Vec<String> = contents(&folder.0.join("out-1000")).into_values().collect();
        let mut lines: Vec<String> = all.iter().flat_map(|t| t.lines()).map(Into::into).collect();
        lines.sort();
        (lines, names(&folder.0.join("out-1000")).len())
    };
    assert_eq!(run(vec![1, 2, 3], 4), (vec!["1".into(), "2".into(), "3".into()], 5));
    assert_eq!(run(vec![9], 1), (vec!["9".into()], 2), "no file of the first run is left");
}

/// Runs a save of one record under `prefix`, which fails.
fn failure(prefix: &str) -> String {
    let mut driver = driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.save_as_json_files(prefix, "");
    });
    driver.input().push([1]);
    driver.batch().unwrap_err().to_string()
}

#[test]
fn errors_name_the_path_and_what_to_do() {
    let folder = Folder::new("save-errors");
    fs::write(folder.0.join("file"), "x").unwrap();
    let e = failure(&folder.prefix("file/out"));
    assert!(e.contains("file/out-1000") && e.contains("choose another prefix"), "{e}");
    let e = failure(&folder.prefix(&"x".repeat(300)));
    assert!(e.contains("xxx-1000") && e.contains("choose a shorter prefix"), "{e}");
    fs::write(folder.0.join("out-1000"), "x").unwrap();
    let e = failure(&folder.prefix("out"));
    assert!(e.contains("out-1000") && e.contains("a file stands where a folder is needed"), "{e}");
    assert_eq!(fs::read(folder.0.join("out-1000")).unwrap(), b"x", "it is left as it was");
}

#[test]
fn a_record_without_json_or_csv_form_names_its_type() {
    for csv in [false, true] {
        let folder = Folder::new("save-form");
        let prefix = folder.prefix("out");
        let mut driver = driver(TestEngine::Local, conf(), move |_, s: &DStream<u32>| {
            let maps = s.map(|x| BTreeMap::from([((x, x), x)]));
            if csv {
                maps.save_as_csv_files(&prefix, "")
            } else {
                maps.save_as_json_files(&prefix, "")
            };
        });
        driver.input().push([1]);
        let e = driver.batch().unwrap_err().to_string();
        assert!(e.contains("BTreeMap") && e.contains("save_as_"), "{e}");
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[test]
#[should_panic(expected = "is taken by `save_as_text_files` (")]
fn two_outputs_under_one_prefix_are_refused() {
    driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.save_as_text_files("same", "txt");
        s.save_as_json_files("same", "json");
        s.save_as_json_files("same", "txt");
    });
}

#[test]
#[should_panic(expected = "for `save_as_csv_files_with` only")]
fn options_that_only_csv_has_are_refused_elsewhere() {
    driver(TestEngine::Local, conf(), |_, s: &DStream<u32>| {
        s.save_as_json_files_with("x", "", SaveOptions::new().csv_header(false));
    });
}
