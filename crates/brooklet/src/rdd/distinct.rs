//! `distinct`, `intersection` and `subtract`: RDDs as sets.

use super::combine::ByReduce;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::shuffle::ReduceSpec;
use super::{Partitioner, Rdd};
use crate::data::{Data, Key};
use crate::engine::Site;

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The records as keys without values.
    fn bare(
        &self,
    ) -> Rdd<
        (T, ()),
        super::map::MapPipe<P, impl Fn(T) -> (T, ()) + Send + Sync + 'static + use<T, P>>,
    > {
        self.map(|x| (x, ()))
    }

    /// Each record once, however often it occurs. By a shuffle.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let mut d = ctx.parallelize([3, 1, 3, 1, 2], 2).distinct().collect()?;
    /// d.sort();
    /// assert_eq!(d, [1, 2, 3]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn distinct(&self) -> Rdd<T>
    where
        T: Key,
    {
        let bare = self.bare();
        let parts = bare.by_default();
        bare.distinct_at(parts, Site::here("distinct"))
    }

    /// [`Rdd::distinct`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn distinct_into(&self, partitions: usize) -> Rdd<T>
    where
        T: Key,
    {
        self.bare().distinct_at(Partitioning::hash(partitions), Site::here("distinct"))
    }

    /// The records that both have, each once. By a shuffle.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (a, b) = (ctx.parallelize([1, 2, 2, 3], 2), ctx.parallelize([2, 2, 3, 4], 2));
    /// let mut both = a.intersection(&b).collect()?;
    /// both.sort();
    /// assert_eq!(both, [2, 3]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn intersection<Q: Pipe<Out = T>>(&self, other: &Rdd<T, Q>) -> Rdd<T>
    where
        T: Key,
    {
        let (a, b) = (self.bare(), other.bare());
        let parts = a.by_default_with(&b);
        a.intersection_at(&b, parts, Site::here("intersection"))
    }

    /// [`Rdd::intersection`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn intersection_into<Q: Pipe<Out = T>>(
        &self,
        other: &Rdd<T, Q>,
        partitions: usize,
    ) -> Rdd<T>
    where
        T: Key,
    {
        let parts = Partitioning::hash(partitions);
        self.bare().intersection_at(&other.bare(), parts, Site::here("intersection"))
    }

    /// [`Rdd::intersection`] with the user's own partitioning of records.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn intersection_with<Q: Pipe<Out = T>>(
        &self,
        other: &Rdd<T, Q>,
        partitioner: impl Partitioner<T>,
    ) -> Rdd<T>
    where
        T: Key,
    {
        let site = Site::here("intersection");
        let parts = Partitioning::user(partitioner, site);
        self.bare().intersection_at(&other.bare(), parts, site)
    }

    /// The records that `other` doesn't have, duplicates kept. By a shuffle into as many partitions as this
    /// RDD has.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (a, b) = (ctx.parallelize([1, 1, 2, 3], 2), ctx.parallelize([2, 4], 2));
    /// let mut rest = a.subtract(&b).collect()?;
    /// rest.sort();
    /// assert_eq!(rest, [1, 1, 3]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn subtract<Q: Pipe<Out = T>>(&self, other: &Rdd<T, Q>) -> Rdd<T>
    where
        T: Key,
    {
        let parts = Partitioning::hash(self.num_partitions());
        self.bare().subtract_by_key_at(&other.bare(), parts, Site::here("subtract")).keys().boxed()
    }

    /// [`Rdd::subtract`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn subtract_into<Q: Pipe<Out = T>>(&self, other: &Rdd<T, Q>, partitions: usize) -> Rdd<T>
    where
        T: Key,
    {
        let (site, parts) = (Site::here("subtract"), Partitioning::hash(partitions));
        self.bare().subtract_by_key_at(&other.bare(), parts, site).keys().boxed()
    }

    /// [`Rdd::subtract`] with the user's own partitioning of records.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn subtract_with<Q: Pipe<Out = T>>(
        &self,
        other: &Rdd<T, Q>,
        partitioner: impl Partitioner<T>,
    ) -> Rdd<T>
    where
        T: Key,
    {
        let site = Site::here("subtract");
        let parts = Partitioning::user(partitioner, site);
        self.bare().subtract_by_key_at(&other.bare(), parts, site).keys().boxed()
    }
}

impl<T: Key, P: Pipe<Out = (T, ())>> Rdd<(T, ()), P> {
    fn distinct_at(&self, partitioning: Partitioning<T>, site: Site) -> Rdd<T> {
        self.combined(ReduceSpec::new(ByReduce(|(), ()| ()), partitioning, site)).keys().boxed()
    }

    #[track_caller]
    fn intersection_at<Q: Pipe<Out = (T, ())>>(
        &self,
        other: &Rdd<(T, ()), Q>,
        partitioning: Partitioning<T>,
        site: Site,
    ) -> Rdd<T> {
        self.ctx.same_context(other);
        let groups = self.cogroup_at(other, partitioning, site);
        let both =
            |(x, (a, b)): (T, (Vec<()>, Vec<()>))| (!a.is_empty() && !b.is_empty()).then_some(x);
        groups.filter_map(both).boxed()
    }
}
