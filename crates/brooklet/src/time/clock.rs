//! The one source of time: a wall clock that never goes back, and a manual one for tests.

#![allow(clippy::disallowed_methods)] // the only place that may ask the operating system

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Time;

/// A moment on a [`Clock`], in nanoseconds since the epoch. Batch times are [`Time`]s (milliseconds);
/// timestamps say when something happened.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the epoch.
    pub const fn from_nanos(ns: u64) -> Timestamp {
        Timestamp(ns)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The batch-time grid's view of this moment (milliseconds, rounded down).
    pub const fn time(self) -> Time {
        Time::from_millis(self.millis())
    }

    /// The distance to an earlier moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `d`.
    #[must_use]
    pub fn after(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl From<Time> for Timestamp {
    fn from(t: Time) -> Timestamp {
        Timestamp(t.millis().saturating_mul(1_000_000))
    }
}

/// Something that waits and wants to be looked at when a [`ManualClock`] moves.
pub trait Wake: Send + Sync {
    /// Called after the clock has moved. Must not block for long.
    fn wake(&self);
}

/// Where time comes from. All waiting goes through it, so a test can stop it and move it by hand.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current moment. Never goes back.
    fn now(&self) -> Timestamp;

    /// How long a waiter that wants to act at `until` may sleep on its own condition variable before
    /// it has to look again: the real distance for a wall clock, `None` (for ever, until
    /// [`Wake::wake`]) for a manual one.
    fn wait_hint(&self, until: Timestamp) -> Option<Duration>;

    /// Asks to be woken whenever the clock is moved by hand. A wall clock ignores it.
    fn on_move(&self, waiter: Weak<dyn Wake>);

    /// Whether time is moved by hand.
    fn is_manual(&self) -> bool {
        false
    }
}

/// The system's clock: wall time at creation, then monotonic. A wall clock that is set back or forward
/// while the process runs doesn't move batch times.
///
/// ```
/// use brooklet::time::{Clock, SystemClock};
/// let c = SystemClock::new();
/// assert!(c.now() <= c.now());
/// ```
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    wall: u64,
}

impl SystemClock {
    /// A clock that shows the current wall time.
    pub fn new() -> SystemClock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SystemClock {
            start: Instant::now(),
            wall: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall).after(self.start.elapsed())
    }

    fn wait_hint(&self, until: Timestamp) -> Option<Duration> {
        Some(until.since(self.now()))
    }

    fn on_move(&self, _: Weak<dyn Wake>) {}
}

/// A clock that stands still until it is moved.
///
/// ```
/// use brooklet::{Time, seconds};
/// use brooklet::time::{Clock, ManualClock};
/// let c = ManualClock::new(Time::ZERO);
/// c.advance(seconds(3));
/// assert_eq!(c.now().time(), Time::from_millis(3_000));
/// ```
#[derive(Default)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    waiters: Mutex<Vec<Weak<dyn Wake>>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Time) -> Arc<ManualClock> {
        let c = ManualClock::default();
        *lock(&c.now) = start.into();
        Arc::new(c)
    }

    /// Moves the clock by `d` and wakes whoever waits for it.
    pub fn advance(&self, d: Duration) {
        let to = self.now().after(d);
        self.set(to);
    }

    /// Moves the clock to `to`; an earlier moment than now is ignored.
    pub fn set(&self, to: impl Into<Timestamp>) {
        {
            let mut now = lock(&self.now);
            *now = (*now).max(to.into());
        }
        let waiters: Vec<_> = {
            let mut w = lock(&self.waiters);
            w.retain(|w| w.strong_count() > 0);
            w.iter().filter_map(Weak::upgrade).collect()
        };
        waiters.iter().for_each(|w| w.wake());
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    fn wait_hint(&self, until: Timestamp) -> Option<Duration> {
        (self.now() >= until).then_some(Duration::ZERO)
    }

    fn on_move(&self, waiter: Weak<dyn Wake>) {
        lock(&self.waiters).push(waiter);
    }

    fn is_manual(&self) -> bool {
        true
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// How much processor time this thread takes for something: for figures only, nothing is decided by it.
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Stopwatch::now())
    }

    /// Raises a maximum in nanoseconds.
    pub(crate) fn into_max(self, max: &AtomicU64) {
        max.fetch_max((Stopwatch::now() - self.0).as_nanos() as u64, Relaxed);
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    fn now() -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    /// By the system's clock, where that of the thread isn't known.
    #[cfg(any(not(target_os = "linux"), miri))]
    fn now() -> Duration {
        static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        FIRST.get_or_init(Instant::now).elapsed()
    }
}
