//! `transform_with_data`: a transform with data that changes between batches.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::foreach_rdd::user_result;
use super::transform::step;
use super::{DStream, Graph, IntoRdd, Node};
use crate::data::{Data, Wire};
use crate::engine::{Broadcast, Site};
use crate::rdd::{Origin, Rdd};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// The data of each batch, made once and kept until the batch is forgotten.
struct PerBatch<D, F> {
    site: Site,
    make: F,
    made: Mutex<BTreeMap<Time, Broadcast<D>>>,
}

impl<D: Wire, F: Fn(Time) -> D> PerBatch<D, F> {
    /// The data of `t`. It is recorded before every action of the closure, so that another process gets it
    /// instead of making its own.
    fn at(&self, graph: &Graph, t: Time, origin: &Origin) -> Result<Broadcast<D>> {
        let inner = &graph.ctx.0;
        let number = origin.next_action();
        if inner.executor {
            let recorded = inner.replayed(origin.op, t, number);
            let none = || Error::Bug(format!("{}: no data came for batch {t}", self.site));
            let data = recorded.ok_or_else(none)?.take::<Vec<D>>()?.pop().ok_or_else(none)?;
            return Ok(Broadcast::new(data, false)?);
        }
        let known = self.made.get().get(&t).cloned();
        let data = match known {
            Some(data) => data,
            None => {
                let done = catch_unwind(AssertUnwindSafe(|| Ok((self.make)(t))));
                let data = graph.ctx.broadcast(user_result(self.site, t, done)?)?;
                self.made.get().insert(t, data.clone());
                data
            }
        };
        if inner.engine()?.remote() {
            inner.record_replay(origin.op, t, number, std::slice::from_ref(&*data))?;
        }
        Ok(data)
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// [`DStream::transform`] with data that may change from batch to batch: a table that is read again,
    /// thresholds, a black list. `data` is called once per batch, on the driver; what it gives is a
    /// [`Broadcast`] for `f` and for the closures that `f` makes, is recorded with the batch, and is the
    /// same when the batch is tried again or evaluated in another process. `data` must not look at the
    /// stream; what else it reads (files, databases, shared memory) is its own business. Where it can fail,
    /// let it return a `Result<D, String>` and pass the error on in `f` with `?`.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 5], vec![1, 5]], |s| {
    ///     s.transform_with_data(
    ///         |time| time.millis() / 1_000,
    ///         |least, rdd| rdd.filter(move |x| *x > *least),
    ///     )
    /// });
    /// assert_eq!(out, [[5], [5]]);
    /// ```
    #[track_caller]
    pub fn transform_with_data<D: Wire, U: Data, R: IntoRdd<U>>(
        &self,
        data: impl Fn(Time) -> D + Send + Sync + 'static,
        f: impl Fn(Broadcast<D>, Rdd<T>) -> R + Send + Sync + 'static,
    ) -> DStream<U> {
        let site = Site::here("transform_with_data");
        let data = Arc::new(PerBatch { site, make: data, made: Mutex::default() });
        let (parent, of_batch) = (self.parent(), data.clone());
        let eval = move |graph: &Graph, t: Time, origin: &Arc<Origin>| {
            let rdd = parent.rdd(graph, t, site, origin)?;
            let data = of_batch.at(graph, t, origin)?;
            let done = catch_unwind(AssertUnwindSafe(|| f(data, rdd).into_rdd()));
            user_result(site, t, done).map(Some)
        };
        let forget = move |up_to: Time| data.made.get().retain(|t, _| *t > up_to);
        let path = format!("{}/{}", self.path, site.op);
        let slide = self.slide_duration();
        step(&self.graph, &path, slide, site, Box::new(eval), Some(Box::new(forget)))
    }
}
