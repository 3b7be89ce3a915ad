//! Combining by key where the partitioner has placed the pairs before: each partition by itself, no shuffle.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::combine::{Combine, Entry, Groups, Table};
use super::external::{Combining, Watch, table_bytes};
use super::kept::{Kept, kept_source};
use super::partitioner::carried_hash;
use super::pipe::{Captured, Pipe, Unshippable};
use super::shuffle::{ReduceSpec, pair};
use super::{About, Lineage};
use crate::data::{Key, Wire};
use crate::engine::{StageKey, TaskBody, TaskCx, TaskError};

pub(crate) struct CombinedThere<P, K, V, C, F> {
    parent: Arc<P>,
    spec: ReduceSpec<K, C, F>,
    v: PhantomData<fn(V)>,
}

impl<P, K, V, C, F> CombinedThere<P, K, V, C, F>
where
    P: Pipe<Out = (K, V)>,
    K: Key,
    V: 'static,
    C: Wire,
    F: Combine<V, C>,
{
    pub(crate) fn new(parent: Arc<P>, spec: ReduceSpec<K, C, F>) -> Self {
        CombinedThere { parent, spec, v: PhantomData }
    }

    /// Every reader combines for itself.
    fn merged(&self) -> Option<StageKey> {
        None
    }

    /// The combined partition: in first-seen order, or by hash if its table went to disk.
    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Kept<Entry<K, C>>, TaskError> {
        let (f, site, seed) = (&*self.spec.f, self.spec.site, cx.seed());
        let mut watch = Watch::new(cx.spills().task_memory());
        let mut groups = Groups::new(Table::with_capacity(self.spec.memory.keys()));
        let mut step = groups.look_after(watch.first());
        let mut on_disk = Combining::new(cx, site, Table::with_capacity(0), |a, b| f.merge(a, b));
        self.parent.fold(cx, part, (), |(), (k, v)| {
            if site.guard(|| groups.push(carried_hash(seed, &k), k, v, f)) {
                let next = watch.looked(step, table_bytes(groups.table())).unwrap_or_else(|| {
                    groups.drain(|entries| {
                        if let Err(e) = on_disk.spill_entries(entries) {
                            cx.fail(e);
                        }
                    });
                    watch.first()
                });
                step = groups.look_after(next);
            }
        })?;
        let mut entries = site.guard(|| groups.finish(f)).into_entries();
        self.spec.memory.saw(entries.len());
        if on_disk.is_in_memory() {
            return Ok(Kept::new(entries, None));
        }
        on_disk.spill_entries(&mut entries)?;
        Ok(on_disk.finish(None)?.0)
    }
}

impl<P, K, V, C, F> Pipe for CombinedThere<P, K, V, C, F>
where
    P: Pipe<Out = (K, V)>,
    K: Key,
    V: 'static,
    C: Wire,
    F: Combine<V, C>,
{
    type Out = (K, C);
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn about(&self) -> About {
        self.spec.partitioning.about()
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.spec.site, self.partitions());
        self.parent.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        let why = Unshippable::Captures(size_of::<F>());
        out.push(Captured { site: self.spec.site, why });
    }
    kept_source!((K, C), |self, cx, part| self.read(cx, part)?, pair);
}

impl<P, K, V, C, F> fmt::Debug for CombinedThere<P, K, V, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.site.fmt(f)
    }
}
