//! Receivers of the user's own, from `store` to the batch, on a clock moved by hand.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use brooklet::prelude::*;
use brooklet::receiver::StoreError;
use brooklet::time::{Clock, ManualClock, Timestamp};
use brooklet::{AsyncReceiver, Wire};
use brooklet_testkit::{Collector, Driver, TestEngine, faults};

use crate::support::{GUARD, Gate, Heard, Notes, collect, counter, multiset, scripted, until};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// The clock of a driver, for receivers that are made before it.
type LateClock = Arc<OnceLock<Arc<ManualClock>>>;

fn now(clock: &LateClock) -> Timestamp {
    clock.get().unwrap().now()
}

/// Hands whole blocks to a receiver.
struct Feed<T>(Arc<(Mutex<FeedState<T>>, Condvar)>);

struct FeedState<T> {
    waiting: VecDeque<Vec<T>>,
    stored: usize,
    stopped: bool,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Feed(self.0.clone())
    }
}

impl<T: Wire> Feed<T> {
    fn new() -> Feed<T> {
        let state = FeedState { waiting: VecDeque::new(), stored: 0, stopped: false };
        Feed(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Has the receiver store a block and returns when its `store_block` has.
    fn block(&self, items: impl IntoIterator<Item = T>) {
        let mut s = self.0.0.lock().unwrap();
        s.waiting.push_back(items.into_iter().collect());
        let want = s.stored + s.waiting.len();
        self.0.1.notify_all();
        let (s, out) = self.0.1.wait_timeout_while(s, GUARD, |s| s.stored < want).unwrap();
        drop(s);
        assert!(!out.timed_out(), "the receiver stores nothing");
    }

    fn receiver(&self) -> impl Receiver<Item = T> {
        let feed = self.clone();
        scripted(move |out: &mut Store<T>| {
            let hook = feed.clone();
            out.on_stop(move || {
                hook.0.0.lock().unwrap().stopped = true;
                hook.0.1.notify_all();
            });
            loop {
                let idle = |s: &mut FeedState<T>| s.waiting.is_empty() && !s.stopped;
                let mut s = feed.0.1.wait_while(feed.0.0.lock().unwrap(), idle).unwrap();
                let Some(items) = s.waiting.pop_front() else { return Ok(()) };
                drop(s);
                out.store_block(items)?;
                feed.0.0.lock().unwrap().stored += 1;
                feed.0.1.notify_all();
            }
        })
    }
}

/// A stream that is fed by blocks, what its batches hold, and how many partitions each has.
struct Rig {
    driver: Driver<()>,
    feed: Feed<u64>,
    seen: Collector<u64>,
    parts: Arc<Mutex<Vec<usize>>>,
}

impl Rig {
    fn new(engine: TestEngine, conf: Conf, level: StorageLevel) -> Rig {
        let (feed, seen) = (Feed::new(), Collector::new());
        let parts = Arc::<Mutex<Vec<usize>>>::default();
        let (f, s, p) = (feed.clone(), seen.clone(), parts.clone());
        let mut driver = Driver::with(engine, conf, move |ssc| {
            let stream = ssc.receiver_stream_at(f.receiver(), level);
            collect(&stream, &s);
            let p = p.clone();
            stream.foreach_rdd(move |rdd, _| p.lock().unwrap().push(rdd.num_partitions()));
            Ok(())
        })
        .unwrap();
        driver.start().unwrap();
        Rig { driver, feed, seen, parts }
    }

    fn local() -> Rig {
        Rig::new(TestEngine::Local, Driver::<()>::conf(), StorageLevel::MEMORY_AND_DISK_SER)
    }

    fn ssc(&self) -> &StreamingContext {
        self.driver.context()
    }

    fn batches(&self) -> Vec<Vec<u64>> {
        self.seen.batches().into_iter().map(|b| b.1).collect()
    }
}

/// A driver with one receiver that is a closure, not started, and what its stream gives.
fn driver_of<T: Wire>(
    conf: Conf,
    run: impl FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
) -> (Driver<()>, Collector<T>) {
    let seen = Collector::new();
    let s = seen.clone();
    let driver = Driver::local(conf, move |ssc| {
        collect(&ssc.receiver_stream(scripted(run)), &s);
        Ok(())
    });
    (driver.unwrap(), seen)
}

#[test]
fn stored_records_are_in_a_batch_once() {
    let (mut driver, seen) = driver_of(Driver::<()>::conf(), |out| {
        for i in 0..10_000_u64 {
            out.store(i)?;
        }
        Ok(()) // the source ends: everything is pushed
    });
    driver.start().unwrap();
    driver.context().await_receivers().unwrap();
    driver.batches(2).unwrap();
    assert_eq!(seen.items(), (0..10_000).collect::<Vec<_>>());
    assert_eq!(counter(driver.context(), "scripted-0.records"), 10_000);
}

#[test]
fn records_stored_one_by_one_wait_for_the_block_interval() {
    let stored = Gate::default();
    let tell = stored.clone();
    let conf = Driver::<()>::conf().block_interval(millis(200));
    let (mut driver, seen) = driver_of(conf, move |out| {
        (0..3_u64).try_for_each(|i| out.store(i))?;
        tell.open();
        while out.sleep(seconds(1_000)) {}
        Ok(())
    });
    driver.start().unwrap();
    stored.pass();
    let blocks = |d: &Driver<()>| counter(d.context(), "scripted-0.blocks");
    assert_eq!(blocks(&driver), 0, "the clock stands still: nothing is cut");
    driver.clock().advance(millis(200));
    until("a block", || blocks(&driver) == 1);
    driver.batch().unwrap();
    assert_eq!(seen.items(), [0, 1, 2]);
}

#[test]
fn block_is_in_the_next_batch_when_store_block_has_returned() {
    for engine in ENGINES {
        let level = StorageLevel::MEMORY_AND_DISK_SER;
        let mut rig = Rig::new(engine, Driver::<()>::conf(), level);
        for i in 0..5 {
            rig.feed.block([i, i + 100]);
            rig.driver.batch().unwrap();
        }
        let want: Vec<Vec<u64>> = (0..5).map(|i| vec![i, i + 100]).collect();
        assert_eq!(rig.batches(), want, "{engine:?}");
    }
}

#[test]
fn each_block_is_a_partition() {
    for engine in ENGINES {
        let mut rig = Rig::new(engine, Driver::<()>::conf(), StorageLevel::MEMORY_ONLY);
        rig.feed.block([1, 2]);
        rig.feed.block([3]);
        rig.feed.block([]); // isn't stored
        rig.feed.block([4, 5, 6]);
        rig.driver.batches(2).unwrap();
        rig.feed.block([7]);
        rig.driver.batch().unwrap();
        assert_eq!(*rig.parts.lock().unwrap(), [3, 0, 1], "{engine:?}");
        assert_eq!(rig.batches(), [vec![1, 2, 3, 4, 5, 6], vec![], vec![7]], "{engine:?}");
    }
}

#[test]
fn every_storage_level_serves_the_batch() {
    use StorageLevel as L;
    let levels = [
        L::DISK_ONLY,
        L::DISK_ONLY_2,
        L::DISK_ONLY_3,
        L::MEMORY_ONLY,
        L::MEMORY_ONLY_2,
        L::MEMORY_ONLY_SER,
        L::MEMORY_ONLY_SER_2,
        L::MEMORY_AND_DISK,
        L::MEMORY_AND_DISK_2,
        L::MEMORY_AND_DISK_SER,
        L::MEMORY_AND_DISK_SER_2,
    ];
    for engine in ENGINES {
        for level in levels {
            let mut rig = Rig::new(engine, Driver::<()>::conf(), level);
            rig.feed.block(0..1_000);
            rig.feed.block(1_000..1_500);
            rig.driver.batch().unwrap();
            let want: Vec<u64> = (0..1_500).collect();
            assert_eq!(rig.seen.items(), want, "{engine:?} {level}");
        }
    }
}

#[test]
#[should_panic(expected = "keeps nothing")]
fn level_that_keeps_nothing_is_refused_at_the_call() {
    let feed = Feed::<u64>::new();
    let _ = Driver::new(|ssc| {
        ssc.receiver_stream_at(feed.receiver(), StorageLevel::NONE).print();
        Ok(())
    });
}

/// A folder for blocks, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = format!("brooklet-sources-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn bytes(&self) -> u64 {
        fn size(dir: &Path) -> u64 {
            let Ok(all) = std::fs::read_dir(dir) else { return 0 };
            all.flatten()
                .map(|e| match e.metadata() {
                    Ok(m) if m.is_dir() => size(&e.path()),
                    Ok(m) => m.len(),
                    Err(_) => 0,
                })
                .sum()
        }
        size(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn disk_only_blocks_are_files_until_their_batch_is_over() {
    let folder = Folder::new("disk");
    let conf = Driver::<()>::conf().local_dir(&folder.0);
    let mut rig = Rig::new(TestEngine::Local, conf, StorageLevel::DISK_ONLY);
    let noise = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    rig.feed.block((0..10_000).map(noise));
    assert!(folder.bytes() > 50_000, "{} bytes", folder.bytes());
    rig.driver.batch().unwrap();
    assert_eq!(rig.seen.items(), (0..10_000).map(noise).collect::<Vec<_>>());
    until("the block is released", || folder.bytes() < 1_000);
}

#[test]
fn block_that_cannot_be_stored_is_an_error_of_store_block() {
    let folder = Folder::new("file");
    let file = folder.0.join("not a folder");
    std::fs::write(&file, "").unwrap();
    let told = Arc::new(OnceLock::new());
    let t = told.clone();
    let feed = scripted(move |out: &mut Store<u64>| {
        let _ = t.set(out.store_block([1, 2]));
        Ok(())
    });
    let mut driver = Driver::local(Driver::<()>::conf().local_dir(file), move |ssc| {
        ssc.receiver_stream_at(feed, StorageLevel::DISK_ONLY).print_to(1, |_| ());
        Ok(())
    })
    .unwrap();
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    driver.context().await_receivers().unwrap();
    assert!(matches!(told.get(), Some(Err(StoreError::Failed(_)))), "{told:?}");
    driver.batch().unwrap();
    assert_eq!(notes.completed(1).num_records(), 0, "what isn't stored is in no batch");
}

#[test]
fn blocks_beyond_the_memory_limit_go_to_disk_and_come_back() {
    let folder = Folder::new("spill");
    let conf = Driver::<()>::conf().local_dir(&folder.0).block_store_memory(1 << 20);
    let mut rig = Rig::new(TestEngine::Local, conf, StorageLevel::MEMORY_AND_DISK);
    for i in 0..8 {
        rig.feed.block(i * 50_000..(i + 1) * 50_000); // 400 kB each in memory
    }
    assert!(folder.bytes() > 0, "nothing was spilled");
    rig.driver.batch().unwrap();
    assert_eq!(rig.seen.items(), (0..400_000).collect::<Vec<_>>());
}

#[test]
fn records_pass_a_shuffle_with_one_task_thread() {
    let seen = Collector::new();
    let (s, feed) = (seen.clone(), Feed::<u64>::new());
    let f = feed.clone();
    let mut driver = Driver::local(Driver::<()>::conf().master("local[1]"), move |ssc| {
        let words = ssc.receiver_stream(f.receiver());
        collect(&words.map(|x| (x % 3, 1_u64)).reduce_by_key(|a, b| a + b), &s);
        Ok(())
    })
    .unwrap();
    driver.start().unwrap();
    feed.block(0..300);
    driver.batch().unwrap();
    assert_eq!(seen.sums().into_iter().collect::<Vec<_>>(), [(0, 100), (1, 100), (2, 100)]);
}

#[test]
fn blocks_of_all_receivers_go_to_the_same_batch() {
    let (a, b, seen) = (Feed::new(), Feed::new(), Collector::new());
    let (fa, fb, s) = (a.clone(), b.clone(), seen.clone());
    let mut driver = Driver::new(move |ssc| {
        let (x, y) = (ssc.receiver_stream(fa.receiver()), ssc.receiver_stream(fb.receiver()));
        collect(&x.union(&y), &s);
        Ok(())
    })
    .unwrap();
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    a.block([1_u64, 2]);
    b.block([10]);
    a.block([3]);
    driver.batches(2).unwrap();
    assert_eq!(seen.batch(Time::from_millis(1_000)), [1, 2, 3, 10]);
    let info = notes.completed(1).stream_id_to_input_info;
    let records = info.values().map(|i| (i.input_stream_id, i.num_records)).collect::<Vec<_>>();
    assert_eq!(records, [(0, 3), (1, 1)]);
    assert_eq!(notes.completed(2).num_records(), 0);
}

/// The first run ends badly; the second one comes after the delay, on the same object.
fn restarted(bad: fn(&mut Store<u32>) -> Result<(), BoxError>, message: &str, cause: &str) {
    let clock = LateClock::default();
    let starts = Arc::<Mutex<Vec<Timestamp>>>::default();
    let (c, s) = (clock.clone(), starts.clone());
    let conf = Driver::<()>::conf().receiver_restart_delay(seconds(5));
    let mut runs = 0;
    let (mut driver, seen) = driver_of(conf, move |out| {
        s.lock().unwrap().push(now(&c));
        runs += 1;
        out.store(runs)?;
        if runs == 1 { bad(out) } else { Ok(()) }
    });
    let _ = clock.set(driver.clock().clone());
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    let e = notes.receiver_error();
    assert!(e.last_error_message.contains(message) && e.last_error.contains(cause), "{e:?}");
    assert_eq!((e.stream_id, e.name.as_str(), e.active), (0, "scripted", false));
    assert_eq!(e.last_error_time, Some(Timestamp::default()));
    until("the second run", || {
        driver.batch().unwrap();
        starts.lock().unwrap().len() == 2
    });
    let starts = starts.lock().unwrap().clone();
    assert!(starts[1].since(starts[0]) >= seconds(5), "{starts:?}");
    driver.context().await_receivers().unwrap();
    driver.batch().unwrap();
    assert_eq!(seen.items(), [1, 2]);
    let count = |name: &str| counter(driver.context(), &format!("scripted-0.{name}"));
    assert_eq!((count("restarts"), count("errors")), (1, 1));
}

#[test]
fn failed_run_is_reported_and_started_again_after_the_delay() {
    restarted(|_| Err("no route to the buoy".into()), "`scripted` failed", "no route to the buoy");
}

#[test]
fn panicking_run_is_reported_and_started_again_after_the_delay() {
    restarted(|_| panic!("index 3"), "`scripted` panicked", "index 3");
}

#[test]
fn run_that_asks_for_it_is_started_again_after_the_delay() {
    let bad = |out: &mut Store<u32>| {
        out.restart("new credentials");
        assert!(out.is_stopped());
        Ok(())
    };
    restarted(bad, "new credentials", "asked for a restart");
}

#[test]
fn reported_error_is_an_event_and_the_receiver_goes_on() {
    let go_on = Gate::default();
    let gate = go_on.clone();
    let (mut driver, seen) = driver_of(Driver::<()>::conf(), move |out| {
        out.report_error("a record is broken", "column 3");
        gate.pass();
        assert!(!out.is_stopped());
        out.store_block([7_u32])?;
        Ok(())
    });
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    let e = notes.receiver_error();
    assert_eq!(
        (e.last_error_message.as_str(), e.last_error.as_str()),
        ("a record is broken", "column 3")
    );
    assert_eq!(e.last_error_time, Some(Timestamp::default()));
    assert!(e.active);
    go_on.open();
    driver.context().await_receivers().unwrap();
    driver.batch().unwrap();
    assert_eq!(seen.items(), [7]);
    assert_eq!(counter(driver.context(), "scripted-0.restarts"), 0);
}

#[test]
fn receiver_that_is_to_stop_is_told_and_its_records_are_kept() {
    let started = Gate::default();
    let gate = started.clone();
    let accepted = Arc::new(AtomicU64::new(0));
    let n = accepted.clone();
    let (mut driver, seen) = driver_of(Driver::<()>::conf(), move |out| {
        let told = Gate::default();
        let hook = told.clone();
        out.on_stop(move || hook.open());
        assert!(!out.is_stopped());
        for i in 0..500_u64 {
            out.store(i)?;
            n.fetch_add(1, Ordering::SeqCst);
        }
        gate.open();
        told.pass(); // blocks until the stop calls the hook
        assert!(out.is_stopped());
        assert!(matches!(out.store(1_000), Err(StoreError::Stopped)));
        Ok(())
    });
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    started.pass();
    driver.context().stop(true).unwrap();
    assert_eq!(seen.items().len() as u64, accepted.load(Ordering::SeqCst));
    let last = notes.wait("stopped receiver", |e| match e {
        Heard::ReceiverStopped(r) => Some(r.clone()),
        _ => None,
    });
    assert!(!last.active && last.last_error.is_empty(), "{last:?}");
}

#[test]
fn graceful_stop_of_a_busy_receiver_loses_nothing() {
    let accepted = Arc::new(AtomicU64::new(0));
    let n = accepted.clone();
    let conf = Conf::new("busy").master("local[2]").block_interval(millis(5));
    let ssc = StreamingContext::new(conf, millis(10)).unwrap();
    let sum = ssc.context().long_accumulator("records");
    let s = sum.clone();
    let stream = ssc.receiver_stream(scripted(move |out: &mut Store<u64>| {
        while out.store(1).is_ok() {
            n.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }));
    stream.foreach_partition(move |records, _| records.for_each(|x| s.add(x as i64)));
    ssc.start().unwrap();
    until("records", || sum.value().sum > 0);
    ssc.stop(true).unwrap();
    assert_eq!(sum.value().sum as u64, accepted.load(Ordering::Relaxed));
}

struct Ticker(u32);

impl AsyncReceiver for Ticker {
    type Item = u32;
    async fn run(&mut self, out: &mut Store<u32>) -> Result<(), BoxError> {
        for i in 0..self.0 {
            tokio::task::yield_now().await;
            out.store(i)?;
        }
        out.store_block([1_000])?;
        out.stopped().await;
        Ok(())
    }
}

#[test]
fn async_receiver_is_a_receiver() {
    let seen = Collector::new();
    let s = seen.clone();
    let driver = Driver::new(move |ssc| {
        collect(&ssc.async_receiver_stream(Ticker(50)), &s);
        Ok(())
    });
    let mut driver = driver.unwrap();
    driver.start().unwrap();
    until("its block", || counter(driver.context(), "Ticker-0.records") >= 1);
    driver.batch().unwrap();
    driver.context().stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset((0..50).chain([1_000])));
}

#[test]
fn rate_limit_follows_the_clock_and_spares_whole_blocks() {
    let clock = LateClock::default();
    let stored = Arc::new(AtomicU32::new(0));
    let (c, n) = (clock.clone(), stored.clone());
    let conf = Driver::<()>::conf().receiver_max_rate(100);
    let (mut driver, seen) = driver_of(conf, move |out| {
        assert_eq!(out.rate_limit(), Some(100));
        out.store_block(1_000..2_000)?;
        for i in 0..250_u32 {
            out.store(i)?;
            let (stored, at) = (n.fetch_add(1, Ordering::SeqCst) + 1, now(&c));
            assert!(u64::from(stored) <= at.millis() / 10, "{stored} records at {at:?}");
        }
        Ok(())
    });
    let _ = clock.set(driver.clock().clone());
    driver.start().unwrap();
    until("the whole block", || counter(driver.context(), "scripted-0.records") >= 1_000);
    for want in [30, 60, 90, 120, 150, 180, 210, 240, 250] {
        driver.clock().advance(millis(300));
        until("the records of 300 ms", || stored.load(Ordering::SeqCst) == want);
    }
    driver.context().await_receivers().unwrap();
    driver.context().stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset((0..250).chain(1_000..2_000)));
    assert_eq!(counter(driver.context(), "scripted-0.errors"), 0);
}

#[test]
fn lost_block_stops_the_stream_with_an_error_that_names_it() {
    let mut rig = Rig::local();
    rig.feed.block([1]);
    rig.driver.batch().unwrap();
    rig.feed.block([2]);
    assert_eq!(faults::lose_received(rig.ssc().context()), 1);
    let e = rig.driver.batch().unwrap_err().to_string();
    assert!(e.contains("input-0-1") && e.contains("2000 ms"), "{e}");
    assert_eq!(rig.ssc().await_termination().unwrap_err().to_string(), e);
    assert_eq!(rig.batches(), [[1]]);
}

#[test]
fn lost_block_fails_its_batch_alone_under_skip() {
    let conf = Driver::<()>::conf().failure_policy(FailurePolicy::skip());
    let mut rig = Rig::new(TestEngine::Local, conf, StorageLevel::MEMORY_AND_DISK_SER);
    let notes = Notes::of(rig.ssc());
    rig.feed.block([1]);
    faults::lose_received(rig.ssc().context());
    rig.driver.batch().unwrap();
    rig.feed.block([2]);
    rig.driver.batch().unwrap();
    let failed = notes.completed(1);
    let reason = failed.output_operation_infos[&0].failure_reason.clone().unwrap();
    assert!(failed.is_failed() && reason.contains("input-0-0"), "{reason}");
    assert!(!notes.completed(2).is_failed());
    assert_eq!(rig.batches(), [[2]]);
    assert!(rig.ssc().metrics().unwrap().snapshot().failed_output_ops > 0);
}

#[test]
fn a_block_is_read_by_two_outputs_and_released_after_its_batch() {
    let mut rig = Rig::local();
    rig.feed.block([1, 2]);
    rig.driver.batch().unwrap();
    until("release", || faults::lose_received(rig.ssc().context()) == 0);
    assert_eq!((rig.batches(), rig.parts.lock().unwrap().clone()), (vec![vec![1, 2]], vec![1]));
}

#[test]
fn input_streams_are_numbered_and_known_to_the_gauges() {
    let rig = Rig::local();
    assert_eq!(rig.ssc().metrics().unwrap().gauge("receivers"), Some(1));
    let ids = Arc::new(AtomicU32::new(u32::MAX));
    let id = ids.clone();
    let driver = Driver::new(move |ssc| {
        ssc.queue_stream::<u8>().1.print();
        let second = scripted(move |out: &mut Store<u8>| {
            id.store(out.stream_id(), Ordering::SeqCst);
            Ok(())
        });
        ssc.receiver_stream(second).print();
        Ok(())
    });
    let mut driver = driver.unwrap();
    driver.start().unwrap();
    driver.context().await_receivers().unwrap();
    assert_eq!(ids.load(Ordering::SeqCst), 1);
}
