//! The asynchronous actions: a handle at once, the result when the job is over.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;

use super::action::{Outcome, count_partition, take_partition, user_failure};
use super::origin::Travel;
use super::pipe::{Pipe, pushed};
use super::{PartitionIter, Rdd, detach};
use crate::context::Context;
use crate::data::{Data, Wire};
use crate::engine::{OpId, Site, TaskCx, TaskError, in_task};
use crate::sync::{Condvar, LockExt, Mutex, wait};
use crate::{Error, Result, Time};

/// An action that runs on a thread of its own. It is a [`Future`] for programs that have a runtime, and has
/// [`FutureAction::wait`] for those that have none. Dropping it doesn't stop the action;
/// [`FutureAction::cancel`] does.
///
/// ```
/// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
/// let numbers = ctx.parallelize(1..=100, 4);
/// let (count, all) = (numbers.count_async(), numbers.collect_async());
/// assert_eq!((count.wait()?, all.wait()?.len()), (100, 100));
/// # Ok::<(), brooklet::Error>(())
/// ```
#[must_use = "the result, or the error, is in here"]
pub struct FutureAction<R> {
    shared: Arc<Shared<R>>,
    job: Job,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
}

struct State<R> {
    result: Option<Result<R>>,
    taken: bool,
    waker: Option<Waker>,
}

impl<R> Shared<R> {
    fn set(&self, result: Result<R>) {
        let waker = {
            let mut state = self.state.get();
            if state.result.is_some() || state.taken {
                return;
            }
            state.result = Some(result);
            state.waker.take()
        };
        self.changed.notify_all();
        if let Some(w) = waker {
            w.wake();
        }
    }
}

/// Gives whoever waits an answer also when the thread ends otherwise than it should.
struct Answer<R>(Arc<Shared<R>>);

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        self.0.set(Err(Error::Bug("the thread of an asynchronous action has panicked".into())));
    }
}

/// The jobs of one action, for whoever cancels them.
#[derive(Clone)]
struct Job {
    ctx: Context,
    stop: Arc<AtomicBool>,
    /// The one that runs.
    running: Arc<Mutex<Option<(OpId, Time, u32)>>>,
    /// The engine's tasks run elsewhere, where the stop flag can't be sent: the action runs at the call.
    at_once: bool,
}

impl Job {
    /// [`Rdd::run_action`], stopped by [`FutureAction::cancel`].
    fn run<T: Data, P: Pipe<Out = T>, O: Wire, A>(
        &self,
        rdd: &Rdd<T, P>,
        site: Site,
        which: impl FnOnce(u32) -> Range<u32>,
        act: A,
    ) -> Result<Vec<O>>
    where
        A: Fn(&P, &TaskCx<'_>) -> Result<O, TaskError> + Send + Sync + 'static,
    {
        if self.at_once {
            return rdd.run_action(site, which, act);
        }
        let sub = rdd.origin.next_action();
        *self.running.get() = Some((rdd.origin.op, rdd.origin.time, sub));
        if self.stop.load(Relaxed) {
            return Err(Error::Cancelled);
        }
        // A cancel before the engine knows the job is seen by its first tasks.
        let stop = self.stop.clone();
        rdd.run_numbered(sub, site, which, move |p, cx| {
            if stop.load(Relaxed) { Err(TaskError::Cancelled) } else { act(p, cx) }
        })
    }
}

impl<R> FutureAction<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// As the action of the same name that isn't asynchronous; [`Error::Cancelled`] after
    /// [`FutureAction::cancel`].
    pub fn wait(self) -> Result<R> {
        let mut state = self.shared.state.get();
        loop {
            if let Some(r) = state.result.take() {
                state.taken = true;
                return r;
            }
            if state.taken {
                return Err(taken());
            }
            state = wait(&self.shared.changed, state, None);
        }
    }

    /// Asks the action to stop at its next chunk of records; then its result is [`Error::Cancelled`], unless
    /// it was done before.
    pub fn cancel(&self) {
        self.job.stop.store(true, Relaxed);
        let running = *self.job.running.get();
        if let (Some((op, time, sub)), Ok(engine)) = (running, self.job.ctx.0.engine()) {
            engine.cancel(&|id| id.op == op && id.batch == time && id.action == sub);
        }
    }

    /// Whether the result is there.
    pub fn is_done(&self) -> bool {
        let state = self.shared.state.get();
        state.result.is_some() || state.taken
    }
}

fn taken() -> Error {
    Error::usage("the result of an asynchronous action was taken before")
}

impl<R> Future for FutureAction<R> {
    type Output = Result<R>;
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<R>> {
        let mut state = self.shared.state.get();
        if let Some(r) = state.result.take() {
            state.taken = true;
            return Poll::Ready(r);
        }
        if state.taken {
            return Poll::Ready(Err(taken()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<R> fmt::Debug for FutureAction<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FutureAction({})", if self.is_done() { "done" } else { "running" })
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Runs `work` on a thread of its own; at the call where an action's number decides how it is found.
    fn start<R: Send + 'static>(
        &self,
        site: Site,
        work: impl FnOnce(&Rdd<T, P>, &Job) -> Result<R> + Send + 'static,
    ) -> FutureAction<R> {
        let state = State { result: None, taken: false, waker: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let inner = &self.ctx.0;
        let elsewhere = inner.executor || inner.engine().is_ok_and(|e| e.remote());
        let at_once = elsewhere && self.origin.travel != Travel::Plain;
        let job =
            Job { ctx: self.ctx.clone(), stop: Arc::default(), running: Arc::default(), at_once };
        let action = FutureAction { shared: shared.clone(), job: job.clone() };
        if in_task() {
            shared.set(Err(Error::ActionInTask { site }));
        } else if at_once {
            shared.set(work(self, &job));
        } else {
            let (rdd, answer) = (self.clone(), Answer(shared.clone()));
            let name = format!("{}-action", inner.conf.app_name);
            let started = thread::Builder::new().name(name).spawn(move || {
                let result = work(&rdd, &job);
                // What the action holds goes before whoever waits goes on.
                drop((rdd, job));
                answer.0.set(result);
            });
            if let Err(e) = started {
                shared.set(Err(Error::io(format!("starting a thread for {site}"), e)));
            }
        }
        action
    }

    /// [`Rdd::collect`] on a thread of its own.
    #[track_caller]
    pub fn collect_async(&self) -> FutureAction<Vec<T>>
    where
        T: Wire,
    {
        let site = Site::here("collect_async");
        self.start(site, move |rdd, job| {
            let act = |p: &P, cx: &TaskCx<'_>| {
                p.fold(cx, cx.partition(), Vec::new(), pushed).map(detach::all)
            };
            Ok(job.run(rdd, site, |n| 0..n, act)?.into_iter().flatten().collect())
        })
    }

    /// [`Rdd::count`] on a thread of its own.
    #[track_caller]
    pub fn count_async(&self) -> FutureAction<u64> {
        let site = Site::here("count_async");
        self.start(site, move |rdd, job| {
            Ok(job.run(rdd, site, |n| 0..n, count_partition)?.iter().sum())
        })
    }

    /// [`Rdd::take`] on a thread of its own.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// let first = runtime.block_on(ctx.parallelize(0..100, 10).take_async(12))?;
    /// assert_eq!(first, (0..12).collect::<Vec<_>>());
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn take_async(&self, n: usize) -> FutureAction<Vec<T>>
    where
        T: Wire,
    {
        let site = Site::here("take_async");
        self.start(site, move |rdd, job| {
            let (mut from, mut width) = (0u32, 1u32);
            let mut all = Vec::new();
            while all.len() < n && from < rdd.num_partitions() as u32 {
                let to = from.saturating_add(width);
                let act = move |p: &P, cx: &TaskCx<'_>| take_partition(p, cx, n).map(detach::all);
                all.extend(job.run(rdd, site, |all| from..to.min(all), act)?.into_iter().flatten());
                (from, width) = (to, width.saturating_mul(4));
            }
            all.truncate(n);
            Ok(all)
        })
    }

    /// [`Rdd::foreach`] on a thread of its own.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let sum = ctx.long_accumulator("sum");
    /// let s = sum.clone();
    /// ctx.parallelize(1..=10, 3).foreach_async(move |x| s.add(x)).wait()?;
    /// assert_eq!(sum.value().sum, 55);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn foreach_async<O: Outcome, F: Fn(T) -> O + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> FutureAction<()> {
        let site = Site::here("foreach_async");
        self.start(site, move |rdd, job| {
            let act = move |p: &P, cx: &TaskCx<'_>| {
                p.fold(cx, cx.partition(), (), |(), x| {
                    if let Err(e) = site.guard(|| f(x)).outcome() {
                        cx.record_failed(&site, e);
                    }
                })
            };
            job.run(rdd, site, |n| 0..n, act).map(drop)
        })
    }

    /// [`Rdd::foreach_partition`] on a thread of its own.
    #[track_caller]
    pub fn foreach_partition_async<O: Outcome, F>(&self, f: F) -> FutureAction<()>
    where
        F: Fn(PartitionIter<T>) -> O + Send + Sync + 'static,
    {
        let site = Site::here("foreach_partition_async");
        self.start(site, move |rdd, job| {
            let act = move |p: &P, cx: &TaskCx<'_>| {
                let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
                site.guard(|| f(records.into_iter()))
                    .outcome()
                    .map_err(|e| user_failure(&site, cx, e))
            };
            job.run(rdd, site, |n| 0..n, act).map(drop)
        })
    }
}
