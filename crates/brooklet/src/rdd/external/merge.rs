//! The k-way merge of sorted runs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Order;
use crate::block::{Segment, SegmentReader, SpillWriter};
use crate::conf::defaults;
use crate::data::Wire;
use crate::engine::{TaskCx, TaskError};

/// Gives the records of sorted runs in order; equal ones in the order of the runs.
pub(crate) struct Merge<'a, T, O: Order<T>> {
    runs: Vec<Run<T>>,
    heap: BinaryHeap<Head<'a, T, O>>,
    order: &'a O,
}

struct Run<T> {
    reader: SegmentReader<T>,
    /// The frame that is being read, last record first.
    frame: Vec<T>,
}

impl<T: Wire> Run<T> {
    fn next(&mut self) -> Result<Option<T>, TaskError> {
        while self.frame.is_empty() {
            if !self.reader.next_frame(&mut self.frame)? {
                return Ok(None);
            }
            self.frame.reverse();
        }
        Ok(self.frame.pop())
    }
}

impl<'a, T: Wire, O: Order<T>> Merge<'a, T, O> {
    pub(crate) fn new(runs: &[Segment], order: &'a O) -> Result<Self, TaskError> {
        let runs: Vec<Run<T>> =
            runs.iter().map(|s| Run { reader: SegmentReader::new(s), frame: Vec::new() }).collect();
        let mut merge = Merge { heap: BinaryHeap::with_capacity(runs.len()), runs, order };
        (0..merge.runs.len()).try_for_each(|run| merge.pull(run))?;
        Ok(merge)
    }

    /// The next record of a run goes to the heap.
    fn pull(&mut self, run: usize) -> Result<(), TaskError> {
        if let Some(x) = self.runs[run].next()? {
            let mark = self.order.mark(&x);
            self.heap.push(Head { x, mark, run, order: self.order });
        }
        Ok(())
    }

    /// The next record.
    pub(crate) fn next(&mut self) -> Result<Option<T>, TaskError> {
        let Some(Head { x, run, .. }) = self.heap.pop() else { return Ok(None) };
        self.pull(run)?;
        Ok(Some(x))
    }
}

/// The first record of a run that isn't given out yet.
struct Head<'a, T, O: Order<T>> {
    x: T,
    mark: O::Mark,
    run: usize,
    order: &'a O,
}

impl<T, O: Order<T>> Ord for Head<'_, T, O> {
    /// The heap gives its greatest: the one that comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        let records = self.order.compare((&self.mark, &self.x), (&other.mark, &other.x));
        records.then(self.run.cmp(&other.run)).reverse()
    }
}

impl<T, O: Order<T>> PartialOrd for Head<'_, T, O> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T, O: Order<T>> PartialEq for Head<'_, T, O> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T, O: Order<T>> Eq for Head<'_, T, O> {}

/// The runs of one task. Neighbours are merged when there are many, so that few files are open at a time.
pub(crate) struct Runs(Vec<(u32, Segment)>);

impl Runs {
    pub(crate) fn new() -> Runs {
        Runs(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a run; `merge` makes one of several.
    pub(crate) fn push(
        &mut self,
        run: Segment,
        merge: impl Fn(&[Segment]) -> Result<Segment, TaskError>,
    ) -> Result<(), TaskError> {
        self.0.push((0, run));
        // Runs of one level lie together: those before them are of higher levels.
        while let Some(&(level, _)) = self.0.last() {
            let from = self.0.len() - self.0.iter().rev().take_while(|(l, _)| *l == level).count();
            if self.0.len() - from < defaults::MERGE_RUNS {
                break;
            }
            let together: Vec<Segment> = self.0.drain(from..).map(|(_, s)| s).collect();
            self.0.push((level + 1, merge(&together)?));
        }
        Ok(())
    }

    /// All runs, at most [`defaults::MERGE_RUNS`].
    pub(crate) fn finish(
        self,
        merge: impl Fn(&[Segment]) -> Result<Segment, TaskError>,
    ) -> Result<Vec<Segment>, TaskError> {
        let mut runs: Vec<Segment> = self.0.into_iter().map(|(_, s)| s).collect();
        while runs.len() > defaults::MERGE_RUNS {
            // The youngest are the smallest.
            let last = runs.split_off(runs.len() - defaults::MERGE_RUNS);
            runs.push(merge(&last)?);
        }
        Ok(runs)
    }
}

/// One run of several.
pub(crate) fn merged_run<T: Wire, O: Order<T>>(
    cx: &TaskCx<'_>,
    runs: &[Segment],
    order: &O,
) -> Result<Segment, TaskError> {
    let mut merge = Merge::new(runs, order)?;
    let mut out = SpillWriter::new(cx.spills())?;
    let mut n = 0usize;
    while let Some(x) = merge.next()? {
        out.push(&x)?;
        n += 1;
        if n.is_multiple_of(defaults::CHUNK_RECORDS) {
            cx.check()?;
        }
    }
    out.segment()
}
