//! The shuffle without combining, behind `group_by_key`, `cogroup` and the joins: records are dealt out as
//! they are, and the reduce side gathers the values of each key, in map-partition order.

use std::fmt;
use std::sync::{Arc, Weak};

use super::combine::{Entry, Table};
use super::external::{Buckets, Combining};
use super::kept::{Kept, Memory, kept_source};
use super::partitioner::{Partitioning, carried_hash};
use super::pipe::{Captured, Flow, Pipe, Unshippable};
use super::shuffle::pair;
use super::{About, Erased, Lineage, Origin, Partitioner, Rdd};
use crate::conf::defaults;
use crate::context::Inner;
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};

/// The map side: entries in arrival order, one block for each reduce partition.
pub(crate) struct DealStage<K, V, P> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Arc<P>,
    memory: Arc<Memory<K, V>>,
    partitioning: Partitioning<K>,
    reduce_partitions: u32,
    site: Site,
}

impl<K: Key, V: Wire, P: Pipe<Out = (K, V)>> TaskBody for DealStage<K, V, P> {
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
    fn lineage(&self, out: &mut Lineage) {
        self.parent.lineage(out);
    }
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        let (seed, memory) = (cx.seed(), &self.memory);
        let parts = self.partitioning.partitions();
        let mut to = Buckets::new(cx, parts, memory.keys(), Some(&memory.entries));
        self.parent.fold(cx, cx.partition(), (), |(), (key, val)| {
            self.site.guard(|| {
                let hash = carried_hash(seed, &key);
                to.push(self.partitioning.of(&key, hash), Entry { key, val, hash });
            });
        })?;
        memory.saw(to.in_memory());
        to.finish()
    }
}

impl<K, V, P> Drop for DealStage<K, V, P> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, self.reduce_partitions);
    }
}

/// Where the records of a side come from.
enum Place<K, V> {
    /// A stage has dealt them out.
    Stage { map: Arc<dyn TaskBody>, maps: usize },
    /// They lie in the partitions already, and are read there.
    There(Erased<(K, V)>),
}

/// One dealt-out side of a grouping.
pub(crate) struct Dealt<K, V> {
    place: Place<K, V>,
    partitioning: Partitioning<K>,
    site: Site,
}

impl<K: Key, V: Wire> Dealt<K, V> {
    pub(crate) fn new<P: Pipe<Out = (K, V)>>(
        ctx: &Arc<Inner>,
        key: StageKey,
        parent: Arc<P>,
        memory: &Arc<Memory<K, V>>,
        partitioning: &Partitioning<K>,
        site: Site,
    ) -> Self {
        let maps = parent.partitions();
        let map: Arc<dyn TaskBody> = Arc::new(DealStage {
            key,
            ctx: Arc::downgrade(ctx),
            parent,
            memory: memory.clone(),
            partitioning: partitioning.clone(),
            reduce_partitions: partitioning.partitions() as u32,
            site,
        });
        ctx.add_body(&map);
        Dealt { place: Place::Stage { map, maps }, partitioning: partitioning.clone(), site }
    }

    /// The records of a parent in the partitions that `partitioning` names, read where they lie if it has
    /// placed them before.
    pub(crate) fn placed<P: Pipe<Out = (K, V)>>(
        ctx: &Arc<Inner>,
        key: StageKey,
        parent: Arc<P>,
        memory: &Arc<Memory<K, V>>,
        partitioning: &Partitioning<K>,
        site: Site,
    ) -> Self {
        if partitioning.has_placed(&parent.about()) {
            return Dealt::there(parent.erase(), partitioning, site);
        }
        Dealt::new(ctx, key, parent, memory, partitioning, site)
    }

    /// A side whose records the same partitioning has placed before.
    pub(crate) fn there(
        parent: Erased<(K, V)>,
        partitioning: &Partitioning<K>,
        site: Site,
    ) -> Self {
        Dealt { place: Place::There(parent), partitioning: partitioning.clone(), site }
    }

    /// The stage that deals the records out, if one has to.
    pub(crate) fn key(&self) -> Option<StageKey> {
        match &self.place {
            Place::Stage { map, .. } => Some(map.key()),
            Place::There(_) => None,
        }
    }

    /// The stages that the side reads.
    pub(crate) fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        match &self.place {
            Place::Stage { map, .. } => out.push(map.clone()),
            Place::There(parent) => parent.wide(out),
        }
    }

    /// Records to be read otherwise than from the stage's output, whose size is known.
    pub(crate) fn input_records(&self) -> usize {
        match &self.place {
            Place::Stage { .. } => 0,
            Place::There(parent) => parent.input_records(),
        }
    }

    pub(crate) fn about(&self) -> About {
        self.partitioning.about()
    }

    pub(crate) fn lineage(&self, out: &mut Lineage) {
        match &self.place {
            Place::Stage { map, .. } => out.stage(&**map),
            Place::There(parent) => parent.lineage(out),
        }
    }

    /// Every record of a reduce partition, in map-partition order, chunk by chunk.
    pub(crate) fn each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(&[Entry<K, V>]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let (map, maps) = match &self.place {
            Place::Stage { map, maps } => (map.key(), *maps),
            Place::There(parent) => return each_there(cx, (parent, self.site), part, f),
        };
        for (p, b) in cx.store().column(&map, maps, part)?.iter().enumerate() {
            let block = b.get::<Kept<Entry<K, V>>>()?;
            let mut chunks = block.chunks(defaults::CHUNK_RECORDS);
            while let Some(chunk) = chunks.next().map_err(|e| cx.lost_output(map, p, e))? {
                f(chunk)?;
            }
        }
        Ok(())
    }
}

/// [`Dealt::each`] of a side that lies in its partitions already.
fn each_there<K: Key, V: Wire>(
    cx: &TaskCx<'_>,
    (parent, site): (&Erased<(K, V)>, Site),
    part: usize,
    mut f: impl FnMut(&[Entry<K, V>]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let seed = cx.seed();
    let mut chunk = Vec::new();
    let mut done = Ok(());
    let _ = parent.try_each(cx, part, |(key, val)| {
        let hash = site.guard(|| carried_hash(seed, &key));
        chunk.push(Entry { key, val, hash });
        if chunk.len() == defaults::CHUNK_RECORDS {
            done = f(&chunk);
            chunk.clear();
        }
        if done.is_ok() { Flow::Continue(()) } else { Flow::Break(()) }
    })?;
    done?;
    f(&chunk)
}

/// The merged reduce side that a task of this process has made already.
pub(crate) fn merged<T: Send + Sync + 'static>(
    cx: &TaskCx<'_>,
    key: Option<StageKey>,
    part: usize,
) -> Result<Option<Arc<T>>, TaskError> {
    let Some(m) = key.and_then(|k| cx.store().merged(&k, part as u32)) else { return Ok(None) };
    m.downcast().map(Some).map_err(|_| TaskError::Bug("a merged side has changed".into()))
}

/// Keeps a merged reduce side for other readers; one that no stage was needed for is its readers' own.
pub(crate) fn keep_merged<T: Send + Sync + 'static>(
    cx: &TaskCx<'_>,
    key: Option<StageKey>,
    part: usize,
    v: &Arc<T>,
) {
    if let Some(key) = key {
        cx.store().keep_merged(key, part as u32, v.clone());
    }
}

/// The reduce side of `group_by_key`.
pub(crate) struct Grouped<K, V> {
    dealt: Dealt<K, V>,
    parts: usize,
    site: Site,
}

/// Keys with their values: in first-seen order, or by hash if they went to disk.
pub(crate) type Grouping<K, G> = Kept<Entry<K, G>>;

impl<K: Key, V: Wire> Grouped<K, V> {
    pub(crate) fn new(dealt: Dealt<K, V>, parts: usize, site: Site) -> Self {
        Grouped { dealt, parts, site }
    }

    /// What the merged partitions are kept under.
    fn merged(&self) -> Option<StageKey> {
        self.dealt.key()
    }

    /// The merged partition.
    pub(crate) fn read(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
    ) -> Result<Arc<Grouping<K, Vec<V>>>, TaskError> {
        let key = self.merged();
        if let Some(m) = merged(cx, key, part)? {
            return Ok(m);
        }
        let append = |mut old: Vec<V>, new: Vec<V>| {
            old.extend(new);
            old
        };
        let mut table = Combining::new(cx, self.site, Table::with_capacity(0), append);
        self.dealt.each(cx, part, |chunk| table.collect(chunk, Vec::push, Vec::new))?;
        let groups = Arc::new(table.finish(None)?.0);
        keep_merged(cx, key, part, &groups);
        Ok(groups)
    }
}

impl<K: Key, V: Wire> Pipe for Grouped<K, V> {
    type Out = (K, Vec<V>);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.dealt.wide(out);
    }
    fn input_records(&self) -> usize {
        self.dealt.input_records()
    }
    fn about(&self) -> About {
        self.dealt.about()
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.parts);
        self.dealt.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    kept_source!((K, Vec<V>), |self, cx, part| self.read(cx, part)?, pair);
}

impl<K, V> fmt::Debug for Grouped<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} partitions", self.site, self.parts)
    }
}

/// The reduce side of `partition_by`: the pairs as they were dealt out.
pub(crate) struct Partitioned<K, V> {
    dealt: Dealt<K, V>,
    parts: usize,
    site: Site,
}

impl<K: Key, V: Wire> Partitioned<K, V> {
    pub(crate) fn new(dealt: Dealt<K, V>, parts: usize, site: Site) -> Self {
        Partitioned { dealt, parts, site }
    }
}

impl<K: Key, V: Wire> Pipe for Partitioned<K, V> {
    type Out = (K, V);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.dealt.wide(out);
    }
    fn input_records(&self) -> usize {
        self.dealt.input_records()
    }
    fn about(&self) -> About {
        self.dealt.about()
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.parts);
        self.dealt.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, (K, V)) -> A,
    ) -> Result<A, TaskError> {
        let (map, maps) = match &self.dealt.place {
            Place::Stage { map, maps } => (map.key(), *maps),
            Place::There(parent) => return parent.fold(cx, part, init, f),
        };
        let mut acc = init;
        for (p, b) in cx.store().column(&map, maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(map, p, e);
            acc = b.get::<Kept<Entry<K, V>>>()?.fold(cx, &lost, acc, pair, &mut f)?;
        }
        Ok(acc)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut((K, V)) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (map, maps) = match &self.dealt.place {
            Place::Stage { map, maps } => (map.key(), *maps),
            Place::There(parent) => return parent.try_each(cx, part, f),
        };
        for (p, b) in cx.store().column(&map, maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(map, p, e);
            let block = b.get::<Kept<Entry<K, V>>>()?;
            if block.try_each(cx, &lost, pair, &mut f)?.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// Each key with all its values, in the order of partitions and records. All values of one key must
    /// fit in memory; prefer [`Rdd::reduce_by_key`] where values can be merged. Groups that together take more
    /// than [`Conf::task_memory`](crate::Conf::task_memory) are kept on disk and read one by one.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let mut g = ctx.parallelize([(1, 'a'), (2, 'b'), (1, 'c')], 2).group_by_key().collect()?;
    /// g.sort();
    /// assert_eq!(g, [(1, vec!['a', 'c']), (2, vec!['b'])]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by_key(&self) -> Rdd<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        self.group_by_key_at(self.by_default(), Site::here("group_by_key"))
    }

    /// [`Rdd::group_by_key`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn group_by_key_into(&self, partitions: usize) -> Rdd<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        self.group_by_key_at(Partitioning::hash(partitions), Site::here("group_by_key"))
    }

    /// [`Rdd::group_by_key`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn group_by_key_with(&self, partitioner: impl Partitioner<K>) -> Rdd<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("group_by_key");
        self.group_by_key_at(Partitioning::user(partitioner, site), site)
    }

    pub(crate) fn group_by_key_at(
        &self,
        partitioning: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, Vec<V>)>
    where
        K: Key,
        V: Wire,
    {
        let parts = partitioning.partitions();
        let grouped = Grouped::new(self.dealt(&self.origin, &partitioning, site), parts, site);
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(grouped))), self.origin.clone())
    }

    /// The pairs in the partitions that `partitioning` names, moved there if they aren't yet. The stage
    /// belongs to `origin`.
    pub(crate) fn dealt(
        &self,
        origin: &Origin,
        partitioning: &Partitioning<K>,
        site: Site,
    ) -> Dealt<K, V>
    where
        K: Key,
        V: Wire,
    {
        if self.lies_in(partitioning) {
            return Dealt::there(self.erased(), partitioning, site);
        }
        let key = origin.next_stage(Role::Map);
        let memory = Arc::default();
        Dealt::new(&self.ctx.0, key, self.pipe.clone(), &memory, partitioning, site)
    }
}
