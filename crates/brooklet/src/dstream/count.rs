//! `count`: how many records each batch has.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::data::Data;
use crate::engine::{Role, Site, StageKey};
use crate::rdd::gather::GatherSpec;
use crate::rdd::{Erased, Pipe};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The number of records of each batch, as one record; 0 for an empty batch.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// assert_eq!(run([vec![7, 7, 7], vec![]], |s| s.count()), [vec![3], vec![0]]);
    /// ```
    #[track_caller]
    pub fn count(&self) -> DStream<u64> {
        let (site, node, slide) = (Site::here("count"), self.node.clone(), self.slide_duration());
        let spec: GatherSpec<N::Pipe, u64> = GatherSpec {
            act: Arc::new(|p, cx, part| {
                Ok(vec![match p.known_len(cx, part)? {
                    Some(n) => n,
                    None => p.fold(cx, part, 0u64, |n, _| n + 1)?,
                }])
            }),
            finish: Arc::new(|counts| vec![counts.iter().sum()]),
            site,
        };
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                Ok(Some(Erased::new(Arc::new(spec.lineage(&g.ctx.0, key, parent)))))
            })
        })
    }
}
