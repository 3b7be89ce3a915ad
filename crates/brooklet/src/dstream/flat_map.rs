//! `flat_map`: any number of records out for each record in.

use super::{DStream, Node, narrow_node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::flat_map::FlatMapPipe;

narrow_node! {
    /// The node of `flat_map`.
    FlatMap, FlatMapPipe,
    [I: IntoIterator + 'static, F: Fn(N::Out) -> I + Send + Sync + 'static], I::Item
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// All records of the iterators that `f` makes, in order. An `Option` is an iterator too.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// use brooklet::Str;
    /// let lines = [vec![Str::from("to be or"), Str::from("not")]];
    /// let out = run(lines, |s| s.flat_map(|line| line.split(" ")).boxed());
    /// assert_eq!(out, [["to", "be", "or", "not"].map(Str::from)]);
    /// ```
    #[track_caller]
    pub fn flat_map<I: IntoIterator + 'static, F: Fn(T) -> I + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> DStream<I::Item, FlatMap<N, F>>
    where
        I::Item: Data,
    {
        let site = Site::here("flat_map");
        self.narrow(|parent| FlatMap { parent, f: f.into(), site })
    }
}
