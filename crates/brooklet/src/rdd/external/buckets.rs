//! The map side of a shuffle that doesn't combine: records dealt out by partition, spilled when there are
//! too many.

use std::sync::Arc;

use super::size::{SAMPLES, Watch, behind};
use crate::block::{Held, Segment, SpillWriter};
use crate::data::Wire;
use crate::engine::{TaskCx, TaskError};
use crate::rdd::combine::Spare;
use crate::rdd::kept::Kept;

/// What a map task has for each reduce partition, in arrival order.
pub(crate) struct Buckets<'a, T> {
    cx: &'a TaskCx<'a>,
    home: Option<&'a Arc<Spare<T>>>,
    to: Vec<Vec<T>>,
    /// What came before it, on disk. Empty when nothing is.
    spilled: Vec<Vec<Segment>>,
    watch: Watch,
    /// Records until the next look at their size, and since the last one.
    due: usize,
    step: usize,
}

impl<'a, T: Wire> Buckets<'a, T> {
    /// Buckets for `parts` partitions that expect `hint` records in all. Their memory comes from and goes
    /// back to `home`.
    pub(crate) fn new(
        cx: &'a TaskCx<'a>,
        parts: usize,
        hint: usize,
        home: Option<&'a Arc<Spare<T>>>,
    ) -> Self {
        let limit = cx.spills().task_memory();
        let hint = hint.min(limit / size_of::<T>().max(1)) / parts.max(1);
        let empty = || home.map_or_else(Vec::new, |h| h.take(hint));
        let watch = Watch::new(limit);
        let step = watch.first();
        let to = (0..parts).map(|_| empty()).collect();
        Buckets { cx, home, to, spilled: Vec::new(), watch, due: step, step }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, part: usize, x: T) {
        self.to[part].push(x);
        self.due -= 1;
        if self.due == 0 {
            self.look();
        }
    }

    /// Estimated bytes: vectors grow by doubling, so half as much again as there is in them.
    fn bytes(&self) -> usize {
        let samples = SAMPLES.div_ceil(self.to.len().max(1));
        self.to.iter().map(|v| size_of_val(&v[..]) * 3 / 2 + behind(v, samples)).sum()
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self) {
        let bytes = self.bytes();
        self.step = self.watch.looked(self.step, bytes).unwrap_or_else(|| {
            if let Err(e) = self.spill() {
                self.cx.fail(e);
            }
            self.watch.first()
        });
        self.due = self.step;
    }

    fn spill(&mut self) -> Result<(), TaskError> {
        self.spilled.resize_with(self.to.len(), Vec::new);
        let mut out = SpillWriter::new(self.cx.spills())?;
        for (records, segments) in self.to.iter_mut().zip(&mut self.spilled) {
            if !records.is_empty() {
                out.push_all(&*records)?;
                segments.push(out.segment()?);
                records.clear();
            }
        }
        Ok(())
    }

    /// Records that are in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.to.iter().map(Vec::len).sum()
    }

    /// Leaves one block for each partition.
    pub(crate) fn finish(self) -> Result<(), TaskError> {
        let spills = self.cx.spills();
        let held = spills.hold(self.bytes());
        leave(self.cx, self.to, self.spilled, self.home, held.as_ref())
    }
}

/// Leaves one block for each partition: what was spilled early, then the records of `to`, which go to disk
/// if there is no room for them.
pub(crate) fn leave<T: Wire>(
    cx: &TaskCx<'_>,
    to: Vec<Vec<T>>,
    spilled: Vec<Vec<Segment>>,
    home: Option<&Arc<Spare<T>>>,
    held: Option<&Arc<Held>>,
) -> Result<(), TaskError> {
    let mut out = None;
    let mut spilled = spilled.into_iter();
    for v in to {
        let block = Kept::new(v, home).after(spilled.next().unwrap_or_default());
        let block = block.held(held, &mut out, cx.spills())?;
        let n = block.len();
        cx.put_block(block, n)?;
    }
    Ok(())
}
