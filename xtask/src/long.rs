//! `cargo xtask long NAME`: runs that take too long for the gate.

mod new_user;

use std::process::Command;

use crate::{Result, artifacts, gate, process, target};

/// A long run: its name, what it does, and the function that does it with the rest of the arguments.
type Run = (&'static str, &'static str, fn(&[&str]) -> Result<bool>);

const RUNS: &[Run] = &[
    (
        "repeat",
        "[N]: all unit and integration tests N times (default 20), to find those that fail now and then",
        repeat,
    ),
    (
        "interval",
        "[SECS]: a batch of one record every millisecond by the real timer; its delays (default 60 s)",
        |args| soak("interval", args),
    ),
    (
        "slow-output",
        "[SECS]: a socket at full speed into a slow output; memory, nothing lost (default 60 s)",
        |args| soak("slow-output", args),
    ),
    (
        "pinned",
        "[BLOCKS]: one long word kept of each megabyte; memory (default 10000 blocks)",
        |args| soak("pinned", args),
    ),
    ("detach", "what it costs to look for such words in collected records", |args| {
        soak("detach", args)
    }),
    (
        "external",
        "[MB]: sorts and aggregates records with 64 MiB for a task; memory (default 1000 MB)",
        |args| soak("external", args),
    ),
    (
        "starts",
        "[N]: contexts started and stopped; threads and open files (default 1000)",
        |args| soak("starts", args),
    ),
    (
        "state",
        "[BATCHES [MS]]: 10,000 of a million keys touched a batch, with checkpoints (default 10000 1000)",
        |args| in_folder("state", args),
    ),
    (
        "state-turnover",
        "[KEYS]: that many keys that come and go by time-out, a 20th at a time; memory (default 100 M)",
        |args| soak("state-turnover", args),
    ),
    (
        "state-disk",
        "[KEYS]: that many keys with states on disk, touched at random; memory, counts (default 20 M)",
        |args| soak("state-disk", args),
    ),
    ("collisions", "keys that collide under a known seed against ordinary ones", |args| {
        soak("collisions", args)
    }),
    (
        "log",
        "[SECS]: a log written at 100,000 lines a second, rotated and truncated; each line once (40 s)",
        |args| soak("log", args),
    ),
    ("ctrl-c", "`brooklet word-count` at full speed, interrupted once and twice", |args| {
        soak_brooklet("ctrl-c", &[], args)
    }),
    (
        "multiset",
        "[LINES]: `brooklet word-count` against `sort | uniq -c`, by a pipe and `nc -lk` (default 10 M)",
        multiset,
    ),
    ("files", "[MB]: a file of so many megabytes; memory, nothing lost (default 1000)", |args| {
        in_folder("files", args)
    }),
    ("scan", "[N]: a directory of N files; how long each look takes (default 100000)", |args| {
        in_folder("scan", args)
    }),
    (
        "new-user",
        "a new crate that uses brooklet: seconds of a clean build, of rebuilds, of a long chain",
        new_user::run,
    ),
];

pub fn run(args: &[&str]) -> Result<bool> {
    let Some((name, rest)) = args.split_first() else {
        print!("{}", list());
        return Ok(true);
    };
    match RUNS.iter().find(|(n, ..)| n == name) {
        Some((.., body)) => body(rest),
        None => Err(format!("there is no long run `{name}`\n\n{}", list())),
    }
}

fn list() -> String {
    RUNS.iter().map(|(name, what, _)| format!("  cargo xtask long {name:<11} {what}\n")).collect()
}

fn repeat(args: &[&str]) -> Result<bool> {
    let times: u32 = match args {
        [] => 20,
        [n] => n.parse().map_err(|_| format!("`{n}` is no number of repetitions"))?,
        _ => return Err("use: cargo xtask long repeat [N]".into()),
    };
    let args = ["test", "--workspace", "--release", "--no-run"];
    let Some(programs) = artifacts::build(&args)? else {
        return Err("it doesn't compile".into());
    };
    let mut failures = Vec::new();
    for round in 1..=times {
        println!("\n== round {round} of {times}");
        for program in programs.iter().filter(|p| p.test) {
            if let (_, Some(problem)) = gate::run_tests(program)? {
                failures.push(format!("round {round}: {}: {problem}", program.title()));
            }
        }
    }
    println!("\n{times} rounds, {} failures", failures.len());
    failures.iter().for_each(|f| println!("  {f}"));
    Ok(failures.is_empty())
}

/// Runs `brooklet-soak`, which has the runs that need the library.
fn soak(name: &str, args: &[&str]) -> Result<bool> {
    let package = ["build", "--release", "--package", "brooklet-soak"];
    let program = built(&package, "brooklet-soak")?;
    let mut command = Command::new(program);
    command.arg(name).args(args);
    Ok(process::shown(command)?.ok)
}

/// The same for runs that start the `brooklet` program.
fn soak_brooklet(name: &str, before: &[&str], args: &[&str]) -> Result<bool> {
    let brooklet = built(&["build", "--release", "--package", "brooklet-cli"], "brooklet")?;
    soak(name, &[&[brooklet.as_str()], before, args].concat())
}

fn multiset(args: &[&str]) -> Result<bool> {
    let folder = target().join("multiset").display().to_string();
    soak_brooklet("multiset", &[&folder], args)
}

/// A run with a folder of its own.
fn in_folder(name: &str, args: &[&str]) -> Result<bool> {
    let folder = target().join(name).display().to_string();
    soak(name, &[&[folder.as_str()], args].concat())
}

/// Builds a program; returns its path.
fn built(cargo: &[&str], name: &str) -> Result<String> {
    artifacts::build(cargo)?
        .and_then(|built| built.into_iter().find(|p| p.kind == "bin" && p.name == name))
        .map(|p| p.path.display().to_string())
        .ok_or_else(|| format!("`{name}` doesn't compile"))
}
