//! What the reading tasks count.
//!
//! It comes home as an accumulator, so it is exact under retries and on every engine. Two outputs of one
//! stream read a partition twice, so reports of the same (batch, partition) aren't added up: the one that has
//! read most holds. When the batch is over the driver takes its reports out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::engine::Accumulate;

/// Texts of bad records that a partition reports.
pub(super) const TEXTS: usize = 3;

/// What reading a partition gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartReport {
    pub(super) records: u64,
    pub(super) bad_records: u64,
    pub(super) invalid_text: u64,
    pub(super) long_lines: u64,
    /// Files of the slice whose rest was skipped, and why.
    pub(super) failed: BTreeMap<u32, String>,
    /// The first bad records.
    pub(super) bad: Vec<String>,
}

impl PartReport {
    fn join(&mut self, other: PartReport) {
        self.records = self.records.max(other.records);
        self.bad_records = self.bad_records.max(other.bad_records);
        self.invalid_text = self.invalid_text.max(other.invalid_text);
        self.long_lines = self.long_lines.max(other.long_lines);
        self.failed.extend(other.failed);
        if other.bad.len() > self.bad.len() {
            self.bad = other.bad;
        }
    }

    /// Adds the report of another partition.
    pub(super) fn add(&mut self, other: PartReport) {
        self.records += other.records;
        self.bad_records += other.bad_records;
        self.invalid_text += other.invalid_text;
        self.long_lines += other.long_lines;
        self.failed.extend(other.failed);
        self.bad.extend(other.bad);
        self.bad.truncate(TEXTS);
    }
}

/// The reports of batches that aren't over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ReadLog(BTreeMap<(Time, u32), PartReport>);

impl ReadLog {
    /// What batch `t` has read; forgets it, and what came late for batches before.
    pub(super) fn take(&mut self, t: Time) -> PartReport {
        let mut sum = PartReport::default();
        let later = self.0.split_off(&(Time::from_millis(t.millis() + 1), 0));
        for ((at, _), report) in std::mem::replace(&mut self.0, later) {
            if at == t {
                sum.add(report);
            }
        }
        sum
    }
}

impl Accumulate for ReadLog {
    type Item = (Time, u32, PartReport);
    fn add(&mut self, (t, partition, report): (Time, u32, PartReport)) {
        self.0.entry((t, partition)).or_default().join(report);
    }
    fn merge(&mut self, other: ReadLog) {
        for ((t, partition), report) in other.0 {
            self.add((t, partition, report));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: u64) -> PartReport {
        PartReport { records: n, ..PartReport::default() }
    }

    #[test]
    fn partition_that_is_read_twice_counts_once() {
        let t = Time::from_millis;
        let (mut log, mut other) = (ReadLog::default(), ReadLog::default());
        log.add((t(1), 0, records(5)));
        log.add((t(1), 1, records(2)));
        other.add((t(1), 1, records(7)));
        other.add((t(2), 0, records(1)));
        log.merge(other);
        assert_eq!(log.take(t(1)).records, 12);
        assert_eq!(log.take(t(1)).records, 0);
        log.add((t(1), 0, records(5))); // came late
        assert_eq!(log.take(t(2)).records, 1);
        assert!(log.0.is_empty());
    }
}
