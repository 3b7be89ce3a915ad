//! `transform`: any RDD-to-RDD function, evaluated once per batch on the driver, as a step before the
//! outputs. `transform_with` and the joins are the same on two streams.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::foreach_rdd::user_result;
use super::{DStream, DynNode, Graph, GraphRef, Kind, LineageNode, Memo, Node, Operator};
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
type Eval<U> = dyn Fn(&Graph, Time, &Arc<Origin>) -> Result<Option<Rdd<U>>> + Send + Sync;

struct Transform<U> {
    id: OpId,
    site: Site,
    slide: Duration,
    eval: Box<Eval<U>>,
    memo: Memo<U>,
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
    }
}

/// A function of two streams' RDDs.
pub(crate) struct TransformTwo<U> {
    eval: Box<Eval<U>>,
}

impl<U: Data> TransformTwo<U> {
    /// From a function of ours that runs no action.
    pub(crate) fn lineage_only<T: Data, W: Data, N: Node<Out = T>, M: Node<Out = W>>(
        a: &DStream<T, N>,
        b: &DStream<W, M>,
        site: Site,
        f: impl Fn(Rdd<T>, Rdd<W>, Time) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> TransformTwo<U> {
        let (a, b) = (a.erased_node(), b.erased_node());
        let eval = move |graph: &Graph, t: Time, origin: &Arc<Origin>| {
            let g = GraphRef(graph);
            let none = || Error::NoRdd { site, time: t };
            let a = a.dyn_at(&g, t)?.ok_or_else(none)?;
            let b = b.dyn_at(&g, t)?.ok_or_else(none)?;
            let a = Rdd::new(&graph.ctx, Arc::new(a), origin.clone());
            let b = Rdd::new(&graph.ctx, Arc::new(b), origin.clone());
            f(a, b, t).map(Some)
        };
        TransformTwo { eval: Box::new(eval) }
    }
}

/// A lineage-only operator on two streams.
#[track_caller]
pub(crate) fn both<T: Data, W: Data, U: Data, N: Node<Out = T>, M: Node<Out = W>>(
    a: &DStream<T, N>,
    b: &DStream<W, M>,
    site: Site,
    two: TransformTwo<U>,
) -> DStream<U> {
    let path = format!("({}+{})/{}", a.path, b.path, site.op);
    let slide = a.slide_duration();
    let mut op = OpId::default();
    let node = a.graph.add(&path, Kind::Lineage, site, |id| {
        op = id;
        Arc::new(LineageNode::new(slide, move |g, t| {
            let origin = Origin::new(id, t, Travel::Replayed);
            Ok((two.eval)(g, t, &origin)?.map(|r| (*r.pipe).clone()))
        }))
    });
    DStream::boundary(&a.graph, node, &path, op)
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
        let (node, slide) = (self.erased_node(), self.slide_duration());
        self.operator(Kind::Step, site, |id| Transform {
            id,
            site,
            slide,
            memo: Memo::default(),
            eval: Box::new(move |graph, t, origin| {
                let none = || Error::NoRdd { site, time: t };
                let p = node.dyn_at(&GraphRef(graph), t)?.ok_or_else(none)?;
                let rdd = Rdd::new(&graph.ctx, Arc::new(p), origin.clone());
                let done = catch_unwind(AssertUnwindSafe(|| f(rdd, t).into_rdd()));
                user_result(site, t, done).map(Some)
            }),
        })
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
        let two = TransformTwo::lineage_only(self, other, site, move |a, b, t| {
            let done = catch_unwind(AssertUnwindSafe(|| f(a, b, t).into_rdd()));
            user_result(site, t, done)
        });
        let path = format!("({}+{})/{}", self.path, other.path, site.op);
        let slide = self.slide_duration();
        let mut op = OpId::default();
        let node = self.graph.add(&path, Kind::Step, site, |id| {
            op = id;
            Arc::new(Transform { id, site, slide, eval: two.eval, memo: Memo::default() })
        });
        DStream::boundary(&self.graph, node, &path, op)
    }
}

impl<U> fmt::Debug for Transform<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
