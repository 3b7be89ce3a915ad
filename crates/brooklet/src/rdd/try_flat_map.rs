//! The fallible narrow operators: closures that return `Result`, with a policy for the errors.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Rdd;
use super::pipe::{Captured, Flow, Pipe, Unshippable};
use crate::data::Data;
use crate::engine::{Accumulator, LongSum, Site, TaskBody, TaskCx, TaskError};
use crate::error::BoxError;

/// What a fallible operator does with a record whose closure returned an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The task fails, with operator, call site and error. The default.
    #[default]
    Fail,
    /// The record is left out and counted (see
    /// [`StreamingContext::counters`](crate::StreamingContext::counters)).
    Skip,
}

/// [`OnError`] with the counter it needs.
#[derive(Clone)]
pub(crate) enum ErrorPolicy {
    Fail,
    Skip(Accumulator<LongSum>),
}

impl ErrorPolicy {
    #[cold]
    fn failed(&self, cx: &TaskCx<'_>, site: &Site, error: BoxError) {
        match self {
            ErrorPolicy::Fail => cx.record_failed(site, error),
            ErrorPolicy::Skip(count) => count.add(1),
        }
    }
}

/// The lineage of `try_map`, `try_filter` and `try_flat_map`.
pub struct TryFlatMapPipe<P, F> {
    pub(crate) parent: Arc<P>,
    pub(crate) f: Arc<F>,
    pub(crate) site: Site,
    pub(crate) policy: ErrorPolicy,
}

impl<P, F> fmt::Debug for TryFlatMapPipe<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}

impl<P: Pipe, I, E, F> Pipe for TryFlatMapPipe<P, F>
where
    I: IntoIterator + 'static,
    I::Item: 'static,
    E: Into<BoxError> + 'static,
    F: Fn(P::Out) -> Result<I, E> + Send + Sync + 'static,
{
    type Out = I::Item;
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
        out.push(Captured { site: self.site, why: Unshippable::Captures(size_of::<F>()) });
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&self.site, self.partitions());
        self.parent.lineage(out);
    }
    fn rebuild(_: &dyn Any) -> Option<Self> {
        None
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, I::Item) -> A,
    ) -> Result<A, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.fold(cx, part, init, move |a, x| {
            site.guard(|| match f(x) {
                Ok(records) => records.into_iter().fold(a, &mut g),
                Err(e) => {
                    self.policy.failed(cx, site, e.into());
                    a
                }
            })
        })
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(I::Item) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.try_each(cx, part, move |x| {
            site.guard(|| match f(x) {
                Ok(records) => records.into_iter().try_for_each(&mut g),
                Err(e) => {
                    self.policy.failed(cx, site, e.into());
                    Flow::Continue(())
                }
            })
        })
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// `map` with a closure that returns `Result`. An error fails the task (and after
    /// [`Conf::task_max_failures`](crate::Conf::task_max_failures) attempts the job), naming this call;
    /// nothing of the task is visible then.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let good = ctx.parallelize(["1", "2"].map(String::from), 2).try_map(|s| s.parse::<i32>());
    /// assert_eq!(good.collect()?, [1, 2]);
    /// let bad = ctx.parallelize(["1", "x"].map(String::from), 2).try_map(|s| s.parse::<i32>());
    /// assert!(bad.collect().unwrap_err().to_string().contains("try_map"));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn try_map<U: Data, E: Into<BoxError> + 'static, F>(
        &self,
        f: F,
    ) -> Rdd<
        U,
        TryFlatMapPipe<
            P,
            impl Fn(T) -> Result<Option<U>, E> + Send + Sync + 'static + use<T, P, U, E, F>,
        >,
    >
    where
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        let site = Site::here("try_map");
        let f = Arc::new(move |x| f(x).map(Some));
        self.narrow(|parent| TryFlatMapPipe { parent, f, site, policy: ErrorPolicy::Fail })
    }
}
