//! The command line: options, their defaults, and what is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use brooklet::{Conf, parse_duration};
use clap::{Args, Parser, Subcommand};

use crate::settings::Settings;

/// Micro-batch stream processing for Rust.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 the stream failed, 2 wrong arguments, 3 the source can't be \
                  reached, 130 ended by a second Ctrl-C.\nThe log goes to standard error, by the \
                  levels in RUST_LOG (default: warn)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count words live: of an embedded feed, a socket or standard input
    WordCount(WordCount),
    /// Serve generated text on a port, to every client from its first line on
    Feed(Feed),
}

#[derive(Debug, Args)]
pub struct WordCount {
    /// What to count: socket://HOST:PORT or stdin [default: an embedded feed of generated text]
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<Source>,

    /// How often a batch is cut, as in 1s or 200ms [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub batch_interval: Option<Duration>,

    /// How often received data becomes a block, which is a partition of its batch
    /// [default: 200ms or the batch interval, whichever is shorter]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub block_interval: Option<Duration>,

    /// Where to run: local, local[N] (N task threads) or local[*] [default: local[*]]
    #[arg(long, value_parser = master)]
    pub master: Option<String>,

    /// Show only the K most frequent words of a batch [default: 10; all with --json]
    #[arg(long, value_name = "K")]
    pub top: Option<usize>,

    /// Print one JSON object per batch:
    /// {"time": ms, "records": lines, "processing_ms": x, "delay_ms": x, "counts": {"word": n}};
    /// the delay is that between the batch's time and its start
    #[arg(long)]
    pub json: bool,

    /// End after N batches, when all that was received by then is counted [default: run until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batches: Option<u64>,

    #[command(flatten)]
    pub text: Text,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct Feed {
    /// The port to listen on, at the loopback address; 0 takes a free one
    #[arg(long)]
    pub port: u16,

    #[command(flatten)]
    pub text: Text,

    /// End after N lines, when a client has them all [default: run until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub lines: Option<u64>,
}

/// The generated text.
#[derive(Clone, Copy, Debug, Args)]
pub struct Text {
    /// Lines of generated text a second; 0 is as fast as they are taken
    #[arg(long, value_name = "LINES", default_value_t = 1_000)]
    pub rate: u64,

    /// The seed of the generated text: the same seed makes the same text
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Where the lines come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Socket { host: String, port: u16 },
    Stdin,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if text == "stdin" {
            return Ok(Source::Stdin);
        }
        let Some(address) = text.strip_prefix("socket://") else {
            return Err(format!("`{text}` is no source: use socket://HOST:PORT or stdin"));
        };
        let Some((host, port)) = address.trim_end_matches('/').rsplit_once(':') else {
            return Err(format!("`{text}` has no port: write socket://HOST:PORT"));
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("`{text}` has no host: write socket://HOST:PORT"));
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Source::Socket { host: host.into(), port }),
            _ => Err(format!("`{port}` is no port: use a number from 1 to 65535")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("stdin"),
            Source::Socket { host, port } if host.contains(':') => {
                write!(f, "socket://[{host}]:{port}")
            }
            Source::Socket { host, port } => write!(f, "socket://{host}:{port}"),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let d = parse_duration(text)?;
    if d < Duration::from_millis(1) {
        return Err(format!("`{text}` is too short: the shortest interval is 1ms"));
    }
    Ok(d)
}

fn master(text: &str) -> Result<String, String> {
    Conf::new("check").master(text).threads().map_err(|e| e.to_string())?;
    Ok(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sources_are_read_and_shown_alike() {
        for text in ["stdin", "socket://localhost:9999", "socket://[::1]:80"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for (text, hint) in [
            ("kafka://x", "is no source"),
            ("socket://localhost", "has no port"),
            ("socket://:80", "has no host"),
            ("socket://h:99999", "1 to 65535"),
            ("socket://h:0", "1 to 65535"),
        ] {
            let e = text.parse::<Source>().unwrap_err();
            assert!(e.contains(hint), "{e}");
        }
    }
}
