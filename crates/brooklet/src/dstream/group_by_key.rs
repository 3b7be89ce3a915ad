//! `group_by_key`: each key of a batch with all its values.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::Erased;
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::Memory;
use crate::rdd::partitioner::Partitioning;

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// Each key of a batch with all its values, in the order of partitions and records. The values of one
    /// key must fit in memory; prefer [`DStream::reduce_by_key`] where values can be merged.
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
        let (site, node) = (Site::here("group_by_key"), self.node.clone());
        let (slide, parts) = (self.slide_duration(), self.graph.ctx.default_parallelism());
        let memory: Arc<Memory<K, V>> = Arc::default();
        let kept = memory.clone();
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                let partitioning = Partitioning::Hash(parts);
                let dealt = Dealt::new(&g.ctx.0, key, parent, &memory, &partitioning, site);
                Ok(Some(Erased::new(Arc::new(Grouped::new(dealt, parts, site)))))
            })
            .on_forget(move || kept.tick())
        })
    }
}
