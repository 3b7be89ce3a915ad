//! The thread that writes.

use super::*;
use crate::checkpoint::memory::Fault;
use crate::checkpoint::{StateCheckpoints, Storage};
use crate::sync::{Condvar, LockExt, Mutex};
use crate::time::{ManualClock, SystemClock};
use crate::{millis, seconds};

fn start(storage: Arc<dyn Storage>, policy: CheckpointPolicy) -> StateCheckpoints {
    let o = OpenCheckpoint::open(storage, StartFrom::Newest).unwrap();
    let operators = vec![meta("a"), meta("b")];
    o.start(operators, &[], t(0), policy, Arc::new(SystemClock::new()), "test").unwrap()
}

fn batch(c: &StateCheckpoints, ms: u64, value: u8) -> Result<(), CheckpointError> {
    c.batch(t(ms), "a", vec![delta(&[(1, vec![1], Some(vec![value]))]), Delta::default()])?;
    c.batch(t(ms), "b", vec![delta(&[(2, vec![value], Some(vec![value; 100]))])])?;
    c.plan(t(ms));
    c.end_of_batch(t(ms))
}

#[test]
fn flushed_batches_come_back() {
    let storage = MemoryStorage::default();
    let c = start(Arc::new(storage.clone()), CheckpointPolicy::default());
    for i in 1..=9 {
        batch(&c, i * 100, i as u8).unwrap();
    }
    assert_eq!(c.durable(), None, "neither ten batches nor a second");
    c.flush(t(900), vec![]).unwrap();
    assert_eq!(c.durable(), Some(t(900)));
    c.flush(t(900), vec![]).unwrap();
    assert_eq!(c.stats().written.checkpoints, 1);
    assert_eq!(c.stats().pending_bytes, 0);
    // A batch that isn't flushed is run again by who restores.
    batch(&c, 1_000, 99).unwrap();
    drop(c);
    let o = open(&storage).unwrap();
    assert_eq!(o.time(), Some(t(900)));
    assert_eq!(load(&o, "a").unwrap()[&(1, vec![1])], [9]);
    assert_eq!(load(&o, "b").unwrap().len(), 9);
    let c = start(Arc::new(storage), CheckpointPolicy::default());
    assert_eq!(c.durable(), Some(t(900)));
    c.flush(t(900), vec![]).unwrap();
    assert_eq!(c.stats().written.checkpoints, 0, "it is durable already");
}

#[test]
fn checkpoints_come_by_batches_and_time_or_by_bytes() {
    let policy = CheckpointPolicy { min_batches: 10, min_interval: seconds(1), ..tiny() };
    let storage = MemoryStorage::default();
    let c = start(Arc::new(storage.clone()), policy.clone());
    for i in 1..=1_000 {
        batch(&c, i, i as u8).unwrap();
    }
    // Due since batch 1000; flush only waits for it.
    c.flush(t(1_000), vec![]).unwrap();
    assert_eq!(c.stats().written.checkpoints, 1);
    for i in 1..=9 {
        batch(&c, 1_000 + i * 500, i as u8).unwrap();
    }
    assert_eq!(c.stats().written.checkpoints, 1);
    drop(c);
    let policy = CheckpointPolicy { max_bytes: 1, ..policy };
    let c = start(Arc::new(storage.clone()), policy);
    batch(&c, 2_000, 1).unwrap();
    c.flush(t(2_000), vec![]).unwrap();
    assert_eq!(c.stats().written.checkpoints, 1);
}

#[test]
fn a_batch_that_failed_leaves_nothing_and_the_last_call_of_a_batch_counts() {
    let storage = MemoryStorage::default();
    let c = start(Arc::new(storage.clone()), CheckpointPolicy::default());
    batch(&c, 1, 1).unwrap();
    c.batch(t(2), "a", vec![delta(&[(1, vec![1], None)])]).unwrap();
    let e = c.batch(t(3), "a", vec![]).unwrap_err().to_string();
    assert!(e.contains("while batch 2 ms is open"), "{e}");
    c.abandon(t(2));
    c.batch(t(3), "a", vec![delta(&[(1, vec![1], None)])]).unwrap();
    c.batch(t(3), "a", vec![delta(&[(1, vec![1], Some(vec![33]))])]).unwrap();
    c.plan(t(3));
    c.end_of_batch(t(3)).unwrap();
    assert!(c.batch(t(3), "a", vec![]).is_err(), "it has ended");
    assert!(c.batch(t(4), "c", vec![]).is_err(), "not announced");
    assert!(c.flush(t(2), vec![]).is_err());
    c.flush(t(3), vec![]).unwrap();
    drop(c);
    let o = open(&storage).unwrap();
    assert_eq!(load(&o, "a").unwrap()[&(1, vec![1])], [33]);
}

#[test]
fn keys_in_other_groups_have_to_come_as_a_whole() {
    let storage = MemoryStorage::default();
    let c = start(Arc::new(storage.clone()), CheckpointPolicy::default());
    batch(&c, 1, 1).unwrap();
    c.flush(t(1), vec![]).unwrap();
    drop(c);
    let moved = vec![OperatorMeta { seed: 8, ..meta("a") }, meta("b")];
    let c = open(&storage)
        .unwrap()
        .start(moved, &[], t(0), CheckpointPolicy::default(), Arc::new(SystemClock::new()), "test")
        .unwrap();
    let e = c.batch(t(2), "a", vec![]).unwrap_err().to_string();
    assert!(e.contains("`a`") && e.contains("all of it"), "{e}");
    assert!(c.end_of_batch(t(2)).is_err(), "nor may it be left out");
    c.replace(t(2), "a", vec![delta(&[(9, vec![1], Some(vec![2]))])]).unwrap();
    c.plan(t(2));
    c.end_of_batch(t(2)).unwrap();
    c.batch(t(3), "a", vec![delta(&[(9, vec![2], Some(vec![2]))])]).unwrap();
    c.plan(t(3));
    c.end_of_batch(t(3)).unwrap();
    c.flush(t(3), vec![]).unwrap();
    drop(c);
    let o = open(&storage).unwrap();
    let groups: Vec<u8> = load(&o, "a").unwrap().keys().map(|k| k.0).collect();
    assert_eq!(groups, [9, 9]);
    assert_eq!(o.operator("a").unwrap().meta.seed, 8);
    assert_eq!(load(&o, "b").unwrap().len(), 1);
}

#[test]
fn a_failed_write_is_told_by_every_call_and_nothing_piles_up() {
    let storage = MemoryStorage::default().with_fault(Some(Fault::Fail(3)));
    let c = start(Arc::new(storage.clone()), CheckpointPolicy::default());
    batch(&c, 1, 1).unwrap();
    let e = c.flush(t(1), vec![]).unwrap_err();
    let CheckpointError::Poisoned { cause, durable: None } = &e else { panic!("{e}") };
    assert!(matches!(**cause, CheckpointError::Io { .. }));
    assert!(e.to_string().contains("state-") && e.to_string().contains("a fault"), "{e}");
    let ops = storage.ops();
    assert!(batch(&c, 2, 2).is_err() && c.end_of_batch(t(2)).is_err() && c.health().is_err());
    assert_eq!((c.stats().pending_bytes, storage.ops()), (0, ops));
}

/// A storage whose syncs wait for a permission.
#[derive(Debug)]
struct Slow {
    inner: MemoryStorage,
    permits: Arc<(Mutex<u32>, Condvar)>,
}

impl Storage for Slow {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.inner.path(name)
    }
    fn create(
        &self,
        name: &str,
    ) -> std::io::Result<Box<dyn crate::checkpoint::storage::StorageWriter>> {
        self.inner.create(name)
    }
    fn open(
        &self,
        name: &str,
    ) -> std::io::Result<Box<dyn crate::checkpoint::storage::StorageReader>> {
        self.inner.open(name)
    }
    fn list(&self) -> std::io::Result<Vec<(String, u64)>> {
        self.inner.list()
    }
    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.inner.rename(from, to)
    }
    fn delete(&self, name: &str) -> std::io::Result<()> {
        self.inner.delete(name)
    }
    fn sync_names(&self) -> std::io::Result<()> {
        let mut permits = self.permits.0.get();
        while *permits == 0 {
            permits = crate::sync::wait(&self.permits.1, permits, None);
        }
        *permits -= 1;
        drop(permits);
        self.inner.sync_names()
    }
}

fn permit(permits: &(Mutex<u32>, Condvar), n: u32) {
    *permits.0.get() += n;
    permits.1.notify_all();
}

#[test]
fn batches_go_on_while_the_disk_is_slow_and_then_share_a_checkpoint() {
    let permits = Arc::new((Mutex::new(0), Condvar::new()));
    let storage = MemoryStorage::default();
    let slow = Slow { inner: storage.clone(), permits: permits.clone() };
    let policy = CheckpointPolicy { min_interval: millis(1), ..tiny() };
    let c = start(Arc::new(slow), policy);
    for i in 1..=500 {
        // Each one is due; no sync comes to an end.
        batch(&c, i, i as u8).unwrap();
    }
    assert_eq!((c.durable(), c.stats().waited), (None, std::time::Duration::ZERO));
    permit(&permits, 1_000);
    c.flush(t(500), vec![]).unwrap();
    let stats = c.stats();
    // The one that was begun, and one for all that came meanwhile.
    assert!(stats.written.checkpoints <= 2, "{stats:?}");
    drop(c);
    assert_eq!(load(&open(&storage).unwrap(), "b").unwrap().len(), 256);
}

#[test]
fn too_many_waiting_bytes_make_batches_wait() {
    let permits = Arc::new((Mutex::new(0), Condvar::new()));
    let storage = MemoryStorage::default();
    let slow = Slow { inner: storage.clone(), permits: permits.clone() };
    let policy = CheckpointPolicy { max_pending_bytes: 1_000, ..CheckpointPolicy::default() };
    let clock = ManualClock::new(t(0));
    let c = OpenCheckpoint::open(Arc::new(slow), StartFrom::Newest)
        .unwrap()
        .start(vec![meta("a")], &[], t(0), policy, clock.clone(), "test")
        .unwrap();
    let big = |i: u8| vec![delta(&[(i, vec![i], Some(vec![i; 600]))])];
    c.batch(t(1), "a", big(1)).unwrap();
    c.plan(t(1));
    c.end_of_batch(t(1)).unwrap();
    assert_eq!(c.stats().waited, std::time::Duration::ZERO);
    // Too many now: the next batch is a checkpoint, and waits until it is written.
    c.batch(t(2), "a", big(2)).unwrap();
    assert!(!c.plan(t(2)));
    c.end_of_batch(t(2)).unwrap();
    c.batch(t(3), "a", big(3)).unwrap();
    std::thread::scope(|s| {
        assert!(c.plan(t(3)));
        let waiting = s.spawn(|| c.end_of_batch(t(3)));
        // It has taken the batch, and now it waits: nothing but a permission lets it go on.
        while c.stats().pending_bytes < 1_500 {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        clock.advance(seconds(3));
        permit(&permits, 1_000);
        waiting.join().unwrap().unwrap();
    });
    assert!(c.stats().pending_bytes <= 1_000);
    c.flush(t(3), vec![]).unwrap();
    assert_eq!(load(&open(&storage.copy()).unwrap(), "a").unwrap().len(), 3);
}
