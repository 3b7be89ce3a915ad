//! `subtract_by_key`: the pairs whose key another RDD doesn't have.

use super::flat_map::FlatMapPipe;
use super::join::Both;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::{Partitioner, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The pairs whose key `other` doesn't have, duplicates kept. Unless this RDD has a partitioner, into as
    /// many partitions as it has.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let users = ctx.parallelize([(1, 'a'), (2, 'b'), (2, 'c')], 2);
    /// let gone = ctx.parallelize([(1, ()), (5, ())], 1);
    /// assert_eq!(users.subtract_by_key(&gone).collect()?, [(2, 'b'), (2, 'c')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn subtract_by_key<W: Data, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let own = || Partitioning::hash(self.num_partitions());
        let parts = self.placed().unwrap_or_else(own);
        self.subtract_by_key_at(other, parts, Site::here("subtract_by_key"))
    }

    /// [`Rdd::subtract_by_key`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn subtract_by_key_into<W: Data, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let parts = Partitioning::hash(partitions);
        self.subtract_by_key_at(other, parts, Site::here("subtract_by_key"))
    }

    /// [`Rdd::subtract_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn subtract_by_key_with<W: Data, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("subtract_by_key");
        self.subtract_by_key_at(other, Partitioning::user(partitioner, site), site)
    }

    #[track_caller]
    pub(crate) fn subtract_by_key_at<W: Data, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioning: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(other);
        let about = partitioning.about();
        // Only the keys of the other side have to travel.
        let other = other.map_values(|_| ());
        let groups = self.cogroup_at(&other, partitioning, site);
        let rest = |(k, (values, others)): (K, Both<V, ()>)| {
            let values = if others.is_empty() { values } else { Vec::new() };
            values.into_iter().map(move |v| (k.clone(), v))
        };
        groups.narrow(|parent| FlatMapPipe { parent, f: rest.into(), site }).boxed().told(about)
    }
}
