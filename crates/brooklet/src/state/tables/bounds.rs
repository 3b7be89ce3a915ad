//! Limits and metrics of tables in memory.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::limit::Bounded;
use super::super::watch::{Heaviest, Watched};
use super::{Beside, GROUPS, Lease, Partition, Tables};
use crate::Time;
use crate::data::{Key, Wire};
use crate::engine::TaskError;
use crate::metrics::{HeavyKey, StateMetrics};
use crate::sync::LockExt;

/// Keys that are looked at while nobody may change them.
const LOOK: usize = 4_096;

impl<K: Key, S: Wire, X: Beside> Tables<K, S, X> {
    /// With a limit. One that lets the oldest go needs to know when keys were touched.
    pub(crate) fn limited(self, limit: Option<Bounded>) -> Self {
        debug_assert!(self.by_time || !limit.is_some_and(|l| l.evicts()));
        Tables { limit, ..self }
    }

    /// The bytes of a partition, where a limit needs them.
    pub(super) fn counted(&self, p: &Partition<K, S, X>) -> u64 {
        let Some(bounded) = self.limit.filter(Bounded::in_bytes) else { return 0 };
        let mut bytes = 0;
        for g in p.groups.iter().flatten() {
            let Ok(()) = g.each(|_, k, s, _| {
                bytes += bounded.count(k, s);
                Ok::<_, Infallible>(())
            });
        }
        bytes
    }
}

impl<K: Key, S: Wire, X: Beside> Lease<'_, K, S, X> {
    /// Brings the partition within its share of the limit: after all changes of the batch. The keys that go
    /// are those touched longest ago; of those that one batch has touched last, those of the lower key groups.
    pub(crate) fn fit(&mut self) -> Result<(), TaskError> {
        let Some(bounded) = self.tables.limit else { return Ok(()) };
        let (part, parts, t) = (self.part, self.tables.parts.len(), self.t);
        let share = bounded.share(part, parts);
        if bounded.in_bytes() {
            let p = &mut *self.p;
            for g in p.groups.iter().flatten() {
                let (before, now) = g.changed(t, |k, s| bounded.count(k, s));
                p.tally.bytes = (p.tally.bytes + now).saturating_sub(before);
            }
        }
        let live = self.p.len();
        let mut has = self.p.tally.has(&bounded, live);
        if has <= share {
            return Ok(());
        }
        if !bounded.evicts() {
            return Err(bounded.full(self.tables.site, (part, parts), has));
        }
        let oldest = |(i, g): (usize, &mut Option<Box<_>>)| {
            let g: &mut Option<Box<super::Group<K, S>>> = g;
            Some(Reverse((g.as_mut()?.oldest()?, i)))
        };
        let mut heads: BinaryHeap<_> =
            self.p.groups.iter_mut().enumerate().filter_map(oldest).collect();
        let (mut gone, mut evicted) = (0, 0);
        while has - gone > share
            && let Some(Reverse((_, i))) = heads.pop()
            && let Some(group) = &mut self.p.groups[i]
        {
            gone += group.remove_oldest(t, |k, s| bounded.count(k, s));
            evicted += 1;
            heads.extend(group.oldest().map(|touched| Reverse((touched, i))));
        }
        has -= gone;
        self.p.tally.evicted += evicted;
        if bounded.in_bytes() {
            self.p.tally.bytes = has;
        }
        Ok(())
    }

    /// Notes that a key which is there was touched.
    pub(crate) fn touch(&mut self, hash: u32, key: &K) {
        let t = self.t;
        self.group(hash).touch(hash, key, t);
    }
}

impl<K: Key, S: Wire, X: Beside> Watched for Tables<K, S, X> {
    fn forget(&self, up_to: Time) {
        Tables::forget(self, up_to);
    }

    fn undo(&self, to: Time) {
        for p in &self.parts {
            let mut p = p.get();
            if p.version > to {
                self.undo_to(&mut p, to);
            }
        }
    }

    fn metrics(&self) -> StateMetrics {
        let mut all = StateMetrics {
            partitions: self.parts.len(),
            keys: self.keys() as u64,
            undone: self.undone.load(Relaxed),
            longest_encoding: Duration::from_nanos(self.longest.encoding.load(Relaxed)),
            longest_time_outs: Duration::from_nanos(self.longest.time_outs.load(Relaxed)),
            longest_undo: Duration::from_nanos(self.longest.undo.load(Relaxed)),
            index_rebuilds: self.longest.rebuilds.load(Relaxed),
            longest_rebuild: Duration::from_nanos(self.longest.rebuild.load(Relaxed)),
            ..StateMetrics::default()
        };
        for p in &self.parts {
            let p = p.get();
            for g in p.groups.iter().flatten() {
                all.bytes += (g.bytes() + g.owned()) as u64;
                all.index_rebuilds += g.resizes;
                let longest = Duration::from_nanos(g.longest_resize.load(Relaxed));
                all.longest_rebuild = all.longest_rebuild.max(longest);
            }
            all.timed_out += p.tally.expired;
            all.evicted += p.tally.evicted;
        }
        all
    }

    fn heaviest(&self, n: usize) -> Result<Vec<HeavyKey>, TaskError> {
        let heaviest = RefCell::new(Heaviest::new(n));
        let offer = |k: &K, s: &S| {
            heaviest.borrow_mut().offer(k, s);
            Some(())
        };
        let newest = Time::from_millis(u64::MAX);
        for p in &self.parts {
            for g in 0..GROUPS {
                let mut from = Some(0);
                // Batches may go on between two looks.
                while let (Some(at), Some(group)) = (from, &p.get().groups[g]) {
                    from = group.read(newest, at, (&mut Vec::new(), LOOK), offer);
                }
            }
        }
        Ok(heaviest.into_inner().into_keys())
    }
}
