//! `group_by_key_and_window`: each key of a window with all its values.

use std::sync::Arc;
use std::time::Duration;

use super::keyed_window::{Delta, Entries, Inside, Kind, WindowLease, each_place};
use super::window::Span;
use super::{DStream, Graph, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Site, StageKey, TaskCx, TaskError};
use crate::rdd::Partitioner;
use crate::rdd::combine::Entry;
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;

impl<K: Key, V: Wire> Entries<K, Vec<V>> for Grouped<K, V> {
    fn entries(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
    ) -> Result<Arc<Kept<Entry<K, Vec<V>>>>, TaskError> {
        self.read(cx, part)
    }
}

/// The values of a key, batch by batch.
struct Groups;

impl<K: Key, V: Wire> Kind<K, Vec<V>> for Groups {
    type Sum = Vec<(u64, Vec<V>)>;
    type Own = ();
    type Out = (K, Vec<V>);
    const STORED: bool = false;

    fn leave(&self, lease: &mut WindowLease<'_, K, Vec<V>, Self>, gone: &[Inside<Vec<V>>]) {
        for batch in gone {
            each_place(lease, batch, |_, _, all| {
                let left = |(t, _): &&(u64, Vec<V>)| *t != batch.t.millis();
                let all: Self::Sum = all?.iter().filter(left).cloned().collect();
                (!all.is_empty()).then_some(all)
            });
        }
    }

    fn join(
        &self,
        lease: &mut WindowLease<'_, K, Vec<V>, Self>,
        come: &[Arc<Delta<K, Vec<V>>>],
    ) -> Vec<Inside<Vec<V>>> {
        let batch = |batch: &Arc<Delta<K, Vec<V>>>| {
            let mut vals = Vec::with_capacity(batch.entries().len());
            let places = lease.upsert_all(batch.entries(), |e, all| {
                let mut all = all.cloned().unwrap_or_default();
                all.push((batch.t.millis(), e.val.clone()));
                vals.push(e.val.clone());
                all
            });
            Inside::new(batch.t, places, vals)
        };
        come.iter().map(batch).collect()
    }

    fn get(&self, key: &K, all: &Self::Sum) -> Option<(K, Vec<V>)> {
        Some((key.clone(), all.iter().flat_map(|(_, v)| v.iter().cloned()).collect()))
    }
}

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// Each key of a window with all its values, in time order, those of a batch in the order of partitions and
    /// records; in as many partitions as the default parallelism. For windows and slides see
    /// [`DStream::window`]. All values of a window are in memory: prefer
    /// [`DStream::reduce_by_key_and_window`] where values can be merged.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1), ('a', 2)], vec![('a', 3), ('b', 4)], vec![]], |s| {
    ///     s.group_by_key_and_window(seconds(2), None)
    /// });
    /// let (first, both) = (vec![('a', vec![1, 2])], vec![('a', vec![1, 2, 3]), ('b', vec![4])]);
    /// assert_eq!(out, [first, both, vec![('a', vec![3]), ('b', vec![4])]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn group_by_key_and_window(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let parts = Partitioning::Hash(self.graph.ctx.default_parallelism());
        self.grouped_window(Site::here("group_by_key_and_window"), window, slide, parts)
    }

    /// [`DStream::group_by_key_and_window`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn group_by_key_and_window_into(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitions: usize,
    ) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let parts = Partitioning::hash(partitions);
        self.grouped_window(Site::here("group_by_key_and_window"), window, slide, parts)
    }

    /// [`DStream::group_by_key_and_window`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// As there, and for a partitioner without partitions.
    #[track_caller]
    pub fn group_by_key_and_window_with(
        &self,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioner: impl Partitioner<K>,
    ) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("group_by_key_and_window");
        self.grouped_window(site, window, slide, by_user(site, partitioner))
    }

    #[track_caller]
    fn grouped_window(
        &self,
        site: Site,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioning: Partitioning<K>,
    ) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let span = Span::new(site, self.slide_duration(), window, slide);
        let memory: Arc<Memory<K, V>> = Arc::default();
        let kept = memory.clone();
        let parts = (partitioning.partitions(), Some(partitioning.clone()));
        let shuffle = move |g: &Graph, key: StageKey, parent: Arc<N::Pipe>| {
            let dealt = Dealt::placed(&g.ctx.0, key, parent, &memory, &partitioning, site);
            Grouped::new(dealt, partitioning.partitions(), site)
        };
        self.keyed_window(site, span, Groups, parts, shuffle, move || kept.tick())
    }
}
