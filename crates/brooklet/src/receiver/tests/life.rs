use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;
use crate::seconds;
use crate::time::{Clock, Timestamp};

#[test]
fn a_source_that_ends_stops_its_receiver() {
    let mut rig = Rig::new(|c| c);
    rig.start(receiver::<u32, _>(|out| {
        for i in 0..1_000 {
            out.store(i)?;
        }
        out.store_block_with([1_000, 1_001], *b"offset 7")?;
        out.store_block(Vec::new())?;
        Ok(())
    }));
    let info = rig.heard.wait_for("stopped", 1);
    assert_eq!((info.name.as_str(), info.active, info.last_error_time), ("test", false, None));
    rig.tracker.stop(true);
    assert_eq!(rig.tracker.num_receivers(), 1);
    assert!(rig.tracker.has_unallocated());
    let mut all = rig.take::<u32>();
    all.sort_unstable();
    assert_eq!(all, (0..1_002).collect::<Vec<_>>());
    assert!(!rig.tracker.has_unallocated());
    assert_eq!(rig.store.metrics().blocks, 0);
    assert_eq!((rig.heard.count("started"), rig.heard.count("error")), (1, 0));
}

/// A receiver that ends each run but the third one in a different way.
fn restarted(bad: fn(usize, &mut Store<u32>) -> Result<(), BoxError>, message: &str, cause: &str) {
    let mut rig = Rig::new(|c| c.receiver_restart_delay(seconds(2)));
    let clock = rig.clock.clone();
    let starts: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
    let seen = starts.clone();
    let mut runs = 0; // kept over restarts: it is the same object
    rig.start(receiver::<u32, _>(move |out| {
        seen.get().push(clock.now());
        assert!(!out.is_stopped());
        runs += 1;
        out.store(runs)?;
        if runs < 3 { bad(runs as usize, out) } else { Ok(()) }
    }));
    let info = rig.heard.wait_for("error", 1);
    assert!(info.last_error_message.contains(message), "{info:?}");
    assert!(info.last_error.contains(cause), "{info:?}");
    assert_eq!(info.last_error_time, Some(Timestamp::default()));
    assert_eq!(starts.get().len(), 1);
    rig.tick_until(|| rig.heard.count("stopped") == 1);
    let starts = starts.get().clone();
    assert_eq!(starts.len(), 3);
    assert!(starts[1].since(starts[0]) >= seconds(2) && starts[2].since(starts[1]) >= seconds(2));
    assert_eq!(rig.take::<u32>(), [1, 2, 3]);
    assert_eq!(rig.counter(counters::RESTARTS), 2);
    assert_eq!(rig.heard.count("started"), 3);
}

#[test]
fn an_error_is_reported_and_the_receiver_restarted_after_the_delay() {
    restarted(
        |n, _| Err(format!("connection {n} refused").into()),
        "`test` failed",
        "connection 1",
    );
}

#[test]
fn a_panic_is_reported_and_the_receiver_restarted() {
    restarted(|n, _| panic!("index {n} out of bounds"), "`test` panicked", "index 1 out of bounds");
}

#[test]
fn a_restart_that_is_asked_for_ends_the_run() {
    let bad = |_, out: &mut Store<u32>| {
        out.restart("schema changed");
        assert!(out.is_stopped() && !out.sleep(seconds(100)));
        Ok(())
    };
    restarted(bad, "schema changed", "asked for a restart");
}

#[test]
fn a_reported_error_doesnt_end_the_run() {
    let rig = Rig::new(|c| c);
    rig.start(receiver::<u32, _>(|out| {
        out.report_error("a bad record", "column 3");
        while out.sleep(seconds(1)) {}
        Ok(())
    }));
    let info = rig.heard.wait_for("error", 1);
    assert!(info.active);
    assert_eq!(
        (info.last_error_message.as_str(), info.last_error.as_str()),
        ("a bad record", "column 3")
    );
    assert!(rig.tracker.is_receiving());
    rig.tracker.stop(false);
    assert_eq!(rig.tracker.infos()[0].last_error, "column 3");
}

#[test]
fn a_graceful_stop_unblocks_the_run_and_loses_nothing() {
    let mut rig = Rig::new(|c| c);
    let accepted = Arc::new(AtomicUsize::new(0));
    let n = accepted.clone();
    rig.start(receiver::<usize, _>(move |out| {
        let (tx, rx) = mpsc::channel::<()>();
        out.on_stop(move || drop(tx));
        for i in 0..500 {
            out.store(i)?;
            n.store(i + 1, Ordering::Release);
        }
        let _ = rx.recv(); // blocked until the hook drops the sender
        while out.store(usize::MAX).is_ok() {}
        Ok(())
    }));
    spin(|| accepted.load(Ordering::Acquire) == 500);
    rig.tracker.stop(true);
    assert!(!rig.tracker.is_receiving());
    assert_eq!(rig.take::<usize>(), (0..500).collect::<Vec<_>>());
    assert!(rig.tracker.start().is_err());
}

#[test]
fn the_rate_follows_the_updates() {
    let rig = Rig::new(|c| c.receiver_max_rate(10));
    let accepted = Arc::new(AtomicUsize::new(0));
    let n = accepted.clone();
    rig.start(receiver::<u8, _>(move |out| {
        loop {
            out.store(0)?;
            n.fetch_add(1, Ordering::AcqRel);
        }
    }));
    rig.heard.wait_for("started", 1);
    rig.clock.advance(seconds(1));
    spin(|| accepted.load(Ordering::Acquire) == 10);
    rig.tracker.update_rate(0, 4);
    assert_eq!(rig.tracker.rate(0), Some(4));
    rig.clock.advance(seconds(1));
    spin(|| accepted.load(Ordering::Acquire) == 14);
    rig.tracker.update_rate(0, 1_000);
    assert_eq!(rig.tracker.rate(0), Some(10));
    rig.tracker.stop(true); // also ends the wait for a permit
    assert_eq!(accepted.load(Ordering::Acquire), 14);
    assert_eq!(rig.counter(counters::RECORDS), 14);
}

struct Forever(Arc<AtomicBool>, bool);

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl AsyncReceiver for Forever {
    type Item = u32;
    async fn run(&mut self, out: &mut Store<u32>) -> Result<(), BoxError> {
        let _guard = Dropped(self.0.clone());
        tokio::time::sleep(Duration::from_millis(1)).await;
        out.store(7)?;
        if self.1 {
            out.stopped().await;
            return Ok(());
        }
        std::future::pending().await
    }
}

#[test]
fn an_async_receiver_is_dropped_at_its_await_also_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for polite in [true, false] {
        let gone = Arc::new(AtomicBool::new(false));
        runtime.block_on(async {
            let mut rig = Rig::new(|c| c);
            let r = erase_async(Forever(gone.clone(), polite));
            assert_eq!(r.name(), "Forever");
            rig.tracker.add(0, r, StorageLevel::MEMORY_ONLY).unwrap();
            rig.tracker.start().unwrap();
            rig.tick_until(|| rig.tracker.has_unallocated());
            rig.tracker.stop(true);
            assert_eq!(rig.take::<u32>(), [7]);
            assert!(gone.load(Ordering::Acquire));
        });
    }
}

struct AsyncPanic;

impl AsyncReceiver for AsyncPanic {
    type Item = u32;
    async fn run(&mut self, _: &mut Store<u32>) -> Result<(), BoxError> {
        tokio::task::yield_now().await;
        panic!("async trouble")
    }
}

#[test]
fn a_panic_in_an_async_receiver_is_reported() {
    let rig = Rig::new(|c| c);
    rig.tracker.add(0, erase_async(AsyncPanic), StorageLevel::MEMORY_ONLY).unwrap();
    rig.tracker.start().unwrap();
    assert_eq!(rig.heard.wait_for("error", 1).last_error, "async trouble");
    rig.tick_until(|| rig.heard.count("error") >= 2);
    rig.tracker.stop(true);
}

#[test]
fn a_stream_has_one_receiver_and_a_level_that_keeps_something() {
    let rig = Rig::new(|c| c);
    let r = || erase(receiver::<u32, _>(|_| Ok(())));
    assert!(rig.tracker.add(0, r(), StorageLevel::NONE).unwrap_err().to_string().contains("NONE"));
    rig.tracker.add(0, r(), StorageLevel::MEMORY_ONLY).unwrap();
    assert!(rig.tracker.add(0, r(), StorageLevel::MEMORY_ONLY).is_err());
    let a = rig.tracker.allocate(Time::from_millis(1), false).unwrap();
    assert_eq!((a.records(0), a.blocks.len()), (0, 1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_starts_leave_no_thread_and_no_file() {
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok())
            .filter(|name| name.starts_with("leak"))
            .count()
    };
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    let clock = ManualClock::new(Time::ZERO);
    for i in 0..1_000 {
        let conf = Conf::new("leak").clock(clock.clone());
        let store = BlockStore::new(1 << 20, None);
        let heard = Arc::new(Heard::default());
        let tracker = ReceiverTracker::new(&conf, millis(200), store, heard);
        let r = if i % 20 == 0 {
            erase_async(Forever(Arc::default(), true))
        } else {
            erase(receiver::<u32, _>(|out| {
                out.store(1)?;
                while out.sleep(seconds(1)) {}
                Ok(())
            }))
        };
        tracker.add(0, r, StorageLevel::MEMORY_ONLY).unwrap();
        tracker.start().unwrap();
        tracker.stop(i % 2 == 0);
    }
    spin(|| threads() == 0); // the runtimes' threads end by themselves
    // Other tests of this process open files, too; a leak would be a thousand.
    assert!(files() < before + 200);
}
