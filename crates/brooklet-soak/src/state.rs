//! A million keys of which ten thousand are touched by each batch, with time-outs and checkpoints; and keys that
//! come and go for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use brooklet::prelude::*;
use brooklet::source::Queue;
use brooklet::time::ManualClock;
use brooklet::{BatchInfo, CheckpointOptions};

use crate::Result;
use crate::figures::{Limits, median, quantile};
use crate::process::{peak_mb, resident_mb};

const STEP: Duration = Duration::from_secs(1);

fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream on a manual clock.
struct Stepped {
    ssc: StreamingContext,
    clock: Arc<ManualClock>,
    done: Receiver<()>,
    batches: u32,
}

struct Completed(Sender<()>);

impl StreamingListener for Completed {
    fn on_batch_completed(&mut self, _: &BatchInfo) {
        let _ = self.0.send(());
    }
}

impl Stepped {
    fn new(interval: Duration) -> Result<Stepped> {
        let clock = ManualClock::new(Time::ZERO);
        let conf = Conf::new("state").master("local[2]").default_parallelism(2);
        let ssc = StreamingContext::new(conf.clock(clock.clone()), interval)?;
        let (sent, done) = channel();
        ssc.add_listener(Completed(sent));
        Ok(Stepped { ssc, clock, done, batches: 0 })
    }

    /// Runs a batch; how long it took.
    fn batch(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.batches += 1;
        self.clock.set(Time::ZERO + self.ssc.batch_interval() * self.batches);
        self.done.recv_timeout(Duration::from_secs(60))?;
        Ok(begin.elapsed())
    }
}

fn at_most(limits: &mut Limits, what: &str, value: f64, limit: f64) {
    limits.check(what, format!("{value:.3}"), limit, value <= limit);
}

fn push(queue: &Queue<(u64, ())>, keys: impl Iterator<Item = u64>) {
    let all: Vec<_> = keys.map(|k| (k, ())).collect();
    let half = all.len() / 2;
    queue.push_partitions([all[..half].to_vec(), all[half..].to_vec()]);
}

/// `keys` keys, 10,000 touched in each of `batches` batches at an interval of `ms`.
pub fn touched(folder: &str, batches: u64, ms: u64) -> Result<()> {
    const KEYS: u64 = 1_000_000;
    const TOUCH: u64 = 10_000;
    let mut run = Stepped::new(millis(ms))?;
    run.ssc.checkpoint_with(folder, CheckpointOptions::new())?;
    let (queue, keys) = run.ssc.queue_stream::<(u64, ())>();
    // A task that fails now and then has to be undone.
    let trip = Arc::new(AtomicBool::new(false));
    let t = trip.clone();
    let spec = StateSpec::new().timeout(millis(ms * batches * 2));
    let counts = keys.map_with_state_spec(spec, move |k, _: Option<()>, n: &mut State<u64>| {
        assert!(*k % 1000 != 7 || !t.swap(false, Relaxed), "on purpose");
        let now = n.get().unwrap_or(&0) + 1;
        n.update(now);
        (*k, now)
    });
    counts.name("counts").count().foreach_rdd(|rdd, _| rdd.count().map(drop));
    run.ssc.start()?;
    let mut load = Duration::ZERO;
    for from in (0..KEYS).step_by(TOUCH as usize) {
        push(&queue, from..from + TOUCH);
        load += run.batch()?;
    }
    let bytes = || run.ssc.checkpoint_metrics().map_or(0, |m| m.changed_bytes);
    println!("loading {KEYS} keys, {TOUCH} a batch: {:.0} ms", load.as_secs_f64() * 1e3);
    let (mut took, mut probe) = (Vec::new(), Vec::new());
    let before = bytes();
    for b in 1..=batches {
        push(&queue, (0..TOUCH).map(|j| mix(b * 1_000_003 + j) % KEYS));
        if b % 500 == 0 {
            trip.store(true, Relaxed);
        }
        let begin = Instant::now();
        let sum = (0..400_000u64).fold(b, |a, i| mix(a ^ i));
        probe.push(begin.elapsed() + Duration::from_nanos(sum & 1));
        took.push(run.batch()?);
    }
    let state = run.ssc.state_metrics().into_iter().find(|s| s.operator == "counts");
    let state = state.ok_or("no metrics of the state")?;
    run.ssc.stop(true)?;
    let written = run.ssc.checkpoint_metrics().ok_or("no checkpoints")?;
    let ms_of = |d: Duration| d.as_secs_f64() * 1e3;
    let mut limits = Limits::default();
    for (what, all) in [("a batch", &took), ("the probe beside it", &probe)] {
        println!(
            "{what}: median {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
            ms_of(median(all)),
            ms_of(quantile(all, 0.99)),
            ms_of(quantile(all, 0.999)),
            ms_of(quantile(all, 1.0)),
        );
    }
    println!(
        "{} index rebuilds, {} attempts undone, {} keys",
        state.index_rebuilds, state.undone, state.keys
    );
    for (what, longest) in [
        ("resize", state.longest_rebuild),
        ("encoding for checkpoints", state.longest_encoding),
        ("time-outs", state.longest_time_outs),
        ("roll-back", state.longest_undo),
    ] {
        println!("longest {what}: {:.3} ms", ms_of(longest));
    }
    let changed = written.changed_bytes - before;
    println!(
        "{} checkpoints, {:.1} MB of changes ({:.1} bytes for each touch), {} merges of {:.1} MB",
        written.checkpoints,
        changed as f64 / 1e6,
        changed as f64 / (batches * TOUCH) as f64,
        written.merges,
        written.merged_bytes as f64 / 1e6,
    );
    println!(
        "peak {:.0} MB; {:.1} bytes a key above key and state",
        peak_mb()?,
        state.bytes as f64 / KEYS as f64 - 16.0
    );
    at_most(&mut limits, "keys lost", (KEYS - state.keys.min(KEYS)) as f64, 0.0);
    at_most(&mut limits, "longest resize, ms", ms_of(state.longest_rebuild), 1.0);
    at_most(&mut limits, "bytes a touch", changed as f64 / (batches * TOUCH) as f64, 64.0);
    at_most(
        &mut limits,
        "bytes a key above key and state",
        state.bytes as f64 / KEYS as f64 - 16.0,
        64.0,
    );
    limits.result()
}

/// `all` keys, each once, `live` of them at a time: they go by time-out or are removed.
pub fn come_and_go(all: u64, live: u64) -> Result<()> {
    const BATCH: u64 = 100_000;
    let mut run = Stepped::new(STEP)?;
    let (queue, keys) = run.ssc.queue_stream::<(u64, ())>();
    let stay = (live / BATCH) as u32;
    let spec = StateSpec::new().timeout(STEP * (stay - 1));
    let counts = keys.map_with_state_at(spec, |_, _, _: Option<()>, n: &mut State<u64>| {
        if !n.is_timing_out() {
            n.update(1);
        }
        None::<()>
    });
    counts.name("counts").count().foreach_rdd(|rdd, _| rdd.count().map(drop));
    run.ssc.start()?;
    let (mut sizes, mut last) = (Vec::new(), 0);
    for b in 0..all / BATCH {
        push(&queue, (b * BATCH..(b + 1) * BATCH).map(mix));
        run.batch()?;
        sizes.push(resident_mb()?);
        if (b + 1) % 100 == 0 {
            last = run.ssc.state_metrics().first().map_or(0, |s| s.keys);
            println!(
                "{} M keys seen, {last} live, {:.0} MB",
                (b + 1) * BATCH / 1_000_000,
                resident_mb()?
            );
        }
    }
    run.ssc.stop(false)?;
    let quarter = sizes.len() / 4;
    let peak = |s: &[f64]| s.iter().copied().fold(0.0, f64::max);
    let (second, fourth) = (peak(&sizes[quarter..2 * quarter]), peak(&sizes[3 * quarter..]));
    println!(
        "peak {:.0} MB; second quarter {second:.0} MB, last {fourth:.0} MB; {last} keys live",
        peak_mb()?
    );
    let mut limits = Limits::default();
    at_most(&mut limits, "peak, MB", peak_mb()?, 1024.0 * 1.048_576);
    at_most(&mut limits, "last quarter against the second", fourth / second, 1.05);
    limits.result()
}
