//! `coalesce`: fewer partitions without a shuffle.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::pipe::{Captured, Flow, Pipe, Unshippable};
use super::{Lineage, Rdd};
use crate::data::Data;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};

/// The lineage of `coalesce`.
pub struct CoalescePipe<P> {
    parent: Arc<P>,
    parts: usize,
    site: Site,
}

impl<P: Pipe> CoalescePipe<P> {
    /// The parent's partitions that partition `part` reads.
    fn parents(&self, part: usize) -> Range<usize> {
        let n = self.parent.partitions();
        part * n / self.parts..(part + 1) * n / self.parts
    }
}

impl<P: Pipe> Pipe for CoalescePipe<P> {
    type Out = P::Out;
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        let mut sum = 0;
        for p in self.parents(part) {
            let Some(n) = self.parent.known_len(cx, p)? else { return Ok(None) };
            sum += n;
        }
        Ok(Some(sum))
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.parts);
        out.branch(|out| self.parent.lineage(out));
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
        let why = Unshippable::Captures(size_of::<usize>());
        out.push(Captured { site: self.site, why });
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, P::Out) -> A,
    ) -> Result<A, TaskError> {
        self.parents(part).try_fold(init, |acc, p| self.parent.fold(cx, p, acc, &mut f))
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(P::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        for p in self.parents(part) {
            if self.parent.try_each(cx, p, &mut f)?.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }
}

impl<P> fmt::Debug for CoalescePipe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} into {} partitions", self.site, self.parts)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The same records in at most `partitions` partitions (at least 1), without a shuffle: each of them
    /// reads neighbouring partitions, about as many as the others. It never makes more partitions than
    /// there are; [`Rdd::repartition`] does. What is before it in the same stage runs in as few tasks.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(1..=5, 5).coalesce(2);
    /// assert_eq!(r.glom().collect()?, [vec![1, 2], vec![3, 4, 5]]);
    /// assert_eq!(r.coalesce(9).num_partitions(), 2);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn coalesce(&self, partitions: usize) -> Rdd<T, CoalescePipe<P>> {
        let site = Site::here("coalesce");
        let parts = partitions.max(1).min(self.num_partitions());
        self.narrow(|parent| CoalescePipe { parent, parts, site })
    }
}
