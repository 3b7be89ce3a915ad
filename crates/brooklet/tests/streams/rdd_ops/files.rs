//! Files in and out, and external commands.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use brooklet::testing::TestEngine;

use super::super::{ENGINES, conf, sorted};
use super::{context, errors, records, records_on};

/// A folder of the test's own, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("brooklet-ops-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn names(&self) -> Vec<String> {
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        sorted(fs::read_dir(&self.0).unwrap().map(name).collect())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_saved_is_read_again_on_both_engines() {
    let dir = Dir::new("again");
    for engine in ENGINES {
        let to = dir.path(&format!("{engine:?}"));
        let parts =
            vec![vec![(1i64, "a".to_string())], vec![], vec![(2, "b".into()), (3, "c".into())]];
        let (text, object) = (to.join("text"), to.join("object"));
        let out = records_on(engine, conf(), &parts, {
            let (text, object) = (text.clone(), object.clone());
            move |r| {
                r.map(|_| "of a first attempt").save_as_text_file(&text)?;
                r.map(|(k, v)| format!("{k} {v}")).save_as_text_file(&text)?;
                r.save_as_object_file(&object)?;
                Ok(r)
            }
        });
        assert_eq!(out.unwrap().len(), 3, "{engine:?}");
        let ctx = context();
        assert_eq!(ctx.text_file(&text).unwrap().collect().unwrap(), ["1 a", "2 b", "3 c"]);
        let back = ctx.object_file::<(i64, String)>(&object).unwrap();
        assert_eq!((back.collect().unwrap(), back.num_partitions()), (parts.concat(), 3));
        for d in [&text, &object] {
            let names = Dir(d.clone());
            assert_eq!(names.names(), ["_SUCCESS", "part-00000", "part-00001", "part-00002"]);
            std::mem::forget(names);
        }
    }
}

#[test]
fn a_failed_save_leaves_nothing_and_an_old_one_stays() {
    let dir = Dir::new("failed");
    let to = dir.path("out");
    let ctx = context();
    let bad = ctx.parallelize(0..10i64, 3).try_map(|x| if x == 8 { Err("eight") } else { Ok(x) });
    assert!(bad.save_as_text_file(&to).unwrap_err().to_string().contains("eight"));
    assert_eq!(dir.names(), Vec::<String>::new());
    ctx.parallelize([1i64], 1).save_as_text_file(&to).unwrap();
    let e = ctx.parallelize([2i64], 1).save_as_object_file(&to).unwrap_err().to_string();
    assert!(e.contains("`save_as_object_file` (") && e.contains("give another folder"), "{e}");
    assert_eq!(fs::read_to_string(to.join("part-00000")).unwrap(), "1\n");
    assert_eq!(dir.names(), ["out"]);
}

#[test]
fn an_attempt_that_failed_leaves_nothing_in_a_saved_folder() {
    let dir = Dir::new("retried");
    let tries = AtomicU32::new(0);
    let shaky = context().parallelize(1..=4i64, 2).try_map(move |x| {
        let bad = x == 4 && tries.fetch_add(1, SeqCst) < 2;
        if bad { Err("not yet") } else { Ok(x) }
    });
    shaky.save_as_text_file(dir.path("out")).unwrap();
    let saved = Dir(dir.path("out"));
    assert_eq!(saved.names(), ["_SUCCESS", "part-00000", "part-00001"]);
    assert_eq!(fs::read_to_string(saved.path("part-00001")).unwrap(), "3\n4\n");
}

#[test]
fn files_are_found_by_folder_name_and_pattern() {
    let dir = Dir::new("found");
    for (name, text) in [
        ("b.log", "2\n3"),
        ("a.log", "\u{feff}1\r\n"),
        ("c.txt", "4\n"),
        (".h.log", "x"),
        ("_s.log", "x"),
        ("e.log", ""),
    ] {
        fs::write(dir.path(name), text).unwrap();
    }
    fs::create_dir(dir.path("folder.log")).unwrap();
    let ctx = context();
    let lines = |name: &str| ctx.text_file(dir.path(name)).unwrap().collect().unwrap();
    assert_eq!(lines(""), ["1", "2", "3", "4"]);
    assert_eq!(lines("*.log"), ["1", "2", "3"]);
    assert_eq!(lines("?.txt"), ["4"]);
    assert_eq!(lines(".h.log"), ["x"]);
    let whole = ctx.whole_text_files(&dir.0).unwrap();
    assert_eq!(whole.values().collect().unwrap(), ["\u{feff}1\r\n", "2\n3", "4\n", ""]);
    assert_eq!(ctx.binary_files(dir.path("b*")).unwrap().values().collect().unwrap(), [b"2\n3"]);
    for name in ["missing", "*.csv", "none/*"] {
        let e = ctx.text_file(dir.path(name)).unwrap_err().to_string();
        assert!(e.contains("`text_file` (") && e.contains(name), "{e}");
    }
    fs::create_dir(dir.path("empty")).unwrap();
    assert_eq!(ctx.text_file(dir.path("empty")).unwrap().count().unwrap(), 0);
    assert_eq!(ctx.whole_text_files(dir.path("empty")).unwrap().count().unwrap(), 0);
}

#[test]
fn large_files_are_read_by_many_partitions() {
    let dir = Dir::new("large");
    let file = dir.path("lines");
    let text: String = (0..300_000).map(|i| format!("line {i} {}\n", "x".repeat(i % 40))).collect();
    fs::write(&file, &text).unwrap();
    let ctx = context();
    for parts in [1, 2, 7, 64] {
        let lines = ctx.text_file_into(&file, parts).unwrap();
        assert!((parts..=parts + 1).contains(&lines.num_partitions()), "{parts}");
        assert!(lines.collect().unwrap().iter().map(|l| l.as_str()).eq(text.lines()), "{parts}");
    }
    let long = "y".repeat(3 << 20);
    fs::write(&file, format!("a\n{long}\nb")).unwrap();
    let lines = ctx.text_file_into(&file, 5).unwrap().collect().unwrap();
    assert!(lines.iter().map(|l| l.as_str()).eq(["a", &long, "b"]));
}

#[test]
fn damage_and_other_types_are_errors_that_name_the_file() {
    let dir = Dir::new("damage");
    let to = dir.path("o");
    let ctx = context();
    ctx.parallelize([(1u8, "abc".to_string())], 1).save_as_object_file(&to).unwrap();
    let e =
        ctx.object_file::<(String, String, u64)>(&to).unwrap().collect().unwrap_err().to_string();
    assert!(e.contains("part-00000") && e.contains("holds no records of"), "{e}");
    let file = to.join("part-00000");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let e = ctx.object_file::<(u8, String)>(&to).unwrap().collect().unwrap_err().to_string();
    assert!(e.contains("part-00000"), "{e}");
    let lines = ctx.text_file(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(lines.collect().unwrap_err().to_string().contains("part-00000"));
    fs::write(&file, "abcdef\nghi\n").unwrap();
    let lines = ctx.text_file(&file).unwrap();
    fs::write(&file, "abc").unwrap();
    assert!(lines.collect().unwrap_err().to_string().contains("shorter"));
    fs::write(&file, b"caf\xe9\nok\n").unwrap();
    assert_eq!(ctx.text_file(&file).unwrap().collect().unwrap(), ["caf\u{fffd}", "ok"]);
}

#[test]
fn commands_read_and_print_lines_of_each_partition() {
    let parts = vec![vec![3i64, 1, 2], vec![], vec![5, 4]];
    assert_eq!(records(&parts, |r| Ok(r.pipe(["sort", "-n"]))), ["1", "2", "3", "4", "5"]);
    assert_eq!(
        records(&parts, |r| Ok(r.pipe(["wc", "-l"]).map(|s| s.trim().to_string()).boxed())),
        ["3", "0", "2"]
    );
    // Prints without reading.
    assert_eq!(
        records(&parts, |r| Ok(r.pipe(["printf", "a\\nb"]))),
        ["a", "b", "a", "b", "a", "b"]
    );
}

#[test]
fn commands_may_stop_reading_and_their_readers_too() {
    let ctx = context();
    let many = ctx.range(0, 200_000, 1, 2);
    assert_eq!(many.pipe(["head", "-n", "1"]).collect().unwrap(), ["0", "100000"]);
    let all = many.pipe(["cat"]);
    assert_eq!(all.count().unwrap(), 200_000);
    assert!(all.collect().unwrap().iter().enumerate().all(|(i, x)| *x == i.to_string()));
    assert_eq!(all.take(2).unwrap(), ["0", "1"]);
    // Endless output.
    assert_eq!(many.pipe(["yes"]).take(3).unwrap(), ["y", "y", "y"]);
}

#[test]
fn failed_commands_fail_the_task_with_what_they_said() {
    let parts = vec![vec![1i64]];
    for (command, wants) in [
        (vec!["sh", "-c", "cat; echo it broke >&2; exit 7"], ["exit status: 7", "it broke"]),
        (
            vec!["no-such-program-of-ours"],
            ["can't start `no-such-program-of-ours`", "No such file"],
        ),
        (vec!["printf", "a\\377\\n"], ["`printf", "isn't UTF-8"]),
        (vec![], ["needs the name of a program", "has none"]),
    ] {
        let c: Vec<String> = command.iter().map(|s| s.to_string()).collect();
        for e in errors(&parts, move |r| Ok(r.pipe(c.clone()))) {
            assert!(e.contains("`pipe` (") && e.contains("files.rs"), "{e}");
            assert!(wants.iter().all(|w| e.contains(w)), "{wants:?}: {e}");
        }
    }
    let long = "for i in $(seq 3000); do echo line $i >&2; done; exit 1";
    let parts = vec![vec![1i64]];
    let e = records_on(TestEngine::Local, conf(), &parts, move |r| Ok(r.pipe(["sh", "-c", long])));
    let e = e.unwrap_err().to_string();
    assert!(e.contains("line 3000") && !e.contains("line 1\n") && e.len() < 6_000, "{}", e.len());
}
