//! The `brooklet` program as its users see it: output, exit codes, signals.

// A test times how long the program takes; the clock of the product isn't for that.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Some text of several scripts, with runs of white space and a last line without an end.
const TEXT: &str = "千里之行 始于足下\nthe  quick 千里之行\n\n\tрека\u{3000}流 \nthe 🌊 end";

fn brooklet(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    c.args(args).stdin(Stdio::null()).env_remove("RUST_LOG");
    c
}

fn run(args: &[&str]) -> Output {
    brooklet(args).output().unwrap()
}

fn spawn(args: &[&str]) -> Program {
    let mut child = brooklet(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap()).lines();
    let err = Some(BufReader::new(child.stderr.take().unwrap()).lines());
    Program { child, out, err }
}

/// A running program; killed if the test fails.
struct Program {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Option<Lines<BufReader<ChildStderr>>>,
}

impl Program {
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    /// What is left of both outputs, and the exit code.
    fn end(mut self) -> (Vec<String>, Vec<String>, Option<i32>) {
        let err = self.err.take().unwrap();
        let err = std::thread::spawn(move || err.map(Result::unwrap).collect());
        let out = self.out.by_ref().map(Result::unwrap).collect();
        (out, err.join().unwrap(), self.child.wait().unwrap().code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Records and words over all objects of `--json`.
fn sums<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> (u64, BTreeMap<String, u64>) {
    let (mut records, mut words) = (0, BTreeMap::new());
    for line in lines {
        let object: Value = serde_json::from_str(line.as_ref()).unwrap();
        assert!(object["time"].is_u64(), "{object}");
        assert!(object["processing_ms"].is_f64() && object["delay_ms"].is_f64(), "{object}");
        records += object["records"].as_u64().unwrap();
        for (word, n) in object["counts"].as_object().unwrap() {
            *words.entry(word.clone()).or_default() += n.as_u64().unwrap();
        }
    }
    (records, words)
}

fn count(text: &str) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    text.split_whitespace().for_each(|w| *words.entry(w.to_string()).or_default() += 1);
    words
}

/// The figures of `feed:  L lines, W words, D distinct: equal`.
fn feed_totals<'a>(mut lines: impl Iterator<Item = &'a str>) -> (u64, u64, usize) {
    let line = lines.find(|l| l.starts_with("feed: ")).expect("no totals of the feed");
    assert!(line.ends_with(": equal"), "{line}");
    let numbers: Vec<u64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1], numbers[2] as usize)
}

fn assert_feed_equals(out: &[String], err: &[String]) {
    let (records, words) = sums(out);
    let expected = (records, words.values().sum(), words.len());
    assert_eq!(feed_totals(err.iter().map(String::as_str)), expected);
    assert!(records > 0);
}

#[test]
fn json_batches_sum_up_to_the_totals_of_the_embedded_feed() {
    let args = ["word-count", "--batches", "3", "--json", "--batch-interval", "200ms"];
    let (out, err, code) = spawn(&args).end();
    assert_eq!(code, Some(0), "{err:?}");
    assert!(out.len() >= 3, "{out:?}");
    assert_feed_equals(&out, &err);
    assert!(err.iter().any(|l| l.starts_with("batch 3: ") && l.contains("records/s")), "{err:?}");
}

#[test]
fn people_see_the_most_frequent_words() {
    let args = ["word-count", "--batches", "2", "--batch-interval", "200ms", "--top", "3"];
    let (out, err, code) = spawn(&args).end();
    assert_eq!(code, Some(0), "{err:?}");
    let batches = out.iter().filter(|l| l.starts_with("batch ")).count();
    let words = out.iter().filter(|l| l.starts_with(' ')).count();
    assert!(batches >= 2 && words <= 3 * batches && words >= 3, "{out:?}");
    assert!(out.iter().any(|l| l.starts_with("total: ")), "{out:?}");
    feed_totals(out.iter().map(String::as_str));
}

#[test]
fn an_interrupt_ends_the_run_with_everything_counted() {
    let args = ["word-count", "--json", "--batch-interval", "100ms", "--rate", "20000"];
    let mut program = spawn(&args);
    let mut out = Vec::new();
    while sums(&out).0 == 0 {
        out.push(program.out.next().unwrap().unwrap());
    }
    program.interrupt();
    let (rest, err, code) = program.end();
    out.extend(rest);
    assert_eq!(code, Some(0), "{err:?}");
    assert_feed_equals(&out, &err);
}

#[test]
fn a_second_interrupt_ends_at_once_with_code_130() {
    // More counts than a pipe holds, and nobody reads them: the first one waits to get rid of them.
    let args = ["word-count", "--source", "stdin", "--json", "--batch-interval", "50ms"];
    let mut child = brooklet(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut program = Program { child, out, err: None };
    let words: String = (0..300_000).map(|i| format!("word{i}\n")).collect();
    input.write_all(words.as_bytes()).unwrap();
    let mut wait_for = |start| while !err.next().unwrap().unwrap().starts_with(start) {};
    program.interrupt();
    wait_for("ending ");
    program.interrupt();
    let second = Instant::now();
    assert_eq!(program.child.wait().unwrap().code(), Some(130));
    assert!(second.elapsed() < Duration::from_secs(5), "{:?}", second.elapsed());
}

#[test]
fn lines_typed_into_a_server_are_counted_as_they_come() {
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let source = format!("socket://{}", server.local_addr().unwrap());
    let args = ["word-count", "--source", &source, "--json", "--batch-interval", "20ms"];
    let mut program = spawn(&args);
    // The first connection only looks whether somebody listens.
    assert_eq!(server.accept().unwrap().0.read(&mut [0]).unwrap(), 0);
    let mut client = server.accept().unwrap().0;
    let typed = "千里之行 始于足下\n\nthe brook  the sea\n";
    let mut out = Vec::new();
    // Cut within characters and lines; the counts of each line come before the next is typed.
    for (i, line) in typed.split_inclusive('\n').enumerate() {
        line.as_bytes().chunks(4).for_each(|piece| client.write_all(piece).unwrap());
        while sums(&out).0 < i as u64 + 1 {
            out.push(program.out.next().expect("ended before the line was counted").unwrap());
        }
    }
    program.interrupt();
    let (rest, err, code) = program.end();
    out.extend(rest);
    assert_eq!(code, Some(0), "{err:?}");
    assert_eq!(sums(&out), (3, count(typed)));
}

#[test]
fn standard_input_is_counted_to_its_end() {
    let args = ["word-count", "--source", "stdin", "--json", "--batch-interval", "50ms"];
    let input = TEXT.repeat(500);
    let mut child = brooklet(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let written = input.clone();
    let writer = std::thread::spawn(move || pipe.write_all(written.as_bytes()).unwrap());
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let (records, words) = sums(text(&done.stdout).lines());
    assert_eq!(records, input.lines().count() as u64);
    assert_eq!(words, count(&input));
}

#[test]
fn the_feed_serves_its_text_and_prints_its_totals() {
    let args = ["feed", "--port", "0", "--rate", "0", "--seed", "5", "--lines", "3000"];
    let (mut feed, port) = spawn_feed(&args);
    let mut received = String::new();
    TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut received).unwrap();
    let words = count(&received);
    let expected = format!(
        "total: 3000 lines, {} words, {} distinct, {} bytes",
        words.values().sum::<u64>(),
        words.len(),
        received.len()
    );
    let out: Vec<String> = feed.out.by_ref().map(Result::unwrap).collect();
    assert!(out.contains(&expected), "{expected}\n{out:?}");
    assert!(out.contains(&format!("{:>10} the", words["the"])), "{out:?}");
    assert_eq!(received.lines().count(), 3_000);
    assert!(words.keys().any(|w| w.contains('水')));
    assert_eq!(feed.end().2, Some(0));
}

#[test]
fn an_interrupted_feed_prints_what_it_has_sent() {
    let (feed, port) = spawn_feed(&["feed", "--port", "0"]);
    let mut client = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut received = String::new();
    client.read_line(&mut received).unwrap();
    feed.interrupt();
    client.read_to_string(&mut received).unwrap();
    let (out, err, code) = feed.end();
    assert_eq!(code, Some(0), "{err:?}");
    let expected = format!("total: {} lines, ", received.lines().count());
    assert!(out.iter().any(|l| l.starts_with(&expected)), "{expected}\n{out:?}");
}

#[test]
fn a_socket_is_counted_until_the_interrupt() {
    let (feed, port) = spawn_feed(&["feed", "--port", "0", "--rate", "0", "--lines", "5000"]);
    let source = format!("socket://127.0.0.1:{port}");
    let args = ["word-count", "--source", &source, "--json", "--batch-interval", "50ms"];
    let mut program = spawn(&args);
    let mut out = Vec::new();
    while sums(&out).0 < 5_000 {
        out.push(program.out.next().expect("ended before all lines were counted").unwrap());
    }
    program.interrupt();
    let (rest, err, code) = program.end();
    out.extend(rest);
    assert_eq!(code, Some(0), "{err:?}");
    let (records, words) = sums(&out);
    let (totals, _, code) = feed.end();
    let expected = format!(
        "total: {records} lines, {} words, {} distinct, ",
        words.values().sum::<u64>(),
        words.len()
    );
    assert_eq!((records, code), (5_000, Some(0)));
    assert!(totals.iter().any(|l| l.starts_with(&expected)), "{expected}\n{totals:?}");
}

#[test]
fn files_of_a_directory_are_counted_once() {
    let dir = std::env::temp_dir().join(format!("brooklet-cli-files-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("there.txt"), TEXT).unwrap();
    let source = format!("file://{}", dir.display());
    let args = ["word-count", "--json", "--batch-interval", "100ms", "--source", &source];
    let mut program = spawn(&args);
    let mut seen = vec![program.out.next().unwrap().unwrap()];
    while sums(&seen).0 == 0 {
        seen.push(program.out.next().unwrap().unwrap());
    }
    program.interrupt();
    let (rest, err, code) = program.end();
    seen.extend(rest.into_iter().filter(|l| l.starts_with('{')));
    assert_eq!(code, Some(0), "{err:?}");
    assert_eq!(sums(&seen), (TEXT.lines().count() as u64, count(TEXT)), "{err:?}");
    std::fs::remove_dir_all(&dir).unwrap();
    let out = run(&args);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{err}");
    assert!(err.contains(dir.to_str().unwrap()) && err.contains("make it first"), "{err}");
    std::fs::write(&dir, TEXT).unwrap();
    let out = run(&args);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("log://"), "{}", text(&out.stderr));
    std::fs::remove_file(&dir).unwrap();
}

#[test]
fn what_is_added_to_a_log_is_counted_through_its_rotation() {
    let dir = std::env::temp_dir().join(format!("brooklet-cli-log-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let log = dir.join("app.log");
    std::fs::write(&log, "before the start\n").unwrap();
    let source = format!("log://{}", log.display());
    let mut program =
        spawn(&["word-count", "--json", "--batch-interval", "50ms", "--source", &source]);
    // The first batch shows that the end of the log has been found.
    let mut seen = vec![program.out.next().unwrap().unwrap()];
    let append = |text: &str| {
        let mut file = std::fs::File::options().append(true).create(true).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("one two\n");
    while sums(&seen).0 < 1 {
        seen.push(program.out.next().unwrap().unwrap());
    }
    append("two three\n");
    std::fs::rename(&log, dir.join("app.log.1")).unwrap();
    append("four\n");
    while sums(&seen).0 < 3 {
        seen.push(program.out.next().unwrap().unwrap());
    }
    program.interrupt();
    let (_, err, code) = program.end();
    assert_eq!(code, Some(0), "{err:?}");
    assert_eq!(sums(&seen).1, count("one two two three four"), "{err:?}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn wrong_arguments_end_with_code_2_and_say_what_is_right() {
    for (args, hints) in [
        (&["word-count", "--batch-interval", "5"][..], &["--batch-interval", "no unit", "5s"][..]),
        (&["word-count", "--block-interval", "1 parsec"], &["--block-interval", "parsec", "ms"]),
        (&["word-count", "--batch-interval", "0ms"], &["--batch-interval", "1ms"]),
        (&["word-count", "--source", "kafka://x"], &["--source", "socket://HOST:PORT"]),
        (&["word-count", "--source", "socket://localhost"], &["--source", "no port"]),
        (&["word-count", "--master", "local[zero]"], &["--master", "local[zero]", "1024"]),
        (&["word-count", "--master", "yarn"], &["--master", "local[N]"]),
        (&["word-count", "--batches", "0"], &["--batches"]),
        (&["word-count", "--colour"], &["--colour"]),
        (&["feed"], &["--port"]),
        (&["count-words"], &["count-words"]),
    ] {
        let done = run(args);
        let err = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{args:?}\n{err}");
        assert!(done.stdout.is_empty(), "{args:?}");
        for hint in hints {
            assert!(err.contains(hint), "{args:?} doesn't mention {hint}:\n{err}");
        }
    }
}

#[test]
fn a_refused_connection_ends_with_code_3_and_names_the_address() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let source = format!("socket://127.0.0.1:{port}");
    let done = run(&["word-count", "--source", &source]);
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{err}");
    assert!(err.contains(&source) && err.contains("refused"), "{err}");
    assert!(err.contains(&format!("brooklet feed --port {port}")), "{err}");
}

#[test]
fn a_port_in_use_ends_with_code_1_and_names_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = run(&["feed", "--port", &port]);
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("127.0.0.1:{port}")), "{err}");
}

#[test]
fn a_wrong_log_filter_is_named() {
    let done = brooklet(&["feed", "--port", "0"]).env("RUST_LOG", "a=b=c").output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("RUST_LOG"));
}

/// A folder of its own, to run in.
fn folder(name: &str, file: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("brooklet-cli-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("brooklet.toml"), file).unwrap();
    dir
}

#[test]
fn settings_come_from_the_file_then_the_environment_then_conf() {
    let file = "[brooklet.streaming]\nmax_line_bytes = 16\nbatch_interval = \"20ms\"\n";
    let dir = folder("settings", file);
    let other = dir.join("other.toml");
    std::fs::write(&other, "brooklet.streaming.maxLineBytes = 18\n").unwrap();
    let variable = ("BROOKLET_STREAMING_MAX_LINE_BYTES", "20");
    let other = other.to_str().unwrap();
    // The length of the pieces that a long line is cut into says which source has won.
    let pieces = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = brooklet(&["word-count", "--source", "stdin", "--json"]);
        command.args(args).envs(env.iter().copied()).current_dir(&dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all("x".repeat(30).as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        let (_, words) = sums(text(&done.stdout).lines());
        words.keys().map(String::len).max()
    };
    let flag = ["--conf", "brooklet.streaming.maxLineBytes=22"];
    assert_eq!(pieces(&[], &[]), Some(16), "brooklet.toml in the folder");
    assert_eq!(pieces(&[], &[("BROOKLET_CONF", "")]), Some(30), "no file");
    assert_eq!(pieces(&[], &[("BROOKLET_CONF", other)]), Some(18), "another file");
    assert_eq!(pieces(&["--conf-file", other], &[]), Some(18), "another file");
    assert_eq!(pieces(&[], &[variable]), Some(20), "environment");
    assert_eq!(pieces(&flag, &[variable]), Some(22), "--conf");
    let both =
        ["--conf", "brooklet.task.maxFailures=2", flag[0], "spark.streaming.block-interval=5"];
    assert_eq!(pieces(&both, &[variable]), Some(20), "other settings");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_batch_interval_may_be_a_setting_and_the_option_wins() {
    for (args, want) in [
        (&["--conf", "brooklet.streaming.batchInterval=70ms"][..], 70),
        (&["--conf", "brooklet.streaming.batchInterval=70ms", "--batch-interval", "90ms"], 90),
    ] {
        let (out, err, code) =
            spawn(&[&["word-count", "--json", "--batches", "3"], args].concat()).end();
        assert_eq!(code, Some(0), "{err:?}");
        for line in out {
            let object: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["time"].as_u64().unwrap() % want, 0, "{line}");
        }
    }
}

#[test]
fn wrong_settings_end_with_code_2_and_name_their_place() {
    let dir = folder("wrong", "# settings\n[brooklet.streaming]\nblokInterval = 3\n");
    let missing = ["BROOKLET_CONF", "missing.toml"];
    let near = "did you mean `brooklet.streaming.blockInterval`?";
    for (args, env, hints) in [
        (&[][..], None, &["brooklet.toml:3:1", "`brooklet.streaming.blokInterval`", near][..]),
        (&[], Some(missing), &["missing.toml", "BROOKLET_CONF", "No such file"]),
        (&["--conf-file", "none.toml"], None, &["none.toml", "No such file"]),
        (&["--conf-file", "."], None, &["configuration file `.`"]),
        (
            &["--conf", "brooklet.streaming.blokInterval=3"],
            Some(["BROOKLET_CONF", ""]),
            &["argument `brooklet.streaming.blokInterval=3`", near],
        ),
        (&["--conf", "brooklet.master"], Some(["BROOKLET_CONF", ""]), &["KEY=VALUE"]),
        (
            &["--conf", "spark.streaming.backpressure.enabled=true"],
            Some(["BROOKLET_CONF", ""]),
            &["back pressure isn't in this build"],
        ),
    ] {
        let mut command = brooklet(&[&["word-count", "--batches", "1"], args].concat());
        let done = command.envs(env.map(|[k, v]| (k, v))).current_dir(&dir).output().unwrap();
        let err = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{args:?}\n{err}");
        for hint in hints {
            assert!(err.contains(hint), "{args:?} doesn't mention {hint}:\n{err}");
        }
    }
    let mut command = brooklet(&["word-count", "--batches", "1"]);
    command.env("BROOKLET_CONF", "").env("BROOKLET_STREAMING_BLOCK_INTERVALL", "5ms");
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    let err = text(&done.stderr);
    assert!(err.contains("variable BROOKLET_STREAMING_BLOCK_INTERVALL"), "{err}");
    assert!(err.contains("did you mean `BROOKLET_STREAMING_BLOCK_INTERVAL`?"), "{err}");
    std::fs::remove_dir_all(dir).unwrap();
}

/// A feed, and the port that it listens on.
fn spawn_feed(args: &[&str]) -> (Program, u16) {
    let mut feed = spawn(args);
    let line = feed.err.as_mut().unwrap().next().unwrap().unwrap();
    let address = line.split(' ').find(|w| w.contains(':')).expect("no address");
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    (feed, port)
}

/// The address after `before` in a line of standard error.
fn address_in(program: &mut Program, before: &str) -> String {
    let err = program.err.as_mut().unwrap();
    let line = err.map(Result::unwrap).find(|l| l.contains(before)).unwrap();
    let rest = line.split_once(before).unwrap().1;
    rest.split(['/', ';']).next().unwrap().to_string()
}

/// What a server answers to a request, to its end.
fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn posted_lines_are_counted_and_shown_on_a_page() {
    let source = "http://127.0.0.1:0/lines";
    let args = ["word-count", "--source", source, "--serve", "0", "--batch-interval", "50ms"];
    let mut program = spawn(&args);
    let input = address_in(&mut program, "posted to http://");
    let page = address_in(&mut program, "shown at http://");

    let html = http(&page, "GET / HTTP/1.0\r\n\r\n");
    assert!(html.contains(" 200 OK") && html.contains("/streams/batches/events"), "{html}");
    let body = "the brook\n<b>the</b> brook & the\n";
    let post = format!("POST /lines HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let answer = http(&input, &post);
    assert!(answer.ends_with("{\"stored\":2}"), "{answer}");

    let mut events = TcpStream::connect(&page).unwrap();
    events.write_all(b"GET /streams/batches/events HTTP/1.0\r\n\r\n").unwrap();
    let shown = BufReader::new(events).lines().map(Result::unwrap).find_map(|line| {
        let batch: Value = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
        let shown = batch["values"][0].clone();
        (shown["total_records"] == 2).then_some(shown)
    });
    let shown = shown.unwrap();
    assert_eq!((&shown["total_words"], &shown["total_distinct"]), (&6.into(), &4.into()));
    let top = serde_json::json!([["brook", 2], ["the", 2], ["&", 1], ["<b>the</b>", 1]]);
    assert_eq!(shown["total_top"], top);
    program.interrupt();
    let (out, _, code) = program.end();
    assert_eq!(code, Some(0), "{out:?}");
    assert!(out.iter().any(|l| l.starts_with("total: ") && l.contains("2 records, 6 words")));
}

#[test]
fn a_taken_port_of_the_page_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = run(&["word-count", "--serve", &port]);
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.contains(&port) && err.contains("choose another port"), "{err}");
    let done = run(&["word-count", "--serve", "http"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("a PORT from 0 to 65535"));
}
