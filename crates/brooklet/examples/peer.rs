//! A row of the peers harness: the cases grep, wordcount, empty and socket, through the public API in its
//! default configuration.
//!
//! ```text
//! cargo build --release -p brooklet --example peer
//! target/release/examples/peer wordcount data=lines.txt lines=100000 batches=20 passes=4
//! ```
//!
//! Batches of lines lie in memory as text blocks before the clock starts; a batch's time is that from its
//! submission to its completion, as a listener sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};

use brooklet::prelude::*;
use brooklet::text::TextBlock;

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
