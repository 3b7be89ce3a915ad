//! The shuffle without keys behind `repartition`: records are dealt out in turn, so that every attempt
//! deals them alike; the first one of map partition p goes to partition p.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use super::external::Buckets;
use super::kept::Kept;
use super::pipe::{Captured, Flow, Pipe, Unshippable};
use super::{Erased, Rdd};
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};

struct DealOut<P> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Arc<P>,
    parts: usize,
}

impl<P: Pipe<Out: Wire>> TaskBody for DealOut<P> {
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
        let mut to = Buckets::new(cx, self.parts, 0, None);
        let first = cx.partition() % self.parts;
        self.parent.fold(cx, cx.partition(), first, |next, x| {
            to.push(next, x);
            if next + 1 == self.parts { 0 } else { next + 1 }
        })?;
        to.finish()
    }
}

impl<P> Drop for DealOut<P> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, self.parts as u32);
    }
}

/// The partitions that were dealt out.
pub(crate) struct Repartitioned<T> {
    map: Arc<dyn TaskBody>,
    maps: usize,
    parts: usize,
    site: Site,
    t: PhantomData<fn() -> T>,
}

impl<T: Wire> Repartitioned<T> {
    pub(crate) fn new<P: Pipe<Out = T>>(
        ctx: &Arc<Inner>,
        key: StageKey,
        parent: Arc<P>,
        parts: usize,
        site: Site,
    ) -> Self {
        let maps = parent.partitions();
        let parts = parts.max(1);
        let map: Arc<dyn TaskBody> =
            Arc::new(DealOut { key, ctx: Arc::downgrade(ctx), parent, parts });
        ctx.add_body(&map);
        Repartitioned { map, maps, parts, site, t: PhantomData }
    }
}

impl<T: Wire> Pipe for Repartitioned<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.map.clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&self.site, self.parts);
        out.stage(&*self.map);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, T) -> A,
    ) -> Result<A, TaskError> {
        let mut acc = init;
        let key = self.map.key();
        for (map, b) in cx.store().column(&key, self.maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(key, map, e);
            acc = b.get::<Kept<T>>()?.fold(cx, &lost, acc, T::clone, &mut f)?;
        }
        Ok(acc)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        let key = self.map.key();
        for (map, b) in cx.store().column(&key, self.maps, part)?.iter().enumerate() {
            let lost = |e| cx.lost_output(key, map, e);
            if b.get::<Kept<T>>()?.try_each(cx, &lost, T::clone, &mut f)?.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }
}

impl<T> fmt::Debug for Repartitioned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} into {} partitions", self.site, self.parts)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The same records in `partitions` partitions (at least 1), dealt out in turn by a shuffle: the same
    /// way at every attempt.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(0..10, 1).repartition(4);
    /// assert_eq!((r.num_partitions(), r.count()?), (4, 10));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn repartition(&self, partitions: usize) -> Rdd<T>
    where
        T: Wire,
    {
        let key = self.origin.next_stage(Role::Map);
        let site = Site::here("repartition");
        let pipe = Repartitioned::new(&self.ctx.0, key, self.pipe.clone(), partitions, site);
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone())
    }
}
