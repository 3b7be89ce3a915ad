//! `fold_by_key`: the values of each key added up with one function.

use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::{Partitioner, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The values of each key added up by `f`, beginning with `zero` for each key in each partition.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(1, 2), (1, 3), (2, 4)], 1);
    /// let mut products = pairs.fold_by_key(10, |a, b| a * b).collect()?;
    /// products.sort();
    /// assert_eq!(products, [(1, 60), (2, 40)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn fold_by_key<F>(&self, zero: V, f: F) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Clone + Send + Sync + 'static,
    {
        self.aggregated(zero, f.clone(), f, self.by_default(), Site::here("fold_by_key"))
    }

    /// [`Rdd::fold_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn fold_by_key_into<F>(&self, zero: V, f: F, partitions: usize) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Clone + Send + Sync + 'static,
    {
        let parts = Partitioning::hash(partitions);
        self.aggregated(zero, f.clone(), f, parts, Site::here("fold_by_key"))
    }

    /// [`Rdd::fold_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn fold_by_key_with<F>(
        &self,
        zero: V,
        f: F,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Clone + Send + Sync + 'static,
    {
        let site = Site::here("fold_by_key");
        self.aggregated(zero, f.clone(), f, Partitioning::user(partitioner, site), site)
    }
}
