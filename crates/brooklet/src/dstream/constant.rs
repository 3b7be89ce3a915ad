//! `constant_stream`: the same RDD in every batch.

use std::sync::Arc;

use super::{DStream, Kind, LineageNode};
use crate::StreamingContext;
use crate::data::Data;
use crate::engine::{OpId, Site};
use crate::rdd::{Pipe, Rdd};

impl StreamingContext {
    /// A stream that has `rdd` in every batch: a table to join with, a heartbeat. The RDD must be made
    /// inside the program that builds the streams (`ssc.context().parallelize(..)`), not from a stream.
    /// What it shuffles or persists is computed once, not once per batch. It counts as no input: batches
    /// report no records of it.
    ///
    /// ```
    /// use brooklet::testing::{Collector, Driver};
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// let mut driver = Driver::new(move |ssc| {
    ///     let names = ssc.context().parallelize([(1, "ann".to_string()), (2, "bob".into())], 2);
    ///     let (queue, clicks) = ssc.queue_stream::<(i32, u64)>();
    ///     let s = s.clone();
    ///     clicks.join(&ssc.constant_stream(&names)).foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([(2, 7), (3, 8)]);
    /// driver.batches(2)?;
    /// assert_eq!(seen.batches(), [vec![(2, (7, "bob".to_string()))], vec![]]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the RDD belongs to another context, or to a batch of a stream.
    #[track_caller]
    pub fn constant_stream<T: Data, P: Pipe<Out = T>>(&self, rdd: &Rdd<T, P>) -> DStream<T> {
        let site = Site::here("constant_stream");
        self.context().same_context(rdd);
        assert!(
            rdd.origin.is_plain(),
            "{site}: the RDD belongs to a batch of a stream, which is forgotten when the batch is over; make \
             it with `parallelize` or another method of `Context`"
        );
        let (graph, pipe) = (self.graph(), rdd.erased());
        let mut op = OpId::default();
        let node = graph.add(site.op, Kind::Lineage, site, |id| {
            op = id;
            Arc::new(LineageNode::new(graph.batch, move |_, _| Ok(Some(pipe.clone()))))
        });
        DStream::boundary(graph, node, site.op, op)
    }
}
