//! `update_state_by_key_iter`: a function of all keys of a partition at once, every batch, that may change keys.
//!
//! Two stages a batch: the first gives the states of the last batch and the new values to the function, and
//! leaves what it returns; the second puts that into the tables, in place of what was there. Between them the
//! states go to the partitions of their keys, unless they are promised to be there.

use std::collections::HashMap;
use std::sync::Arc;

use super::map_with_state::{Placed, StateSpec, elsewhere, initial_of, initial_states};
use super::state_pipe::StatePipe;
use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Node};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Pipe};
use crate::state::Tables;
use crate::state::durable::DurableTables;
use crate::{Result, StateStore, Time};

/// What the function of [`DStream::update_state_by_key_iter`] gets: each key of a partition that has a state or
/// values, once, with the values in the order of partitions and records, and the state if it has one.
pub type KeysOfPartition<K, V, S> = std::vec::IntoIter<(K, Vec<V>, Option<S>)>;

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The states of all keys, by a function of a whole partition: `f` gets the batch time and every key of the
    /// partition that has a state or values, and returns the keys and states that there are from now on. A key
    /// that it doesn't return is removed. It is called for every partition in every batch.
    ///
    /// `f` may change keys. As long as the spec says that the partitioner is remembered, which is the default,
    /// a key has to be one of the same partition; with [`StateSpec::remember_partitioner`]`(false)` it may be any
    /// key, for a shuffle of all states in each batch, which brings them to the partitions of their keys.
    ///
    /// Copies the states of a partition: [`DStream::update_state_by_key`] doesn't, and is to be preferred where
    /// one key at a time is enough.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// // Points by player and level. With more than five of them a player goes on to the next level.
    /// let out = run_sorted([vec![(('a', 0), 3)], vec![(('a', 0), 4), (('b', 0), 1)]], |s| {
    ///     s.update_state_by_key_iter(StateSpec::new().remember_partitioner(false), |_, all| {
    ///         all.map(|((player, level), new, old)| {
    ///             let points = old.unwrap_or(0) + new.iter().sum::<i32>();
    ///             if points > 5 { ((player, level + 1), 0) } else { ((player, level), points) }
    ///         })
    ///     })
    /// });
    /// assert_eq!(out, [vec![(('a', 0), 3)], vec![(('a', 1), 0), (('b', 0), 1)]]);
    /// ```
    ///
    /// # Panics
    /// For a spec with a time-out or a limit that evicts, and with states on disk. A batch fails when a key is
    /// returned twice, or in a partition that isn't its own although the partitioner is remembered.
    #[track_caller]
    pub fn update_state_by_key_iter<S, I, F>(&self, spec: StateSpec<K, S>, f: F) -> DStream<(K, S)>
    where
        K: Key,
        V: Wire,
        S: Wire,
        I: IntoIterator<Item = (K, S)>,
        F: Fn(Time, KeysOfPartition<K, V, S>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("update_state_by_key_iter");
        spec.without_timeout(site);
        let (remember, version) = (spec.remember_partitioner, spec.version);
        let Placed { partitioning, initial, limit } = spec.placed(&self.graph, site);
        let (parts, ctx) = (partitioning.partitions(), &self.graph.ctx.0);
        assert!(
            !limit.is_some_and(|l| l.evicts()),
            "{site}: nothing can be evicted behind a function that returns all states: let it return fewer, or \
             let the limit fail"
        );
        assert!(
            ctx.conf.state_store == StateStore::Memory,
            "{site}: the function gets all states of a partition at once, so they have to be in memory; with \
             `brooklet.state.store` = \"disk\" use `update_state_by_key`"
        );
        let tables = Arc::new(Tables::new(parts, false, site).limited(limit));
        let stored = DurableTables::new(&tables, &partitioning, ctx.env.seed, site);
        let stored = stored.whole_only().version(version);
        let all = Arc::new(Partitions { tables: tables.clone(), partitioning, f, site });
        let initial = initial_states(initial);
        let (values, states): (Arc<Memory<K, V>>, Arc<Memory<K, S>>) = Default::default();
        let (node, every) = (self.node.clone(), self.slide_duration());
        let (v, s) = (values.clone(), states.clone());
        self.stateful(site, |op| {
            let make = move |g: &Graph, &batch: &Batch, _: &[u64]| {
                let (t, ctx) = (batch.t, &g.ctx.0);
                let key = |sub| StageKey { op, sub, role: Role::Map, batch: t };
                let p = &all.partitioning;
                let grouped = node.at(&GraphRef(g), t)?.map(|parent| {
                    let dealt = Dealt::placed(ctx, key(0), parent, &values, p, site);
                    Arc::new(Grouped::new(dealt, parts, site))
                });
                let initial = initial(batch.base);
                let (gr, i) = (grouped.clone(), initial.clone());
                let wide = move |out: &mut Vec<_>| {
                    gr.iter().for_each(|d| d.wide(out));
                    i.iter().for_each(|i| i.wide(out));
                };
                let a = all.clone();
                let run = move |cx: &TaskCx<'_>| {
                    a.call(cx, &batch, initial.as_deref(), grouped.as_deref())
                };
                let records = all.tables.keys();
                let called = UpdateStage::numbered(g, (op, 1, t), parts, records, wide, run);
                ctx.add_body(&called);
                let left = Arc::new(LeftBy::new(&called, site));
                let new = match remember {
                    true => Dealt::there(left.erase(), p, site),
                    false => Dealt::new(ctx, key(1), left, &states, p, site),
                };
                let (new, a) = (Arc::new(new), all.clone());
                let n = new.clone();
                let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| n.wide(out);
                let run = move |cx: &TaskCx<'_>| a.store(cx, &batch, &new);
                let stage = UpdateStage::make(g, (op, t), parts, records, wide, run);
                let out = if remember && !elsewhere(g) {
                    let get = |k: &K, s: &S| Some((k.clone(), s.clone()));
                    let (tables, partitioning) = (all.tables.clone(), Some(p.clone()));
                    StatePipe { tables, t, stage: stage.clone(), get, partitioning, site }.erased()
                } else {
                    Erased::new(Arc::new(LeftBy::new(&called, site)))
                };
                Ok(Update { stage: Some(stage), out: Some(out) })
            };
            let forget = Box::new(move |_| {
                v.tick();
                s.tick();
            });
            let stored = vec![("", Arc::new(stored) as _)];
            Stateful { stored, forget, ..Stateful::new(every, Some(tables), make) }
        })
    }
}

/// The operator.
struct Partitions<K, S, F> {
    tables: Arc<Tables<K, S>>,
    partitioning: Partitioning<K>,
    f: F,
    site: Site,
}

impl<K: Key, S: Wire, F> Partitions<K, S, F> {
    /// Gives a partition to the function, and leaves what it returns.
    fn call<V: Wire, I>(
        &self,
        cx: &TaskCx<'_>,
        batch: &Batch,
        initial: Option<&Dealt<K, S>>,
        grouped: Option<&Grouped<K, V>>,
    ) -> Result<(), TaskError>
    where
        I: IntoIterator<Item = (K, S)>,
        F: Fn(Time, KeysOfPartition<K, V, S>) -> I,
    {
        let (part, site) = (cx.partition(), self.site);
        let groups = grouped.map(|g| g.read(cx, part)).transpose()?;
        let values = groups.as_ref().map(|g| g.in_memory(cx)).transpose()?;
        let values = values.as_deref().unwrap_or_default();
        let state = |k: &K, s: &S| (k.clone(), Vec::new(), Some(s.clone()));
        let mut all = site.guard(|| self.tables.read_base(part, batch.base, state))?;
        let (_, initial) = initial_of(initial, cx, site)?;
        all.extend(initial.into_iter().flatten().map(|(_, k, s)| (k, Vec::new(), Some(s))));
        cx.check()?;
        let out = site.guard(|| {
            let mut new: HashMap<&K, &Vec<V>, foldhash::fast::RandomState> =
                values.iter().map(|e| (&e.key, &e.val)).collect();
            for (key, values, _) in &mut all {
                if let Some(v) = new.remove(key) {
                    values.clone_from(v);
                }
            }
            let new = values.iter().filter(|e| new.contains_key(&e.key));
            all.extend(new.map(|e| (e.key.clone(), e.val.clone(), None)));
            (self.f)(batch.t, all.into_iter()).into_iter().collect::<Vec<_>>()
        });
        let n = out.len();
        cx.put_block(Kept::new(out, None), n)
    }

    /// Puts what the function has returned for the keys of a partition in place of what is there.
    fn store(
        &self,
        cx: &TaskCx<'_>,
        &Batch { t, base, collect }: &Batch,
        new: &Dealt<K, S>,
    ) -> Result<(), TaskError> {
        let (part, site) = (cx.partition(), self.site);
        let mut lease = self.tables.lease(part, base, t)?;
        // The places of keys that stay, with their new states; and other keys.
        let (mut stay, mut come) = (Vec::<(_, Option<S>)>::new(), Vec::new());
        new.each(cx, part, |chunk| {
            site.guard(|| {
                for e in chunk {
                    assert!(
                        self.partitioning.of(&e.key, e.hash) == part,
                        "the function has returned a key of another partition; \
                         `remember_partitioner(false)` in the spec permits that"
                    );
                    match lease.place(e.hash, &e.key) {
                        Some(place) => stay.push((place, Some(e.val.clone()))),
                        None => come.push(e.clone()),
                    }
                }
            });
            Ok(())
        })?;
        cx.check()?;
        let twice = || panic!("the function has returned a key twice: which state is it to have?");
        site.guard(|| {
            stay.sort_unstable_by_key(|(place, _)| *place);
            if stay.windows(2).any(|two| two[0].0 == two[1].0) {
                twice();
            }
            lease.pass(stay, |_, state, _| state.and_then(Option::take));
            for e in come {
                lease.upsert(e.hash, &e.key, |old| match old {
                    Some(_) => twice(),
                    None => Some(e.val),
                });
            }
        });
        cx.check()?;
        lease.fit()?;
        cx.put_result(vec![lease.collect(collect)?])?;
        lease.commit();
        Ok(())
    }
}
