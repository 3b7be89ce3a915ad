//! `map_values` and `flat_map_values`: operators on the values of a pair stream; keys stay.

use super::flat_map::FlatMap;
use super::map::Map;
use super::{DStream, Node};
use crate::data::Data;
use crate::engine::Site;

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// `f` of each value; keys and partitions stay.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![(1, 10), (2, 20)]], |s| s.map_values(|v| v + 1).boxed());
    /// assert_eq!(out, [[(1, 11), (2, 21)]]);
    /// ```
    #[track_caller]
    pub fn map_values<W: Data, F>(
        &self,
        f: F,
    ) -> DStream<(K, W), Map<N, impl Fn((K, V)) -> (K, W) + Send + Sync + 'static>>
    where
        F: Fn(V) -> W + Send + Sync + 'static,
    {
        let site = Site::here("map_values");
        self.narrow(|parent| Map::new(parent, move |(k, v)| (k, f(v)), site))
    }

    /// The key with each record of the iterator that `f` makes of its value.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![(1, 2), (2, 0)]], |s| s.flat_map_values(|n| 0..n).boxed());
    /// assert_eq!(out, [[(1, 0), (1, 1)]]);
    /// ```
    #[track_caller]
    pub fn flat_map_values<I, F>(
        &self,
        f: F,
    ) -> DStream<
        (K, I::Item),
        FlatMap<N, impl Fn((K, V)) -> WithKey<K, I::IntoIter> + Send + Sync + 'static>,
    >
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(V) -> I + Send + Sync + 'static,
    {
        let site = Site::here("flat_map_values");
        let f = move |(key, v)| WithKey { key, values: f(v).into_iter() };
        self.narrow(|parent| FlatMap::new(parent, f, site))
    }
}

/// A key with each of the values.
#[derive(Debug, Clone)]
pub struct WithKey<K, I> {
    key: K,
    values: I,
}

impl<K, I> WithKey<K, I> {
    pub(crate) fn new(key: K, values: I) -> Self {
        WithKey { key, values }
    }
}

impl<K: Clone, I: Iterator> Iterator for WithKey<K, I> {
    type Item = (K, I::Item);
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.key.clone(), self.values.next()?))
    }
}
