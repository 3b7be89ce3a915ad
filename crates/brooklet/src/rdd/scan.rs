//! Narrow operators that remember something from record to record of a partition: a running number, the
//! state of a random generator.

use super::pipe::{Flow, Pipe, forward, narrow_pipe};
use crate::engine::{TaskCx, TaskError};

/// What such an operator does.
pub trait Scan<T>: Send + Sync + 'static {
    /// What it remembers within a partition.
    type State;
    /// What it makes of a record.
    type Out: IntoIterator<Item: 'static>;
    /// The state before the first record of a partition.
    fn begin(&self, part: usize) -> Self::State;
    /// The next record.
    fn step(&self, state: &mut Self::State, record: T) -> Self::Out;
}

narrow_pipe! {
    /// The lineage of operators that number or draw records.
    ScanPipe
}

impl<P: Pipe, F: Scan<P::Out>> Pipe for ScanPipe<P, F> {
    type Out = <F::Out as IntoIterator>::Item;
    forward!();
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, Self::Out) -> A,
    ) -> Result<A, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        let mut state = f.begin(part);
        self.parent.fold(cx, part, init, move |a, x| {
            site.guard(|| f.step(&mut state, x)).into_iter().fold(a, &mut g)
        })
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(Self::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        let mut state = f.begin(part);
        self.parent.try_each(cx, part, move |x| {
            site.guard(|| f.step(&mut state, x)).into_iter().try_for_each(&mut g)
        })
    }
}
