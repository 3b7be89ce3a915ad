//! The stop: graceful, at once, or for a failure. See the drawing in `life_cycle`.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::life_cycle::Stage;
use super::queue::Batch;
use super::shared::{Core, State};
use super::{BatchGraph, guarded};
use crate::conf::defaults;
use crate::sync::LockExt;
use crate::time::{Clock, SystemClock, Timestamp, format_duration};
use crate::{Error, Result, Time};

impl Core {
    pub(super) fn stop(self: &Arc<Self>, graceful: Option<Duration>) -> Result<()> {
        if self.bus.is_listener_thread() {
            return Err(Error::usage(
                "`stop` was called from a listener, whose events the stop has to wait for: call it from \
                 another thread",
            ));
        }
        let mut s = if self.is_inside() { self.state.get() } else { self.settled() };
        match s.stage {
            Stage::New => {
                s.stage = Stage::Stopped;
                drop(s);
                self.done.notify_all();
                self.bus.stop(defaults::STOP_WAIT);
                return Ok(());
            }
            Stage::Starting => return Ok(()), // only a job could be here, and there is none yet
            Stage::Running => s.stage = Stage::Stopping,
            Stage::Stopping | Stage::Stopped => {
                s.immediate = true;
                drop(s);
                self.done.notify_all();
                if !self.is_inside() {
                    let mut s = self.wait_until(None, |s| s.stage == Stage::Stopped);
                    let stopper = s.stopper.take();
                    drop(s);
                    drop(stopper.map(thread::JoinHandle::join));
                }
                return Ok(());
            }
        }
        if self.is_inside() {
            self.spawn_stopper(&mut s, move |core| core.shut_down(Some(graceful)));
            return Ok(());
        }
        drop(s);
        self.shut_down(Some(graceful))
    }

    /// Stops from a thread of its own.
    pub(super) fn spawn_stopper(
        self: &Arc<Self>,
        s: &mut State,
        f: impl FnOnce(&Arc<Core>) -> Result<()> + Send + 'static,
    ) {
        let core = self.clone();
        let name = format!("{}-stopper", self.app);
        let stopper = thread::Builder::new().name(name).spawn(move || {
            if let Err(e) = f(&core) {
                tracing::error!(app = core.app, "{e}");
            }
        });
        match stopper {
            Ok(t) => s.stopper = Some(t),
            Err(e) => {
                // Nobody can do the rest: waiters are released with the error.
                tracing::error!(app = self.app, "no thread for the stop: {e}");
                s.first_error.get_or_insert(e.into());
                s.exit = true;
                s.stage = Stage::Stopped;
                self.halt(s, 0);
            }
        }
    }

    /// The stop itself; once per scheduler. `None`: for a failure; else the user's wish, with the limit of
    /// a graceful one.
    pub(super) fn shut_down(self: &Arc<Self>, wish: Option<Option<Duration>>) -> Result<()> {
        let mut problem = None;
        match wish {
            Some(Some(limit)) => {
                tracing::info!(app = self.app, "stopping gracefully");
                if !self.finish(limit) {
                    problem = Some(self.unfinished(limit));
                }
            }
            Some(None) => tracing::info!(app = self.app, "stopping"),
            None => {}
        }
        if wish != Some(None) {
            let failed = self.state.get().first_error.is_some();
            if failed {
                self.cancel_running(|s, b| s.queue.is_halted(b));
                let limit = Some(defaults::STOP_WAIT);
                drop(self.wait_until(limit, |s| s.immediate || s.queue.is_empty()));
            }
        }
        let mut s = self.state.get();
        self.halt(&mut s, 0);
        let receiving = !s.inputs_stopped;
        s.exit = true;
        drop(s);
        self.cancel_running(|_, _| true);
        if receiving {
            self.call("stop_inputs", |g| g.stop_inputs(false));
        }
        self.work.notify_all();
        let limit = Some(defaults::STOP_WAIT);
        let mut s = self.wait_until(limit, |s| s.workers == 0 && !s.generating);
        let threads = std::mem::take(&mut s.threads);
        if s.workers > 0 || s.generating {
            s.abandoned = true;
            problem = Some(self.hanging(&s));
        }
        let all_gone = !s.abandoned;
        drop(s);
        for t in threads {
            // What hangs is left behind; its thread ends when its work returns.
            if all_gone || t.is_finished() {
                drop(t.join());
            }
        }
        self.bus.stop(defaults::STOP_WAIT);
        self.call("stop_graph", |g| g.stop_graph());
        self.state.get().stage = Stage::Stopped;
        self.done.notify_all();
        tracing::info!(app = self.app, "stopped");
        problem.map_or(Ok(()), Err)
    }

    fn cancel_running(&self, which: impl Fn(&State, Batch) -> bool) {
        let s = self.state.get();
        let running = s.queue.running().into_iter().map(|r| r.0);
        let mut times: Vec<Time> = running.filter(|b| which(&s, *b)).map(|b| b.time).collect();
        drop(s);
        times.dedup();
        for t in times {
            self.call("cancel", |g| g.cancel(t));
        }
    }

    /// The graceful part: inputs, what they left, all batches. `false` when the time was over first.
    fn finish(self: &Arc<Self>, limit: Duration) -> bool {
        let real = SystemClock::new();
        let deadline = real.now().after(limit);
        let left = |now: Timestamp| Some(deadline.since(now));
        let hasty = |s: &State| s.immediate || s.halted;
        let core = self.clone();
        let name = format!("{}-stop-inputs", self.app);
        let stopping = thread::Builder::new().name(name).spawn(move || {
            core.call("stop_inputs", |g| g.stop_inputs(true));
            core.state.get().inputs_stopped = true;
            core.done.notify_all();
        });
        if let Err(e) = &stopping {
            tracing::error!(app = self.app, "no thread for the inputs' stop: {e}");
            self.call("stop_inputs", |g| g.stop_inputs(true));
            self.state.get().inputs_stopped = true;
        }
        let mut s = self.wait_until(left(real.now()), |s| s.inputs_stopped || hasty(s));
        if !s.inputs_stopped {
            return hasty(&s);
        }
        s.drain = Some(self.clock.now());
        drop(s);
        self.tick.notify_all();
        self.work.notify_all();
        drop(stopping.map(thread::JoinHandle::join));
        let over = |s: &State| !s.generating && s.queue.is_empty();
        let s = self.wait_until(left(real.now()), |s| over(s) || hasty(s));
        over(&s) || hasty(&s)
    }

    fn call(&self, what: &str, f: impl FnOnce(&dyn BatchGraph)) {
        let done = guarded(what, || {
            f(&*self.graph);
            Ok(())
        });
        if let Err(e) = done {
            tracing::error!(app = self.app, "{e}");
        }
    }

    /// The error of a graceful stop that ran out of time.
    fn unfinished(&self, limit: Duration) -> Error {
        let s = self.state.get();
        let what = match s.queue.running().first() {
            _ if !s.inputs_stopped => "the inputs had not stopped".to_owned(),
            None if s.queue.is_empty() => "received input was not yet in a batch".to_owned(),
            None => format!("{} batches were waiting", s.queue.len()),
            Some((b, k)) => format!(
                "{} batches were not done, the first in {} of batch {}",
                s.queue.len(),
                Core::name_of(&s, *k),
                b.time
            ),
        };
        let text = format!("graceful stop: after {} {what}; cancelled", format_duration(limit));
        tracing::warn!(app = self.app, "{text}");
        Error::io(text, io::ErrorKind::TimedOut.into())
    }

    /// The error that names what didn't end; all of it goes to the log.
    fn hanging(&self, s: &State) -> Error {
        let wait = format_duration(defaults::STOP_WAIT);
        let text = format!("still runs {wait} after it was cancelled; its thread is left behind");
        let mut first = None;
        for (b, k) in s.queue.running() {
            let cause = Arc::new(Error::io(text.clone(), io::ErrorKind::TimedOut.into()));
            let e = Error::Batch { time: b.time, operation: Core::name_of(s, k), cause };
            tracing::error!(app = self.app, "{e}");
            first.get_or_insert(e);
        }
        let what = if s.generating { "allocation of input" } else { "clean-up of a batch" };
        first.unwrap_or_else(|| Error::io(format!("{what} {text}"), io::ErrorKind::TimedOut.into()))
    }
}
