//! The signals that end a receiver's run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::{Condvar, LockExt, Mutex, wait};
use crate::time::{Clock, Wake};

type Hook = Box<dyn FnOnce() + Send>;

/// Stop and restart requests of one receiver, and whoever waits for them.
pub(crate) struct Control {
    clock: Arc<dyn Clock>,
    /// The receiver is to stop for good.
    stopping: AtomicBool,
    /// It is to stop at once: what waits for room gives up.
    aborted: AtomicBool,
    /// The present run is to end (a restart was asked for).
    run_over: AtomicBool,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    hooks: Vec<Hook>,
    wakers: Vec<Waker>,
    listeners: Vec<Weak<dyn Wake>>,
}

impl Control {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Control> {
        let control = Arc::new(Control {
            clock,
            stopping: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            run_over: AtomicBool::new(false),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        });
        let weak: Weak<dyn Wake> = Arc::downgrade(&control) as Weak<dyn Wake>;
        control.clock.on_move(weak);
        control
    }

    /// Whether the receiver is to stop for good.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether nothing may wait any more.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Whether the present run is to end.
    pub(crate) fn is_run_over(&self) -> bool {
        self.run_over.load(Ordering::Acquire) || self.is_stopping()
    }

    /// Asks the receiver to stop; with `abort`, whatever waits for room gives up too.
    pub(crate) fn stop(&self, abort: bool) {
        self.stopping.store(true, Ordering::Release);
        if abort {
            self.aborted.store(true, Ordering::Release);
        }
        self.signal();
    }

    /// Asks the present run to end.
    pub(crate) fn end_run(&self) {
        self.run_over.store(true, Ordering::Release);
        self.signal();
    }

    /// Forgets the last run's request and hooks.
    pub(crate) fn begin_run(&self) {
        self.waiting.get().hooks.clear();
        self.run_over.store(false, Ordering::Release);
    }

    /// Has `hook` called once when the present run is to end; at once if that is so already.
    pub(crate) fn on_stop(&self, hook: Hook) {
        self.waiting.get().hooks.push(hook);
        if self.is_run_over() {
            self.signal();
        }
    }

    /// Has `listener` woken at every signal.
    pub(crate) fn listen(&self, listener: Weak<dyn Wake>) {
        self.waiting.get().listeners.push(listener);
    }

    /// Sleeps on the clock; `false` when `over` has ended it early.
    pub(crate) fn sleep(&self, d: Duration, over: impl Fn(&Control) -> bool) -> bool {
        let until = self.clock.now().after(d);
        let mut guard = self.waiting.get();
        loop {
            if over(self) {
                return false;
            }
            if self.clock.now() >= until {
                return true;
            }
            guard = wait(&self.changed, guard, self.clock.wait_hint(until));
        }
    }

    /// Ready when the present run is to end.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.get();
        if self.is_run_over() {
            return Poll::Ready(());
        }
        if !waiting.wakers.iter().any(|w| w.will_wake(cx.waker())) {
            waiting.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn signal(&self) {
        let (hooks, wakers, listeners) = {
            let mut w = self.waiting.get();
            (std::mem::take(&mut w.hooks), std::mem::take(&mut w.wakers), w.listeners.clone())
        };
        self.changed.notify_all();
        for hook in hooks {
            if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                tracing::warn!("a receiver's on_stop hook panicked");
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        listeners.iter().filter_map(Weak::upgrade).for_each(|l| l.wake());
    }
}

impl Wake for Control {
    fn wake(&self) {
        drop(self.waiting.get()); // whoever is between check and wait has to begin to wait first
        self.changed.notify_all();
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("stopping", &self.is_stopping())
            .field("aborted", &self.is_aborted())
            .field("run_over", &self.is_run_over())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;
    use crate::{Time, seconds};

    #[test]
    fn sleep_ends_by_the_clock_or_by_a_signal() {
        let clock = ManualClock::new(Time::ZERO);
        let control = Control::new(clock.clone());
        std::thread::scope(|s| {
            let sleeper = s.spawn(|| control.sleep(seconds(5), Control::is_run_over));
            while !sleeper.is_finished() {
                clock.advance(seconds(1));
                std::thread::yield_now();
            }
            assert!(sleeper.join().unwrap());
            let sleeper = s.spawn(|| control.sleep(seconds(5), Control::is_run_over));
            control.end_run();
            assert!(!sleeper.join().unwrap());
        });
        control.begin_run();
        assert!(!control.is_run_over());
    }

    #[test]
    fn a_hook_runs_once_and_at_once_when_it_is_late() {
        let control = Control::new(ManualClock::new(Time::ZERO));
        let ran = Arc::new(Mutex::new(Vec::new()));
        let hook = |n: u32| {
            let ran = Arc::clone(&ran);
            Box::new(move || ran.get().push(n))
        };
        control.on_stop(hook(1));
        control.begin_run();
        control.on_stop(hook(2));
        control.on_stop(Box::new(|| panic!("hook")));
        control.stop(false);
        control.stop(true);
        control.on_stop(hook(3));
        assert_eq!(*ran.get(), [2, 3]);
    }
}
