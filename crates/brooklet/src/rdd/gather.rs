//! A stage whose tasks each leave a few values, read by one partition: `count` and `reduce` of a stream.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use super::pipe::{Captured, Pipe, Unshippable, slice_source};
use crate::context::Inner;
use crate::data::Wire;
use crate::engine::{Site, StageKey, TaskBody, TaskCx, TaskError};

/// Makes the values of one partition.
type Act<P, R> = dyn Fn(&P, &TaskCx<'_>, usize) -> Result<Vec<R>, TaskError> + Send + Sync;
/// Makes the result of all values, in partition order.
type Finish<R> = dyn Fn(Vec<R>) -> Vec<R> + Send + Sync;

struct GatherStage<P, R> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Arc<P>,
    act: Arc<Act<P, R>>,
}

impl<P: Pipe, R: Wire> TaskBody for GatherStage<P, R> {
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
        let v = (self.act)(&self.parent, cx, cx.partition())?;
        let n = v.len();
        cx.put_block(v, n)
    }
}

impl<P, R> Drop for GatherStage<P, R> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, 1);
    }
}

/// What is fixed for all batches: how a partition is summed up, and how the sums are.
pub(crate) struct GatherSpec<P, R> {
    pub(crate) act: Arc<Act<P, R>>,
    pub(crate) finish: Arc<Finish<R>>,
    pub(crate) site: Site,
}

impl<P: Pipe, R: Wire> GatherSpec<P, R> {
    pub(crate) fn lineage(&self, ctx: &Arc<Inner>, key: StageKey, parent: Arc<P>) -> Gathered<R> {
        let maps = parent.partitions();
        let map: Arc<dyn TaskBody> =
            Arc::new(GatherStage { key, ctx: Arc::downgrade(ctx), parent, act: self.act.clone() });
        ctx.add_body(&map);
        Gathered { map, maps, finish: self.finish.clone(), site: self.site, r: PhantomData }
    }
}

/// The one partition that reads all values.
pub(crate) struct Gathered<R> {
    map: Arc<dyn TaskBody>,
    maps: usize,
    finish: Arc<Finish<R>>,
    site: Site,
    r: PhantomData<fn() -> R>,
}

impl<R: Wire> Gathered<R> {
    fn read(&self, cx: &TaskCx<'_>) -> Result<Vec<R>, TaskError> {
        let mut all = Vec::new();
        for b in cx.store().column(&self.map.key(), self.maps, 0)? {
            all.extend(b.get::<Vec<R>>()?.iter().cloned());
        }
        Ok(self.site.guard(|| (self.finish)(all)))
    }
}

impl<R: Wire> Pipe for Gathered<R> {
    type Out = R;
    fn partitions(&self) -> usize {
        1
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.map.clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&self.site, 1);
        out.stage(&*self.map);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    slice_source!(R, |self, cx, _part| &self.read(cx)?, R::clone);
}
