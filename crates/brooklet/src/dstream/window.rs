//! `window`: the records of several batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::update::{Batch, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Node};
use crate::block::{Block, StorageLevel, Values};
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::rdd::persist::block_id;
use crate::rdd::pipe::{Captured, Pipe, Unshippable, pushed, slice_source};
use crate::rdd::union::UnionPipe;
use crate::rdd::{Erased, Lineage, detach};
use crate::sync::{LockExt, Mutex};
use crate::{Result, Time};

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
        let gone = |why: &dyn fmt::Display| TaskError::Input {
            message: format!("batch {} of {}, partition {part}: {why}", self.key.batch, self.site),
        };
        match cx.blocks().get(block_id(&self.key, part)) {
            Ok(Some(b)) => {
                let b: Arc<dyn Block> = b;
                let v = b.as_any().downcast::<Values<T>>();
                v.map_err(|_| TaskError::Bug("a stored block has another type".into()))
            }
            Ok(None) => Err(gone(&"its records are not stored any more")),
            Err(e) => Err(gone(&e)),
        }
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
    stage: Arc<dyn TaskBody>,
    ctx: Weak<Inner>,
    /// Lets go of what the stage has read.
    stored: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ctx) = self.ctx.upgrade() {
            let ids = (0..self.stage.width()).map(|part| block_id(&self.stage.key(), part));
            ids.for_each(|id| _ = ctx.env.blocks.remove(id));
        }
    }
}

/// The batches of a window on the driver: those that are stored, and the one that is being stored.
#[derive(Default)]
struct Batches {
    stored: BTreeMap<Time, Arc<Held>>,
    new: Option<(Time, Arc<Held>)>,
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The records of the last batches: those of `window` up to each `slide` (the slide of this stream when
    /// it is `None`). A window that ends with batch t holds the batches of [t - window + slide of this stream,
    /// t]; the first windows are shorter. Batches without an RDD are left out. The partitions are those of the
    /// batches, one after the other in time.
    ///
    /// Each batch is computed once and kept, in memory and on disk when that is short, until no window needs
    /// it.
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
        self.stateful(site, |op| Stateful {
            every: span.parent,
            slide: span.slide,
            state: None,
            note: Box::new(move |_, t| {
                // Times and numbers of partitions, for processes that haven't seen these batches.
                let b = told.get();
                let inside = b.stored.range(span.begin(t)..t);
                Ok(inside.flat_map(|(t, h)| [t.millis(), h.stage.width() as u64]).collect())
            }),
            stored: Vec::new(),
            make: Box::new(move |g, &Batch { t, .. }, note| {
                let key = |batch| StageKey { op, sub: 0, role: Role::Update, batch };
                let stored = |batch, width, stage| {
                    let t = std::marker::PhantomData;
                    Erased::new(Arc::new(Stored { key: key(batch), width, stage, site, t }))
                };
                let mut b = made.get();
                let mut inside: Vec<Erased<T>> = Vec::new();
                for n in note.chunks_exact(2) {
                    let batch = Time::from_millis(n[0]);
                    let held = b.stored.get(&batch).map(|h| h.stage.clone());
                    inside.push(stored(batch, n[1] as usize, held));
                }
                b.new = None;
                let parent = if span.wants(g, t) { node.at(&GraphRef(g), t)? } else { None };
                let stage = parent.map(|parent| {
                    let (stage, free) = store_stage(g, key(t), parent, site);
                    inside.push(stored(t, stage.width(), Some(stage.clone())));
                    let ctx = Arc::downgrade(&g.ctx.0);
                    b.new = Some((t, Arc::new(Held { stage: stage.clone(), ctx, stored: free })));
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
                let gone = undone.get().stored.remove(&t);
                drop(gone);
            }),
            forget: Box::new(move |up_to| {
                let mut b = over.get();
                let needed = b.stored.split_off(&(span.past(up_to) + Duration::from_millis(1)));
                let gone = std::mem::replace(&mut b.stored, needed);
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
        let (id, level) = (block_id(&key, part), StorageLevel::MEMORY_AND_DISK);
        let put = cx.blocks().put(id, Values::new(records), Values::<T>::decode, level);
        put.map(drop).map_err(|e| failed(&e))
    };
    let stage = UpdateStage::make(graph, (key.op, key.batch), width, records, wide, run);
    let free = move || {
        let gone = free.get().take();
        drop(gone);
    };
    (stage, Box::new(free))
}
