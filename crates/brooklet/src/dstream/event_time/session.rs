//! The update stage of sessions: the open sessions of each key.

use std::sync::Arc;
use std::time::Duration;

use super::Fired;
use super::durable::DurableWindows;
use super::source::noted;
use super::timers::Timers;
use super::told::ByPart;
use super::windowed::{Missed, Windowed};
use crate::Time;
use crate::data::{Key, Wire};
use crate::dstream::map::Map;
use crate::dstream::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use crate::dstream::{DStream, GraphRef, Kind, LineageNode, Node};
use crate::engine::{Accumulator, Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::event_time::{Sessions, Window};
use crate::rdd::combine::Combine;
use crate::rdd::group::{Dealt, Grouped};
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Pipe};
use crate::state::{State, Tables};
use crate::sync::{LockExt, Mutex};

/// What the tasks of one operator share.
struct Open<K, A, C> {
    tables: Arc<Tables<K, Sessions<A>>>,
    timers: Vec<Mutex<Timers<K>>>,
    gap: Duration,
    f: C,
    told: Accumulator<ByPart<Missed>>,
    /// Late records are left as a block of their own.
    keep_late: bool,
    site: Site,
}

/// The batch, and what the driver has told.
#[derive(Clone, Copy)]
struct Now {
    batch: Batch,
    watermark: Time,
    fire: Time,
}

impl<K: Key, A: Wire, C> Open<K, A, C> {
    /// One partition of one batch.
    fn update<V: Wire>(
        &self,
        cx: &TaskCx<'_>,
        now: Now,
        records: Option<&Grouped<K, (Time, V)>>,
    ) -> Result<(), TaskError>
    where
        C: Combine<V, A>,
    {
        let (part, site) = (cx.partition(), self.site);
        let Batch { t, base, collect } = now.batch;
        let mut lease = self.tables.lease(part, base, t)?;
        let mut timers = self.timers[part].get();
        timers.begin(base);
        let mut out: Vec<(K, Window, A)> = Vec::new();
        let mut missed = Missed::default();
        let mut late: Vec<(K, V)> = Vec::new();
        let mut again = Vec::new();
        // First what has ended, so that the records of this batch don't prolong it; in the end, if told so, what
        // is open.
        for until in [Some(now.watermark), (now.fire > now.watermark).then_some(now.fire)] {
            let Some(until) = until else { continue };
            let mut after = None;
            while let Some((end, keys)) = timers.next(after, until) {
                for (hash, key) in keys {
                    lease.with(*hash, key, |state: &mut State<Sessions<A>>| {
                        let due = |s: &&Sessions<A>| s.next_end().is_some_and(|end| end <= until);
                        let Some(mut open) = state.get().filter(due).cloned() else { return };
                        out.extend(open.close(until).map(|(w, a)| (key.clone(), w, a)));
                        match open.next_end() {
                            Some(next) => {
                                again.push((next, *hash, key.clone()));
                                state.update(open);
                            }
                            None => state.remove(),
                        }
                    });
                }
                after = Some(end);
                cx.check()?;
            }
            again.drain(..).for_each(|(end, hash, key)| timers.push(end, hash, key));
            let Some(records) = records.filter(|_| until == now.watermark) else { continue };
            let groups = records.read(cx, part)?;
            let mut chunks = groups.chunks(crate::conf::defaults::CHUNK_RECORDS);
            while let Some(chunk) = chunks.next()? {
                for e in chunk {
                    let next = site.guard(|| {
                        lease.with(e.hash, &e.key, |state| {
                            let mut open = state.get().cloned().unwrap_or_default();
                            let before = open.next_end();
                            open.add(e.val.clone(), self.gap, now.watermark, &self.f, |_, v| {
                                missed.late += 1;
                                if self.keep_late {
                                    late.push((e.key.clone(), v));
                                }
                            });
                            let next = open.next_end();
                            if !open.is_empty() {
                                state.update(open);
                            }
                            next.filter(|_| next != before)
                        })
                    });
                    if let Some(end) = next {
                        timers.push(end, e.hash, e.key.clone());
                    }
                }
                cx.check()?;
            }
        }
        if missed.late > 0 {
            self.told.add((t, part, missed));
        }
        let n = out.len();
        cx.put_block(Kept::new(out, None), n)?;
        if self.keep_late {
            let n = late.len();
            cx.put_block(Kept::new(late, None), n)?;
        }
        cx.put_result(vec![lease.collect(collect)?])?;
        timers.done(t, now.fire);
        lease.commit();
        Ok(())
    }
}

impl<K: Key, V: Wire, N: Node<Out = (Time, (K, V))>> Windowed<K, V, N> {
    /// The operator, and the late records beside it if they are wanted.
    #[track_caller]
    pub(super) fn in_sessions<A: Wire>(
        &self,
        site: Site,
        gap: Duration,
        f: impl Combine<V, A>,
        keep_late: bool,
    ) -> (Fired<K, A>, DStream<(K, V)>) {
        let partitions = self.partitions;
        let progress = self.progress(site);
        let open = Arc::new(Open {
            tables: Arc::new(Tables::<K, Sessions<A>>::new(partitions, false, site)),
            timers: (0..partitions).map(|_| Mutex::default()).collect(),
            gap,
            f,
            told: progress.told.clone(),
            keep_late,
            site,
        });
        let by_key = |(t, (k, v)): (Time, (K, V))| (k, (t, v));
        let stream = self.events.stream.narrow(|parent| Map::new(parent, by_key, site));
        let (node, every) = (stream.node.clone(), stream.slide_duration());
        let [noting, doing, undoing, over] = [(); 4].map(|()| progress.clone());
        let memory: Arc<Memory<K, (Time, V)>> = Arc::default();
        let kept = memory.clone();
        let (seed, timing) = (stream.graph.ctx.0.env.seed, open.clone());
        let partitioning = Partitioning::Hash(partitions);
        let timer = move |part: usize, hash, key: &K, sessions: &Sessions<A>| {
            if let Some(end) = sessions.next_end() {
                timing.timers[part].get().push(end, hash, key.clone());
            }
        };
        let stored = DurableWindows::stored(&open.tables, partitioning, seed, site, timer);
        let fired = stream.stateful(site, |op| {
            progress.at.of(op);
            Stateful {
                every,
                slide: every,
                state: Some(open.tables.clone()),
                note: Box::new(move |g, t| Ok(noting.at.note(g, t))),
                stored,
                make: Box::new(move |g, &batch, note| {
                    let (t, (watermark, fire)) = (batch.t, noted(note));
                    let partitioning = Partitioning::Hash(partitions);
                    let records = node.at(&GraphRef(g), t)?.map(|parent| {
                        let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                        let dealt = Dealt::new(&g.ctx.0, key, parent, &memory, &partitioning, site);
                        Arc::new(Grouped::new(dealt, partitions, site))
                    });
                    let up = records.clone();
                    let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| {
                        up.iter().for_each(|r| r.wide(out));
                    };
                    let (open, now) = (open.clone(), Now { batch, watermark, fire });
                    let run = move |cx: &TaskCx<'_>| open.update(cx, now, records.as_deref());
                    let stage = UpdateStage::make(g, (op, t), partitions, 0, wide, run);
                    let out = Some(Erased::new(Arc::new(LeftBy::new(&stage, site))));
                    Ok(Update { stage: Some(stage), out })
                }),
                done: Box::new(move |t| doing.done(t)),
                undo: Box::new(move |t| undoing.undo(t)),
                forget: Box::new(move |up_to| {
                    over.forget(up_to);
                    kept.tick();
                }),
            }
        });
        let (node, slide) = (fired.node.clone(), fired.slide_duration());
        let late_site = Site { op: "late", at: site.at };
        let late = fired.operator(Kind::Lineage, late_site, |_| {
            LineageNode::new(slide, move |g, t| {
                let Some(fired) = node.at(&GraphRef(g), t)? else { return Ok(None) };
                let mut stage = Vec::new();
                fired.wide(&mut stage);
                let late = stage.pop().map(|s| LeftBy::block(&s, 1, late_site));
                Ok(late.map(|l| Erased::new(Arc::new(l))))
            })
        });
        (fired, late)
    }
}
