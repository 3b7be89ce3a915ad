//! Sessions: the records of a key with less than a gap between one and the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Window;
use crate::Time;
use crate::rdd::combine::Combine;

/// The open sessions of one key. A session ends a gap after its last record; two records belong to one
/// session when they are less than the gap apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Sessions<A> {
    /// In time order; no two overlap.
    open: Vec<(Window, A)>,
}

impl<A> Default for Sessions<A> {
    fn default() -> Self {
        Sessions { open: Vec::new() }
    }
}

impl<A> Sessions<A> {
    /// Whether none is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The earliest end of those that are open.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.open.first().map(|(w, _)| w.end())
    }

    /// Takes the sessions out that have ended by the watermark, in time order.
    pub(crate) fn close(&mut self, watermark: Time) -> impl Iterator<Item = (Window, A)> {
        let n = self.open.partition_point(|(w, _)| w.is_passed(watermark));
        self.open.drain(..n)
    }

    /// Adds the records of one batch, after [`Sessions::close`] by the same watermark. Their order doesn't
    /// matter for which sessions there are: a record is late when the session that it makes with its
    /// neighbours in the batch has ended by the watermark and reaches no open session.
    ///
    /// A session's values are combined in this order: those it had, the batch's in time order (those of one
    /// time in the order given), then the later sessions that they have joined to it.
    pub(crate) fn add<V>(
        &mut self,
        mut batch: Vec<(Time, V)>,
        gap: Duration,
        watermark: Time,
        f: &impl Combine<V, A>,
        mut late: impl FnMut(Time, V),
    ) {
        batch.sort_by_cached_key(|(t, _)| *t);
        let mut rest = batch.into_iter().peekable();
        while let Some((t, v)) = rest.next() {
            // A run: records of the batch that are one session, whatever else there is.
            let mut window = Window::new(t, t + gap);
            let mut run = vec![(t, v)];
            while let Some((t, v)) = rest.next_if(|(t, _)| *t < window.end()) {
                window = window.cover(Window::new(t, t + gap));
                run.push((t, v));
            }
            let from = self.open.partition_point(|(w, _)| w.end() <= window.start());
            let reached = self.open[from..].partition_point(|(w, _)| w.start() < window.end());
            if reached == 0 && window.is_passed(watermark) {
                run.into_iter().for_each(|(t, v)| late(t, v));
                continue;
            }
            let mut joined = self.open.drain(from..from + reached);
            let mut all = joined.next().map(|(w, a)| {
                window = window.cover(w);
                a
            });
            for (_, v) in run {
                all = Some(match all {
                    Some(a) => f.add(a, v),
                    None => f.create(v),
                });
            }
            let later: Vec<(Window, A)> = joined.collect();
            for (w, b) in later {
                window = window.cover(w);
                all = all.map(|a| f.merge(a, b));
            }
            if let Some(all) = all {
                self.open.insert(from, (window, all));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::collect;
    use super::*;
    use crate::millis;

    const NONE: [u32; 0] = [];

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// Adds records named by their times, gap 10; returns those that were late.
    fn add(s: &mut Sessions<Vec<u32>>, times: &[u32], watermark: u64) -> Vec<u32> {
        let batch = times.iter().map(|t| (at(u64::from(*t)), *t)).collect();
        let mut late = Vec::new();
        s.add(batch, millis(10), at(watermark), &collect(), |_, v| late.push(v));
        late
    }

    fn open(s: &Sessions<Vec<u32>>) -> Vec<(u64, u64, Vec<u32>)> {
        let all = s.open.iter();
        all.map(|(w, v)| (w.start().millis(), w.end().millis(), v.clone())).collect()
    }

    #[test]
    fn records_less_than_a_gap_apart_are_one_session() {
        let mut s = Sessions::default();
        assert_eq!(add(&mut s, &[31, 5, 14, 24], 0), NONE);
        assert_eq!(open(&s), [(5, 24, vec![5, 14]), (24, 41, vec![24, 31])]);
        assert_eq!(s.next_end(), Some(at(24)));
    }

    #[test]
    fn a_record_between_two_sessions_joins_them() {
        let mut s = Sessions::default();
        add(&mut s, &[5, 23, 50], 0);
        assert_eq!(open(&s).len(), 3);
        assert_eq!(add(&mut s, &[14], 12), NONE);
        assert_eq!(open(&s), [(5, 33, vec![5, 14, 23]), (50, 60, vec![50])]);
    }

    #[test]
    fn a_record_that_would_be_late_alone_is_taken_by_an_open_session() {
        let mut s = Sessions::default();
        add(&mut s, &[30], 0);
        assert_eq!(add(&mut s, &[5, 22], 35), [5], "22 would have ended at 32");
        assert_eq!(open(&s), [(22, 40, vec![30, 22])]);
    }

    #[test]
    fn neighbours_in_a_batch_keep_each_other_open_in_any_order() {
        for batch in [[16, 25, 7], [7, 16, 25], [25, 7, 16]] {
            let mut s = Sessions::default();
            assert_eq!(add(&mut s, &batch, 30), NONE);
            assert_eq!(open(&s), [(7, 35, vec![7, 16, 25])]);
        }
    }

    #[test]
    fn a_closed_session_is_gone_and_a_late_record_does_not_bring_it_back() {
        let mut s = Sessions::default();
        add(&mut s, &[5, 30, 70], 0);
        let closed: Vec<_> = s.close(at(40)).map(|(w, _)| w.end().millis()).collect();
        assert_eq!(closed, [15, 40]);
        assert_eq!(add(&mut s, &[7, 29, 31], 40), [7], "31 begins a session that 29 belongs to");
        assert_eq!(open(&s), [(29, 41, vec![29, 31]), (70, 80, vec![70])]);
        assert_eq!(s.close(at(u64::MAX)).count(), 2);
        assert!(s.is_empty());
    }
}
