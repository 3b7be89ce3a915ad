//! `foreach_rdd`: each batch's RDD handed to a closure on the driver.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::output::AnyNode;
use super::{DStream, Graph, GraphRef, Kind, Node, Operator, Output};
use crate::data::Data;
use crate::engine::{OpId, Site, panic_text};
use crate::error::BoxError;
use crate::rdd::erased::Base;
use crate::rdd::{Erased, Origin, Outcome, Rdd, Travel};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

struct ForeachRdd<T, F> {
    id: OpId,
    site: Site,
    node: AnyNode<T>,
    f: Mutex<F>,
    /// How often each batch has been tried.
    attempts: Mutex<BTreeMap<Time, u32>>,
}

impl<T: Data, O: Outcome, F: FnMut(Rdd<T>, Time) -> O + Send> Operator for ForeachRdd<T, F> {
    fn lineage(&self, _: &Graph, _: Time) -> Result<()> {
        Ok(())
    }

    fn run(&self, graph: &Graph, t: Time) -> Result<()> {
        let Some(pipe) = self.node.dyn_at(&GraphRef(graph), t)? else { return Ok(()) };
        let base = Erased(Arc::new(Base(pipe)));
        let rdd = Rdd::new(&graph.ctx, Arc::new(base), self.origin(t));
        let mut f = self.f.get();
        let done = catch_unwind(AssertUnwindSafe(|| f(rdd, t).outcome()));
        user_result(self.site, t, done)
    }

    fn forget(&self, up_to: Time) {
        self.attempts.get().retain(|t, _| *t > up_to);
    }

    fn base(&self, graph: &Graph, t: Time) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        let pipe = self.node.dyn_at(&GraphRef(graph), t)?;
        Ok(pipe.map(|p| Box::new(p) as Box<dyn Any + Send + Sync>))
    }
}

impl<T, F> ForeachRdd<T, F> {
    fn origin(&self, t: Time) -> Arc<Origin> {
        let mut attempts = self.attempts.get();
        let n = attempts.entry(t).or_insert(0);
        *n += 1;
        Origin::attempt(self.id, t, Travel::Shipped, *n - 1)
    }
}

/// What became of a user closure on the driver: our own errors as they are, the user's with the place.
pub(crate) fn user_result<R>(
    site: Site,
    time: Time,
    done: std::thread::Result<std::result::Result<R, BoxError>>,
) -> Result<R> {
    let cause: BoxError = match done {
        Ok(Ok(r)) => return Ok(r),
        Ok(Err(e)) => match e.downcast::<Error>() {
            Ok(ours) => return Err(*ours),
            Err(theirs) => theirs,
        },
        Err(p) => format!("panicked: {}", panic_text(&*p)).into(),
    };
    Err(Error::Output { site, time, cause: cause.into() })
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Hands each batch's RDD to `f`, on the driver, one batch at a time and in order. Actions on the RDD
    /// run jobs. `f` may return `Result`; `?` on actions works, with a last expression such as
    /// `Ok::<_, brooklet::Error>(())`.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use std::sync::{Arc, Mutex};
    /// let seen = Arc::new(Mutex::new(Vec::new()));
    /// let s = seen.clone();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<i32>();
    ///     numbers.foreach_rdd(move |rdd, time| {
    ///         s.lock().unwrap().push((time.millis(), rdd.count()?));
    ///         Ok::<_, brooklet::Error>(())
    ///     });
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(*seen.lock().unwrap(), [(1_000, 3)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn foreach_rdd<O: Outcome, F>(&self, f: F) -> Output
    where
        F: FnMut(Rdd<T>, Time) -> O + Send + 'static,
    {
        let site = Site::here("foreach_rdd");
        let path = format!("{}/{}", self.path, site.op);
        let node = self.erased_node();
        let mut op = OpId::default();
        self.graph.add(&path, Kind::Output, site, |id| {
            op = id;
            Arc::new(ForeachRdd { id, site, node, f: Mutex::new(f), attempts: Mutex::default() })
        });
        Output::new(&self.graph, op)
    }
}
