//! The `brooklet` command: counts words live, and serves text to count.

mod args;
mod error;
mod feed;
mod interrupt;
mod output;
mod page;
mod settings;
mod text;
mod totals;
mod word_count;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use args::{Cli, Command};
use error::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = start_log().and_then(|()| match cli.command {
        Command::WordCount(args) => word_count::run(&args),
        Command::Feed(args) => feed::run(&args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("brooklet: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Sends the log to standard error, by the levels in `RUST_LOG` (default: warnings).
fn start_log() -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env()
        .map_err(|e| {
        Failure::Usage(format!(
            "the environment variable RUST_LOG is no log filter ({e}): write for example \
                 RUST_LOG=info or RUST_LOG=brooklet=debug"
        ))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
