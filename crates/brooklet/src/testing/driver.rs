//! A driver with a manual clock: inputs per batch in, outputs per batch out, in milliseconds, without
//! sleeping.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::{HashSeed, Wire};
use crate::sync::{LockExt, Mutex};
use crate::time::{ByTime, ManualClock};
use crate::{Conf, Context, DStream, Error, Rdd, Result, StreamingContext, Time, seconds};

/// Which engine runs the tasks of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestEngine {
    /// The threads of this process, typed values.
    Local,
    /// Other graphs in this process, built again by the same function and reached by bytes only.
    Loopback,
}

/// Runs a streaming program batch by batch on a manual clock. `I` is what the build function returns: the
/// ends of its queues, collectors, whatever the test needs.
///
/// ```
/// use brooklet::testing::{Collector, Driver};
/// let out = Collector::new();
/// let o = out.clone();
/// let mut driver = Driver::new(move |ssc| {
///     let (queue, numbers) = ssc.queue_stream::<i64>();
///     let o = o.clone();
///     numbers.map(|x| x * x).foreach_rdd(move |rdd, t| o.take(rdd, t));
///     Ok(queue)
/// })?;
/// driver.input().push([1, 2]);
/// driver.input().push([3]);
/// driver.batches(3)?;
/// assert_eq!(out.batches(), [vec![1, 4], vec![9], vec![]]);
/// # Ok::<(), brooklet::Error>(())
/// ```
pub struct Driver<I> {
    ssc: StreamingContext,
    clock: Arc<ManualClock>,
    input: I,
    started: bool,
    interval: Duration,
    done: Arc<Mutex<u64>>,
}

impl<I> Driver<I> {
    /// A driver on two task threads, batches of one second, a fixed hash seed.
    ///
    /// # Errors
    /// What `build` returns.
    pub fn new(build: impl FnOnce(&StreamingContext) -> Result<I>) -> Result<Driver<I>> {
        Driver::local(Driver::<I>::conf(), build)
    }

    /// [`Driver::new`] with a configuration. The clock is always a manual one that begins at zero.
    ///
    /// # Errors
    /// As [`Driver::new`].
    pub fn local(
        conf: Conf,
        build: impl FnOnce(&StreamingContext) -> Result<I>,
    ) -> Result<Driver<I>> {
        let clock = ManualClock::new(Time::ZERO);
        let ctx = Context::new(conf.clock(clock.clone()))?;
        Driver::on(&ctx, clock, build)
    }

    fn on(
        ctx: &Context,
        clock: Arc<ManualClock>,
        build: impl FnOnce(&StreamingContext) -> Result<I>,
    ) -> Result<Driver<I>> {
        let interval = seconds(1);
        let ssc = StreamingContext::with_context(ctx, interval)?;
        let input = build(&ssc)?;
        let done = Arc::new(Mutex::new(0));
        Ok(Driver { ssc, clock, input, started: false, interval, done })
    }

    /// The configuration of [`Driver::new`], to change.
    pub fn conf() -> Conf {
        Conf::new("test").master("local[2]").hash_seed(HashSeed::new(42))
    }

    /// A driver on the engine and with the configuration given. `build` is called once for each graph: a
    /// loopback engine has three.
    ///
    /// # Errors
    /// What `build` returns.
    pub fn with(
        engine: TestEngine,
        conf: Conf,
        build: impl Fn(&StreamingContext) -> Result<I>,
    ) -> Result<Driver<I>> {
        if engine == TestEngine::Local {
            return Driver::local(conf, build);
        }
        let clock = ManualClock::new(Time::ZERO);
        let interval = seconds(1);
        let ctx = Context::loopback(conf.clock(clock.clone()), 2, &|ctx| {
            let ssc = StreamingContext::with_context(ctx, interval)?;
            build(&ssc)?;
            Ok(Box::new(ssc.graph().clone()))
        })?;
        Driver::on(&ctx, clock, build)
    }

    /// What the build function returned.
    pub fn input(&self) -> &I {
        &self.input
    }

    /// The context.
    pub fn context(&self) -> &StreamingContext {
        &self.ssc
    }

    /// The clock, to move it by hand.
    pub fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// Starts without running a batch; [`Driver::batch`] does it otherwise.
    ///
    /// # Errors
    /// As [`StreamingContext::start`].
    pub fn start(&mut self) -> Result<()> {
        if !self.started {
            self.ssc.start()?;
            self.started = true;
        }
        Ok(())
    }

    /// Moves the clock by one interval and waits until the batch is completed. Returns its time.
    ///
    /// # Errors
    /// The failure that stopped the context.
    pub fn batch(&mut self) -> Result<Time> {
        self.start()?;
        let t = Time::from_millis(self.clock_time().millis()) + self.interval;
        self.clock.set(t);
        *self.done.get() += 1;
        let want = *self.done.get();
        self.wait_completed(want)?;
        Ok(t)
    }

    fn clock_time(&self) -> Time {
        use crate::time::Clock;
        self.clock.now().time()
    }

    /// Waits until `n` batches are completed.
    fn wait_completed(&self, n: u64) -> Result<()> {
        let metrics = self.ssc.metrics().ok_or_else(|| Error::usage("nothing runs here"))?;
        // Batches are over in micro- to milliseconds; the limit is for a test that hangs.
        let step = Duration::from_micros(50);
        for _ in 0..1_200_000 {
            if metrics.snapshot().total_completed_batches >= n {
                // Clean-up follows completion at once; a failure is known by now.
                return self.ssc.await_termination_or_timeout(Duration::ZERO).map(drop);
            }
            if self.ssc.await_termination_or_timeout(step)? {
                return Err(Error::usage(format!("the context stopped before batch {n}")));
            }
        }
        Err(Error::usage(format!("batch {n} isn't completed after a minute")))
    }

    /// `n` batches.
    ///
    /// # Errors
    /// As [`Driver::batch`].
    pub fn batches(&mut self, n: usize) -> Result<()> {
        (0..n).try_for_each(|_| self.batch().map(drop))
    }

    /// Jobs, stages and tasks that have run so far.
    pub fn work_done(&self) -> (u64, u64, u64) {
        self.ssc.context().0.stats.get()
    }
}

impl<I> fmt::Debug for Driver<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("ssc", &self.ssc).finish_non_exhaustive()
    }
}

impl<I> Drop for Driver<I> {
    fn drop(&mut self) {
        let _ = self.ssc.stop(false);
    }
}

/// Collects what an output sees, by batch. Cheap to clone; all clones share what they collect.
pub struct Collector<T>(Arc<Mutex<ByTime<Vec<T>>>>);

impl<T> Clone for Collector<T> {
    fn clone(&self) -> Self {
        Collector(self.0.clone())
    }
}

impl<T> Default for Collector<T> {
    fn default() -> Self {
        Collector(Arc::default())
    }
}

impl<T> Collector<T> {
    /// An empty one.
    pub fn new() -> Collector<T> {
        Collector::default()
    }

    /// Adds records to a batch.
    pub fn add(&self, time: Time, records: impl IntoIterator<Item = T>) {
        self.0.get().or_default(time).extend(records);
    }

    /// Adds all records of `rdd`: made for `foreach_rdd(move |rdd, t| c.take(rdd, t))`.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    pub fn take(&self, rdd: Rdd<T>, time: Time) -> Result<()>
    where
        T: Wire,
    {
        self.add(time, rdd.collect()?);
        Ok(())
    }

    /// What each batch has, in batch order.
    pub fn batches(&self) -> Vec<Vec<T>>
    where
        T: Clone,
    {
        self.0.get().iter().map(|(_, all)| all.clone()).collect()
    }

    /// As [`Collector::batches`], with the times.
    pub fn by_time(&self) -> BTreeMap<Time, Vec<T>>
    where
        T: Clone,
    {
        self.0.get().iter().cloned().collect()
    }

    /// All records of all batches, sorted: a multiset to compare.
    pub fn sorted(&self) -> Vec<T>
    where
        T: Clone + Ord,
    {
        let all = self.0.get();
        let all: Vec<&T> = all.iter().flat_map(|(_, all)| all).collect();
        let order = sorted_places(all.len(), &|x, y| Some(all[x].cmp(all[y])));
        order.into_iter().map(|i| all[i].clone()).collect()
    }
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({} batches)", self.0.get().iter().len())
    }
}

/// Runs `program` on these batches, on the local and on the loopback engine, and returns what came out of
/// each batch.
///
/// # Panics
/// When a batch fails, or when the two engines differ: this is for tests and examples.
pub fn run<T: Wire, U: Wire + PartialEq + fmt::Debug>(
    batches: impl IntoIterator<Item = Vec<T>>,
    program: impl Fn(&DStream<T>) -> DStream<U>,
) -> Vec<Vec<U>> {
    let batches: Vec<Vec<T>> = batches.into_iter().collect();
    let local = run_on(TestEngine::Local, &batches, &program);
    let loopback = run_on(TestEngine::Loopback, &batches, &program);
    assert_eq!(local, loopback, "the local (left) and the loopback engine (right) differ");
    local
}

/// As [`run`], with the records of each batch sorted.
///
/// # Panics
/// As [`run`].
pub fn run_sorted<T: Wire, U: Wire + PartialOrd + fmt::Debug>(
    batches: impl IntoIterator<Item = Vec<T>>,
    program: impl Fn(&DStream<T>) -> DStream<U>,
) -> Vec<Vec<U>> {
    let mut out = run(batches, program);
    for b in &mut out {
        let order = sorted_places(b.len(), &|x, y| b[x].partial_cmp(&b[y]));
        *b = order.into_iter().map(|i| b[i].clone()).collect();
    }
    out
}

/// The numbers below `n` in the order of what they stand for. Not generic: sorting is much code, which tests would
/// have once for each type of records.
fn sorted_places(n: usize, compare: &dyn Fn(usize, usize) -> Option<Ordering>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|x, y| compare(*x, *y).unwrap_or(Ordering::Equal));
    order
}

fn run_on<T: Wire, U: Wire>(
    engine: TestEngine,
    batches: &[Vec<T>],
    program: &impl Fn(&DStream<T>) -> DStream<U>,
) -> Vec<Vec<U>> {
    let out = Collector::new();
    let sink = out.clone();
    let made = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
        let (queue, stream) = ssc.queue_stream::<T>();
        let sink = sink.clone();
        program(&stream).foreach_rdd(move |rdd, t| sink.take(rdd, t));
        Ok(queue)
    });
    let ran = made.and_then(|mut driver| {
        batches.iter().for_each(|b| driver.input().push(b.iter().cloned()));
        driver.batches(batches.len())
    });
    match ran {
        Ok(()) => out.batches(),
        Err(e) => panic!("{engine:?} engine: {e}"),
    }
}
