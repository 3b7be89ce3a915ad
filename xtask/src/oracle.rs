//! `cargo xtask oracle`: generated programs against recomputations on plain data, as many as asked for.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::report::Counts;
use crate::{Result, artifacts, root};

/// The variables that the tests read.
const CASES: &str = "BROOKLET_ORACLE_CASES";
const SEED: &str = "BROOKLET_ORACLE_SEED";

/// The test program, and the modules of it that take part.
const PROGRAM: &str = "streams";
const MODULES: [&str; 3] = ["oracle::", "stateful::", "rdd_ops::oracle::"];

const DEFAULT_CASES: u64 = 100_000;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    cases: u64,
    seed: u64,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Asked> {
        use std::hash::{BuildHasher, RandomState};
        let new = RandomState::new().hash_one(0);
        let mut asked = Asked { cases: DEFAULT_CASES, seed: new };
        let mut rest = args;
        while let [flag, more @ ..] = rest {
            let place = match *flag {
                "--cases" => &mut asked.cases,
                "--seed" => &mut asked.seed,
                _ => return Err(format!("`{flag}` isn't understood: use --cases N, --seed S")),
            };
            let [value, more @ ..] = more else { return Err(format!("{flag} needs a number")) };
            *place = value.parse().map_err(|_| format!("{flag}: `{value}` is no number"))?;
            rest = more;
        }
        if asked.cases == 0 {
            return Err("--cases: at least 1".into());
        }
        Ok(asked)
    }
}

pub fn run(args: &[&str]) -> Result<bool> {
    let Asked { cases, seed } = Asked::parse(args)?;
    let build = ["test", "-p", "brooklet", "--release", "--test", PROGRAM, "--no-run"];
    let built = artifacts::build(&build)?.ok_or("it doesn't compile")?;
    let program = built.iter().find(|p| p.test && p.name == PROGRAM);
    let program = program.ok_or_else(|| format!("cargo has built no test program `{PROGRAM}`"))?;
    println!("{cases} cases, seed {seed}");
    let start = Instant::now();
    let output = Command::new(&program.path)
        .args(MODULES)
        .arg("--nocapture")
        .current_dir(&program.dir)
        .env("CARGO_MANIFEST_DIR", &program.dir)
        .env("CARGO_WORKSPACE_DIR", root())
        // Most panics are on purpose; their backtraces would take most of the time.
        .env("RUST_BACKTRACE", "0")
        .env(CASES, cases.to_string())
        .env(SEED, seed.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("can't run {}: {e}", program.path.display()))?;
    let (time, text) = (start.elapsed().as_secs_f64(), String::from_utf8_lossy(&output.stdout));
    print!("{text}");
    let counts = Counts::read(&text);
    let (ran, ok) = (tried(&text), output.status.success() && counts.failed == 0);
    println!("\n{ran} cases in {time:.1} s, {:.0} a second, seed {seed}", ran as f64 / time);
    if !ok {
        println!("again: cargo xtask oracle --cases {cases} --seed {seed}");
    }
    if ran == 0 {
        return Err("no case was tried".into());
    }
    Ok(ok)
}

/// The cases of all properties, as they have told: `oracle: N cases, ...`.
fn tried(text: &str) -> u64 {
    let numbers = text
        .split("oracle: ")
        .skip(1)
        .filter_map(|t| t.split_once(" cases, seed ")?.0.parse::<u64>().ok());
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order_and_wrong_ones_are_named() {
        let asked = Asked::parse(&["--seed", "7", "--cases", "12"]).unwrap();
        assert_eq!(asked, Asked { cases: 12, seed: 7 });
        assert_eq!(Asked::parse(&[]).unwrap().cases, DEFAULT_CASES);
        for (args, part) in [
            (&["--cases"][..], "needs a number"),
            (&["--cases", "many"], "`many`"),
            (&["--cases", "0"], "at least 1"),
            (&["--rounds", "3"], "`--rounds`"),
        ] {
            let e = Asked::parse(args).unwrap_err();
            assert!(e.contains(part), "{e}");
        }
    }

    #[test]
    fn cases_are_added_up_over_the_properties() {
        let text = "running 2 tests\noracle: 30 cases, seed 5, a\ntest x::oracle: b ... oracle: 12 cases, seed 5, c\nok";
        assert_eq!(tried(text), 42);
        assert_eq!(tried("test oracle::a ... ok"), 0);
    }
}
