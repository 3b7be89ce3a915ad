//! `foreach_partition`: one call for each partition of each batch, in tasks.

use super::{DStream, Node, Output};
use crate::Time;
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::pipe::{Pipe, pushed};
use crate::rdd::{Outcome, PartitionIter, user_failure};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Calls `f` once for each partition of each batch, also for empty ones, in tasks: the place for one
    /// connection or one transaction (the records of a partition are buffered for the call), and the output that runs on a cluster whatever `f` captures. `f`
    /// may return `Result`; an error fails the task, and a failed task is tried again, so effects may
    /// happen more than once.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    /// let sum = Arc::new(AtomicU64::new(0));
    /// let s = sum.clone();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<u64>();
    ///     numbers.foreach_partition(move |records, _time| {
    ///         s.fetch_add(records.sum::<u64>(), Ordering::Relaxed);
    ///     });
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 6);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn foreach_partition<O: Outcome, F>(&self, f: F) -> Output
    where
        F: Fn(PartitionIter<T>, Time) -> O + Send + Sync + 'static,
    {
        let site = Site::here("foreach_partition");
        self.task_output(
            site,
            move |p: &N::Pipe, cx| {
                let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
                cx.check()?;
                let batch = cx.task().stage.batch;
                site.guard(|| f(records.into_iter(), batch))
                    .outcome()
                    .map_err(|e| user_failure(&site, cx, e))
            },
            |r, _| r.run(0..r.partitions()).map(drop),
        )
    }
}
