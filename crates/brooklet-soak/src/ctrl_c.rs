//! Ctrl-C at full speed: all that was received is in the output.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::figures::Limits;
use crate::process::Owned;

const RUN: Duration = Duration::from_secs(10);
const INTERVAL: &str = "200ms";

fn start(brooklet: &str) -> Result<Owned> {
    let args = ["word-count", "--rate", "0", "--json", "--batch-interval", INTERVAL];
    Ok(Owned(
        Command::new(brooklet)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    ))
}

pub fn run(brooklet: &str) -> Result<()> {
    let mut limits = Limits::default();
    once(brooklet, &mut limits)?;
    twice(brooklet, &mut limits)?;
    limits.result()
}

/// One Ctrl-C: the totals are those of the feed.
fn once(brooklet: &str, limits: &mut Limits) -> Result<()> {
    let mut program = start(brooklet)?;
    let out = BufReader::new(program.stdout.take().ok_or("no output")?);
    let mut err = program.stderr.take().ok_or("no output")?;
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    let began = Instant::now();
    let (mut records, mut words, mut at_interrupt) = (0u64, 0u64, None);
    for line in out.lines() {
        let object: Value = serde_json::from_str(&line?)?;
        records += object["records"].as_u64().ok_or("no records")?;
        let counts = object["counts"].as_object().ok_or("no counts")?;
        words += counts.values().filter_map(Value::as_u64).sum::<u64>();
        if at_interrupt.is_none() && began.elapsed() > RUN {
            at_interrupt = Some((began.elapsed(), records, Instant::now()));
            program.interrupt()?;
        }
    }
    let code = program.code_within(Duration::from_secs(60))?;
    let (ran, shown, interrupted) = at_interrupt.ok_or("it ended before the interrupt")?;
    let errors = errors.join().map_err(|_| "the reader panicked")??;
    let ended_in = interrupted.elapsed().as_secs_f64();
    println!("{shown} records shown before Ctrl-C, {records} after it; ended in {ended_in:.2} s");
    // The feed pauses at the interrupt: all records were sent before it.
    let rate = records as f64 / ran.as_secs_f64() / 1e6;
    limits.check("M records/s before Ctrl-C", format!("{rate:.2}"), "at least 1", rate >= 1.0);
    limits.check("exit code", format!("{code:?}"), 0, code == Some(0));
    let feed = errors.lines().find(|l| l.starts_with("feed: ")).unwrap_or("no totals of the feed");
    let expected = format!("feed:  {records} lines, {words} words, ");
    let equal = feed.starts_with(&expected) && feed.ends_with(": equal");
    limits.check("totals", feed, expected, equal);
    Ok(())
}

/// Two of them: the end comes at once.
fn twice(brooklet: &str, limits: &mut Limits) -> Result<()> {
    let mut program = start(brooklet)?;
    let mut out = BufReader::new(program.stdout.take().ok_or("no output")?).lines();
    out.next().ok_or("no output")??;
    program.interrupt()?;
    std::thread::sleep(Duration::from_millis(1)); // two signals at once may come as one
    program.interrupt()?;
    let second = Instant::now();
    let code = program.code_within(Duration::from_secs(60))?;
    let took = second.elapsed();
    // With little left to count the first one may be done before the second comes.
    limits.check(
        "exit code after two",
        format!("{code:?}"),
        "130 (or 0)",
        matches!(code, Some(130 | 0)),
    );
    let limit = Duration::from_millis(500);
    limits.check("end after the second", format!("{took:?}"), "500ms", took < limit);
    Ok(())
}
