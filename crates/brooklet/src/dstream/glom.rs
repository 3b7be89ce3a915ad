//! `glom`: the records of each partition as one vector.

use super::map_partitions::MapPartitions;
use super::{DStream, Node};
use crate::data::Data;
use crate::rdd::PartitionIter;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// One vector for each partition of each batch, also for empty ones.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// // Two partitions a batch here.
    /// assert_eq!(run([vec![1, 2, 3]], |s| s.glom().boxed()), [[vec![1], vec![2, 3]]]);
    /// ```
    #[track_caller]
    pub fn glom(
        &self,
    ) -> DStream<
        Vec<T>,
        MapPartitions<N, impl Fn(usize, PartitionIter<T>) -> [Vec<T>; 1] + Send + Sync + 'static>,
    > {
        self.map_partitions(|records| [records.collect()])
    }
}
