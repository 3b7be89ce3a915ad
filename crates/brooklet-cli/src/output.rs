//! What the user sees: batches on standard output, status on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use brooklet::{Str, Time};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Serialize, Serializer};

use crate::totals;

/// Words shown of a batch when the user doesn't say how many.
const TOP: usize = 10;

/// The figures of a completed batch.
#[derive(Debug)]
pub struct Batch {
    pub number: u64,
    pub time: Time,
    pub records: u64,
    pub processing: Duration,
    pub delay: Duration,
    pub interval: Duration,
    /// Since the batch before was completed; at least the interval.
    pub span: Duration,
}

#[derive(Debug)]
pub struct Output {
    json: bool,
    top: Option<usize>,
    /// A live line where standard error is a terminal.
    bar: Option<ProgressBar>,
}

impl Output {
    pub fn new(json: bool, top: Option<usize>) -> Output {
        let bar = io::stderr().is_terminal().then(|| {
            // The bar shows how much of the batch interval the processing takes.
            let style =
                ProgressStyle::with_template("{spinner} [{bar:12}] {percent:>3}% busy  {wide_msg}");
            let bar = ProgressBar::new(100);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message("waiting for the first batch");
            bar
        });
        Output { json, top: if json { top } else { top.or(Some(TOP)) }, bar }
    }

    /// Shows a batch with its counts.
    pub fn batch(&self, batch: &Batch, counts: Vec<(Str, u64)>) -> io::Result<()> {
        let shown = match (&self.bar, self.json) {
            (Some(bar), _) => bar.suspend(|| self.counts(batch, counts)),
            (None, _) => self.counts(batch, counts),
        };
        let status = status(batch);
        match &self.bar {
            Some(bar) => {
                let busy = batch.processing.as_secs_f64() / batch.interval.as_secs_f64();
                bar.set_position((busy * 100.0) as u64);
                bar.set_message(status);
                bar.tick();
            }
            None => eprintln!("{status}"),
        }
        shown
    }

    /// Ends the live line.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A remark on standard error.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// A line of the summary; beside the objects of `--json` it goes to standard error.
    pub fn summary(&self, line: &str) -> io::Result<()> {
        if self.json {
            eprintln!("{line}");
            return Ok(());
        }
        writeln!(io::stdout(), "{line}")
    }

    fn counts(&self, batch: &Batch, counts: Vec<(Str, u64)>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            let object = Object {
                time: batch.time.millis(),
                records: batch.records,
                processing_ms: milliseconds(batch.processing),
                delay_ms: milliseconds(batch.delay),
                counts: totals::top(counts, self.top),
            };
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
        } else {
            let words: u64 = counts.iter().map(|(_, n)| n).sum();
            writeln!(
                out,
                "batch {} at {}: {} records, {words} words, {} distinct",
                batch.number,
                time_of_day(batch.time),
                batch.records,
                counts.len()
            )?;
            for (word, n) in totals::top(counts, self.top) {
                writeln!(out, "{n:>10} {word}")?;
            }
        }
        out.flush()
    }
}

/// A batch as `--json` prints it.
#[derive(Serialize)]
struct Object {
    time: u64,
    records: u64,
    processing_ms: f64,
    delay_ms: f64,
    #[serde(serialize_with = "as_map")]
    counts: Vec<(Str, u64)>,
}

fn as_map<S: Serializer>(counts: &[(Str, u64)], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(counts.iter().map(|(word, n)| (&**word, n)))
}

/// As `14:03:07 UTC`, with milliseconds where there are some.
fn time_of_day(t: Time) -> String {
    let (ms, s) = (t.millis() % 1_000, t.millis() / 1_000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{:02}:{:02}:{:02}{fraction} UTC", s / 3_600 % 24, s / 60 % 60, s % 60)
}

fn milliseconds(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e3
}

fn status(b: &Batch) -> String {
    format!(
        "batch {}: {} records, {:.0} records/s, processing {:.2} ms, delay {:.2} ms",
        b.number,
        b.records,
        b.records as f64 / b.span.as_secs_f64(),
        b.processing.as_secs_f64() * 1e3,
        b.delay.as_secs_f64() * 1e3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_time_of_day() {
        assert_eq!(time_of_day(Time::from_millis(1_795_272_019_000)), "14:40:19 UTC");
        assert_eq!(time_of_day(Time::from_millis(86_400_045)), "00:00:00.045 UTC");
    }
}
