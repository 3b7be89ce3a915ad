//! `map_partitions`: one call for each partition of a batch, also for empty ones.

use super::{DStream, Node, narrow_node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::PartitionIter;
use crate::rdd::map_partitions::MapPartitionsPipe;

narrow_node! {
    /// The node of `map_partitions`.
    MapPartitions, MapPartitionsPipe,
    [I: IntoIterator + 'static, F: Fn(usize, PartitionIter<N::Out>) -> I + Send + Sync + 'static],
    I::Item
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// `f` of each partition of each batch as a whole. The records of a partition are buffered for the
    /// call.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2], vec![3]], |s| s.map_partitions(|xs| [xs.sum::<i32>()]).boxed());
    /// // Two partitions a batch here.
    /// assert_eq!(out, [vec![1, 2], vec![0, 3]]);
    /// ```
    #[track_caller]
    pub fn map_partitions<I, F>(
        &self,
        f: F,
    ) -> DStream<
        I::Item,
        MapPartitions<
            N,
            impl Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static + use<T, N, I, F>,
        >,
    >
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(PartitionIter<T>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("map_partitions");
        let f = move |_: usize, records: PartitionIter<T>| f(records);
        self.narrow(|parent| MapPartitions { parent, f: f.into(), site })
    }

    /// Like [`DStream::map_partitions`], with the partition's number, from 0.
    #[track_caller]
    pub fn map_partitions_with_index<I, F>(&self, f: F) -> DStream<I::Item, MapPartitions<N, F>>
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("map_partitions_with_index");
        self.narrow(|parent| MapPartitions { parent, f: f.into(), site })
    }
}
