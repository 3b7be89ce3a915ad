//! `transform`: any RDD-to-RDD function, evaluated once per batch on the driver, as a step before the
//! outputs. `transform_with` is the same on two streams.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::foreach_rdd::user_result;
use super::{DStream, DynNode, Graph, GraphRef, Kind, Memo, Node, Operator};
use crate::data::Data;
use crate::engine::{OpId, Site};
use crate::error::BoxError;
use crate::rdd::{Erased, Origin, Pipe, Rdd, Travel};
use crate::{Error, Result, Time};

/// What a `transform` closure may return: an RDD, or a `Result` with one.
pub trait IntoRdd<U: Data> {
    /// The RDD.
    ///
    /// # Errors
    /// What the closure returned.
    fn into_rdd(self) -> Result<Rdd<U>, BoxError>;
}

impl<U: Data, Q: Pipe<Out = U>> IntoRdd<U> for Rdd<U, Q> {
    fn into_rdd(self) -> Result<Rdd<U>, BoxError> {
        Ok(self.boxed())
    }
}

impl<U: Data, Q: Pipe<Out = U>, E: Into<BoxError>> IntoRdd<U> for Result<Rdd<U, Q>, E> {
    fn into_rdd(self) -> Result<Rdd<U>, BoxError> {
        self.map(|r| r.boxed()).map_err(Into::into)
    }
}

/// Evaluates the user's function at a batch time: nothing when a parent has no RDD.
pub(super) type Eval<U> =
    dyn Fn(&Graph, Time, &Arc<Origin>) -> Result<Option<Rdd<U>>> + Send + Sync;

struct Transform<U> {
    id: OpId,
    site: Site,
    slide: Duration,
    eval: Box<Eval<U>>,
    memo: Memo<U>,
    /// Called when batches are forgotten.
    on_forget: Option<Box<dyn Fn(Time) + Send + Sync>>,
}

/// A step on the streams of `path`, which ends with its own name.
#[track_caller]
pub(super) fn step<U: Data>(
    graph: &Arc<Graph>,
    path: &str,
    slide: Duration,
    site: Site,
    eval: Box<Eval<U>>,
    on_forget: Option<Box<dyn Fn(Time) + Send + Sync>>,
) -> DStream<U> {
    let mut op = OpId::default();
    let node = graph.add(path, Kind::Step, site, |id| {
        op = id;
        Arc::new(Transform { id, site, slide, eval, memo: Memo::default(), on_forget })
    });
    DStream::boundary(graph, node, path, op)
}

impl<U: Data> Transform<U> {
    fn evaluate(&self, graph: &Graph, t: Time) -> Result<Option<Erased<U>>> {
        let inner = &graph.ctx.0;
        let origin = Origin::new(self.id, t, Travel::Replayed);
        let result = (self.eval)(graph, t, &origin);
        if origin.paused.load(Relaxed) {
            // An executor has met an action whose result isn't known: its body is registered, and
            // whatever the closure made of the pause doesn't matter.
            return Ok(None);
        }
        let Some(rdd) = result? else { return Ok(None) };
        let mut h = DefaultHasher::new();
        (rdd.pipe.partitions(), origin.counts()).hash(&mut h);
        let shape = h.finish();
        if inner.replay_shape(self.id, t, shape) != shape {
            return Err(Error::usage(format!(
                "{}: the closure built another lineage in an executor than on the driver; it must \
                 depend only on its RDDs, the time and recorded actions",
                self.site
            )));
        }
        Ok(Some((*rdd.pipe).clone()))
    }
}

impl<U: Data> DynNode<U> for Transform<U> {
    fn dyn_at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Erased<U>>> {
        match self.memo.peek(t) {
            Some(p) => Ok(p),
            None if graph.0.ctx.0.executor => self.memo.get(t, || self.evaluate(graph.0, t)),
            None => Err(Error::Bug(format!("{} is read before its step at {t}", self.site))),
        }
    }
    fn dyn_slide(&self, _: Duration) -> Duration {
        self.slide
    }
}

impl<U: Data> Operator for Transform<U> {
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()> {
        // Replayed anew: the driver may have recorded more results since.
        let p = self.evaluate(graph, t)?;
        if p.is_some() {
            self.memo.set(t, p);
        }
        Ok(())
    }

    fn run(&self, graph: &Graph, t: Time) -> Result<()> {
        if !graph.on_grid(t, self.slide) {
            self.memo.set(t, None);
            return Ok(());
        }
        graph.ctx.0.forget_replay(self.id, t);
        let p = self.evaluate(graph, t)?;
        self.memo.set(t, p);
        Ok(())
    }

    fn roll_back(&self, t: Time) {
        self.memo.set(t, None);
    }

    fn forget(&self, up_to: Time) {
        self.memo.forget(up_to);
        if let Some(f) = &self.on_forget {
            f(up_to);
        }
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Any function of each batch's RDD, evaluated once per batch on the driver before the outputs run. It
    /// may use actions and RDDs that are no stream's; it may return `Result`. This stream must have an
    /// RDD for the batch.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![3, 4, 5]], |s| s.transform(|rdd| {
    ///     let most = rdd.reduce(|a, b| a.max(b))?.unwrap_or(0);
    ///     Ok::<_, brooklet::Error>(rdd.filter(move |x| *x < most))
    /// }));
    /// assert_eq!(out, [[3, 4]]);
    /// ```
    #[track_caller]
    pub fn transform<U: Data, R: IntoRdd<U>>(
        &self,
        f: impl Fn(Rdd<T>) -> R + Send + Sync + 'static,
    ) -> DStream<U> {
        self.transform_op(Site::here("transform"), move |rdd, _| f(rdd))
    }

    /// [`DStream::transform`] with the batch time.
    #[track_caller]
    pub fn transform_at<U: Data, R: IntoRdd<U>>(
        &self,
        f: impl Fn(Rdd<T>, Time) -> R + Send + Sync + 'static,
    ) -> DStream<U> {
        self.transform_op(Site::here("transform"), f)
    }

    #[track_caller]
    fn transform_op<U: Data, R: IntoRdd<U>>(
        &self,
        site: Site,
        f: impl Fn(Rdd<T>, Time) -> R + Send + Sync + 'static,
    ) -> DStream<U> {
        let parent = self.parent();
        let eval = move |graph: &Graph, t: Time, origin: &Arc<Origin>| {
            let rdd = parent.rdd(graph, t, site, origin)?;
            let done = catch_unwind(AssertUnwindSafe(|| f(rdd, t).into_rdd()));
            user_result(site, t, done).map(Some)
        };
        let path = format!("{}/{}", self.path, site.op);
        step(&self.graph, &path, self.slide_duration(), site, Box::new(eval), None)
    }

    /// [`DStream::transform_at`] of this stream and another one.
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn transform_with<W: Data, M: Node<Out = W>, U: Data, R: IntoRdd<U>>(
        &self,
        other: &DStream<W, M>,
        f: impl Fn(Rdd<T>, Rdd<W>, Time) -> R + Send + Sync + 'static,
    ) -> DStream<U> {
        self.same_context(other, "transform_with");
        let site = Site::here("transform_with");
        let (a, b) = (self.parent(), other.parent());
        let eval = move |graph: &Graph, t: Time, origin: &Arc<Origin>| {
            let a = a.rdd(graph, t, site, origin)?;
            let b = b.rdd(graph, t, site, origin)?;
            let done = catch_unwind(AssertUnwindSafe(|| f(a, b, t).into_rdd()));
            user_result(site, t, done).map(Some)
        };
        let path = format!("({}+{})/{}", self.path, other.path, site.op);
        step(&self.graph, &path, self.slide_duration(), site, Box::new(eval), None)
    }
}

impl<U> fmt::Debug for Transform<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
