//! `window`: the records of several batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::update::{Batch, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Node};
use crate::block::{Block, BlockStore, StorageLevel, Values};
use crate::checkpoint::schema::{EntryError, Opaque, decode};
use crate::checkpoint::{DeltaBuilder, Entries, PutError};
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{OpId, Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::rdd::persist::block_id;
use crate::rdd::pipe::{Captured, Pipe, Unshippable, pushed, slice_source};
use crate::rdd::union::UnionPipe;
use crate::rdd::{Erased, Lineage, detach};
use crate::state::durable::{Collect, Durable, Form, not_read, not_written, put, schema_of};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// Length and slide of a window over a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The slide of the stream below.
    pub(super) parent: Duration,
    pub(super) window: Duration,
    pub(super) slide: Duration,
}

impl Span {
    /// # Panics
    /// When the durations don't fit.
    #[track_caller]
    pub(super) fn new(
        site: Site,
        parent: Duration,
        window: Duration,
        slide: impl Into<Option<Duration>>,
    ) -> Span {
        let slide = slide.into().unwrap_or(parent);
        for (what, d) in [("window", window), ("slide", slide)] {
            assert!(
                !d.is_zero() && d.as_nanos().is_multiple_of(parent.as_nanos()),
                "{site}: the {what} duration {d:?} must be a multiple of {parent:?}, the slide duration of \
                 the stream (window {window:?}, slide {slide:?})"
            );
        }
        Span { parent, window, slide }
    }

    /// The first batch of the window that ends with batch `t`.
    pub(super) fn begin(&self, t: Time) -> Time {
        t + self.parent - self.window
    }

    /// Whether batch `t` is in the next window that ends at or after it.
    fn wants(&self, graph: &Graph, t: Time) -> bool {
        // Executors are asked for what is wanted only.
        let Some(zero) = graph.zero() else { return true };
        let down = t.floor_from(self.slide, zero);
        let end = if down == t { t } else { down + self.slide };
        self.begin(end) <= t
    }

    /// When batches up to `up_to` are over: the newest one that no window needs any more. Windows end later
    /// than `up_to`, which may lie between two batches of the stream below.
    pub(super) fn past(&self, up_to: Time) -> Time {
        self.begin(up_to)
    }
}

/// The records of one batch that a window keeps.
struct Stored<T> {
    key: StageKey,
    width: usize,
    /// The stage that stores them, where it is known.
    stage: Option<Arc<dyn TaskBody>>,
    site: Site,
    t: std::marker::PhantomData<fn() -> T>,
}

impl<T: Wire> Stored<T> {
    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Values<T>>, TaskError> {
        if cx.leaves_bytes() {
            let records = cx.store().block(&self.key, part, 0)?.take::<Vec<T>>()?;
            return Ok(Values::new(records));
        }
        stored(cx.blocks(), &self.key, part, self.site)
    }
}

/// A partition of a batch that is stored.
fn stored<T: Wire>(
    blocks: &BlockStore,
    key: &StageKey,
    part: usize,
    site: Site,
) -> Result<Arc<Values<T>>, TaskError> {
    let gone = |why: &dyn fmt::Display| TaskError::Input {
        message: format!("batch {} of {site}, partition {part}: {why}", key.batch),
    };
    match blocks.get(block_id(key, part)) {
        Ok(Some(b)) => {
            let b: Arc<dyn Block> = b;
            let v = b.as_any().downcast::<Values<T>>();
            v.map_err(|_| TaskError::Bug("a stored block has another type".into()))
        }
        Ok(None) => Err(gone(&"its records are not stored any more")),
        Err(e) => Err(gone(&e)),
    }
}

impl<T: Wire> Pipe for Stored<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.width
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.extend(self.stage.clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.read(cx, part)?.items().len() as u64))
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&format_args!("batch {} of {}", self.key.batch, self.site), self.width);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    slice_source!(T, |self, cx, part| self.read(cx, part)?.items(), T::clone);
}

/// What a window holds of a batch. Dropped, it removes the records.
struct Held {
    key: StageKey,
    width: usize,
    /// The stage that has stored them; none when they were restored.
    stage: Option<Arc<dyn TaskBody>>,
    ctx: Weak<Inner>,
    /// Lets go of what the stage has read.
    stored: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ctx) = self.ctx.upgrade() {
            let ids = (0..self.width).map(|part| block_id(&self.key, part));
            ids.for_each(|id| _ = ctx.env.blocks.remove(id));
        }
    }
}

/// The batches of a window on the driver: those that are stored, and the one that is being stored.
#[derive(Default)]
struct Batches {
    stored: BTreeMap<Time, Arc<Held>>,
    new: Option<(Time, Arc<Held>)>,
    /// There are checkpoints.
    durable: bool,
    /// No window needs them any more, and checkpoints may still have them.
    gone: Vec<Gone>,
}

struct Gone {
    t: Time,
    width: usize,
    /// The batch in which checkpoints were told, until it is over.
    told: Option<Time>,
}

/// What a batch tells checkpoints beside its own records.
#[derive(Default)]
struct Told {
    gone: Vec<(Time, usize)>,
    /// Other batches that are stored, when all is wanted.
    others: Vec<(Time, usize)>,
}

impl Batches {
    /// What batch `t` is to tell.
    fn tell(&mut self, t: Time, collect: Collect) -> Told {
        self.durable = collect != Collect::Nothing;
        if !self.durable {
            return Told::default();
        }
        self.gone.iter_mut().for_each(|g| g.told = Some(t));
        let stored = self.stored.iter().map(|(t, h)| (*t, h.width));
        Told {
            gone: self.gone.iter().map(|g| (g.t, g.width)).collect(),
            others: stored.filter(|_| collect == Collect::Whole).collect(),
        }
    }
}

/// Batches as checkpoints store them: an entry for each partition.
struct DurableWindow<T> {
    batches: Arc<Mutex<Batches>>,
    op: OpId,
    ctx: Weak<Inner>,
    site: Site,
    t: std::marker::PhantomData<fn() -> T>,
}

/// Writes a partition of a batch, or that it is gone.
fn put_part<T: Wire>(
    out: &mut DeltaBuilder,
    (t, part): (Time, usize),
    records: Option<&[T]>,
) -> Result<(), PutError<EntryError>> {
    let records = records.as_ref().map(|r| (None, r));
    put(out, part as u8, &(t.millis(), part as u32), records)
}

/// Writes all partitions of a batch, as they are stored.
fn put_stored<T: Wire>(
    out: &mut DeltaBuilder,
    blocks: &BlockStore,
    (key, width): (&StageKey, usize),
    site: Site,
) -> Result<(), TaskError> {
    (0..width).try_for_each(|part| {
        let v = stored::<T>(blocks, key, part, site)?;
        let written = put_part(out, (key.batch, part), Some(v.items()));
        written.map_err(|e| not_written(site, e))
    })
}

fn key(op: OpId, batch: Time) -> StageKey {
    StageKey { op, sub: 0, role: Role::Update, batch }
}

impl<T: Wire> DurableWindow<T> {
    fn env(&self) -> Result<Arc<Inner>> {
        self.ctx.upgrade().ok_or_else(|| Error::Bug("a window without its context".into()))
    }
}

impl<T: Wire> Durable for DurableWindow<T> {
    fn form(&self) -> Result<Form, Opaque> {
        Ok(Form { schema: schema_of::<((u64, u32), Vec<T>)>(None)?, timed: false })
    }

    fn partitioner(&self) -> String {
        "as the batches".into()
    }

    fn load(&self, _: Time, _: Time, _: &Form, entries: &mut Entries) -> Result<()> {
        let (ctx, site) = (self.env()?, self.site);
        let failed = |e: &dyn fmt::Display| not_read(site, e);
        let mut widths: BTreeMap<Time, usize> = BTreeMap::new();
        while let Some((_, place, value)) = entries.next().map_err(Error::Checkpoint)? {
            let (ms, part): (u64, u32) = decode(place).map_err(|e| failed(&e))?;
            let records: Vec<T> = decode(value).map_err(|e| failed(&e))?;
            let (t, part) = (Time::from_millis(ms), part as usize);
            store(&ctx.env.blocks, &key(self.op, t), part, records).map_err(|e| failed(&e))?;
            let width = widths.entry(t).or_default();
            *width = (*width).max(part + 1);
        }
        let held = |(t, width)| {
            let (key, ctx) = (key(self.op, t), self.ctx.clone());
            (t, Arc::new(Held { key, width, stage: None, ctx, stored: Box::new(|| ()) }))
        };
        let mut batches = self.batches.get();
        batches.stored = widths.into_iter().map(held).collect();
        batches.durable = true;
        Ok(())
    }

    fn whole(&self) -> Result<Vec<u8>> {
        let (ctx, mut out) = (self.env()?, DeltaBuilder::default());
        for held in self.batches.get().stored.values() {
            let batch = (&held.key, held.width);
            put_stored::<T>(&mut out, &ctx.env.blocks, batch, self.site)
                .map_err(|cause| Error::TaskFailed { attempts: 1, cause })?;
        }
        Ok(out.finish().into_bytes())
    }
}

/// Stores a partition of a batch, in memory or, when that is short, on disk.
fn store<T: Wire>(
    blocks: &BlockStore,
    key: &StageKey,
    part: usize,
    records: Vec<T>,
) -> Result<(), crate::block::BlockError> {
    let (id, level) = (block_id(key, part), StorageLevel::MEMORY_AND_DISK);
    blocks.put(id, Values::new(records), Values::<T>::decode, level).map(drop)
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records of the last batches: those of `window` up to each `slide` (the slide of this stream when
    /// it is `None`). A window that ends with batch t holds the batches of [t - window + slide of this stream,
    /// t]; the first windows are shorter. Batches without an RDD are left out. The partitions are those of the
    /// batches, one after the other in time.
    ///
    /// Each batch is computed once and kept, in memory and on disk when that is short, until no window needs
    /// it. With a checkpoint directory it is written there, too.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![1], vec![2], vec![3], vec![]], |s| s.window(seconds(2), None));
    /// assert_eq!(out, [vec![1], vec![1, 2], vec![2, 3], vec![3]]);
    /// let out = run([vec![1], vec![2], vec![3], vec![4]], |s| s.window(seconds(3), seconds(2)));
    /// assert_eq!(out, [vec![1, 2], vec![2, 3, 4]]);
    /// ```
    ///
    /// # Panics
    /// When a duration isn't a multiple of the slide of this stream.
    #[track_caller]
    pub fn window(&self, window: Duration, slide: impl Into<Option<Duration>>) -> DStream<T>
    where
        T: Wire,
    {
        let site = Site::here("window");
        let span = Span::new(site, self.slide_duration(), window, slide);
        let node = self.node.clone();
        let batches: Arc<Mutex<Batches>> = Arc::default();
        let [told, made, done, undone, over] = std::array::from_fn(|_| batches.clone());
        let ctx = Arc::downgrade(&self.graph.ctx.0);
        self.stateful(site, |op| Stateful {
            every: span.parent,
            slide: span.slide,
            state: None,
            note: Box::new(move |_, t| {
                // Times and numbers of partitions, for processes that haven't seen these batches.
                let b = told.get();
                let inside = b.stored.range(span.begin(t)..t);
                Ok(inside.flat_map(|(t, h)| [t.millis(), h.width as u64]).collect())
            }),
            stored: {
                let t = std::marker::PhantomData::<fn() -> T>;
                vec![("", Arc::new(DurableWindow { batches, op, ctx, site, t }))]
            },
            make: Box::new(move |g, &Batch { t, collect, .. }, note| {
                let stored = |batch, width, stage| {
                    let t = std::marker::PhantomData;
                    Erased::new(Arc::new(Stored { key: key(op, batch), width, stage, site, t }))
                };
                let mut b = made.get();
                let mut inside: Vec<Erased<T>> = Vec::new();
                for n in note.chunks_exact(2) {
                    let batch = Time::from_millis(n[0]);
                    let held = b.stored.get(&batch).and_then(|h| h.stage.clone());
                    inside.push(stored(batch, n[1] as usize, held));
                }
                b.new = None;
                let parent = if span.wants(g, t) { node.at(&GraphRef(g), t)? } else { None };
                let stage = parent.filter(|p| p.partitions() > 0).map(|parent| {
                    let told = b.tell(t, collect);
                    let (stage, free) = store_stage(g, key(op, t), parent, (collect, told), site);
                    let width = stage.width();
                    inside.push(stored(t, width, Some(stage.clone())));
                    let (key, ctx) = (key(op, t), Arc::downgrade(&g.ctx.0));
                    let held = Held { key, width, stage: Some(stage.clone()), ctx, stored: free };
                    b.new = Some((t, Arc::new(held)));
                    stage
                });
                let ends = g.on_grid(t, span.slide);
                let out = ends.then(|| Erased::new(Arc::new(UnionPipe(inside))));
                Ok(Update { stage, out })
            }),
            done: Box::new(move |_| {
                let mut b = done.get();
                if let Some((t, held)) = b.new.take() {
                    (held.stored)();
                    b.stored.insert(t, held);
                }
            }),
            undo: Box::new(move |t| {
                let mut b = undone.get();
                let told = b.gone.iter_mut().filter(|g| g.told == Some(t));
                told.for_each(|g| g.told = None);
                let gone = b.stored.remove(&t);
                drop((b, gone));
            }),
            forget: Box::new(move |up_to| {
                let mut b = over.get();
                let needed = b.stored.split_off(&(span.past(up_to) + Duration::from_millis(1)));
                let gone = std::mem::replace(&mut b.stored, needed);
                b.gone.retain(|g| g.told.is_none_or(|told| told > up_to));
                if b.durable {
                    let left =
                        |(t, h): (&Time, &Arc<Held>)| Gone { t: *t, width: h.width, told: None };
                    b.gone.extend(gone.iter().map(left));
                }
                drop((b, gone));
            }),
        })
    }
}

/// The stage that stores a batch, and what frees the lineage behind it afterwards.
fn store_stage<T: Wire, P: Pipe<Out = T>>(
    graph: &Graph,
    key: StageKey,
    parent: Arc<P>,
    (collect, told): (Collect, Told),
    site: Site,
) -> (Arc<dyn TaskBody>, Box<dyn Fn() + Send + Sync>) {
    let (width, records) = (parent.partitions(), parent.input_records());
    let parent = Arc::new(Mutex::new(Some(parent)));
    let (up, free) = (parent.clone(), parent.clone());
    let wide = move |out: &mut Vec<_>| {
        let parent = up.get().clone();
        parent.iter().for_each(|p| p.wide(out));
    };
    let run = move |cx: &TaskCx<'_>| {
        let failed = |why: &dyn fmt::Display| TaskError::Input {
            message: format!("batch {} of {site}: {why}", key.batch),
        };
        let from = parent.get().clone();
        let Some(from) = from else { return Err(failed(&"what was stored of it is gone")) };
        let part = cx.partition();
        let records = detach::all(from.fold(cx, part, Vec::new(), pushed)?);
        cx.check()?;
        if cx.leaves_bytes() {
            let n = records.len();
            return cx.put_block(records, n);
        }
        let mut changes: Vec<Vec<u8>> = Vec::new();
        if collect != Collect::Nothing {
            let mut out = DeltaBuilder::default();
            let mut write = |at: (Time, usize), records: Option<&[T]>| {
                put_part(&mut out, at, records).map_err(|e| not_written(site, e))
            };
            write((key.batch, part), Some(&records))?;
            if part == 0 {
                for (t, width) in &told.gone {
                    (0..*width).try_for_each(|part| write((*t, part), None))?;
                }
                for (t, width) in &told.others {
                    let other = StageKey { batch: *t, ..key };
                    put_stored::<T>(&mut out, cx.blocks(), (&other, *width), site)?;
                }
            }
            changes.push(out.finish().into_bytes());
        }
        cx.put_result(changes)?;
        store(cx.blocks(), &key, part, records).map_err(|e| failed(&e))
    };
    let stage = UpdateStage::make(graph, (key.op, key.batch), width, records, wide, run);
    let free = move || {
        let gone = free.get().take();
        drop(gone);
    };
    (stage, Box::new(free))
}
