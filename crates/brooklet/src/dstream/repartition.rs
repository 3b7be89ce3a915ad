//! `repartition` and `partition_by`: the same records in other partitions.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::deal::Repartitioned;
use crate::rdd::group::{Dealt, Partitioned};
use crate::rdd::kept::Memory;
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Partitioner};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records of each batch in `partitions` partitions (at least 1), dealt out in turn by a shuffle,
    /// the same way at every attempt.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2, 3, 4]], |s| s.repartition(3).glom().map(|p| p.len()).boxed());
    /// assert_eq!(out, [[1, 2, 1]]);
    /// ```
    #[track_caller]
    pub fn repartition(&self, partitions: usize) -> DStream<T>
    where
        T: Wire,
    {
        let (site, node) = (Site::here("repartition"), self.node.clone());
        let slide = self.slide_duration();
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                let pipe = Repartitioned::new(&g.ctx.0, key, parent, partitions, site);
                Ok(Some(Erased::new(Arc::new(pipe))))
            })
        })
    }
}

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The pairs of each batch, each key in the partition that `partitioner` names; all pairs of a key in
    /// the order of partitions and records.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// use brooklet::Partitioner;
    /// struct EvenOdd;
    /// impl Partitioner<u32> for EvenOdd {
    ///     fn partitions(&self) -> usize { 2 }
    ///     fn partition(&self, key: &u32) -> usize { (key % 2) as usize }
    ///     fn name(&self) -> String { "even-odd".into() }
    /// }
    /// let out = run([vec![(1, 'a'), (2, 'b'), (3, 'c')]], |s| s.partition_by(EvenOdd));
    /// assert_eq!(out, [[(2, 'b'), (1, 'a'), (3, 'c')]]);
    /// ```
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn partition_by<P: Partitioner<K>>(&self, partitioner: P) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("partition_by");
        self.partitioned(by_user(site, partitioner), site)
    }

    /// The pairs of each batch in `partitions` partitions (at least 1), each key in the partition of its
    /// hash, the one where the other operators into as many partitions have it.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let pairs = (0..100).map(|x| (x % 5, x)).collect();
    /// // How many partitions each key is in.
    /// let out = run_sorted([pairs], |s| {
    ///     s.partition_by_key(3)
    ///         .map_partitions(|kv| kv.map(|(k, _)| k).collect::<std::collections::BTreeSet<_>>())
    ///         .count_by_value()
    /// });
    /// assert_eq!(out, [[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]]);
    /// ```
    #[track_caller]
    pub fn partition_by_key(&self, partitions: usize) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("partition_by_key");
        self.partitioned(Partitioning::Hash(partitions.max(1)), site)
    }

    #[track_caller]
    fn partitioned(&self, partitioning: Partitioning<K>, site: Site) -> DStream<(K, V)>
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
                let parts = partitioning.partitions();
                Ok(Some(Erased::new(Arc::new(Partitioned::new(dealt, parts, site)))))
            })
            .on_forget(move || kept.tick())
        })
    }
}
