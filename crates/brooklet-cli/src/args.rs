//! The command line: options, their defaults, and what is refused.

use std::fmt;
use std::path::PathBuf;
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
    /// Count words live: of an embedded feed, a socket, files, a log, HTTP or standard input
    WordCount(WordCount),
    /// Serve generated text on a port, to every client from its first line on
    Feed(Feed),
}

#[derive(Debug, Args)]
pub struct WordCount {
    /// What to count: socket://HOST:PORT, stdin, file:///DIR (files that are or come there), log:///FILE
    /// (what is added to a log, through rotation), or http://HOST:PORT/PATH, where lines are taken that
    /// others POST [default: an embedded feed of generated text]
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

    /// Show the live counts on a page at http://127.0.0.1:PORT/ (0 takes a free port); HOST:PORT for
    /// another address
    #[arg(long, value_name = "PORT", value_parser = page_address)]
    pub serve: Option<String>,

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
    Socket {
        host: String,
        port: u16,
    },
    Stdin,
    /// Lines that others POST to us.
    Http {
        address: String,
        path: String,
    },
    /// The files of a directory.
    Files(PathBuf),
    /// A growing file.
    Log(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if text == "stdin" {
            return Ok(Source::Stdin);
        }
        if let Some(place) = text.strip_prefix("http://") {
            let (address, path) = place.find('/').map_or((place, "/"), |i| place.split_at(i));
            check_address(address).map_err(|problem| {
                format!("`{text}` {problem}: write http://HOST:PORT/PATH, where this program is to listen")
            })?;
            return Ok(Source::Http { address: address.into(), path: path.into() });
        }
        if let Some(path) = text.strip_prefix("file://") {
            return local_path(text, path, "file:///DIR").map(Source::Files);
        }
        if let Some(path) = text.strip_prefix("log://") {
            return local_path(text, path, "log:///FILE").map(Source::Log);
        }
        let Some(address) = text.strip_prefix("socket://") else {
            return Err(format!(
                "`{text}` is no source: use socket://HOST:PORT, file:///DIR, log:///FILE, \
                 http://HOST:PORT/PATH or stdin"
            ));
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
            Source::Http { address, path } => write!(f, "http://{address}{path}"),
            Source::Files(dir) => write!(f, "file://{}", dir.display()),
            Source::Log(file) => write!(f, "log://{}", file.display()),
            Source::Socket { host, port } if host.contains(':') => {
                write!(f, "socket://[{host}]:{port}")
            }
            Source::Socket { host, port } => write!(f, "socket://{host}:{port}"),
        }
    }
}

/// The path of `file:///DIR`; one that doesn't begin with `/` is relative to the working directory.
fn local_path(text: &str, path: &str, form: &str) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err(format!(
            "`{text}` has no path: write {form}, or {} for a relative path",
            form.replace("///", "//")
        ));
    }
    Ok(path.into())
}

/// Whether `HOST:PORT` can be an address to listen at.
fn check_address(address: &str) -> Result<(), &'static str> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        Some(("", _)) => Err("has no host"),
        Some(_) => Err("has a port that isn't a number from 0 to 65535"),
        None => Err("has no port"),
    }
}

fn page_address(text: &str) -> Result<String, String> {
    let address = if text.contains(':') { text.to_string() } else { format!("127.0.0.1:{text}") };
    check_address(&address).map_err(|problem| {
        format!("`{text}` {problem}: write a PORT from 0 to 65535, or HOST:PORT")
    })?;
    Ok(address)
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
        for text in [
            "stdin",
            "socket://localhost:9999",
            "socket://[::1]:80",
            "http://127.0.0.1:0/logs",
            "file:///in",
            "log://app.log",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for (text, hint) in [
            ("kafka://x", "is no source"),
            ("file://", "has no path: write file:///DIR, or file://DIR for"),
            ("log://", "has no path"),
            ("socket://localhost", "has no port"),
            ("socket://:80", "has no host"),
            ("socket://h:99999", "1 to 65535"),
            ("socket://h:0", "1 to 65535"),
            ("http://localhost/x", "has no port"),
            ("http://:80/", "has no host"),
            ("http://h:99999/", "0 to 65535"),
        ] {
            let e = text.parse::<Source>().unwrap_err();
            assert!(e.contains(hint), "{e}");
        }
    }

    #[test]
    fn a_page_has_a_port_or_an_address() {
        assert_eq!(page_address("8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(page_address("0.0.0.0:0").unwrap(), "0.0.0.0:0");
        for bad in ["x", "70000", ":1", ""] {
            assert!(page_address(bad).unwrap_err().contains("0 to 65535"), "{bad}");
        }
    }
}
