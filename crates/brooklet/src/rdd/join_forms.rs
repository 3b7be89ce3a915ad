//! The joins and `cogroup` into a given number of partitions, and with a user's partitioner.

use super::join::{full_join, inner_join, left_join, right_join};
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::{Partitioner, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// [`Rdd::cogroup`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn cogroup_into<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(other);
        self.cogroup_at(other, Partitioning::hash(partitions), Site::here("cogroup"))
    }

    /// [`Rdd::cogroup`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn cogroup_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup");
        self.ctx.same_context(other);
        self.cogroup_at(other, Partitioning::user(partitioner, site), site)
    }

    /// [`Rdd::left_outer_join`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn left_outer_join_into<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, (V, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("left_outer_join");
        self.joined(other, Partitioning::hash(partitions), site, left_join)
    }

    /// [`Rdd::left_outer_join`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn left_outer_join_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (V, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("left_outer_join");
        self.joined(other, Partitioning::user(partitioner, site), site, left_join)
    }

    /// [`Rdd::right_outer_join`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn right_outer_join_into<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, (Option<V>, W))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("right_outer_join");
        self.joined(other, Partitioning::hash(partitions), site, right_join)
    }

    /// [`Rdd::right_outer_join`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn right_outer_join_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (Option<V>, W))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("right_outer_join");
        self.joined(other, Partitioning::user(partitioner, site), site, right_join)
    }

    /// [`Rdd::full_outer_join`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn full_outer_join_into<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, (Option<V>, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("full_outer_join");
        self.joined(other, Partitioning::hash(partitions), site, full_join)
    }

    /// [`Rdd::full_outer_join`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn full_outer_join_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (Option<V>, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("full_outer_join");
        self.joined(other, Partitioning::user(partitioner, site), site, full_join)
    }

    /// [`Rdd::join`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn join_into<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitions: usize,
    ) -> Rdd<(K, (V, W))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("join");
        self.joined(other, Partitioning::hash(partitions), site, inner_join)
    }

    /// [`Rdd::join`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the two belong to two contexts.
    #[track_caller]
    pub fn join_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (V, W))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("join");
        self.joined(other, Partitioning::user(partitioner, site), site, inner_join)
    }
}
