//! What the threads of one scheduler share: its settings, one mutex, three condition variables.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::generator::Lateness;
use super::input_info::InputInfoTracker;
use super::life_cycle::Stage;
use super::listener::BatchInfo;
use super::queue::BatchQueue;
use super::{BatchGraph, ListenerBus};
use crate::conf::{FailurePolicy, QueuePolicy};
use crate::metrics::StreamingMetrics;
use crate::sync::{Condvar, LockExt, Mutex, MutexGuard, wait};
use crate::time::{Clock, SystemClock, Timestamp, Wake};
use crate::{Error, Result, Time};

/// What the threads of one scheduler share.
pub(super) struct Core {
    pub(super) app: String,
    pub(super) interval: Duration,
    pub(super) jobs: usize,
    pub(super) limit: usize,
    pub(super) queue_policy: QueuePolicy,
    pub(super) failure_policy: FailurePolicy,
    pub(super) graph: Arc<dyn BatchGraph>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bus: Arc<ListenerBus>,
    pub(super) metrics: Arc<StreamingMetrics>,
    pub(super) inputs: InputInfoTracker,
    pub(super) state: Mutex<State>,
    /// Wakes the thread that waits for the tick: the clock moved, there is room, the mode changed.
    pub(super) tick: Condvar,
    /// Wakes idle threads.
    pub(super) work: Condvar,
    /// Wakes those who wait for an end: of the start, of a batch while stopping, of threads, of all.
    pub(super) done: Condvar,
}

pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) zero: Time,
    /// The next tick.
    pub(super) next: Time,
    /// Graceful stop: generate what is due at this moment, then only what is needed.
    pub(super) drain: Option<Timestamp>,
    /// No new ticks, and (parts of) the queue don't run.
    pub(super) halted: bool,
    /// A second stop asked for haste.
    pub(super) immediate: bool,
    pub(super) inputs_stopped: bool,
    /// Threads end when they find no work.
    pub(super) exit: bool,
    /// The stop went on without the threads that still run; they touch nothing more.
    pub(super) abandoned: bool,
    /// More batches may come.
    pub(super) generating: bool,
    /// A thread waits for the tick or makes a batch.
    pub(super) has_leader: bool,
    pub(super) late: Lateness,
    /// An idle thread wakes by itself soon after the next tick, and leads if nobody does.
    pub(super) deputy: bool,
    pub(super) generator_waits: bool,
    pub(super) workers: usize,
    pub(super) idle: usize,
    pub(super) queue: BatchQueue,
    pub(super) steps: bool,
    pub(super) records: VecDeque<Record>,
    pub(super) outputs: Vec<(Arc<str>, Arc<str>)>,
    pub(super) first_error: Option<Error>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) stopper: Option<JoinHandle<()>>,
}

/// What is known of a queued batch; parallel to the queue's slots.
pub(super) struct Record {
    pub(super) info: Arc<BatchInfo>,
    pub(super) input_error: Option<Error>,
}

impl State {
    pub(super) fn new() -> State {
        State {
            stage: Stage::New,
            zero: Time::ZERO,
            next: Time::ZERO,
            drain: None,
            halted: false,
            immediate: false,
            inputs_stopped: false,
            exit: false,
            abandoned: false,
            generating: false,
            has_leader: false,
            late: Lateness::default(),
            deputy: false,
            generator_waits: false,
            workers: 0,
            idle: 0,
            queue: BatchQueue::new(0, 1),
            steps: false,
            records: Default::default(),
            outputs: Vec::new(),
            first_error: None,
            threads: Vec::new(),
            stopper: None,
        }
    }
}

impl Wake for Core {
    fn wake(&self) {
        drop(self.state.get()); // a generator between its look and its wait is awaited here
        self.tick.notify_one();
    }
}

impl Core {
    pub(super) fn spawn_threads(self: &Arc<Self>, s: &mut State) -> Result<()> {
        for i in 0..=self.jobs {
            let core = self.clone();
            let name = format!("{}-job-{i}", self.app);
            s.threads.push(thread::Builder::new().name(name).spawn(move || core.run_thread())?);
            s.workers += 1;
        }
        s.generating = true;
        let wake: Weak<Core> = Arc::downgrade(self);
        self.clock.on_move(wake as Weak<dyn Wake>);
        Ok(())
    }

    /// The state, when no start is under way.
    pub(super) fn settled(&self) -> MutexGuard<'_, State> {
        self.wait_until(None, |s| s.stage != Stage::Starting)
    }

    /// Waits on `done` until the condition holds or the (real) time is over.
    pub(super) fn wait_until(
        &self,
        limit: Option<Duration>,
        holds: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let real = SystemClock::new();
        let deadline = limit.map(|l| real.now().after(l));
        let mut s = self.state.get();
        while !holds(&s) {
            let left = deadline.map(|d| d.since(real.now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            s = wait(&self.done, s, left);
        }
        s
    }
}
