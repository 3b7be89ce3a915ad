//! Where the time of a stream goes: cutting text, counting by key, taking a receiver's bytes, and what a
//! batch costs that has nothing to do.

// They measure how long things take; the clock of the product isn't for them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use brooklet::prelude::*;
use brooklet::testing::Driver;
use brooklet::text::TextBlock;
use brooklet::{Context, Partitions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LINES: u64 = 20_000;
const WORDS_PER_LINE: u64 = 15;

/// Lines of words, some of which are much more frequent than others.
fn text() -> String {
    let mut state = 1u64;
    let mut word = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (state >> 40) as f64 / f64::from(1 << 24);
        // The cube crowds the draws towards zero.
        format!("w{:x}", (draw * draw * draw * 20_000.0) as u32)
    };
    let mut line = || (0..WORDS_PER_LINE).map(|_| word()).collect::<Vec<_>>().join(" ") + "\n";
    (0..LINES).map(|_| line()).collect()
}

fn split(c: &mut Criterion) {
    let block = TextBlock::from_string(text());
    let mut group = c.benchmark_group("split");
    group.throughput(Throughput::Elements(LINES * WORDS_PER_LINE));
    group.bench_function("words of lines", |b| {
        b.iter(|| {
            let words = block.lines().flat_map(|line| line.split(" "));
            words.fold(0, |n, word| n + black_box(word).len())
        });
    });
    group.bench_function("words of lines, by white space", |b| {
        b.iter(|| {
            let words = block.lines().flat_map(|line| line.split_whitespace());
            words.fold(0, |n, word| n + black_box(word).len())
        });
    });
    group.finish();
}

fn reduce_by_key(c: &mut Criterion) {
    let ctx = Context::new(Conf::new("bench").master("local[2]")).unwrap();
    let words: Vec<Str> = text().lines().flat_map(|line| line.split(' ').map(Str::from)).collect();
    let pairs = ctx.parallelize(words, 2).map(|word| (word, 1u64));
    let mut group = c.benchmark_group("reduce_by_key");
    group.throughput(Throughput::Elements(LINES * WORDS_PER_LINE));
    group.bench_function("count words", |b| {
        b.iter(|| pairs.reduce_by_key(|a, b| a + b).count().unwrap());
    });
    group.bench_function("collect counts", |b| {
        b.iter(|| pairs.reduce_by_key(|a, b| a + b).collect().unwrap());
    });
    group.finish();
}

/// Gives the same bytes a number of times.
struct Bytes {
    chunk: Vec<u8>,
    times: u32,
}

impl Receiver for Bytes {
    type Item = Str;

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
        for _ in 0..self.times {
            out.store_bytes(&self.chunk)?;
        }
        Ok(())
    }
}

fn text_door(c: &mut Criterion) {
    const TIMES: u32 = 32;
    let chunk = text().into_bytes();
    let mut group = c.benchmark_group("receiver");
    group.throughput(Throughput::Bytes(chunk.len() as u64 * u64::from(TIMES)));
    group.sample_size(10);
    group.bench_function("store_bytes and count", |b| {
        b.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for _ in 0..iterations {
                let conf = Conf::new("bench").master("local[2]");
                let ssc = StreamingContext::new(conf, millis(20)).unwrap();
                ssc.receiver_stream(Bytes { chunk: chunk.clone(), times: TIMES })
                    .foreach_rdd(|rdd, _| rdd.count().map(drop));
                let start = Instant::now();
                ssc.start().unwrap();
                ssc.await_receivers().unwrap();
                ssc.stop(true).unwrap();
                time += start.elapsed();
            }
            time
        });
    });
    group.finish();
}

/// Two numbers in two partitions, every batch.
struct Two;

impl brooklet::Input for Two {
    type Item = u64;
    type Slice = u64;
    type Pipe = Partitions<u64>;

    fn allocate(&mut self, t: Time, _: Option<u64>) -> Result<Option<u64>, BoxError> {
        Ok(Some(t.millis()))
    }

    fn read(&self, slice: &std::sync::Arc<u64>) -> Result<Partitions<u64>, BoxError> {
        let t = **slice;
        Ok(Partitions::from_fn(2, move |part| std::iter::once(t + part as u64)))
    }
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    group.bench_function("of no records", |b| {
        let mut driver = Driver::new(|ssc| {
            let (queue, numbers) = ssc.queue_stream::<u64>();
            let sums = numbers.map(|x| (x % 10, x)).reduce_by_key(|a, b| a + b);
            sums.foreach_rdd(|rdd, _| rdd.count().map(drop));
            Ok(queue)
        })
        .unwrap();
        b.iter(|| driver.batch().unwrap());
    });
    group.bench_function("of two records and a shuffle", |b| {
        let mut driver = Driver::new(|ssc| {
            let sums = ssc.input_stream(Two).map(|x| (x % 10, x)).reduce_by_key(|a, b| a + b);
            sums.foreach_rdd(|rdd, _| rdd.count().map(drop));
            Ok(())
        })
        .unwrap();
        b.iter(|| driver.batch().unwrap());
    });
    group.finish();
}

criterion_group!(benches, split, reduce_by_key, text_door, batch);
criterion_main!(benches);
