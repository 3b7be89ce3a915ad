//! `reduce_by_window`: all records of a window merged into one.

use std::time::Duration;

use super::{DStream, Node};
use crate::data::{Data, Wire};
use crate::engine::Site;
use crate::rdd::partitioner::Partitioning;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// All records of a window merged into one by `f` (associative and commutative); a window without records
    /// gives none. For windows and slides see [`DStream::window`], for what it costs
    /// [`DStream::reduce_by_key_and_window`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![1, 2], vec![7], vec![], vec![]], |s| {
    ///     s.reduce_by_window(|a, b| a.max(b), seconds(2), None)
    /// });
    /// assert_eq!(out, [vec![2], vec![7], vec![7], vec![]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn reduce_by_window<F>(
        &self,
        f: F,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<T>
    where
        T: Wire,
        F: Fn(T, T) -> T + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_window");
        let pairs = self.map(|x| ((), x));
        pairs.reduced_window(site, f, window, slide, Partitioning::Hash(1)).map(|(_, x)| x).boxed()
    }

    /// [`DStream::reduce_by_window`] with an inverse of `f`: see [`DStream::reduce_by_key_and_window_inv`]. Once
    /// there was a record, a window without records gives what `inverse` has left.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![], vec![1, 2], vec![7], vec![], vec![]], |s| {
    ///     s.reduce_by_window_inv(|a, b| a + b, |a, b| a - b, seconds(2), None)
    /// });
    /// assert_eq!(out, [vec![], vec![3], vec![10], vec![7], vec![0]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn reduce_by_window_inv<F, I>(
        &self,
        f: F,
        inverse: I,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<T>
    where
        T: Wire,
        F: Fn(T, T) -> T + Send + Sync + 'static,
        I: Fn(T, T) -> T + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_window");
        let (pairs, all) = (self.map(|x| ((), x)), |_: &(), _: &T| true);
        let parts = Partitioning::Hash(1);
        let sums = pairs.inverse_window(site, (f, inverse, all), false, (window, slide), parts);
        sums.map(|(_, x)| x).boxed()
    }
}
