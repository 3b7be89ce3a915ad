//! The driver's side of all receivers.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::block_tracker::{ReceivedBlockInfo, ReceivedBlockTracker, StreamBlocks, TrackerEvent};
use super::erased::ErasedReceiver;
use super::info::{ReceiverEvents, ReceiverInfo};
use super::runtime::IoRuntime;
use super::supervisor::{BlockReport, Supervisor, SupervisorSetup, public_stream};
use crate::block::{BlockId, BlockStore, StorageLevel};
use crate::engine::panic_text;
use crate::sync::{LockExt, Mutex};
use crate::{Conf, Error, Result, Time, defaults};

/// Starts and stops receivers, knows their blocks, and gives them to batches.
pub struct ReceiverTracker {
    conf: Conf,
    block_interval: Duration,
    store: Arc<BlockStore>,
    events: Arc<dyn ReceiverEvents>,
    blocks: Arc<Blocks>,
    io: Arc<IoRuntime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Added, not yet started.
    added: Vec<(u32, Box<dyn ErasedReceiver>, StorageLevel)>,
    running: BTreeMap<u32, Running>,
    stopped: bool,
}

struct Running {
    supervisor: Arc<Supervisor>,
    thread: Option<JoinHandle<()>>,
}

/// The blocks of a batch, of every receiver stream, also of those without any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// The batch.
    pub time: Time,
    /// Blocks by stream, in the order in which they were stored.
    pub blocks: StreamBlocks,
}

impl Allocation {
    /// Records of a stream in the batch.
    pub fn records(&self, stream: u32) -> u64 {
        self.blocks.get(&stream).into_iter().flatten().map(|b| b.records).sum()
    }
}

/// The part that receivers report to.
#[derive(Default)]
struct Blocks(Mutex<ReceivedBlockTracker>);

impl BlockReport for Blocks {
    fn add_block(&self, info: ReceivedBlockInfo) -> Result<()> {
        self.0.get().apply(&TrackerEvent::BlockAdded(info))
    }
}

impl ReceiverTracker {
    /// A tracker for receivers whose blocks go to `store`; `block_interval` is how often they are cut.
    pub fn new(
        conf: &Conf,
        block_interval: Duration,
        store: Arc<BlockStore>,
        events: Arc<dyn ReceiverEvents>,
    ) -> ReceiverTracker {
        ReceiverTracker {
            io: IoRuntime::new(&conf.app_name),
            conf: conf.clone(),
            block_interval,
            store,
            events,
            blocks: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// Adds a receiver for a stream, to be started by [`ReceiverTracker::start`].
    ///
    /// # Errors
    /// [`Error::Usage`] for a stream that has one, or a storage level that keeps nothing.
    pub fn add(
        &self,
        stream: u32,
        receiver: Box<dyn ErasedReceiver>,
        level: StorageLevel,
    ) -> Result<()> {
        if !level.is_valid() {
            return Err(Error::usage(format!(
                "receiver `{}`: storage level {level} keeps nothing; choose one with memory or disk",
                receiver.name()
            )));
        }
        let mut state = self.state.get();
        if state.running.contains_key(&stream) || state.added.iter().any(|a| a.0 == stream) {
            return Err(Error::usage(format!("stream {stream} has a receiver already")));
        }
        state.added.push((stream, receiver, level));
        Ok(())
    }

    /// The runtime for I/O.
    #[cfg(feature = "http")]
    pub(crate) fn io(&self) -> &IoRuntime {
        &self.io
    }

    /// Starts every receiver that was added, each on a thread of its own.
    ///
    /// # Errors
    /// What a receiver's `prepare` says, before any is started; [`Error::Io`] when a thread can't be
    /// started, [`Error::State`] after a stop. Receivers started before go on; call
    /// [`ReceiverTracker::stop`].
    pub fn start(&self) -> Result<()> {
        let mut state = self.state.get();
        if state.stopped {
            return Err(Error::State {
                call: "ReceiverTracker::start",
                state: "stopped",
                help: "make a new context",
            });
        }
        for (_, receiver, _) in &mut state.added {
            prepare(&mut **receiver)?;
        }
        for (stream, mut receiver, level) in std::mem::take(&mut state.added) {
            let setup = SupervisorSetup {
                conf: self.conf.clone(),
                block_interval: self.block_interval,
                store: Arc::clone(&self.store),
                report: Arc::clone(&self.blocks) as Arc<dyn BlockReport>,
                events: Arc::clone(&self.events),
            };
            let first_seq = self.blocks.0.get().next_seq(stream);
            let supervisor = Supervisor::new(setup, stream, receiver.name(), level, first_seq);
            let name = format!("{}-receiver-{}", self.conf.app_name, public_stream(stream));
            let (inside, io) = (Arc::clone(&supervisor), Arc::clone(&self.io));
            let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
                let _finish = FinishOnDrop(&inside);
                receiver.supervise(&inside, &io, &name);
            });
            let thread = match spawned {
                Ok(thread) => Some(thread),
                Err(e) => {
                    supervisor.finish();
                    return Err(Error::io(format!("starting the thread of receiver {stream}"), e));
                }
            };
            state.running.insert(stream, Running { supervisor, thread });
        }
        Ok(())
    }

    /// Gives all blocks that wait to the batch `time`, or none of them with `merge_empty` (they stay for
    /// a later batch). A batch that has its blocks, and a time before the last one, are answered from
    /// what was given before.
    ///
    /// # Errors
    /// [`Error::Bug`] if a block would belong to two batches.
    pub fn allocate(&self, time: Time, merge_empty: bool) -> Result<Allocation> {
        let streams: Vec<u32> = {
            let state = self.state.get();
            state.running.keys().copied().chain(state.added.iter().map(|a| a.0)).collect()
        };
        let mut tracker = self.blocks.0.get();
        let event = if merge_empty {
            tracker.propose_empty(time)
        } else {
            tracker.propose_allocation(time)
        };
        if let Some(event) = event {
            tracker.apply(&event)?;
        }
        let mut blocks = tracker.batch(time).cloned().unwrap_or_default();
        for stream in streams {
            blocks.entry(stream).or_default();
        }
        Ok(Allocation { time, blocks })
    }

    /// The blocks of a stream in a batch.
    pub fn blocks_of(&self, time: Time, stream: u32) -> Vec<ReceivedBlockInfo> {
        self.blocks.0.get().blocks_of(time, stream).to_vec()
    }

    /// Whether blocks wait for a batch.
    pub fn has_unallocated(&self) -> bool {
        self.blocks.0.get().has_unallocated()
    }

    /// Forgets the batches before `before` and removes their blocks; receivers that wait for room go on.
    ///
    /// # Errors
    /// None at present.
    pub fn release(&self, before: Time) -> Result<()> {
        let ids: Vec<BlockId> = {
            let mut tracker = self.blocks.0.get();
            let Some(event) = tracker.propose_clean_up(before) else {
                return Ok(());
            };
            let ids = tracker.blocks_before(before).map(ReceivedBlockInfo::id).collect();
            tracker.apply(&event)?;
            ids
        };
        for id in ids {
            self.store.remove(id);
        }
        Ok(())
    }

    /// Sets the rate limit of a stream's receiver, in records a second; zero and below are ignored, and
    /// `receiver_max_rate` stays the upper limit.
    pub fn update_rate(&self, stream: u32, rate: i64) {
        if let Some(r) = self.state.get().running.get(&stream) {
            r.supervisor.limiter().set_rate(rate);
        }
    }

    /// The rate limit of a stream's receiver, if it has one.
    pub fn rate(&self, stream: u32) -> Option<u64> {
        self.state.get().running.get(&stream).and_then(|r| r.supervisor.limiter().rate())
    }

    /// The number of receivers.
    pub fn num_receivers(&self) -> usize {
        let state = self.state.get();
        state.running.len() + state.added.len()
    }

    /// Whether any receiver's code or its pushing still goes on.
    pub fn is_receiving(&self) -> bool {
        let running = self.supervisors();
        running.iter().any(|s| !s.wait_finished(Some(Duration::ZERO)))
    }

    /// What is known about each started receiver, by stream.
    pub fn infos(&self) -> Vec<ReceiverInfo> {
        self.supervisors().iter().map(|s| s.info()).collect()
    }

    /// The named counters of a receiver; see [`counters`](super::counters).
    pub fn counters(&self, stream: u32) -> BTreeMap<String, u64> {
        let state = self.state.get();
        state.running.get(&stream).map(|r| r.supervisor.counters().snapshot()).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn supervisors_stopping(&self) -> bool {
        self.supervisors().iter().all(|s| s.control().is_stopping())
    }

    fn supervisors(&self) -> Vec<Arc<Supervisor>> {
        self.state.get().running.values().map(|r| Arc::clone(&r.supervisor)).collect()
    }

    /// Stops all receivers and joins their threads.
    ///
    /// Graceful: waits without limit until every receiver's code has returned and everything that it
    /// gave is stored and known here; batches have to go on meanwhile, or receivers at their memory
    /// limit never get room. Not graceful: what finds no room is given up (and counted), and a receiver
    /// whose code doesn't return within [`defaults::STOP_WAIT`] is named in a warning and left behind.
    pub fn stop(&self, graceful: bool) {
        let supervisors = {
            let mut state = self.state.get();
            state.stopped = true;
            state.added.clear();
            state.running.values().map(|r| Arc::clone(&r.supervisor)).collect::<Vec<_>>()
        };
        for s in &supervisors {
            s.stop(!graceful);
        }
        for s in &supervisors {
            let limit = (!graceful).then_some(defaults::STOP_WAIT);
            let finished = s.wait_finished(limit);
            let thread =
                self.state.get().running.get_mut(&s.stream()).and_then(|r| r.thread.take());
            let Some(thread) = thread else { continue };
            if finished {
                if thread.join().is_err() {
                    tracing::error!(receiver = s.info().name, "a receiver's thread panicked");
                }
            } else {
                tracing::warn!(
                    receiver = s.info().name,
                    "the receiver's `run` doesn't return after a stop; its thread is left behind"
                );
            }
        }
    }
}

/// Has a receiver do what it does at the start; a panic becomes an error that names it.
fn prepare(receiver: &mut dyn ErasedReceiver) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| receiver.prepare())).unwrap_or_else(|panic| {
        let (name, text) = (receiver.name(), panic_text(&*panic));
        Err(Error::usage(format!("receiver `{name}` panicked in `prepare`: {text}")))
    })
}

/// Marks a receiver as stopped when its thread ends, also by a panic.
struct FinishOnDrop<'a>(&'a Supervisor);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Drop for ReceiverTracker {
    fn drop(&mut self) {
        self.stop(false);
    }
}

impl fmt::Debug for ReceiverTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverTracker").field("receivers", &self.infos()).finish_non_exhaustive()
    }
}
