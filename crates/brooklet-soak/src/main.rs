//! Long runs: each does one thing for a minute or so, prints its figures, and fails when one is beyond its
//! limit. `cargo xtask long` builds and starts them.

// They measure how long things take; the clock of the product isn't for them.
#![allow(clippy::disallowed_methods)]

mod collisions;
mod ctrl_c;
mod detach;
mod external;
mod figures;
mod files;
mod interval;
mod log;
mod multiset;
mod pinned;
mod process;
mod server;
mod slow_output;
mod starts;
mod state;
mod state_disk;

use std::process::ExitCode;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["interval"] => interval::run(60),
        ["interval", secs] => number(secs).and_then(interval::run),
        ["slow-output"] => slow_output::run(60),
        ["slow-output", secs] => number(secs).and_then(slow_output::run),
        ["pinned"] => pinned::run(10_000),
        ["pinned", blocks] => number(blocks).and_then(pinned::run),
        ["detach"] => detach::run(),
        ["external"] => external::run(1_000),
        ["external", megabytes] => number(megabytes).and_then(external::run),
        ["state-disk"] => state_disk::run(20_000_000),
        ["state-disk", keys] => number(keys).and_then(state_disk::run),
        ["state", folder] => state::touched(folder, 10_000, 1_000),
        ["state", folder, batches] => {
            number(batches).and_then(|n| state::touched(folder, n, 1_000))
        }
        ["state", folder, batches, ms] => {
            number(batches).and_then(|n| number(ms).and_then(|ms| state::touched(folder, n, ms)))
        }
        ["state-turnover"] => state::come_and_go(100_000_000, 5_000_000),
        ["state-turnover", keys] => {
            number(keys).and_then(|n| state::come_and_go(n, (n / 20).max(500_000)))
        }
        ["starts"] => starts::run(1_000),
        ["starts", times] => number(times).and_then(starts::run),
        ["collisions"] => collisions::run(),
        ["ctrl-c", brooklet] => ctrl_c::run(brooklet),
        ["multiset", brooklet, folder] => multiset::run(brooklet, folder, 10_000_000),
        ["multiset", brooklet, folder, n] => {
            number(n).and_then(|n| multiset::run(brooklet, folder, n))
        }
        ["files", folder] => files::big(folder, 1_000),
        ["files", folder, mb] => number(mb).and_then(|mb| files::big(folder, mb)),
        ["scan", folder] => files::scan(folder, 100_000),
        ["scan", folder, n] => number(n).and_then(|n| files::scan(folder, n)),
        ["log"] => log::run(40),
        ["log", secs] => number(secs).and_then(log::run),
        ["log-writer", path, secs] => number(secs).and_then(|secs| log::write(path, secs)),
        ["serve"] => server::serve(),
        _ => Err("no such run: see `cargo xtask long`".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("FAILED: {e}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| format!("`{text}` is no number").into())
}
