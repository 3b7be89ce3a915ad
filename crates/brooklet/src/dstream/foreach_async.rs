//! `foreach_async` and `foreach_partition_async`: outputs whose work is a future, such as a request to a
//! service.

use std::future::Future;
use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet, LocalSet};

use super::{DStream, Node, Output};
use crate::conf::defaults;
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};
use crate::error::BoxError;
use crate::rdd::pipe::{Flow, Pipe, pushed};
use crate::rdd::{Outcome, PartitionIter, user_failure};
use crate::time::Time;

/// The futures of one task. They are polled on the task's own thread, so that they may compute, block and
/// count into accumulators; the context's I/O runtime drives their sockets and timers. Dropping this drops
/// what is in flight.
struct Flight<'a, 'b> {
    cx: &'a TaskCx<'b>,
    site: Site,
    runtime: Handle,
    local: LocalSet,
    inside: JoinSet<Result<(), BoxError>>,
}

impl<'a, 'b> Flight<'a, 'b> {
    fn new(cx: &'a TaskCx<'b>, site: Site) -> Result<Self, TaskError> {
        let runtime = cx.io().map_err(|e| TaskError::Input {
            message: format!("{site}: the runtime for input and output can't be started: {e}"),
        })?;
        Ok(Flight { cx, site, runtime, local: LocalSet::new(), inside: JoinSet::new() })
    }

    /// Sends a future off, when fewer than `limit` are in flight; waits for others before.
    fn launch<O: Outcome>(
        &mut self,
        limit: usize,
        future: impl Future<Output = O> + 'static,
    ) -> Result<(), TaskError> {
        while self.inside.len() >= limit {
            self.land()?;
        }
        self.inside.spawn_local_on(async move { future.await.outcome() }, &self.local);
        Ok(())
    }

    /// Waits for one of the futures.
    fn land(&mut self) -> Result<(), TaskError> {
        let (cx, inside) = (self.cx, &mut self.inside);
        let stopped = async {
            loop {
                if let Err(e) = cx.check() {
                    break e;
                }
                tokio::time::sleep(defaults::CANCEL_CHECK).await;
            }
        };
        let next = async {
            tokio::select! {
                biased;
                e = stopped => Err(e),
                ended = inside.join_next() => Ok(ended),
            }
        };
        match self.runtime.block_on(self.local.run_until(next))? {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(user_failure(&self.site, cx, e)),
            Some(Err(e)) => Err(self.lost(e)),
        }
    }

    /// A future that panicked goes on panicking here, under the operator's name.
    fn lost(&self, e: JoinError) -> TaskError {
        match e.try_into_panic() {
            Ok(panic) => self.site.guard(|| resume_unwind(panic)),
            Err(e) => TaskError::Bug(format!("a future of {} is gone: {e}", self.site)),
        }
    }

    /// Waits for all that are left.
    fn finish(mut self) -> Result<(), TaskError> {
        while !self.inside.is_empty() {
            self.land()?;
        }
        self.cx.check()
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Calls `f` once for each partition of each batch, also for empty ones, in tasks, as
    /// [`DStream::foreach_partition`], and waits for the future it returns: for clients that are `async`.
    ///
    /// The future is polled on the task's thread, within the context's I/O runtime: it may use tokio's
    /// sockets and timers, spawn tokio tasks, and block. It may give a `Result`. An error or a panic fails
    /// the task, and a failed task is tried again, so effects may happen more than once. When the job is
    /// cancelled, the future is dropped where it waits.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    /// let sent = Arc::new(AtomicU64::new(0));
    /// let s = sent.clone();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<u64>();
    ///     numbers.foreach_partition_async(move |records, _time| {
    ///         let s = s.clone();
    ///         async move {
    ///             tokio::task::yield_now().await; // a request
    ///             s.fetch_add(records.sum::<u64>(), Ordering::Relaxed);
    ///         }
    ///     });
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(sent.load(Ordering::Relaxed), 6);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn foreach_partition_async<O, R, F>(&self, f: F) -> Output
    where
        O: Outcome,
        R: Future<Output = O> + Send + 'static,
        F: Fn(PartitionIter<T>, Time) -> R + Send + Sync + 'static,
    {
        let site = Site::here("foreach_partition_async");
        self.task_output(
            site,
            move |p: &N::Pipe, cx| {
                let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
                cx.check()?;
                let mut flight = Flight::new(cx, site)?;
                let batch = cx.task().stage.batch;
                flight.launch(1, site.guard(|| f(records.into_iter(), batch)))?;
                flight.finish()
            },
            |r, _| r.run(0..r.partitions()).map(drop),
        )
    }

    /// Calls `f` for each record of each batch, in tasks, and waits for the futures it returns, of which at
    /// most `in_flight` (at least 1) are under way in each task. Futures are sent off in the order of
    /// records and may end in any. For the rest as [`DStream::foreach_partition_async`]: after the first
    /// error nothing more is sent off, and what is under way is dropped.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    /// let sent = Arc::new(AtomicU64::new(0));
    /// let s = sent.clone();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<u64>();
    ///     numbers.foreach_async(8, move |x, _time| {
    ///         let s = s.clone();
    ///         async move {
    ///             tokio::task::yield_now().await; // a request
    ///             s.fetch_add(x, Ordering::Relaxed);
    ///             Ok::<_, std::io::Error>(())
    ///         }
    ///     });
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(sent.load(Ordering::Relaxed), 6);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn foreach_async<O, R, F>(&self, in_flight: usize, f: F) -> Output
    where
        O: Outcome,
        R: Future<Output = O> + Send + 'static,
        F: Fn(T, Time) -> R + Send + Sync + 'static,
    {
        let (site, limit) = (Site::here("foreach_async"), in_flight.max(1));
        self.task_output(
            site,
            move |p: &N::Pipe, cx| {
                let batch = cx.task().stage.batch;
                let mut flight = Flight::new(cx, site)?;
                let mut failed = None;
                let _ = p.try_each(cx, cx.partition(), |x| {
                    match flight.launch(limit, site.guard(|| f(x, batch))) {
                        Ok(()) => Flow::Continue(()),
                        Err(e) => {
                            failed = Some(e);
                            Flow::Break(())
                        }
                    }
                })?;
                failed.map_or_else(|| flight.finish(), Err)
            },
            |r, _| r.run(0..r.partitions()).map(drop),
        )
    }
}
