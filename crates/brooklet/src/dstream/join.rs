//! `join`, the outer joins and `cogroup`: what two streams have for a key in the same batch.

use std::sync::Arc;

use super::{DStream, Kind, LineageNode, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{OpId, Site};
use crate::rdd::join::{Both, full_join, inner_join, left_join, right_join};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Origin, Partitioner, Rdd, Travel};

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// A join: `pairs` makes the records of a key with its values of both sides.
    #[track_caller]
    fn joined<W: Wire, U: Data, M: Node<Out = (K, W)>, I>(
        &self,
        other: &DStream<(K, W), M>,
        partitioning: Partitioning<K>,
        site: Site,
        pairs: impl Fn((K, Both<V, W>)) -> I + Copy + Send + Sync + 'static,
    ) -> DStream<(K, U)>
    where
        K: Key,
        V: Wire,
        I: IntoIterator<Item = (K, U)> + 'static,
    {
        self.same_context(other, site.op);
        let (left, right) = (self.parent(), other.parent());
        let path = format!("({}+{})/{}", self.path, other.path, site.op);
        let slide = self.slide_duration();
        let mut op = OpId::default();
        let node = self.graph.add(&path, Kind::Lineage, site, |id| {
            op = id;
            Arc::new(LineageNode::new(slide, move |g, t| {
                let origin = Origin::new(id, t, Travel::Replayed);
                let left = Rdd::new(&g.ctx, left.at(g, t, site)?, origin.clone());
                let right = Rdd::new(&g.ctx, right.at(g, t, site)?, origin);
                let joined = left.joined(&right, partitioning.clone(), site, pairs);
                Ok(Some((*joined.pipe).clone()))
            }))
        });
        DStream::boundary(&self.graph, node, &path, op)
    }

    fn default_partitioning(&self) -> Partitioning<K> {
        Partitioning::Hash(self.graph.ctx.default_parallelism())
    }
}

/// One join in its three forms.
macro_rules! join_forms {
    ($(#[$doc:meta])* $name:ident, $into:ident, $with:ident, $out:ty, |$s:ident, $o:ident, $p:ident, $site:ident| $make:expr) => {
        impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
            $(#[$doc])*
            #[track_caller]
            pub fn $name<W: Wire, M: Node<Out = (K, W)>>(
                &self,
                other: &DStream<(K, W), M>,
            ) -> DStream<$out>
            where
                K: Key,
                V: Wire,
            {
                let ($s, $o, $p) = (self, other, self.default_partitioning());
                let $site = Site::here(stringify!($name));
                $make
            }

            #[doc = concat!("[`DStream::", stringify!($name), "`] into `partitions` partitions (at least 1).")]
            ///
            /// # Panics
            /// As [`DStream::join`].
            #[track_caller]
            pub fn $into<W: Wire, M: Node<Out = (K, W)>>(
                &self,
                other: &DStream<(K, W), M>,
                partitions: usize,
            ) -> DStream<$out>
            where
                K: Key,
                V: Wire,
            {
                let ($s, $o, $p) = (self, other, Partitioning::Hash(partitions.max(1)));
                let $site = Site::here(stringify!($name));
                $make
            }

            #[doc = concat!("[`DStream::", stringify!($name), "`] with the user's own partitioning of keys.")]
            ///
            /// # Panics
            /// As [`DStream::join`], and for a partitioner without partitions.
            #[track_caller]
            pub fn $with<W: Wire, M: Node<Out = (K, W)>>(
                &self,
                other: &DStream<(K, W), M>,
                partitioner: impl Partitioner<K>,
            ) -> DStream<$out>
            where
                K: Key,
                V: Wire,
            {
                let $site = Site::here(stringify!($name));
                let ($s, $o, $p) = (self, other, by_user($site, partitioner));
                $make
            }
        }
    };
}

join_forms! {
    /// Each pair of values that this stream and `other` have for a key in the same batch, in as many
    /// partitions as the default parallelism. Both must have an RDD for the batch.
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
    join, join_into, join_with, (K, (V, W)),
    |left, right, parts, site| left.joined(right, parts, site, inner_join)
}

join_forms! {
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
    left_outer_join, left_outer_join_into, left_outer_join_with, (K, (V, Option<W>)),
    |left, right, parts, site| left.joined(right, parts, site, left_join)
}

join_forms! {
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
    right_outer_join, right_outer_join_into, right_outer_join_with, (K, (Option<V>, W)),
    |left, right, parts, site| left.joined(right, parts, site, right_join)
}

join_forms! {
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
    full_outer_join, full_outer_join_into, full_outer_join_with, (K, (Option<V>, Option<W>)),
    |left, right, parts, site| left.joined(right, parts, site, full_join)
}

join_forms! {
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
    cogroup, cogroup_into, cogroup_with, (K, (Vec<V>, Vec<W>)),
    |left, right, parts, site| left.joined(right, parts, site, Some)
}
