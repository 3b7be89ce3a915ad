//! Actions: what runs a job and gives its result to the driver.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::origin::Travel;
use super::pipe::{Captured, Flow, Pipe, Unshippable, pushed, shippable};
use super::shipped::{code_offset, shipped};
use super::{PartitionIter, Rdd, detach};
use crate::data::{Data, Key, Wire};
use crate::engine::{
    Payload, Role, Site, StageKey, TaskBody, TaskCx, TaskError, UserError, in_task, plan,
};
use crate::error::BoxError;
use crate::{Error, Result};

/// The last stage of a job: `act` on each partition, its result for the driver.
pub(crate) struct ActionBody<P, A, R> {
    key: StageKey,
    pipe: Arc<P>,
    act: Arc<A>,
    r: PhantomData<fn() -> R>,
}

impl<P: Pipe, R: Wire, A> ActionBody<P, A, R>
where
    A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
{
    pub(crate) fn new(key: StageKey, pipe: Arc<P>, act: Arc<A>) -> Self {
        ActionBody { key, pipe, act, r: PhantomData }
    }
}

impl<P: Pipe, R: Wire, A> TaskBody for ActionBody<P, A, R>
where
    A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
{
    fn key(&self) -> StageKey {
        self.key
    }
    fn width(&self) -> usize {
        self.pipe.partitions()
    }
    fn parents(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.pipe.wide(out);
    }
    fn input_records(&self) -> usize {
        self.pipe.input_records()
    }
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        cx.put_result((self.act)(&self.pipe, cx)?)
    }
}

/// A user closure's error, with operator and partition.
pub(crate) fn user_failure(site: &Site, cx: &TaskCx<'_>, e: BoxError) -> TaskError {
    TaskError::Failed {
        culprit: (*site).into(),
        partition: cx.partition() as u32,
        error: UserError(e.into()),
    }
}

/// What a closure of an output may return: nothing, or a `Result`.
pub trait Outcome {
    /// The error, if it is one.
    ///
    /// # Errors
    /// What the closure returned.
    fn outcome(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Counts a partition, without computing it where its size is known.
pub(crate) fn count_partition<P: Pipe>(p: &P, cx: &TaskCx<'_>) -> Result<u64, TaskError> {
    match p.known_len(cx, cx.partition())? {
        Some(n) => Ok(n),
        None => p.fold(cx, cx.partition(), 0u64, |n, _| n + 1),
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Every action: `act` on the partitions that `which` gives out of all. The one place that knows how
    /// code built at run time travels.
    pub(crate) fn run_action<R: Wire, A>(
        &self,
        site: Site,
        which: impl FnOnce(u32) -> std::ops::Range<u32>,
        act: A,
    ) -> Result<Vec<R>>
    where
        A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        self.run_numbered(self.origin.next_action(), site, which, act)
    }

    /// [`Rdd::run_action`] with a number that was taken before.
    pub(crate) fn run_numbered<R: Wire, A>(
        &self,
        sub: u32,
        site: Site,
        which: impl FnOnce(u32) -> std::ops::Range<u32>,
        act: A,
    ) -> Result<Vec<R>>
    where
        A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        if in_task() {
            return Err(Error::ActionInTask { site });
        }
        let (inner, origin) = (&self.ctx.0, &*self.origin);
        let replayed = origin.travel == Travel::Replayed;
        if replayed && let Some(v) = inner.replayed(origin.op, origin.time, sub) {
            return Ok(v.take::<Vec<R>>()?);
        }
        let mut key = StageKey { op: origin.op, sub, role: Role::Action, batch: origin.time };
        if origin.travel == Travel::Shipped && inner.engine()?.remote() {
            self.check_shippable::<A>(site)?;
            key.role = Role::Shipped(code_offset(shipped::<P, R, A>));
        }
        let body: Arc<dyn TaskBody> =
            Arc::new(ActionBody::new(key, self.pipe.clone(), Arc::new(act)));
        if inner.executor {
            // An executor replays `transform`: this action runs here, as a task of the driver's job.
            inner.add_body(&body);
            origin.paused.store(true, Relaxed);
            return Err(Error::Cancelled);
        }
        let results = plan::run_job(inner, &body, which(body.width() as u32))?;
        let results: Vec<R> =
            results.into_iter().map(Payload::take::<R>).collect::<Result<_, TaskError>>()?;
        if replayed && inner.engine()?.remote() {
            inner.record_replay(origin.op, origin.time, sub, &results)?;
        }
        Ok(results)
    }

    /// Refuses what can't be sent to another process, before any task runs.
    fn check_shippable<A>(&self, site: Site) -> Result<()> {
        let mut caught = Vec::new();
        self.pipe.captures(&mut caught);
        if !shippable::<A>() {
            caught.push(Captured { site, why: Unshippable::Captures(size_of::<A>()) });
        }
        let Some(c) = caught.first() else { return Ok(()) };
        let (what, instead) = match c.why {
            Unshippable::Captures(bytes) => (
                format!("{} has a closure that captures {bytes} bytes", c.site),
                "make the operator on the stream, or use `foreach_partition` of the stream",
            ),
            Unshippable::Stage => (
                format!("{} makes a stage inside `foreach_rdd`", c.site),
                "shuffle on the stream or in `transform`",
            ),
            Unshippable::Boxed => (
                format!("the RDD of {site} was boxed inside `foreach_rdd`"),
                "leave `boxed()` out, or make the operators on the stream",
            ),
        };
        Err(Error::NotShippable(format!(
            "{what}, which can't be sent to the process that runs the task: {instead}"
        )))
    }

    /// All records, in partition order, in the driver's memory.
    ///
    /// # Errors
    /// [`Error::TaskFailed`] and whatever else ends a job; so for all actions.
    #[track_caller]
    pub fn collect(&self) -> Result<Vec<T>>
    where
        T: Wire,
    {
        let parts = self.run_action(
            Site::here("collect"),
            |n| 0..n,
            |p, cx| p.fold(cx, cx.partition(), Vec::new(), pushed).map(detach::all),
        )?;
        let mut it = parts.into_iter();
        let mut all = it.next().unwrap_or_default();
        it.for_each(|mut v| all.append(&mut v));
        Ok(all)
    }

    /// How many records there are.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn count(&self) -> Result<u64> {
        Ok(self.run_action(Site::here("count"), |n| 0..n, count_partition)?.iter().sum())
    }

    /// Whether there is no record; looks at no more partitions than it must.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        let site = Site::here("is_empty");
        self.scan(
            site,
            |any: &bool| *any,
            |p, cx| Ok(p.try_each(cx, cx.partition(), |_| Flow::Break(()))?.is_break()),
        )
        .map(|found| !found.iter().any(|x| *x))
    }

    /// The first `n` records. Tries one partition, then four times as many as before, until there are
    /// enough.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.parallelize(0..100, 10).take(3)?, [0, 1, 2]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn take(&self, n: usize) -> Result<Vec<T>>
    where
        T: Wire,
    {
        if n == 0 {
            return Ok(Vec::new());
        }
        let site = Site::here("take");
        let mut have = 0;
        let parts = self.scan(
            site,
            |v: &Vec<T>| {
                have += v.len();
                have >= n
            },
            move |p, cx| take_partition(p, cx, n).map(detach::all),
        )?;
        Ok(parts.into_iter().flatten().take(n).collect())
    }

    /// The first record.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none; else as [`Rdd::collect`].
    #[track_caller]
    pub fn first(&self) -> Result<T>
    where
        T: Wire,
    {
        let first = self.scan(
            Site::here("first"),
            |v: &Option<T>| v.is_some(),
            |p, cx| Ok(take_partition(p, cx, 1)?.pop().map(detach::one)),
        )?;
        let none = || Error::usage("`first` of an empty RDD: use `take(1)` where it may be empty");
        first.into_iter().flatten().next().ok_or_else(none)
    }

    /// Partitions 1, 4, 16 .. at a time, until `enough` has seen what it needs.
    fn scan<R: Wire, A>(
        &self,
        site: Site,
        mut enough: impl FnMut(&R) -> bool,
        act: A,
    ) -> Result<Vec<R>>
    where
        A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError> + Copy + Send + Sync + 'static,
    {
        let (mut from, mut width) = (0u32, 1u32);
        let mut all = Vec::new();
        while from < self.num_partitions() as u32 {
            let got = self.run_action(site, |n| from..n.min(from.saturating_add(width)), act)?;
            let done = got.iter().any(&mut enough);
            all.extend(got);
            if done {
                break;
            }
            from += width;
            width *= 4;
        }
        Ok(all)
    }

    /// All records merged by `f` (associative and commutative); nothing for an empty RDD.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn reduce<F: Fn(T, T) -> T + Send + Sync + 'static>(&self, f: F) -> Result<Option<T>>
    where
        T: Wire,
    {
        let (site, f) = (Site::here("reduce"), Arc::new(f));
        let g = f.clone();
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                p.fold(cx, cx.partition(), None, |a, x| {
                    Some(match a {
                        None => x,
                        Some(a) => site.guard(|| g(a, x)),
                    })
                })
                .map(detach::one)
            },
        )?;
        Ok(parts.into_iter().flatten().reduce(|a, b| f(a, b)))
    }

    /// Adds all records up: `seq` within a partition, beginning with `zero`, `comb` across partitions, on
    /// the driver.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (n, sum) = ctx.parallelize(1..=10, 3)
    ///     .aggregate((0, 0), |(n, s), x| (n + 1, s + x), |a, b| (a.0 + b.0, a.1 + b.1))?;
    /// assert_eq!((n, sum), (10, 55));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn aggregate<A: Wire>(
        &self,
        zero: A,
        seq: impl Fn(A, T) -> A + Send + Sync + 'static,
        comb: impl Fn(A, A) -> A,
    ) -> Result<A> {
        let site = Site::here("aggregate");
        let z = zero.clone();
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                p.fold(cx, cx.partition(), z.clone(), |a, x| site.guard(|| seq(a, x)))
                    .map(detach::one)
            },
        )?;
        Ok(parts.into_iter().fold(zero, comb))
    }

    /// Adds all records up with one function; `zero` is used once for each partition and once more on the
    /// driver.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn fold<F: Fn(T, T) -> T + Send + Sync + 'static>(&self, zero: T, f: F) -> Result<T>
    where
        T: Wire,
    {
        let f = Arc::new(f);
        let g = f.clone();
        self.aggregate(zero, move |a, x| g(a, x), move |a, b| f(a, b))
    }

    /// Calls `f` for every record, in tasks. `f` may return `Result`.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn foreach<O: Outcome, F: Fn(T) -> O + Send + Sync + 'static>(&self, f: F) -> Result<()> {
        let site = Site::here("foreach");
        self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                p.fold(cx, cx.partition(), (), |(), x| {
                    if let Err(e) = site.guard(|| f(x)).outcome() {
                        cx.record_failed(&site, e);
                    }
                })
            },
        )
        .map(drop)
    }

    /// Calls `f` once for each partition, also for empty ones, in tasks: the place for one connection or
    /// one transaction. The records of a partition are buffered for the call. `f` may return `Result`.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn foreach_partition<O: Outcome, F>(&self, f: F) -> Result<()>
    where
        F: Fn(PartitionIter<T>) -> O + Send + Sync + 'static,
    {
        let site = Site::here("foreach_partition");
        self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
                site.guard(|| f(records.into_iter()))
                    .outcome()
                    .map_err(|e| user_failure(&site, cx, e))
            },
        )
        .map(drop)
    }

    /// How often each value occurs, in the driver's memory; counted in tasks by a shuffle.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn count_by_value(&self) -> Result<HashMap<T, u64>>
    where
        T: Key,
    {
        Ok(self.map(|x| (x, 1u64)).reduce_by_key(|a, b| a + b).collect()?.into_iter().collect())
    }
}

/// Up to `n` records of the task's partition.
pub(crate) fn take_partition<P: Pipe>(
    p: &P,
    cx: &TaskCx<'_>,
    n: usize,
) -> Result<Vec<P::Out>, TaskError> {
    let mut v = Vec::new();
    let _ = p.try_each(cx, cx.partition(), |x| {
        v.push(x);
        if v.len() < n { Flow::Continue(()) } else { Flow::Break(()) }
    })?;
    Ok(v)
}
