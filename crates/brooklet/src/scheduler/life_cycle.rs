//! Start, stop, and waiting for the end.
//!
//! ```text
//! New ── start ──► Starting ──► Running ── stop, failure ──► Stopping ──► Stopped
//!  └───────────────── stop ────────────────────────────────────────────────►┘
//! graceful: stop inputs (wait) ► generate what is left ► wait for batches ┐
//! failure:  halt ► siblings of the failed output, 2 s ────────────────────┤
//! stop:     halt ─────────────────────────────────────────────────────────┴► cancel what runs, wait 2 s
//!           ► threads ► listeners have heard all ► stop graph
//! ```
//! Limits of a stop are real time, whatever the stream's clock is: a manual clock doesn't run out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::queue::BatchQueue;
use super::shared::{Core, State};
use super::{BatchGraph, Event, ListenerBus, guarded};
use crate::conf::defaults;
use crate::metrics::StreamingMetrics;
use crate::sync::{Condvar, LockExt, Mutex};
use crate::time::Clock;
use crate::{Conf, Error, Result, Time};

/// Where a scheduler is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    New,
    Starting,
    Running,
    Stopping,
    Stopped,
}

/// Drives a [`BatchGraph`] by the clock. Dropping it stops it at once.
pub(crate) struct Scheduler {
    core: Arc<Core>,
}

impl Scheduler {
    /// A scheduler that isn't started. Listeners may be added already.
    pub(crate) fn new(
        conf: &Conf,
        interval: Duration,
        graph: Arc<dyn BatchGraph>,
        clock: Arc<dyn Clock>,
        app: &str,
    ) -> Arc<Scheduler> {
        let metrics = Arc::new(StreamingMetrics::retaining(conf.retained_batches));
        let core = Arc::new(Core {
            app: app.into(),
            interval,
            jobs: conf.concurrent_jobs.max(1),
            limit: conf.max_queued_batches.max(1),
            queue_policy: conf.queue_policy,
            failure_policy: conf.failure_policy,
            graph,
            clock,
            bus: ListenerBus::new(app, metrics.dropped_events()),
            metrics,
            inputs: Default::default(),
            state: Mutex::new(State::new()),
            tick: Condvar::new(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        Arc::new(Scheduler { core })
    }

    /// Starts the threads and returns the zero time: one interval before the first batch, which is at the
    /// next multiple of the interval. A second call warns and changes nothing.
    ///
    /// # Errors
    /// [`Error::State`] after a stop; what [`BatchGraph::begin`] returns; a thread that can't be made.
    pub(crate) fn start(&self) -> Result<Time> {
        let core = &self.core;
        let mut s = core.settled();
        match s.stage {
            Stage::New => s.stage = Stage::Starting,
            Stage::Starting | Stage::Running => {
                tracing::warn!(app = core.app, "the stream is already started");
                return Ok(s.zero);
            }
            Stage::Stopping | Stage::Stopped => {
                let help = "make a new one";
                return Err(Error::State { call: "start", state: "stopped", help });
            }
        }
        let zero = core.clock.now().time().floor(core.interval);
        s.zero = zero;
        s.next = zero + core.interval;
        drop(s);
        let begun = guarded("begin", || {
            core.graph.begin(zero)?;
            Ok((core.graph.outputs(), core.graph.has_steps()))
        });
        let mut s = core.state.get();
        let begun = begun.and_then(|(outputs, steps)| {
            if let Some(e) = &s.first_error {
                return Err(e.clone()); // something failed that `begin` had started
            }
            s.queue = BatchQueue::new(outputs.len(), core.jobs);
            s.steps = steps;
            let texts = outputs.into_iter().map(|o| (o.name.into(), o.description.into()));
            s.outputs = texts.collect();
            core.spawn_threads(&mut s)
        });
        match begun {
            Ok(()) => {
                // The generator is held by the lock until here: no event comes before the first.
                s.stage = Stage::Running;
                core.done.notify_all();
                let at = core.clock.now();
                core.bus.post(|| Event::StreamingStarted(at));
                tracing::info!(app = core.app, zero = zero.millis(), "started");
                Ok(zero)
            }
            Err(e) => {
                core.halt(&mut s, 0);
                s.exit = true;
                let threads = std::mem::take(&mut s.threads);
                drop(s);
                threads.into_iter().for_each(|t| drop(t.join()));
                core.bus.stop(defaults::STOP_WAIT);
                core.state.get().stage = Stage::Stopped;
                core.done.notify_all();
                Err(e)
            }
        }
    }

    /// Stops. Graceful: everything received is processed first, within `timeout`; what isn't done then is
    /// cancelled. Not graceful: running work is cancelled and awaited for `defaults::STOP_WAIT`. A second
    /// call while one is under way makes that one immediate and returns when it is through. A call from
    /// inside a job only asks for the stop and returns.
    ///
    /// # Errors
    /// From a listener; when the time-out passed or something still runs (the stop is done all the same).
    pub(crate) fn stop(&self, graceful: bool, timeout: Duration) -> Result<()> {
        self.core.stop(graceful.then_some(timeout))
    }

    /// Waits for the stop, at most `timeout` long; `false` when that passed.
    ///
    /// # Errors
    /// The first error that stopped the stream, at every call.
    pub(crate) fn await_stopped(&self, timeout: Option<Duration>) -> Result<bool> {
        let s = self.core.wait_until(timeout, |s| s.stage == Stage::Stopped);
        match &s.first_error {
            Some(e) => Err(e.clone()),
            None => Ok(s.stage == Stage::Stopped),
        }
    }

    /// The error that stopped the stream, as soon as there is one.
    #[cfg(test)]
    pub(crate) fn first_error(&self) -> Option<Error> {
        self.core.state.get().first_error.clone()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.core.state.get().stage
    }

    pub(crate) fn listeners(&self) -> &Arc<ListenerBus> {
        &self.core.bus
    }

    pub(crate) fn metrics(&self) -> &Arc<StreamingMetrics> {
        &self.core.metrics
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let core = &self.core;
        if core.bus.is_listener_thread() {
            let mut s = core.state.get();
            if s.stage == Stage::Running {
                s.stage = Stage::Stopping;
                core.spawn_stopper(&mut s, |core| core.shut_down(Some(None)));
            }
        } else if let Err(e) = core.stop(None) {
            tracing::error!(app = core.app, "dropped without a stop: {e}");
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.core.state.get();
        f.debug_struct("Scheduler")
            .field("app", &self.core.app)
            .field("stage", &s.stage)
            .field("zero", &s.zero)
            .field("queued", &s.queue.len())
            .finish_non_exhaustive()
    }
}
