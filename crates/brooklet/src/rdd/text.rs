//! Text blocks as partitions: the records are slices of them.

use std::sync::Arc;

use super::pipe::{Flow, Pipe};
use crate::engine::{TaskBody, TaskCx, TaskError};
use crate::text::{Str, TextBlock};

/// Text between two checks.
const RUN: usize = 64 * 1024;

/// Folds the lines of a block.
#[inline]
pub(crate) fn fold_lines<A>(
    cx: &TaskCx<'_>,
    block: &Arc<TextBlock>,
    init: A,
    mut f: impl FnMut(A, Str) -> A,
) -> Result<A, TaskError> {
    let mut acc = init;
    for run in block.line_runs(RUN) {
        acc = run.fold(acc, &mut f);
        cx.check()?;
    }
    Ok(acc)
}

/// As [`fold_lines`], with early exit.
#[inline]
pub(crate) fn each_line(
    cx: &TaskCx<'_>,
    block: &Arc<TextBlock>,
    mut f: impl FnMut(Str) -> Flow,
) -> Result<Flow, TaskError> {
    for run in block.line_runs(RUN) {
        let r = run.each(&mut f);
        cx.check()?;
        if r.is_break() {
            return Ok(r);
        }
    }
    Ok(Flow::Continue(()))
}

pub(crate) struct TextParts(pub(crate) Vec<Arc<TextBlock>>);

impl Pipe for TextParts {
    type Out = Str;
    fn partitions(&self) -> usize {
        self.0.len()
    }
    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fn known_len(&self, _: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.0[part].line_count() as u64))
    }
    fn lineage(&self, out: &mut crate::rdd::Lineage) {
        out.step(&"text in memory", self.partitions());
    }
    /// An estimate: a line has about 64 bytes.
    fn input_records(&self) -> usize {
        self.0.iter().map(|b| b.len() / 64 + 1).sum()
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        f: impl FnMut(A, Str) -> A,
    ) -> Result<A, TaskError> {
        fold_lines(cx, &self.0[part], init, f)
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(Str) -> Flow,
    ) -> Result<Flow, TaskError> {
        each_line(cx, &self.0[part], f)
    }
}
