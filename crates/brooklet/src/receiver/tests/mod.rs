//! Behaviour of receivers, on a clock moved by hand.

mod blocks;
mod generator;
mod life;
mod memory;
mod text;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::block::{BlockId, BlockStore, StorageLevel, records_of};
use crate::sync::{Condvar, LockExt, Mutex};
use crate::time::ManualClock;
use crate::{Conf, Data, Time, millis};

/// A test that waits this long has failed; nothing is decided by it.
const GUARD: Duration = Duration::from_secs(30);

/// What the receivers told, in order.
#[derive(Default)]
pub(super) struct Heard {
    log: Mutex<Vec<(&'static str, ReceiverInfo)>>,
    changed: Condvar,
}

impl Heard {
    fn add(&self, what: &'static str, info: ReceiverInfo) {
        self.log.get().push((what, info));
        self.changed.notify_all();
    }

    fn count(&self, what: &str) -> usize {
        self.log.get().iter().filter(|e| e.0 == what).count()
    }

    /// Waits until `what` was heard `n` times; gives the last one's info.
    fn wait_for(&self, what: &str, n: usize) -> ReceiverInfo {
        let (log, out) = self
            .changed
            .wait_timeout_while(self.log.get(), GUARD, |log| {
                log.iter().filter(|e| e.0 == what).count() < n
            })
            .unwrap();
        assert!(!out.timed_out(), "no {n} × {what} in {log:?}");
        log.iter().filter(|e| e.0 == what).nth(n - 1).unwrap().1.clone()
    }
}

impl ReceiverEvents for Heard {
    fn started(&self, info: ReceiverInfo) {
        self.add("started", info);
    }
    fn error(&self, info: ReceiverInfo) {
        self.add("error", info);
    }
    fn stopped(&self, info: ReceiverInfo) {
        self.add("stopped", info);
    }
}

/// A tracker with everything around it, block interval 200 ms.
pub(super) struct Rig {
    clock: Arc<ManualClock>,
    store: Arc<BlockStore>,
    heard: Arc<Heard>,
    tracker: ReceiverTracker,
    batch: u64,
}

impl Rig {
    fn new(conf: impl FnOnce(Conf) -> Conf) -> Rig {
        let clock = ManualClock::new(Time::ZERO);
        let conf = conf(Conf::new("rig").clock(clock.clone()));
        let store = BlockStore::new(conf.block_store_memory, None);
        let heard = Arc::new(Heard::default());
        let tracker = ReceiverTracker::new(&conf, millis(200), store.clone(), heard.clone());
        Rig { clock, store, heard, tracker, batch: 0 }
    }

    fn start(&self, receiver: impl Receiver) {
        self.tracker.add(0, erase(receiver), StorageLevel::MEMORY_AND_DISK_SER).unwrap();
        self.tracker.start().unwrap();
    }

    /// The records of the next batch of stream 0, in order.
    fn take<T: Data>(&mut self) -> Vec<T> {
        self.batch += 1;
        let time = Time::from_millis(self.batch);
        let mut all = Vec::new();
        for info in &self.tracker.allocate(time, false).unwrap().blocks[&0] {
            let block = self.store.get(info.id()).unwrap().unwrap();
            let before = all.len();
            let _ = records_of::<T>(&block).unwrap().chunks(&mut |chunk| {
                all.append(chunk);
                ControlFlow::Continue(())
            });
            assert_eq!((all.len() - before) as u64, info.records);
        }
        self.tracker.release(Time::from_millis(self.batch + 1)).unwrap();
        all
    }

    fn counter(&self, name: &str) -> u64 {
        self.tracker.counters(0).get(name).copied().unwrap_or_default()
    }

    /// Moves the clock on until `done`.
    fn tick_until(&self, done: impl Fn() -> bool) {
        spin(|| {
            self.clock.advance(millis(100));
            done()
        });
    }
}

/// Lets other threads go on until `done`.
fn spin(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

/// A receiver made of a closure.
pub(super) struct FnReceiver<T, F>(F, std::marker::PhantomData<fn() -> T>);

pub(super) fn receiver<T, F>(f: F) -> FnReceiver<T, F>
where
    T: Wire,
    F: FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
{
    FnReceiver(f, std::marker::PhantomData)
}

impl<T, F> Receiver for FnReceiver<T, F>
where
    T: Wire,
    F: FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
{
    type Item = T;
    fn run(&mut self, out: &mut Store<T>) -> Result<(), BoxError> {
        (self.0)(out)
    }
    fn name(&self) -> String {
        "test".into()
    }
}

fn id(seq: u64) -> BlockId {
    BlockId::Received { stream: 0, seq }
}
