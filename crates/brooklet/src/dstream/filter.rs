//! `filter`: the records that a predicate holds for.

use super::{DStream, Node, narrow_node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::filter::FilterPipe;

narrow_node! {
    /// The node of `filter`.
    Filter, FilterPipe, [F: Fn(&N::Out) -> bool + Send + Sync + 'static], N::Out
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records for which `f` holds. Partitions are kept.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2], vec![3]], |s| s.filter(|x| x % 2 == 1).boxed());
    /// assert_eq!(out, [vec![1], vec![3]]);
    /// ```
    #[track_caller]
    pub fn filter<F: Fn(&T) -> bool + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> DStream<T, Filter<N, F>> {
        let site = Site::here("filter");
        self.narrow(|parent| Filter { parent, f: f.into(), site })
    }
}
