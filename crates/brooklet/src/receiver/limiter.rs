//! The rate limit of a receiver.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::sync::{Condvar, LockExt, Mutex, wait};
use crate::time::{Clock, Timestamp, Wake};

/// Seconds of permits that are saved while nobody takes any.
const SAVED_SECONDS: f64 = 1.0;
/// Whoever takes many permits waits for as many as come in this time, not for each.
const PIECE_SECONDS: f64 = 0.01;
/// Below this, a missing part of a permit is rounding.
const EPSILON: f64 = 1e-6;

/// A token bucket: permits come at the rate and parts of a permit are carried over, so that the count
/// over any long time is the rate. Up to one second's permits are saved.
pub(crate) struct Limiter {
    clock: Arc<dyn Clock>,
    max: Option<u64>,
    limited: AtomicBool,
    bucket: Mutex<Bucket>,
    changed: Condvar,
}

struct Bucket {
    /// Permits a second; infinite: no limit.
    rate: f64,
    permits: f64,
    at: Timestamp,
    interrupted: bool,
}

impl Limiter {
    /// A limiter that never goes above `max` records a second. It begins there, with no permits saved.
    pub(crate) fn new(clock: Arc<dyn Clock>, max: Option<u64>) -> Arc<Limiter> {
        let rate = max.map_or(f64::INFINITY, |r| r as f64);
        let limiter = Arc::new(Limiter {
            max,
            limited: AtomicBool::new(max.is_some()),
            bucket: Mutex::new(Bucket { rate, permits: 0.0, at: clock.now(), interrupted: false }),
            changed: Condvar::new(),
            clock,
        });
        let weak: Weak<dyn Wake> = Arc::downgrade(&limiter) as Weak<dyn Wake>;
        limiter.clock.on_move(weak);
        limiter
    }

    /// Sets the rate to `rate` records a second, or to the maximum if that is less. Zero and below
    /// change nothing.
    pub(crate) fn set_rate(&self, rate: i64) {
        let Ok(rate @ 1..) = u64::try_from(rate) else {
            return;
        };
        let mut b = self.bucket.get();
        b.refill(self.clock.now());
        b.rate = self.max.map_or(rate, |max| rate.min(max)) as f64;
        b.permits = b.permits.min(b.rate * SAVED_SECONDS);
        self.limited.store(true, Ordering::Release);
        drop(b);
        self.changed.notify_all();
    }

    /// The rate in records a second; `None` is no limit.
    pub(crate) fn rate(&self) -> Option<u64> {
        let rate = self.bucket.get().rate;
        rate.is_finite().then_some(rate as u64)
    }

    /// Takes from 1 to `n` permits, as many as there are; waits for the first. `None`: interrupted.
    pub(crate) fn acquire(&self, n: usize) -> Option<usize> {
        if n == 0 || !self.limited.load(Ordering::Acquire) {
            return Some(n);
        }
        let mut b = self.bucket.get();
        loop {
            if b.interrupted {
                return None;
            }
            let now = self.clock.now();
            b.refill(now);
            let want = (n as f64).min((b.rate * PIECE_SECONDS).floor().max(1.0));
            if b.permits + EPSILON >= want {
                let taken = ((b.permits + EPSILON).floor() as usize).min(n);
                b.permits = (b.permits - taken as f64).max(0.0);
                return Some(taken);
            }
            let nanos = ((want - b.permits) / b.rate * 1e9).ceil().max(1.0);
            let until = now.after(std::time::Duration::from_nanos(nanos as u64));
            b = wait(&self.changed, b, self.clock.wait_hint(until));
        }
    }

    /// Ends all waiting, now and from now on.
    pub(crate) fn interrupt(&self) {
        self.bucket.get().interrupted = true;
        self.changed.notify_all();
    }
}

impl Bucket {
    fn refill(&mut self, now: Timestamp) {
        if self.rate.is_finite() {
            let came = now.since(self.at).as_secs_f64() * self.rate;
            self.permits = (self.permits + came).min((self.rate * SAVED_SECONDS).max(1.0));
        }
        self.at = self.at.max(now);
    }
}

impl Wake for Limiter {
    fn wake(&self) {
        drop(self.bucket.get());
        self.changed.notify_all();
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;
    use crate::{Time, millis, seconds};

    /// Everything that can be taken without waiting.
    fn take_all(l: &Limiter) -> usize {
        let mut b = l.bucket.get();
        b.refill(l.clock.now());
        let n = (b.permits + EPSILON).floor();
        b.permits -= n;
        n as usize
    }

    #[test]
    fn parts_of_a_permit_are_carried_over() {
        let clock = ManualClock::new(Time::ZERO);
        let l = Limiter::new(clock.clone(), Some(3));
        let mut n = 0;
        for _ in 0..100 {
            clock.advance(millis(100));
            n += take_all(&l);
        }
        assert_eq!(n, 30);
    }

    #[test]
    fn at_most_one_second_is_saved() {
        let clock = ManualClock::new(Time::ZERO);
        let l = Limiter::new(clock.clone(), Some(100));
        assert_eq!(take_all(&l), 0);
        clock.advance(seconds(10));
        assert_eq!(l.acquire(1_000), Some(100));
    }

    #[test]
    fn the_rate_is_the_lesser_of_new_and_maximum_and_zero_is_ignored() {
        let clock = ManualClock::new(Time::ZERO);
        let l = Limiter::new(clock.clone(), Some(50));
        l.set_rate(0);
        l.set_rate(-7);
        assert_eq!(l.rate(), Some(50));
        l.set_rate(80);
        assert_eq!(l.rate(), Some(50));
        l.set_rate(20);
        assert_eq!(l.rate(), Some(20));
        let free = Limiter::new(clock, None);
        assert_eq!((free.rate(), free.acquire(1 << 30)), (None, Some(1 << 30)));
        free.set_rate(7);
        assert_eq!(free.rate(), Some(7));
    }

    #[test]
    fn a_waiter_goes_on_with_the_clock_and_gives_up_at_an_interrupt() {
        let clock = ManualClock::new(Time::ZERO);
        let l = Limiter::new(clock.clone(), Some(1));
        std::thread::scope(|s| {
            let waiter = s.spawn(|| l.acquire(1));
            clock.advance(seconds(1));
            assert_eq!(waiter.join().unwrap(), Some(1));
            let waiter = s.spawn(|| l.acquire(1));
            l.interrupt();
            assert_eq!(waiter.join().unwrap(), None);
        });
    }
}
