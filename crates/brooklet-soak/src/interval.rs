//! Batches of one record and one shuffle every millisecond, by the real timer.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::time::{Clock, SystemClock, Timestamp};
use brooklet::{Input, Partitions, SliceInfo};

use crate::Result;
use crate::figures::{Limits, median, micros, quantile};

/// Batches at the beginning that aren't measured: caches and tables are cold.
const WARM_UP: usize = 500;

/// One record in each batch; notes when it was asked for.
struct One {
    clock: Arc<SystemClock>,
    asked: Arc<Mutex<Vec<(Time, Timestamp)>>>,
}

impl Input for One {
    type Item = u64;
    type Slice = u64;
    type Pipe = Partitions<u64>;

    fn allocate(&mut self, t: Time, _: Option<u64>) -> Result<Option<u64>, BoxError> {
        let now = self.clock.now();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((t, now));
        Ok(Some(t.millis()))
    }

    fn read(&self, slice: &Arc<u64>) -> Result<Partitions<u64>, BoxError> {
        let record = **slice;
        Ok(Partitions::from_fn(1, move |_| std::iter::once(record)))
    }

    fn input_info(&self, _: &u64) -> SliceInfo {
        SliceInfo::records(1)
    }
}

struct Completed(Sender<BatchInfo>);

impl StreamingListener for Completed {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        let _ = self.0.send(batch.clone());
    }
}

pub fn run(secs: u64) -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let conf = Conf::new("interval").master("local[2]").clock(clock.clone());
    let ssc = StreamingContext::new(conf, millis(1))?;
    ssc.input_stream(One { clock, asked: asked.clone() })
        .map(|x| (x % 10, 1u64))
        .reduce_by_key(|a, b| a + b)
        .foreach_rdd(|rdd, t| match rdd.count()? {
            1 => Ok(()),
            n => Err(BoxError::from(format!("{n} keys in the batch of {} ms", t.millis()))),
        });
    let (done, completed) = channel();
    ssc.add_listener(Completed(done));
    ssc.start()?;
    let wanted = secs as usize * 1_000;
    let limit = seconds(secs * 2 + 10);
    let mut batches = Vec::with_capacity(wanted);
    while batches.len() < wanted {
        batches.push(completed.recv_timeout(limit)?);
    }
    ssc.stop(true)?;

    let mut limits = Limits::default();
    let mut times: Vec<u64> = batches.iter().map(|b| b.batch_time.millis()).collect();
    times.sort_unstable();
    let each_once = times.windows(2).all(|w| w[1] == w[0] + 1);
    limits.check("batch times, each once", times.len(), wanted, each_once);

    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (mut wake, mut generation, mut submission, mut work, mut sum, mut total) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for (b, (t, at)) in batches.iter().zip(&asked).skip(WARM_UP) {
        if b.batch_time != *t {
            return Err("batches were completed out of order".into());
        }
        let (start, end) = (b.scheduling_delay(), b.total_delay());
        let (Some(start), Some(end)) = (start, end) else {
            return Err("an unfinished batch".into());
        };
        wake.push(at.since((*t).into()));
        generation.push(b.submission_time.since(*at));
        submission.push(start);
        work.push(end - start);
        sum.push(b.submission_time.since(*at) + end);
        total.push(b.generation_delay() + end);
    }
    let parts = [
        ("due -> timer's thread awake", &wake),
        ("awake -> submitted (generation)", &generation),
        ("submitted -> started", &submission),
        ("started -> completed", &work),
        ("awake -> completed", &sum),
        ("due -> completed", &total),
    ];
    for (what, values) in parts {
        println!(
            "{what}: median {:.1} us, p99 {:.1} us",
            micros(median(values)),
            micros(quantile(values, 0.99))
        );
    }
    let ours = median(&sum);
    limits.check(
        "generation + submission + completion, median us",
        format!("{:.1}", micros(ours)),
        50,
        ours < Duration::from_micros(50),
    );
    let due_to_start: Vec<_> = total.iter().zip(&work).map(|(t, w)| *t - *w).collect();
    let section = (wanted / 6).min(submission.len());
    for (what, delays) in
        [("scheduling delay", &submission), ("delay from due to start", &due_to_start)]
    {
        let first = quantile(&delays[..section], 0.99);
        let last = quantile(&delays[delays.len() - section..], 0.99);
        limits.check(
            &format!("{what}, p99 of the last sixth, us"),
            format!("{:.1}", micros(last)),
            format!("{:.1} of the first + 1000", micros(first)),
            last <= first + millis(1),
        );
    }
    limits.result()
}
