//! `cargo xtask long NAME`: runs that take too long for the gate.

use crate::{Result, artifacts, gate};

/// A long run: its name, what it does, and the function that does it with the rest of the arguments.
type Run = (&'static str, &'static str, fn(&[&str]) -> Result<bool>);

const RUNS: &[Run] = &[(
    "repeat",
    "[N] runs all unit and integration tests N times (default 20), to find those that fail now and then",
    repeat,
)];

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
    RUNS.iter().map(|(name, what, _)| format!("  cargo xtask long {name:<10} {what}\n")).collect()
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
