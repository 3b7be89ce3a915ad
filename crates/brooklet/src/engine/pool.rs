//! The task pool of `local[N]`: at most N tasks run at once, and the drivers run tasks themselves.
//!
//! ```text
//!   run() ──┬─ small, seat free ──> all tasks on the driver, nobody is woken
//!           └─ queue the job ─┬─ seat free ──> claim tasks ──> leave the seat ──┐
//!                             └─ seat taken ─> park ─┬─ seat handed over ──^    ├─> wait for helpers
//!                                                    └─ workers took it all ────┘
//! ```
//!
//! * N - 1 worker threads and one *driver seat*. A worker runs one task at a time and so does the
//!   holder of the seat, hence the bound; a driver without the seat runs nothing.
//! * A stage of a small batch takes less time than waking a thread. So the driver never waits for a
//!   wake-up: it rings, claims tasks until none is left, and waits only for tasks that a worker has
//!   really begun. A worker that comes too late finds nothing in the queue.
//! * Jobs are served in order of arrival, by the workers and by the seat. Whoever leaves the seat
//!   hands it to the oldest job with unclaimed tasks, so it is never free while somebody needs it.
//! * A worker without work spins for [`SPIN`] to catch the next stage of the same batch, giving its
//!   core away between looks (`yield_now`), and parks then. A driver that waits for the last tasks
//!   of its own job does the same; a driver without the seat parks at once, for the pool is busy.
//! * Only parked workers are woken, two by the driver and two by each worker that finds more to do:
//!   the driver pays for two wake-ups however large N is.

#![allow(clippy::disallowed_methods)] // spinning is bounded in real time, whatever the clock

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hint;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread without work looks for some before it parks.
const SPIN: Duration = Duration::from_micros(15);

/// Looks between two glances at the clock.
const LOOKS: usize = 16;

/// How long a small stage may keep the others waiting: a few wake-ups.
const CHEAP: Duration = Duration::from_micros(50);

/// Wake-ups one thread pays for; those it wakes go on.
const WAKES: usize = 2;

type Task = Arc<dyn Fn(usize) + Send + Sync>;
type Payload = Box<dyn Any + Send>;

thread_local! {
    /// The pools this thread is running tasks of; more than one when a task drives another pool.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Runs the tasks of all jobs of one context, at most [`Pool::threads`] at once.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    threads: usize,
}

impl Pool {
    /// Starts a pool that runs `threads` tasks at once: `threads - 1` workers named
    /// `{name}-task-{i}`, and whoever calls [`Pool::run`].
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub(crate) fn new(name: &str, threads: usize) -> std::io::Result<Pool> {
        assert!(threads > 0, "a pool runs at least one task at once");
        let mut pool = Pool {
            shared: Arc::new(Shared::default()),
            workers: Vec::with_capacity(threads - 1),
            threads,
        };
        for i in 0..threads - 1 {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new()
                .name(format!("{name}-task-{i}"))
                .spawn(move || worker(&shared))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// [`Pool::run`] for few records: in the calling thread, one after the other, as long as that is
    /// cheap; what is left after [`CHEAP`] is shared out.
    pub(crate) fn run_cheap(&self, n: usize, f: Task) {
        let begun = Instant::now();
        for i in 0..n {
            let one = Arc::clone(&f);
            self.run(1, true, Arc::new(move |_| one(i)));
            let left = n - i - 1;
            if left > 1 && begun.elapsed() > CHEAP {
                return self.run(left, false, Arc::new(move |k| f(i + 1 + k)));
            }
        }
    }

    /// How many tasks may run at once.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f` with each of `0..n`, on any thread and in any order, and returns when all calls
    /// have returned. The pool holds no reference to `f` then.
    ///
    /// Several threads may call this at once. With `small` the calling thread runs all tasks and
    /// wakes nobody, provided that no other job holds the seat.
    ///
    /// Must not be called by a task of the same pool: the task would wait for others while it
    /// occupies one of the N places. If it is, the tasks run one after the other in the caller.
    ///
    /// # Panics
    ///
    /// `f` should not panic. If it does, all other calls are made nevertheless and the first panic
    /// is raised again here; the pool stays usable.
    pub(crate) fn run(&self, n: usize, small: bool, f: Task) {
        if n == 0 {
            return;
        }
        let id = self.shared.id();
        if INSIDE.with_borrow(|inside| inside.contains(&id)) {
            let job = Job::new(n);
            job.work(&*f);
            return job.raise();
        }
        let alone = small || n == 1 || self.workers.is_empty();
        if alone && self.shared.try_sit() {
            let job = Job::new(n);
            inside(id, || job.work(&*f));
            self.shared.leave_seat();
            return job.raise();
        }

        let job = Arc::new(Job::new(n));
        self.shared.submit(&job, &f);
        while !job.exhausted() {
            if job.seated.load(Ordering::Acquire) {
                inside(id, || job.work(&*f));
            } else {
                thread::park();
            }
        }
        self.shared.retire(&job);
        let finished = || job.helpers.load(Ordering::Acquire) == 0;
        if !finished() && !spin(finished) {
            while !finished() {
                thread::park();
            }
        }
        job.raise();
    }
}

impl Drop for Pool {
    /// Ends and joins all workers.
    fn drop(&mut self) {
        let sleepers = {
            let mut state = self.shared.lock();
            state.closed = true;
            self.shared.ring();
            mem::take(&mut state.sleepers)
        };
        for sleeper in sleepers {
            sleeper.unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks; if it died, there is nothing left to do.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// One call of [`Pool::run`].
struct Job {
    n: usize,
    /// The next task to claim.
    next: AtomicUsize,
    /// Workers inside. Goes up only under the lock and only together with the claim of a task, so
    /// the driver never waits for a worker that has nothing to do.
    helpers: AtomicUsize,
    /// The driver has the seat. Set under the lock.
    seated: AtomicBool,
    driver: Thread,
    panics: Mutex<Vec<Payload>>,
}

impl Job {
    fn new(n: usize) -> Job {
        Job {
            n,
            next: AtomicUsize::new(0),
            helpers: AtomicUsize::new(0),
            seated: AtomicBool::new(false),
            driver: thread::current(),
            panics: Mutex::new(Vec::new()),
        }
    }

    fn unclaimed(&self) -> usize {
        self.n.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// All tasks are claimed, though some may still run.
    fn exhausted(&self) -> bool {
        self.unclaimed() == 0
    }

    fn claim(&self) -> Option<usize> {
        // Looking first keeps the counter from running away.
        if self.exhausted() {
            return None;
        }
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        (i < self.n).then_some(i)
    }

    fn work(&self, f: &(dyn Fn(usize) + Send + Sync)) {
        while let Some(i) = self.claim() {
            self.call(f, i);
        }
    }

    fn call(&self, f: &(dyn Fn(usize) + Send + Sync), i: usize) {
        // Nothing of ours is touched inside, and the panic is raised again in the driver.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| f(i))) {
            lock(&self.panics).push(payload);
        }
    }

    /// Ends the driver's part: passes on the first panic.
    fn raise(&self) {
        let payloads = mem::take(&mut *lock(&self.panics));
        if let Some(first) = payloads.into_iter().next() {
            panic::resume_unwind(first);
        }
    }
}

/// A job some of whose tasks may be unclaimed. The function is kept here and not in the job, which
/// a worker may hold for a moment after the driver has returned.
struct Queued {
    job: Arc<Job>,
    f: Task,
}

struct State {
    /// In order of arrival. Each driver removes its own.
    queue: VecDeque<Queued>,
    /// While it is free, no job in the queue has unclaimed tasks.
    seat_free: bool,
    /// Workers that look at the bell.
    spinning: usize,
    /// Workers that are parked, or about to be.
    sleepers: Vec<Thread>,
    closed: bool,
}

impl State {
    fn oldest(&self) -> Option<&Queued> {
        self.queue.iter().find(|queued| !queued.job.exhausted())
    }

    /// Picks the workers to wake for the tasks nobody has claimed, all but those `coming` threads
    /// are about to claim. Workers that spin come by themselves. The tasks of all jobs count: two
    /// jobs may have relied on the same spinning worker.
    fn pick_sleepers(&mut self, coming: usize) -> [Option<Thread>; WAKES] {
        let unclaimed: usize = self.queue.iter().map(|queued| queued.job.unclaimed()).sum();
        let mut wanted = unclaimed.saturating_sub(self.spinning + coming);
        std::array::from_fn(|_| {
            wanted = wanted.checked_sub(1)?;
            // The last one that fell asleep has the warmest caches.
            self.sleepers.pop()
        })
    }

    /// Gives the seat to the oldest job that can use it.
    fn pass_seat(&mut self) {
        // Whoever holds the seat has claimed all tasks of its own job, so this is another one,
        // whose driver is parked or about to look whether it is seated.
        match self.oldest() {
            Some(Queued { job, .. }) => {
                job.seated.store(true, Ordering::Release);
                job.driver.unpark();
            }
            None => self.seat_free = true,
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Counts what spinning workers wait for: new jobs and the end of the pool.
    bell: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                seat_free: true,
                spinning: 0,
                sleepers: Vec::new(),
                closed: false,
            }),
            bell: AtomicUsize::new(0),
        }
    }
}

impl Shared {
    /// Tells the pools in this process from each other, as long as they live.
    fn id(&self) -> usize {
        (&raw const *self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// To be called under the lock.
    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::Release);
    }

    fn try_sit(&self) -> bool {
        mem::take(&mut self.lock().seat_free)
    }

    fn leave_seat(&self) {
        self.lock().pass_seat();
    }

    /// Queues a job, takes the seat for it if that is free, and calls workers.
    fn submit(&self, job: &Arc<Job>, f: &Task) {
        let sleepers = {
            let mut state = self.lock();
            let seated = mem::take(&mut state.seat_free);
            job.seated.store(seated, Ordering::Release);
            state.queue.push_back(Queued { job: Arc::clone(job), f: Arc::clone(f) });
            self.ring();
            state.pick_sleepers(usize::from(seated))
        };
        sleepers.iter().flatten().for_each(Thread::unpark);
    }

    /// Takes an exhausted job out of the queue, so that no worker enters it any more, and its
    /// driver from the seat.
    fn retire(&self, job: &Arc<Job>) {
        let mut state = self.lock();
        let place = state.queue.iter().position(|queued| Arc::ptr_eq(&queued.job, job));
        let queued = place.and_then(|at| state.queue.remove(at));
        if job.seated.load(Ordering::Relaxed) {
            state.pass_seat();
        }
        drop(state);
        drop(queued);
    }
}

fn worker(shared: &Shared) {
    INSIDE.with_borrow_mut(|inside| inside.push(shared.id()));
    let mut state = shared.lock();
    while !state.closed {
        // The task is claimed under the lock: see `Job::helpers`.
        let Some(Queued { job, f }) = state.oldest() else {
            state = idle(shared, state);
            continue;
        };
        let Some(first) = job.claim() else { continue };
        job.helpers.fetch_add(1, Ordering::Relaxed);
        let (job, f) = (Arc::clone(job), Arc::clone(f));
        let sleepers = state.pick_sleepers(0);
        drop(state);

        sleepers.iter().flatten().for_each(Thread::unpark);
        job.call(&*f, first);
        job.work(&*f);
        // Before signing off: the driver counts on having the only reference.
        drop(f);
        if job.helpers.fetch_sub(1, Ordering::AcqRel) == 1 {
            job.driver.unpark();
        }
        drop(job);
        state = shared.lock();
    }
}

/// Waits until there may be something to do.
fn idle<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    // The bell rings under the lock, so it can't have rung since the queue was looked through.
    let heard = shared.bell.load(Ordering::Relaxed);
    let rung = || shared.bell.load(Ordering::Acquire) != heard;
    state.spinning += 1;
    drop(state);
    spin(rung);
    let mut state = shared.lock();
    state.spinning -= 1;
    if rung() {
        return state;
    }
    let me = thread::current();
    let id = me.id();
    state.sleepers.push(me);
    drop(state);
    thread::park();
    let mut state = shared.lock();
    // Still listed when `park` returned for no reason.
    state.sleepers.retain(|sleeper| sleeper.id() != id);
    state
}

/// Looks for `SPIN` whether `found`; gives the core to any other thread that can run.
fn spin(found: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if found() {
                return true;
            }
            hint::spin_loop();
        }
        if start.elapsed() >= SPIN {
            return found();
        }
        thread::yield_now();
    }
}

/// Marks this thread as running tasks of pool `id` during `work`, which doesn't panic.
fn inside(id: usize, work: impl FnOnce()) {
    INSIDE.with_borrow_mut(|inside| inside.push(id));
    work();
    INSIDE.with_borrow_mut(|inside| inside.pop());
}

/// No foreign code runs under our locks, so a poisoned one can't be in disorder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::Ordering::SeqCst;

    fn counters(n: usize) -> Arc<Vec<AtomicUsize>> {
        Arc::new((0..n).map(|_| AtomicUsize::new(0)).collect())
    }

    fn counts(counters: &[AtomicUsize]) -> Vec<usize> {
        counters.iter().map(|c| c.load(SeqCst)).collect()
    }

    /// Counts the tasks that run at the same time.
    #[derive(Default)]
    struct Gauge {
        now: AtomicUsize,
        max: AtomicUsize,
    }

    impl Gauge {
        fn during(&self, work: impl FnOnce()) {
            self.max.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
            work();
            self.now.fetch_sub(1, SeqCst);
        }
    }

    #[test]
    fn concurrent_jobs_run_each_task_once_and_never_more_than_n_at_once() {
        let runs = if cfg!(miri) { 5 } else { 500 };
        for threads in [1, 2, 4] {
            let pool = Pool::new("t", threads).unwrap();
            let gauge = Arc::new(Gauge::default());
            let start = Barrier::new(8);
            thread::scope(|s| {
                for driver in 0..8 {
                    let (pool, gauge, start) = (&pool, &gauge, &start);
                    s.spawn(move || {
                        start.wait();
                        for run in 0..runs {
                            let n = (driver + run) % 7;
                            let calls = counters(n);
                            let f = {
                                let (calls, gauge) = (Arc::clone(&calls), Arc::clone(gauge));
                                move |i: usize| {
                                    gauge.during(|| {
                                        if run % 3 == 0 {
                                            thread::yield_now();
                                        }
                                        calls[i].fetch_add(1, SeqCst);
                                    })
                                }
                            };
                            pool.run(n, run % 5 == 0, Arc::new(f));
                            assert_eq!(counts(&calls), vec![1; n]);
                            // The function is gone, so is what it held.
                            assert_eq!(Arc::strong_count(&calls), 1);
                        }
                    });
                }
            });
            let max = gauge.max.load(SeqCst);
            assert!(max <= threads, "{max} tasks at once in a pool of {threads}");
            assert!(pool.shared.lock().queue.is_empty());
            assert!(pool.shared.lock().seat_free);
        }
    }

    #[test]
    fn all_n_places_are_used() {
        // Each task waits for all others, so this ends only if they do run at once.
        for threads in [2, 3, 7] {
            let pool = Pool::new("t", threads).unwrap();
            for _ in 0..5 {
                let all = Barrier::new(threads);
                pool.run(
                    threads,
                    false,
                    Arc::new(move |_| {
                        all.wait();
                    }),
                );
            }
        }
    }

    #[test]
    fn driver_without_the_seat_is_served_by_a_worker() {
        let pool = Arc::new(Pool::new("t", 2).unwrap());
        let other = Arc::clone(&pool);
        // The seat is ours until the other job is done, so only the worker can have run that.
        let f = move |_| {
            let pool = Arc::clone(&other);
            for n in [1, 2] {
                let pool = Arc::clone(&pool);
                let calls = counters(n);
                let theirs = Arc::clone(&calls);
                let count = move |i: usize| {
                    theirs[i].fetch_add(1, SeqCst);
                };
                let driver = thread::spawn(move || pool.run(n, true, Arc::new(count)));
                driver.join().expect("no task panics");
                assert_eq!(counts(&calls), vec![1; n]);
            }
        };
        pool.run(1, false, Arc::new(f));
    }

    #[test]
    fn small_jobs_stay_on_the_driver() {
        let pool = Pool::new("t", 4).unwrap();
        let me = thread::current().id();
        for (n, small) in [(1, false), (1, true), (9, true)] {
            pool.run(n, small, Arc::new(move |_| assert_eq!(thread::current().id(), me)));
        }
    }

    #[test]
    fn panic_reaches_the_driver_after_all_other_tasks_and_the_pool_survives() {
        for (threads, small) in [(1, false), (2, false), (4, false), (4, true)] {
            let pool = Pool::new("t", threads).unwrap();
            for round in 0..20 {
                let calls = counters(8);
                let theirs = Arc::clone(&calls);
                let f = move |i: usize| {
                    theirs[i].fetch_add(1, SeqCst);
                    // Not `panic!`: the hook would print each.
                    if i % 3 == 1 {
                        panic::resume_unwind(Box::new("told you"));
                    }
                };
                let run = AssertUnwindSafe(|| pool.run(8, small, Arc::new(f)));
                let payload = panic::catch_unwind(run).expect_err("three tasks panic");
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"told you"), "round {round}");
                assert_eq!(counts(&calls), [1; 8]);
                assert_eq!(Arc::strong_count(&calls), 1);
            }
            let all = Barrier::new(threads);
            pool.run(
                threads,
                false,
                Arc::new(move |_| {
                    all.wait();
                }),
            );
        }
    }

    #[test]
    fn run_inside_a_task_runs_inline() {
        for threads in [1, 3] {
            let pool = Arc::new(Pool::new("t", threads).unwrap());
            let calls = counters(1);
            let (inner, theirs) = (Arc::clone(&pool), Arc::clone(&calls));
            let f = move |_| {
                let (me, calls) = (thread::current().id(), Arc::clone(&theirs));
                let count = move |_| {
                    assert_eq!(thread::current().id(), me);
                    calls[0].fetch_add(1, SeqCst);
                };
                inner.run(3, false, Arc::new(count));
            };
            pool.run(6, false, Arc::new(f));
            assert_eq!(counts(&calls), [18]);
        }
    }

    #[test]
    fn task_may_drive_another_pool() {
        let (outer, inner) =
            (Pool::new("outer", 2).unwrap(), Arc::new(Pool::new("inner", 2).unwrap()));
        let calls = counters(1);
        let theirs = Arc::clone(&calls);
        let f = move |_| {
            let calls = Arc::clone(&theirs);
            inner.run(
                4,
                false,
                Arc::new(move |_| {
                    calls[0].fetch_add(1, SeqCst);
                }),
            );
        };
        outer.run(4, false, Arc::new(f));
        assert_eq!(counts(&calls), [16]);
    }

    #[test]
    fn drop_joins_all_workers() {
        for round in 0..10 {
            let pool = Pool::new("t", 4).unwrap();
            if round % 2 == 0 {
                pool.run(4, false, Arc::new(|_| ()));
            }
            let shared = Arc::downgrade(&pool.shared);
            drop(pool);
            // Each worker held a reference until its end.
            assert_eq!(shared.strong_count(), 0);
        }
    }

    #[test]
    fn workers_carry_the_name_of_the_pool() {
        let pool = Pool::new("wordcount", 3).unwrap();
        assert_eq!(pool.threads(), 3);
        let names: Vec<_> = pool.workers.iter().filter_map(|w| w.thread().name()).collect();
        assert_eq!(names, ["wordcount-task-0", "wordcount-task-1"]);
    }
}
