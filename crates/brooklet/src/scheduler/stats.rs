//! A ready-made listener that logs how long batches take.

use std::collections::VecDeque;
use std::time::Duration;

use super::listener::{BatchInfo, StreamingListener};
use crate::time::format_duration;

/// Logs, after each batch, the distribution (least, quarter, half, three quarters, most) of total delay
/// and processing time over the last batches, at level `info`.
#[derive(Debug)]
pub struct StatsReportListener {
    keep: usize,
    batches: VecDeque<(Duration, Duration)>,
}

impl StatsReportListener {
    /// Over the last `batches` batches (at least one).
    pub fn new(batches: usize) -> StatsReportListener {
        StatsReportListener { keep: batches.max(1), batches: VecDeque::new() }
    }

    /// Least, 25 %, 50 %, 75 % and most of (total delay, processing time); `None` before the first batch.
    pub fn distributions(&self) -> Option<([Duration; 5], [Duration; 5])> {
        let total = quantiles(self.batches.iter().map(|b| b.0).collect())?;
        let processing = quantiles(self.batches.iter().map(|b| b.1).collect())?;
        Some((total, processing))
    }
}

impl Default for StatsReportListener {
    /// Over the last ten batches.
    fn default() -> Self {
        StatsReportListener::new(10)
    }
}

impl StreamingListener for StatsReportListener {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        let (Some(total), Some(processing)) = (batch.total_delay(), batch.processing_delay())
        else {
            return;
        };
        if self.batches.len() == self.keep {
            self.batches.pop_front();
        }
        self.batches.push_back((total, processing));
        if let Some((total, processing)) = self.distributions() {
            let n = self.batches.len();
            tracing::info!("total delay of {n} batches (min 25% 50% 75% max): {}", line(&total));
            tracing::info!("processing time of {n} batches: {}", line(&processing));
        }
    }
}

fn line(d: &[Duration; 5]) -> String {
    d.map(format_duration).join("  ")
}

fn quantiles(mut all: Vec<Duration>) -> Option<[Duration; 5]> {
    all.sort_unstable();
    let last = all.len().checked_sub(1)?;
    Some([0.0, 0.25, 0.5, 0.75, 1.0].map(|p| all[(p * last as f64).round() as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::time::Timestamp;

    #[test]
    fn distribution_is_of_the_last_n_batches() {
        let mut l = StatsReportListener::new(5);
        assert!(l.distributions().is_none());
        for i in [900u64, 1, 2, 3, 4, 5] {
            let at = |n| Timestamp::from_nanos(n);
            l.on_batch_completed(&BatchInfo {
                batch_time: Time::ZERO,
                stream_id_to_input_info: Default::default(),
                submission_time: at(0),
                processing_start_time: Some(at(10)),
                processing_end_time: Some(at(10 + i)),
                output_operation_infos: Default::default(),
            });
        }
        let (total, processing) = l.distributions().unwrap();
        assert_eq!(processing.map(|d| d.as_nanos()), [1, 2, 3, 4, 5]);
        assert_eq!(total.map(|d| d.as_nanos()), [11, 12, 13, 14, 15]);
    }
}
