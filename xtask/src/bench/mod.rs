//! `cargo xtask bench`: how fast it is, and against what.

mod input;
mod pairs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::Program;
use crate::{Result, artifacts, process, root, target};

const PARTS: [&str; 3] = ["criterion", "hand", "peers"];
/// The bench target that holds the hand-written loops; the others are criterion's.
const HAND: &str = "hand";

struct Options {
    parts: Vec<String>,
    cases: Vec<String>,
    rounds: u32,
    peers: Option<PathBuf>,
}

pub fn run(args: &[&str]) -> Result<bool> {
    let options = options(args)?;
    let mut ok = true;
    for part in PARTS.iter().filter(|p| options.parts.iter().any(|o| o == *p)) {
        println!("\n== {part}");
        let done = match *part {
            "criterion" => criterion(),
            "hand" => hand(&options),
            _ => peers(&options),
        };
        match done {
            Ok(None) => {}
            Ok(Some(why)) => println!("{part} did not run: {why}"),
            Err(why) => {
                println!("{part} FAILED: {why}");
                ok = false;
            }
        }
    }
    Ok(ok)
}

fn options(args: &[&str]) -> Result<Options> {
    let mut o = Options {
        parts: Vec::new(),
        cases: vec!["wordcount".into(), "grep".into()],
        rounds: 11,
        peers: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match *arg {
            "--cases" => o.cases = value()?.split(',').map(str::to_string).collect(),
            "--rounds" => {
                o.rounds = value()?.parse().map_err(|e| format!("--rounds: {e}"))?;
            }
            "--peers" => o.peers = Some(value()?.into()),
            part if PARTS.contains(&part) => o.parts.push(part.to_string()),
            other => {
                return Err(format!(
                    "`{other}` isn't understood: parts are {}; options --cases A,B, --rounds N, --peers DIR",
                    PARTS.join(", ")
                ));
            }
        }
    }
    if o.rounds == 0 {
        return Err("--rounds: at least 1".into());
    }
    if o.parts.is_empty() {
        o.parts = PARTS.map(str::to_string).to_vec();
    }
    Ok(o)
}

fn benches() -> Result<Vec<Program>> {
    let programs = artifacts::build(&["bench", "--package", "brooklet", "--benches", "--no-run"])?
        .ok_or("the benches don't compile")?;
    Ok(programs.into_iter().filter(|p| p.kind == "bench").collect())
}

fn peer() -> Result<Program> {
    let args = ["build", "--release", "--package", "brooklet", "--example", "peer"];
    artifacts::build(&args)?
        .and_then(|built| built.into_iter().find(|p| p.kind == "example" && p.name == "peer"))
        .ok_or_else(|| "the example `peer` doesn't compile".into())
}

/// Runs criterion's benches. `Some` says why nothing ran.
fn criterion() -> Result<Option<String>> {
    let benches: Vec<_> = benches()?.into_iter().filter(|p| p.name != HAND).collect();
    if benches.is_empty() {
        return Ok(Some("there are no criterion benches".into()));
    }
    for bench in benches {
        let mut command = Command::new(&bench.path);
        command.arg("--bench").current_dir(&bench.dir).env("CARGO_TARGET_DIR", target());
        let outcome = process::shown(command)?;
        if !outcome.ok {
            return Err(format!("{}: {}", bench.title(), outcome.problem));
        }
    }
    Ok(None)
}

/// The example `peer` against the loops in `benches/hand.rs`, in paired rounds.
fn hand(options: &Options) -> Result<Option<String>> {
    let Some(limit) = benches()?.into_iter().find(|p| p.name == HAND) else {
        return Ok(Some("there is no bench target `hand`".into()));
    };
    let ours = peer()?;
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let data = folder.join("lines.txt");
    input::write(&data).map_err(|e| format!("{}: {e}", data.display()))?;
    let mut all_equal = true;
    for case in &options.cases {
        all_equal &= pairs::run(case, &limit.path, &ours.path, &data, options.rounds)?;
    }
    if all_equal { Ok(None) } else { Err("the fingerprints of the results differ".into()) }
}

/// The example `peer` in the harness of the other engines.
fn peers(options: &Options) -> Result<Option<String>> {
    // A folder that is given is used as it is; the shared one may be read-only, so a copy is.
    let (given, folder) = match &options.peers {
        Some(given) => (given.clone(), std::path::absolute(given).map_err(|e| e.to_string())?),
        None => (root().join("../shared/peers"), target().join("peers")),
    };
    if !given.join("run.py").is_file() {
        let text = format!("{} has no run.py; give --peers DIR", given.display());
        return if options.peers.is_some() { Err(text) } else { Ok(Some(text)) };
    }
    if !process::works("python3", &["--version"]) {
        return Ok(Some("python3 is missing. On Debian type: apt-get install -y python3".into()));
    }
    if options.peers.is_none() {
        copy(&given, &folder).map_err(|e| format!("can't copy {}: {e}", given.display()))?;
    }
    let ours = peer()?;
    let extra = folder.join("brooklet.json");
    fs::write(&extra, format!("{{\"brooklet\": [{:?}]}}\n", ours.path.display().to_string()))
        .map_err(|e| format!("{}: {e}", extra.display()))?;
    python(&folder, &["run.py", "setup", "rust"])?;
    let rounds = options.rounds.to_string();
    let mut args = vec!["run.py", "pairs"];
    args.extend(options.cases.iter().map(String::as_str));
    args.extend(["--extra", "brooklet.json", "--rounds", &rounds]);
    python(&folder, &args)?;
    Ok(None)
}

fn python(folder: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("python3");
    // The harness builds into its own folders.
    command.args(args).current_dir(folder).env_remove("CARGO_TARGET_DIR");
    let outcome = process::shown(command)?;
    if outcome.ok { Ok(()) } else { Err(format!("{}: {}", args.join(" "), outcome.problem)) }
}

/// Copies what has changed, but for the folders that builds and runs fill.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, source) = (entry.file_name(), entry.path());
        let copied = to.join(&name);
        if source.is_dir() {
            if name != "target" && name != "work" {
                copy(&source, &copied)?;
            }
            continue;
        }
        let content = fs::read(&source)?;
        if fs::read(&copied).is_ok_and(|old| old == content) {
            continue;
        }
        fs::write(&copied, content)?;
    }
    Ok(())
}
