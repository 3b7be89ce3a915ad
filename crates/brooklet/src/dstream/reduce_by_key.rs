//! `reduce_by_key`: the values of each key of a batch merged into one.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::combine::{ByReduce, Combine};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::shuffle::ReduceSpec;
use crate::rdd::{Erased, Partitioner};

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The values of each key of a batch, merged by `f` (associative and commutative), in as many partitions
    /// as the default parallelism. Values are merged within each partition first; the order of merging is
    /// fixed by partition and record order, so that a second attempt gives the same result to the bit.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![("a", 1), ("b", 2), ("a", 3)].into_iter().map(|(k, v)| (k.to_string(), v)).collect()],
    ///     |s| s.reduce_by_key(|a, b| a + b));
    /// assert_eq!(out, [[("a".to_string(), 4), ("b".to_string(), 2)]]);
    /// ```
    #[track_caller]
    pub fn reduce_by_key<F>(&self, f: F) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let parts = self.graph.ctx.default_parallelism();
        self.reduce_by_key_at(f, Partitioning::Hash(parts), Site::here("reduce_by_key"))
    }

    /// [`DStream::reduce_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn reduce_by_key_into<F>(&self, f: F, partitions: usize) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let parts = Partitioning::Hash(partitions.max(1));
        self.reduce_by_key_at(f, parts, Site::here("reduce_by_key"))
    }

    /// [`DStream::reduce_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn reduce_by_key_with<F, P>(&self, f: F, partitioner: P) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        P: Partitioner<K>,
    {
        let site = Site::here("reduce_by_key");
        self.reduce_by_key_at(f, by_user(site, partitioner), site)
    }

    #[track_caller]
    fn reduce_by_key_at<F>(
        &self,
        f: F,
        partitioning: Partitioning<K>,
        site: Site,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        self.combined(ReduceSpec::new(ByReduce(f), partitioning, site))
    }

    /// A combining shuffle of each batch.
    #[track_caller]
    pub(super) fn combined<C: Wire, F: Combine<V, C>>(
        &self,
        spec: ReduceSpec<K, C, F>,
    ) -> DStream<(K, C)>
    where
        K: Key,
    {
        let (node, slide, site) = (self.node.clone(), self.slide_duration(), spec.site);
        let memory = spec.memory.clone();
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                Ok(Some(Erased::new(Arc::new(spec.lineage(&g.ctx.0, key, parent)))))
            })
            .on_forget(move || memory.tick())
        })
    }
}
