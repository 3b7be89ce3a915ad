//! The graph of one streaming context: operators in creation order, found by structural path.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::checkpoint::{CheckpointStats, StoredOperator, StreamCheckpoints, Wanted};
use crate::context::Context;
use crate::engine::{Accumulator, JobId, LongSum, OpId, Site, TaskError};
use crate::metrics::StateMetrics;
use crate::scheduler::{OutputMeta, StreamInputInfo};
use crate::state::Watched;
use crate::state::durable::Durable;
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// What an operator is to the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Kind {
    /// Chooses and reads records.
    Input,
    /// Only lineage: shuffles, unions, persisted and boxed streams.
    Lineage,
    /// Runs once per batch, before the outputs: transforms, later state and windows.
    Step,
    /// Runs once per batch, for its effect.
    Output,
}

/// An operator as the graph sees it, in drivers and executors alike.
pub(crate) trait Operator: Send + Sync {
    /// Builds the lineage, and with it the task bodies, of `t`. Runs no task.
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()>;

    /// Steps and outputs: the driver's work for batch `t`.
    fn run(&self, _: &Graph, _: Time) -> Result<()> {
        Ok(())
    }

    /// Steps: batch `t` failed and is skipped; the version of `t` is that of the batch before.
    fn roll_back(&self, _: Time) {}

    /// The state of batch `t` was restored.
    fn restored(&self, _: Time) {}

    /// Batches up to `up_to` are over.
    fn forget(&self, _: Time) {}

    /// `foreach_rdd`: the RDD that its closure gets.
    fn base(&self, _: &Graph, _: Time) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(None)
    }
}

/// An input as the graph sees it.
pub(crate) trait InputOperator: Send + Sync {
    /// Inputs are started before the first batch.
    fn start(&self, graph: &Graph) -> Result<()>;
    /// Stops whatever produces records; graceful waits until all of it is stored.
    fn stop_receiving(&self, graceful: bool);
    /// After the last batch.
    fn stop(&self);
    /// Chooses the input of batch `t`; `empty` gives none to it.
    fn allocate(&self, graph: &Graph, t: Time, empty: bool) -> Result<Option<StreamInputInfo>>;
    /// Batch `t` is over: what is known of its input now, if that is more than before.
    fn batch_over(&self, _: Time) -> Result<Option<StreamInputInfo>> {
        Ok(None)
    }
    /// Whether something waits that belongs to no batch yet.
    fn has_unallocated(&self) -> bool;
    /// What the input counts, by the names that users see.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// The slices that are remembered, as bytes.
    fn slices(&self) -> Result<Vec<(Time, Vec<u8>)>, TaskError>;
    /// A slice chosen by another process.
    fn take_slice(&self, t: Time, bytes: &[u8]) -> Result<(), TaskError>;
}

/// One operator in the graph's table.
pub(crate) struct Entry {
    pub(crate) id: OpId,
    /// Structural path.
    base: String,
    /// Where paths repeat: the how many-th in creation order.
    ordinal: usize,
    /// The identity in a checkpoint: the user's name or the path without ordinal.
    name: Option<String>,
    kind: Kind,
    pub(crate) site: Site,
    pub(crate) op: Arc<dyn Operator>,
    pub(crate) input: Option<Arc<dyn InputOperator>>,
}

impl Entry {
    /// The user's name, else the path with its ordinal.
    fn identity(&self) -> String {
        match (&self.name, self.ordinal) {
            (Some(name), _) => name.clone(),
            (None, 0) => self.base.clone(),
            (None, n) => format!("{}#{n}", self.base),
        }
    }
}

/// The batches that streams can be asked for.
#[derive(Default)]
pub(crate) struct Horizon {
    /// The newest one that has its input and whose steps are done.
    pub(crate) ready: Option<Time>,
    /// The newest one that is forgotten.
    pub(crate) forgotten: Option<Time>,
    /// Those that failed before their outputs and were rolled back.
    pub(crate) failed: BTreeSet<Time>,
    /// The context has been stopped.
    pub(crate) over: bool,
}

/// The batches in which operators give out what they hold when the context is stopped gracefully.
#[derive(Default)]
struct Flush {
    /// There is no more input.
    begun: bool,
    /// By slide: the batch, once it is made.
    at: BTreeMap<Duration, Option<Time>>,
}

/// The operators of one [`StreamingContext`](crate::StreamingContext).
pub(crate) struct Graph {
    pub(crate) ctx: Context,
    pub(crate) id: u32,
    pub(crate) batch: Duration,
    entries: Mutex<Vec<Entry>>,
    zero: OnceLock<Time>,
    sealed: AtomicBool,
    remember: Mutex<Option<Duration>>,
    horizon: Mutex<Horizon>,
    /// Records that fallible operators left out, by operator.
    skipped: Mutex<Vec<(String, Accumulator<LongSum>)>>,
    /// What only one operator may have, such as a folder, with who has it.
    claims: Mutex<BTreeMap<String, Site>>,
    flush: Mutex<Flush>,
    #[cfg(feature = "http")]
    pub(crate) http: crate::http::Hub,
    /// The parts of operators that checkpoints store, by what is added to the identity.
    stored: Mutex<Vec<(OpId, Site, Vec<(&'static str, Arc<dyn Durable>)>)>>,
    /// Where it is stored, until the start.
    checkpoint: Mutex<Option<(PathBuf, Wanted)>>,
    checkpoints: Mutex<Option<Arc<StreamCheckpoints>>>,
    /// What they had written when they ended.
    last_checkpoints: Mutex<Option<CheckpointStats>>,
    /// What the inputs had counted when they were dropped.
    last_counts: Mutex<Vec<(String, u64)>>,
    /// The states of stateful operators.
    states: Mutex<Vec<(OpId, Weak<dyn Watched>)>>,
    /// What they were when they were dropped.
    last_states: Mutex<Vec<StateMetrics>>,
}

impl Graph {
    pub(crate) fn new(ctx: &Context, batch: Duration) -> Arc<Graph> {
        let id = ctx.0.next_graph();
        let graph = Arc::new(Graph {
            ctx: ctx.clone(),
            id,
            batch,
            entries: Mutex::default(),
            zero: OnceLock::new(),
            sealed: AtomicBool::new(false),
            remember: Mutex::default(),
            horizon: Mutex::default(),
            skipped: Mutex::default(),
            claims: Mutex::default(),
            flush: Mutex::default(),
            #[cfg(feature = "http")]
            http: crate::http::Hub::default(),
            stored: Mutex::default(),
            checkpoint: Mutex::default(),
            checkpoints: Mutex::default(),
            last_checkpoints: Mutex::default(),
            last_counts: Mutex::default(),
            states: Mutex::default(),
            last_states: Mutex::default(),
        });
        ctx.0.add_graph(id, &graph);
        graph
    }

    /// Adds an operator under its structural path; equal paths get ordinals, for tasks must tell them
    /// apart.
    ///
    /// # Panics
    /// When the context has been started: the program's mistake, reported at the call.
    #[track_caller]
    pub(crate) fn add<O: Operator + 'static>(
        &self,
        path: &str,
        kind: Kind,
        site: Site,
        make: impl FnOnce(OpId) -> Arc<O>,
    ) -> Arc<O> {
        self.add_input(path, kind, site, |id| (make(id), None))
    }

    #[track_caller]
    pub(crate) fn add_input<O: Operator + 'static>(
        &self,
        path: &str,
        kind: Kind,
        site: Site,
        make: impl FnOnce(OpId) -> (Arc<O>, Option<Arc<dyn InputOperator>>),
    ) -> Arc<O> {
        let mut all = self.entries.get();
        let (id, ordinal) = self.next_id(&all, path, site);
        let (op, input) = make(id);
        let base = path.to_string();
        all.push(Entry { id, base, ordinal, name: None, kind, site, op: op.clone(), input });
        op
    }

    /// The identity of the operator that is added next.
    #[track_caller]
    fn next_id(&self, all: &[Entry], path: &str, site: Site) -> (OpId, usize) {
        assert!(
            !self.sealed.load(Relaxed),
            "{site}: operators can't be added to a context that has been started; build the whole graph \
             first",
        );
        let ordinal = all.iter().filter(|e| e.base == path).count();
        let mut h = DefaultHasher::new();
        (path, ordinal).hash(&mut h);
        let id = OpId { graph: self.id, id: h.finish() };
        assert!(
            all.iter().all(|e| e.id != id),
            "{site}: two operators have one id; please report it"
        );
        (id, ordinal)
    }

    /// A stateful operator's parts that checkpoints store.
    pub(crate) fn add_state(
        &self,
        op: OpId,
        site: Site,
        parts: Vec<(&'static str, Arc<dyn Durable>)>,
    ) {
        self.stored.get().push((op, site, parts));
    }

    /// The state checkpoints, when they are written.
    pub(crate) fn checkpoints(&self) -> Option<Arc<StreamCheckpoints>> {
        self.checkpoints.get().clone()
    }

    /// What checkpoints have written, also after the stop.
    pub(crate) fn checkpoint_stats(&self) -> Option<CheckpointStats> {
        self.checkpoints().map(|c| c.stats()).or(*self.last_checkpoints.get())
    }

    /// No batch comes any more: with `last`, what isn't stored yet is. The directory is free then.
    pub(crate) fn close_checkpoints(&self, last: bool) -> Result<()> {
        let Some(c) = self.checkpoints.get().take() else { return Ok(()) };
        let finished = if last { c.finish() } else { Ok(()) };
        *self.last_checkpoints.get() = Some(c.stats());
        finished
    }

    /// State is stored in `dir` from the start on.
    pub(crate) fn set_checkpoint(&self, dir: PathBuf, wanted: Wanted) {
        *self.checkpoint.get() = Some((dir, wanted));
    }

    /// Restores the state that is stored, and writes checkpoints from now on, when there is a directory. Returns
    /// the zero time to count from.
    pub(crate) fn open_checkpoints(&self, zero: Time) -> Result<Time> {
        let Some((dir, wanted)) = self.checkpoint.get().take() else {
            let kept = self.stored.get().len();
            if kept > 0 {
                tracing::warn!(
                    app = self.ctx.conf().app_name,
                    "{kept} operators keep state that ends with the process: `checkpoint(dir)` stores it"
                );
            }
            return Ok(zero);
        };
        let ctx = &self.ctx.0;
        if ctx.engine()?.remote() {
            return Err(Error::usage(
                "state checkpoints are written where the tasks run in the driver's process; this engine's don't",
            ));
        }
        if let Some((name, _)) = self.states().iter().find(|(_, s)| s.is_on_disk()) {
            return Err(Error::usage(format!(
                "`{name}` keeps its state on disk, which checkpoints don't store: use `StateStore::Memory`, or \
                 no checkpoint directory"
            )));
        }
        let mut operators = Vec::new();
        for (id, site, parts) in self.stored.get().iter() {
            let identity = self.entries.get().iter().find(|e| e.id == *id).map(Entry::identity);
            let identity = identity.unwrap_or_default();
            let name = |(suffix, part): &(&str, Arc<dyn Durable>)| {
                (format!("{identity}{suffix}"), part.clone())
            };
            operators.push(StoredOperator {
                id: *id,
                site: *site,
                parts: parts.iter().map(name).collect(),
            });
        }
        let same = self
            .ambiguous()
            .into_iter()
            .filter(|(_, sites)| sites.iter().any(|s| operators.iter().any(|o| o.site == *s)));
        if let Some((path, sites)) = same.into_iter().next() {
            let sites: Vec<_> = sites.iter().map(Site::to_string).collect();
            return Err(Error::usage(format!(
                "the stateful operators {} can't be told apart in a checkpoint (`{path}`): give each a name, \
                 with `.name(..)`",
                sites.join(" and ")
            )));
        }
        let times = (zero, zero + self.batch, ctx.env.seed.get());
        let (clock, app) = (ctx.conf.clock.clone(), &ctx.conf.app_name);
        let restored = StreamCheckpoints::open(&dir, operators, wanted, times, clock, app)?;
        if let Some((t, ops)) = restored.from {
            for id in ops {
                if let Ok(op) = self.find(id) {
                    op.restored(t);
                }
            }
        }
        *self.checkpoints.get() = Some(Arc::new(restored.checkpoints));
        Ok(restored.zero)
    }

    /// Gives an operator the user's name; two of one name are refused at start.
    pub(crate) fn name(&self, id: OpId, name: &str) {
        if let Some(e) = self.entries.get().iter_mut().find(|e| e.id == id) {
            e.name = Some(name.to_string());
        }
    }

    /// Takes `what` for the operator at `site`; `or_else` says what would happen if two had it.
    ///
    /// # Panics
    /// When another operator has it: the program's mistake, reported at the call.
    #[track_caller]
    pub(crate) fn claim(&self, what: String, or_else: &str, site: Site) {
        let other = self.claims.get().get(&what).copied();
        if let Some(other) = other {
            panic!("{site}: {what} is taken by {other}: {or_else}; choose another");
        }
        self.claims.get().insert(what, site);
    }

    /// A counter of records that an operator leaves out.
    pub(crate) fn skip_counter(&self, name: &str) -> Accumulator<LongSum> {
        let a = self.ctx.long_accumulator(name);
        self.skipped.get().push((name.to_string(), a.clone()));
        a
    }

    /// Records left out so far, by operator.
    pub(crate) fn skipped(&self) -> Vec<(String, u64)> {
        let g = self.skipped.get();
        g.iter().map(|(n, a)| (n.clone(), a.value().sum as u64)).collect()
    }

    /// What the inputs have counted, also after the stop.
    pub(crate) fn input_counts(&self) -> Vec<(String, u64)> {
        let mut all = self.last_counts.get().clone();
        all.extend(self.inputs().iter().flat_map(|i| i.counters()));
        all
    }

    /// The state of an operator can be seen from outside.
    pub(crate) fn watch_state(&self, id: OpId, state: Weak<dyn Watched>) {
        self.states.get().push((id, state));
    }

    /// The states that are there, with the operators' identities.
    fn states(&self) -> Vec<(String, Arc<dyn Watched>)> {
        // One lock after the other: operators are added to both.
        let states = self.states.get().clone();
        let entries = self.entries.get();
        let named = |(id, state): &(OpId, Weak<dyn Watched>)| {
            let entry = entries.iter().find(|e| e.id == *id)?;
            Some((entry.identity(), state.upgrade()?))
        };
        states.iter().filter_map(named).collect()
    }

    /// What stateful operators keep, in creation order; after the stop, what they kept then.
    pub(crate) fn state_metrics(&self) -> Vec<StateMetrics> {
        let now = self.states().into_iter();
        let mut all = self.last_states.get().clone();
        all.extend(now.map(|(operator, s)| StateMetrics { operator, ..s.metrics() }));
        all
    }

    /// The state of one operator.
    pub(crate) fn state_of(&self, operator: &str) -> Result<Arc<dyn Watched>> {
        let mut all = self.states();
        match all.iter().position(|(name, _)| name == operator) {
            Some(i) => Ok(all.swap_remove(i).1),
            None => Err(Error::usage(format!(
                "there is no state of an operator `{operator}`; there are: {}",
                all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// An operator that runs every `slide` wants a batch to flush in when the context is stopped gracefully.
    pub(crate) fn want_flush(&self, slide: Duration) {
        self.flush.get().at.insert(slide, None);
    }

    /// There is no more input: whether more batches are wanted all the same.
    pub(crate) fn needs_flush(&self) -> bool {
        let mut flush = self.flush.get();
        flush.begun = true;
        flush.at.values().any(Option::is_none)
    }

    /// Batch `t` is made.
    pub(crate) fn flush_in(&self, t: Time) {
        let mut flush = self.flush.get();
        if flush.begun {
            let due =
                flush.at.iter_mut().filter(|(slide, at)| at.is_none() && self.on_grid(t, **slide));
            due.for_each(|(_, at)| *at = Some(t));
        }
    }

    /// Whether batch `t` is the one to flush in, for operators that run every `slide`.
    pub(crate) fn is_flush(&self, t: Time, slide: Duration) -> bool {
        self.flush.get().at.get(&slide) == Some(&Some(t))
    }

    /// No operators from here on.
    pub(crate) fn seal(&self) {
        self.ctx.0.graph_is_built();
        self.sealed.store(true, Relaxed);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Relaxed)
    }

    /// Checks what can be checked before the first batch.
    pub(crate) fn validate(&self) -> Result<()> {
        let g = self.entries.get();
        if !g.iter().any(|e| e.kind == Kind::Output) {
            return Err(Error::usage(
                "no output operations are registered, so nothing would run: add `print()`, \
                 `foreach_rdd(..)` or another output before `start()`",
            ));
        }
        for (i, e) in g.iter().enumerate() {
            if let Some(other) =
                g[..i].iter().find(|o| e.name.is_some() && o.name == e.name && o.kind == e.kind)
            {
                return Err(Error::usage(format!(
                    "two operators are named `{}`: {} and {}; names must differ",
                    e.name.as_deref().unwrap_or_default(),
                    other.site,
                    e.site
                )));
            }
        }
        Ok(())
    }

    /// Operators whose identity in a checkpoint isn't unique, with the sites that share it. A checkpoint
    /// directory needs this to be empty.
    pub(crate) fn ambiguous(&self) -> Vec<(String, Vec<Site>)> {
        let g = self.entries.get();
        let mut found: Vec<(String, Vec<Site>)> = Vec::new();
        for e in g.iter().filter(|e| e.kind != Kind::Lineage && e.name.is_none()) {
            let path = e.base.as_str();
            match found.iter_mut().find(|(p, _)| p == path) {
                Some((_, sites)) => sites.push(e.site),
                None => found.push((path.to_string(), vec![e.site])),
            }
        }
        found.retain(|(_, sites)| sites.len() > 1);
        found
    }

    /// Identities of all operators in creation order: the user's name, else the path with its ordinal.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.entries.get().iter().map(|e| e.identity()).collect()
    }

    pub(crate) fn set_zero(&self, zero: Time) {
        let _ = self.zero.set(zero);
    }

    pub(crate) fn zero(&self) -> Option<Time> {
        self.zero.get().copied()
    }

    /// Whether a stream of this slide has an RDD at `t`.
    pub(crate) fn on_grid(&self, t: Time, slide: Duration) -> bool {
        // Executors aren't told the zero time: they are asked for batches that are there.
        let Some(zero) = self.zero() else { return true };
        slide.is_zero() || t.is_multiple_of(slide, zero)
    }

    pub(crate) fn set_remember(&self, d: Duration) -> Result<()> {
        let mut r = self.remember.get();
        if r.is_some() {
            return Err(Error::usage("`remember` may be set once"));
        }
        *r = Some(d);
        Ok(())
    }

    /// The operators of one kind, in creation order.
    pub(crate) fn of_kind(&self, kind: Kind) -> Vec<Arc<dyn Operator>> {
        self.entries.get().iter().filter(|e| e.kind == kind).map(|e| e.op.clone()).collect()
    }

    pub(crate) fn inputs(&self) -> Vec<Arc<dyn InputOperator>> {
        self.entries.get().iter().filter_map(|e| e.input.clone()).collect()
    }

    pub(crate) fn outputs(&self) -> Vec<(OutputMeta, Arc<dyn Operator>)> {
        let g = self.entries.get();
        let outputs = g.iter().filter(|e| e.kind == Kind::Output);
        outputs
            .map(|e| {
                let name = e.name.clone().unwrap_or_else(|| {
                    format!("{} at {}:{}", e.site.op, e.site.at.file(), e.site.at.line())
                });
                (OutputMeta { name, description: e.site.to_string() }, e.op.clone())
            })
            .collect()
    }

    fn find(&self, id: OpId) -> Result<Arc<dyn Operator>, TaskError> {
        let g = self.entries.get();
        g.iter()
            .find(|e| e.id == id)
            .map(|e| e.op.clone())
            .ok_or_else(|| TaskError::Bug(format!("no operator {id:?} in this graph")))
    }

    /// Builds one operator's lineage (executors).
    pub(crate) fn lineage(&self, id: OpId, t: Time) -> Result<(), TaskError> {
        self.find(id)?.lineage(self, t).map_err(lineage_error)
    }

    pub(crate) fn base(&self, id: OpId, t: Time) -> Result<Box<dyn Any + Send + Sync>, TaskError> {
        let base = self.find(id)?.base(self, t).map_err(lineage_error)?;
        base.ok_or_else(|| TaskError::Bug(format!("no RDD at batch {t}")))
    }

    pub(crate) fn slices(&self) -> Result<Vec<(OpId, Time, Vec<u8>)>, TaskError> {
        let inputs: Vec<_> =
            self.entries.get().iter().filter_map(|e| Some((e.id, e.input.clone()?))).collect();
        let mut all = Vec::new();
        for (id, input) in inputs {
            all.extend(input.slices()?.into_iter().map(|(t, b)| (id, t, b)));
        }
        Ok(all)
    }

    pub(crate) fn take_slice(&self, id: OpId, t: Time, bytes: &[u8]) -> Result<(), TaskError> {
        let input = self.entries.get().iter().find(|e| e.id == id).and_then(|e| e.input.clone());
        input
            .ok_or_else(|| TaskError::Bug(format!("no input {id:?} in this graph")))?
            .take_slice(t, bytes)
    }

    /// Batch `t` has its input, and its steps are done.
    pub(crate) fn is_ready(&self, t: Time) {
        self.horizon.get().ready = Some(t);
    }

    /// Batch `t` failed before its outputs, and the stream goes on.
    pub(crate) fn has_failed(&self, t: Time) {
        let mut horizon = self.horizon.get();
        horizon.ready = Some(t);
        horizon.failed.insert(t);
    }

    /// Looks at the batches that are there, while none is forgotten.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&Horizon) -> R) -> R {
        f(&self.horizon.get())
    }

    /// The identities of the inputs, in the order of their numbers.
    pub(crate) fn input_names(&self) -> Vec<String> {
        let g = self.entries.get();
        g.iter().filter(|e| e.input.is_some()).map(Entry::identity).collect()
    }

    /// Up to which time batches are forgotten when `t` is over.
    pub(crate) fn forgotten(&self, t: Time) -> Time {
        let conf = self.ctx.conf();
        if !conf.unpersist {
            return Time::ZERO;
        }
        t - self.remember.get().or(conf.remember).unwrap_or_default()
    }

    /// Batch `t` is over: what isn't remembered goes, inputs last.
    pub(crate) fn completed(&self, t: Time) {
        let up_to = self.forgotten(t);
        {
            let mut horizon = self.horizon.get();
            horizon.forgotten = Some(up_to);
            horizon.failed.retain(|t| *t > up_to);
        }
        self.forget_lineage(up_to);
        self.ctx.0.forget_graph(self.id, up_to);
    }

    /// Drops the memoised lineage up to `up_to`.
    pub(crate) fn forget_lineage(&self, up_to: Time) {
        let ops: Vec<_> = self.entries.get().iter().rev().map(|e| e.op.clone()).collect();
        ops.iter().for_each(|o| o.forget(up_to));
    }

    /// Nothing is run any more: closures go, and with them what they hold (a context, perhaps).
    pub(crate) fn clear(&self) {
        self.horizon.get().over = true;
        let counts = self.input_counts();
        *self.last_counts.get() = counts;
        let states = self.state_metrics();
        *self.last_states.get() = states;
        self.states.get().clear();
        let stored = std::mem::take(&mut *self.stored.get());
        let gone = std::mem::take(&mut *self.entries.get());
        drop((stored, gone));
    }

    /// Asks the running jobs of batch `t` to stop at their next chunk.
    pub(crate) fn cancel(&self, t: Time) {
        // Jobs that are submitted from now on find this; those that run are told below.
        self.ctx.0.cancel_batch(self.id, t);
        if let Ok(e) = self.ctx.0.engine() {
            e.cancel(&|id: &JobId| id.op.graph == self.id && id.batch == t);
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.ctx.0.graph_dropped(self.id);
    }
}

fn lineage_error(e: Error) -> TaskError {
    match e {
        Error::TaskFailed { cause, .. } => cause,
        e => TaskError::Input { message: e.to_string() },
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("id", &self.id).field("operators", &self.paths()).finish()
    }
}
