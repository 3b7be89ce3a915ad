//! `cartesian`: all pairs of two RDDs' records.

use std::fmt;
use std::sync::Arc;

use super::pipe::{Captured, Flow, Pipe, pushed};
use super::{Erased, Lineage, Rdd};
use crate::data::Data;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};

struct Cartesian<P, Q> {
    left: Arc<P>,
    right: Arc<Q>,
    site: Site,
}

impl<P: Pipe, Q: Pipe> Cartesian<P, Q> {
    /// The partitions that a partition pairs.
    fn at(&self, part: usize) -> (usize, usize) {
        let n = self.right.partitions().max(1);
        (part / n, part % n)
    }
}

impl<P: Pipe, Q: Pipe> Pipe for Cartesian<P, Q>
where
    P::Out: Clone,
    Q::Out: Clone,
{
    type Out = (P::Out, Q::Out);
    fn partitions(&self) -> usize {
        self.left.partitions() * self.right.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.left.wide(out);
        self.right.wide(out);
    }
    fn input_records(&self) -> usize {
        self.left.input_records().saturating_mul(self.right.input_records())
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.partitions());
        out.branch(|out| self.left.lineage(out));
        out.branch(|out| self.right.lineage(out));
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.left.captures(out);
        self.right.captures(out);
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, Self::Out) -> A,
    ) -> Result<A, TaskError> {
        let (l, r) = self.at(part);
        let right = self.right.fold(cx, r, Vec::new(), pushed)?;
        self.left.fold(cx, l, init, |acc, x| {
            right.iter().fold(acc, |acc, y| f(acc, (x.clone(), y.clone())))
        })
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(Self::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (l, r) = self.at(part);
        let right = self.right.fold(cx, r, Vec::new(), pushed)?;
        self.left.try_each(cx, l, |x| right.iter().try_for_each(|y| f((x.clone(), y.clone()))))
    }
}

impl<P, Q> fmt::Debug for Cartesian<P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Each record of this RDD with each record of `other`, in a partition for each pair of partitions. A
    /// partition of `other` must fit in memory.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([1, 2], 2).cartesian(&ctx.parallelize(['a', 'b'], 1));
    /// assert_eq!(pairs.collect()?, [(1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn cartesian<U: Data, Q: Pipe<Out = U>>(&self, other: &Rdd<U, Q>) -> Rdd<(T, U)> {
        let site = Site::here("cartesian");
        let pipe = Cartesian { left: self.pipe.clone(), right: other.pipe.clone(), site };
        self.with_other(other, Erased::new(Arc::new(pipe)))
    }
}
