//! The project's own commands; `cargo xtask` lists them.

// Commands measure how long things take; the clock of the product isn't for them.
#![allow(clippy::disallowed_methods)]

mod artifacts;
mod bench;
mod gate;
mod long;
mod oracle;
mod process;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
The project's own commands:

  cargo xtask test [--quick | --only PART]   the gate: everything a change has to pass
                                             parts: fmt clippy build unit integration
                                                    examples doctests docs
                                             --quick: fmt, clippy and unit tests
  cargo xtask bench [PART ...]               measure; parts: criterion hand peers (default: all)
        [--cases a,b] [--rounds N] [--peers DIR]
  cargo xtask oracle [--cases N] [--seed S]  generated programs against recomputations, N in all
                                             (default 100000), made from the seed S (default: a new one)
  cargo xtask long [NAME]                    long runs; without a name, lists them
";

/// What a command ends with: an error text for the user.
type Result<T, E = String> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.split_first() {
        Some((&"test", rest)) => gate::run(rest),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"oracle", rest)) => oracle::run(rest),
        Some((&"long", rest)) => long::run(rest),
        None | Some((&"help" | &"--help" | &"-h", _)) => {
            print!("{HELP}");
            Ok(true)
        }
        Some((other, _)) => Err(format!("`{other}` is no command\n\n{HELP}")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("xtask: {text}");
            ExitCode::from(2)
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_string());
    Path::new(&own).parent().map_or_else(|| ".".into(), Path::to_path_buf)
}

/// The folder that cargo builds into.
fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
