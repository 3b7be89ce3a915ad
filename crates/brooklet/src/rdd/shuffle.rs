//! The combining shuffle behind `reduce_by_key`, `combine_by_key` and their relatives.
//!
//! A map task combines into ONE table, the hash carried in the entry, and deals the entries out to the
//! partitions only when it is drained. The reduce side merges in map-partition order, so that a second
//! attempt is bit-equal, floats too. Map outputs stay in the store until their lineage is forgotten:
//! other attempts and other outputs read them by reference.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use super::combine::{ByCombine, ByReduce, Combine, Entry, Groups, Table, part_of};
use super::combined_there::CombinedThere;
use super::external::{Combining, Watch, estimate, leave, spill_by_partition, table_bytes};
use super::kept::{Kept, Memory, kept_source};
use super::partitioner::{Partitioning, carried_hash};
use super::pipe::{Captured, Pipe, Unshippable};
use super::{Erased, Partitioner, Rdd};
use crate::block::Segment;
use crate::context::Inner;
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};

/// One block: what a map task has for one reduce partition.
type Block<K, V> = Kept<Entry<K, V>>;

/// The map side.
struct MapStage<K, V, C, P, F> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Arc<P>,
    f: Arc<F>,
    memory: Arc<Memory<K, C>>,
    partitioning: Partitioning<K>,
    reduce_partitions: u32,
    site: Site,
    v: PhantomData<fn(V)>,
}

impl<K, V, C, P, F> MapStage<K, V, C, P, F>
where
    K: Key,
    V: 'static,
    C: Wire,
    P: Pipe<Out = (K, V)>,
    F: Combine<V, C>,
{
    /// The combined entries; what the table has spilled before goes to `spilled`, by partition.
    fn combine(
        &self,
        cx: &TaskCx<'_>,
        spilled: &mut Vec<Vec<Segment>>,
    ) -> Result<Vec<Entry<K, C>>, TaskError> {
        let (f, site, seed, memory) = (&*self.f, &self.site, cx.seed(), &*self.memory);
        let mut watch = Watch::new(cx.spills().task_memory());
        let hint = memory.keys();
        let table =
            Table::with_memory(hint, memory.index.take(2 * hint), memory.entries.take(hint));
        let mut groups = Groups::new(table);
        let mut step = groups.look_after(watch.first());
        self.parent.fold(cx, cx.partition(), (), |(), (k, v)| {
            if site.guard(|| groups.push(carried_hash(seed, &k), k, v, f)) {
                self.look(cx, &mut groups, (&mut watch, &mut step), spilled);
            }
        })?;
        let (entries, index) = site.guard(|| groups.finish(f)).into_parts();
        memory.index.give(index);
        memory.saw(entries.len());
        Ok(entries)
    }

    /// Looks at the table's size, and spills it when it is full.
    #[cold]
    #[inline(never)]
    fn look(
        &self,
        cx: &TaskCx<'_>,
        groups: &mut Groups<K, C, V>,
        (watch, step): (&mut Watch, &mut usize),
        spilled: &mut Vec<Vec<Segment>>,
    ) {
        let next = watch.looked(*step, table_bytes(groups.table())).unwrap_or_else(|| {
            groups.drain(|entries| {
                if let Err(e) = self.spill(cx, entries, spilled) {
                    cx.fail(e);
                }
            });
            watch.first()
        });
        *step = groups.look_after(next);
    }

    fn spill(
        &self,
        cx: &TaskCx<'_>,
        entries: &mut Vec<Entry<K, C>>,
        spilled: &mut Vec<Vec<Segment>>,
    ) -> Result<(), TaskError> {
        self.site.guard(|| spill_by_partition(cx, entries, &self.partitioning, spilled))
    }
}

impl<K, V, C, P, F> TaskBody for MapStage<K, V, C, P, F>
where
    K: Key,
    V: 'static,
    C: Wire,
    P: Pipe<Out = (K, V)>,
    F: Combine<V, C>,
{
    fn key(&self) -> StageKey {
        self.key
    }
    fn width(&self) -> usize {
        self.parent.partitions()
    }
    fn parents(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn lineage(&self, out: &mut super::Lineage) {
        self.parent.lineage(out);
    }
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        let mut spilled = Vec::new();
        let mut entries = self.combine(cx, &mut spilled)?;
        let parts = self.partitioning.partitions();
        let home = &self.memory.entries;
        let held = cx.spills().hold(estimate(&entries));
        if parts == 1 {
            return leave(cx, vec![entries], spilled, Some(home), held.as_ref());
        }
        let share = entries.len() / parts + entries.len() / 16;
        let mut to: Vec<Vec<Entry<K, C>>> = (0..parts).map(|_| home.take(share)).collect();
        match &self.partitioning {
            // A loop of its own: one that lends keys out copies each entry twice.
            Partitioning::Hash(n) => {
                entries.drain(..).for_each(|e| to[part_of(e.hash, *n)].push(e));
            }
            user => entries.drain(..).for_each(|e| {
                let part = self.site.guard(|| user.of(&e.key, e.hash));
                to[part].push(e);
            }),
        }
        home.give(entries);
        leave(cx, to, spilled, Some(home), held.as_ref())
    }
}

impl<K, V, C, P, F> Drop for MapStage<K, V, C, P, F> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, self.reduce_partitions);
    }
}

/// The reduce side.
pub(crate) struct Reduced<K, V, X, F> {
    x: PhantomData<fn(X)>,
    map: Arc<dyn TaskBody>,
    maps: usize,
    parts: usize,
    partitioning: Partitioning<K>,
    f: Arc<F>,
    memory: Arc<Memory<K, V>>,
    site: Site,
}

/// What is fixed for all batches of one `reduce_by_key`.
pub(crate) struct ReduceSpec<K, V, F> {
    pub(crate) f: Arc<F>,
    pub(crate) memory: Arc<Memory<K, V>>,
    pub(crate) partitioning: Partitioning<K>,
    pub(crate) site: Site,
}

impl<K, V, F> Clone for ReduceSpec<K, V, F> {
    fn clone(&self) -> Self {
        ReduceSpec {
            f: self.f.clone(),
            memory: self.memory.clone(),
            partitioning: self.partitioning.clone(),
            site: self.site,
        }
    }
}

impl<K, V, F> ReduceSpec<K, V, F>
where
    K: Key,
    V: Wire,
    F: Send + Sync + 'static,
{
    pub(crate) fn new(f: F, partitioning: Partitioning<K>, site: Site) -> Self {
        ReduceSpec { f: Arc::new(f), memory: Arc::default(), partitioning, site }
    }

    /// The lineage of one batch.
    pub(crate) fn lineage<X: 'static, P: Pipe<Out = (K, X)>>(
        &self,
        ctx: &Arc<Inner>,
        key: StageKey,
        parent: Arc<P>,
    ) -> Reduced<K, V, X, F>
    where
        F: Combine<X, V>,
    {
        let maps = parent.partitions();
        let map: Arc<dyn TaskBody> = Arc::new(MapStage {
            key,
            ctx: Arc::downgrade(ctx),
            parent,
            f: self.f.clone(),
            memory: self.memory.clone(),
            partitioning: self.partitioning.clone(),
            reduce_partitions: self.partitioning.partitions() as u32,
            site: self.site,
            v: PhantomData,
        });
        ctx.add_body(&map);
        Reduced {
            x: PhantomData,
            map,
            maps,
            parts: self.partitioning.partitions(),
            partitioning: self.partitioning.clone(),
            f: self.f.clone(),
            memory: self.memory.clone(),
            site: self.site,
        }
    }
}

impl<K, V, X, F> Reduced<K, V, X, F>
where
    K: Key,
    V: Wire,
    X: 'static,
    F: Combine<X, V>,
{
    /// What the merged partitions are kept under.
    fn merged(&self) -> Option<StageKey> {
        Some(self.map.key())
    }

    /// The merged partition; the first reader in a process merges, others share.
    pub(crate) fn read(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
    ) -> Result<Arc<Kept<Entry<K, V>>>, TaskError> {
        let key = self.map.key();
        if let Some(m) = cx.store().merged(&key, part as u32) {
            let m: Arc<dyn Any + Send + Sync> = m;
            return m.downcast().map_err(|_| TaskError::Bug("a merged side has changed".into()));
        }
        let blocks = cx.store().column(&key, self.maps, part)?;
        let blocks = blocks.iter().enumerate().map(|(p, b)| Ok((p, b.get::<Block<K, V>>()?)));
        let mut blocks: Vec<(usize, Arc<Block<K, V>>)> = blocks.collect::<Result<_, _>>()?;
        blocks.retain(|(_, b)| b.len() > 0);
        let merged = match &blocks[..] {
            [] => Arc::new(Kept::new(Vec::new(), Some(&self.memory.entries))),
            // Where a table was spilled, a key may be there several times.
            [(_, one)] if one.is_one_table() && one.is_in_memory() => blocks.swap_remove(0).1,
            _ => Arc::new(self.merge(cx, &blocks)?),
        };
        cx.store().keep_merged(key, part as u32, merged.clone());
        Ok(merged)
    }

    fn merge(
        &self,
        cx: &TaskCx<'_>,
        blocks: &[(usize, Arc<Block<K, V>>)],
    ) -> Result<Block<K, V>, TaskError> {
        let (key, memory) = (self.map.key(), &*self.memory);
        let tables = blocks.iter().filter(|(_, b)| b.is_one_table());
        let room = tables.map(|(_, b)| b.len()).max().unwrap_or(0);
        let room = room + room / 2;
        // The first block is taken over as it is if its keys differ.
        let (first, others) = match blocks.split_first() {
            Some((b, others)) if b.1.is_one_table() => (Some(b), others),
            _ => (None, blocks),
        };
        let mut entries = memory.entries.take(room);
        if let Some((map, first)) = first {
            let mut chunks = first.chunks(usize::MAX);
            while let Some(chunk) = chunks.next().map_err(|e| cx.lost_output(key, *map, e))? {
                entries.extend_from_slice(chunk);
            }
        }
        let table = Table::from_distinct(entries, room, memory.index.take(2 * room));
        let mut table = Combining::new(cx, self.site, table, |a, b| self.f.merge(a, b));
        table.look_at_first()?;
        for (map, b) in others {
            let mut chunks = b.chunks(8 * 1024);
            while let Some(chunk) = chunks.next().map_err(|e| cx.lost_output(key, *map, e))? {
                table.add(chunk)?;
            }
        }
        let (merged, index) = table.finish(Some(&memory.entries))?;
        memory.index.give(index);
        Ok(merged)
    }
}

impl<K, V, X, F> Pipe for Reduced<K, V, X, F>
where
    K: Key,
    V: Wire,
    X: 'static,
    F: Combine<X, V>,
{
    type Out = (K, V);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.map.clone());
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.read(cx, part)?.len() as u64))
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn about(&self) -> super::About {
        self.partitioning.about()
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&self.site, self.parts);
        out.stage(&*self.map);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    kept_source!((K, V), |self, cx, part| self.read(cx, part)?, pair);
}

/// A record of an entry.
pub(super) fn pair<K: Clone, V: Clone>(e: &Entry<K, V>) -> (K, V) {
    (e.key.clone(), e.val.clone())
}

impl<K, V, X, F> fmt::Debug for Reduced<K, V, X, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} partitions", self.site, self.parts)
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The values of each key, merged by `f` (associative and commutative), first within each partition.
    ///
    /// This and all operators that aren't told their partitions take the partitioner of the largest RDD that
    /// has one ([`Rdd::partitioner`]), if it has more than a tenth of the partitions of the largest RDD, or
    /// at least the default; else they deal keys out by hash, into the configured default parallelism, or
    /// as many partitions as the largest RDD has when none is configured.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([("a", 1), ("b", 2), ("a", 3)].map(|(k, v)| (k.to_string(), v)), 2);
    /// let mut sums = pairs.reduce_by_key(|a, b| a + b).collect()?;
    /// sums.sort();
    /// assert_eq!(sums, [("a".to_string(), 4), ("b".to_string(), 2)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_by_key<F>(&self, f: F) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key");
        self.combined(ReduceSpec::new(ByReduce(f), self.by_default(), site))
    }

    /// [`Rdd::reduce_by_key`] with `partitions` partitions (at least 1).
    #[track_caller]
    pub fn reduce_by_key_into<F>(&self, f: F, partitions: usize) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key");
        self.combined(ReduceSpec::new(ByReduce(f), Partitioning::hash(partitions), site))
    }

    /// [`Rdd::reduce_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn reduce_by_key_with<F>(&self, f: F, partitioner: impl Partitioner<K>) -> Rdd<(K, V)>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key");
        self.combined(ReduceSpec::new(ByReduce(f), Partitioning::user(partitioner, site), site))
    }

    /// The values of each key combined into a value of another type: `create` of a key's first value in a
    /// partition, `add` for further ones, `merge` across partitions.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let xs = ctx.parallelize([(1, 2.0), (1, 4.0), (2, 5.0)], 2);
    /// let sums = xs.combine_by_key(|x| (x, 1), |(s, n), x| (s + x, n + 1), |a, b| (a.0 + b.0, a.1 + b.1));
    /// let mut means = sums.map(|(k, (s, n))| (k, s / n as f64)).collect()?;
    /// means.sort_by_key(|m| m.0);
    /// assert_eq!(means, [(1, 3.0), (2, 5.0)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn combine_by_key<C, A, B, M>(&self, create: A, add: B, merge: M) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let site = Site::here("combine_by_key");
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, self.by_default(), site))
    }

    /// [`Rdd::combine_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn combine_by_key_into<C, A, B, M>(
        &self,
        create: A,
        add: B,
        merge: M,
        partitions: usize,
    ) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let (site, parts) = (Site::here("combine_by_key"), Partitioning::hash(partitions));
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }

    /// [`Rdd::combine_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn combine_by_key_with<C, A, B, M>(
        &self,
        create: A,
        add: B,
        merge: M,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        A: Fn(V) -> C + Send + Sync + 'static,
        B: Fn(C, V) -> C + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let site = Site::here("combine_by_key");
        let parts = Partitioning::user(partitioner, site);
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }

    /// The values of each key added up, beginning with `zero` in each partition.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let xs = ctx.parallelize([(1, "a"), (1, "bc"), (2, "d")].map(|(k, s)| (k, s.to_string())), 2);
    /// let mut n = xs.aggregate_by_key(0, |n, s| n + s.len(), |a, b| a + b).collect()?;
    /// n.sort();
    /// assert_eq!(n, [(1, 3), (2, 1)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate_by_key<C, B, M>(&self, zero: C, add: B, merge: M) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        B: Fn(C, V) -> C + Clone + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let parts = self.by_default();
        self.aggregated(zero, add, merge, parts, Site::here("aggregate_by_key"))
    }

    /// [`Rdd::aggregate_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn aggregate_by_key_into<C, B, M>(
        &self,
        zero: C,
        add: B,
        merge: M,
        partitions: usize,
    ) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        B: Fn(C, V) -> C + Clone + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let parts = Partitioning::hash(partitions);
        self.aggregated(zero, add, merge, parts, Site::here("aggregate_by_key"))
    }

    /// [`Rdd::aggregate_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn aggregate_by_key_with<C, B, M>(
        &self,
        zero: C,
        add: B,
        merge: M,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        B: Fn(C, V) -> C + Clone + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let site = Site::here("aggregate_by_key");
        self.aggregated(zero, add, merge, Partitioning::user(partitioner, site), site)
    }

    pub(crate) fn aggregated<C, B, M>(
        &self,
        zero: C,
        add: B,
        merge: M,
        parts: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, C)>
    where
        K: Key,
        V: Wire,
        C: Wire,
        B: Fn(C, V) -> C + Clone + Send + Sync + 'static,
        M: Fn(C, C) -> C + Send + Sync + 'static,
    {
        let first = add.clone();
        let create = move |v| first(zero.clone(), v);
        self.combined(ReduceSpec::new(ByCombine { create, add, merge }, parts, site))
    }

    /// A combining shuffle of this RDD.
    pub(crate) fn combined<C: Wire, F: Combine<V, C>>(
        &self,
        spec: ReduceSpec<K, C, F>,
    ) -> Rdd<(K, C)>
    where
        K: Key,
    {
        if self.lies_in(&spec.partitioning) {
            let pipe = CombinedThere::new(self.pipe.clone(), spec);
            return Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone());
        }
        let key = self.origin.next_stage(Role::Map);
        let reduced = spec.lineage(&self.ctx.0, key, self.pipe.clone());
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(reduced))), self.origin.clone())
    }
}
