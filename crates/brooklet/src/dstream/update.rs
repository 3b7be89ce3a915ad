//! Update stages: what stateful operators do once per batch, in all partitions, whether or not an output
//! wants it.
//!
//! A stateful operator is a step. For batch t the driver runs its update stage, whose tasks change their
//! partition of the state from the version of the batch before to that of t, and leave what the operator
//! gives out. The stage is told the version it starts from, so that an attempt after a failure, a retry, or a
//! batch after a skipped one first undoes what was done in vain: in every process that holds state.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{DStream, DynNode, Graph, GraphRef, Kind, Memo, Node, Operator};
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{OpId, Payload, Role, Site, StageKey, TaskBody, TaskCx, TaskError, plan};
use crate::rdd::kept::{Kept, kept_source};
use crate::rdd::pipe::{Captured, Pipe, Unshippable};
use crate::rdd::{Erased, Lineage};
use crate::state::Watched;
use crate::state::durable::{Collect, Durable};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// One batch of a stateful operator, as it is told to every process.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    /// The batch.
    pub(crate) t: Time,
    /// The version that it starts from: the newest batch whose update was successful, [`Time::ZERO`] at first.
    pub(crate) base: Time,
    /// What checkpoints want of it.
    pub(crate) collect: Collect,
}

/// What an operator makes for a batch: its update stage, and what it gives out if it gives anything.
pub(crate) struct Update<T> {
    /// None when there is nothing to do.
    pub(crate) stage: Option<Arc<dyn TaskBody>>,
    pub(crate) out: Option<Erased<T>>,
}

/// The parts of a stateful operator.
pub(crate) struct Stateful<T> {
    /// How far apart the batches are that it runs for.
    pub(crate) every: Duration,
    /// How far apart the batches are that it gives something out for.
    pub(crate) slide: Duration,
    /// Its state by key, if it has some.
    pub(crate) state: Option<Arc<dyn Watched>>,
    /// What the driver tells for a batch.
    pub(crate) note: Box<dyn Fn(&Graph, Time) -> Result<Vec<u64>> + Send + Sync>,
    pub(crate) make: Box<dyn Fn(&Graph, &Batch, &[u64]) -> Result<Update<T>> + Send + Sync>,
    /// What checkpoints store, by what is added to the operator's identity. The tasks of the update stage leave
    /// what a batch has changed of each as their result.
    pub(crate) stored: Vec<(&'static str, Arc<dyn Durable>)>,
    /// After the update stage of a batch has been successful, on the driver.
    pub(crate) done: Box<dyn Fn(Time) + Send + Sync>,
    /// The batch is skipped after all, on the driver.
    pub(crate) undo: Box<dyn Fn(Time) + Send + Sync>,
    /// Batches up to this time are over; the state knows.
    pub(crate) forget: Box<dyn Fn(Time) + Send + Sync>,
}

impl<T> Stateful<T> {
    /// An operator that runs and gives something out for every batch of `every`.
    pub(crate) fn new(
        every: Duration,
        state: Option<Arc<dyn Watched>>,
        make: impl Fn(&Graph, &Batch, &[u64]) -> Result<Update<T>> + Send + Sync + 'static,
    ) -> Stateful<T> {
        Stateful {
            every,
            slide: every,
            state,
            note: Box::new(|_, _| Ok(Vec::new())),
            make: Box::new(make),
            stored: Vec::new(),
            done: Box::new(|_| ()),
            undo: Box::new(|_| ()),
            forget: Box::new(|_| ()),
        }
    }
}

struct UpdateStep<T> {
    id: OpId,
    site: Site,
    parts: Stateful<T>,
    memo: Memo<T>,
    /// The newest successful batch, and the one before it.
    last: Mutex<(Time, Time)>,
}

impl<T: Data> UpdateStep<T> {
    fn told(&self, graph: &Graph, t: Time) -> Result<(Batch, Vec<u64>)> {
        let told = graph.ctx.0.replayed(self.id, t, 0);
        let told = told.ok_or_else(|| Error::Bug(format!("{} wasn't told of {t}", self.site)))?;
        let mut note: Vec<u64> = told.take()?;
        let base = Time::from_millis(note.pop().unwrap_or_default());
        let collect = match note.pop() {
            Some(0) | None => Collect::Nothing,
            Some(1) => Collect::Changes,
            Some(_) => Collect::Whole,
        };
        Ok((Batch { t, base, collect }, note))
    }
}

impl<T: Data> DynNode<T> for UpdateStep<T> {
    fn dyn_at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Erased<T>>> {
        match self.memo.peek(t) {
            Some(p) => Ok(p),
            None if !graph.0.on_grid(t, self.parts.slide) => Ok(None),
            None if graph.0.ctx.0.executor => {
                let (batch, note) = self.told(graph.0, t)?;
                self.memo.get(t, || Ok((self.parts.make)(graph.0, &batch, &note)?.out))
            }
            None => Err(Error::Bug(format!("{} is read before its step at {t}", self.site))),
        }
    }
    fn dyn_slide(&self, _: Duration) -> Duration {
        self.parts.slide
    }
}

impl<T: Data> Operator for UpdateStep<T> {
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()> {
        let (batch, note) = self.told(graph, t)?;
        let made = (self.parts.make)(graph, &batch, &note)?;
        made.stage.iter().for_each(|s| graph.ctx.0.add_body(s));
        self.memo.set(t, made.out);
        Ok(())
    }

    fn run(&self, graph: &Graph, t: Time) -> Result<()> {
        if !graph.on_grid(t, self.parts.every) {
            self.memo.set(t, None);
            return Ok(());
        }
        let ctx = &graph.ctx.0;
        let base = self.last.get().0;
        let note = (self.parts.note)(graph, t)?;
        let collect = graph.checkpoints().map_or(Collect::Nothing, |c| c.wanted(self.id));
        if ctx.engine()?.remote() {
            let mut told = note.clone();
            told.push(collect as u64);
            told.push(base.millis());
            ctx.record_replay(self.id, t, 0, &told)?;
        }
        let made = (self.parts.make)(graph, &Batch { t, base, collect }, &note)?;
        if let Some(stage) = &made.stage {
            let changes = plan::run_job(ctx, stage, 0..stage.width() as u32)?;
            if let Some(c) = graph.checkpoints() {
                let taken: Result<_, TaskError> = changes.into_iter().map(Payload::take).collect();
                c.take(t, self.id, collect, taken?)?;
            }
        }
        *self.last.get() = (t, base);
        (self.parts.done)(t);
        self.memo.set(t, made.out);
        Ok(())
    }

    fn restored(&self, t: Time) {
        *self.last.get() = (t, Time::ZERO);
    }

    fn roll_back(&self, t: Time) {
        let mut last = self.last.get();
        if last.0 == t {
            last.0 = last.1; // where the state is elsewhere, the next batch undoes it
        }
        self.parts.state.iter().for_each(|s| s.undo(last.0));
        (self.parts.undo)(t);
        self.memo.set(t, None);
    }

    fn forget(&self, up_to: Time) {
        self.memo.forget(up_to);
        self.parts.state.iter().for_each(|s| s.forget(up_to));
        (self.parts.forget)(up_to);
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// A stateful operator below this stream.
    #[track_caller]
    pub(crate) fn stateful<U: Data>(
        &self,
        site: Site,
        make: impl FnOnce(OpId) -> Stateful<U>,
    ) -> DStream<U> {
        let mut op = OpId::default();
        let mut stored = Vec::new();
        let stream = self.operator(Kind::Step, site, |id| {
            op = id;
            let mut parts = make(id);
            stored = std::mem::take(&mut parts.stored);
            if let Some(state) = &parts.state {
                self.graph.watch_state(id, Arc::downgrade(state));
            }
            UpdateStep {
                id,
                site,
                parts,
                memo: Memo::default(),
                last: Mutex::new((Time::ZERO, Time::ZERO)),
            }
        });
        self.graph.add_state(op, site, stored);
        stream
    }
}

/// The stage of an [`Update`], by its parts.
pub(crate) struct UpdateStage<W, R> {
    key: StageKey,
    ctx: Weak<Inner>,
    width: usize,
    /// The stages that it reads.
    wide: W,
    run: R,
    /// Records that it will go over, if known.
    records: usize,
}

impl<W, R> UpdateStage<W, R>
where
    W: Fn(&mut Vec<Arc<dyn TaskBody>>) + Send + Sync + 'static,
    R: Fn(&TaskCx<'_>) -> Result<(), TaskError> + Send + Sync + 'static,
{
    pub(crate) fn make(
        graph: &Graph,
        (op, t): (OpId, Time),
        width: usize,
        records: usize,
        wide: W,
        run: R,
    ) -> Arc<dyn TaskBody> {
        UpdateStage::numbered(graph, (op, 0, t), width, records, wide, run)
    }

    /// One of several of an operator.
    pub(crate) fn numbered(
        graph: &Graph,
        (op, sub, t): (OpId, u32, Time),
        width: usize,
        records: usize,
        wide: W,
        run: R,
    ) -> Arc<dyn TaskBody> {
        let key = StageKey { op, sub, role: Role::Update, batch: t };
        let ctx = Arc::downgrade(&graph.ctx.0);
        Arc::new(UpdateStage { key, ctx, width, wide, run, records })
    }
}

impl<W, R> TaskBody for UpdateStage<W, R>
where
    W: Fn(&mut Vec<Arc<dyn TaskBody>>) + Send + Sync,
    R: Fn(&TaskCx<'_>) -> Result<(), TaskError> + Send + Sync,
{
    fn key(&self) -> StageKey {
        self.key
    }
    fn width(&self) -> usize {
        self.width
    }
    fn parents(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        (self.wide)(out);
    }
    fn input_records(&self) -> usize {
        self.records
    }
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        (self.run)(cx)
    }
}

impl<W, R> Drop for UpdateStage<W, R> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, self.width as u32);
    }
}

/// The records that the tasks of an update stage have left as one of their blocks.
pub(crate) struct LeftBy<T> {
    stage: Arc<dyn TaskBody>,
    block: usize,
    site: Site,
    t: std::marker::PhantomData<fn() -> T>,
}

impl<T: Wire> LeftBy<T> {
    /// Those of the first block.
    pub(crate) fn new(stage: &Arc<dyn TaskBody>, site: Site) -> Self {
        LeftBy::block(stage, 0, site)
    }

    pub(crate) fn block(stage: &Arc<dyn TaskBody>, block: usize, site: Site) -> Self {
        LeftBy { stage: stage.clone(), block, site, t: std::marker::PhantomData }
    }

    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Kept<T>>, TaskError> {
        cx.store().block(&self.stage.key(), part, self.block)?.get()
    }

    /// Nothing is merged on the way.
    fn merged(&self) -> Option<StageKey> {
        None
    }
}

impl<T: Wire> Pipe for LeftBy<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.stage.width()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.stage.clone());
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.read(cx, part)?.len() as u64))
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.stage.width());
        out.stage(&*self.stage);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    kept_source!(T, |self, cx, part| self.read(cx, part)?, T::clone);
}

impl<T> fmt::Debug for LeftBy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
