//! The records of a stream with their event times; those that can't be believed are left out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::source::{Source, Times};
use crate::Time;
use crate::data::Data;
use crate::dstream::{GraphRef, Node};
use crate::engine::{TaskBody, TaskCx, TaskError};
use crate::event_time::is_rejected;
use crate::rdd::pipe::{Captured, Flow, Unshippable};
use crate::rdd::{Lineage, Pipe};
use crate::sync::LockExt;

/// The node of `with_event_time`.
pub struct Stamped<N, F> {
    pub(super) parent: Arc<N>,
    pub(super) f: Arc<F>,
    pub(super) source: Arc<Source>,
}

impl<T: Data, N: Node<Out = T>, F: Fn(&T) -> Time + Send + Sync + 'static> Node for Stamped<N, F> {
    type Out = (Time, T);
    type Pipe = StampedPipe<N::Pipe, F>;
    fn at(&self, graph: &GraphRef<'_>, t: Time) -> crate::Result<Option<Arc<Self::Pipe>>> {
        let Some(parent) = self.parent.at(graph, t)? else { return Ok(None) };
        let (f, source) = (self.f.clone(), self.source.clone());
        let max_future = source.rules.get().max_future;
        Ok(Some(Arc::new(StampedPipe { parent, f, source, t, max_future })))
    }
    fn slide(&self, batch: Duration) -> Duration {
        self.parent.slide(batch)
    }
}

impl<N, F> fmt::Debug for Stamped<N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// The lineage of `with_event_time`.
pub struct StampedPipe<P, F> {
    parent: Arc<P>,
    f: Arc<F>,
    source: Arc<Source>,
    t: Time,
    max_future: Duration,
}

impl<P, F> StampedPipe<P, F> {
    /// Nothing seen yet.
    fn times(&self, part: usize) -> Times
    where
        P: Pipe,
    {
        Times { input: self.parent.input_partition(part), ..Times::default() }
    }

    /// The record with its time, if that can be believed.
    #[inline(always)]
    fn stamp<T>(&self, seen: &mut Times, x: T) -> Option<(Time, T)>
    where
        F: Fn(&T) -> Time,
    {
        let event = self.source.site.guard(|| (self.f)(&x));
        if is_rejected(event, self.t, self.max_future) {
            seen.rejected += 1;
            seen.furthest = seen.furthest.max(Some(event));
            return None;
        }
        seen.max = seen.max.max(Some(event));
        Some((event, x))
    }
}

impl<T, P, F> Pipe for StampedPipe<P, F>
where
    T: 'static,
    P: Pipe<Out = T>,
    F: Fn(&T) -> Time + Send + Sync + 'static,
{
    type Out = (Time, T);
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn input_partition(&self, part: usize) -> u64 {
        self.parent.input_partition(part)
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.source.site, self.parent.partitions());
        self.parent.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
        let why = Unshippable::Captures(size_of::<Self>());
        out.push(Captured { site: self.source.site, why });
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, (Time, T)) -> A,
    ) -> Result<A, TaskError> {
        let mut seen = self.times(part);
        let all = self.parent.fold(cx, part, init, |a, x| match self.stamp(&mut seen, x) {
            Some(stamped) => g(a, stamped),
            None => a,
        })?;
        self.source.told.add((self.t, part, seen));
        Ok(all)
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut((Time, T)) -> Flow,
    ) -> Result<Flow, TaskError> {
        let mut seen = self.times(part);
        let flow = self.parent.try_each(cx, part, |x| match self.stamp(&mut seen, x) {
            Some(stamped) => g(stamped),
            None => Flow::Continue(()),
        })?;
        // Who hasn't gone through all of them has nothing to tell.
        if flow.is_continue() {
            self.source.told.add((self.t, part, seen));
        }
        Ok(flow)
    }
}

impl<P, F> fmt::Debug for StampedPipe<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
