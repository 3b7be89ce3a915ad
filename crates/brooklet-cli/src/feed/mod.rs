//! The text feed: as a sub-command of its own, and embedded in `word-count`.

mod server;

use std::io::{self, Write};

pub use server::{FeedServer, Options};

use crate::args;
use crate::error::Failure;
use crate::interrupt::on_interrupt;
use crate::text::{Tally, Vocabulary};
use crate::totals;

const TOP: usize = 10;

/// Serves text until every line is taken or Ctrl-C, then prints the totals.
pub fn run(args: &args::Feed) -> Result<(), Failure> {
    let feed = FeedServer::start(Options {
        port: args.port,
        text: args.text,
        lines: args.lines,
        ignore_probes: true,
    })?;
    let handle = feed.clone();
    on_interrupt(move || handle.stop())?;
    eprintln!("listening on {} (Ctrl-C ends and prints the totals)", feed.addr());
    feed.wait();
    match print(&feed) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("can't write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn print(feed: &FeedServer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let clients = feed.clients();
    for (peer, tally) in &clients {
        writeln!(out, "client {peer}: {}", figures(tally))?;
    }
    // Every client gets the same text from its first line on; this is the text as far as it was sent.
    let longest = clients.iter().map(|(_, tally)| tally).max_by_key(|tally| tally.lines);
    let text = longest.cloned().unwrap_or_else(Tally::new);
    writeln!(out, "total: {}", figures(&text))?;
    let vocabulary: &Vocabulary = feed.vocabulary();
    for (word, n) in totals::top(text.counts(vocabulary).collect(), Some(TOP)) {
        writeln!(out, "{n:>10} {word}")?;
    }
    out.flush()
}

fn figures(t: &Tally) -> String {
    format!("{} lines, {} words, {} distinct, {} bytes", t.lines, t.words(), t.distinct(), t.bytes)
}
