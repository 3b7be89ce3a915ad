//! `join`: pairs of values that two streams have for a key in the same batch.

use super::transform::{TransformTwo, both};
use super::{DStream, Node};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// Each pair of values that this stream and `other` have for a key in the same batch. Both must have
    /// an RDD for the batch.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 10), (2, 20)]], |s| {
    ///     s.join(&s.map(|(k, v)| (k, v.to_string())).filter(|(k, _)| *k == 1))
    /// });
    /// assert_eq!(out, [[(1, (10, "10".to_string()))]]);
    /// ```
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn join<W: Wire, M: Node<Out = (K, W)>>(
        &self,
        other: &DStream<(K, W), M>,
    ) -> DStream<(K, (V, W))>
    where
        K: Key,
        V: Wire,
    {
        self.same_context(other, "join");
        let site = Site::here("join");
        let two = TransformTwo::lineage_only(self, other, site, move |a, b, _| {
            Ok(a.join_into(&b, a.context().default_parallelism()))
        });
        both(self, other, site, two)
    }

    /// Each key of either stream in a batch with its values of both.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 'a')]], |s| s.cogroup(&s.map(|(k, _)| (k + 1, 0.5))));
    /// assert_eq!(out.len(), 1);
    /// assert_eq!(out[0][0], (1, (vec!['a'], vec![])));
    /// assert_eq!(out[0][1], (2, (vec![], vec![0.5])));
    /// ```
    ///
    /// # Panics
    /// As [`DStream::join`].
    #[track_caller]
    pub fn cogroup<W: Wire, M: Node<Out = (K, W)>>(
        &self,
        other: &DStream<(K, W), M>,
    ) -> DStream<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.same_context(other, "cogroup");
        let site = Site::here("cogroup");
        let two = TransformTwo::lineage_only(self, other, site, move |a, b, _| {
            Ok(a.cogroup_into(&b, a.context().default_parallelism()))
        });
        both(self, other, site, two)
    }

    /// Each value of this stream with each value of `other` for the key in the same batch, or with
    /// `None` where `other` has none.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 10), (2, 20)]], |s| {
    ///     s.left_outer_join(&s.filter(|(k, _)| *k == 1).map(|(k, _)| (k, 'a')))
    /// });
    /// assert_eq!(out, [[(1, (10, Some('a'))), (2, (20, None))]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::join`].
    #[track_caller]
    pub fn left_outer_join<W: Wire, M: Node<Out = (K, W)>>(
        &self,
        other: &DStream<(K, W), M>,
    ) -> DStream<(K, (V, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.same_context(other, "left_outer_join");
        let site = Site::here("left_outer_join");
        let two = TransformTwo::lineage_only(self, other, site, |a, b, _| {
            Ok(a.left_outer_join_into(&b, a.context().default_parallelism()))
        });
        both(self, other, site, two)
    }

    /// Each value of `other` with each value of this stream for the key in the same batch, or with
    /// `None` where this stream has none.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 10), (2, 20)]], |s| {
    ///     s.right_outer_join(&s.filter(|(k, _)| *k == 1).map(|(k, _)| (k, 'a')))
    /// });
    /// assert_eq!(out, [[(1, (Some(10), 'a'))]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::join`].
    #[track_caller]
    pub fn right_outer_join<W: Wire, M: Node<Out = (K, W)>>(
        &self,
        other: &DStream<(K, W), M>,
    ) -> DStream<(K, (Option<V>, W))>
    where
        K: Key,
        V: Wire,
    {
        self.same_context(other, "right_outer_join");
        let site = Site::here("right_outer_join");
        let two = TransformTwo::lineage_only(self, other, site, |a, b, _| {
            Ok(a.right_outer_join_into(&b, a.context().default_parallelism()))
        });
        both(self, other, site, two)
    }

    /// Each pair of values of a key in the same batch, with `None` for the stream that has none.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![(1, 10), (2, 20)]], |s| {
    ///     s.full_outer_join(&s.filter(|(k, _)| *k == 1).map(|(k, _)| (k, 'a')))
    /// });
    /// assert_eq!(out, [[(1, (Some(10), Some('a'))), (2, (Some(20), None))]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::join`].
    #[track_caller]
    pub fn full_outer_join<W: Wire, M: Node<Out = (K, W)>>(
        &self,
        other: &DStream<(K, W), M>,
    ) -> DStream<(K, (Option<V>, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.same_context(other, "full_outer_join");
        let site = Site::here("full_outer_join");
        let two = TransformTwo::lineage_only(self, other, site, |a, b, _| {
            Ok(a.full_outer_join_into(&b, a.context().default_parallelism()))
        });
        both(self, other, site, two)
    }
}
