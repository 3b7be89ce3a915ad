//! Far more keys than memory holds, with their states on disk: all of them made, then touched at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use brooklet::prelude::*;
use brooklet::{Input, Partitions, SliceInfo, StateStore};

use crate::Result;
use crate::figures::{Limits, median, quantile};
use crate::process::{peak_mb, resident_mb};

const THREADS: usize = 2;
/// Records of a batch.
const BATCH: u64 = 100_000;
/// Batches that touch keys at random, as a share of those that make them.
const TOUCHES: u64 = 4;
/// Of everything.
const RESIDENT_MB: f64 = 512.0 * 1.048_576;
const LIMIT: Duration = Duration::from_secs(3_600);

/// No two numbers become the same one.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key of the i-th record: each key once, then keys at random.
fn key(i: u64, keys: u64) -> u64 {
    if i < keys { mix(i) } else { mix(mix(i ^ 0x5555) % keys) }
}

/// The records, batch by batch.
struct Records {
    keys: u64,
    all: u64,
    next: u64,
}

impl Input for Records {
    type Item = (u64, ());
    type Slice = (u64, u64);
    type Pipe = Partitions<(u64, ())>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<(u64, u64)>, BoxError> {
        let from = self.next;
        self.next = (from + BATCH).min(self.all);
        Ok((from < self.next).then_some((from, self.next)))
    }

    fn read(&self, slice: &Arc<(u64, u64)>) -> Result<Partitions<(u64, ())>, BoxError> {
        let ((from, until), keys) = (**slice, self.keys);
        Ok(Partitions::from_fn(THREADS, move |p| {
            let at = |p: usize| from + (until - from) * p as u64 / THREADS as u64;
            (at(p)..at(p + 1)).map(move |i| (key(i, keys), ()))
        }))
    }

    fn input_info(&self, (from, until): &(u64, u64)) -> SliceInfo {
        SliceInfo::records(until - from)
    }
}

/// Records of a batch, and those whose key was known.
struct Done(Sender<(u64, u64)>);

pub fn run(keys: u64) -> Result<()> {
    let all = keys + keys / TOUCHES;
    println!("{keys} keys, then {} touches of random ones; {THREADS} threads", all - keys);
    println!("resident at the start: {:.0} MB", resident_mb()?);
    let conf = Conf::new("state-disk")
        .master(format!("local[{THREADS}]"))
        .state_store(StateStore::Disk)
        .max_queued_batches(2);
    let ssc = StreamingContext::new(conf, millis(1))?;
    let counts = ssc.input_stream(Records { keys, all, next: 0 }).map_with_state(
        |_, _: Option<()>, n: &mut State<u64>| {
            n.update(n.get().unwrap_or(&0) + 1);
            n.get().is_some_and(|n| *n > 1)
        },
    );
    let (sent, done) = channel();
    let done_of = Done(sent);
    counts.foreach_rdd(move |rdd, _| {
        let add = |(n, known): (u64, u64), is: bool| (n + 1, known + u64::from(is));
        let sum = rdd.aggregate((0, 0), add, |a, b| (a.0 + b.0, a.1 + b.1))?;
        done_of.0.send(sum).map_err(BoxError::from)
    });
    // All keys are read once, after the last batch with records.
    let (seen, look) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (sent, looked) = channel();
    let l = look.clone();
    counts.state_snapshots().foreach_rdd(move |rdd, _| {
        if l.swap(0, Relaxed) == 0 {
            return Ok(());
        }
        let start = Instant::now();
        let add = |(n, sum, check): (u64, u64, u64), (k, c): (u64, u64)| {
            (n + 1, sum + c, check.wrapping_add(k.wrapping_mul(c)))
        };
        let both =
            |a: (u64, u64, u64), b: (u64, u64, u64)| (a.0 + b.0, a.1 + b.1, a.2.wrapping_add(b.2));
        let found = rdd.aggregate((0, 0, 0), add, both)?;
        sent.send((found, start.elapsed())).map_err(BoxError::from)
    });
    let begin = Instant::now();
    ssc.start()?;
    let (mut records, mut known, mut last) = (0, 0, begin);
    let mut sections: [(u64, Duration, Vec<Duration>); 2] = Default::default();
    while records < all {
        let (n, again) = done.recv_timeout(LIMIT)?;
        let took = last.elapsed();
        last = Instant::now();
        if n == 0 {
            continue;
        }
        let section = &mut sections[usize::from(records >= keys)];
        section.0 += n;
        section.1 += took;
        section.2.push(took);
        records += n;
        known += again;
        if (records / BATCH).is_multiple_of(20) {
            println!("{records} records, {:.0} MB resident", resident_mb()?);
        }
        seen.store(records, Relaxed);
    }
    look.store(1, Relaxed);
    let ((n, sum, check), took) = looked.recv_timeout(LIMIT)?;
    let metrics = ssc.state_metrics();
    ssc.stop(false)?;

    let mut limits = Limits::default();
    for ((n, time, batches), what) in sections.iter().zip(["making keys", "touching keys"]) {
        println!(
            "{what}: {:.0} records a second; a batch of {BATCH}: median {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
            *n as f64 / time.as_secs_f64(),
            median(batches).as_secs_f64() * 1e3,
            quantile(batches, 0.99).as_secs_f64() * 1e3,
            quantile(batches, 1.0).as_secs_f64() * 1e3,
        );
    }
    println!("all keys read in {:.1} s", took.as_secs_f64());
    for m in &metrics {
        println!("{m:?}");
    }
    let wanted = (0..all).fold(0u64, |sum, i| sum.wrapping_add(key(i, keys)));
    limits.check("records whose key was known", known, all - keys, known == all - keys);
    limits.check("keys", n, keys, n == keys && metrics[0].keys == keys);
    limits.check("sum of all counts", sum, all, sum == all);
    limits.check("checksum of keys and counts", check, wanted, check == wanted);
    let peak = peak_mb()?;
    limits.check("peak MB", format!("{peak:.0}"), format!("{RESIDENT_MB:.0}"), peak < RESIDENT_MB);
    limits.result()
}
