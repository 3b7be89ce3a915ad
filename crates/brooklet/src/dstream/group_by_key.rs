//! `group_by_key`: each key of a batch with all its values.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::Memory;
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Partitioner};

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// Each key of a batch with all its values, in the order of partitions and records, in as many
    /// partitions as the default parallelism. The values of one key must fit in memory; prefer
    /// [`DStream::reduce_by_key`] where values can be merged.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 'a'), (2, 'b'), (1, 'c')]], |s| s.group_by_key());
    /// assert_eq!(out, [[(1, vec!['a', 'c']), (2, vec!['b'])]]);
    /// ```
    #[track_caller]
    pub fn group_by_key(&self) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let parts = self.graph.ctx.default_parallelism();
        self.grouped(Partitioning::Hash(parts), Site::here("group_by_key"))
    }

    /// [`DStream::group_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn group_by_key_into(&self, partitions: usize) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        self.grouped(Partitioning::Hash(partitions.max(1)), Site::here("group_by_key"))
    }

    /// [`DStream::group_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn group_by_key_with(&self, partitioner: impl Partitioner<K>) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("group_by_key");
        self.grouped(by_user(site, partitioner), site)
    }

    #[track_caller]
    fn grouped(&self, partitioning: Partitioning<K>, site: Site) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let (node, slide) = (self.node.clone(), self.slide_duration());
        let memory: Arc<Memory<K, V>> = Arc::default();
        let kept = memory.clone();
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                let dealt = Dealt::new(&g.ctx.0, key, parent, &memory, &partitioning, site);
                let grouped = Grouped::new(dealt, partitioning.partitions(), site);
                Ok(Some(Erased::new(Arc::new(grouped))))
            })
            .on_forget(move || kept.tick())
        })
    }
}
