//! `map`: one record out for each record in.

use super::{DStream, Node, narrow_node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::map::MapPipe;

narrow_node! {
    /// The node of `map`.
    Map, MapPipe, [U: Data, F: Fn(N::Out) -> U + Send + Sync + 'static], U
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// `f` of each record. Partitions are kept.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2], vec![3]], |s| s.map(|x| x * 10).boxed());
    /// assert_eq!(out, [vec![10, 20], vec![30]]);
    /// ```
    #[track_caller]
    pub fn map<U: Data, F: Fn(T) -> U + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> DStream<U, Map<N, F>> {
        let site = Site::here("map");
        self.narrow(|parent| Map { parent, f: f.into(), site })
    }
}
