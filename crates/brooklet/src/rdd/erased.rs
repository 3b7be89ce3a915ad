//! Where a chain's type is cut: chunks of about 1000 records pass through a trait object.

use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::pipe::{Captured, Flow, Pipe, Unshippable, chunk_len};
use super::{About, Lineage};
use crate::engine::{Site, TaskBody, TaskCx, TaskError};

/// The object-safe face of a [`Pipe`].
pub trait DynPipe<T>: Send + Sync {
    /// See [`Pipe::partitions`].
    fn dyn_partitions(&self) -> usize;
    /// See [`Pipe::wide`].
    fn dyn_wide(&self, out: &mut Vec<Arc<dyn TaskBody>>);
    /// See [`Pipe::known_len`].
    ///
    /// # Errors
    /// As [`Pipe::fold`].
    fn dyn_known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError>;
    /// See [`Pipe::input_records`].
    fn dyn_input_records(&self) -> usize;
    /// See [`Pipe::input_partition`].
    fn dyn_input_partition(&self, part: usize) -> u64 {
        part as u64
    }
    /// See [`Pipe::unpersist`].
    fn dyn_unpersist(&self) -> bool;
    /// See [`Pipe::about`].
    fn dyn_about(&self) -> About {
        About::default()
    }
    /// See [`Pipe::lineage`].
    fn dyn_lineage(&self, out: &mut Lineage) {
        out.step(&"input", self.dyn_partitions());
    }
    /// See [`Pipe::captures`].
    fn dyn_captures(&self, out: &mut Vec<Captured>);
    /// Whether this is the RDD that a `foreach_rdd` closure gets: every process of the program can make
    /// it.
    fn is_base(&self) -> bool {
        false
    }
    /// Feeds partition `part` to `sink`, chunk by chunk. The sink may take the records out of the chunk;
    /// what it leaves is dropped.
    ///
    /// # Errors
    /// As [`Pipe::fold`].
    fn chunks(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        sink: &mut dyn FnMut(&mut Vec<T>) -> Flow,
    ) -> Result<(), TaskError>;
}

impl<P: Pipe> DynPipe<P::Out> for P {
    fn dyn_partitions(&self) -> usize {
        self.partitions()
    }
    fn dyn_wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.wide(out);
    }
    fn dyn_known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        self.known_len(cx, part)
    }
    fn dyn_input_records(&self) -> usize {
        self.input_records()
    }
    fn dyn_input_partition(&self, part: usize) -> u64 {
        self.input_partition(part)
    }
    fn dyn_unpersist(&self) -> bool {
        self.unpersist()
    }
    fn dyn_about(&self) -> About {
        self.about()
    }
    fn dyn_lineage(&self, out: &mut Lineage) {
        self.lineage(out);
    }
    fn dyn_captures(&self, out: &mut Vec<Captured>) {
        self.captures(out);
    }
    fn chunks(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        sink: &mut dyn FnMut(&mut Vec<P::Out>) -> Flow,
    ) -> Result<(), TaskError> {
        let n = chunk_len::<P::Out>();
        let mut buf = Vec::new();
        let r = self.try_each(cx, part, |x| {
            buf.push(x);
            if buf.len() == n {
                let r = sink(&mut buf);
                buf.clear();
                return r;
            }
            Flow::Continue(())
        })?;
        if r.is_continue() && !buf.is_empty() {
            let _ = sink(&mut buf);
        }
        Ok(())
    }
}

/// The RDD that a `foreach_rdd` closure gets. Chunks pass through untouched.
pub(crate) struct Base<T>(pub(crate) Erased<T>);

impl<T: 'static> DynPipe<T> for Base<T> {
    fn dyn_partitions(&self) -> usize {
        self.0.0.dyn_partitions()
    }
    fn dyn_wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.0.0.dyn_wide(out);
    }
    fn dyn_known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        self.0.0.dyn_known_len(cx, part)
    }
    fn dyn_input_records(&self) -> usize {
        self.0.0.dyn_input_records()
    }
    fn dyn_input_partition(&self, part: usize) -> u64 {
        self.0.0.dyn_input_partition(part)
    }
    fn dyn_unpersist(&self) -> bool {
        self.0.0.dyn_unpersist()
    }
    fn dyn_about(&self) -> About {
        self.0.0.dyn_about()
    }
    fn dyn_lineage(&self, out: &mut Lineage) {
        self.0.0.dyn_lineage(out);
    }
    fn dyn_captures(&self, _: &mut Vec<Captured>) {}
    fn is_base(&self) -> bool {
        true
    }
    fn chunks(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        sink: &mut dyn FnMut(&mut Vec<T>) -> Flow,
    ) -> Result<(), TaskError> {
        self.0.0.chunks(cx, part, sink)
    }
}

/// Any [`Pipe`] of `T`: what [`Rdd<T>`](crate::Rdd) means without a second parameter.
pub struct Erased<T>(pub(crate) Arc<dyn DynPipe<T>>);

impl<T: 'static> Erased<T> {
    pub(crate) fn new(p: Arc<impl Pipe<Out = T>>) -> Erased<T> {
        Erased(p)
    }
}

impl<T> Clone for Erased<T> {
    fn clone(&self) -> Self {
        Erased(self.0.clone())
    }
}

impl<T> fmt::Debug for Erased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Erased({} partitions)", self.0.dyn_partitions())
    }
}

impl<T: 'static> Pipe for Erased<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.0.dyn_partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.0.dyn_wide(out);
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        self.0.dyn_known_len(cx, part)
    }
    fn input_records(&self) -> usize {
        self.0.dyn_input_records()
    }
    fn input_partition(&self, part: usize) -> u64 {
        self.0.dyn_input_partition(part)
    }
    fn erase(self: Arc<Self>) -> Erased<T> {
        (*self).clone()
    }
    fn unpersist(&self) -> bool {
        self.0.dyn_unpersist()
    }
    fn about(&self) -> About {
        self.0.dyn_about()
    }
    fn lineage(&self, out: &mut Lineage) {
        self.0.dyn_lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        if !self.0.is_base() {
            let before = out.len();
            self.0.dyn_captures(out);
            if out.len() == before {
                // Whatever is inside: its type can't be told from here.
                let site = Site::here("boxed");
                out.push(Captured { site, why: Unshippable::Boxed });
            }
        }
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, T) -> A,
    ) -> Result<A, TaskError> {
        let mut acc = Some(init);
        let mut checked = Ok(());
        self.0.chunks(cx, part, &mut |c| {
            if let Some(a) = acc.take() {
                acc = Some(c.drain(..).fold(a, &mut f));
            }
            checked = cx.check();
            if checked.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        checked?;
        acc.ok_or_else(|| TaskError::Bug("a chunk swallowed the accumulator".into()))
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        let mut r = Flow::Continue(());
        let mut checked = Ok(());
        self.0.chunks(cx, part, &mut |c| {
            r = c.drain(..).try_for_each(&mut f);
            checked = cx.check();
            if checked.is_ok() { r } else { Flow::Break(()) }
        })?;
        checked.map(|()| r)
    }
    fn rebuild(base: &dyn Any) -> Option<Self> {
        base.downcast_ref::<Erased<T>>().cloned()
    }
}
