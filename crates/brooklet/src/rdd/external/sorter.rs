//! One partition, sorted: in memory, or as sorted runs that are merged when it is read.

use std::cmp::Ordering;
use std::sync::Arc;

use super::merge::{Merge, Runs, merged_run};
use super::size::{behind, estimate};
use crate::block::{Held, Segment, SpillWriter};
use crate::conf::defaults;
use crate::data::Wire;
use crate::engine::{Site, TaskCx, TaskError};
use crate::rdd::kept::Lost;
use crate::rdd::pipe::{Flow, fold_slice, try_slice};

/// How records are ordered. A total order, the same at every call.
pub(crate) trait Order<T>: Send + Sync + 'static {
    /// What is computed once for each record in a merge.
    type Mark;
    fn mark(&self, x: &T) -> Self::Mark;
    fn compare(&self, a: (&Self::Mark, &T), b: (&Self::Mark, &T)) -> Ordering;
    /// Sorts, equal records in their order.
    fn sort(&self, records: &mut [T]);
}

/// A sorted partition. Either of the two is empty.
pub(crate) struct Sorted<T> {
    records: Vec<T>,
    runs: Vec<Segment>,
    _held: Option<Arc<Held>>,
}

/// Sorts one partition.
pub(crate) struct Sorter<'a, T, O> {
    cx: &'a TaskCx<'a>,
    order: &'a O,
    site: Site,
    records: Vec<T>,
    bytes: usize,
    runs: Runs,
}

impl<'a, T: Wire, O: Order<T>> Sorter<'a, T, O> {
    pub(crate) fn new(cx: &'a TaskCx<'a>, order: &'a O, site: Site) -> Self {
        Sorter { cx, order, site, records: Vec::new(), bytes: 0, runs: Runs::new() }
    }

    /// Takes copies of some records.
    pub(crate) fn extend(&mut self, records: &[T]) -> Result<(), TaskError> {
        // Small steps: a single chunk may be larger than the limit.
        for few in records.chunks(64) {
            // A sort takes memory for half of the records, and a vector grows by doubling.
            self.bytes += 2 * size_of_val(few) + behind(few, 8);
            self.records.extend_from_slice(few);
            if self.bytes > self.cx.spills().task_memory() {
                self.spill()?;
            }
        }
        self.cx.check()
    }

    fn spill(&mut self) -> Result<(), TaskError> {
        self.site.guard(|| self.order.sort(&mut self.records));
        let mut out = SpillWriter::new(self.cx.spills())?;
        out.push_all(&self.records)?;
        let run = out.segment()?;
        drop(out);
        self.records.clear();
        self.bytes = 0;
        let merge = |runs: &[Segment]| merged_run(self.cx, runs, self.order);
        self.site.guard(|| self.runs.push(run, merge))
    }

    pub(crate) fn finish(mut self) -> Result<Sorted<T>, TaskError> {
        if self.runs.is_empty() {
            let held = self.cx.spills().hold(estimate(&self.records));
            if held.is_some() || self.records.is_empty() {
                self.site.guard(|| self.order.sort(&mut self.records));
                return Ok(Sorted { records: self.records, runs: Vec::new(), _held: held });
            }
        }
        if !self.records.is_empty() {
            self.spill()?;
        }
        let merge = |runs: &[Segment]| merged_run(self.cx, runs, self.order);
        let runs = self.site.guard(|| self.runs.finish(merge))?;
        Ok(Sorted { records: Vec::new(), runs, _held: None })
    }
}

impl<T: Wire> Sorted<T> {
    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64 + self.runs.iter().map(Segment::records).sum::<u64>()
    }

    pub(crate) fn fold<A, O: Order<T>>(
        &self,
        cx: &TaskCx<'_>,
        (order, site): (&O, Site),
        lost: Lost<'_>,
        init: A,
        mut f: impl FnMut(A, T) -> A,
    ) -> Result<A, TaskError> {
        let mut acc = fold_slice(cx, &self.records, init, T::clone, &mut f)?;
        if !self.runs.is_empty() {
            let mut merge = site.guard(|| Merge::new(&self.runs, order)).map_err(lost)?;
            let mut chunk = Vec::new();
            while next_chunk(cx, &mut merge, (site, lost), &mut chunk)? {
                acc = chunk.drain(..).fold(acc, &mut f);
            }
        }
        Ok(acc)
    }

    pub(crate) fn try_each<O: Order<T>>(
        &self,
        cx: &TaskCx<'_>,
        (order, site): (&O, Site),
        lost: Lost<'_>,
        mut f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        if try_slice(cx, &self.records, T::clone, &mut f)?.is_break() {
            return Ok(Flow::Break(()));
        }
        if !self.runs.is_empty() {
            let mut merge = site.guard(|| Merge::new(&self.runs, order)).map_err(lost)?;
            let mut chunk = Vec::new();
            while next_chunk(cx, &mut merge, (site, lost), &mut chunk)? {
                if chunk.drain(..).try_for_each(&mut f).is_break() {
                    return Ok(Flow::Break(()));
                }
            }
        }
        Ok(Flow::Continue(()))
    }
}

/// Some records of the merge. Whether there were any.
fn next_chunk<T: Wire, O: Order<T>>(
    cx: &TaskCx<'_>,
    merge: &mut Merge<'_, T, O>,
    (site, lost): (Site, Lost<'_>),
    chunk: &mut Vec<T>,
) -> Result<bool, TaskError> {
    cx.check()?;
    let filled = site.guard(|| {
        while chunk.len() < defaults::CHUNK_RECORDS
            && let Some(x) = merge.next()?
        {
            chunk.push(x);
        }
        Ok(!chunk.is_empty())
    });
    filled.map_err(lost)
}
