//! A stream that an operator reads and that must have an RDD for every batch of it.

use std::sync::Arc;

use super::{DStream, ErasedNode, Graph, GraphRef, Node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::{Origin, Pipe, Rdd};
use crate::{Error, Result, Time};

/// The node of a stream, and its path for errors.
pub(crate) struct Parent<N> {
    node: Arc<N>,
    path: Arc<str>,
}

impl<N: Node> Parent<N> {
    /// The lineage of batch `t`; [`Error::NoRdd`] names this stream when there is none.
    pub(crate) fn at(&self, graph: &Graph, time: Time, site: Site) -> Result<Arc<N::Pipe>> {
        let parent = || self.path.clone();
        let pipe = self.node.at(&GraphRef(graph), time)?;
        pipe.ok_or_else(|| Error::NoRdd { site, parent: parent(), time })
    }

    /// The same as what a user's function gets.
    pub(crate) fn rdd(
        &self,
        graph: &Graph,
        time: Time,
        site: Site,
        origin: &Arc<Origin>,
    ) -> Result<Rdd<N::Out>> {
        let pipe = self.at(graph, time, site)?.erase();
        Ok(Rdd::new(&graph.ctx, Arc::new(pipe), origin.clone()))
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    pub(crate) fn parent(&self) -> Parent<N> {
        Parent { node: self.node.clone(), path: self.path.clone() }
    }

    /// One of many, whatever their types.
    pub(crate) fn erased_parent(&self) -> Parent<ErasedNode<T>> {
        Parent { node: Arc::new(ErasedNode(self.node.clone())), path: self.path.clone() }
    }
}
