//! `partition_by`: pairs in the partitions that their keys belong to.

use std::sync::Arc;

use super::group::Partitioned;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::{Erased, Partitioner, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The pairs, each in the partition that `partitioner` names for its key, in the order of partitions and
    /// records. Joins and groupings by the same partitioner move nothing then.
    ///
    /// ```
    /// use brooklet::Partitioner;
    /// struct EvenOdd;
    /// impl Partitioner<u32> for EvenOdd {
    ///     fn partitions(&self) -> usize { 2 }
    ///     fn partition(&self, key: &u32) -> usize { (key % 2) as usize }
    ///     fn name(&self) -> String { "even-odd".into() }
    /// }
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(1, 'a'), (2, 'b'), (3, 'c')], 2).partition_by(EvenOdd);
    /// assert_eq!(pairs.collect()?, [(2, 'b'), (1, 'a'), (3, 'c')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn partition_by(&self, partitioner: impl Partitioner<K>) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("partition_by");
        self.partitioned(Partitioning::user(partitioner, site), site)
    }

    /// [`Rdd::partition_by`] by the hash of keys, into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn partition_by_hash(&self, partitions: usize) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        self.partitioned(Partitioning::hash(partitions), Site::here("partition_by_hash"))
    }

    fn partitioned(&self, partitioning: Partitioning<K>, site: Site) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        if self.lies_in(&partitioning) {
            return self.boxed();
        }
        let dealt = self.dealt(&self.origin, &partitioning, site);
        let pipe = Partitioned::new(dealt, partitioning.partitions(), site);
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone())
    }
}
