//! `persist`: each batch's partitions kept in the block store when they are first computed.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::block::StorageLevel;
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::persist::PersistPipe;
use crate::rdd::{Erased, Pipe};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The same records, each partition kept at `level` when it is first computed, until the batch is
    /// forgotten: several consumers compute it once. Lost partitions are computed from lineage again.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// use brooklet::StorageLevel;
    /// let out = run([vec![1, 2, 3]], |s| s.map(|x| x + 1).persist(StorageLevel::MEMORY_ONLY));
    /// assert_eq!(out, [[2, 3, 4]]);
    /// ```
    ///
    /// # Panics
    /// For a level that keeps nothing.
    #[track_caller]
    pub fn persist(&self, level: StorageLevel) -> DStream<T>
    where
        T: Wire,
    {
        let (site, node, slide) = (Site::here("persist"), self.node.clone(), self.slide_duration());
        assert!(level.is_valid(), "{site}: the storage level {level} keeps nothing");
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Persist, batch: t };
                let pipe = PersistPipe::new(&g.ctx.0, key, parent.erase(), level, site);
                Ok(Some(Erased::new(Arc::new(pipe))))
            })
        })
    }

    /// [`DStream::persist`] in memory, as typed values.
    #[track_caller]
    pub fn cache(&self) -> DStream<T>
    where
        T: Wire,
    {
        self.persist(StorageLevel::MEMORY_ONLY)
    }
}
