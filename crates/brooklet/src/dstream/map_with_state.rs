//! `map_with_state`: a function of each record and the state of its key.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::state_pipe::StatePipe;
use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Kind, LineageNode, Node, by_user};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::rdd::combine::Spare;
use crate::rdd::group::Dealt;
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Partitioner, Pipe, Rdd};
use crate::state::durable::{Durable, DurableTables};
use crate::state::{
    Bounded, DiskTables, KeyedLease, KeyedStates, OnFull, State, StateLimit, Tables, Watched,
};
use crate::sync::{LockExt, Mutex};
use crate::{Result, StateStore, Time, conf::defaults};

/// How `map_with_state` keeps its state: what is there at first, in which partitions, and when idle keys go.
///
/// ```
/// use brooklet::prelude::*;
/// let spec: StateSpec<String, u64> = StateSpec::new().partitions(4).timeout(minutes(30));
/// ```
pub struct StateSpec<K, S> {
    initial: Option<Rdd<(K, S)>>,
    partitioning: Option<Partitioning<K>>,
    timeout: Option<Duration>,
    limit: Option<Bounded>,
    pub(super) remember_partitioner: bool,
    pub(super) version: Option<u32>,
}

impl<K, S> Default for StateSpec<K, S> {
    fn default() -> Self {
        StateSpec {
            initial: None,
            partitioning: None,
            timeout: None,
            limit: None,
            remember_partitioner: true,
            version: None,
        }
    }
}

impl<K: Key, S: Wire> StateSpec<K, S> {
    /// Nothing there at first, as many partitions as the default parallelism, no time-out.
    pub fn new() -> StateSpec<K, S> {
        StateSpec::default()
    }

    /// States that are there before the first batch, as if it had set them. Of several for one key the last
    /// one counts. The RDD must be made by the context, not by a stream.
    pub fn initial_state(mut self, states: Rdd<(K, S)>) -> StateSpec<K, S> {
        self.initial = Some(states);
        self
    }

    /// Into this many partitions (at least 1) by the hash of keys. The last of this and
    /// [`StateSpec::partitioner`] counts.
    pub fn partitions(mut self, n: usize) -> StateSpec<K, S> {
        self.partitioning = Some(Partitioning::hash(n));
        self
    }

    /// Into the partitions of the user's own partitioner.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn partitioner(mut self, partitioner: impl Partitioner<K>) -> StateSpec<K, S> {
        self.partitioning = Some(by_user(Site::here("partitioner"), partitioner));
        self
    }

    /// A key that had no record for longer than this, in batch time, is told to the function with
    /// [`State::is_timing_out`] and removed: in the first batch whose time is more than `idle` after that of the
    /// key's last record. Every batch looks, at a cost of the keys that go.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![('a', 1)], vec![], vec![], vec![]], |s| {
    ///     let spec = StateSpec::new().timeout(seconds(1));
    ///     s.map_with_state_spec(spec, |key, v: Option<i32>, n: &mut State<i32>| {
    ///         if let Some(v) = v {
    ///             n.update(v);
    ///         }
    ///         (*key, n.is_timing_out())
    ///     })
    ///     .boxed()
    /// });
    /// assert_eq!(out, [vec![('a', false)], vec![], vec![('a', true)], vec![]]);
    /// ```
    ///
    /// # Panics
    /// For a time of zero.
    #[track_caller]
    pub fn timeout(mut self, idle: Duration) -> StateSpec<K, S> {
        assert!(
            idle >= Duration::from_millis(1),
            "a time-out of {idle:?} is below one millisecond"
        );
        self.timeout = Some(idle);
        self
    }

    /// The most that the state may take, and what happens when a batch leaves more: it fails, or the keys that
    /// weren't touched for the longest time go until the rest is within the limit.
    ///
    /// Each partition has an equal share of the limit, so that nothing depends on the order of tasks; the
    /// shares add up to it. Looked at after all records and time-outs of a batch, so a batch may hold more while
    /// it runs. A key is touched by its records in `map_with_state`, and by a batch that has values for it in
    /// `update_state_by_key`. Of the keys that one batch has touched last, some may go and others stay: which
    /// ones follows from their hashes and the order of their records, and is the same for every attempt. The
    /// function isn't told of keys that go so, unlike time-outs: they aren't over, there is no room for them.
    /// They are counted in [`StateMetrics::evicted`](crate::metrics::StateMetrics::evicted).
    ///
    /// ```
    /// use brooklet::{OnFull, StateLimit, prelude::*};
    /// use brooklet::testing::run_sorted;
    /// // Two keys at most in the one partition: `a` goes when `c` comes, and begins anew.
    /// let out = run_sorted([vec![('a', 1)], vec![('b', 1)], vec![('c', 1)], vec![('a', 1), ('c', 1)]], |s| {
    ///     let spec = StateSpec::new().partitions(1).limit(StateLimit::keys(2), OnFull::EvictOldest);
    ///     s.map_with_state_spec(spec, |key, _: Option<i32>, n: &mut State<i32>| {
    ///         n.update(n.get().unwrap_or(&0) + 1);
    ///         (*key, *n.get().unwrap())
    ///     })
    ///     .boxed()
    /// });
    /// assert_eq!(out[3], [('a', 1), ('c', 2)]);
    /// ```
    ///
    /// An operator that is made with a limit below the number of its partitions panics.
    pub fn limit(mut self, limit: StateLimit, full: OnFull) -> StateSpec<K, S> {
        self.limit = Some(Bounded::new(limit, full));
        self
    }

    /// Whether the stream of states says which partitioner has placed them, so that what follows needn't shuffle
    /// by it: yes by default. Of use where a function changes keys.
    pub fn remember_partitioner(mut self, yes: bool) -> StateSpec<K, S> {
        self.remember_partitioner = yes;
        self
    }

    /// The version of the state's type, for types whose form can't be found out by looking at them (untagged
    /// enums, flattened fields, dynamic values): a checkpoint is read only by the version that wrote it. Other
    /// types need none.
    pub fn version(mut self, version: u32) -> StateSpec<K, S> {
        self.version = Some(version);
        self
    }

    /// # Panics
    /// When a time-out is set.
    #[track_caller]
    pub(super) fn without_timeout(&self, site: Site) {
        assert!(
            self.timeout.is_none(),
            "{site}: a time-out is for `map_with_state`; this function sees every key in every batch, and \
             removes a key by returning no state"
        );
    }

    /// The partitions, the initial states dealt out to them, and the limit.
    ///
    /// # Panics
    /// When the limit is below the number of partitions.
    #[track_caller]
    pub(super) fn placed(self, graph: &Graph, site: Site) -> Placed<K, S> {
        let parts = graph.ctx.default_parallelism();
        let partitioning = self.partitioning.unwrap_or(Partitioning::Hash(parts));
        let initial = self.initial.map(|rdd| rdd.dealt(&rdd.origin, &partitioning, site));
        let limit = self.limit.inspect(|l| l.check(partitioning.partitions(), site));
        Placed { partitioning, initial, limit }
    }
}

/// What a spec comes to in a graph.
pub(super) struct Placed<K, S> {
    pub(super) partitioning: Partitioning<K>,
    /// The initial states dealt out to the partitions.
    pub(super) initial: Option<Dealt<K, S>>,
    pub(super) limit: Option<Bounded>,
}

/// The states for the first batch to begin with: a function of the version that a batch starts from.
pub(super) fn initial_states<K: Key, S: Wire>(
    initial: Option<Dealt<K, S>>,
) -> impl Fn(Time) -> Option<Arc<Dealt<K, S>>> + Send + Sync {
    let initial = Mutex::new(initial.map(Arc::new));
    move |base| {
        let mut initial = initial.get();
        if base > Time::ZERO {
            *initial = None;
        }
        initial.clone()
    }
}

/// The initial states of a partition in their order, the last one of each key.
pub(super) fn initial_of<K: Key, S: Wire>(
    initial: Option<&Dealt<K, S>>,
    cx: &TaskCx<'_>,
    site: Site,
) -> Result<(HashMap<K, usize>, Vec<Option<(u32, K, S)>>), TaskError> {
    let (mut places, mut states) = (HashMap::new(), Vec::new());
    if let Some(initial) = initial {
        initial.each(cx, cx.partition(), |chunk| {
            for e in chunk {
                site.guard(|| {
                    let at = *places.entry(e.key.clone()).or_insert(states.len());
                    states.resize_with(states.len().max(at + 1), || None);
                    states[at] = Some((e.hash, e.key.clone(), e.val.clone()));
                });
            }
            Ok(())
        })?;
    }
    Ok((places, states))
}

impl<K, S> fmt::Debug for StateSpec<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSpec")
            .field("initial", &self.initial.is_some())
            .field("timeout", &self.timeout)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What `map_with_state` returns: the stream of what the function returns, with the states beside it.
pub struct StateStream<K, S, M> {
    mapped: DStream<M>,
    keyed: Arc<Keyed<K, S>>,
}

/// Where the states are.
enum Stored<K, S> {
    Memory(Arc<Tables<K, S>>),
    Disk(Arc<DiskTables<K, S>>),
}

/// What the operator and its snapshots share.
struct Keyed<K, S> {
    stored: Stored<K, S>,
    partitioning: Partitioning<K>,
    /// Update stages leave a snapshot beside their output, for tasks that can't see the tables.
    snapshots: AtomicBool,
    timeout: Option<Duration>,
    site: Site,
}

impl<K, S, M> Deref for StateStream<K, S, M> {
    type Target = DStream<M>;
    fn deref(&self) -> &DStream<M> {
        &self.mapped
    }
}

impl<K: Key, S: Wire, M: Data> StateStream<K, S, M> {
    /// [`DStream::name`] of the operator: the identity of its state.
    pub fn name(self, name: &str) -> StateStream<K, S, M> {
        StateStream { mapped: self.mapped.name(name), keyed: self.keyed }
    }

    /// Every key with its state after each batch: goes over all of them, so use it for what needs all.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1), ('b', 2)], vec![('a', 3)]], |s| {
    ///     let sums = s.map_with_state(|_, v: Option<i32>, sum: &mut State<i32>| {
    ///         sum.update(sum.get().unwrap_or(&0) + v.unwrap_or(0));
    ///     });
    ///     sums.state_snapshots()
    /// });
    /// assert_eq!(out, [[('a', 1), ('b', 2)], [('a', 4), ('b', 2)]]);
    /// ```
    #[track_caller]
    pub fn state_snapshots(&self) -> DStream<(K, S)> {
        let (site, slide) = (Site::here("state_snapshots"), self.mapped.slide_duration());
        let (node, keyed) = (self.mapped.node.clone(), self.keyed.clone());
        keyed.snapshots.store(true, Relaxed);
        self.mapped.operator(Kind::Lineage, site, |_| {
            LineageNode::new(slide, move |g, t| {
                let Some(mapped) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let mut stage = Vec::new();
                mapped.wide(&mut stage);
                let Some(stage) = stage.pop() else { return Ok(None) };
                Ok(Some(keyed.snapshot(g, t, &stage, site)))
            })
        })
    }
}

impl<K, S, M> fmt::Debug for StateStream<K, S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mapped.fmt(f)
    }
}

/// Whether tasks run where the driver's tables aren't.
pub(super) fn elsewhere(graph: &Graph) -> bool {
    graph.ctx.0.executor || graph.ctx.0.engine().is_ok_and(|e| e.remote())
}

impl<K: Key, S: Wire> Keyed<K, S> {
    /// The states of version `t`, which `stage` makes.
    fn snapshot(
        &self,
        graph: &Graph,
        t: Time,
        stage: &Arc<dyn TaskBody>,
        site: Site,
    ) -> Erased<(K, S)> {
        if elsewhere(graph) {
            return Erased::new(Arc::new(LeftBy::block(stage, 1, site)));
        }
        let get = |k: &K, s: &S| Some((k.clone(), s.clone()));
        let partitioning = Some(self.partitioning.clone());
        let stage = stage.clone();
        match &self.stored {
            Stored::Memory(tables) => {
                let tables = tables.clone();
                StatePipe { tables, t, stage, get, partitioning, site }.erased()
            }
            Stored::Disk(tables) => {
                let tables = tables.clone();
                StatePipe { tables, t, stage, get, partitioning, site }.erased()
            }
        }
    }

    /// One partition of one batch.
    fn update<V: Wire, M: Wire>(
        &self,
        tables: &impl KeyedStates<Key = K, State = S>,
        cx: &TaskCx<'_>,
        &Batch { t, base, collect, .. }: &Batch,
        (initial, dealt): (Option<&Dealt<K, S>>, Option<&Dealt<K, V>>),
        home: &Arc<Spare<M>>,
        f: impl Fn(Time, &K, Option<V>, &mut State<S>) -> Option<M>,
    ) -> Result<(), TaskError> {
        let (part, site) = (cx.partition(), self.site);
        let (mut lease, mut out) = (tables.lease(part, base, t)?, home.take(0));
        if let Some(initial) = initial {
            initial.each(cx, part, |chunk| {
                for e in chunk {
                    let set = |s: &mut State<S>| s.update(e.val.clone());
                    site.guard(|| lease.with(e.hash, &e.key, set))?;
                }
                cx.check()
            })?;
        }
        if let Some(dealt) = dealt {
            dealt.each(cx, part, |chunk| {
                for (i, e) in chunk.iter().enumerate() {
                    lease.ahead(i, |i| chunk.get(i).map(|e| e.hash));
                    let call = |s: &mut State<S>| f(t, &e.key, Some(e.val.clone()), s);
                    out.extend(site.guard(|| lease.with(e.hash, &e.key, call))?);
                }
                cx.check()
            })?;
        }
        if let Some(timeout) = self.timeout {
            lease.expire(t - timeout, |key, state| {
                out.extend(site.guard(|| f(t, key, None, state)));
            })?;
        }
        lease.fit()?;
        cx.check()?;
        let n = out.len();
        cx.put_block(Kept::new(out, Some(home)), n)?;
        if self.snapshots.load(Relaxed) && cx.leaves_bytes() {
            cx.put_block(Kept::new(lease.all(|k, s| (k.clone(), s.clone()))?, None), 0)?;
        }
        cx.put_result(vec![lease.collect(collect)?])?;
        lease.commit();
        Ok(())
    }
}

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// `f` of each record's key and value, and of the state of that key, which it may read, set and remove: one
    /// call after the other for the records of a key, in the order of partitions and records. What `f` returns
    /// is the stream. A batch costs what it touches, however many keys there are.
    ///
    /// The state is changed once per batch, whether or not an output wants the stream. It ends with the
    /// process unless a checkpoint directory is set.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![('a', 1), ('a', 2)], vec![('a', 3)]], |s| {
    ///     s.map_with_state(|key, v: Option<i32>, sum: &mut State<i32>| {
    ///         let now = sum.get().unwrap_or(&0) + v.unwrap_or(0);
    ///         sum.update(now);
    ///         (*key, now)
    ///     })
    ///     .boxed()
    /// });
    /// assert_eq!(out, [vec![('a', 1), ('a', 3)], vec![('a', 6)]]);
    /// ```
    ///
    /// # Panics
    /// A task fails when `f` panics, [`State::update`] after [`State::remove`] among it; then nothing that it
    /// has changed in this attempt stays.
    #[track_caller]
    pub fn map_with_state<S, M, F>(&self, f: F) -> StateStream<K, S, M>
    where
        K: Key,
        V: Wire,
        S: Wire,
        M: Wire,
        F: Fn(&K, Option<V>, &mut State<S>) -> M + Send + Sync + 'static,
    {
        self.map_with_state_spec(StateSpec::new(), f)
    }

    /// [`DStream::map_with_state`] with initial states, partitions or a time-out.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// // A batch is a second: `a` has been idle for more than one second in the third.
    /// let out = run([vec![('a', 1)], vec![], vec![], vec![]], |s| {
    ///     let spec = StateSpec::new().timeout(seconds(1));
    ///     s.map_with_state_spec(spec, |key, v: Option<i32>, last: &mut State<i32>| match v {
    ///         Some(v) => { last.update(v); format!("{key}={v}") }
    ///         None => format!("{key} is gone, it was {:?}", last.get()),
    ///     })
    ///     .boxed()
    /// });
    /// assert_eq!(out, [vec!["a=1"], vec![], vec!["a is gone, it was Some(1)"], vec![]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::map_with_state`].
    #[track_caller]
    pub fn map_with_state_spec<S, M, F>(&self, spec: StateSpec<K, S>, f: F) -> StateStream<K, S, M>
    where
        K: Key,
        V: Wire,
        S: Wire,
        M: Wire,
        F: Fn(&K, Option<V>, &mut State<S>) -> M + Send + Sync + 'static,
    {
        let site = Site::here("map_with_state");
        self.with_state(site, spec, move |_, k: &K, v, s: &mut State<S>| Some(f(k, v, s)))
    }

    /// [`DStream::map_with_state_spec`] of a function that also gets the batch time and may return nothing.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// // Each key the first time that it is seen.
    /// let out = run([vec![('a', ()), ('b', ())], vec![('a', ()), ('c', ())]], |s| {
    ///     s.map_with_state_at(StateSpec::new().partitions(1), |t, key, _, seen: &mut State<()>| {
    ///         if seen.exists() { return None }
    ///         seen.update(());
    ///         Some((*key, t.millis()))
    ///     })
    ///     .boxed()
    /// });
    /// assert_eq!(out, [vec![('a', 1000), ('b', 1000)], vec![('c', 2000)]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::map_with_state`].
    #[track_caller]
    pub fn map_with_state_at<S, M, F>(&self, spec: StateSpec<K, S>, f: F) -> StateStream<K, S, M>
    where
        K: Key,
        V: Wire,
        S: Wire,
        M: Wire,
        F: Fn(Time, &K, Option<V>, &mut State<S>) -> Option<M> + Send + Sync + 'static,
    {
        self.with_state(Site::here("map_with_state"), spec, f)
    }

    #[track_caller]
    fn with_state<S, M, F>(&self, site: Site, spec: StateSpec<K, S>, f: F) -> StateStream<K, S, M>
    where
        K: Key,
        V: Wire,
        S: Wire,
        M: Wire,
        F: Fn(Time, &K, Option<V>, &mut State<S>) -> Option<M> + Send + Sync + 'static,
    {
        let (timeout, version) = (spec.timeout, spec.version);
        let Placed { partitioning, initial, limit } = spec.placed(&self.graph, site);
        let initial = initial_states(initial);
        let ctx = &self.graph.ctx.0;
        let parts = partitioning.partitions();
        let by_time = timeout.is_some() || limit.is_some_and(|l| l.evicts());
        let mut durable: Vec<(&'static str, Arc<dyn Durable>)> = Vec::new();
        let (stored, state): (_, Arc<dyn Watched>) = match ctx.conf.state_store {
            StateStore::Memory => {
                let tables = Arc::new(Tables::new(parts, by_time, site).limited(limit));
                let part = DurableTables::new(&tables, &partitioning, ctx.env.seed, site);
                durable.push(("", Arc::new(part.version(version))));
                (Stored::Memory(tables.clone()), tables)
            }
            StateStore::Disk => {
                let disk = ctx.env.disk_state.clone();
                let tables = Arc::new(DiskTables::new(parts, by_time, limit, site, disk));
                (Stored::Disk(tables.clone()), tables)
            }
        };
        let keyed = Arc::new(Keyed {
            stored,
            partitioning,
            snapshots: AtomicBool::new(false),
            timeout,
            site,
        });
        let (f, memory, home): (_, Arc<Memory<K, V>>, _) =
            (Arc::new(f), Arc::default(), Arc::new(Spare::new(defaults::KEPT_MEMORY_PER_OPERATOR)));
        let (node, every, k) = (self.node.clone(), self.slide_duration(), keyed.clone());
        let (kept, mem) = (home.clone(), memory.clone());
        let mapped = self.stateful(site, |op| {
            let make = move |g: &Graph, &batch: &Batch, _: &[u64]| {
                let Batch { t, base, .. } = batch;
                let parent = node.at(&GraphRef(g), t)?;
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                let dealt = parent.map(|p| {
                    let p = Dealt::placed(&g.ctx.0, key, p, &memory, &k.partitioning, site);
                    Arc::new(p)
                });
                let initial = initial(base);
                let (d, i) = (dealt.clone(), initial.clone());
                let wide = move |out: &mut Vec<_>| {
                    d.iter().for_each(|d| d.wide(out));
                    i.iter().for_each(|i| i.wide(out));
                };
                let records = dealt.as_ref().map_or(0, |d| d.input_records());
                let (k, f, home) = (k.clone(), f.clone(), home.clone());
                let width = k.partitioning.partitions();
                let run = move |cx: &TaskCx<'_>| {
                    let records = (initial.as_deref(), dealt.as_deref());
                    match &k.stored {
                        Stored::Memory(s) => k.update(&**s, cx, &batch, records, &home, &*f),
                        Stored::Disk(s) => k.update(&**s, cx, &batch, records, &home, &*f),
                    }
                };
                let stage = UpdateStage::make(g, (op, t), width, records, wide, run);
                let out = Some(Erased::new(Arc::new(LeftBy::new(&stage, site))));
                Ok(Update { stage: Some(stage), out })
            };
            let forget = Box::new(move |_| {
                kept.tick();
                mem.tick();
            });
            Stateful { stored: durable, forget, ..Stateful::new(every, Some(state), make) }
        });
        StateStream { mapped, keyed }
    }
}
