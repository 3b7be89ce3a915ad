//! `reduce`: all records of a batch merged into one.

use std::sync::Arc;

use super::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey};
use crate::rdd::gather::GatherSpec;
use crate::rdd::{Erased, Pipe};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records of each batch merged by `f` (associative and commutative) into one record; nothing for
    /// an empty batch.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// assert_eq!(run([vec![1, 2, 3], vec![]], |s| s.reduce(|a, b| a + b)), [vec![6], vec![]]);
    /// ```
    #[track_caller]
    pub fn reduce<F: Fn(T, T) -> T + Send + Sync + 'static>(&self, f: F) -> DStream<T>
    where
        T: Wire,
    {
        let (site, node, slide) = (Site::here("reduce"), self.node.clone(), self.slide_duration());
        let (f, g) = {
            let f = Arc::new(f);
            (f.clone(), f)
        };
        let spec: GatherSpec<N::Pipe, T> = GatherSpec {
            act: Arc::new(move |p, cx, part| {
                let merged = p.fold(cx, part, None, |a, x| {
                    Some(match a {
                        None => x,
                        Some(a) => site.guard(|| f(a, x)),
                    })
                })?;
                Ok(merged.into_iter().collect())
            }),
            finish: Arc::new(move |parts| {
                parts.into_iter().reduce(|a, b| g(a, b)).into_iter().collect()
            }),
            site,
        };
        self.operator(Kind::Lineage, site, |op| {
            LineageNode::new(slide, move |graph, t| {
                let Some(parent) = node.at(&GraphRef(graph), t)? else { return Ok(None) };
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                Ok(Some(Erased::new(Arc::new(spec.lineage(&graph.ctx.0, key, parent)))))
            })
        })
    }
}
