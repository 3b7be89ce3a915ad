//! The update stage of tumbling and sliding windows: a value for each key and open window.

use std::fmt;
use std::sync::Arc;

use super::Fired;
use super::durable::DurableWindows;
use super::source::noted;
use super::timers::Timers;
use super::windowed::{Missed, Progress, Windowed};
use crate::Time;
use crate::data::{Key, Wire};
use crate::dstream::map_with_state::elsewhere;
use crate::dstream::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use crate::dstream::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::engine::{OpId, Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::event_time::{Grid, Placed, Window};
use crate::rdd::combine::Combine;
use crate::rdd::kept::Kept;
use crate::rdd::partitioner::{Partitioning, carried_hash};
use crate::rdd::pipe::{Captured, Flow, Unshippable};
use crate::rdd::shuffle::ReduceSpec;
use crate::rdd::{Erased, Lineage, Pipe};
use crate::state::Tables;
use crate::sync::{LockExt, Mutex};

/// What the tasks of one operator share.
struct Open<K, A> {
    tables: Arc<Tables<(K, Window), A>>,
    timers: Vec<Mutex<Timers<(K, Window)>>>,
    site: Site,
}

impl<K: Key, A: Wire> Open<K, A> {
    /// One partition of one batch.
    fn update<V: 'static, C: Combine<V, A>>(
        &self,
        cx: &TaskCx<'_>,
        (&Batch { base, t, collect }, fire): (&Batch, Time),
        f: &C,
        records: Option<&impl Pipe<Out = ((K, Window), A)>>,
    ) -> Result<(), TaskError> {
        let (part, site, seed) = (cx.partition(), self.site, cx.seed());
        let mut lease = self.tables.lease(part, base, t)?;
        let mut timers = self.timers[part].get();
        timers.begin(base);
        if let Some(records) = records {
            records.fold(cx, part, (), |(), (key, new)| {
                site.guard(|| {
                    let hash = carried_hash(seed, &key);
                    let mut first = false;
                    lease.upsert(hash, &key, |open| {
                        Some(match open.cloned() {
                            Some(open) => f.merge(open, new),
                            None => {
                                first = true;
                                new
                            }
                        })
                    });
                    if first {
                        timers.push(key.1.end(), hash, key);
                    }
                });
            })?;
        }
        let mut out: Vec<(K, Window, A)> = Vec::new();
        let mut after = None;
        while let Some((end, keys)) = timers.next(after, fire) {
            for (hash, key) in keys {
                lease.with(*hash, key, |open| {
                    if let Some(v) = open.get() {
                        out.push((key.0.clone(), key.1, v.clone()));
                        open.remove();
                    }
                });
            }
            after = Some(end);
            cx.check()?;
        }
        let n = out.len();
        cx.put_block(Kept::new(out, None), n)?;
        cx.put_result(vec![lease.collect(collect)?])?;
        timers.done(t, fire);
        lease.commit();
        Ok(())
    }
}

impl<K: Key, V: Wire, N: Node<Out = (Time, (K, V))>> Windowed<K, V, N> {
    /// The operator, its name, and how far it has come.
    #[track_caller]
    pub(super) fn on_grid<A: Wire>(
        &self,
        site: Site,
        grid: Grid,
        f: impl Combine<V, A>,
    ) -> (Fired<K, A>, OpId, Arc<Progress>) {
        let partitions = self.partitions;
        let open = Arc::new(Open {
            tables: Arc::new(Tables::<(K, Window), A>::new(partitions, false, site)),
            timers: (0..partitions).map(|_| Mutex::default()).collect(),
            site,
        });
        let progress = self.progress(site);
        let spec = ReduceSpec::new(f, Partitioning::Hash(partitions), site);
        let stream = &self.events.stream;
        let (node, every) = (stream.node.clone(), stream.slide_duration());
        let [noting, doing, undoing, over] = [(); 4].map(|()| progress.clone());
        let (told, memory) = (progress.told.clone(), spec.memory.clone());
        let (seed, timing) = (stream.graph.ctx.0.env.seed, open.clone());
        let partitioning = Partitioning::Hash(partitions);
        let timer = move |part: usize, hash, key: &(K, Window), _: &A| {
            timing.timers[part].get().push(key.1.end(), hash, key.clone());
        };
        let stored = DurableWindows::stored(&open.tables, partitioning, seed, site, timer);
        let mut id = OpId::default();
        let fired = stream.stateful(site, |op| {
            id = op;
            progress.at.of(op);
            Stateful {
                every,
                slide: every,
                state: Some(open.tables.clone()),
                note: Box::new(move |g, t| Ok(noting.at.note(g, t))),
                stored,
                make: Box::new(move |g, &batch, note| {
                    let (t, (watermark, fire)) = (batch.t, noted(note));
                    let records = node.at(&GraphRef(g), t)?.map(|parent| {
                        let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                        let told = Some(told.clone());
                        let placed =
                            Arc::new(PlacedPipe { parent, grid, watermark, t, told, site });
                        Arc::new(spec.lineage(&g.ctx.0, key, placed))
                    });
                    let up = records.clone();
                    let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| {
                        up.iter().for_each(|r| r.wide(out));
                    };
                    let (open, f) = (open.clone(), spec.f.clone());
                    let run = move |cx: &TaskCx<'_>| {
                        open.update(cx, (&batch, fire), &*f, records.as_deref())
                    };
                    let stage = UpdateStage::make(g, (op, t), partitions, 0, wide, run);
                    let out = Some(Erased::new(Arc::new(LeftBy::new(&stage, site))));
                    Ok(Update { stage: Some(stage), out })
                }),
                done: Box::new(move |t| doing.done(t)),
                undo: Box::new(move |t| undoing.undo(t)),
                forget: Box::new(move |up_to| {
                    over.forget(up_to);
                    memory.tick();
                }),
            }
        });
        (fired, id, progress)
    }

    /// The records of each batch that are late for all windows.
    #[track_caller]
    pub(super) fn late_on_grid(
        &self,
        site: Site,
        grid: Grid,
        op: OpId,
        progress: Arc<Progress>,
    ) -> DStream<(K, V)> {
        let stream = &self.events.stream;
        let (node, slide) = (stream.node.clone(), stream.slide_duration());
        let late = Site { op: "late", at: site.at };
        stream.operator(Kind::Lineage, late, |_| {
            LineageNode::new(slide, move |g, t| {
                let Some(parent) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let told = match elsewhere(g) {
                    true => g.ctx.0.replayed(op, t, 0).map(|n| n.take::<Vec<u64>>()).transpose()?,
                    false => None,
                };
                let told = told.map(|note| noted(&note).0).or_else(|| progress.at.at(t));
                let Some(watermark) = told else { return Ok(None) };
                let placed = PlacedPipe { parent, grid, watermark, t, told: None, site };
                Ok(Some(Erased::new(Arc::new(LatePipe(placed)))))
            })
        })
    }
}

/// Records in each of their open windows.
struct PlacedPipe<P> {
    parent: Arc<P>,
    grid: Grid,
    watermark: Time,
    t: Time,
    /// Where to tell of those that missed windows.
    told: Option<crate::Accumulator<super::told::ByPart<Missed>>>,
    site: Site,
}

impl<P> PlacedPipe<P> {
    fn tell(&self, part: usize, missed: Missed) {
        if let Some(told) = self.told.as_ref().filter(|_| missed.late + missed.partly > 0) {
            told.add((self.t, part, missed));
        }
    }
}

/// What both pipes pass on to their parent.
macro_rules! placed {
    (|$s:ident| $placed:expr) => {
        fn partitions(&$s) -> usize {
            $placed.parent.partitions()
        }
        fn wide(&$s, out: &mut Vec<Arc<dyn TaskBody>>) {
            $placed.parent.wide(out);
        }
        fn input_records(&$s) -> usize {
            $placed.parent.input_records()
        }
        fn lineage(&$s, out: &mut Lineage) {
            out.step(&$placed.site, $placed.parent.partitions());
            $placed.parent.lineage(out);
        }
        fn captures(&$s, out: &mut Vec<Captured>) {
            out.push(Captured { site: $placed.site, why: Unshippable::Stage });
        }
    };
}

impl<K: Key, V: Wire, P: Pipe<Out = (Time, (K, V))>> Pipe for PlacedPipe<P> {
    type Out = ((K, Window), V);
    placed!(|self| self);
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, Self::Out) -> A,
    ) -> Result<A, TaskError> {
        let mut missed = Missed::default();
        let all = self.parent.fold(cx, part, init, |mut a, (event, (k, v))| {
            let (placed, mut open) = self.grid.place(event, self.watermark);
            missed.late += u64::from(placed == Placed::Late);
            missed.partly += u64::from(placed == Placed::Partly);
            let Some(mut w) = open.next() else { return a };
            for next in open {
                a = g(a, ((k.clone(), w), v.clone()));
                w = next;
            }
            g(a, ((k, w), v))
        })?;
        self.tell(part, missed);
        Ok(all)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(Self::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        // Only the update stage reads this, and all of it.
        self.parent.try_each(cx, part, |(event, (k, v))| {
            let (_, mut open) = self.grid.place(event, self.watermark);
            open.try_for_each(|w| g(((k.clone(), w), v.clone())))
        })
    }
}

/// The records that are late.
struct LatePipe<P>(PlacedPipe<P>);

impl<K: Key, V: Wire, P: Pipe<Out = (Time, (K, V))>> Pipe for LatePipe<P> {
    type Out = (K, V);
    placed!(|self| self.0);
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, (K, V)) -> A,
    ) -> Result<A, TaskError> {
        let PlacedPipe { parent, grid, watermark, .. } = &self.0;
        parent.fold(cx, part, init, |a, (event, pair)| match grid.place(event, *watermark).0 {
            Placed::Late => g(a, pair),
            _ => a,
        })
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut((K, V)) -> Flow,
    ) -> Result<Flow, TaskError> {
        let PlacedPipe { parent, grid, watermark, .. } = &self.0;
        parent.try_each(cx, part, |(event, pair)| match grid.place(event, *watermark).0 {
            Placed::Late => g(pair),
            _ => Flow::Continue(()),
        })
    }
}

impl<P> fmt::Debug for PlacedPipe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
