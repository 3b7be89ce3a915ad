//! The watermark: the time up to which the records of a stream are expected to have arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;

/// How a stream's watermark follows from what its batches show. From the program, never from stored state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WatermarkRule {
    /// How much older than the newest record of its partition a record may be.
    pub(crate) max_delay: Duration,
    /// A partition without a record for this long, by batch times, isn't waited for.
    pub(crate) idle_after: Duration,
}

/// What one batch has shown of one input partition: the latest event time of its records, if it had any.
pub(crate) type Seen = (u64, Option<Time>);

/// An input partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Partition {
    /// The latest event time.
    max: Option<Time>,
    /// The last batch with a record of it; before the first record, the batch that showed it first.
    active: Time,
}

impl Partition {
    fn is_idle(&self, t: Time, after: Duration) -> bool {
        self.active < t && t.since(self.active) >= after
    }
}

/// The watermark of one stream with event times, and what it follows from. Part of an operator's state.
///
/// `Time::ZERO` at first, by which nothing is late and no window is complete.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Watermark {
    partitions: BTreeMap<u64, Partition>,
    now: Time,
    idle: bool,
}

/// How far a stream has come, for operators on several of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Event time is complete up to here.
    pub(crate) watermark: Time,
    /// None of its partitions is waited for.
    pub(crate) idle: bool,
}

impl Watermark {
    /// The end of batch `t`, which has shown these partitions (empty ones too, one perhaps several times;
    /// times that were rejected don't count). The watermark from before `t` holds for `t` itself; what this gives holds from the
    /// next batch on.
    ///
    /// The watermark is the lowest of the partitions that aren't idle: each has its latest event time less
    /// the delay, one without any record yet has nothing. It never goes back, and stays when all
    /// partitions are idle.
    pub(crate) fn end_of_batch(
        &mut self,
        t: Time,
        seen: impl IntoIterator<Item = Seen>,
        rule: WatermarkRule,
    ) -> Progress {
        for (id, max) in seen {
            let p = self.partitions.entry(id).or_insert(Partition { max: None, active: t });
            if max.is_some() {
                p.max = p.max.max(max);
                p.active = t;
            }
        }
        let active = || self.partitions.values().filter(|p| !p.is_idle(t, rule.idle_after));
        let complete = |p: &Partition| p.max.map_or(Time::ZERO, |max| max - rule.max_delay);
        let lowest = active().map(complete).min();
        self.idle = lowest.is_none() && !self.partitions.is_empty();
        self.now = self.now.max(lowest.unwrap_or_default());
        self.progress()
    }

    /// As of the last batch.
    pub(crate) fn progress(&self) -> Progress {
        Progress { watermark: self.now, idle: self.idle }
    }
}

/// The watermark of several streams together: the lowest of those that aren't idle, never before `before`,
/// what it was.
pub(crate) fn lowest(before: Time, streams: impl IntoIterator<Item = Progress>) -> Time {
    let active = streams.into_iter().filter(|p| !p.idle).map(|p| p.watermark);
    before.max(active.min().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{millis, seconds};

    const RULE: WatermarkRule = WatermarkRule { max_delay: millis(10), idle_after: seconds(10) };

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// The watermark after a batch at `t` seconds.
    fn batch(w: &mut Watermark, t: u64, seen: &[(u64, u64)]) -> u64 {
        let seen = seen.iter().map(|(p, ms)| (*p, Some(at(*ms))));
        w.end_of_batch(at(t * 1_000), seen, RULE).watermark.millis()
    }

    #[test]
    fn the_lowest_partition_less_the_delay() {
        let mut w = Watermark::default();
        assert_eq!(w.progress(), Progress { watermark: Time::ZERO, idle: false });
        assert_eq!(batch(&mut w, 1, &[(0, 100), (1, 50)]), 40);
        assert_eq!(batch(&mut w, 2, &[(1, 90)]), 80);
        assert_eq!(batch(&mut w, 3, &[(1, 300)]), 90, "partition 0 is not idle yet");
    }

    #[test]
    fn it_never_goes_back() {
        let mut w = Watermark::default();
        assert_eq!(batch(&mut w, 1, &[(0, 100)]), 90);
        assert_eq!(batch(&mut w, 2, &[(0, 30)]), 90);
        assert_eq!(batch(&mut w, 3, &[(1, 20)]), 90, "a new partition with older records");
        assert_eq!(batch(&mut w, 4, &[(0, 500)]), 90, "and it waits for that one now");
        assert_eq!(batch(&mut w, 5, &[(1, 400)]), 390);
    }

    #[test]
    fn less_than_the_delay_is_nothing() {
        assert_eq!(batch(&mut Watermark::default(), 1, &[(0, 7)]), 0);
    }

    #[test]
    fn an_idle_partition_is_left_out_after_ten_seconds_of_batch_time_and_counts_when_it_is_back() {
        let mut w = Watermark::default();
        assert_eq!(batch(&mut w, 1, &[(0, 100), (1, 100)]), 90);
        for t in 2..11 {
            assert_eq!(batch(&mut w, t, &[(0, 100 * t)]), 90, "batch {t}");
        }
        assert_eq!(batch(&mut w, 11, &[(0, 1_100)]), 1_090, "ten seconds after batch 1");
        assert_eq!(batch(&mut w, 12, &[(0, 5_000), (1, 1_200)]), 1_190, "back");
    }

    #[test]
    fn a_partition_without_any_record_is_waited_for_until_it_is_idle() {
        let mut w = Watermark::default();
        let rule = RULE;
        for t in 1..11u64 {
            let p = w.end_of_batch(at(t * 1_000), [(0, Some(at(500 + t))), (1, None)], rule);
            assert_eq!(p, Progress { watermark: Time::ZERO, idle: false }, "batch {t}");
        }
        let p = w.end_of_batch(at(11_000), [(0, Some(at(600))), (1, None)], rule);
        assert_eq!(p.watermark, at(590));
    }

    #[test]
    fn it_stays_when_all_partitions_are_idle() {
        let mut w = Watermark::default();
        batch(&mut w, 1, &[(0, 100), (1, 50)]);
        assert_eq!(batch(&mut w, 10, &[]), 40);
        assert!(!w.progress().idle);
        assert_eq!(batch(&mut w, 11, &[]), 40);
        assert!(w.progress().idle);
        assert_eq!(batch(&mut w, 12, &[(1, 60)]), 50);
        assert!(!w.progress().idle);
    }

    #[test]
    fn with_no_patience_only_partitions_of_the_batch_count() {
        let rule = WatermarkRule { idle_after: Duration::ZERO, ..RULE };
        let mut w = Watermark::default();
        w.end_of_batch(at(1_000), [(0, Some(at(100))), (1, Some(at(50)))], rule);
        let p = w.end_of_batch(at(2_000), [(0, Some(at(120)))], rule);
        assert_eq!(p, Progress { watermark: at(110), idle: false });
    }

    #[test]
    fn several_streams_have_the_lowest_watermark_of_those_that_are_not_idle() {
        let p = |ms, idle| Progress { watermark: at(ms), idle };
        assert_eq!(lowest(Time::ZERO, [p(50, false), p(40, false)]), at(40));
        assert_eq!(lowest(Time::ZERO, [p(50, false), p(40, true)]), at(50));
        assert_eq!(lowest(at(50), [p(55, false), p(40, false)]), at(50), "never back");
        assert_eq!(lowest(at(50), [p(60, true), p(70, true)]), at(50), "all idle");
    }

    #[test]
    fn it_survives_as_bytes() {
        let mut w = Watermark::default();
        batch(&mut w, 1, &[(0, 100), (7, 50)]);
        let bytes = postcard::to_stdvec(&w).unwrap();
        assert_eq!(postcard::from_bytes::<Watermark>(&bytes).unwrap(), w);
    }
}
