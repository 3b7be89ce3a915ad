//! `Context`: what runs jobs over RDDs (the role of Spark's `SparkContext`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use crate::block::{BlockStore, Spills};
use crate::conf::{Conf, ConfOrigin};
use crate::data::{Data, HashSeed, Wire};
use crate::dstream::Graph;
use crate::engine::{
    Accumulate, Accumulator, Accumulators, Broadcast, DoubleSum, Engine, Env, Executor, JobOutput,
    JobSpec, LocalEngine, LongSum, Making, OpId, OutputStore, Payload, Pool, RemoteEngine, Replay,
    Role, StageKey, TaskBody, TaskError,
};
use crate::metrics::SpillMetrics;
use crate::rdd::source::{Parts, split_even};
use crate::rdd::union::UnionPipe;
use crate::rdd::{Erased, Origin, Rdd, ShippedBody};
use crate::receiver::IoRuntime;
use crate::state::DiskState;
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// Runs jobs over [`Rdd`]s: owns the task threads, the block store and the accumulators. Several
/// [`StreamingContext`](crate::StreamingContext)s may share one. Cheap to clone; the threads end when the
/// last clone is dropped.
///
/// ```
/// use brooklet::{Conf, Context};
/// let ctx = Context::new(Conf::new("sum").master("local[2]"))?;
/// assert_eq!(ctx.parallelize(1..=100, 4).map(|x| x * 2).reduce(|a, b| a + b)?, Some(10_100));
/// # Ok::<(), brooklet::Error>(())
/// ```
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Inner>);

/// How a process finds the body of a task.
enum Body {
    /// A driver's lineage owns it.
    Weak(Weak<dyn TaskBody>),
    /// In an executor nobody else does.
    Strong(Arc<dyn TaskBody>),
}

/// What a context is made of.
pub(crate) struct Inner {
    pub(crate) conf: Conf,
    pub(crate) parallelism: usize,
    /// This is a graph built again for an engine whose tasks run elsewhere.
    pub(crate) executor: bool,
    pub(crate) env: Arc<Env>,
    pub(crate) accumulators: Arc<Accumulators>,
    pub(crate) stats: Stats,
    engine: OnceLock<Arc<dyn Engine>>,
    bodies: Mutex<HashMap<StageKey, Body, foldhash::fast::RandomState>>,
    graphs: Mutex<HashMap<u32, Weak<Graph>>>,
    replays: Mutex<HashMap<(OpId, Time), Replay>>,
    /// Batches whose jobs are to stop.
    cancelled: Mutex<HashSet<(u32, Time)>>,
    /// Stages that a running job makes: another job that needs them waits.
    pub(crate) making: Making,
    next_graph: AtomicU32,
    next_rdd: AtomicU64,
    /// RDDs below this number were made before a graph was complete.
    built_rdds: AtomicU64,
}

/// Jobs, stages and tasks that have run so far.
#[derive(Default)]
pub(crate) struct Stats {
    jobs: AtomicU64,
    stages: AtomicU64,
    tasks: AtomicU64,
}

impl Stats {
    pub(crate) fn add(&self, out: &JobOutput) {
        self.jobs.fetch_add(1, Relaxed);
        self.stages.fetch_add(out.stages_run, Relaxed);
        self.tasks.fetch_add(out.tasks_run, Relaxed);
    }

    /// (jobs, stages, tasks)
    pub(crate) fn get(&self) -> (u64, u64, u64) {
        (self.jobs.load(Relaxed), self.stages.load(Relaxed), self.tasks.load(Relaxed))
    }
}

impl Context {
    /// A context on the threads that `conf`'s master names.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that can't be.
    pub fn new(conf: Conf) -> Result<Context> {
        conf.validate()?;
        for e in conf.entries().iter().filter(|e| e.origin != ConfOrigin::Default) {
            tracing::info!(app = conf.app_name, "setting {e}");
        }
        let threads = conf.threads()?;
        let seed = conf.hash_seed.unwrap_or_else(HashSeed::random);
        let ctx = Context::bare(conf, threads, seed, false, false);
        let inner = &ctx.0;
        let pool = Pool::new(&inner.conf.app_name, threads)
            .map_err(|e| Error::io(format!("starting {threads} task threads"), e))?;
        let engine = LocalEngine::new(
            Arc::downgrade(inner),
            inner.env.clone(),
            pool,
            inner.conf.task_max_failures,
        );
        inner.set_engine(Arc::new(engine));
        Ok(ctx)
    }

    /// A context whose tasks run in other graphs of this process, built by `build` and reached by bytes
    /// only: the loopback engine. `build` returns what keeps a graph alive.
    pub(crate) fn loopback(
        conf: Conf,
        executors: usize,
        build: &dyn Fn(&Context) -> Result<Box<dyn Send>>,
    ) -> Result<Context> {
        conf.validate()?;
        let threads = conf.threads()?;
        let seed = conf.hash_seed.unwrap_or_else(HashSeed::random);
        let stop = Arc::new(AtomicBool::new(false));
        let driver = Context::bare(conf.clone(), threads, seed, false, true);
        let mut others = Vec::new();
        for _ in 0..executors.max(1) {
            let mut ctx = Context::bare(conf.clone(), threads, seed, true, true);
            // Received blocks are fetched from the driver's store, by bytes.
            if let Some(inner) = Arc::get_mut(&mut ctx.0)
                && let Some(env) = Arc::get_mut(&mut inner.env)
            {
                env.fetch_from = Some(driver.0.env.blocks.clone());
            }
            let graph = build(&ctx)?;
            others.push(Executor::new(ctx, graph, stop.clone()));
        }
        let engine = RemoteEngine::new(others, stop, driver.0.conf.task_max_failures);
        driver.0.set_engine(Arc::new(engine));
        Ok(driver)
    }

    fn bare(conf: Conf, threads: usize, seed: HashSeed, executor: bool, bytes: bool) -> Context {
        let make = if conf.compress_blocks { BlockStore::compressed } else { BlockStore::new };
        let blocks = make(conf.block_store_memory, conf.local_dir.clone());
        let spills = Spills::new(&conf, blocks.clone());
        let disk_state = DiskState::new(&conf, spills.clone());
        let parallelism = conf.default_parallelism.unwrap_or(threads);
        let accumulators: Arc<Accumulators> = Arc::default();
        let io = IoRuntime::new(&conf.app_name);
        Context(Arc::new(Inner {
            conf,
            parallelism,
            executor,
            env: Arc::new(Env {
                store: OutputStore::default(),
                spills,
                disk_state,
                blocks,
                bytes,
                seed,
                fetch_from: None,
                accumulators: accumulators.clone(),
                io,
            }),
            accumulators,
            stats: Stats::default(),
            engine: OnceLock::new(),
            bodies: Mutex::default(),
            graphs: Mutex::default(),
            replays: Mutex::default(),
            cancelled: Mutex::default(),
            making: Making::default(),
            next_graph: AtomicU32::new(1),
            next_rdd: AtomicU64::new(0),
            built_rdds: AtomicU64::new(0),
        }))
    }

    /// The configuration.
    pub fn conf(&self) -> &Conf {
        &self.0.conf
    }

    /// Files and bytes that tasks have spilled for want of memory, and what is kept now. Those of the driver's
    /// process; an engine in other processes counts there.
    pub fn spill_metrics(&self) -> SpillMetrics {
        self.0.env.spills.metrics()
    }

    /// Partitions of a shuffle that isn't told otherwise.
    pub fn default_parallelism(&self) -> usize {
        self.0.parallelism
    }

    /// An RDD of these records in `partitions` partitions (at least 1) of consecutive records: partition i
    /// begins at record i * n / partitions.
    pub fn parallelize<T: Wire>(
        &self,
        records: impl IntoIterator<Item = T>,
        partitions: usize,
    ) -> Rdd<T> {
        let parts = split_even(records.into_iter().collect(), partitions);
        self.plain(Erased::new(Arc::new(Parts(parts))))
    }

    /// An RDD without partitions and records.
    pub fn empty_rdd<T: Data>(&self) -> Rdd<T> {
        self.plain(Erased::new(Arc::new(Parts(Vec::new()))))
    }

    /// The records of all `rdds`, partitions one after the other.
    ///
    /// # Panics
    /// When one belongs to another context.
    #[track_caller]
    pub fn union<T: Data>(&self, rdds: impl IntoIterator<Item = Rdd<T>>) -> Rdd<T> {
        let rdds: Vec<_> = rdds.into_iter().collect();
        rdds.iter().for_each(|r| self.same_context(r));
        let owner = rdds.iter().find(|r| !r.origin.is_plain()).map(|r| r.origin.clone());
        let pipe = Erased::new(Arc::new(UnionPipe(rdds.iter().map(Rdd::erased).collect())));
        match owner {
            Some(origin) => Rdd::new(self, Arc::new(pipe), origin),
            None => self.plain(pipe),
        }
    }

    /// RDDs of two contexts have stages of the same names.
    #[track_caller]
    pub(crate) fn same_context<T, P>(&self, rdd: &Rdd<T, P>) {
        assert!(
            Arc::ptr_eq(&self.0, &rdd.ctx.0),
            "RDDs of two contexts can't be combined: make both with one `Context`"
        );
    }

    pub(crate) fn plain<T: Data>(&self, pipe: Erased<T>) -> Rdd<T> {
        let id = self.0.next_rdd.fetch_add(1, Relaxed);
        let op = OpId { graph: 0, id };
        let origin = Origin::new(op, Time::ZERO, crate::rdd::Travel::Plain);
        Rdd::new(self, Arc::new(pipe), origin)
    }

    /// Asks all running jobs to stop at their next chunk; their actions return [`Error::Cancelled`].
    pub fn cancel_all_jobs(&self) {
        if let Ok(e) = self.0.engine() {
            e.cancel(&|_| true);
        }
    }

    /// A read-only value for all tasks, sent once to every process.
    ///
    /// # Errors
    /// When the value can't be encoded, on an engine that needs it.
    pub fn broadcast<T: Wire>(&self, value: T) -> Result<Broadcast<T>> {
        Ok(Broadcast::new(value, self.0.env.bytes)?)
    }

    /// A sum of whole numbers.
    pub fn long_accumulator(&self, name: &str) -> Accumulator<LongSum> {
        self.accumulator(name)
    }

    /// A sum of floating point numbers.
    pub fn double_accumulator(&self, name: &str) -> Accumulator<DoubleSum> {
        self.accumulator(name)
    }

    /// A list of records.
    pub fn collection_accumulator<T: Wire>(&self, name: &str) -> Accumulator<Vec<T>> {
        self.accumulator(name)
    }

    /// An accumulator of the user's own kind. The name is for people; it needn't be unique.
    pub fn accumulator<A: Accumulate>(&self, name: &str) -> Accumulator<A> {
        self.0.accumulators.register(name)
    }
}

impl Inner {
    /// A graph is complete: the RDDs that were made while it was built are made by every process that
    /// builds it.
    pub(crate) fn graph_is_built(&self) {
        self.built_rdds.fetch_max(self.next_rdd.load(Relaxed), Relaxed);
    }

    pub(crate) fn built_rdds(&self) -> u64 {
        self.built_rdds.load(Relaxed)
    }

    fn set_engine(&self, engine: Arc<dyn Engine>) {
        let fresh = self.engine.set(engine).is_ok();
        debug_assert!(fresh, "an engine is set once");
    }

    pub(crate) fn engine(&self) -> Result<&Arc<dyn Engine>> {
        self.engine
            .get()
            .ok_or_else(|| Error::Bug("an executor's graph was asked to run a job".into()))
    }

    /// Makes a body known to the tasks that name it.
    pub(crate) fn add_body(&self, body: &Arc<dyn TaskBody>) {
        let entry = if self.executor {
            Body::Strong(body.clone())
        } else {
            Body::Weak(Arc::downgrade(body))
        };
        // What is replaced is dropped outside of the lock: its own drop takes it.
        let old = self.bodies.get().insert(body.key(), entry);
        drop(old);
    }

    /// The body of a stage. An executor that hasn't built the batch's lineage yet builds it now.
    pub(crate) fn body(&self, key: &StageKey) -> Result<Arc<dyn TaskBody>, TaskError> {
        if let Some(b) = self.known_body(key) {
            return Ok(b);
        }
        let none = || TaskError::Bug(format!("no body for stage {key}"));
        if !self.executor {
            return Err(none());
        }
        let graph = self.graph(key.op.graph).ok_or_else(none)?;
        if let Role::Shipped(offset) = key.role {
            let base = graph.base(key.op, key.batch)?;
            return Ok(Arc::new(ShippedBody::new(*key, base, offset)));
        }
        graph.lineage(key.op, key.batch)?;
        self.known_body(key).ok_or_else(none)
    }

    fn known_body(&self, key: &StageKey) -> Option<Arc<dyn TaskBody>> {
        match self.bodies.get().get(key)? {
            Body::Weak(b) => b.upgrade(),
            Body::Strong(b) => Some(b.clone()),
        }
    }

    /// The lineage node of a stage is being dropped: its outputs go too. `width`: partitions of its
    /// readers.
    pub(crate) fn stage_dropped(ctx: &Weak<Inner>, key: &StageKey, width: u32) {
        let Some(ctx) = ctx.upgrade() else { return };
        if ctx.executor {
            return; // replayed lineages come and go; the driver says when outputs go
        }
        {
            // A newer attempt may have taken the name over: then the outputs are its own.
            let mut bodies = ctx.bodies.get();
            if let Some(Body::Weak(w)) = bodies.get(key)
                && w.strong_count() > 0
            {
                return;
            }
            bodies.remove(key);
        }
        if key.op.graph == 0 {
            ctx.accumulators.forget(|k| k == key); // a batch's are forgotten with the batch
        }
        ctx.env.store.release(key, width);
        if let Some(e) = ctx.engine.get() {
            e.release(key, width);
        }
    }

    /// A job of `key` is over: its action needn't be found any more. An action of a plain RDD is never run
    /// under the same name again; one of a batch may be, by a retry, and must not count twice. A stage that
    /// leaves output stays known: it is run again when that is lost.
    pub(crate) fn job_done(&self, key: &StageKey) {
        if !self.executor && !matches!(key.role, Role::Map | Role::Update) {
            self.bodies.get().remove(key);
        }
        if key.op.graph == 0 {
            self.accumulators.forget(|k| k == key);
        }
    }

    /// Numbers the graphs in creation order: equal in every process.
    pub(crate) fn next_graph(&self) -> u32 {
        self.next_graph.fetch_add(1, Relaxed)
    }

    pub(crate) fn add_graph(&self, id: u32, graph: &Arc<Graph>) {
        self.graphs.get().insert(id, Arc::downgrade(graph));
    }

    pub(crate) fn graph_dropped(&self, id: u32) {
        self.graphs.get().remove(&id);
        self.cancelled.get().retain(|(g, _)| *g != id);
    }

    /// Jobs of this batch are to stop, also those that aren't submitted yet.
    pub(crate) fn cancel_batch(&self, graph: u32, t: Time) {
        self.cancelled.get().insert((graph, t));
    }

    pub(crate) fn is_cancelled(&self, graph: u32, t: Time) -> bool {
        self.cancelled.get().contains(&(graph, t))
    }

    fn graph(&self, id: u32) -> Option<Arc<Graph>> {
        self.graphs.get().get(&id)?.upgrade()
    }

    fn all_graphs(&self) -> Vec<(u32, Arc<Graph>)> {
        let g = self.graphs.get();
        let mut v: Vec<_> = g.iter().filter_map(|(id, w)| Some((*id, w.upgrade()?))).collect();
        v.sort_by_key(|(id, _)| *id);
        v
    }

    /// Paths of all operators and the build: what driver and executors must have in common.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut h = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut h);
        for (id, g) in self.all_graphs() {
            (id, g.paths()).hash(&mut h);
        }
        h.finish()
    }

    /// Adds what a process needs that didn't allocate inputs and run transforms.
    pub(crate) fn complete_for_remote(&self, spec: &mut JobSpec) -> Result<()> {
        spec.fingerprint = self.fingerprint();
        for (_, g) in self.all_graphs() {
            spec.inputs.extend(g.slices()?);
        }
        let replays = self.replays.get();
        spec.replays.extend(replays.iter().map(|((op, t), r)| (*op, *t, r.clone())));
        Ok(())
    }

    pub(crate) fn take_slices(&self, inputs: &[(OpId, Time, Vec<u8>)]) -> Result<(), TaskError> {
        for (op, t, bytes) in inputs {
            let graph = self
                .graph(op.graph)
                .ok_or_else(|| TaskError::Bug(format!("no graph {}", op.graph)))?;
            graph.take_slice(*op, *t, bytes)?;
        }
        Ok(())
    }

    pub(crate) fn take_replays(&self, replays: &[(OpId, Time, Replay)]) {
        let mut mine = self.replays.get();
        for (op, t, r) in replays {
            mine.insert((*op, *t), r.clone());
        }
    }

    /// The recorded result of an action inside `transform`.
    pub(crate) fn replayed(&self, op: OpId, t: Time, action: u32) -> Option<Payload> {
        self.replays.get().get(&(op, t))?.values.get(action as usize)?.clone()
    }

    pub(crate) fn record_replay<R: Wire>(
        &self,
        op: OpId,
        t: Time,
        action: u32,
        results: &[R],
    ) -> Result<()> {
        let p = Payload::encode(&results)?;
        let mut g = self.replays.get();
        let values = &mut g.entry((op, t)).or_default().values;
        values.resize(values.len().max(action as usize + 1), None);
        values[action as usize] = Some(p);
        Ok(())
    }

    /// The recorded lineage shape of a transform; records `shape` when there is none yet.
    pub(crate) fn replay_shape(&self, op: OpId, t: Time, shape: u64) -> u64 {
        *self.replays.get().entry((op, t)).or_default().shape.get_or_insert(shape)
    }

    /// A transform is evaluated anew (an attempt after a failure).
    pub(crate) fn forget_replay(&self, op: OpId, t: Time) {
        self.replays.get().remove(&(op, t));
    }

    /// Batches of a graph up to `up_to` are over.
    pub(crate) fn forget_graph(&self, graph: u32, up_to: Time) {
        let over = |k: &StageKey| k.op.graph == graph && k.batch <= up_to;
        let gone: Vec<Body> = {
            let mut b = self.bodies.get();
            // Lineage that the user still holds stays runnable; it unregisters itself when it is dropped.
            let held = |b: &Body| matches!(b, Body::Weak(w) if w.strong_count() > 0);
            let keys: Vec<_> =
                b.iter().filter(|(k, b)| over(k) && !held(b)).map(|(k, _)| *k).collect();
            keys.iter().filter_map(|k| b.remove(k)).collect()
        };
        drop(gone);
        self.replays.get().retain(|(op, t), _| op.graph != graph || *t > up_to);
        self.cancelled.get().retain(|(g, t)| *g != graph || *t > up_to);
        self.accumulators.forget(over);
        if self.executor
            && let Some(g) = self.graph(graph)
        {
            g.forget_lineage(up_to);
        }
        if let Some(e) = self.engine.get() {
            e.forget(graph, up_to);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("app", &self.0.conf.app_name)
            .field("engine", &self.0.engine.get())
            .finish_non_exhaustive()
    }
}
