//! `update_state_by_key`: a function of every key's state and new values, every batch.

use std::collections::HashMap;
use std::sync::Arc;

use super::map_with_state::{Placed, StateSpec, elsewhere, initial_of, initial_states};
use super::state_pipe::StatePipe;
use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Node};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskCx, TaskError};
use crate::rdd::Erased;
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;
use crate::state::durable::{Durable, DurableTables};
use crate::state::{Bounded, RunTables, Tables, Versions, Watched};
use crate::{Result, StateStore, Time};

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The states of all keys: `f` gets the values that a key has in a batch (in the order of partitions and
    /// records; none for most keys) and its state, and returns the new state, or none to remove the key. It is
    /// called for every known key in every batch, also when the batch has no RDD: that costs all keys, where
    /// [`DStream::map_with_state`] costs those of the batch.
    ///
    /// The state is changed once per batch, whether or not an output wants the stream. It ends with the
    /// process unless a checkpoint directory is set.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', 1), ('b', 5), ('a', 2)], vec![], vec![('b', -5)]], |s| {
    ///     s.update_state_by_key(|new: &[i32], old| {
    ///         let sum = old.unwrap_or(0) + new.iter().sum::<i32>();
    ///         (sum != 0).then_some(sum)
    ///     })
    /// });
    /// assert_eq!(out, [vec![('a', 3), ('b', 5)], vec![('a', 3), ('b', 5)], vec![('a', 3)]]);
    /// ```
    #[track_caller]
    pub fn update_state_by_key<S, F>(&self, f: F) -> DStream<(K, S)>
    where
        K: Key,
        V: Wire,
        S: Wire,
        F: Fn(&[V], Option<S>) -> Option<S> + Send + Sync + 'static,
    {
        self.update_state_by_key_spec(StateSpec::new(), f)
    }

    /// [`DStream::update_state_by_key`] with initial states, which the first batch finds as if a batch before
    /// had made them, or with partitions.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![("hello".to_string(), 1)]], |words| {
    ///     let known = words.context().parallelize([("hello", 1), ("world", 1)].map(|(w, n)| (w.to_string(), n)), 2);
    ///     let spec = StateSpec::new().initial_state(known).partitions(3);
    ///     words.update_state_by_key_spec(spec, |new: &[i32], n| Some(n.unwrap_or(0) + new.iter().sum::<i32>()))
    /// });
    /// assert_eq!(out, [vec![("hello".to_string(), 2), ("world".to_string(), 1)]]);
    /// ```
    ///
    /// # Panics
    /// For a spec with a time-out: `f` sees every key in every batch and removes what it wants.
    #[track_caller]
    pub fn update_state_by_key_spec<S, F>(&self, spec: StateSpec<K, S>, f: F) -> DStream<(K, S)>
    where
        K: Key,
        V: Wire,
        S: Wire,
        F: Fn(&[V], Option<S>) -> Option<S> + Send + Sync + 'static,
    {
        let site = Site::here("update_state_by_key");
        self.updated_state(site, spec, move |_, _: &K, new: &[V], old| f(new, old))
    }

    /// [`DStream::update_state_by_key_spec`] of a function that also gets the batch time and the key.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![('a', ())], vec![('b', ())]], |s| {
    ///     s.update_state_by_key_at(StateSpec::new(), |t, _, new: &[()], since: Option<u64>| {
    ///         since.or((!new.is_empty()).then_some(t.millis()))
    ///     })
    /// });
    /// assert_eq!(out, [vec![('a', 1000)], vec![('a', 1000), ('b', 2000)]]);
    /// ```
    ///
    /// # Panics
    /// As [`DStream::update_state_by_key_spec`].
    #[track_caller]
    pub fn update_state_by_key_at<S, F>(&self, spec: StateSpec<K, S>, f: F) -> DStream<(K, S)>
    where
        K: Key,
        V: Wire,
        S: Wire,
        F: Fn(Time, &K, &[V], Option<S>) -> Option<S> + Send + Sync + 'static,
    {
        self.updated_state(Site::here("update_state_by_key"), spec, f)
    }

    #[track_caller]
    fn updated_state<S, F>(&self, site: Site, spec: StateSpec<K, S>, f: F) -> DStream<(K, S)>
    where
        K: Key,
        V: Wire,
        S: Wire,
        F: Fn(Time, &K, &[V], Option<S>) -> Option<S> + Send + Sync + 'static,
    {
        spec.without_timeout(site);
        let (remember, version) = (spec.remember_partitioner, spec.version);
        let Placed { partitioning, initial, limit } = spec.placed(&self.graph, site);
        let initial = initial_states(initial);
        let (parts, ctx) = (partitioning.partitions(), &self.graph.ctx.0);
        let mut durable: Vec<(&'static str, Arc<dyn Durable>)> = Vec::new();
        let (stored, state): (_, Arc<dyn Watched>) = match ctx.conf.state_store {
            StateStore::Memory => {
                let by_time = limit.is_some_and(|l| l.evicts());
                let tables = Arc::new(Tables::new(parts, by_time, site).limited(limit));
                let part = DurableTables::new(&tables, &partitioning, ctx.env.seed, site);
                durable.push(("", Arc::new(part.whole_only().version(version))));
                (Stored::Memory(tables.clone()), tables)
            }
            StateStore::Disk => {
                let tables = RunTables::new(parts, limit, site, ctx.env.disk_state.clone());
                let tables = Arc::new(tables);
                (Stored::Disk(tables.clone()), tables)
            }
        };
        let all = Arc::new(AllKeys { stored, partitioning, limit, f, site, remember });
        let memory: Arc<Memory<K, V>> = Arc::default();
        let (node, every) = (self.node.clone(), self.slide_duration());
        let kept = memory.clone();
        self.stateful(site, |op| {
            let make = move |g: &Graph, &batch: &Batch, _: &[u64]| {
                let Batch { t, base, .. } = batch;
                let width = all.partitioning.partitions();
                let grouped = node.at(&GraphRef(g), t)?.map(|parent| {
                    let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                    let p = &all.partitioning;
                    Arc::new(Grouped::new(
                        Dealt::placed(&g.ctx.0, key, parent, &memory, p, site),
                        width,
                        site,
                    ))
                });
                let initial = initial(base);
                let (gr, i) = (grouped.clone(), initial.clone());
                let wide = move |out: &mut Vec<_>| {
                    use crate::rdd::Pipe;
                    gr.iter().for_each(|d| d.wide(out));
                    i.iter().for_each(|i| i.wide(out));
                };
                let (a, records) = (all.clone(), all.keys());
                let run = move |cx: &TaskCx<'_>| {
                    let (initial, grouped) = (initial.as_deref(), grouped.as_deref());
                    match &a.stored {
                        Stored::Memory(s) => a.update(s, cx, &batch, initial, grouped),
                        Stored::Disk(s) => a.update_on_disk(s, cx, &batch, initial, grouped),
                    }
                };
                let stage = UpdateStage::make(g, (op, t), width, records, wide, run);
                let out = if elsewhere(g) {
                    Erased::new(Arc::new(LeftBy::new(&stage, site)))
                } else {
                    let get = |k: &K, s: &S| Some((k.clone(), s.clone()));
                    let partitioning = all.remember.then(|| all.partitioning.clone());
                    let stage = stage.clone();
                    match &all.stored {
                        Stored::Memory(tables) => {
                            let tables = tables.clone();
                            StatePipe { tables, t, stage, get, partitioning, site }.erased()
                        }
                        Stored::Disk(tables) => {
                            let tables = tables.clone();
                            StatePipe { tables, t, stage, get, partitioning, site }.erased()
                        }
                    }
                };
                Ok(Update { stage: Some(stage), out: Some(out) })
            };
            let forget = Box::new(move |_| kept.tick());
            Stateful { stored: durable, forget, ..Stateful::new(every, Some(state), make) }
        })
    }
}

/// Where the states are.
enum Stored<K, S> {
    Memory(Arc<Tables<K, S>>),
    Disk(Arc<RunTables<K, S>>),
}

/// The operator.
struct AllKeys<K, S, F> {
    stored: Stored<K, S>,
    partitioning: Partitioning<K>,
    limit: Option<Bounded>,
    f: F,
    site: Site,
    remember: bool,
}

impl<K: Key, S: Wire, F> AllKeys<K, S, F> {
    fn keys(&self) -> usize {
        match &self.stored {
            Stored::Memory(tables) => tables.keys(),
            Stored::Disk(tables) => tables.keys(),
        }
    }

    /// One partition of one batch, in memory.
    fn update<V: Wire>(
        &self,
        tables: &Tables<K, S>,
        cx: &TaskCx<'_>,
        &Batch { t, base, collect, .. }: &Batch,
        initial: Option<&Dealt<K, S>>,
        grouped: Option<&Grouped<K, V>>,
    ) -> Result<(), TaskError>
    where
        F: Fn(Time, &K, &[V], Option<S>) -> Option<S>,
    {
        let (part, site) = (cx.partition(), self.site);
        let mut lease = tables.lease(part, base, t)?;
        let groups = grouped.map(|g| g.read(cx, part)).transpose()?;
        let all = groups.as_ref().map(|g| g.in_memory(cx)).transpose()?;
        let entries = all.as_deref().unwrap_or_default();
        let new = site.guard(|| {
            lease.pass_entries(entries, |key, values, old| {
                (self.f)(t, key, values.map_or(&[], |v| v), Some(old))
            })
        });
        cx.check()?;
        if self.limit.is_some_and(|l| l.evicts()) {
            site.guard(|| entries.iter().for_each(|e| lease.touch(e.hash, &e.key)));
        }
        let (places, mut states) = initial_of(initial, cx, site)?;
        let mut set = |hash, key: &K, values: &[V], old| {
            site.guard(|| {
                if let Some(now) = (self.f)(t, key, values, old) {
                    lease.upsert(hash, key, |_| Some(now));
                }
            });
        };
        for e in new {
            let old = places.get(&e.key).and_then(|at| states[*at].take());
            set(e.hash, &e.key, &e.val, old.map(|(_, _, s)| s));
        }
        for (hash, key, old) in states.into_iter().flatten() {
            set(hash, &key, &[], Some(old));
        }
        cx.check()?;
        lease.fit()?;
        if cx.leaves_bytes() {
            let all = lease.all(|k, s| (k.clone(), s.clone()));
            let n = all.len();
            cx.put_block(Kept::new(all, None), n)?;
        }
        cx.put_result(vec![lease.collect(collect)?])?;
        lease.commit();
        Ok(())
    }

    /// One partition of one batch, from file to file.
    fn update_on_disk<V: Wire>(
        &self,
        tables: &RunTables<K, S>,
        cx: &TaskCx<'_>,
        &Batch { t, base, .. }: &Batch,
        initial: Option<&Dealt<K, S>>,
        grouped: Option<&Grouped<K, V>>,
    ) -> Result<(), TaskError>
    where
        F: Fn(Time, &K, &[V], Option<S>) -> Option<S>,
    {
        let (part, site) = (cx.partition(), self.site);
        let mut lease = tables.lease(part, base, t)?;
        let groups = grouped.map(|g| g.read(cx, part)).transpose()?;
        let all = groups.as_ref().map(|g| g.in_memory(cx)).transpose()?;
        let entries = all.as_deref().unwrap_or_default();
        // Where the values of a key are, until they are given out.
        let mut places: HashMap<&K, usize, foldhash::fast::RandomState> = HashMap::default();
        site.guard(|| places.extend(entries.iter().enumerate().map(|(i, e)| (&e.key, i))));
        lease.pass(
            |_, key, old| {
                site.guard(|| {
                    let at = places.remove(key);
                    let values = at.map_or(&[][..], |i| &entries[i].val);
                    ((self.f)(t, key, values, Some(old)), at.is_some())
                })
            },
            || cx.check(),
        )?;
        let (first, mut states) = initial_of(initial, cx, site)?;
        let mut set =
            |hash, key: &K, values: &[V], old| match site.guard(|| (self.f)(t, key, values, old)) {
                Some(now) => lease.set(hash, key, &now),
                None => Ok(()),
            };
        for (i, e) in entries.iter().enumerate() {
            if site.guard(|| places.get(&e.key)) == Some(&i) {
                let old = first.get(&e.key).and_then(|at| states[*at].take());
                set(e.hash, &e.key, &e.val, old.map(|(_, _, s)| s))?;
            }
        }
        for (hash, key, old) in states.into_iter().flatten() {
            set(hash, &key, &[], Some(old))?;
        }
        cx.check()?;
        lease.fit()?;
        if cx.leaves_bytes() {
            let all = lease.all(|k, s| (k.clone(), s.clone()))?;
            let n = all.len();
            cx.put_block(Kept::new(all, None), n)?;
        }
        cx.put_result(Vec::<Vec<u8>>::new())?;
        lease.commit()
    }
}
