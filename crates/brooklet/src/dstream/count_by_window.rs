//! `count_by_window` and `count_by_value_and_window`: how many records a window has, altogether and by value.

use std::time::Duration;

use super::{DStream, Node};
use crate::data::{Data, Key};
use crate::engine::Site;
use crate::rdd::partitioner::Partitioning;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The number of records in a window: one number for each slide, 0 for a window without records once there
    /// was a record, and none before. For windows and slides see [`DStream::window`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![], vec!['a', 'b'], vec!['c'], vec![], vec![]], |s| {
    ///     s.count_by_window(seconds(2), None)
    /// });
    /// assert_eq!(out, [vec![], vec![2], vec![3], vec![1], vec![0]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn count_by_window(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<u64> {
        let site = Site::here("count_by_window");
        let (ones, all) = (self.map(|_| ((), 1)), |_: &(), _: &u64| true);
        let sums = (|a, b| a + b, |a, b| a - b, all);
        let counts = ones.inverse_window(site, sums, false, (window, slide), Partitioning::Hash(1));
        counts.map(|(_, n)| n).boxed()
    }

    /// How often each value is in a window, for the values that are there, in as many partitions as the default
    /// parallelism. For windows and slides see [`DStream::window`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec!['a', 'b', 'a'], vec!['b'], vec![]], |s| {
    ///     s.count_by_value_and_window(seconds(2), None)
    /// });
    /// assert_eq!(out, [vec![('a', 2), ('b', 1)], vec![('a', 2), ('b', 2)], vec![('b', 1)]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn count_by_value_and_window(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<(T, u64)>
    where
        T: Key,
    {
        let parts = self.graph.ctx.default_parallelism();
        self.counted_window(Site::here("count_by_value_and_window"), window, slide, parts)
    }

    /// [`DStream::count_by_value_and_window`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn count_by_value_and_window_into(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitions: usize,
    ) -> DStream<(T, u64)>
    where
        T: Key,
    {
        self.counted_window(Site::here("count_by_value_and_window"), window, slide, partitions)
    }

    #[track_caller]
    fn counted_window(
        &self,
        site: Site,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitions: usize,
    ) -> DStream<(T, u64)>
    where
        T: Key,
    {
        let sums = (|a, b| a + b, |a, b| a - b, |_: &T, n: &u64| *n != 0);
        let parts = Partitioning::hash(partitions);
        self.map(|x| (x, 1)).inverse_window(site, sums, true, (window, slide), parts)
    }
}
