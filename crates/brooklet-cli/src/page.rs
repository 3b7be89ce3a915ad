//! The page of `--serve`: what it shows, published after each batch.

use brooklet::ServeOptions;
use brooklet::prelude::*;
use serde::Serialize;

use crate::error::Failure;
use crate::output::Batch;
use crate::totals::{Totals, top};

/// The page itself: one file, without anything from elsewhere.
const PAGE: &str = include_str!("page.html");
/// Words that it shows of the newest batch and of all.
const SHOWN: usize = 15;

/// Publishes batches for the page.
#[derive(Debug)]
pub struct Page(brooklet::Publisher);

/// What the page gets of a batch.
#[derive(Serialize)]
struct Shown<'a> {
    number: u64,
    records: u64,
    words: u64,
    records_per_second: f64,
    processing_ms: f64,
    delay_ms: f64,
    top: Vec<(&'a str, u64)>,
    total_records: u64,
    total_words: u64,
    total_distinct: usize,
    total_top: Vec<(&'a str, u64)>,
}

impl Page {
    /// Has the page served at an address.
    pub fn new(ssc: &StreamingContext, address: &str) -> Result<Page, Failure> {
        ssc.serve_at(address)?;
        ssc.serve_page("/", "text/html; charset=utf-8", PAGE);
        Ok(Page(ssc.serve_values("batches", ServeOptions::new())))
    }

    /// Shows a batch; the totals have it in.
    pub fn show(
        &self,
        batch: &Batch,
        counts: &[(Str, u64)],
        totals: &Totals,
    ) -> Result<(), Failure> {
        let shown = Shown {
            number: batch.number,
            records: batch.records,
            words: counts.iter().map(|(_, n)| n).sum(),
            records_per_second: batch.records as f64 / batch.span.as_secs_f64(),
            processing_ms: batch.processing.as_secs_f64() * 1e3,
            delay_ms: batch.delay.as_secs_f64() * 1e3,
            top: top(counts.iter().map(|(word, n)| (&**word, *n)).collect(), Some(SHOWN)),
            total_records: totals.records,
            total_words: totals.words,
            total_distinct: totals.distinct(),
            total_top: totals.top(SHOWN),
        };
        Ok(self.0.publish(batch.time, [shown])?)
    }
}
