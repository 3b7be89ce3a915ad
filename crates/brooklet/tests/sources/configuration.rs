//! Settings by their keys: what each one does, which source wins, and what is said about mistakes. The
//! tests of the first part are named after the keys; `every_key_has_a_test_of_its_effect` counts them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};

use brooklet::prelude::*;
use brooklet::time::{Clock, Timestamp};
use brooklet::{ConfOrigin, Context, Queue};
use brooklet_testkit::{Collector, Driver, TestEngine, faults};

use crate::support::{Gate, collect, counter, scripted, until};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// The configuration of the driver with these keys set.
fn with<const N: usize>(settings: [(&str, &str); N]) -> Conf {
    settings.into_iter().fold(Driver::<()>::conf(), |conf, (k, v)| conf.set(k, v).unwrap())
}

/// A driver over a queue of numbers.
fn numbers(conf: Conf, program: impl FnOnce(&DStream<i64>)) -> Driver<Queue<i64>> {
    let made = Driver::local(conf, |ssc| {
        let (queue, stream) = ssc.queue_stream();
        program(&stream);
        Ok(queue)
    });
    made.unwrap()
}

/// A driver with a receiver.
fn receiving<T: brooklet::Wire>(
    conf: Conf,
    level: StorageLevel,
    run: impl FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
) -> (Driver<()>, Collector<T>) {
    let seen = Collector::new();
    let into = seen.clone();
    let driver = Driver::local(conf, move |ssc| {
        collect(&ssc.receiver_stream_at(scripted(run), level), &into);
        Ok(())
    });
    (driver.unwrap(), seen)
}

fn of_receiver(d: &Driver<()>, name: &str) -> u64 {
    counter(d.context(), &format!("scripted-0.{name}"))
}

/// A folder of the test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = format!("brooklet-configuration-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Bytes in all files below it.
    fn bytes(&self) -> u64 {
        fn size(dir: &Path) -> u64 {
            let Ok(all) = fs::read_dir(dir) else { return 0 };
            let size_of = |e: fs::DirEntry| match e.metadata() {
                Ok(m) if m.is_dir() => size(&e.path()),
                Ok(m) => m.len(),
                Err(_) => 0,
            };
            all.flatten().map(size_of).sum()
        }
        size(&self.0)
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("brooklet.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One for each step.
type Gates = [Gate; 3];

// ---- the effect of each key ----

#[test]
fn app_name() {
    let names = Arc::<Mutex<Vec<String>>>::default();
    let n = names.clone();
    let mut d = numbers(with([("brooklet.app.name", "renamed")]), |s| {
        s.foreach_rdd(move |_, _| {
            n.lock().unwrap().push(std::thread::current().name().unwrap_or_default().into());
        });
    });
    d.batch().unwrap();
    assert!(names.lock().unwrap()[0].starts_with("renamed-job-"), "{names:?}");
}

#[test]
fn master() {
    // Three tasks that wait for each other need three threads.
    let ctx = Context::new(with([("brooklet.master", "local[3]")])).unwrap();
    let all = Arc::new(Barrier::new(3));
    let meet = move |x: i32| {
        if x % 100_000 == 0 {
            all.wait();
        }
        x
    };
    assert_eq!(ctx.parallelize(0..300_000, 3).map(meet).count().unwrap(), 300_000);
    assert_eq!(ctx.default_parallelism(), 3);
}

#[test]
fn default_parallelism() {
    for engine in ENGINES {
        let parts = Arc::new(AtomicUsize::new(0));
        let p = parts.clone();
        let conf = with([("brooklet.default.parallelism", "5")]);
        let mut d = Driver::with(engine, conf, move |ssc| {
            let (queue, s) = ssc.queue_stream::<i64>();
            let p = p.clone();
            s.map(|x| (x, 1)).reduce_by_key(|a, b| a + b).foreach_rdd(move |rdd, _| {
                p.store(rdd.num_partitions(), SeqCst);
                rdd.count().map(drop)
            });
            Ok(queue)
        })
        .unwrap();
        d.input().push([1, 2, 3]);
        d.batch().unwrap();
        assert_eq!(parts.load(SeqCst), 5, "{engine:?}");
    }
}

#[test]
fn task_max_failures() {
    for engine in ENGINES {
        let attempts = Arc::new(AtomicU32::new(0));
        let n = attempts.clone();
        let conf = with([("brooklet.task.maxFailures", "3")]);
        let mut d = Driver::with(engine, conf, move |ssc| {
            let (queue, s) = ssc.queue_stream::<i64>();
            let n = n.clone();
            s.map(move |x| {
                n.fetch_add(1, SeqCst);
                assert!(x < 0, "no luck");
                x
            })
            .foreach_rdd(|rdd, _| rdd.count().map(drop));
            Ok(queue)
        })
        .unwrap();
        d.input().push([1]);
        let e = d.batch().unwrap_err().to_string();
        assert_eq!(attempts.load(SeqCst), 3, "{engine:?}");
        assert!(e.contains("failed 3 times") && e.contains("no luck"), "{engine:?}: {e}");
    }
}

#[test]
fn local_dir() {
    let folder = Folder::new("local-dir");
    let conf = with([("brooklet.local.dir", folder.path())]);
    let (mut d, seen) = receiving(conf, StorageLevel::DISK_ONLY, |out| {
        out.store_block(0..10_000_u64)?;
        Ok(())
    });
    d.start().unwrap();
    d.context().await_receivers().unwrap();
    assert!(folder.bytes() > 10_000, "{} bytes", folder.bytes());
    d.batch().unwrap();
    assert_eq!(seen.items(), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn storage_memory() {
    let folder = Folder::new("memory");
    let spilled = |memory| {
        let conf =
            with([("brooklet.local.dir", folder.path()), ("brooklet.storage.memory", memory)]);
        let (mut d, seen) = receiving(conf, StorageLevel::MEMORY_AND_DISK, |out| {
            (0..8_u64).try_for_each(|i| out.store_block(i * 50_000..(i + 1) * 50_000))?;
            Ok(())
        });
        d.start().unwrap();
        d.context().await_receivers().unwrap();
        let bytes = folder.bytes();
        d.batch().unwrap();
        assert_eq!(seen.items(), (0..400_000).collect::<Vec<_>>());
        bytes
    };
    assert_eq!(spilled("64m"), 0);
    assert!(spilled("1m") > 100_000, "8 blocks of 400 kB don't fit");
}

/// Bytes that the tasks of a shuffle of 40,000 records write for want of memory.
fn spilled(conf: Conf) -> u64 {
    let ctx = Context::new(conf).unwrap();
    let pairs = ctx.parallelize((0..40_000_u64).map(|i| (i % 10_000, i)), 4);
    assert_eq!(pairs.reduce_by_key(|a, b| a + b).count().unwrap(), 10_000);
    ctx.spill_metrics().spilled_bytes
}

#[test]
fn task_memory() {
    let of = |memory| spilled(with([("brooklet.task.memory", memory)]));
    assert_eq!(of("64m"), 0);
    let bytes = of("16k");
    assert!(bytes > 100_000, "{bytes} bytes of tables of 10,000 keys");
}

#[test]
fn shuffle_memory() {
    let of = |memory| spilled(with([("brooklet.shuffle.memory", memory)]));
    assert_eq!(of("64m"), 0);
    let (some, all) = (of("500k"), of("0"));
    assert!(some > 0 && some < all && all > 100_000, "{some} and {all} bytes");
}

/// A driver that keeps a state for each number.
fn counting(conf: Conf) -> Driver<Queue<i64>> {
    numbers(conf, |s| {
        let seen = s.map(|x| (x, ())).map_with_state(|_, _, n: &mut State<i64>| {
            n.update(n.get().unwrap_or(&0) + 1);
        });
        seen.foreach_rdd(|rdd, _| rdd.count().map(drop));
    })
}

#[test]
fn state_store() {
    for (store, on_disk) in [("memory", false), ("disk", true)] {
        let folder = Folder::new(store);
        let conf = with([("brooklet.state.store", store), ("brooklet.local.dir", folder.path())]);
        let mut d = counting(conf);
        d.input().push(0..1_000);
        d.batches(3).unwrap();
        assert_eq!(folder.bytes() > 0, on_disk, "{store}");
        assert_eq!(d.context().state_metrics()[0].keys, 1_000);
        drop(d);
        assert_eq!(folder.bytes(), 0);
    }
}

#[test]
fn state_dir() {
    let (local, states) = (Folder::new("blocks"), Folder::new("states"));
    let conf = with([
        ("brooklet.state.store", "disk"),
        ("brooklet.local.dir", local.path()),
        ("brooklet.state.dir", states.path()),
    ]);
    let mut d = counting(conf);
    d.input().push(0..1_000);
    d.batches(2).unwrap();
    assert!(states.bytes() > 0 && local.bytes() == 0);
}

#[test]
fn state_memory() {
    // An eighth is the write buffer; what is more goes to tables on disk.
    let of = |memory| {
        let mut d =
            counting(with([("brooklet.state.store", "disk"), ("brooklet.state.memory", memory)]));
        d.input().push(0..50_000);
        d.input().push(50_000..100_000);
        d.batches(4).unwrap();
        d
    };
    let (small, large) = (of("8m"), of("512m"));
    let tables = |d: &Driver<Queue<i64>>| d.context().state_metrics()[0].disk_bytes;
    until("a full write buffer is written", || tables(&small) > 500_000);
    assert_eq!(tables(&large), 0);
}

#[test]
fn storage_compress() {
    let on_disk = |compress| {
        let folder = Folder::new(compress);
        let conf =
            with([("brooklet.local.dir", folder.path()), ("brooklet.storage.compress", compress)]);
        let (mut d, seen) = receiving(conf, StorageLevel::DISK_ONLY, |out| {
            out.store_block(std::iter::repeat_n(1_234_567_u64, 100_000))?;
            Ok(())
        });
        d.start().unwrap();
        d.context().await_receivers().unwrap();
        let bytes = folder.bytes();
        d.batch().unwrap();
        assert_eq!(seen.items().len(), 100_000);
        bytes
    };
    let (plain, compressed) = (on_disk("false"), on_disk("true"));
    assert!(compressed > 0 && compressed < plain / 4, "{compressed} of {plain}");
}

#[test]
fn streaming_batch_interval() {
    let conf = with([("brooklet.streaming.batchInterval", "250")]);
    let ssc = StreamingContext::builder(conf.clone()).build().unwrap();
    assert_eq!(ssc.batch_interval(), millis(250));
    let ssc = StreamingContext::builder(conf.clone()).batch_interval(seconds(2)).build().unwrap();
    assert_eq!(ssc.batch_interval(), seconds(2), "the program wins");
    assert_eq!(StreamingContext::new(conf, seconds(3)).unwrap().batch_interval(), seconds(3));
    assert_eq!(StreamingContext::builder(with([])).build().unwrap().batch_interval(), seconds(1));
}

#[test]
fn streaming_concurrent_jobs() {
    // Two outputs that wait for each other have to run at the same time.
    let both = Arc::new(Barrier::new(2));
    let mut d = numbers(with([("brooklet.streaming.concurrentJobs", "2")]), |s| {
        for _ in 0..2 {
            let both = both.clone();
            s.foreach_rdd(move |_, _| {
                both.wait();
            });
        }
    });
    d.batches(3).unwrap();
}

#[test]
fn streaming_max_queued_batches() {
    let gate = Gate::default();
    let g = gate.clone();
    let mut d = numbers(with([("brooklet.streaming.maxQueuedBatches", "2")]), |s| {
        s.foreach_rdd(move |_, _| g.pass());
    });
    d.start().unwrap();
    d.clock().advance(seconds(3));
    let now = || d.context().metrics().unwrap().snapshot();
    until("a tick that waits", || now().waiting_ticks == 1);
    assert_eq!(now().unprocessed_batches, 2, "one runs, one waits, the third has no place");
    gate.open();
    until("all batches", || now().total_completed_batches == 3);
}

#[test]
fn streaming_queue_policy() {
    let gate = Gate::default();
    let g = gate.clone();
    let policy =
        [("brooklet.streaming.queuePolicy", "fail"), ("brooklet.streaming.maxQueuedBatches", "1")];
    let mut d = numbers(with(policy), |s| {
        s.foreach_rdd(move |_, _| g.pass());
    });
    d.start().unwrap();
    d.clock().advance(seconds(2));
    let ssc = d.context().clone();
    until("the failure", || ssc.await_termination_or_timeout(millis(0)).is_err());
    gate.open();
    let e = ssc.await_termination().unwrap_err();
    assert!(matches!(e.root(), Error::QueueFull { waiting: 1, .. }), "{e}");
    assert_eq!(
        with([("brooklet.streaming.queuePolicy", "merge")]).get(policy[0].0).unwrap().as_deref(),
        Some("merge")
    );
}

/// A driver whose output fails at the number 13, and how often it was called.
fn failing(conf: Conf) -> (Driver<Queue<i64>>, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let n = calls.clone();
    let d = numbers(conf, |s| {
        s.foreach_rdd(move |rdd, _| {
            n.fetch_add(1, SeqCst);
            if rdd.collect()? == [13] { Err(Error::Usage("bad luck".into())) } else { Ok(()) }
        });
    });
    d.input().push([13]);
    d.input().push([14]);
    (d, calls)
}

#[test]
fn streaming_failure_policy() {
    let (mut d, calls) = failing(with([("brooklet.streaming.failurePolicy", "skip")]));
    d.batches(2).unwrap();
    assert_eq!(calls.load(SeqCst), 2);
    assert_eq!(d.context().metrics().unwrap().snapshot().failed_output_ops, 1);
    let (mut d, _) = failing(with([("brooklet.streaming.failurePolicy", "stop")]));
    assert!(d.batch().unwrap_err().to_string().contains("bad luck"));
}

#[test]
fn streaming_output_retries() {
    let conf = with([
        ("brooklet.streaming.outputRetries", "2"),
        ("brooklet.streaming.failurePolicy", "skip"),
    ]);
    let (mut d, calls) = failing(conf);
    d.batches(2).unwrap();
    assert_eq!(calls.load(SeqCst), 3 + 1, "three times for the first batch, once for the second");
}

/// Runs five batches with a shuffle; the batches whose outputs are kept at the end are to be these.
fn keeps(conf: Conf, want: &[u64]) {
    let mut d = numbers(conf, |s| {
        s.map(|x| (x, x)).reduce_by_key(|a, _| a).foreach_rdd(|r, _| r.count().map(drop));
    });
    for i in 0..5 {
        d.input().push([i]);
        d.batch().unwrap();
    }
    let ctx = d.context().context();
    until("the clean-up", || {
        let mut kept: Vec<u64> = faults::stages(ctx).iter().map(|s| s.batch.millis()).collect();
        kept.sort();
        kept == want
    });
}

#[test]
fn http_address() {
    let conf = with([("brooklet.http.address", "127.0.0.2:0")]);
    let mut d = numbers(conf, |s| drop(s.serve("numbers")));
    d.start().unwrap();
    let at = d.context().http_address().unwrap();
    assert_eq!(at.ip().to_string(), "127.0.0.2");
}

#[test]
fn streaming_remember() {
    keeps(with([("brooklet.streaming.remember", "2s")]), &[4_000, 5_000]);
}

#[test]
fn streaming_unpersist() {
    keeps(with([("brooklet.streaming.unpersist", "true")]), &[]);
    keeps(with([("brooklet.streaming.unpersist", "false")]), &[1_000, 2_000, 3_000, 4_000, 5_000]);
}

#[test]
fn streaming_graceful_stop_timeout() {
    let running = Gate::default();
    let r = running.clone();
    let conf = with([("brooklet.streaming.gracefulStopTimeout", "30ms")]);
    let mut d = numbers(conf, |s| {
        s.foreach_rdd(move |rdd, _| {
            r.open();
            while rdd.count().is_ok() {} // until it is cancelled
        });
    });
    d.input().push([1]);
    d.start().unwrap();
    d.clock().advance(seconds(1));
    running.pass();
    let e = d.context().stop(true).unwrap_err().to_string();
    assert!(e.contains("graceful stop: after 30ms"), "{e}");
}

#[test]
fn streaming_ui_retained_batches() {
    for (n, want) in [("3", vec![3_000, 4_000, 5_000]), ("0", vec![])] {
        let mut d = numbers(with([("brooklet.streaming.ui.retainedBatches", n)]), |s| {
            s.print_to(1, |_| ());
        });
        d.batches(5).unwrap();
        let metrics = d.context().metrics().unwrap();
        let kept = metrics.progress().completed();
        assert_eq!(kept.iter().map(|b| b.batch_time.millis()).collect::<Vec<_>>(), want);
        assert_eq!(metrics.gauge("retainedCompletedBatches"), Some(want.len() as i64));
        assert_eq!(metrics.gauge("totalCompletedBatches"), Some(5));
        let last = metrics.snapshot().last_completed_batch.unwrap();
        assert_eq!(last.batch_time.millis(), 5_000);
    }
}

#[test]
fn streaming_block_interval() {
    // A block every 20 ms of the clock; with the default of 200 ms there would be none.
    let (told, stored) = (Gates::default(), Gates::default());
    let (t, done) = (told.clone(), stored.clone());
    let conf = with([("brooklet.streaming.blockInterval", "20ms")]);
    let (mut d, seen) = receiving(conf, StorageLevel::MEMORY_ONLY, move |out| {
        for i in 0..3 {
            t[i].pass();
            out.store(i)?;
            done[i].open();
        }
        Ok(())
    });
    d.start().unwrap();
    for i in 0..3 {
        told[i].open();
        stored[i].pass();
        d.clock().advance(millis(20));
        until("a block", || of_receiver(&d, "blocks") == i as u64 + 1);
    }
    d.batch().unwrap();
    assert_eq!(seen.items(), [0, 1, 2]);
}

#[test]
fn streaming_block_queue_size() {
    // Each item is larger than a block may be, so the next one cuts it off. Stored: one, since an empty
    // receiver may always have one; then one on its way to the store, one in the queue, one being filled.
    let accepted = Arc::new(AtomicUsize::new(0));
    let n = accepted.clone();
    let conf = with([
        ("brooklet.streaming.blockQueueSize", "1"),
        ("brooklet.streaming.receiver.maxUnprocessedBytes", "1m"),
    ]);
    let (mut d, _) = receiving(conf, StorageLevel::MEMORY_ONLY, move |out| {
        while out.store(vec![7_u8; 9 << 20]).is_ok() {
            n.fetch_add(1, SeqCst);
        }
        Ok(())
    });
    d.start().unwrap();
    until("a block that waits", || of_receiver(&d, "blocked_blocks") == 1);
    until("a full queue", || accepted.load(SeqCst) >= 4);
    d.context().stop(false).unwrap();
    assert_eq!(accepted.load(SeqCst), 4, "the queue took more than one block");
}

#[test]
fn streaming_receiver_max_rate() {
    let stored = Arc::new(AtomicU32::new(0));
    let n = stored.clone();
    let conf = with([("brooklet.streaming.receiver.maxRate", "50")]);
    let (mut d, _) = receiving(conf, StorageLevel::MEMORY_ONLY, move |out| {
        assert_eq!(out.rate_limit(), Some(50));
        while out.store(1_u8).is_ok() {
            n.fetch_add(1, SeqCst);
        }
        Ok(())
    });
    d.start().unwrap();
    for want in [10, 20, 30] {
        d.clock().advance(millis(200));
        until("the records of 200 ms", || stored.load(SeqCst) >= want);
    }
    assert_eq!(stored.load(SeqCst), 30);
    let none = with([("brooklet.streaming.receiver.maxRate", "0")]);
    let (mut d, _) = receiving(none, StorageLevel::MEMORY_ONLY, |out: &mut Store<u8>| {
        assert_eq!(out.rate_limit(), None);
        Ok(())
    });
    d.start().unwrap();
    d.context().await_receivers().unwrap();
    assert_eq!(of_receiver(&d, "errors"), 0);
}

/// How many blocks of 400 kB have to wait, of three.
fn blocked(conf: Conf, level: StorageLevel) -> u64 {
    let (mut d, _) = receiving(conf, level, |out| {
        (0..3_u64).try_for_each(|i| out.store_block(i * 50_000..(i + 1) * 50_000))?;
        Ok(())
    });
    d.start().unwrap();
    let receiving = || d.context().metrics().is_some() && of_receiver(&d, "blocks") < 3;
    until("blocks, or one that waits", || !receiving() || of_receiver(&d, "blocked_blocks") > 0);
    of_receiver(&d, "blocked_blocks")
}

#[test]
fn streaming_receiver_max_unprocessed_bytes() {
    let limit = |n| with([("brooklet.streaming.receiver.maxUnprocessedBytes", n)]);
    assert_eq!(blocked(limit("1000k"), StorageLevel::MEMORY_ONLY), 1);
    assert_eq!(blocked(limit("16m"), StorageLevel::MEMORY_ONLY), 0);
}

#[test]
fn streaming_receiver_max_spilled_bytes() {
    let limit = |n| with([("brooklet.streaming.receiver.maxSpilledBytes", n)]);
    assert_eq!(blocked(limit("100k"), StorageLevel::DISK_ONLY), 1);
    assert_eq!(blocked(limit("16m"), StorageLevel::DISK_ONLY), 0);
}

#[test]
fn streaming_receiver_restart_delay() {
    let starts = Arc::<Mutex<Vec<Timestamp>>>::default();
    let clock = Arc::new(Mutex::new(None::<Arc<dyn Clock>>));
    let (s, c) = (starts.clone(), clock.clone());
    let conf = with([("brooklet.streaming.receiverRestartDelay", "7s")]);
    let (mut d, _) = receiving(conf, StorageLevel::MEMORY_ONLY, move |_: &mut Store<u8>| {
        let now = c.lock().unwrap().as_ref().unwrap().now();
        let mut starts = s.lock().unwrap();
        starts.push(now);
        if starts.len() == 1 { Err("a wave".into()) } else { Ok(()) }
    });
    *clock.lock().unwrap() = Some(d.clock().clone());
    d.start().unwrap();
    until("the failure", || of_receiver(&d, "restarts") == 1);
    until("the second run", || {
        d.batch().unwrap();
        starts.lock().unwrap().len() == 2
    });
    let starts = starts.lock().unwrap();
    assert!(starts[1].since(starts[0]) >= seconds(7), "{starts:?}");
}

#[test]
fn streaming_max_line_bytes() {
    let conf = with([("brooklet.streaming.maxLineBytes", "16")]);
    let (mut d, seen) = receiving(conf, StorageLevel::MEMORY_ONLY, |out: &mut Store<Str>| {
        out.store_bytes("0123456789abcdefGHIJ\nshort\n")?;
        Ok(())
    });
    d.start().unwrap();
    d.context().await_receivers().unwrap();
    d.batch().unwrap();
    assert_eq!(seen.items(), ["0123456789abcdef", "GHIJ", "short"]);
    assert_eq!(of_receiver(&d, "long_lines"), 1);
}

/// Runs the test of this name again in a process of its own, with a terminating signal as soon as it says
/// that it runs; its exit code and what it wrote.
fn terminated(role: &str) -> (Option<i32>, String) {
    use std::io::{BufRead, BufReader, Read};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "configuration::streaming_stop_gracefully_on_shutdown", "--nocapture"])
        .env("TEST_ROLE", role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("first records") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "{role} ended early");
    }
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

#[cfg(unix)]
#[test]
fn streaming_stop_gracefully_on_shutdown() {
    let Ok(role) = std::env::var("TEST_ROLE") else {
        let (code, rest) = terminated("true");
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.contains("all of it was processed"), "{rest}");
        assert_eq!(terminated("stuck"), (Some(128 + 15), String::new()), "a second signal");
        assert_eq!(terminated("false"), (None, String::new()), "the signal ended it");
        return;
    };
    let stuck = role == "stuck";
    let graceful = if stuck { "true" } else { &role };
    let conf = Conf::new("signalled").set("brooklet.streaming.stopGracefullyOnShutdown", graceful);
    let conf = conf.unwrap().master("local[2]").block_interval(millis(5));
    let ssc = StreamingContext::new(conf, millis(10)).unwrap();
    let (accepted, processed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (a, p) = (accepted.clone(), processed.clone());
    let stream = ssc.receiver_stream(scripted(move |out: &mut Store<u64>| {
        while out.store(1).is_ok() {
            a.fetch_add(1, SeqCst);
        }
        if stuck {
            // The first signal asks for the stop; this receiver never ends. Then the second one comes.
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-TERM", &me]).status();
            Gate::default().pass();
        }
        Ok(())
    }));
    stream.foreach_rdd(move |rdd, _| {
        let n = rdd.count()?;
        if p.fetch_add(n as usize, SeqCst) == 0 && n > 0 {
            println!("first records");
        }
        Ok::<_, Error>(())
    });
    ssc.start().unwrap();
    ssc.await_termination().unwrap();
    assert_eq!(processed.load(SeqCst), accepted.load(SeqCst));
    println!("all of it was processed");
}

/// The functions behind `#[test]` in this file, with their bodies.
fn tests_here() -> Vec<(String, String)> {
    let source = include_str!("configuration.rs");
    let tests = source.split("#[test]\nfn ").skip(1);
    tests
        .map(|t| {
            let (name, body) = t.split_once("()").unwrap();
            (name.to_owned(), body.split("\n}\n").next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn every_key_has_a_test_of_its_effect() {
    let tests = tests_here();
    let missing: Vec<&str> = Conf::keys()
        .iter()
        .filter(|k| {
            let name = k.env().to_lowercase().replacen("brooklet_", "", 1);
            let quoted = format!("\"{}\"", k.name);
            !tests.iter().any(|(test, body)| *test == name && body.contains(&quoted))
        })
        .map(|k| k.name)
        .collect();
    assert!(missing.is_empty(), "no test named after the key that uses it: {missing:?}");
}

// ---- sources ----

#[test]
fn the_last_source_wins_and_entries_say_which() {
    let folder = Folder::new("sources");
    let file = folder.file(
        "[brooklet.streaming]\nblock_interval = \"10ms\"\nmax_queued_batches = 3\nconcurrentJobs = 4\n\
         maxLineBytes = \"64\"\n",
    );
    let conf = Conf::new("sources")
        .concurrent_jobs(7)
        .with_file(&file)
        .unwrap()
        .with_vars([
            ("BROOKLET_STREAMING_MAX_QUEUED_BATCHES", "5"),
            ("BROOKLET_STREAMING_MAX_LINE_BYTES", "128"),
            ("BROOKLET_TASK_MAX_FAILURES", "9"),
            ("BROOKLET_CONF", "not a setting"),
            ("SPARK_MASTER", "not ours"),
        ])
        .unwrap()
        .with_argument("brooklet.streaming.maxLineBytes=256")
        .unwrap()
        .task_max_failures(2);
    let of = |key: &str| {
        let e = conf.entries().into_iter().find(|e| e.key == key).unwrap();
        (e.value.unwrap_or_default(), e.origin)
    };
    let at = |line| ConfOrigin::File { path: file.clone(), line, column: 1 };
    assert_eq!(of("brooklet.streaming.blockInterval"), ("10ms".into(), at(2)));
    assert_eq!(of("brooklet.streaming.concurrentJobs"), ("4".into(), at(4)));
    let env = ConfOrigin::Env("BROOKLET_STREAMING_MAX_QUEUED_BATCHES".into());
    assert_eq!(of("brooklet.streaming.maxQueuedBatches"), ("5".into(), env));
    let argument = ConfOrigin::Argument("brooklet.streaming.maxLineBytes=256".into());
    assert_eq!(of("brooklet.streaming.maxLineBytes"), ("256".into(), argument));
    let (value, origin) = of("brooklet.task.maxFailures");
    assert!(matches!(&origin, ConfOrigin::Program(at) if at.file().ends_with("configuration.rs")));
    assert_eq!(value, "2");
    assert_eq!(of("brooklet.storage.memory"), ("512m".into(), ConfOrigin::Default));
    assert_eq!(of("brooklet.streaming.receiver.maxRate"), (String::new(), ConfOrigin::Default));
    assert_eq!(of("brooklet.app.name").0, "sources");
}

#[test]
fn every_setting_is_read_from_a_file_the_environment_and_the_originals_key() {
    let folder = Folder::new("all");
    for k in Conf::keys() {
        let value = match k.name {
            "brooklet.app.name" | "brooklet.local.dir" => "somewhere",
            "brooklet.master" => "local[3]",
            "brooklet.streaming.queuePolicy" => "merge",
            "brooklet.streaming.failurePolicy" => "skip",
            "brooklet.state.store" => "disk",
            "brooklet.streaming.unpersist" => "false",
            _ if k.default() == "`true`" => "false",
            _ if k.kind == brooklet::ConfKind::Flag => "true",
            _ if k.kind == brooklet::ConfKind::Duration => "123ms",
            _ => "77",
        };
        let snake = k.env().to_lowercase();
        let quoted = format!("\"{}\" = \"{value}\"\n", k.name);
        let (first, last) = k.name.rsplit_once('.').unwrap();
        let table = format!("[{first}]\n{last} = '{value}'\n");
        let mut found = vec![Conf::new("x").with_vars([(k.env(), value)])];
        for text in [quoted, table, format!("{} = \"{value}\"\n", k.name)] {
            found.push(Conf::new("x").with_file(folder.file(&text)));
        }
        for name in k.original.into_iter().chain([k.name]) {
            found.push(Conf::new("x").set(name, value));
        }
        for conf in found {
            let conf = conf.unwrap_or_else(|e| panic!("{snake}: {e}"));
            assert_eq!(conf.get(k.name).unwrap().as_deref(), Some(value), "{}", k.name);
        }
    }
}

#[test]
fn load_is_defaults_then_file_then_environment() {
    // Other tests run in this process, whose environment has no settings: what `load` finds there is
    // tried through the command line.
    let conf = Conf::load("plain").unwrap();
    let set: Vec<_> =
        conf.entries().into_iter().filter(|e| e.origin != ConfOrigin::Default).collect();
    assert_eq!(set.len(), 1, "{set:?}");
    assert_eq!((set[0].key, set[0].value.as_deref()), ("brooklet.app.name", Some("plain")));
}

#[test]
fn the_files_in_the_documentation_are_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let folder = Folder::new("documentation");
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let conf = Conf::new("doc").with_file(folder.file(block)).unwrap();
        assert!(conf.entries().iter().any(|e| matches!(e.origin, ConfOrigin::File { .. })));
    }
}

// ---- mistakes ----

fn error_of(conf: brooklet::Result<Conf>) -> String {
    let e = conf.unwrap_err();
    assert!(matches!(e, Error::Config { .. }), "{e:?}");
    e.to_string()
}

fn assert_says(text: &str, hints: &[&str]) {
    for hint in hints {
        assert!(text.contains(hint), "`{hint}` isn't in: {text}");
    }
}

#[test]
fn an_unknown_key_names_source_place_and_the_nearest_key() {
    let nearest = "there is no such setting; did you mean `brooklet.streaming.blockInterval`?";
    let here = format!("program at {}:{}", file!(), line!() + 1);
    let e = error_of(Conf::new("x").set("brooklet.streaming.blokInterval", "1s"));
    assert_eq!(e, format!("setting `brooklet.streaming.blokInterval`: {here}: {nearest}"));
    let e = error_of(Conf::new("x").with_argument("brooklet.streaming.block_intervall=1s"));
    assert_eq!(
        e,
        format!(
            "setting `brooklet.streaming.block_intervall`: argument \
             `brooklet.streaming.block_intervall=1s`: {nearest}"
        )
    );
    let e = error_of(Conf::new("x").with_vars([("BROOKLET_STREAMING_BLOCK_INTERVALL", "1s")]));
    assert_eq!(
        e,
        "setting `BROOKLET_STREAMING_BLOCK_INTERVALL`: environment variable \
         BROOKLET_STREAMING_BLOCK_INTERVALL: there is no such setting; did you mean \
         `BROOKLET_STREAMING_BLOCK_INTERVAL`?"
    );
    let folder = Folder::new("typo");
    let file = folder.file("# 设置\n[brooklet.streaming]\n  blokInterval = \"1s\"\n");
    let e = error_of(Conf::new("x").with_file(&file));
    assert_eq!(
        e,
        format!("setting `brooklet.streaming.blokInterval`: {}:3:3: {nearest}", file.display())
    );
    assert_says(
        &error_of(Conf::new("x").set("spark.streaming.blockIntervall", "1s")),
        &["did you mean `spark.streaming.blockInterval`?"],
    );
    assert_says(
        &error_of(Conf::new("x").set("streaming.blockInterval", "1s")),
        &["did you mean `brooklet.streaming.blockInterval`?"],
    );
    assert_says(
        &error_of(Conf::new("x").set("spark.sql.shuffle.partitions", "8")),
        &["no such setting", "remove it", "docs/configuration.md"],
    );
    assert_says(
        &error_of(Conf::new("x").with_vars([("BROOKLET_HOME", "/opt")])),
        &["environment variable BROOKLET_HOME", "no such setting"],
    );
    let e = Conf::new("x").get("brooklet.mastr").unwrap_err().to_string();
    assert_says(&e, &["`brooklet.mastr`", "did you mean `brooklet.master`?"]);
}

#[test]
fn a_key_whose_part_is_missing_is_refused_with_the_reason() {
    for (key, reason) in [
        ("spark.streaming.backpressure.enabled", "back pressure isn't in this build"),
        ("brooklet.streaming.backpressure.pid.min_rate", "brooklet.streaming.receiver.maxRate"),
        ("spark.streaming.kafka.maxRatePerPartition", "Kafka source isn't in this build"),
        ("spark.streaming.receiver.writeAheadLog.enable", "write-ahead log isn't in this build"),
        ("spark.streaming.receiver.blockStoreTimeout", "blocked_nanos"),
        ("spark.streaming.checkpoint.directory", "recovery"),
        ("spark.streaming.dynamicAllocation.enabled", "no executors"),
        ("spark.streaming.stopSparkContextByDefault", "last clone"),
        ("spark.streaming.fileStream.minRememberDuration", "path, size and time"),
        ("spark.streaming.clock", "for tests"),
        ("spark.executor.memory", "one process"),
        ("spark.speculation", "aren't run twice"),
        ("spark.speculation.interval", "aren't run twice"),
        ("spark.ui.port", "web page isn't in this build"),
    ] {
        let e = error_of(Conf::new("x").set(key, "true"));
        assert_says(&e, &[&format!("setting `{key}`: program at "), reason]);
        assert_says(&Conf::new("x").get(key).unwrap_err().to_string(), &[reason]);
    }
    assert_says(
        &error_of(Conf::new("x").with_vars([("BROOKLET_STREAMING_BACKPRESSURE_ENABLED", "true")])),
        &["environment variable BROOKLET_STREAMING_BACKPRESSURE_ENABLED", "back pressure"],
    );
    let folder = Folder::new("refused");
    for text in [
        "[spark.streaming.backpressure]\nenabled = true\n",
        "spark.streaming.backpressure = {enabled = true}\n",
        "[spark]\nspeculation.interval = 3\n",
        "[spark.executor]\nmemory = \"4g\"\n",
    ] {
        let e = error_of(Conf::new("x").with_file(folder.file(text)));
        assert_says(&e, &["setting `spark.", "brooklet.toml:"]);
        assert!(!e.contains("no such setting"), "{e}");
    }
}

#[test]
fn a_value_that_cannot_be_says_what_to_write() {
    for (key, value, hints) in [
        ("streaming.blockInterval", "fast", &["`fast` is not a duration", "`200ms`"][..]),
        ("streaming.blockInterval", "3 fortnights", &["unknown unit `fortnights`", "ms, s, min"]),
        ("streaming.blockInterval", "-5ms", &["`-5ms` is negative"]),
        ("streaming.blockInterval", "0", &["must be at least 1 ms"]),
        ("streaming.blockInterval", "1.5ms", &["whole number of milliseconds"]),
        ("streaming.blockInterval", "9999999999999999999999d", &["too long", "365d"]),
        ("streaming.batchInterval", "0s", &["at least 1 ms"]),
        ("streaming.concurrentJobs", "0", &["must be at least 1"]),
        ("streaming.concurrentJobs", "-1", &["negative"]),
        ("streaming.concurrentJobs", "two", &["whole number"]),
        ("streaming.concurrentJobs", "99999999999999999999", &["too large"]),
        ("streaming.receiver.maxRate", "1e3", &["digits only"]),
        ("task.maxFailures", "4294967296", &["too large"]),
        ("streaming.maxLineBytes", "8", &["at least 16"]),
        ("storage.memory", "1.5g", &["whole number"]),
        ("storage.memory", "99999999t", &["too large"]),
        ("storage.memory", "4 pages", &["unknown unit `pages`"]),
        ("storage.compress", "yes", &["neither `true` nor `false`"]),
        ("streaming.queuePolicy", "drop", &["wait, merge, fail"]),
        ("streaming.failurePolicy", "Stop", &["stop, skip"]),
        ("local.dir", "", &["empty"]),
        ("local.dir", "/a,/b", &["one folder"]),
        ("app.name", " ", &["empty"]),
        ("master", "yarn", &["`yarn` is no master", "local[N]"]),
        ("default.parallelism", "0", &["must be at least 1"]),
    ] {
        let key = format!("brooklet.{key}");
        let e = error_of(Conf::new("x").set(&key, value));
        assert_says(&e, hints);
        assert_says(&e, &[&format!("setting `{key}`: program at {}:", file!())]);
    }
    assert_says(&error_of(Conf::new("x").with_argument("brooklet.master")), &["KEY=VALUE"]);
}

#[test]
fn a_typed_setter_is_named_by_its_line_when_the_context_is_made() {
    let line = line!() + 1;
    let conf = Conf::new("x").concurrent_jobs(0);
    let e = Context::new(conf).unwrap_err().to_string();
    let here = format!("program at {}:{line}", file!());
    assert_eq!(
        e,
        format!("setting `brooklet.streaming.concurrentJobs`: {here}: must be at least 1")
    );
    let e = Context::new(
        Conf::new("x").block_interval(Timestamp::from_nanos(1_500_000).since(Timestamp::default())),
    )
    .unwrap_err();
    assert_says(&e.to_string(), &["blockInterval", "whole number of milliseconds"]);
}

#[test]
fn a_file_is_checked_line_by_line() {
    let folder = Folder::new("file");
    for (text, place, hints) in [
        (
            "[brooklet.streaming]\nblock_interval = true\n",
            "2:1",
            &["`true` is a flag", "\"200ms\""][..],
        ),
        ("brooklet.streaming.concurrentJobs = 1.5\n", "1:20", &["with a fraction", "whole number"]),
        ("brooklet.streaming.concurrentJobs = [1]\n", "1:20", &["an array", "whole number"]),
        ("brooklet.streaming.concurrentJobs.n = 1\n", "1:20", &["a table", "whole number"]),
        ("brooklet.streaming.concurrentJobs = {}\n", "1:20", &["a table", "whole number"]),
        ("brooklet.master = 2\n", "1:10", &["2 is a number", "text in quotes"]),
        ("brooklet.storage.compress = 1\n", "1:18", &["1 is a number", "true or false"]),
        ("brooklet.app.name = 2026-01-01\n", "1:14", &["a date", "text in quotes"]),
        (
            "brooklet.streaming.queuePolicy = false\n",
            "1:20",
            &["one of \"wait\", \"merge\", \"fail\""],
        ),
        ("\n\nbrooklet.streaming.concurrentJobs = -2\n", "3:20", &["negative"]),
        ("brooklet.task.maxFailures = 0xFFFF_FFFF_F\n", "1:15", &["too large"]),
        ("brooklet.streaming.receiver.maxRate = 99999999999999999999\n", "1:29", &["too large"]),
        ("[logging]\nlevel = 3\n", "2:1", &["`logging.level`", "no such setting"]),
        ("[logging]\n", "1:2", &["`logging`", "no such setting"]),
        ("[[brooklet.streaming]]\n", "1:12", &["no such setting"]),
    ] {
        let file = folder.file(text);
        let e = error_of(Conf::new("x").with_file(&file));
        assert_says(&e, &[&format!("{}:{place}: ", file.display())]);
        assert_says(&e, hints);
    }
    // Numbers and hexadecimal ones are fine, with or without quotes; so is an empty table.
    let right = "[brooklet.storage]\nmemory = 0x10_0000\n[brooklet.streaming.receiver]\n[brooklet.task]\n\
                 maxFailures = \"3\"\n[brooklet.streaming]\nblockInterval = 250\n";
    let conf = Conf::new("x").with_file(folder.file(right)).unwrap();
    assert_eq!(conf.get("brooklet.storage.memory").unwrap().as_deref(), Some("1m"));
    assert_eq!(conf.get("brooklet.streaming.blockInterval").unwrap().as_deref(), Some("250ms"));
}

#[test]
fn a_file_that_is_no_toml_or_is_missing_is_named() {
    let folder = Folder::new("syntax");
    let file = folder.file("[brooklet]\nmaster = local\n");
    let e = Conf::new("x").with_file(&file).unwrap_err();
    assert!(
        matches!(&e, Error::ConfigFile { line: 2, column: 10, path, .. } if *path == file),
        "{e:?}"
    );
    assert_says(&e.to_string(), &[&format!("{}:2:10: ", file.display())]);
    let file = folder.file("brooklet.master = 'local'\nbrooklet.master = 'local'\n");
    let e = Conf::new("x").with_file(&file).unwrap_err();
    assert!(matches!(&e, Error::ConfigFile { line: 2, .. }), "{e:?}");
    let missing = folder.0.join("missing.toml");
    let e = Conf::new("x").with_file(&missing).unwrap_err();
    assert!(matches!(&e, Error::Io { .. }), "{e:?}");
    assert_says(&e.to_string(), &["configuration file", "missing.toml", "No such file"]);
    fs::write(&missing, b"\xFF\xFE").unwrap();
    assert_says(&Conf::new("x").with_file(&missing).unwrap_err().to_string(), &["UTF-8"]);
}

#[test]
fn one_setting_twice_in_a_file_must_have_one_value() {
    let folder = Folder::new("twice");
    let file = folder.file(
        "[spark.streaming]\nblockInterval = \"200ms\"\n[brooklet.streaming]\nblock_interval = \"1s\"\n",
    );
    let e = error_of(Conf::new("x").with_file(&file));
    let path = file.display();
    assert_eq!(
        e,
        format!(
            "setting `brooklet.streaming.block_interval`: {path}:4:1: `1s` here and `200ms` at {path}:2:1 \
             are the same setting: keep one"
        )
    );
    let same = folder
        .file("spark.streaming.blockInterval = 1000\nbrooklet.streaming.blockInterval = '1s'\n");
    let conf = Conf::new("x").with_file(same).unwrap();
    assert_eq!(conf.get("spark.streaming.blockInterval").unwrap().as_deref(), Some("1s"));
}
