//! A row of the peers harness: the cases grep, wordcount, empty, socket, window, mapstate and updatestate,
//! through the public API in its default configuration.
//!
//! ```text
//! cargo build --release -p brooklet --example peer
//! target/release/examples/peer wordcount data=lines.txt lines=100000 batches=20 passes=4
//! ```
//!
//! Batches of lines lie in memory as text blocks before the clock starts; a batch's time is that from its
//! submission to its completion, as a listener sees it. Windows and state need batch times that follow each
//! other without empty batches between: those cases move a manual clock, and a batch's time is that from the
//! tick to the completion.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::source::Queue;
use brooklet::text::TextBlock;
use brooklet::time::{Clock, ManualClock, SystemClock};

/// What the outputs add up over all batches.
#[derive(Default)]
struct Totals {
    hits: AtomicU64,
    keys: AtomicU64,
    words: AtomicU64,
}

/// Tells when a batch is completed, and how long it took.
struct Completed(Sender<(f64, u64)>);

impl StreamingListener for Completed {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        let ms = batch.total_delay().map_or(0.0, |d| d.as_secs_f64() * 1e3);
        let _ = self.0.send((ms, batch.num_records()));
    }
}

/// Batches of `per` lines, each as two text blocks (one, when a batch is a single line).
fn load(path: &str, per: usize, batches: usize) -> Vec<Vec<Arc<TextBlock>>> {
    let text = std::fs::read_to_string(path).expect("the input file");
    let mut lines = text.split_inclusive('\n');
    let mut block = |n: usize| {
        let block: String = lines.by_ref().take(n).collect();
        (!block.is_empty()).then(|| TextBlock::from_string(block))
    };
    let mut batch = || [block(per.div_ceil(2)), block(per / 2)].into_iter().flatten().collect();
    (0..batches).map_while(|_| Some(batch()).filter(|b: &Vec<_>| !b.is_empty())).collect()
}

fn main() -> brooklet::Result<()> {
    let mut words = std::env::args().skip(1);
    let case = words.next().expect("usage: peer CASE key=value ...");
    let args: HashMap<String, String> =
        words.filter_map(|a| a.split_once('=').map(|(k, v)| (k.into(), v.into()))).collect();
    let num =
        |key: &str, default: usize| args.get(key).map_or(default, |v| v.parse().expect("a number"));
    match case.as_str() {
        "grep" | "wordcount" | "empty" => text(&case, &args, &num),
        "socket" => socket(&num),
        "window" => window(&args, &num),
        "mapstate" => map_state(&num),
        "updatestate" => update_state(&num),
        other => {
            eprintln!("no case {other}");
            std::process::exit(3);
        }
    }
}

fn text(
    case: &str,
    args: &HashMap<String, String>,
    num: &dyn Fn(&str, usize) -> usize,
) -> brooklet::Result<()> {
    let conf = Conf::new("peer").master("local[2]").default_parallelism(2);
    let ssc = StreamingContext::new(conf, millis(num("interval", 1) as u64))?;
    let (queue, lines) = ssc.text_queue_stream();
    let totals = Arc::new(Totals::default());
    let t = totals.clone();
    if case == "grep" {
        let needle = args["needle"].clone();
        lines.filter(move |line| line.contains(&needle)).foreach_rdd(move |rdd, _| {
            t.hits.fetch_add(rdd.count()?, Relaxed);
            Ok::<_, Error>(())
        });
    } else {
        let words = lines.flat_map(|line| line.split(" "));
        let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
        counts.foreach_rdd(move |rdd, _| {
            let (keys, words) = rdd.aggregate(
                (0, 0),
                |(k, s), (_, n)| (k + 1, s + n as u64),
                |a, b| (a.0 + b.0, a.1 + b.1),
            )?;
            t.keys.fetch_add(keys, Relaxed);
            t.words.fetch_add(words, Relaxed);
            Ok::<_, Error>(())
        });
    }
    let (done, completed) = channel();
    ssc.add_listener(Completed(done));

    let per = num("lines", 100_000);
    let input = load(&args["data"], per, num("batches", 20));
    ssc.start()?;
    let mut words = 0;
    for i in 0..input.len() * num("passes", 2) {
        // The interval is 1 ms, so batches without input run in between: not ours, not counted.
        queue.push_blocks(input[i % input.len()].iter().cloned());
        let (ms, _) = completed.iter().find(|(_, records)| *records > 0).expect("a batch");
        let before = std::mem::replace(&mut words, totals.words.load(Relaxed));
        let n = if case == "grep" { per as u64 } else { words - before };
        println!("{{\"ev\":\"batch\",\"i\":{i},\"ms\":{ms:.6},\"n\":{n}}}");
    }
    ssc.stop(true)?;
    let check = match case {
        "grep" => totals.hits.load(Relaxed).to_string(),
        _ => format!("{}/{}", totals.keys.load(Relaxed), totals.words.load(Relaxed)),
    };
    println!("{{\"ev\":\"check\",\"v\":\"{check}\"}}");
    Ok(())
}

fn socket(num: &dyn Fn(&str, usize) -> usize) -> brooklet::Result<()> {
    let conf = Conf::new("peer").master("local[2]");
    let ssc = StreamingContext::new(conf, millis(num("interval", 1000) as u64))?;
    let counted = Arc::new(AtomicU64::new(0));
    let c = counted.clone();
    ssc.socket_text_stream("127.0.0.1", num("port", 9999) as u16).foreach_rdd(move |rdd, _| {
        let n = rdd.count()?;
        if n > 0 && c.fetch_add(n, Relaxed) == 0 {
            println!("{{\"ev\":\"first\"}}");
        }
        Ok::<_, Error>(())
    });
    let (done, completed) = channel();
    ssc.add_listener(Completed(done));
    ssc.start()?;
    let batches = (num("secs", 10) * 1000).div_ceil(num("interval", 1000)) + 1;
    for i in 0..batches {
        let (ms, n) = completed.recv().expect("a batch");
        println!("{{\"ev\":\"batch\",\"i\":{i},\"ms\":{ms:.6},\"n\":{n}}}");
    }
    ssc.stop(true)?;
    println!("{{\"ev\":\"metric\",\"k\":\"records\",\"v\":{}}}", counted.load(Relaxed));
    Ok(())
}

/// Runs one batch per step of a manual clock.
struct Stepped {
    ssc: StreamingContext,
    clock: Arc<ManualClock>,
    completed: std::sync::mpsc::Receiver<(f64, u64)>,
    wall: SystemClock,
}

const STEP: Duration = Duration::from_secs(1);

impl Stepped {
    fn new() -> brooklet::Result<Stepped> {
        let clock = ManualClock::new(Time::ZERO);
        let conf = Conf::new("peer").master("local[2]").default_parallelism(2);
        let ssc = StreamingContext::new(conf.clock(clock.clone()), STEP)?;
        let (done, completed) = channel();
        ssc.add_listener(Completed(done));
        Ok(Stepped { ssc, clock, completed, wall: SystemClock::new() })
    }

    /// Runs batch `i` of `n` records and tells how long it took.
    fn batch(&self, i: usize, n: u64) {
        let begin = self.wall.now();
        self.clock.set(Time::ZERO + STEP * (i as u32 + 1));
        self.completed.recv().expect("a batch");
        let ms = self.wall.now().since(begin).as_secs_f64() * 1e3;
        println!("{{\"ev\":\"batch\",\"i\":{i},\"ms\":{ms:.6},\"n\":{n}}}");
    }
}

fn window(
    args: &HashMap<String, String>,
    num: &dyn Fn(&str, usize) -> usize,
) -> brooklet::Result<()> {
    let run = Stepped::new()?;
    let (queue, lines) = run.ssc.text_queue_stream();
    let words = lines.flat_map(|line| line.split(" ")).map(|word| (word, 1i64));
    let length = STEP * num("window", 30) as u32;
    let counts = words.reduce_by_key_and_window_inv(|a, b| a + b, |a, b| a - b, length, None);
    let last = output(&counts, |(keys, sum), (_, n)| (keys + u64::from(n != 0), sum + n as u64));
    let per = num("lines", 10_000);
    let input = load(&args["data"], per, num("batches", 100));
    run.ssc.start()?;
    for (i, blocks) in input.into_iter().enumerate() {
        queue.push_blocks(blocks);
        run.batch(i, per as u64);
    }
    run.ssc.stop(true)?;
    check(&last, false);
    Ok(())
}

fn map_state(num: &dyn Fn(&str, usize) -> usize) -> brooklet::Result<()> {
    let run = Stepped::new()?;
    let (queue, keys) = run.ssc.queue_stream::<u64>();
    let counts = keys.map(|k| (k, ())).map_with_state(|key, _, n: &mut State<u64>| {
        let now = n.get().unwrap_or(&0) + 1;
        n.update(now);
        (*key, now)
    });
    let totals = output(&counts, |(keys, sum), (_, n)| (keys + 1, sum + n));
    touch(&run, &queue, num)?;
    check(&totals, true);
    Ok(())
}

fn update_state(num: &dyn Fn(&str, usize) -> usize) -> brooklet::Result<()> {
    let run = Stepped::new()?;
    let (queue, keys) = run.ssc.queue_stream::<u64>();
    let counts = keys
        .map(|k| (k, ()))
        .update_state_by_key(|new: &[()], n: Option<u64>| Some(n.unwrap_or(0) + new.len() as u64));
    let totals = output(&counts, |(keys, sum), (_, n)| (keys + 1, sum + n));
    touch(&run, &queue, num)?;
    check(&totals, false);
    Ok(())
}

/// Two numbers for each batch.
type Sums = Arc<Mutex<Vec<(u64, u64)>>>;

/// Aggregates the records of each batch into two numbers.
fn output<T: Clone + Send + Sync + 'static>(
    stream: &DStream<T>,
    add: impl Fn((u64, u64), T) -> (u64, u64) + Copy + Send + Sync + 'static,
) -> Sums {
    let sums = Sums::default();
    let s = sums.clone();
    stream.foreach_rdd(move |rdd, _| {
        let of_batch = rdd.aggregate((0, 0), add, |a, b| (a.0 + b.0, a.1 + b.1))?;
        s.lock().expect("sums").push(of_batch);
        Ok::<_, Error>(())
    });
    sums
}

/// The keys that each batch touches: all of them first, then `touch` of them.
fn touch(
    run: &Stepped,
    queue: &Queue<u64>,
    num: &dyn Fn(&str, usize) -> usize,
) -> brooklet::Result<()> {
    let mix = |x: u64| {
        let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let (keys, per) = (num("keys", 1_000_000) as u64, num("touch", 10_000) as u64);
    run.ssc.start()?;
    for i in 0..num("batches", 60) {
        let all: Vec<u64> = match i as u64 {
            0 => (0..keys).collect(),
            b => (0..per).map(|j| mix(b * 1_000_003 + j) % keys).collect(),
        };
        let (n, half) = (all.len() as u64, all.len() / 2);
        queue.push_partitions([all[..half].to_vec(), all[half..].to_vec()]);
        run.batch(i, n);
    }
    run.ssc.stop(true)
}

/// The fingerprint: of all batches, or of the last one.
fn check(sums: &Sums, of_all: bool) {
    let sums = sums.lock().expect("sums");
    let from = if of_all { 0 } else { sums.len().saturating_sub(1) };
    let (a, b) = sums[from..].iter().fold((0, 0), |(a, b), s| (a + s.0, b + s.1));
    println!("{{\"ev\":\"check\",\"v\":\"{a}/{b}\"}}");
}
