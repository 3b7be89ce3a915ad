//! Combining by key where the partitioner has placed the pairs before: each partition by itself, no shuffle.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::combine::{Combine, Entry, Groups, Table};
use super::partitioner::carried_hash;
use super::pipe::{Captured, Pipe, Unshippable, slice_source};
use super::shuffle::ReduceSpec;
use super::{About, Lineage};
use crate::data::{Key, Wire};
use crate::engine::{TaskBody, TaskCx, TaskError};

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

    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Vec<Entry<K, C>>, TaskError> {
        let (f, site, seed) = (&*self.spec.f, &self.spec.site, cx.seed());
        let mut groups = Groups::new(Table::with_capacity(self.spec.memory.keys()));
        self.parent.fold(cx, part, (), |(), (k, v)| {
            site.guard(|| groups.push(carried_hash(seed, &k), k, v, f));
        })?;
        let entries = site.guard(|| groups.finish(f)).into_entries();
        self.spec.memory.saw(entries.len());
        Ok(entries)
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
    slice_source!((K, C), |self, cx, part| &self.read(cx, part)?, |e: &Entry<K, C>| (
        e.key.clone(),
        e.val.clone()
    ));
}

impl<P, K, V, C, F> fmt::Debug for CombinedThere<P, K, V, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.site.fmt(f)
    }
}
