//! `cargo xtask test`: everything a change has to pass, in one run.

use std::time::{Duration, Instant};

use crate::artifacts::{self, Program};
use crate::process::{self, Outcome};
use crate::report::{Counts, Ending, Report, Row};
use crate::{Result, root};

/// A test program that takes longer hangs.
const TEST_LIMIT: Duration = Duration::from_secs(600);
/// The same for all doc tests, which are also compiled in that time.
const DOCTEST_LIMIT: Duration = Duration::from_secs(1_800);

/// The parts, in the order in which they run.
const PARTS: [(&str, Body); 8] = [
    ("fmt", |_| fmt()),
    ("clippy", |_| clippy()),
    ("build", Gate::build),
    ("unit", |g| g.tests(|p| p.kind != "test")),
    ("integration", |g| g.tests(|p| p.kind == "test" && p.name != "examples")),
    ("examples", |g| g.tests(|p| p.kind == "test" && p.name == "examples")),
    ("doctests", |_| doctests()),
    ("docs", |_| docs()),
];
const QUICK: [&str; 4] = ["fmt", "clippy", "build", "unit"];
/// Parts that run test programs, for which `build` has to come first.
const RUNS_PROGRAMS: [&str; 3] = ["unit", "integration", "examples"];

/// Runs a part.
type Body = fn(&mut Gate) -> Result<Part>;

/// How a part ended, with the numbers of its tests.
type Part = (Ending, Option<Counts>);

/// What later parts need of earlier ones.
#[derive(Default)]
struct Gate {
    programs: Option<Vec<Program>>,
}

/// Runs the gate; says whether all is well.
pub fn run(args: &[&str]) -> Result<bool> {
    let wanted = wanted(args)?;
    if !process::works("cc", &["--version"]) {
        return Err("no C linker: the command `cc` is missing. On Debian type:\n\n  \
                    apt-get update && apt-get install -y gcc libc6-dev\n"
            .into());
    }
    let (mut gate, mut report) = (Gate::default(), Report::default());
    for (part, body) in PARTS {
        if !wanted.contains(&part) {
            let why = format!("not asked for ({})", args.join(" "));
            report.rows.push(row(part, Duration::ZERO, (Ending::Left(why), None)));
            continue;
        }
        println!("\n== {part}");
        let start = Instant::now();
        let ended = body(&mut gate).unwrap_or_else(|e| (Ending::Failed(e), None));
        if let Ending::Failed(why) = &ended.0 {
            println!("{part} FAILED: {why}");
        }
        report.rows.push(row(part, start.elapsed(), ended));
    }
    let asked_for_tests = wanted.iter().any(|p| RUNS_PROGRAMS.contains(p) || *p == "doctests");
    if asked_for_tests && report.counts().total() == 0 {
        let nothing = (Ending::Failed("no test ran at all".into()), None);
        report.rows.push(row("count", Duration::ZERO, nothing));
    }
    print!("{}", report.text());
    Ok(report.counts().failed == 0)
}

fn row(part: &'static str, time: Duration, (ending, counts): Part) -> Row {
    Row { part, time, counts, ending }
}

/// The parts that the arguments ask for.
fn wanted(args: &[&str]) -> Result<Vec<&'static str>> {
    let all = PARTS.map(|(part, _)| part);
    match args {
        [] => Ok(all.to_vec()),
        ["--quick"] => Ok(QUICK.to_vec()),
        ["--only", part] => {
            let part = all.iter().find(|p| *p == part).copied().ok_or_else(|| {
                format!("`{part}` is no part of the tests: use one of {}", all.join(", "))
            })?;
            let build = RUNS_PROGRAMS.contains(&part).then_some("build");
            Ok(build.into_iter().chain([part]).collect())
        }
        _ => Err(format!(
            "`{}` isn't understood: use --quick, --only PART, or nothing",
            args.join(" ")
        )),
    }
}

fn plain(outcome: Outcome) -> Part {
    (if outcome.ok { Ending::Ok } else { Ending::Failed(outcome.problem) }, None)
}

/// Runs `body` when the cargo command `tool` is there or can be installed. Formatting and lints are the
/// only parts that a missing tool may leave out.
fn with_tool(tool: &str, component: &str, body: impl FnOnce() -> Result<Part>) -> Result<Part> {
    let there = || process::cargo(&[tool, "--version"]).output().is_ok_and(|o| o.status.success());
    if !there() {
        let install = format!("rustup component add {component}");
        println!("`cargo {tool}` is missing; trying `{install}`");
        process::works("rustup", &["component", "add", component]);
        if !there() {
            let why = format!("`cargo {tool}` is missing. Type: {install}");
            return Ok((Ending::Left(why), None));
        }
    }
    body()
}

fn fmt() -> Result<Part> {
    with_tool("fmt", "rustfmt", || {
        process::shown(process::cargo(&["fmt", "--all", "--check"])).map(plain)
    })
}

/// All in release, here and below, so that the parts and the product share what is compiled.
fn clippy() -> Result<Part> {
    let args = ["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"];
    with_tool("clippy", "clippy", || process::shown(process::cargo(&args)).map(plain))
}

fn doctests() -> Result<Part> {
    let command = process::cargo(&["test", "--workspace", "--release", "--doc", "--no-fail-fast"]);
    println!("$ {}", process::line(&command));
    let outcome = process::captured(command, DOCTEST_LIMIT)?;
    let counts = Counts::read(&outcome.output);
    if !outcome.ok {
        println!("{}", outcome.output);
    }
    let (ending, _) = plain(outcome);
    Ok((ending, Some(counts)))
}

fn docs() -> Result<Part> {
    let mut command = process::cargo(&["doc", "--workspace", "--release", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    process::shown(command).map(plain)
}

impl Gate {
    /// Libraries, programs, examples and all test programs.
    fn build(&mut self) -> Result<Part> {
        self.programs = artifacts::build(&["test", "--workspace", "--release", "--no-run"])?;
        Ok(match self.programs {
            Some(_) => (Ending::Ok, None),
            None => (Ending::Failed("it doesn't compile".into()), None),
        })
    }

    /// Runs the test programs of one part, one after the other.
    fn tests(&mut self, belongs: fn(&Program) -> bool) -> Result<Part> {
        let Some(programs) = &self.programs else {
            return Ok((Ending::Left("the build failed".into()), None));
        };
        let programs: Vec<_> = programs.iter().filter(|p| p.test && belongs(p)).collect();
        if programs.is_empty() {
            return Ok((Ending::Left("there is no such test program".into()), None));
        }
        let mut all = Counts::default();
        let mut failed = Vec::new();
        for program in programs {
            let (counts, problem) = run_tests(program)?;
            all += counts;
            if let Some(problem) = problem {
                failed.push(format!("{}: {problem}", program.title()));
            }
        }
        let ending = if failed.is_empty() { Ending::Ok } else { Ending::Failed(failed.join("; ")) };
        Ok((ending, Some(all)))
    }
}

/// Runs one test program as `cargo test` would; its output is shown when it fails. A program that ends
/// without a result line (a crash, a hang) counts as one failed test.
pub fn run_tests(program: &Program) -> Result<(Counts, Option<String>)> {
    let mut command = std::process::Command::new(&program.path);
    command
        .current_dir(&program.dir)
        .env("CARGO_MANIFEST_DIR", &program.dir)
        .env("CARGO_PKG_NAME", program.package())
        .env("CARGO_WORKSPACE_DIR", root())
        // Most panics are on purpose, and messages name their places.
        .env("RUST_BACKTRACE", "0");
    let outcome = process::captured(command, TEST_LIMIT)?;
    let mut counts = Counts::read(&outcome.output);
    if outcome.ok {
        println!(
            "{}: {} passed, {} ignored, {:.1} s",
            program.title(),
            counts.passed,
            counts.ignored,
            outcome.time.as_secs_f64()
        );
        return Ok((counts, None));
    }
    counts.failed = counts.failed.max(1);
    println!("{}\n{}: {}", outcome.output, program.title(), outcome.problem);
    Ok((counts, Some(outcome.problem)))
}
