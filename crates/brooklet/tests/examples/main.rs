//! The examples, run as their readers run them: as processes, by what they print.

#![allow(clippy::unwrap_used)]

mod clickstream;
mod dashboard;
mod logs;
mod page_views;
mod peer;
mod programs;
mod sketches;
mod stateful;
mod windows;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// How long an example may take before it is killed.
const LIMIT: Duration = Duration::from_secs(60);

/// Where cargo puts the example: tests lie in `target/PROFILE/deps`, examples beside that.
fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(|deps| deps.parent()).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    let release = if cfg!(debug_assertions) { "" } else { "--release " };
    assert!(
        path.is_file(),
        "{} isn't built; type: cargo build {release}--package brooklet --examples",
        path.display()
    );
    path
}

/// A running example; killed at the end of the test, or when it hangs.
struct Example {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    over: Arc<AtomicBool>,
    hung: Arc<AtomicBool>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Example {
        let mut child = Command::new(path(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let (over, hung) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (seen, tell, pid) = (over.clone(), hung.clone(), child.id().to_string());
        let watchdog = move || {
            thread::park_timeout(LIMIT);
            if !seen.load(Relaxed) {
                tell.store(true, Relaxed);
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        };
        thread::spawn(watchdog);
        Example { child, out, over, hung }
    }

    /// The next line.
    fn line(&mut self) -> String {
        let line = self.out.next();
        assert!(!self.hung.load(Relaxed), "killed after {LIMIT:?}");
        line.expect("the example has ended").unwrap()
    }

    /// The next page of `print`: its batch time in milliseconds, and its lines.
    fn page(&mut self) -> (u64, Vec<String>) {
        loop {
            let line = self.line();
            let time = line.strip_prefix("Time: ").and_then(|t| t.strip_suffix(" ms"));
            let Some(time) = time else { continue };
            assert_eq!(self.line(), "-".repeat(43));
            let mut lines = vec![self.line()];
            while lines.last().is_some_and(|l| !l.is_empty()) {
                lines.push(self.line());
            }
            lines.pop();
            return (time.parse().unwrap(), lines);
        }
    }

    /// Asks it to stop, as a terminal that is closed does, and takes all that is left.
    fn stop(self) -> Vec<String> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.rest()
    }

    /// The exit code of one that ends by itself.
    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// All that is left, up to an end that must be a good one.
    fn rest(mut self) -> Vec<String> {
        let lines = self.out.by_ref().map(Result::unwrap).collect();
        let status = self.child.wait().unwrap();
        assert!(!self.hung.load(Relaxed), "killed after {LIMIT:?}: {lines:?}");
        assert!(status.success(), "{status}: {lines:?}");
        lines
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `print` shows of a pair.
fn pair(line: &str) -> Option<(String, u64)> {
    let (key, n) = line.strip_prefix('(')?.strip_suffix(')')?.rsplit_once(", ")?;
    Some((key.trim_matches('"').to_string(), n.parse().unwrap()))
}

/// A server on a loopback port that sends `text` to its first client and keeps the connection open.
fn serve(text: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // The client may be gone before it has read all.
        let _ = client.write_all(text.as_bytes());
        thread::sleep(LIMIT);
    });
    port
}
