//! One receiver's life: run, restart, stop; and the way of its blocks into store and tracker.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::block_tracker::ReceivedBlockInfo;
use super::control::Control;
use super::counters::{self, Counters};
use super::generator::{BlockGenerator, BlockSink, GeneratorSetup};
use super::info::{ReceiverEvents, ReceiverInfo};
use super::limiter::Limiter;
use super::pending::Sealed;
use super::store::{Store, StoreError};
use crate::block::{BlockError, BlockId, BlockStore, Quota, StorageLevel};
use crate::sync::{Condvar, LockExt, Mutex};
use crate::time::Clock;
use crate::{BoxError, Conf, Error, Wire};

/// Where the driver hears of stored blocks.
pub(crate) trait BlockReport: Send + Sync {
    /// Registers a block. May be called again with the same block. An error: it isn't registered.
    fn add_block(&self, info: ReceivedBlockInfo) -> Result<(), Error>;
}

/// What a supervisor needs from around it.
#[derive(Clone)]
pub(crate) struct SupervisorSetup {
    pub(crate) conf: Conf,
    pub(crate) block_interval: Duration,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) report: Arc<dyn BlockReport>,
    pub(crate) events: Arc<dyn ReceiverEvents>,
}

/// Watches over one receiver.
pub(crate) struct Supervisor {
    setup: SupervisorSetup,
    stream: u32,
    clock: Arc<dyn Clock>,
    level: StorageLevel,
    control: Arc<Control>,
    limiter: Arc<Limiter>,
    counters: Arc<Counters>,
    info: Mutex<ReceiverInfo>,
    next_seq: AtomicU64,
    /// A number whose block found no room.
    spare_seq: Mutex<Option<u64>>,
    finished: Mutex<bool>,
    on_finish: Condvar,
}

/// A stream's number within the block store, which several streaming contexts may share: that of its graph
/// in the upper half.
pub(crate) fn internal_stream(graph: u32, stream: usize) -> u32 {
    graph << 16 | stream as u32
}

/// The number that users see: 0, 1 .. within a streaming context.
pub(crate) fn public_stream(stream: u32) -> u32 {
    stream & 0xFFFF
}

impl Supervisor {
    pub(crate) fn new(
        setup: SupervisorSetup,
        stream: u32,
        name: String,
        level: StorageLevel,
        first_seq: u64,
    ) -> Arc<Supervisor> {
        let clock = Arc::clone(&setup.conf.clock);
        Arc::new(Supervisor {
            level,
            control: Control::new(Arc::clone(&clock)),
            limiter: Limiter::new(Arc::clone(&clock), setup.conf.receiver_max_rate),
            counters: Arc::default(),
            info: Mutex::new(ReceiverInfo {
                stream_id: public_stream(stream) as usize,
                name,
                active: false,
                location: "localhost".into(),
                executor_id: "driver".into(),
                last_error_message: String::new(),
                last_error: String::new(),
                last_error_time: None,
            }),
            next_seq: AtomicU64::new(first_seq),
            spare_seq: Mutex::default(),
            finished: Mutex::new(false),
            on_finish: Condvar::new(),
            clock,
            setup,
            stream,
        })
    }

    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    pub(crate) fn info(&self) -> ReceiverInfo {
        self.info.get().clone()
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(crate) fn max_line_bytes(&self) -> usize {
        self.setup.conf.max_line_bytes
    }

    /// Asks the receiver to stop; with `abort`, nothing waits for room any more.
    pub(crate) fn stop(&self, abort: bool) {
        self.limiter.interrupt();
        self.control.stop(abort);
        self.setup.store.wake();
    }

    /// Waits until the receiver has stopped and everything is pushed. `false`: not within the limit.
    pub(crate) fn wait_finished(&self, limit: Option<Duration>) -> bool {
        let finished = self.finished.get();
        match limit {
            None => self.on_finish.wait_while(finished, |f| !*f).is_ok(),
            Some(limit) => self
                .on_finish
                .wait_timeout_while(finished, limit, |f| !*f)
                .is_ok_and(|(finished, _)| *finished),
        }
    }

    /// Marks the receiver as stopped: its thread does nothing more, or never started.
    pub(crate) fn finish(&self) {
        self.info.get().active = false;
        *self.finished.get() = true;
        self.on_finish.notify_all();
    }

    /// Tells of an error.
    pub(crate) fn report(&self, message: String, cause: String) {
        self.counters.add(counters::ERRORS, 1);
        let info = {
            let mut info = self.info.get();
            tracing::warn!(
                receiver = info.name,
                stream = info.stream_id,
                error = cause,
                "{message}"
            );
            info.last_error_message = message;
            info.last_error = cause;
            info.last_error_time = Some(self.clock.now());
            info.clone()
        };
        self.setup.events.error(info);
    }

    /// Runs a receiver until it ends or is stopped, then pushes what is left. The body of the
    /// receiver's thread.
    pub(crate) fn supervise<T: Wire>(
        self: &Arc<Self>,
        thread_name: &str,
        run: impl FnMut(&mut Store<T>) -> Result<(), BoxError>,
    ) {
        let sink = Arc::clone(self) as Arc<dyn BlockSink>;
        let generator = Arc::new(BlockGenerator::<T>::new(GeneratorSetup {
            name: thread_name.to_owned(),
            clock: Arc::clone(&self.clock),
            block_interval: self.setup.block_interval,
            queue_size: self.setup.conf.block_queue_size,
            limiter: Arc::clone(&self.limiter),
            control: Arc::clone(&self.control),
            counters: Arc::clone(&self.counters),
            sink,
        }));
        match generator.start() {
            Ok(()) => {
                self.run_until_stopped(
                    &mut Store::new(Arc::clone(self), Arc::clone(&generator)),
                    run,
                );
                generator.stop();
            }
            Err(e) => self.report("the block generator didn't start".into(), e.to_string()),
        }
        self.info.get().active = false;
        self.setup.events.stopped(self.info());
    }

    fn run_until_stopped<T: Wire>(
        &self,
        out: &mut Store<T>,
        mut run: impl FnMut(&mut Store<T>) -> Result<(), BoxError>,
    ) {
        while !self.control.is_stopping() {
            self.control.begin_run();
            self.info.get().active = true;
            self.setup.events.started(self.info());
            let result = catch_unwind(AssertUnwindSafe(|| run(out)));
            out.finish();
            let restart = out.take_restart();
            self.info.get().active = false;
            if self.control.is_stopping() {
                return;
            }
            let name = self.info.get().name.clone();
            match result {
                Ok(Ok(())) => match restart {
                    None => return,
                    Some(text) => {
                        self.report(text, format!("receiver `{name}` asked for a restart"))
                    }
                },
                Ok(Err(e)) => {
                    let text = restart.unwrap_or_else(|| format!("receiver `{name}` failed"));
                    self.report(text, e.to_string());
                }
                Err(panic) => {
                    self.report(format!("receiver `{name}` panicked"), panic_text(&*panic));
                }
            }
            self.counters.add(counters::RESTARTS, 1);
            self.control.sleep(self.setup.conf.receiver_restart_delay, Control::is_stopping);
        }
    }

    /// Stores the block; while the receiver's unprocessed data is at its limit it waits, or gives up.
    fn store_block(&self, id: BlockId, sealed: &Sealed, wait: bool) -> Result<(), StoreError> {
        let store = &*self.setup.store;
        let quota = Quota {
            memory: self.setup.conf.receiver_max_unprocessed_bytes,
            disk: self.setup.conf.receiver_max_spilled_bytes,
        };
        let mut blocked_since = None;
        let result = loop {
            let seen = store.epoch();
            let block = Arc::clone(&sealed.block);
            match store.put_within(id, block, sealed.decode, self.level, quota) {
                Ok(_) => break Ok(()),
                Err(BlockError::NoRoom { .. }) if !wait => break Err(StoreError::NoRoom),
                Err(BlockError::NoRoom { .. }) => {
                    if blocked_since.is_none() {
                        blocked_since = Some(self.clock.now());
                        self.counters.add(counters::BLOCKED_BLOCKS, 1);
                    }
                    if self.control.is_aborted() {
                        break Err(StoreError::Stopped);
                    }
                    store.wait_for_change(seen);
                }
                Err(e) => break Err(StoreError::Failed(e.into())),
            }
        };
        if let Some(since) = blocked_since {
            let nanos = self.clock.now().nanos().saturating_sub(since.nanos());
            self.counters.add(counters::BLOCKED_NANOS, nanos.max(1));
        }
        result
    }
}

impl Supervisor {
    /// Stores a block and tells the driver; without `wait`, [`StoreError::NoRoom`] says that there is none.
    pub(super) fn push_now(&self, sealed: &Sealed, wait: bool) -> Result<(), StoreError> {
        // The tracker remembers gaps between the numbers: a block that isn't stored must not leave one.
        let spare = self.spare_seq.get().take();
        let seq = spare.unwrap_or_else(|| self.next_seq());
        let pushed = self.push_block(seq, sealed, wait);
        if matches!(pushed, Err(StoreError::NoRoom)) {
            *self.spare_seq.get() = Some(seq);
        }
        pushed
    }

    fn push_block(&self, seq: u64, sealed: &Sealed, wait: bool) -> Result<(), StoreError> {
        let stream = self.stream();
        let id = BlockId::Received { stream, seq };
        self.store_block(id, sealed, wait)?;
        let info = ReceivedBlockInfo {
            stream,
            seq,
            records: sealed.block.records() as u64,
            bytes: sealed.block.memory() as u64,
            time: sealed.time,
            metadata: sealed.metadata.clone(),
        };
        let (records, bytes) = (info.records, info.bytes);
        if let Err(e) = self.setup.report.add_block(info) {
            self.setup.store.remove(id);
            return Err(StoreError::Failed(e));
        }
        self.counters.add(counters::BLOCKS, 1);
        self.counters.add(counters::RECORDS, records);
        self.counters.add(counters::BYTES, bytes);
        Ok(())
    }
}

impl BlockSink for Supervisor {
    fn next_seq(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    fn push(&self, seq: u64, sealed: &Sealed) -> Result<(), StoreError> {
        self.push_block(seq, sealed, true)
    }

    fn push_failed(&self, error: &StoreError) {
        self.report("a block couldn't be stored and will be tried again".into(), error.to_string());
    }
}

/// The text of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("info", &self.info()).finish_non_exhaustive()
    }
}
