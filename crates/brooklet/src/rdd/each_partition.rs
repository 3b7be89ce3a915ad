//! Narrow operators that make the records of a partition from a parent's partition as a whole.

use super::pipe::{Flow, Pipe, forward, narrow_pipe};
use crate::engine::{TaskCx, TaskError};

narrow_pipe! {
    /// The lineage of `glom` and of operators that sum partitions up.
    EachPartitionPipe
}

impl<P, F, R> Pipe for EachPartitionPipe<P, F>
where
    P: Pipe,
    F: Fn(&P, &TaskCx<'_>, usize) -> Result<Vec<R>, TaskError> + Send + Sync + 'static,
    R: 'static,
{
    type Out = R;
    forward!();
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        g: impl FnMut(A, R) -> A,
    ) -> Result<A, TaskError> {
        let records = (self.f)(&self.parent, cx, part)?;
        cx.check()?;
        Ok(records.into_iter().fold(init, g))
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        g: impl FnMut(R) -> Flow,
    ) -> Result<Flow, TaskError> {
        let records = (self.f)(&self.parent, cx, part)?;
        cx.check()?;
        Ok(records.into_iter().try_for_each(g))
    }
}
