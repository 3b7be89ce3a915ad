//! Counters and gauges of a stream: what the original publishes, under its names, and a little more.
//!
//! The scheduler updates them as things happen; readers take a snapshot or ask for a single gauge.

mod progress;
mod spill;
mod state;

pub use progress::Progress;
pub use spill::SpillMetrics;
pub use state::{HeavyKey, StateMetrics};

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::Time;
use crate::conf::defaults;
use crate::scheduler::BatchInfo;
use crate::sync::{LockExt, Mutex};
use crate::time::{Timestamp, whole_millis};

/// The measurements of one stream. Cheap to share; reading never stops the stream for long.
///
/// Gauges under the original's names count in whole milliseconds and are -1 when there is no value;
/// [`StreamingMetrics::snapshot`] has them typed, with full precision.
pub struct StreamingMetrics {
    batches: Mutex<Batches>,
    /// Completed batches that are remembered.
    retained: usize,
    receivers: AtomicUsize,
    waiting_ticks: AtomicU64,
    failed_output_ops: AtomicU64,
    dropped_events: Arc<AtomicU64>,
}

#[derive(Default)]
struct Batches {
    waiting: VecDeque<Arc<BatchInfo>>,
    running: VecDeque<Arc<BatchInfo>>,
    completed: VecDeque<Arc<BatchInfo>>,
    /// Known also when none is remembered.
    last_completed: Option<Arc<BatchInfo>>,
    total_completed: u64,
    received: u64,
    processed: u64,
}

impl Batches {
    /// The newest batch known.
    fn last_received(&self) -> Option<&Arc<BatchInfo>> {
        let all = [self.waiting.back(), self.running.back(), self.last_completed.as_ref()];
        all.into_iter().flatten().max_by_key(|b| b.batch_time)
    }
}

/// All gauges at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Known receivers.
    pub receivers: usize,
    /// Batches completed since the start.
    pub total_completed_batches: u64,
    /// Records of the batches that started.
    pub total_received_records: u64,
    /// Records of the batches that completed.
    pub total_processed_records: u64,
    /// Waiting and running batches.
    pub unprocessed_batches: usize,
    /// Batches that wait.
    pub waiting_batches: usize,
    /// Batches that run.
    pub running_batches: usize,
    /// Completed batches that are remembered.
    pub retained_completed_batches: usize,
    /// The batch completed last, with its times and delays.
    pub last_completed_batch: Option<Arc<BatchInfo>>,
    /// The batch submitted last.
    pub last_received_batch: Option<Arc<BatchInfo>>,
    /// Ticks that are due and not generated, because the queue of batches is full.
    pub waiting_ticks: u64,
    /// Events that slow listeners didn't get.
    pub dropped_events: u64,
    /// Output operations that failed, or couldn't run because a step failed.
    pub failed_output_ops: u64,
}

impl Default for StreamingMetrics {
    fn default() -> Self {
        StreamingMetrics::retaining(defaults::RETAINED_BATCHES)
    }
}

impl StreamingMetrics {
    /// Metrics that remember this many completed batches.
    pub(crate) fn retaining(batches: usize) -> StreamingMetrics {
        StreamingMetrics {
            batches: Mutex::default(),
            retained: batches,
            receivers: AtomicUsize::default(),
            waiting_ticks: AtomicU64::default(),
            failed_output_ops: AtomicU64::default(),
            dropped_events: Arc::default(),
        }
    }

    /// The names of the original's gauges, in its order; [`StreamingMetrics::gauge`] knows them.
    pub const GAUGES: [&'static str; 18] = [
        "receivers",
        "totalCompletedBatches",
        "totalReceivedRecords",
        "totalProcessedRecords",
        "unprocessedBatches",
        "waitingBatches",
        "runningBatches",
        "retainedCompletedBatches",
        "lastCompletedBatch_submissionTime",
        "lastCompletedBatch_processingStartTime",
        "lastCompletedBatch_processingEndTime",
        "lastCompletedBatch_processingDelay",
        "lastCompletedBatch_schedulingDelay",
        "lastCompletedBatch_totalDelay",
        "lastReceivedBatch_submissionTime",
        "lastReceivedBatch_processingStartTime",
        "lastReceivedBatch_processingEndTime",
        "lastReceivedBatch_records",
    ];

    /// The gauge of this name (of [`Self::GAUGES`]): milliseconds or counts, -1 when it has no value yet;
    /// `None` when there is no such gauge.
    pub fn gauge(&self, name: &str) -> Option<i64> {
        let b = self.batches.get();
        let last = b.last_completed.as_ref();
        let newest = b.last_received();
        Some(match name {
            "receivers" => count(self.receivers.load(Relaxed) as u64),
            "totalCompletedBatches" => count(b.total_completed),
            "totalReceivedRecords" => count(b.received),
            "totalProcessedRecords" => count(b.processed),
            "unprocessedBatches" => count((b.waiting.len() + b.running.len()) as u64),
            "waitingBatches" => count(b.waiting.len() as u64),
            "runningBatches" => count(b.running.len() as u64),
            "retainedCompletedBatches" => count(b.completed.len() as u64),
            "lastCompletedBatch_submissionTime" => at(last.map(|b| b.submission_time)),
            "lastCompletedBatch_processingStartTime" => {
                at(last.and_then(|b| b.processing_start_time))
            }
            "lastCompletedBatch_processingEndTime" => at(last.and_then(|b| b.processing_end_time)),
            "lastCompletedBatch_processingDelay" => ms(last.and_then(|b| b.processing_delay())),
            "lastCompletedBatch_schedulingDelay" => ms(last.and_then(|b| b.scheduling_delay())),
            "lastCompletedBatch_totalDelay" => ms(last.and_then(|b| b.total_delay())),
            "lastReceivedBatch_submissionTime" => at(newest.map(|b| b.submission_time)),
            "lastReceivedBatch_processingStartTime" => {
                at(newest.and_then(|b| b.processing_start_time))
            }
            "lastReceivedBatch_processingEndTime" => at(newest.and_then(|b| b.processing_end_time)),
            "lastReceivedBatch_records" => count(newest.map_or(0, |b| b.num_records())),
            _ => return None,
        })
    }

    /// Everything at one moment.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let b = self.batches.get();
        MetricsSnapshot {
            receivers: self.receivers.load(Relaxed),
            total_completed_batches: b.total_completed,
            total_received_records: b.received,
            total_processed_records: b.processed,
            unprocessed_batches: b.waiting.len() + b.running.len(),
            waiting_batches: b.waiting.len(),
            running_batches: b.running.len(),
            retained_completed_batches: b.completed.len(),
            last_completed_batch: b.last_completed.clone(),
            last_received_batch: b.last_received().cloned(),
            waiting_ticks: self.waiting_ticks.load(Relaxed),
            dropped_events: self.dropped_events.load(Relaxed),
            failed_output_ops: self.failed_output_ops.load(Relaxed),
        }
    }

    /// The batches behind the gauges: waiting, running, and the last completed ones.
    pub fn progress(&self) -> Progress<'_> {
        Progress::new(self)
    }

    /// Where the listener bus counts what it drops.
    pub(crate) fn dropped_events(&self) -> Arc<AtomicU64> {
        self.dropped_events.clone()
    }

    pub(crate) fn set_receivers(&self, n: usize) {
        self.receivers.store(n, Relaxed);
    }

    pub(crate) fn set_waiting_ticks(&self, n: u64) {
        self.waiting_ticks.store(n, Relaxed);
    }

    pub(crate) fn outputs_failed(&self, n: u64) {
        self.failed_output_ops.fetch_add(n, Relaxed);
    }

    pub(crate) fn batch_submitted(&self, info: &Arc<BatchInfo>) {
        self.batches.get().waiting.push_back(info.clone());
    }

    pub(crate) fn batch_started(&self, info: &Arc<BatchInfo>) {
        let mut b = self.batches.get();
        take(&mut b.waiting, info.batch_time);
        b.received += info.num_records();
        b.running.push_back(info.clone());
    }

    pub(crate) fn batch_completed(&self, info: &Arc<BatchInfo>) {
        let mut b = self.batches.get();
        // Some inputs know their records only now.
        let before = take(&mut b.running, info.batch_time).map_or(0, |b| b.num_records());
        b.received += info.num_records().saturating_sub(before);
        b.processed += info.num_records();
        b.total_completed += 1;
        b.last_completed = Some(info.clone());
        b.completed.push_back(info.clone());
        if b.completed.len() > self.retained {
            b.completed.pop_front();
        }
    }

    /// A batch that a halt kept from running.
    pub(crate) fn batch_dropped(&self, t: Time) {
        take(&mut self.batches.get().waiting, t);
    }
}

fn take(from: &mut VecDeque<Arc<BatchInfo>>, t: Time) -> Option<Arc<BatchInfo>> {
    let i = from.iter().position(|b| b.batch_time == t)?;
    from.remove(i)
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn at(t: Option<Timestamp>) -> i64 {
    t.map_or(-1, |t| count(t.millis()))
}

fn ms(d: Option<Duration>) -> i64 {
    d.map_or(-1, |d| count(whole_millis(d)))
}

impl fmt::Debug for StreamingMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scheduler::StreamInputInfo;

    fn batch(t: u64, records: u64) -> BatchInfo {
        BatchInfo {
            batch_time: Time::from_millis(t),
            stream_id_to_input_info: BTreeMap::from([(0, StreamInputInfo::new(0, records))]),
            submission_time: Timestamp::from_nanos(t * 1_000_000),
            processing_start_time: None,
            processing_end_time: None,
            output_operation_infos: BTreeMap::new(),
        }
    }

    #[test]
    fn gauges_follow_a_batch_and_are_minus_one_without_a_value() {
        let m = StreamingMetrics::default();
        for name in StreamingMetrics::GAUGES {
            let g = m.gauge(name).unwrap();
            let none = name.contains("Time") || name.contains("Delay");
            assert_eq!(g, if none { -1 } else { 0 }, "{name}");
        }
        assert_eq!(m.gauge("nothing"), None);
        let mut b = batch(1_000, 7);
        m.batch_submitted(&Arc::new(b.clone()));
        assert_eq!(m.gauge("waitingBatches"), Some(1));
        assert_eq!(m.gauge("lastReceivedBatch_records"), Some(7));
        assert_eq!(m.gauge("totalReceivedRecords"), Some(0));
        b.processing_start_time = Some(Timestamp::from_nanos(1_003_000_000));
        m.batch_started(&Arc::new(b.clone()));
        assert_eq!(m.gauge("totalReceivedRecords"), Some(7));
        b.processing_end_time = Some(Timestamp::from_nanos(1_008_900_000));
        m.batch_completed(&Arc::new(b.clone()));
        assert_eq!(m.gauge("lastCompletedBatch_processingDelay"), Some(5));
        assert_eq!(m.gauge("lastCompletedBatch_schedulingDelay"), Some(3));
        assert_eq!(m.gauge("lastCompletedBatch_totalDelay"), Some(8));
        assert_eq!(m.gauge("unprocessedBatches"), Some(0));
        assert_eq!(m.gauge("totalProcessedRecords"), Some(7));
        assert_eq!(m.progress().last_completed().map(|i| (*i).clone()), Some(b));
    }

    #[test]
    fn ring_of_completed_batches_is_bounded() {
        let m = StreamingMetrics::default();
        for t in 1..=defaults::RETAINED_BATCHES as u64 + 5 {
            m.batch_completed(&Arc::new(batch(t, 0)));
        }
        let kept = m.progress().completed();
        assert_eq!(kept.len(), defaults::RETAINED_BATCHES);
        assert_eq!(kept[0].batch_time, Time::from_millis(6));
    }
}
