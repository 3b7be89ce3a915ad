//! `union`: the records of several streams.

use std::sync::Arc;

use super::parent::Parent;
use super::{DStream, ErasedNode, Kind, LineageNode, Node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::Erased;
use crate::rdd::union::UnionPipe;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records of both streams in each batch, duplicates kept. Both must have an RDD for the batch.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2]], |s| s.union(&s.map(|x| x * 10)));
    /// assert_eq!(out, [[1, 2, 10, 20]]);
    /// ```
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn union<M: Node<Out = T>>(&self, other: &DStream<T, M>) -> DStream<T> {
        self.same_context(other, "union");
        union_of(self, vec![self.erased_parent(), other.erased_parent()], &other.path)
    }
}

/// Union of several streams of one context; `first` tells context and slide.
#[track_caller]
pub(crate) fn union_of<T: Data, N: Node<Out = T>>(
    first: &DStream<T, N>,
    parents: Vec<Parent<ErasedNode<T>>>,
    other_path: &str,
) -> DStream<T> {
    let (site, slide) = (Site::here("union"), first.slide_duration());
    let path = format!("({}+{})/union", first.path, other_path);
    let mut op = crate::engine::OpId::default();
    let node = first.graph.add(&path, Kind::Lineage, site, |id| {
        op = id;
        Arc::new(LineageNode::new(slide, move |g, t| {
            let mut all = Vec::with_capacity(parents.len());
            for p in &parents {
                all.push((*p.at(g, t, site)?).clone());
            }
            Ok(Some(Erased::new(Arc::new(UnionPipe(all)))))
        }))
    });
    DStream::boundary(&first.graph, node, &path, op)
}
