//! Child processes: with their time, their output, and an end for those that hang.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Result, root};

/// What became of a child process.
#[derive(Debug)]
pub struct Outcome {
    pub ok: bool,
    /// Why it isn't ok: exit code, signal or time limit.
    pub problem: String,
    pub time: Duration,
    /// Standard output and error as they came; empty if they weren't captured.
    pub output: String,
}

/// `cargo` with these arguments, in the workspace's folder.
pub fn cargo(args: &[&str]) -> Command {
    let mut c = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    c.args(args).current_dir(root()).stdin(Stdio::null());
    c
}

/// Whether `program args` runs and succeeds, silently.
pub fn works(program: &str, args: &[&str]) -> bool {
    let mut c = Command::new(program);
    c.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    c.status().is_ok_and(|s| s.success())
}

/// Runs a command with its output shown.
pub fn shown(mut command: Command) -> Result<Outcome> {
    println!("$ {}", line(&command));
    let start = Instant::now();
    let status = command.status().map_err(|e| format!("can't run {}: {e}", line(&command)))?;
    Ok(Outcome {
        ok: status.success(),
        problem: describe(status),
        time: start.elapsed(),
        output: String::new(),
    })
}

/// Runs a command with its output captured, at most `limit` long; then it is killed, with all that it
/// has started.
pub fn captured(mut command: Command, limit: Duration) -> Result<Outcome> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("can't run {}: {e}", line(&command)))?;
    let output = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        child.stdout.take().map(|pipe| collect(pipe, &output)),
        child.stderr.take().map(|pipe| collect(pipe, &output)),
    ];
    let (status, in_time) = wait(&mut child, start, limit).map_err(|e| e.to_string())?;
    let time = start.elapsed();
    // A pipe may stay open in a process that the child has left behind: don't wait for that for ever.
    let patience = Instant::now();
    for reader in readers.into_iter().flatten() {
        while !reader.is_finished() && patience.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let output = output.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Outcome {
        ok: in_time && status.success(),
        problem: if in_time {
            describe(status)
        } else {
            format!("hung: killed after {} s", limit.as_secs())
        },
        time,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

fn collect(
    mut pipe: impl Read + Send + 'static,
    output: &Arc<Mutex<Vec<u8>>>,
) -> thread::JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut buffer = [0; 8 << 10];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            output.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
        }
    })
}

/// The child's status, and whether it ended by itself.
fn wait(child: &mut Child, start: Instant, limit: Duration) -> io::Result<(ExitStatus, bool)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, true));
        }
        if start.elapsed() > limit {
            let group = format!("-{}", child.id());
            works("kill", &["-KILL", "--", &group]);
            child.kill()?;
            return Ok((child.wait()?, false));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => String::new(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hung_process_is_killed_with_its_children() {
        let mut c = Command::new("sh");
        c.args(["-c", "echo begun; sleep 1000 & sleep 1000"]);
        let o = captured(c, Duration::from_millis(200)).unwrap();
        assert!(!o.ok && o.problem.contains("hung"), "{o:?}");
        assert_eq!(o.output, "begun\n");
    }

    #[test]
    fn an_exit_code_is_reported() {
        let mut c = Command::new("sh");
        c.args(["-c", "echo out; echo err >&2; exit 3"]);
        let o = captured(c, Duration::from_secs(60)).unwrap();
        assert_eq!((o.ok, o.problem.as_str()), (false, "exit code 3"));
        assert!(o.output.contains("out") && o.output.contains("err"));
    }
}
