//! `union`: partitions of several RDDs one after the other.

use std::sync::Arc;

use super::pipe::{Captured, Flow, Pipe};
use super::{Erased, Rdd};
use crate::data::Data;
use crate::engine::{TaskBody, TaskCx, TaskError};

#[derive(Debug)]
pub struct UnionPipe<T>(pub(crate) Vec<Erased<T>>);

impl<T: 'static> UnionPipe<T> {
    fn at(&self, mut part: usize) -> Result<(&Erased<T>, usize), TaskError> {
        for p in &self.0 {
            if part < p.partitions() {
                return Ok((p, part));
            }
            part -= p.partitions();
        }
        Err(TaskError::Bug("a union has fewer partitions than asked for".into()))
    }
}

impl<T: 'static> Pipe for UnionPipe<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.0.iter().map(Pipe::partitions).sum()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.0.iter().for_each(|p| p.wide(out));
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        let (p, i) = self.at(part)?;
        p.known_len(cx, i)
    }
    fn input_records(&self) -> usize {
        self.0.iter().fold(0, |n, p| n.saturating_add(p.input_records()))
    }
    /// Numbers of its own for each side, also where sides are unions.
    fn input_partition(&self, part: usize) -> u64 {
        let mut rest = part;
        for (side, p) in (1u64..).zip(&self.0) {
            if rest < p.partitions() {
                let of_side = p.input_partition(rest).wrapping_add(side << 32);
                return of_side.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
            rest -= p.partitions();
        }
        part as u64
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&"union", self.partitions());
        self.0.iter().for_each(|p| out.branch(|out| p.lineage(out)));
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.0.iter().for_each(|p| p.captures(out));
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        f: impl FnMut(A, T) -> A,
    ) -> Result<A, TaskError> {
        let (p, i) = self.at(part)?;
        p.fold(cx, i, init, f)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (p, i) = self.at(part)?;
        p.try_each(cx, i, f)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The records of both, duplicates kept: the partitions of this RDD, then those of `other`.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([1, 2], 1).union(&ctx.parallelize([2, 3], 2));
    /// assert_eq!((r.collect()?, r.num_partitions()), (vec![1, 2, 2, 3], 3));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn union<Q: Pipe<Out = T>>(&self, other: &Rdd<T, Q>) -> Rdd<T> {
        let both = vec![self.erased(), other.erased()];
        self.with_other(other, Erased::new(Arc::new(UnionPipe(both))))
    }
}
