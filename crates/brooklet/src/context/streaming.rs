//! `StreamingContext`: a graph of streams, run by the clock.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Context;
use super::life_cycle::{Driver, ToListeners};
use super::shutdown;
use crate::block::StorageLevel;
use crate::conf::{Conf, defaults};
use crate::data::Wire;
use crate::dstream::{DStream, Graph, Kind, union_of};
use crate::engine::{OpId, Site};
use crate::metrics::{HeavyKey, StateMetrics, StreamingMetrics};
use crate::receiver::{
    AsyncReceiver, ErasedReceiver, Receiver, ReceiverTracker, erase, erase_async, internal_stream,
};
use crate::scheduler::{ListenerId, Scheduler, Stage, StreamingListener};
use crate::source::{
    Input, InputOp, LogInput, LogOptions, Queue, QueueInput, QueueOptions, ReceiverOp, Refused,
    SocketReceiver, StdinReceiver, TextQueue, TextQueueInput,
};
use crate::sync::{LockExt, Mutex};
use crate::time::{format_duration, whole_millis};
use crate::{Error, Result, Str};

/// A graph of [`DStream`]s and what runs it: a batch at every multiple of the batch interval. Cheap to
/// clone; all clones are the same context, usable from any thread.
///
/// | the original's constructor | here |
/// |---|---|
/// | `(conf, batch)` | [`StreamingContext::new`] |
/// | `(coreContext, batch)` | [`StreamingContext::with_context`] |
/// | `(master, appName, batch, home, jars, env)` | `new(Conf::new(app).master(m), batch)`; homes, jars and environments are the JVM's |
/// | `(checkpointPath[, ..])` | comes with recovery, as `get_or_create(dir, build)`; no form without a build function, for code isn't stored |
///
/// ```
/// use brooklet::prelude::*;
/// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(100))?;
/// let (queue, numbers) = ssc.queue_stream::<i32>();
/// numbers.count().print();
/// queue.push([1, 2, 3]);
/// ssc.start()?;
/// ssc.stop(true)?;
/// # Ok::<(), brooklet::Error>(())
/// ```
///
/// # Life cycle
/// `Initialized → Active → Stopped`. Operators are added while `Initialized`. A second `start` only warns; a
/// stopped context can't be started again. `stop` before `start` and a second `stop` are fine. Dropping the
/// last clone of an active context stops it at once.
#[derive(Clone)]
pub struct StreamingContext(Arc<Shared>);

pub(super) struct Shared {
    ctx: Context,
    graph: Arc<Graph>,
    /// Graphs built for executors are never run.
    run: Option<Run>,
    /// Held while the context starts: of two calls at once, one finds it started.
    starting: Mutex<()>,
}

struct Run {
    scheduler: Arc<Scheduler>,
    tracker: Arc<ReceiverTracker>,
}

/// Where a context is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextState {
    /// Not started; operators may be added.
    Initialized,
    /// Started.
    Active,
    /// Stopped for good.
    Stopped,
}

/// Builds a [`StreamingContext`] step by step; see [`StreamingContext::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct StreamingContextBuilder {
    conf: Conf,
    batch_interval: Option<Duration>,
    context: Option<Context>,
    remember: Option<Duration>,
}

impl StreamingContextBuilder {
    /// The batch interval. Default: [`Conf::batch_interval`], else 1 s.
    pub fn batch_interval(mut self, d: Duration) -> Self {
        self.batch_interval = Some(d);
        self
    }

    /// Runs on an existing [`Context`], whose configuration wins. Default: a context of its own.
    pub fn context(mut self, ctx: &Context) -> Self {
        self.context = Some(ctx.clone());
        self
    }

    /// Keeps every batch's RDDs this long after the batch. Default: [`Conf::remember`].
    pub fn remember(mut self, d: Duration) -> Self {
        self.remember = Some(d);
        self
    }

    /// The context.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that can't be.
    pub fn build(self) -> Result<StreamingContext> {
        let ctx = match self.context {
            Some(ctx) => ctx,
            None => Context::new(self.conf)?,
        };
        let interval = self.batch_interval.or(ctx.conf().batch_interval);
        let interval = interval.unwrap_or(defaults::BATCH_INTERVAL);
        let ssc = StreamingContext::with_context(&ctx, interval)?;
        if let Some(d) = self.remember {
            ssc.remember(d)?;
        }
        Ok(ssc)
    }
}

impl StreamingContext {
    /// A context with a [`Context`] of its own.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that can't be, such as a batch interval of zero.
    pub fn new(conf: Conf, batch_interval: Duration) -> Result<StreamingContext> {
        StreamingContext::with_context(&Context::new(conf)?, batch_interval)
    }

    /// A context on an existing [`Context`], which several may share.
    ///
    /// # Errors
    /// As [`StreamingContext::new`].
    pub fn with_context(ctx: &Context, batch_interval: Duration) -> Result<StreamingContext> {
        let ms = whole_millis(batch_interval);
        if ms == 0 || Duration::from_millis(ms) != batch_interval {
            return Err(Error::Config {
                key: "batch_interval".into(),
                problem: format!(
                    "{} is no whole number of milliseconds from 1 on",
                    format_duration(batch_interval)
                ),
            });
        }
        if let Some(other) = ctx.conf().batch_interval.filter(|d| *d != batch_interval) {
            tracing::warn!(
                app = ctx.conf().app_name,
                "the program's batch interval of {} overrides the setting of {}",
                format_duration(batch_interval),
                format_duration(other)
            );
        }
        let graph = Graph::new(ctx, batch_interval);
        let run = (!ctx.0.executor).then(|| {
            let conf = ctx.conf();
            let events = Arc::new(ToListeners::default());
            let tracker = Arc::new(ReceiverTracker::new(
                conf,
                conf.block_interval_for(batch_interval),
                ctx.0.env.blocks.clone(),
                events.clone(),
            ));
            let driver = Driver::new(graph.clone(), tracker.clone());
            let scheduler = Scheduler::new(
                conf,
                batch_interval,
                Arc::new(driver),
                conf.clock.clone(),
                &conf.app_name,
            );
            let _ = events.0.set(scheduler.listeners().clone());
            Run { scheduler, tracker }
        });
        let starting = Mutex::default();
        Ok(StreamingContext(Arc::new(Shared { ctx: ctx.clone(), graph, run, starting })))
    }

    /// A context built step by step.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// let ssc = StreamingContext::builder(Conf::new("app")).batch_interval(millis(500)).build()?;
    /// assert_eq!(ssc.batch_interval(), millis(500));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn builder(conf: Conf) -> StreamingContextBuilder {
        StreamingContextBuilder { conf, batch_interval: None, context: None, remember: None }
    }

    /// What runs its jobs.
    pub fn context(&self) -> &Context {
        &self.0.ctx
    }

    /// How far apart batches are.
    pub fn batch_interval(&self) -> Duration {
        self.0.graph.batch
    }

    /// Keeps every batch's RDDs for at least `d` after the batch, for programs that hold on to them. May be
    /// set once; overrides [`Conf::remember`].
    ///
    /// # Errors
    /// [`Error::Usage`] at the second call; [`Error::State`] after the start.
    pub fn remember(&self, d: Duration) -> Result<()> {
        self.not_started("remember")?;
        self.0.graph.set_remember(d)
    }

    fn not_started(&self, call: &'static str) -> Result<()> {
        if self.0.graph.is_sealed() {
            return Err(Error::State { call, state: "started", help: "set it before `start()`" });
        }
        Ok(())
    }

    // ---- sources ----

    /// Lines of text from a TCP server, as UTF-8, by a receiver that connects and reconnects.
    ///
    /// Invalid UTF-8 is replaced by U+FFFD, lines above
    /// [`Conf::max_line_bytes`] are cut there, a half line at the end of a
    /// connection is a line of its own; each is counted (see [`StreamingContext::counters`]). A lost
    /// connection is made again, after 100 ms at first, 5 s at most. Blocks are kept at
    /// `MEMORY_AND_DISK_SER`; on one machine a second copy would protect from nothing.
    #[track_caller]
    pub fn socket_text_stream(&self, host: &str, port: u16) -> DStream<Str> {
        self.socket_text_stream_at(host, port, StorageLevel::MEMORY_AND_DISK_SER)
    }

    /// [`StreamingContext::socket_text_stream`] with a storage level.
    #[track_caller]
    pub fn socket_text_stream_at(
        &self,
        host: &str,
        port: u16,
        level: StorageLevel,
    ) -> DStream<Str> {
        let receiver = SocketReceiver::new(host, port);
        self.receiver_at(Site::here("socket_text_stream"), erase(receiver), level)
    }

    /// Lines of text from the standard input. At its end the stream goes on with empty batches.
    #[track_caller]
    pub fn stdin_text_stream(&self) -> DStream<Str> {
        let level = StorageLevel::MEMORY_AND_DISK_SER;
        self.receiver_at(Site::here("stdin_text_stream"), erase(StdinReceiver::new()), level)
    }

    /// Records from the user's own receiver, kept at `MEMORY_AND_DISK_SER`.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// struct Countdown(u32);
    /// impl Receiver for Countdown {
    ///     type Item = u32;
    ///     fn run(&mut self, out: &mut Store<u32>) -> Result<(), BoxError> {
    ///         while self.0 > 0 && !out.is_stopped() {
    ///             out.store(self.0)?;
    ///             self.0 -= 1;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[1]"), millis(50))?;
    /// let sum = ssc.context().long_accumulator("sum");
    /// let s = sum.clone();
    /// ssc.receiver_stream(Countdown(4)).foreach_partition(move |xs, _| xs.for_each(|x| s.add(x as i64)));
    /// ssc.start()?;
    /// ssc.await_receivers()?;
    /// ssc.stop(true)?;
    /// assert_eq!(sum.value().sum, 10);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn receiver_stream<R: Receiver>(&self, receiver: R) -> DStream<R::Item> {
        let level = StorageLevel::MEMORY_AND_DISK_SER;
        self.receiver_at(Site::here("receiver_stream"), erase(receiver), level)
    }

    /// [`StreamingContext::receiver_stream`] with a storage level.
    #[track_caller]
    pub fn receiver_stream_at<R: Receiver>(
        &self,
        receiver: R,
        level: StorageLevel,
    ) -> DStream<R::Item> {
        self.receiver_at(Site::here("receiver_stream"), erase(receiver), level)
    }

    /// [`StreamingContext::receiver_stream`] for a receiver that is `async`.
    #[track_caller]
    pub fn async_receiver_stream<R: AsyncReceiver>(&self, receiver: R) -> DStream<R::Item> {
        let level = StorageLevel::MEMORY_AND_DISK_SER;
        self.receiver_at(Site::here("receiver_stream"), erase_async(receiver), level)
    }

    /// # Panics
    /// When the context has been started or the level keeps nothing: the program's mistakes, reported at the
    /// call.
    #[track_caller]
    pub(crate) fn receiver_at<T: Wire>(
        &self,
        site: Site,
        receiver: Box<dyn ErasedReceiver>,
        level: StorageLevel,
    ) -> DStream<T> {
        let graph = &self.0.graph;
        let stream = graph.inputs().len();
        let tracker = self.0.run.as_ref().map(|r| r.tracker.clone());
        let path = format!("{}:{}", site.op, receiver.name());
        let mut op = OpId::default();
        let node = graph.add_input(&path, Kind::Input, site, |id| {
            op = id;
            let node = Arc::new(ReceiverOp::<T>::new(stream, site, tracker.clone()));
            (node.clone(), Some(node as _))
        });
        if let Some(tracker) = tracker
            && let Err(e) = tracker.add(internal_stream(graph.id, stream), receiver, level)
        {
            panic!("{site}: {e}");
        }
        DStream::boundary(graph, node, &path, op)
    }

    /// Records from an [`Input`], a source without a receiver.
    #[track_caller]
    pub fn input_stream<I: Input>(&self, input: I) -> DStream<I::Item> {
        self.input_at(Site::here("input_stream"), input)
    }

    #[track_caller]
    pub(crate) fn input_at<I: Input>(&self, site: Site, input: I) -> DStream<I::Item> {
        let graph = &self.0.graph;
        let stream = graph.inputs().len();
        let path = site.op.to_string();
        let mut op = OpId::default();
        let node = graph.add_input(&path, Kind::Input, site, |id| {
            op = id;
            let node = Arc::new(InputOp::new(stream, site, input));
            (node.clone(), Some(node as _))
        });
        DStream::boundary(graph, node, &path, op)
    }

    /// A stream of what is pushed to a queue, one dataset a batch: for tests and for programs that make
    /// their own batches. An empty queue gives an empty batch.
    #[track_caller]
    pub fn queue_stream<T: Wire>(&self) -> (Queue<T>, DStream<T>) {
        let (queue, input) = QueueInput::new(QueueOptions::default());
        (queue, self.input_at(Site::here("queue_stream"), input))
    }

    /// [`StreamingContext::queue_stream`] with options.
    #[track_caller]
    pub fn queue_stream_with<T: Wire>(&self, options: QueueOptions) -> (Queue<T>, DStream<T>) {
        let (queue, input) = QueueInput::new(options);
        (queue, self.input_at(Site::here("queue_stream"), input))
    }

    /// A stream of the lines of text blocks that are pushed to a queue, one push a batch; the type of block
    /// that sockets and files produce.
    #[track_caller]
    pub fn text_queue_stream(&self) -> (TextQueue, DStream<Str>) {
        let queue = TextQueue::default();
        (queue.clone(), self.input_at(Site::here("text_queue_stream"), TextQueueInput(queue)))
    }

    /// The lines of a log that grows, through rotation and truncation, every line exactly once, beginning with
    /// the lines that end after the start. The last part of the path may be a pattern (`*`, `?`, `[a-z]`).
    ///
    /// - A batch has the lines that were whole when it was made, up to 64 MiB; a half line waits for its end.
    ///   Of a log that doesn't exist yet, it waits for the first line.
    /// - Rotation by renaming, any number of times between two batches: the old files are read to their end
    ///   first, whatever they are called by then. Files that were compressed before they were read are reported
    ///   and counted (`lost_files`, `lost_bytes`).
    /// - Truncation in place: when a copy of the old content is beside the log (`copytruncate`), the rest is
    ///   read from that; else it is lost, reported and counted (`lost_bytes`).
    /// - Invalid UTF-8 is replaced by U+FFFD, lines above [`Conf::max_line_bytes`] are cut there; each is
    ///   counted (`invalid_utf8`, `long_lines`).
    ///
    /// A batch whose bytes can't be read any more when its tasks run fails, naming file and bytes. Counters are
    /// in [`StreamingContext::counters`] as `log_file_stream-N.name`, files and bytes of each batch in the
    /// metadata of its [`StreamInputInfo`](crate::StreamInputInfo). After a graceful stop, the lines that were
    /// whole when it was asked for have been processed.
    ///
    /// ```
    /// use std::io::Write;
    /// use brooklet::testing::{Collector, Driver};
    /// # let folder = std::env::temp_dir().join(format!("brooklet-doc-log-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let path = folder.join("app.log");
    /// let mut log = std::fs::File::create(&path)?;
    /// writeln!(log, "written before the start")?;
    ///
    /// let (seen, p) = (Collector::new(), path.clone());
    /// let s = seen.clone();
    /// let mut driver = Driver::new(move |ssc| {
    ///     let lines = ssc.log_file_stream(&p);
    ///     lines.map(|line| line.to_string()).foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok(())
    /// })?;
    /// driver.start()?;
    /// write!(log, "one\ntwo\nhal")?;
    /// driver.batch()?;
    /// writeln!(log, "f")?;
    /// std::fs::rename(&path, folder.join("app.log.1"))?;
    /// std::fs::write(&path, "three\n")?;
    /// driver.batch()?;
    /// assert_eq!(seen.batches(), [vec!["one", "two"], vec!["half", "three"]]);
    /// # drop(driver);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A path that is none of a log, such as that of a folder, is an error of [`StreamingContext::start`].
    #[track_caller]
    pub fn log_file_stream(&self, path: impl AsRef<Path>) -> DStream<Str> {
        self.log_at(Site::here("log_file_stream"), path.as_ref(), &LogOptions::new())
    }

    /// [`StreamingContext::log_file_stream`] with options; those that can't be are an error of
    /// [`StreamingContext::start`] too.
    #[track_caller]
    pub fn log_file_stream_with(
        &self,
        path: impl AsRef<Path>,
        options: LogOptions,
    ) -> DStream<Str> {
        self.log_at(Site::here("log_file_stream"), path.as_ref(), &options)
    }

    #[track_caller]
    fn log_at(&self, site: Site, path: &Path, options: &LogOptions) -> DStream<Str> {
        match LogInput::new(path, options, self.0.ctx.conf()) {
            Ok(input) => self.input_at(site, input),
            Err(e) => self.input_at(site, Refused::new(e)),
        }
    }

    /// The records of all `streams`.
    ///
    /// # Errors
    /// [`Error::Usage`] without a stream.
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn union<T: Wire>(
        &self,
        streams: impl IntoIterator<Item = DStream<T>>,
    ) -> Result<DStream<T>> {
        let streams: Vec<DStream<T>> = streams.into_iter().collect();
        let Some((first, rest)) = streams.split_first() else {
            return Err(Error::usage("`union` needs at least one stream"));
        };
        rest.iter().for_each(|s| first.same_context(s, "union"));
        let paths: Vec<&str> = rest.iter().map(|s| &*s.path).collect();
        let parents = streams.iter().map(DStream::erased_parent).collect();
        Ok(union_of(first, parents, &paths.join("+")))
    }

    // ---- listeners and metrics ----

    /// Tells `listener` what happens, on a thread of its own. Before or after the start.
    pub fn add_listener(&self, listener: impl StreamingListener) -> Option<ListenerId> {
        Some(self.0.run.as_ref()?.scheduler.listeners().add(listener))
    }

    /// Removes a listener; `false` when it isn't there.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.0.run.as_ref().is_some_and(|r| r.scheduler.listeners().remove(id))
    }

    /// The gauges of the stream, or nothing in a graph that isn't run (an executor's).
    pub fn metrics(&self) -> Option<Arc<StreamingMetrics>> {
        Some(self.0.run.as_ref()?.scheduler.metrics().clone())
    }

    /// What sources and operators count, by name: `socket_text_stream-0.invalid_utf8`,
    /// `` `try_map` (src/main.rs:7:9) skipped ``.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = self.0.graph.skipped().into_iter().collect();
        #[cfg(feature = "http")]
        all.extend(self.0.graph.http.counters());
        all.extend(self.0.graph.input_counts());
        if let Some(run) = &self.0.run {
            for info in run.tracker.infos() {
                for (name, n) in
                    run.tracker.counters(internal_stream(self.0.graph.id, info.stream_id))
                {
                    all.insert(format!("{}-{}.{name}", info.name, info.stream_id), n);
                }
            }
        }
        all
    }

    /// The identities of all operators, in creation order: the name given with `name`, else the structural
    /// path (kinds and names of the anchors upstream, an ordinal where paths repeat).
    pub fn operators(&self) -> Vec<String> {
        self.0.graph.paths()
    }

    /// Inputs, steps and outputs that only their order of creation tells apart: two without a name on one
    /// path. Recovery will refuse them; give them names. Each entry names the path and the call sites.
    pub fn ambiguous_operators(&self) -> Vec<String> {
        let sites =
            |sites: Vec<Site>| sites.iter().map(Site::to_string).collect::<Vec<_>>().join(" and ");
        self.0
            .graph
            .ambiguous()
            .into_iter()
            .map(|(path, s)| format!("{path}: {}", sites(s)))
            .collect()
    }

    /// What the stateful operators (states by key, windows by key) keep now, in creation order; after the stop,
    /// what they kept then. Waits for an update of the partition that it looks at. Counts states of this
    /// process; those of an engine in other processes are there.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::Driver;
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, words) = ssc.queue_stream::<(String, u64)>();
    ///     let counts = words.update_state_by_key(|new: &[u64], n| Some(n.unwrap_or(0) + new.len() as u64));
    ///     counts.name("counts").print();
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([("a".to_string(), 1), ("a long word".to_string(), 1)]);
    /// driver.batch()?;
    /// let ssc = driver.context();
    /// assert_eq!((ssc.state_metrics()[0].operator.as_str(), ssc.state_metrics()[0].keys), ("counts", 2));
    /// assert_eq!(ssc.heaviest_keys("counts", 1)?[0].key, "\"a long word\"");
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn state_metrics(&self) -> Vec<StateMetrics> {
        self.0.graph.state_metrics()
    }

    /// The `n` keys of a stateful operator that take most, with their states, when they are encoded; heaviest
    /// first. `operator` is its name in [`StreamingContext::state_metrics`]. Goes over all keys, while batches
    /// go on; states on disk are read from there.
    ///
    /// # Errors
    /// [`Error::Usage`] when no operator of that name has a state; what reading the disk returns.
    pub fn heaviest_keys(&self, operator: &str, n: usize) -> Result<Vec<HeavyKey>> {
        Ok(self.0.graph.state_of(operator)?.heaviest(n)?)
    }

    /// The inputs, by the name given with `name`, else by their path: the i-th is the one that events call
    /// number i ([`StreamInputInfo::input_stream_id`](crate::StreamInputInfo::input_stream_id),
    /// [`Store::stream_id`](crate::Store::stream_id)). Numbers go by the order of creation.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
    /// let (_queue, clicks) = ssc.queue_stream::<u64>();
    /// clicks.name("clicks").print();
    /// ssc.text_queue_stream().1.print();
    /// assert_eq!(ssc.inputs(), ["clicks", "text_queue_stream"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn inputs(&self) -> Vec<String> {
        self.0.graph.input_names()
    }

    // ---- life ----

    /// Where the context is in its life.
    pub fn state(&self) -> ContextState {
        match self.0.run.as_ref().map(|r| r.scheduler.stage()) {
            None | Some(Stage::New) => ContextState::Initialized,
            Some(Stage::Starting | Stage::Running | Stage::Stopping) => ContextState::Active,
            Some(Stage::Stopped) => ContextState::Stopped,
        }
    }

    fn run(&self) -> Result<&Run> {
        let none = || Error::usage("the graph of an executor isn't run");
        self.0.run.as_ref().ok_or_else(none)
    }

    /// Starts receivers and batches. A second call only warns.
    ///
    /// # Errors
    /// [`Error::Usage`] without an output or with two operators of one name; [`Error::State`] after a stop;
    /// whatever an input's start says (the context is stopped then).
    pub fn start(&self) -> Result<()> {
        let run = self.run()?;
        let _one = self.0.starting.get();
        if run.scheduler.stage() == Stage::New {
            check_unwinding()?;
            self.0.graph.validate()?;
            self.0.graph.seal();
            run.scheduler.metrics().set_receivers(run.tracker.num_receivers());
        }
        if self.0.ctx.conf().stop_gracefully_on_shutdown {
            shutdown::stop_at_signals(self)?;
        }
        run.scheduler.start().map(drop)
    }

    /// Stops. Graceful: receivers first, then everything received is processed, within
    /// [`Conf::graceful_stop_timeout`]; else running jobs are cancelled. A second call during a graceful
    /// stop makes it immediate.
    ///
    /// # Errors
    /// When called by a listener; when the time-out passed or something still runs (the context is stopped
    /// all the same, the text names what hangs).
    pub fn stop(&self, graceful: bool) -> Result<()> {
        let run = self.run()?;
        let timeout = self.0.ctx.conf().graceful_timeout_for(self.0.graph.batch);
        self.0.graph.seal();
        run.scheduler.stop(graceful, timeout)
    }

    /// Waits until the context is stopped, by [`StreamingContext::stop`] or by a failure.
    ///
    /// # Errors
    /// The first failure that stopped it, at every call.
    pub fn await_termination(&self) -> Result<()> {
        self.run()?.scheduler.await_stopped(None).map(drop)
    }

    /// [`StreamingContext::await_termination`] for at most `limit`; `false` when that has passed.
    ///
    /// # Errors
    /// As [`StreamingContext::await_termination`].
    pub fn await_termination_or_timeout(&self, limit: Duration) -> Result<bool> {
        self.run()?.scheduler.await_stopped(Some(limit))
    }

    /// Waits until no receiver receives any more: their sources have ended, or the context stops.
    ///
    /// # Errors
    /// As [`StreamingContext::await_termination`].
    pub fn await_receivers(&self) -> Result<()> {
        let run = self.run()?;
        while run.tracker.is_receiving() {
            if run.scheduler.await_stopped(Some(Duration::from_millis(5)))? {
                break;
            }
        }
        Ok(())
    }

    /// A handle that doesn't keep the context alive.
    pub(super) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    pub(super) fn upgrade(weak: &Weak<Shared>) -> Option<StreamingContext> {
        weak.upgrade().map(StreamingContext)
    }

    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.0.graph
    }
}

/// A program built with `panic = "abort"` would die with the first panicking closure.
fn check_unwinding() -> Result<()> {
    if cfg!(panic = "abort") {
        return Err(Error::usage(
            "the program is built with `panic = \"abort\"`, so a panic in any closure would end the \
             process: remove it from the profile in Cargo.toml",
        ));
    }
    Ok(())
}

impl fmt::Debug for StreamingContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingContext")
            .field("app", &self.0.ctx.conf().app_name())
            .field("batch_interval", &self.0.graph.batch)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
