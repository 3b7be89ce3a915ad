//! Windows by key, kept up by what comes and what goes: the frame of `reduce_by_key_and_window` and its
//! relatives.
//!
//! A partition keeps for each batch of the window the entries that the batch has for its keys, combined, and
//! for each key what its window adds up to. A slide costs the keys of the batches that come and go.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::map_with_state::elsewhere;
use super::state_pipe::StatePipe;
use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::window::Span;
use super::{DStream, Graph, GraphRef, Node};
use crate::checkpoint::schema::{EntryError, Opaque, decode};
use crate::checkpoint::{DeltaBuilder, Entries as Stored, PutError};
use crate::data::{Data, HashSeed, Key, Wire};
use crate::engine::{OpId, Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::rdd::combine::{Entry, Table, group_of};
use crate::rdd::kept::Kept;
use crate::rdd::partitioner::{Partitioning, carried_hash};
use crate::rdd::{Erased, Pipe, detach};
use crate::state::durable::{
    Collect, Durable, DurableTables, Form, not_read, not_written, put, schema_of,
};
use crate::state::{Beside, Lease, Place, Tables};
use crate::time::ByTime;
use crate::{Error, Result, Time};

/// What one batch has for the keys of a partition.
pub(super) struct Delta<K, V> {
    pub(super) t: Time,
    entries: Combined<K, V>,
}

enum Combined<K, V> {
    /// What the shuffle has merged, as it is.
    Shared(Arc<Kept<Entry<K, V>>>),
    Own(Vec<Entry<K, V>>),
}

impl<K, V> Delta<K, V> {
    pub(super) fn entries(&self) -> &[Entry<K, V>] {
        match &self.entries {
            Combined::Shared(kept) => kept.records().unwrap_or_default(),
            Combined::Own(entries) => entries,
        }
    }
}

/// A batch that is in the window: where the keys of its entries are, and what it has for them.
pub(super) struct Inside<V> {
    pub(super) t: Time,
    pub(super) places: Arc<Vec<Place>>,
    pub(super) vals: Arc<Vec<V>>,
}

impl<V> Inside<V> {
    pub(super) fn new(t: Time, places: Vec<Place>, vals: Vec<V>) -> Inside<V> {
        Inside { t, places: Arc::new(places), vals: Arc::new(vals) }
    }
}

impl<V> Clone for Inside<V> {
    fn clone(&self) -> Self {
        Inside { t: self.t, places: self.places.clone(), vals: self.vals.clone() }
    }
}

/// The batches that a partition keeps.
pub(super) struct Held<K, V, X> {
    /// They aren't in the window yet: its end lies behind them.
    coming: VecDeque<Arc<Delta<K, V>>>,
    /// They are in the window, oldest first.
    pub(super) inside: VecDeque<Inside<V>>,
    /// What the kind of window keeps itself.
    pub(super) own: X,
}

impl<K, V, X: Clone> Clone for Held<K, V, X> {
    fn clone(&self) -> Self {
        Held { coming: self.coming.clone(), inside: self.inside.clone(), own: self.own.clone() }
    }
}

impl<K, V, X: Default> Default for Held<K, V, X> {
    fn default() -> Self {
        Held { coming: VecDeque::new(), inside: VecDeque::new(), own: X::default() }
    }
}

/// The lease of a partition of such a window.
pub(super) type WindowLease<'a, K, V, W> =
    Lease<'a, K, <W as Kind<K, V>>::Sum, Held<K, V, <W as Kind<K, V>>::Own>>;

/// How a window adds up.
pub(super) trait Kind<K: Key, V: Wire>: Send + Sync + Sized + 'static {
    /// What it keeps for a key.
    type Sum: Wire;
    /// What it keeps beside the keys.
    type Own: Beside;
    /// What it gives out for a key.
    type Out: Wire;
    /// Whether checkpoints store the sums; else they are made again of the batches.
    const STORED: bool;

    /// The window moves on: `gone` are the batches that leave it, oldest first; those that stay are in
    /// `lease.extra().inside`.
    fn leave(&self, lease: &mut WindowLease<'_, K, V, Self>, gone: &[Inside<V>]);

    /// Batches join the window, oldest first.
    fn join(
        &self,
        lease: &mut WindowLease<'_, K, V, Self>,
        come: &[Arc<Delta<K, V>>],
    ) -> Vec<Inside<V>>;

    /// What is to be done when batches have left and others have joined.
    fn settle(&self, _: &mut WindowLease<'_, K, V, Self>, _: &[Inside<V>]) {}

    /// What a key has in the window.
    fn get(&self, key: &K, sum: &Self::Sum) -> Option<Self::Out>;
}

/// Gives the states of the keys of a batch that is in the window to `f`, with the number and the value of each.
pub(super) fn each_place<K: Key, S: Wire, X: Beside, V>(
    lease: &mut Lease<'_, K, S, X>,
    inside: &Inside<V>,
    f: impl FnMut(usize, &V, Option<&S>) -> Option<S>,
) {
    lease.upsert_places((&inside.places, &inside.vals), f);
}

/// The reduce side of one batch, as the window reads it.
pub(super) trait Entries<K, V>: Pipe {
    fn entries(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Kept<Entry<K, V>>>, TaskError>;
}

/// The operator.
struct Windowed<K, V, W>
where
    K: Key,
    V: Wire,
    W: Kind<K, V>,
{
    tables: Arc<Tables<K, W::Sum, Held<K, V, W::Own>>>,
    kind: Arc<W>,
    span: Span,
    site: Site,
}

impl<K: Key, V: Wire, W: Kind<K, V>> Windowed<K, V, W> {
    /// One partition of one batch; `ends` says that a window ends with it.
    fn update(
        &self,
        cx: &TaskCx<'_>,
        &Batch { t, base, collect }: &Batch,
        batch: Option<&impl Entries<K, V>>,
        ends: bool,
    ) -> Result<(), TaskError> {
        let part = cx.partition();
        let (mut dropped, mut late) = (Vec::new(), Vec::new());
        let mut lease = self.tables.lease(part, base, t)?;
        if let Some(batch) = batch {
            let kept = batch.entries(cx, part)?;
            if kept.len() > 0 {
                // Texts that are slices of received blocks would keep these as long as the window.
                let entries = match kept.records() {
                    Some(records) if !detach::would_copy(records) => Combined::Shared(kept),
                    _ => {
                        let all = self.site.guard(|| kept.in_memory(cx).map(Cow::into_owned))?;
                        Combined::Own(detach::all(all))
                    }
                };
                lease.extra().coming.push_back(Arc::new(Delta { t, entries }));
            }
        }
        if ends {
            let begin = self.span.begin(t);
            let held = lease.extra();
            let in_time = |d: &Arc<Delta<K, V>>| d.t >= begin;
            let at = held.inside.partition_point(|d| d.t < begin);
            let gone: Vec<_> = held.inside.drain(..at).collect();
            let come;
            (come, late) = held.coming.drain(..).partition(in_time);
            self.site.guard(|| {
                self.kind.leave(&mut lease, &gone);
                self.join(&mut lease, come);
                self.kind.settle(&mut lease, &gone);
            });
            dropped = gone;
            cx.check()?;
            if cx.leaves_bytes() {
                let out = self.site.guard(|| lease.all(|k, s| self.kind.get(k, s)));
                let out: Vec<_> = out.into_iter().flatten().collect();
                let n = out.len();
                cx.put_block(Kept::new(out, None), n)?;
            }
        } else if cx.leaves_bytes() {
            cx.put_block(Kept::<W::Out>::new(Vec::new(), None), 0)?;
        }
        if collect != Collect::Nothing {
            let batches = self.batches(&lease, t, (&dropped, &late), collect);
            let batches = batches.map_err(|e| not_written(self.site, e))?;
            let mut changes = Vec::new();
            if W::STORED {
                changes.push(lease.collect(collect)?);
            }
            changes.push(batches);
            cx.put_result(changes)?;
        } else {
            cx.put_result(Vec::<Vec<u8>>::new())?;
        }
        lease.commit();
        Ok(())
    }

    fn join(&self, lease: &mut WindowLease<'_, K, V, W>, come: Vec<Arc<Delta<K, V>>>) {
        let inside = self.kind.join(lease, &come);
        lease.extra().inside.extend(inside);
    }

    /// What checkpoints get of the batches that are kept.
    fn batches(
        &self,
        lease: &WindowLease<'_, K, V, W>,
        t: Time,
        (gone, late): (&[Inside<V>], &[Arc<Delta<K, V>>]),
        collect: Collect,
    ) -> Result<Vec<u8>, PutError<EntryError>> {
        let mut out = DeltaBuilder::default();
        let held = lease.beside();
        let wanted = |of: Time| collect == Collect::Whole || of == t;
        let mut inside = |d: &Inside<V>, there: bool| {
            d.places.iter().zip(d.vals.iter()).try_for_each(|(at, v)| {
                let Some(key) = lease.key_at(*at) else { return Ok(()) };
                let value = there.then_some((None, v));
                put(&mut out, at.group(), &(d.t.millis(), key), value)
            })
        };
        held.inside.iter().filter(|d| wanted(d.t)).try_for_each(|d| inside(d, true))?;
        if collect == Collect::Changes {
            gone.iter().try_for_each(|d| inside(d, false))?;
        }
        let mut coming = |d: &Delta<K, V>, there: bool| {
            d.entries().iter().try_for_each(|e| {
                let value = there.then_some((None, &e.val));
                put(&mut out, group_of(e.hash), &(d.t.millis(), &e.key), value)
            })
        };
        held.coming.iter().filter(|d| wanted(d.t)).try_for_each(|d| coming(d, true))?;
        if collect == Collect::Changes {
            // One that comes too late to be in a window may never have been written; that does no harm.
            late.iter().try_for_each(|d| coming(d, false))?;
        }
        Ok(out.finish().into_bytes())
    }
}

/// The batches of a window, as checkpoints store them: entries by time and key.
struct DurableBatches<K: Key, V: Wire, W: Kind<K, V>> {
    window: Arc<Windowed<K, V, W>>,
    partitioning: Partitioning<K>,
    seed: HashSeed,
}

impl<K: Key, V: Wire, W: Kind<K, V>> Durable for DurableBatches<K, V, W> {
    fn form(&self) -> Result<Form, Opaque> {
        Ok(Form { schema: schema_of::<((u64, K), V)>(None)?, timed: false })
    }

    fn partitioner(&self) -> String {
        self.partitioning.name()
    }

    fn load(&self, t: Time, zero: Time, _: &Form, entries: &mut Stored) -> Result<()> {
        let Windowed { tables, span, site, .. } = &*self.window;
        let seed = self.seed;
        let failed = |e: &dyn std::fmt::Display| not_read(*site, e);
        let mut parts: Vec<ByTime<Vec<Entry<K, V>>>> =
            (0..tables.partitions()).map(|_| ByTime::default()).collect();
        while let Some((_, key, value)) = entries.next().map_err(Error::Checkpoint)? {
            let (ms, key): (u64, K) = decode(key).map_err(|e| failed(&e))?;
            let val: V = decode(value).map_err(|e| failed(&e))?;
            let hash = carried_hash(seed, &key);
            let part = self.partitioning.of(&key, hash);
            parts[part].or_default(Time::from_millis(ms)).push(Entry { key, val, hash });
        }
        let end = t.floor_from(span.slide, zero);
        for (part, batches) in parts.into_iter().enumerate() {
            let delta = |(t, entries)| Arc::new(Delta { t, entries: Combined::Own(entries) });
            let (inside, coming): (Vec<_>, Vec<_>) =
                batches.into_iter().map(delta).partition(|d| d.t <= end);
            tables.beside(part, |held| held.coming.extend(coming));
            if W::STORED {
                let place = |e: &Entry<K, V>| tables.place(part, e.hash, &e.key);
                let inside: Option<Vec<_>> = inside
                    .into_iter()
                    .map(|d| {
                        let places: Option<Vec<_>> = d.entries().iter().map(place).collect();
                        let vals = d.entries().iter().map(|e| e.val.clone()).collect();
                        Some(Inside::new(d.t, places?, vals))
                    })
                    .collect();
                let missing =
                    "a key of its batches has no sum: a file is missing, or not of this stream";
                let inside = inside.ok_or_else(|| failed(&missing))?;
                tables.beside(part, |held| held.inside.extend(inside));
            } else {
                // Added up again, batch by batch.
                let mut lease = tables.lease(part, Time::ZERO, t)?;
                for d in inside {
                    site.guard(|| self.window.join(&mut lease, vec![d]));
                }
                lease.commit();
            }
        }
        tables.forget(t);
        Ok(())
    }

    fn whole(&self) -> Result<Vec<u8>> {
        let (window, mut all) = (&self.window, Vec::new());
        for part in 0..window.tables.partitions() {
            let lease = window.tables.look(part);
            let written = window.batches(&lease, Time::ZERO, (&[], &[]), Collect::Whole);
            all.extend(written.map_err(|e| Error::TaskFailed {
                attempts: 1,
                cause: not_written(window.site, e),
            })?);
        }
        Ok(all)
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// A window of the given kind over this stream, whose batches `shuffle` combines by key. `partitioning` if
    /// what comes out has the keys that went in.
    #[track_caller]
    pub(super) fn keyed_window<K, V, W, E>(
        &self,
        site: Site,
        span: Span,
        kind: W,
        (partitions, partitioning): (usize, Option<Partitioning<K>>),
        shuffle: impl Fn(&Graph, StageKey, Arc<N::Pipe>) -> E + Send + Sync + 'static,
        tick: impl Fn() + Send + Sync + 'static,
    ) -> DStream<W::Out>
    where
        K: Key,
        V: Wire,
        W: Kind<K, V>,
        E: Entries<K, V>,
    {
        let tables = Arc::new(Tables::new(partitions, false, site).with_fixed_slots());
        let window =
            Arc::new(Windowed { tables: tables.clone(), kind: Arc::new(kind), span, site });
        let by = partitioning.clone().unwrap_or(Partitioning::Hash(partitions));
        // Sums come first: the batches look their keys up there.
        let (mut stored, seed) =
            (Vec::<(&str, Arc<dyn Durable>)>::new(), self.graph.ctx.0.env.seed);
        if W::STORED {
            stored.push(("", Arc::new(DurableTables::new(&tables, &by, seed, site))));
        }
        let batches = DurableBatches { window: window.clone(), partitioning: by, seed };
        stored.push(("/batches", Arc::new(batches)));
        let node = self.node.clone();
        self.stateful(site, |op: OpId| {
            let make = move |g: &Graph, &batch: &Batch, note: &[u64]| {
                let (t, ends, told) = (batch.t, note.contains(&1), batch);
                let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                let batch = node.at(&GraphRef(g), t)?.map(|p| Arc::new(shuffle(g, key, p)));
                let (b, w) = (batch.clone(), window.clone());
                let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| {
                    b.iter().for_each(|b| b.wide(out));
                };
                let run = move |cx: &TaskCx<'_>| w.update(cx, &told, batch.as_deref(), ends);
                // A small batch may still be a large window, if only the shares of what it touches count.
                let stage = UpdateStage::make(g, (op, t), partitions, 0, wide, run);
                let out = ends.then(|| {
                    if elsewhere(g) {
                        return Erased::new(Arc::new(LeftBy::new(&stage, site)));
                    }
                    let kind = window.kind.clone();
                    let get = move |k: &K, s: &W::Sum| site.guard(|| kind.get(k, s));
                    let (tables, stage) = (window.tables.clone(), stage.clone());
                    let partitioning = partitioning.clone();
                    StatePipe { tables, t, stage, get, partitioning, site }.erased()
                });
                Ok(Update { stage: Some(stage), out })
            };
            Stateful {
                slide: span.slide,
                note: Box::new(move |g, t| Ok(vec![u64::from(g.on_grid(t, span.slide))])),
                stored,
                forget: Box::new(move |_| tick()),
                ..Stateful::new(span.parent, Some(tables), make)
            }
        })
    }
}

/// Batches merged by key in time order, each value with the number of batches it is of.
pub(super) fn merged<'a, K: Key, V: Wire>(
    batches: impl Iterator<Item = &'a Delta<K, V>>,
    f: &impl Fn(V, V) -> V,
) -> Vec<Entry<K, (V, u32)>> {
    let mut table = Table::with_capacity(0);
    for e in batches.flat_map(|b| b.entries()) {
        table.merge_from(e.hash, &e.key, &(e.val.clone(), 1), |a: (V, u32), b| {
            (f(a.0, b.0), a.1 + b.1)
        });
    }
    table.into_entries()
}
