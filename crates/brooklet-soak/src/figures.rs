//! Quantiles, and the limits that figures are held against.

use std::fmt::Display;
use std::time::Duration;

use crate::Result;

/// The value below which `share` of all lie.
pub fn quantile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted.get(at.round() as usize).copied().unwrap_or_default()
}

pub fn median(values: &[Duration]) -> Duration {
    quantile(values, 0.5)
}

pub fn micros(d: Duration) -> f64 {
    d.as_nanos() as f64 / 1e3
}

/// What is beyond its limit.
#[derive(Default)]
pub struct Limits(Vec<String>);

impl Limits {
    /// Prints a figure with its limit and remembers a breach.
    pub fn check(&mut self, what: &str, value: impl Display, limit: impl Display, holds: bool) {
        let verdict = if holds { "ok" } else { "BROKEN" };
        println!("{what}: {value} (limit {limit}): {verdict}");
        if !holds {
            self.0.push(format!("{what} is {value}, the limit {limit}"));
        }
    }

    pub fn result(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ").into()) }
    }
}
