//! `reduce_by_key_and_window`: the values of each key of a window merged into one, with and without an
//! inverse function.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keyed_window::{Delta, Entries, Inside, Kind, WindowLease, each_place, merged};

use super::window::Span;
use super::{DStream, Graph, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Site, StageKey, TaskCx, TaskError};
use crate::rdd::Partitioner;
use crate::rdd::combine::{ByReduce, Combine, Entry};
use crate::rdd::kept::Kept;
use crate::rdd::partitioner::Partitioning;
use crate::rdd::shuffle::{ReduceSpec, Reduced};
use crate::state::Place;

impl<K, V, X, F> Entries<K, V> for Reduced<K, V, X, F>
where
    K: Key,
    V: Wire,
    X: 'static,
    F: Combine<X, V>,
{
    fn entries(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Kept<Entry<K, V>>>, TaskError> {
        self.read(cx, part)
    }
}

/// A key's values in two parts (two stacks): of the older batches, from which batches leave, and of the newer
/// ones, which others join.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stacks<V> {
    front: Option<V>,
    back: Option<V>,
}

/// Without an inverse function. When the older part is used up, all batches of the window become the older
/// part, and each of their entries gets what the key has without it and all before it: so a batch leaves at
/// the cost of its keys, and each entry is merged twice in all. After "General incremental sliding-window
/// aggregation" (Tangwongsan and others, 2015), two-stacks algorithm.
pub(super) struct TwoStacks<F>(F);

/// For the batches of the older part, oldest first: what is left of each entry's key when the batch is gone.
pub(super) type Rest<V> = VecDeque<Arc<Vec<Option<V>>>>;

impl<K: Key, V: Wire, F: Fn(V, V) -> V + Send + Sync + 'static> Kind<K, V> for TwoStacks<F> {
    type Sum = Stacks<V>;
    type Own = Rest<V>;
    type Out = (K, V);
    const STORED: bool = false;

    fn leave(&self, lease: &mut WindowLease<'_, K, V, Self>, gone: &[Inside<V>]) {
        for (i, batch) in gone.iter().enumerate() {
            if lease.extra().own.is_empty() {
                let stay: Vec<_> = lease.extra().inside.iter().cloned().collect();
                let all: Vec<_> = gone[i..].iter().cloned().chain(stay).collect();
                self.flip(lease, &all);
            }
            let Some(rest) = lease.extra().own.pop_front() else { return };
            each_place(lease, batch, |i, _, s| {
                let (front, back) = (rest[i].clone(), s?.back.clone());
                (front.is_some() || back.is_some()).then_some(Stacks { front, back })
            });
        }
    }

    fn join(
        &self,
        lease: &mut WindowLease<'_, K, V, Self>,
        come: &[Arc<Delta<K, V>>],
    ) -> Vec<Inside<V>> {
        let batch = |batch: &Arc<Delta<K, V>>| {
            let mut vals = Vec::with_capacity(batch.entries().len());
            let places = lease.upsert_all(batch.entries(), |e, s| {
                let (front, back) = s.map_or((None, None), |s| (s.front.clone(), s.back.clone()));
                let v = e.val.clone();
                let back = match back {
                    None => v,
                    Some(back) => (self.0)(back, v),
                };
                vals.push(e.val.clone());
                Stacks { front, back: Some(back) }
            });
            Inside::new(batch.t, places, vals)
        };
        come.iter().map(batch).collect()
    }

    fn get(&self, key: &K, sum: &Stacks<V>) -> Option<(K, V)> {
        let v = match (sum.front.clone(), sum.back.clone()) {
            (Some(a), Some(b)) => (self.0)(a, b),
            (a, b) => a.or(b)?,
        };
        Some((key.clone(), v))
    }
}

impl<F> TwoStacks<F> {
    /// Makes these batches, which are all of the newer part, the older part.
    fn flip<K, V>(&self, lease: &mut WindowLease<'_, K, V, Self>, batches: &[Inside<V>])
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        for batch in batches.iter().rev() {
            let mut rest = Vec::with_capacity(batch.vals.len());
            each_place(lease, batch, |_, v, s| {
                let later = s.and_then(|s| s.front.clone());
                rest.push(later.clone());
                let front = match later {
                    None => v.clone(),
                    Some(later) => (self.0)(v.clone(), later),
                };
                Some(Stacks { front: Some(front), back: None })
            });
            lease.extra().own.push_front(Arc::new(rest));
        }
    }
}

/// With an inverse function: one value for each key, and in how many batches of the window it has values.
pub(super) struct WithInverse<F, I, P> {
    pub(super) f: F,
    pub(super) inverse: I,
    /// Which keys are given out, and kept when no batch has them.
    pub(super) keep: P,
    /// Keys that fall out of the window stay unless `keep` says otherwise.
    pub(super) filtered: bool,
}

impl<K, V, F, I, P> Kind<K, V> for WithInverse<F, I, P>
where
    K: Key,
    V: Wire,
    F: Fn(V, V) -> V + Send + Sync + 'static,
    I: Fn(V, V) -> V + Send + Sync + 'static,
    P: Fn(&K, &V) -> bool + Send + Sync + 'static,
{
    type Sum = (V, u32);
    type Own = ();
    type Out = (K, V);
    const STORED: bool = true;

    fn leave(&self, lease: &mut WindowLease<'_, K, V, Self>, gone: &[Inside<V>]) {
        let without = |s: Option<&(V, u32)>, v: &V, n: u32| {
            let (old, batches) = s?;
            Some(((self.inverse)(old.clone(), v.clone()), batches - n.min(*batches)))
        };
        if let [one] = gone {
            return each_place(lease, one, |_, v, s| without(s, v, 1));
        }
        // Merged in time order, and taken away at once.
        let mut all: HashMap<Place, (V, u32)> = HashMap::new();
        for (at, v) in gone.iter().flat_map(|d| d.places.iter().zip(d.vals.iter())) {
            let v = v.clone();
            let merged = match all.remove(at) {
                None => (v, 1),
                Some((old, n)) => ((self.f)(old, v), n + 1),
            };
            all.insert(*at, merged);
        }
        for (at, (v, n)) in all {
            lease.upsert_at(at, |s| without(s, &v, n));
        }
    }

    fn join(
        &self,
        lease: &mut WindowLease<'_, K, V, Self>,
        come: &[Arc<Delta<K, V>>],
    ) -> Vec<Inside<V>> {
        let with = |s: Option<&(V, u32)>, v: &V, n: u32| match s {
            None => (v.clone(), n),
            Some((old, batches)) => ((self.f)(old.clone(), v.clone()), batches + n),
        };
        if let [one] = come {
            let mut vals = Vec::with_capacity(one.entries().len());
            let places = lease.upsert_all(one.entries(), |e, s| {
                vals.push(e.val.clone());
                with(s, &e.val, 1)
            });
            return vec![Inside::new(one.t, places, vals)];
        }
        let all = merged(come.iter().map(|d| &**d), &self.f);
        lease.upsert_all(&all, |e, s| with(s, &e.val.0, e.val.1));
        let inside = |d: &Arc<Delta<K, V>>| {
            let places = d.entries().iter().filter_map(|e| lease.place(e.hash, &e.key)).collect();
            Inside::new(d.t, places, d.entries().iter().map(|e| e.val.clone()).collect())
        };
        come.iter().map(inside).collect()
    }

    /// A key that has left and not come again goes, if it isn't to be kept.
    fn settle(&self, lease: &mut WindowLease<'_, K, V, Self>, gone: &[Inside<V>]) {
        if !self.filtered {
            return;
        }
        for at in gone.iter().flat_map(|d| d.places.iter()) {
            let over = |s: &&(V, u32)| {
                s.1 == 0 && lease.key_at(*at).is_some_and(|k| !(self.keep)(k, &s.0))
            };
            if lease.state_at(*at).filter(over).is_some() {
                lease.upsert_at(*at, |_| None);
            }
        }
    }

    fn get(&self, key: &K, (v, _): &(V, u32)) -> Option<(K, V)> {
        (self.keep)(key, v).then(|| (key.clone(), v.clone()))
    }
}

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The values of each key in a window, merged by `f` (associative and commutative), in as many partitions
    /// as the default parallelism. For windows and slides see [`DStream::window`].
    ///
    /// Each batch is combined by itself; a slide costs the keys of the batches that come and go, and about
    /// once per window length those of all its batches. The entries of the batches in a window are in memory.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1)], vec![('a', 5), ('b', 2)], vec![('b', 3)], vec![]], |s| {
    ///     s.reduce_by_key_and_window(|a, b| a.max(b), seconds(2), None)
    /// });
    /// assert_eq!(out, [vec![('a', 1)], vec![('a', 5), ('b', 2)], vec![('a', 5), ('b', 3)], vec![('b', 3)]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn reduce_by_key_and_window<F>(
        &self,
        f: F,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let parts = Partitioning::Hash(self.graph.ctx.default_parallelism());
        self.reduced_window(Site::here("reduce_by_key_and_window"), f, window, slide, parts)
    }

    /// [`DStream::reduce_by_key_and_window`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn reduce_by_key_and_window_into<F>(
        &self,
        f: F,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitions: usize,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let parts = Partitioning::hash(partitions);
        self.reduced_window(Site::here("reduce_by_key_and_window"), f, window, slide, parts)
    }

    /// [`DStream::reduce_by_key_and_window`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// As there, and for a partitioner without partitions.
    #[track_caller]
    pub fn reduce_by_key_and_window_with<F>(
        &self,
        f: F,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioner: impl Partitioner<K>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key_and_window");
        self.reduced_window(site, f, window, slide, by_user(site, partitioner))
    }

    #[track_caller]
    pub(super) fn reduced_window<F>(
        &self,
        site: Site,
        f: F,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioning: Partitioning<K>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        let g = f.clone();
        let kind = TwoStacks(move |a, b| g(a, b));
        self.window_of(site, move |a, b| f(a, b), kind, window, slide, partitioning)
    }

    /// [`DStream::reduce_by_key_and_window`] with an inverse of `f`: `inverse(f(a, b), b)` is `a`. A slide
    /// costs the keys of the batches that come and go, and nothing else: first the merged values of the batches
    /// that leave are taken away, then those that join are merged in.
    ///
    /// A key whose batches have all left the window stays, with what `inverse` has left of its value (0 for
    /// sums): [`DStream::reduce_by_key_and_window_inv_filter`] lets it go.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1)], vec![('a', 5), ('b', 2)], vec![], vec![]], |s| {
    ///     s.reduce_by_key_and_window_inv(|a, b| a + b, |a, b| a - b, seconds(2), None)
    /// });
    /// let (both, zeros) = (vec![('a', 5), ('b', 2)], vec![('a', 0), ('b', 0)]);
    /// assert_eq!(out, [vec![('a', 1)], vec![('a', 6), ('b', 2)], both, zeros]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn reduce_by_key_and_window_inv<F, I>(
        &self,
        f: F,
        inverse: I,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        I: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key_and_window");
        let parts = Partitioning::Hash(self.graph.ctx.default_parallelism());
        self.inverse_window(site, (f, inverse, |_: &K, _: &V| true), false, (window, slide), parts)
    }

    /// [`DStream::reduce_by_key_and_window_inv`] of the keys for which `filter` of key and value is true. A key
    /// for which it is false is forgotten when no batch of the window has it any more. With `partitions`
    /// partitions (at least 1), or the default parallelism when that is `None`.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1)], vec![('b', 2)], vec![]], |s| {
    ///     s.reduce_by_key_and_window_inv_filter(
    ///         |a, b| a + b, |a, b| a - b, seconds(2), None, None, |_, n| *n > 0)
    /// });
    /// assert_eq!(out, [vec![('a', 1)], vec![('a', 1), ('b', 2)], vec![('b', 2)]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn reduce_by_key_and_window_inv_filter<F, I, P>(
        &self,
        f: F,
        inverse: I,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitions: impl Into<Option<usize>>,
        filter: P,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        I: Fn(V, V) -> V + Send + Sync + 'static,
        P: Fn(&K, &V) -> bool + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key_and_window");
        let parts = partitions.into().unwrap_or_else(|| self.graph.ctx.default_parallelism());
        let parts = Partitioning::hash(parts);
        self.inverse_window(site, (f, inverse, filter), true, (window, slide), parts)
    }

    /// [`DStream::reduce_by_key_and_window_inv_filter`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// As there, and for a partitioner without partitions.
    #[track_caller]
    pub fn reduce_by_key_and_window_inv_with<F, I, P>(
        &self,
        f: F,
        inverse: I,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioner: impl Partitioner<K>,
        filter: P,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        I: Fn(V, V) -> V + Send + Sync + 'static,
        P: Fn(&K, &V) -> bool + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key_and_window");
        let parts = by_user(site, partitioner);
        self.inverse_window(site, (f, inverse, filter), true, (window, slide), parts)
    }

    #[track_caller]
    pub(super) fn inverse_window<F, I, P>(
        &self,
        site: Site,
        (f, inverse, keep): (F, I, P),
        filtered: bool,
        (window, slide): (Duration, impl Into<Option<Duration>>),
        partitioning: Partitioning<K>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        I: Fn(V, V) -> V + Send + Sync + 'static,
        P: Fn(&K, &V) -> bool + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        let g = f.clone();
        let kind = WithInverse { f: move |a, b| g(a, b), inverse, keep, filtered };
        self.window_of(site, move |a, b| f(a, b), kind, window, slide, partitioning)
    }

    #[track_caller]
    fn window_of<F, W>(
        &self,
        site: Site,
        f: F,
        kind: W,
        window: Duration,
        slide: impl Into<Option<Duration>>,
        partitioning: Partitioning<K>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
        W: Kind<K, V, Out = (K, V)>,
    {
        let span = Span::new(site, self.slide_duration(), window, slide);
        let spec = ReduceSpec::new(ByReduce(f), partitioning.clone(), site);
        let memory = spec.memory.clone();
        let shuffle = move |g: &Graph, key: StageKey, parent: Arc<N::Pipe>| {
            spec.lineage::<V, _>(&g.ctx.0, key, parent)
        };
        let parts = (partitioning.partitions(), Some(partitioning));
        self.keyed_window(site, span, kind, parts, shuffle, move || memory.tick())
    }
}
