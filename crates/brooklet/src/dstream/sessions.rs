//! `sessions`: the records of a key with less than a gap between them, by batch times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::dedup_by_key::first_kept;
use super::event_time::{aggregation, collected};
use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::{DStream, ErasedNode, Graph, GraphRef, Node};
use crate::Time;
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::event_time::{Window, window_millis};
use crate::rdd::combine::{ByReduce, Combine};
use crate::rdd::kept::Kept;
use crate::rdd::partitioner::{Partitioning, carried_hash};
use crate::rdd::shuffle::ReduceSpec;
use crate::rdd::{Erased, Pipe};
use crate::state::durable::DurableTables;
use crate::state::{State, Tables};

/// Sessions by batch times: made by [`DStream::sessions`]. What is made of the records of each session is said
/// next: [`reduce`](BatchSessions::reduce), [`aggregate`](BatchSessions::aggregate),
/// [`count`](BatchSessions::count) or [`group`](BatchSessions::group); each gives out `(key, window, value)`
/// when the session is over.
///
/// # State
/// One value for each key with an open session. A batch costs the keys of its records and the sessions that
/// end. A graceful stop leaves open sessions as they are, unless [`BatchSessions::flush_on_stop`] is set.
#[must_use = "sessions do nothing by themselves: go on with `reduce`, `aggregate`, `count` or `group`"]
pub struct BatchSessions<K, V, N = ErasedNode<(K, V)>> {
    stream: DStream<(K, V), N>,
    gap: Duration,
    partitions: usize,
    flush_on_stop: bool,
}

impl<K, V, N> Clone for BatchSessions<K, V, N> {
    fn clone(&self) -> Self {
        BatchSessions { stream: self.stream.clone(), ..*self }
    }
}

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// Sessions of each key, by batch times: a session begins with a key's first batch and is over in the first
    /// batch that comes `gap` or more after its last one with a record. Its window reaches from the first batch
    /// to `gap` after the last.
    ///
    /// For sessions by the times in the records, see
    /// [`EventTimeStream::session`](crate::EventTimeStream::session).
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = |s: u64| Time::from_millis(s * 1_000);
    /// let clicks = [vec![('a', 1)], vec![('a', 1), ('a', 1)], vec![], vec![('a', 1)]];
    /// let out = run(clicks, |s| s.sessions(seconds(2)).count());
    /// assert_eq!(out, [vec![], vec![], vec![], vec![('a', Window::new(at(1), at(4)), 3)]]);
    /// ```
    ///
    /// # Panics
    /// For a gap that isn't a positive, whole number of milliseconds.
    #[track_caller]
    pub fn sessions(&self, gap: Duration) -> BatchSessions<K, V, N>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("sessions");
        if let Err(e) = window_millis("gap", gap) {
            panic!("{site}: {e}");
        }
        let mut stream = self.clone();
        stream.path = format!("{}/{}", stream.path, site.op).into();
        let partitions = self.graph.ctx.default_parallelism();
        BatchSessions { stream, gap, partitions, flush_on_stop: false }
    }
}

/// An open session: from its first batch to the gap after its last, and what its records have made.
type Open<A> = (Window, A);

impl<K: Key, V: Wire, N: Node<Out = (K, V)>> BatchSessions<K, V, N> {
    /// Keeps the sessions in this many partitions (at least 1); as many as the default parallelism otherwise.
    pub fn partitions(mut self, n: usize) -> Self {
        self.partitions = n.max(1);
        self
    }

    /// Ends all open sessions when the context is stopped gracefully, in one more batch after the last one with
    /// input.
    pub fn flush_on_stop(mut self) -> Self {
        self.flush_on_stop = true;
        self
    }

    /// The values of each session, merged by `f` (associative and commutative).
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![('a', 3), ('a', 4)], vec![]], |s| {
    ///     s.sessions(seconds(1)).reduce(|a, b| a + b).map(|(key, _, sum)| (key, sum)).boxed()
    /// });
    /// assert_eq!(out, [vec![], vec![('a', 7)]]);
    /// ```
    #[track_caller]
    pub fn reduce<F>(&self, f: F) -> DStream<(K, Window, V)>
    where
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        self.combined(Site::here("reduce"), ByReduce(f))
    }

    /// The values of each session added up: `add` to `zero` within a partition of the input, `merge`
    /// (associative and commutative) across partitions and batches.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![('a', 3), ('a', 9)], vec![]], |s| {
    ///     s.sessions(seconds(1))
    ///         .aggregate(0, |most: i32, x| most.max(x), |a, b| a.max(b))
    ///         .map(|(key, _, most)| (key, most))
    ///         .boxed()
    /// });
    /// assert_eq!(out, [vec![], vec![('a', 9)]]);
    /// ```
    #[track_caller]
    pub fn aggregate<A, F, M>(&self, zero: A, add: F, merge: M) -> DStream<(K, Window, A)>
    where
        A: Wire,
        F: Fn(A, V) -> A + Send + Sync + 'static,
        M: Fn(A, A) -> A + Send + Sync + 'static,
    {
        self.combined(Site::here("aggregate"), aggregation(zero, add, merge))
    }

    /// How many records each session has. For an example see [`DStream::sessions`].
    #[track_caller]
    pub fn count(&self) -> DStream<(K, Window, u64)> {
        self.combined(Site::here("count"), aggregation(0, |n, _| n + 1, |a, b| a + b))
    }

    /// All values of each session, by batch and partition. They must fit in memory.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![('a', 3)], vec![('a', 9)], vec![], vec![]], |s| {
    ///     s.sessions(seconds(2)).group().map(|(key, _, all)| (key, all)).boxed()
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![], vec![('a', vec![3, 9])]]);
    /// ```
    #[track_caller]
    pub fn group(&self) -> DStream<(K, Window, Vec<V>)> {
        self.combined(Site::here("group"), collected())
    }

    #[track_caller]
    fn combined<A: Wire>(&self, site: Site, f: impl Combine<V, A>) -> DStream<(K, Window, A)> {
        let (partitions, gap) = (self.partitions, self.gap);
        let tables: Arc<Tables<K, Open<A>>> = Arc::new(Tables::new(partitions, true, site));
        let (by, seed) = (Partitioning::Hash(partitions), self.stream.graph.ctx.0.env.seed);
        let stored = DurableTables::new(&tables, &by, seed, site);
        let spec = ReduceSpec::new(f, by, site);
        let stream = &self.stream;
        let (node, every) = (stream.node.clone(), stream.slide_duration());
        let flush = self.flush_on_stop;
        if flush {
            stream.graph.want_flush(every);
        }
        let (state, memory) = (tables.clone(), spec.memory.clone());
        stream.stateful(site, |op| {
            let make = move |g: &Graph, &batch: &Batch, note: &[u64]| {
                let t = batch.t;
                let flush = note.first() == Some(&1);
                let records = node.at(&GraphRef(g), t)?.map(|parent| {
                    let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                    Arc::new(spec.lineage(&g.ctx.0, key, parent))
                });
                let up = records.clone();
                let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| {
                    up.iter().for_each(|r| r.wide(out));
                };
                let (tables, f) = (tables.clone(), spec.f.clone());
                let now = Now { batch, gap, flush, site };
                let run = move |cx: &TaskCx<'_>| update(cx, &tables, now, &*f, records.as_deref());
                let stage = UpdateStage::make(g, (op, t), partitions, 0, wide, run);
                let out = Some(Erased::new(Arc::new(LeftBy::new(&stage, site))));
                Ok(Update { stage: Some(stage), out })
            };
            Stateful {
                note: Box::new(move |g, t| Ok(vec![u64::from(flush && g.is_flush(t, every))])),
                stored: vec![("", Arc::new(stored))],
                forget: Box::new(move |_| memory.tick()),
                ..Stateful::new(every, Some(state), make)
            }
        })
    }
}

#[derive(Clone, Copy)]
struct Now {
    batch: Batch,
    gap: Duration,
    flush: bool,
    site: Site,
}

/// One partition of one batch: first the sessions that are over, so that its records begin new ones.
fn update<K: Key, V: 'static, A: Wire, C: Combine<V, A>>(
    cx: &TaskCx<'_>,
    tables: &Tables<K, Open<A>>,
    Now { batch: Batch { t, base, collect }, gap, flush, site }: Now,
    f: &C,
    records: Option<&impl Pipe<Out = (K, A)>>,
) -> Result<(), TaskError> {
    let (part, seed) = (cx.partition(), cx.seed());
    let mut lease = tables.lease(part, base, t)?;
    let mut out: Vec<(K, Window, A)> = Vec::new();
    let mut over = |key: &K, state: &mut State<Open<A>>| {
        out.extend(state.get().map(|(w, a)| (key.clone(), *w, a.clone())));
    };
    lease.expire(first_kept(t, gap), &mut over);
    if let Some(records) = records {
        records.fold(cx, part, (), |(), (key, new)| {
            site.guard(|| {
                let hash = carried_hash(seed, &key);
                lease.upsert(hash, &key, |open| {
                    let (start, a) = match open.cloned() {
                        Some((w, a)) => (w.start(), f.merge(a, new)),
                        None => (t, new),
                    };
                    Some((Window::new(start, t + gap), a))
                });
            });
        })?;
    }
    if flush {
        lease.expire(Time::from_millis(u64::MAX), &mut over);
    }
    let n = out.len();
    cx.put_block(Kept::new(out, None), n)?;
    cx.put_result(vec![lease.collect(collect)?])?;
    lease.commit();
    Ok(())
}

impl<K, V, N> fmt::Debug for BatchSessions<K, V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchSessions({:?} of {:?})", self.gap, self.stream)
    }
}
