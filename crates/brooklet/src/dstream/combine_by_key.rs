//! `combine_by_key`: the values of each key of a batch combined into a value of another type.

use super::{DStream, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;
use crate::rdd::Partitioner;
use crate::rdd::combine::ByCombine;
use crate::rdd::partitioner::Partitioning;
use crate::rdd::shuffle::ReduceSpec;

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The values of each key of a batch combined into a `C`: `create` of a key's first value in a
    /// partition, `add` for further ones, `merge` across partitions, in as many partitions as the default
    /// parallelism.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 2.0), (2, 5.0), (1, 4.0)]], |s| {
    ///     s.combine_by_key(|x| (x, 1), |(s, n), x| (s + x, n + 1), |a, b| (a.0 + b.0, a.1 + b.1))
    ///         .map_values(|(sum, n)| sum / f64::from(n))
    ///         .boxed()
    /// });
    /// assert_eq!(out, [[(1, 3.0), (2, 5.0)]]);
    /// ```
    #[track_caller]
    pub fn combine_by_key<C, A, B, M>(&self, create: A, add: B, merge: M) -> DStream<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let parts = Partitioning::Hash(self.graph.ctx.default_parallelism());
        let site = Site::here("combine_by_key");
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }

    /// [`DStream::combine_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn combine_by_key_into<C, A, B, M>(
        &self,
        create: A,
        add: B,
        merge: M,
        partitions: usize,
    ) -> DStream<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let (parts, site) = (Partitioning::Hash(partitions.max(1)), Site::here("combine_by_key"));
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }

    /// [`DStream::combine_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn combine_by_key_with<C, A, B, M>(
        &self,
        create: A,
        add: B,
        merge: M,
        partitioner: impl Partitioner<K>,
    ) -> DStream<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let site = Site::here("combine_by_key");
        let parts = by_user(site, partitioner);
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }
}
