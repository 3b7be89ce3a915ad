//! Cutting what a receiver gives into blocks.
//!
//! ```text
//! Initialized ─start─► Active ─stop─► StoppedAddingData ─► StoppedGeneratingBlocks ─► StoppedAll
//!                        │               timer joined,         queue pushed,
//!   add ──► pending ─cut─┴► queue ─push─► sink                 push thread joined
//!             tick or 8 MiB   10 blocks or 32 MiB
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::control::Control;
use super::counters::{ABANDONED_RECORDS, Counters};
use super::limiter::Limiter;
use super::pending::{Cut, Pending, Sealed};
use super::store::StoreError;
use crate::sync::{Condvar, LockExt, Mutex, MutexGuard, wait};
use crate::time::{Clock, Wake};
use crate::{Error, Result, Time, Wire};

/// Bytes that the queue holds at most (one block it always takes).
const QUEUE_BYTES: usize = 32 << 20;
/// Pause before a block that couldn't be stored is tried again.
pub(super) const PUSH_RETRY: Duration = Duration::from_secs(1);

/// Where a generator is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum GeneratorState {
    Initialized,
    Active,
    StoppedAddingData,
    StoppedGeneratingBlocks,
    StoppedAll,
}

/// Where finished blocks go.
pub(crate) trait BlockSink: Send + Sync {
    /// The number of the next block.
    fn next_seq(&self) -> u64;
    /// Stores a block and reports it to the driver; waits for room. May be called again with the same
    /// number after an error.
    fn push(&self, seq: u64, block: &Sealed) -> Result<(), StoreError>;
    /// Tells that a push failed and will be tried again.
    fn push_failed(&self, error: &StoreError);
}

/// What a generator needs from around it.
pub(crate) struct GeneratorSetup {
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) block_interval: Duration,
    pub(crate) queue_size: usize,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) control: Arc<Control>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sink: Arc<dyn BlockSink>,
}

/// Buffers records, cuts them into blocks on the clock's grid and pushes the blocks.
pub(crate) struct BlockGenerator<T: Wire> {
    shared: Arc<Shared<T>>,
    timer: Mutex<Option<JoinHandle<()>>>,
    pusher: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<T> {
    setup: GeneratorSetup,
    core: Mutex<Core<T>>,
    /// For the timer: clock and state.
    tick: Condvar,
    /// For whoever cuts: the queue has room, or the state changed.
    room: Condvar,
    /// For the push thread: the queue has a block, or the state changed.
    ready: Condvar,
}

struct Core<T> {
    state: GeneratorState,
    pending: Pending<T>,
    queue: VecDeque<(Cut<T>, Time)>,
    queued_bytes: usize,
    /// When the timer cuts next.
    tick: Time,
}

impl<T: Wire> BlockGenerator<T> {
    pub(crate) fn new(setup: GeneratorSetup) -> BlockGenerator<T> {
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                state: GeneratorState::Initialized,
                pending: Pending::new(),
                queue: VecDeque::new(),
                queued_bytes: 0,
                tick: Time::ZERO,
            }),
            tick: Condvar::new(),
            room: Condvar::new(),
            ready: Condvar::new(),
            setup,
        });
        let weak: Weak<dyn Wake> = Arc::downgrade(&shared) as Weak<dyn Wake>;
        shared.setup.clock.on_move(Weak::clone(&weak));
        shared.setup.control.listen(weak);
        BlockGenerator { shared, timer: Mutex::default(), pusher: Mutex::default() }
    }

    /// Starts timer and push thread; only from `Initialized`.
    pub(crate) fn start(&self) -> Result<()> {
        let mut core = self.shared.core.get();
        if core.state != GeneratorState::Initialized {
            return Err(Error::State {
                call: "BlockGenerator::start",
                state: core.state.name(),
                help: "a generator is started once",
            });
        }
        core.tick = self.block_time() + self.shared.setup.block_interval;
        let spawn = |what: &str, run: fn(&Shared<T>)| {
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new()
                .name(format!("{}-{what}", self.shared.setup.name))
                .spawn(move || run(&shared))
                .map_err(|e| Error::io(format!("starting a {what} thread"), e))
        };
        let timer = spawn("timer", Shared::run_timer)?;
        match spawn("push", Shared::run_pusher) {
            Ok(pusher) => *self.pusher.get() = Some(pusher),
            Err(e) => {
                core.state = GeneratorState::StoppedAll;
                drop(core);
                let _ = timer.join();
                return Err(e);
            }
        }
        *self.timer.get() = Some(timer);
        core.state = GeneratorState::Active;
        Ok(())
    }

    /// Adds one record; waits for the rate limit and for room.
    pub(crate) fn add(&self, item: T) -> Result<(), StoreError> {
        if self.shared.setup.control.is_stopping() {
            return Err(StoreError::Stopped);
        }
        self.shared.setup.limiter.acquire(1).ok_or(StoreError::Stopped)?;
        let mut core = self.shared.room_for(|p| p.full_for_item())?;
        core.pending.push(item);
        Ok(())
    }

    /// Adds all items as the rate limit allows, many under one lock; waits for room. During a stop there
    /// is no limit: what was received is kept.
    pub(crate) fn add_all(&self, items: &mut Vec<T>) -> Result<(), StoreError> {
        let mut items = items.drain(..);
        while items.len() > 0 {
            let mut permits = self.limiter().acquire(items.len()).unwrap_or(items.len());
            while permits > 0 {
                let mut core = self.shared.room_for(|p| p.full_for_item())?;
                while permits > 0 && !core.pending.full_for_item() {
                    items.next().into_iter().for_each(|item| core.pending.push(item));
                    permits -= 1;
                }
            }
        }
        Ok(())
    }

    /// Adds `lines` whole lines of text, without the rate limit; waits for room.
    pub(crate) fn add_text(&self, text: &[u8], lines: usize) -> Result<(), StoreError> {
        let mut core = self.shared.room_for(|p| p.full_for_text(text.len()))?;
        core.pending.push_text(text, lines);
        Ok(())
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.shared.setup.limiter
    }

    /// The begin of the block interval that the clock is in.
    pub(crate) fn block_time(&self) -> Time {
        self.shared.block_time()
    }

    pub(crate) fn state(&self) -> GeneratorState {
        self.shared.core.get().state
    }

    /// Stops in three steps and pushes everything that was added, the unfinished block too. Waits
    /// until that is done, or until the control's abort. Does nothing unless `Active`.
    pub(crate) fn stop(&self) {
        let s = &*self.shared;
        {
            let mut core = s.core.get();
            if core.state != GeneratorState::Active {
                tracing::warn!(state = core.state.name(), "stop of a generator that isn't active");
                return;
            }
            core.state = GeneratorState::StoppedAddingData;
        }
        s.wake();
        join(&self.timer);
        {
            let mut core = s.core.get();
            while !core.has_room(s.setup.queue_size) && !s.setup.control.is_aborted() {
                core = wait(&s.room, core, None);
            }
            let time = s.block_time();
            core.cut(time);
            core.state = GeneratorState::StoppedGeneratingBlocks;
        }
        s.wake();
        join(&self.pusher);
        let mut core = s.core.get();
        core.state = GeneratorState::StoppedAll;
        core.queue.clear();
        core.queued_bytes = 0;
    }
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    if let Some(handle) = thread.get().take()
        && handle.join().is_err()
    {
        tracing::error!("a block generator's thread panicked");
    }
}

impl<T> Core<T>
where
    T: Wire,
{
    fn has_room(&self, blocks: usize) -> bool {
        let bytes = self.queued_bytes + self.pending.bytes();
        self.queue.is_empty() || (self.queue.len() < blocks && bytes <= QUEUE_BYTES)
    }

    fn cut(&mut self, time: Time) {
        if let Some(cut) = self.pending.cut() {
            self.queued_bytes += cut.bytes();
            self.queue.push_back((cut, time));
        }
    }
}

impl<T: Wire> Shared<T> {
    fn block_time(&self) -> Time {
        self.setup.clock.now().time().floor(self.setup.block_interval)
    }

    /// Cuts the pending block if it is `full` and waits until the queue can take it.
    fn room_for(
        &self,
        full: impl Fn(&Pending<T>) -> bool,
    ) -> Result<MutexGuard<'_, Core<T>>, StoreError> {
        let mut core = self.core.get();
        loop {
            if core.state != GeneratorState::Active || self.setup.control.is_aborted() {
                return Err(StoreError::Stopped);
            }
            if !full(&core.pending) {
                return Ok(core);
            }
            if core.has_room(self.setup.queue_size) {
                core.cut(self.block_time());
                self.ready.notify_one();
            } else {
                core = wait(&self.room, core, None);
            }
        }
    }

    /// Cuts at every tick of the grid. A tick that comes late cuts once for all that were missed.
    fn run_timer(&self) {
        let interval = self.setup.block_interval;
        let mut core = self.core.get();
        while core.state <= GeneratorState::Active {
            let tick = core.tick;
            if self.setup.clock.now() < tick.into() {
                core = wait(&self.tick, core, self.setup.clock.wait_hint(tick.into()));
            } else if !core.pending.is_empty() && !core.has_room(self.setup.queue_size) {
                core = wait(&self.room, core, None);
            } else {
                core.cut(tick - interval);
                self.ready.notify_one();
                core.tick = tick.max(self.block_time()) + interval;
            }
        }
    }

    /// Pushes blocks in order until the queue is empty and nothing comes any more.
    fn run_pusher(&self) {
        let control = &*self.setup.control;
        loop {
            let (cut, time) = {
                let mut core = self.core.get();
                loop {
                    if let Some((cut, time)) = core.queue.pop_front() {
                        core.queued_bytes -= cut.bytes();
                        self.room.notify_all();
                        break (cut, time);
                    }
                    if core.state >= GeneratorState::StoppedGeneratingBlocks {
                        return;
                    }
                    core = wait(&self.ready, core, None);
                }
            };
            let sealed = cut.seal(time, &self.setup.counters);
            let seq = self.setup.sink.next_seq();
            while let Err(e) = self.setup.sink.push(seq, &sealed) {
                if control.is_aborted() {
                    self.setup.counters.add(ABANDONED_RECORDS, sealed.block.records() as u64);
                    break;
                }
                self.setup.sink.push_failed(&e);
                control.sleep(PUSH_RETRY, Control::is_aborted);
            }
        }
    }
}

impl<T: Wire> Wake for Shared<T> {
    fn wake(&self) {
        drop(self.core.get());
        self.tick.notify_all();
        self.room.notify_all();
        self.ready.notify_all();
    }
}

impl GeneratorState {
    fn name(self) -> &'static str {
        match self {
            GeneratorState::Initialized => "initialized",
            GeneratorState::Active => "active",
            GeneratorState::StoppedAddingData => "stopped adding data",
            GeneratorState::StoppedGeneratingBlocks => "stopped generating blocks",
            GeneratorState::StoppedAll => "stopped",
        }
    }
}

impl<T: Wire> fmt::Debug for BlockGenerator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockGenerator").field("state", &self.state()).finish_non_exhaustive()
    }
}
