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
use super::{Erased, Rdd};
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

/// One dealt-out side of a grouping.
pub(crate) struct Dealt<K, V> {
    map: Arc<dyn TaskBody>,
    maps: usize,
    t: std::marker::PhantomData<fn() -> (K, V)>,
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
        Dealt { map, maps, t: std::marker::PhantomData }
    }

    pub(crate) fn body(&self) -> &Arc<dyn TaskBody> {
        &self.map
    }

    /// Every record of a reduce partition, in map-partition order.
    pub(crate) fn each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(&[Entry<K, V>]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let key = self.map.key();
        for (map, b) in cx.store().column(&key, self.maps, part)?.iter().enumerate() {
            let block = b.get::<Kept<Entry<K, V>>>()?;
            let mut chunks = block.chunks(defaults::CHUNK_RECORDS);
            while let Some(chunk) = chunks.next().map_err(|e| cx.lost_output(key, map, e))? {
                f(chunk)?;
            }
        }
        Ok(())
    }
}

/// The reduce side of `group_by_key`.
pub(crate) struct Grouped<K, V> {
    dealt: Dealt<K, V>,
    parts: usize,
    site: Site,
}

/// Keys with their values, in first-seen order.
type Groups<K, V> = Kept<Entry<K, Vec<V>>>;

impl<K: Key, V: Wire> Grouped<K, V> {
    pub(crate) fn new(dealt: Dealt<K, V>, parts: usize, site: Site) -> Self {
        Grouped { dealt, parts, site }
    }

    fn merged(&self) -> StageKey {
        self.dealt.map.key()
    }

    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Groups<K, V>>, TaskError> {
        let key = self.dealt.map.key();
        if let Some(m) = cx.store().merged(&key, part as u32) {
            return m.downcast().map_err(|_| TaskError::Bug("a merged side has changed".into()));
        }
        let append = |mut old: Vec<V>, new: Vec<V>| {
            old.extend(new);
            old
        };
        let mut table = Combining::new(cx, self.site, Table::with_capacity(0), append);
        self.dealt.each(cx, part, |chunk| table.collect(chunk, Vec::push, Vec::new))?;
        let groups = Arc::new(table.finish(None)?.0);
        cx.store().keep_merged(key, part as u32, groups.clone());
        Ok(groups)
    }
}

impl<K: Key, V: Wire> Pipe for Grouped<K, V> {
    type Out = (K, Vec<V>);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.dealt.map.clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
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
        out.push(self.dealt.map.clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
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
        let mut acc = init;
        let key = self.dealt.map.key();
        for (map, b) in cx.store().column(&key, self.dealt.maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(key, map, e);
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
        let key = self.dealt.map.key();
        for (map, b) in cx.store().column(&key, self.dealt.maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(key, map, e);
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
        let (site, parts) = (Site::here("group_by_key"), self.ctx.default_parallelism());
        let key = self.origin.next_stage(Role::Map);
        let partitioning = Partitioning::Hash(parts);
        let dealt =
            Dealt::new(&self.ctx.0, key, self.pipe.clone(), &Arc::default(), &partitioning, site);
        let grouped = Grouped::new(dealt, parts, site);
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(grouped))), self.origin.clone())
    }
}
