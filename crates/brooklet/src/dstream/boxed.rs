//! `boxed`: the common type of a stream, and a boundary whose lineage is memoised.

use super::{DStream, Kind, LineageNode, Node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::Pipe;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The common type `DStream<T>`, for fields, collections, arguments and returns. Cuts the fused chain:
    /// records cross in chunks of about 1000 (0.4 to 0.7 ns a record). Consumers below share the lineage but
    /// each runs the chain; see [`DStream::persist`] to run it once.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// struct Parts { evens: DStream<i32>, odds: DStream<i32> }
    /// fn split(s: &DStream<i32>) -> Parts {
    ///     Parts { evens: s.filter(|x| x % 2 == 0).boxed(), odds: s.filter(|x| x % 2 != 0).boxed() }
    /// }
    /// ```
    #[track_caller]
    pub fn boxed(&self) -> DStream<T> {
        let node = self.node.clone();
        let slide = self.slide_duration();
        self.operator(Kind::Lineage, Site::here("boxed"), |_| {
            LineageNode::new(slide, move |g, t| {
                Ok(node.at(&super::GraphRef(g), t)?.map(Pipe::erase))
            })
        })
    }
}
