//! The reduce side of a combining or grouping shuffle: a table that goes to disk when it grows too large,
//! as runs that are sorted by hash, and is merged from there.

use std::cmp::Ordering;
use std::sync::Arc;

use super::merge::{Merge, Runs};
use super::size::{SAMPLES, Watch, behind, estimate};
use super::sorter::Order;
use crate::block::{Segment, SpillWriter};
use crate::conf::defaults;
use crate::data::{Key, Wire};
use crate::engine::{Site, TaskCx, TaskError};
use crate::rdd::combine::{Entry, Spare, Table, part_of};
use crate::rdd::kept::Kept;
use crate::rdd::partitioner::Partitioning;

/// Estimated bytes of a table with these entries: vectors that grow by doubling, two to four slots of the
/// index for each entry.
pub(crate) fn table_bytes<K: Key, C: Wire>(table: &Table<K, C>) -> usize {
    slots_bytes::<K, C>(table.len()) + behind(table.entries(), SAMPLES)
}

fn slots_bytes<K, C>(entries: usize) -> usize {
    entries * (size_of::<Entry<K, C>>() * 3 / 2 + 24)
}

/// Writes a map task's entries to disk, one segment for each partition, and leaves the vector empty.
pub(crate) fn spill_by_partition<K: Key, C: Wire>(
    cx: &TaskCx<'_>,
    entries: &mut Vec<Entry<K, C>>,
    partitioning: &Partitioning<K>,
    to: &mut Vec<Vec<Segment>>,
) -> Result<(), TaskError> {
    let parts = partitioning.partitions();
    to.resize_with(parts, Vec::new);
    let of = |e: &Entry<K, C>| partitioning.of(&e.key, e.hash);
    match partitioning {
        // Partitions are ranges of hashes.
        Partitioning::Hash(n) => {
            entries.sort_by_cached_key(|e| e.hash);
            debug_assert!(entries.is_sorted_by_key(|e| part_of(e.hash, *n)));
        }
        Partitioning::User(_) => entries.sort_by_cached_key(|e| (of(e), e.hash)),
    }
    let mut out = SpillWriter::new(cx.spills())?;
    for of_one in entries.chunk_by(|a, b| of(a) == of(b)) {
        out.push_all(of_one)?;
        to[of(&of_one[0])].push(out.segment()?);
    }
    entries.clear();
    Ok(())
}

/// Collected entries of which one is looked at for its size.
const EVERY: usize = 16;

/// A table that combines a reduce partition, with the runs that it has left on disk.
pub(crate) struct Combining<'a, K, C, M> {
    cx: &'a TaskCx<'a>,
    site: Site,
    /// Two values of a key, the earlier one first.
    merge: M,
    table: Table<K, C>,
    runs: Runs,
    watch: Watch,
    due: usize,
    seen: usize,
    /// Bytes that came in, for tables whose values hold on to all of it.
    collected: usize,
}

impl<'a, K: Key, C: Wire, M: Fn(C, C) -> C> Combining<'a, K, C, M> {
    pub(crate) fn new(cx: &'a TaskCx<'a>, site: Site, table: Table<K, C>, merge: M) -> Self {
        let watch = Watch::new(cx.spills().task_memory());
        let due = watch.first();
        let runs = Runs::new();
        let seen = table.len();
        Combining { cx, site, merge, table, runs, watch, due, seen, collected: 0 }
    }

    /// Looks at the table that it began with, if that is large.
    pub(crate) fn look_at_first(&mut self) -> Result<(), TaskError> {
        if self.seen >= self.due { self.look() } else { Ok(()) }
    }

    /// Adds entries whose values are combined already.
    pub(crate) fn add(&mut self, mut entries: &[Entry<K, C>]) -> Result<(), TaskError> {
        while !entries.is_empty() {
            let (now, later) = entries.split_at(entries.len().min(self.due - self.seen));
            self.site.guard(|| self.table.merge_all_from(now, &self.merge));
            self.seen += now.len();
            if self.seen == self.due {
                self.look()?;
            }
            entries = later;
        }
        self.cx.check()
    }

    /// Looks at the table's size. When that is done depends on the number of entries alone, not on the chunks
    /// in which they come.
    fn look(&mut self) -> Result<(), TaskError> {
        let bytes = table_bytes(&self.table);
        self.due = match self.watch.looked(self.seen, bytes) {
            Some(next) => next,
            None => {
                self.spill()?;
                self.watch.first()
            }
        };
        self.seen = 0;
        Ok(())
    }

    /// Adds entries whose values are collected, by `collect`: nothing of them gets smaller.
    pub(crate) fn collect<V: Wire>(
        &mut self,
        entries: &[Entry<K, V>],
        collect: impl Fn(&mut C, V),
        new: fn() -> C,
    ) -> Result<(), TaskError> {
        for e in entries {
            self.site.guard(|| {
                collect(self.table.value_or_insert(e.hash, &e.key, new), e.val.clone());
            });
            self.seen += 1;
            if self.seen == EVERY {
                self.seen = 0;
                let one = size_of::<V>() * 3 / 2 + behind(std::slice::from_ref(e), 1);
                self.collected += EVERY * one;
                let bytes = self.collected + slots_bytes::<K, C>(self.table.len());
                if bytes > self.cx.spills().task_memory() {
                    self.spill()?;
                }
            }
        }
        self.cx.check()
    }

    fn spill(&mut self) -> Result<(), TaskError> {
        let table = std::mem::replace(&mut self.table, Table::with_capacity(0));
        let (mut entries, index) = table.into_parts();
        let n = entries.len();
        let spilled = self.spill_entries(&mut entries);
        self.table = Table::with_memory(n, index, entries);
        self.collected = 0;
        spilled
    }

    /// Writes the entries of a table, which come after all earlier ones, as a run and empties the vector.
    pub(crate) fn spill_entries(
        &mut self,
        entries: &mut Vec<Entry<K, C>>,
    ) -> Result<(), TaskError> {
        entries.sort_by_cached_key(|e| e.hash);
        let mut out = SpillWriter::new(self.cx.spills())?;
        out.push_all(&*entries)?;
        let run = out.segment()?;
        drop(out);
        entries.clear();
        let (cx, site, merge) = (self.cx, self.site, &self.merge);
        self.runs.push(run, |runs| combined_run::<K, C>(cx, site, runs, merge))
    }

    /// Whether nothing has gone to disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.runs.is_empty()
    }

    /// The combined partition: in first-seen order when it was in memory all the time, else by hash.
    pub(crate) fn finish(
        mut self,
        home: Option<&Arc<Spare<Entry<K, C>>>>,
    ) -> Result<(Kept<Entry<K, C>>, Vec<u64>), TaskError> {
        let cx = self.cx;
        if self.runs.is_empty() {
            let (entries, index) = self.table.into_parts();
            let held = cx.spills().hold(estimate(&entries));
            let kept = Kept::new(entries, home).held(held.as_ref(), &mut None, cx.spills())?;
            return Ok((kept, index));
        }
        if !self.table.is_empty() {
            self.spill()?;
        }
        let (site, merge) = (self.site, &self.merge);
        let combine = |runs: &[Segment]| combined_run::<K, C>(cx, site, runs, merge);
        let runs = self.runs.finish(combine)?;
        let whole = if runs.len() == 1 { runs } else { vec![combine(&runs)?] };
        let (_, index) = self.table.into_parts();
        Ok((Kept::new(Vec::new(), home).after(whole), index))
    }
}

/// Runs of a table are in the order of hashes.
struct ByHash;

impl<K: Send + Sync + 'static, C: Send + Sync + 'static> Order<Entry<K, C>> for ByHash {
    type Mark = ();
    fn mark(&self, _: &Entry<K, C>) {}
    fn compare(&self, a: (&(), &Entry<K, C>), b: (&(), &Entry<K, C>)) -> Ordering {
        a.1.hash.cmp(&b.1.hash)
    }
    fn sort(&self, entries: &mut [Entry<K, C>]) {
        entries.sort_by_cached_key(|e| e.hash);
    }
}

/// One run of several, each key once; values are merged in the order of the runs.
fn combined_run<K: Key, C: Wire>(
    cx: &TaskCx<'_>,
    site: Site,
    runs: &[Segment],
    merge: &impl Fn(C, C) -> C,
) -> Result<Segment, TaskError> {
    let mut entries = Merge::<Entry<K, C>, _>::new(runs, &ByHash)?;
    let mut out = SpillWriter::new(cx.spills())?;
    // Entries with the same hash, hardly ever of more than one key.
    let mut same: Vec<Entry<K, C>> = Vec::new();
    let mut n = 0usize;
    while let Some(e) = entries.next()? {
        if same.first().is_some_and(|s| s.hash != e.hash) {
            out.push_all(&same)?;
            same.clear();
        }
        n += 1;
        if n.is_multiple_of(defaults::CHUNK_RECORDS) {
            cx.check()?;
        }
        site.guard(|| match same.iter().position(|s| s.key == e.key) {
            None => same.push(e),
            Some(i) => {
                let Entry { key, val, hash } = same.remove(i);
                same.insert(i, Entry { key, val: merge(val, e.val), hash });
            }
        });
    }
    out.push_all(&same)?;
    out.segment()
}
