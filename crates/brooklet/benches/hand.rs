//! Word count and grep as one would write them by hand for two threads: what an engine can be measured
//! against. Not a bench by itself: `cargo xtask bench hand` calls it with a case, in turn with the example
//! `peer`, and compares what both print.
//!
//! Batches of lines lie in memory before the clock starts, as slices of the text.

// It measures how long things take; the clock of the product isn't for it.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that may be read beyond the text.
const PAD: usize = 16;

fn main() {
    let mut words = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(case) = words.next() else {
        println!("use: hand CASE key=value ... (cases: grep wordcount empty)");
        return;
    };
    let args: HashMap<String, String> =
        words.filter_map(|a| a.split_once('=').map(|(k, v)| (k.into(), v.into()))).collect();
    match case.as_str() {
        "grep" => grep(&Input::load(&args), &args["needle"]),
        "wordcount" | "empty" => word_count(&Input::load(&args)),
        other => {
            eprintln!("no case {other}");
            std::process::exit(3);
        }
    }
}

/// The text, and its batches of lines.
struct Input {
    text: Vec<u8>,
    batches: Vec<Vec<Range<usize>>>,
    rounds: usize,
}

impl Input {
    fn load(args: &HashMap<String, String>) -> Input {
        let number =
            |key: &str, default| args.get(key).map_or(default, |v| v.parse().expect("a number"));
        let mut text = std::fs::read(&args["data"]).expect("the input file");
        let (per, most) = (number("lines", 100_000), number("batches", 20));
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', &text).take(per * most);
        let lines: Vec<_> = ends.map(|end| std::mem::replace(&mut start, end + 1)..end).collect();
        let batches: Vec<_> = lines.chunks(per).map(<[_]>::to_vec).collect();
        text.resize(text.len() + PAD, 0);
        let rounds = batches.len() * number("passes", 2);
        Input { text, batches, rounds }
    }

    fn batch(&self, round: usize) -> &[Range<usize>] {
        &self.batches[round % self.batches.len()]
    }

    /// One of two workers' share of a batch.
    fn half(&self, round: usize, worker: usize) -> &[Range<usize>] {
        let (first, second) = self.batch(round).split_at(self.batch(round).len().div_ceil(2));
        if worker == 0 { first } else { second }
    }

    /// Runs every round on two threads and prints it; `records` says how many it had.
    fn run(&self, work: impl Fn(usize, usize) + Sync, records: impl Fn(usize) -> u64) {
        let gate = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..self.rounds {
                    gate.wait();
                    work(round, 1);
                    gate.wait();
                }
            });
            for round in 0..self.rounds {
                gate.wait();
                let start = Instant::now();
                work(round, 0);
                gate.wait();
                let ms = start.elapsed().as_secs_f64() * 1e3;
                let n = records(round);
                println!("{{\"ev\":\"batch\",\"i\":{round},\"ms\":{ms:.6},\"n\":{n}}}");
            }
        });
    }
}

fn check(fingerprint: impl std::fmt::Display) {
    println!("{{\"ev\":\"check\",\"v\":\"{fingerprint}\"}}");
}

fn grep(input: &Input, needle: &str) {
    let finder = memchr::memmem::Finder::new(needle);
    let hits = AtomicU64::new(0);
    let work = |round, worker| {
        let lines = input.half(round, worker).iter();
        let found = lines.filter(|l| finder.find(&input.text[(*l).clone()]).is_some()).count();
        hits.fetch_add(found as u64, Relaxed);
    };
    input.run(work, |round| input.batch(round).len() as u64);
    check(hits.into_inner());
}

fn word_count(input: &Input) {
    // What worker `w` found for shard `s` is in `tables[w][s]`; then worker `s` merges its shard.
    let tables: [[Mutex<Table>; 2]; 2] = Default::default();
    let merge = Barrier::new(2);
    let (keys, words) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = |round, worker: usize| {
        {
            let [mut a, mut b] = tables[worker].each_ref().map(lock);
            a.clear();
            b.clear();
            for line in input.half(round, worker) {
                each_word(&input.text, line, |word| {
                    let hash = word.hash();
                    let table = if hash >> 63 == 0 { &mut *a } else { &mut *b };
                    table.add(word, hash, 1);
                });
            }
        }
        merge.wait();
        let mut own = lock(&tables[worker][worker]);
        own.merge(&lock(&tables[1 - worker][worker]));
        keys.fetch_add(own.len() as u64, Relaxed);
        words.fetch_add(own.sum(), Relaxed);
    };
    let before = AtomicU64::new(0);
    input.run(work, |_| words.load(Relaxed) - before.swap(words.load(Relaxed), Relaxed));
    check(format_args!("{}/{}", keys.load(Relaxed), words.load(Relaxed)));
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A word of up to 15 bytes with its length in the top byte.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Word(u128);

impl Word {
    /// Marks a free slot: no word has that length.
    const FREE: u128 = u128::MAX;

    #[inline(always)]
    fn hash(self) -> u64 {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let m = u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd6e8_feb8_6659_fd93);
        (m >> 64) as u64 ^ m as u64
    }
}

/// Cuts a line at every space.
#[inline(always)]
fn each_word(text: &[u8], line: &Range<usize>, mut each: impl FnMut(Word)) {
    const ONES: u128 = u128::MAX / 255;
    const SPACES: u128 = ONES * b' ' as u128;
    let mut at = line.start;
    loop {
        let bytes = u128::from_le_bytes(text[at..at + 16].try_into().expect("16 bytes"));
        // The lowest byte that is a space has its top bit set here.
        let x = bytes ^ SPACES;
        let spaces = x.wrapping_sub(ONES) & !x & (ONES << 7);
        let len = ((spaces.trailing_zeros() / 8) as usize).min(line.end - at);
        assert!(len < 16, "a word of more than 15 bytes: not in this input");
        let low = bytes & ((1u128 << (8 * len)) - 1);
        each(Word(low | (len as u128) << 120));
        at += len + 1;
        if at > line.end {
            return;
        }
    }
}

/// Counts by word: open addressing, a power of two of slots, at most half of them taken.
struct Table {
    slots: Vec<(u128, u64)>,
    taken: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table { slots: vec![(Word::FREE, 0); 1 << 10], taken: 0 }
    }
}

impl Table {
    #[inline(always)]
    fn add(&mut self, word: Word, hash: u64, n: u64) {
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let slot = &mut self.slots[i];
            if slot.0 == word.0 {
                slot.1 += n;
                return;
            }
            if slot.0 == Word::FREE {
                *slot = (word.0, n);
                self.taken += 1;
                if self.taken * 2 > self.slots.len() {
                    self.grow();
                }
                return;
            }
            i = (i + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let twice = vec![(Word::FREE, 0); self.slots.len() * 2];
        let old = Table { slots: std::mem::replace(&mut self.slots, twice), taken: 0 };
        self.taken = 0;
        self.merge(&old);
    }

    fn merge(&mut self, other: &Table) {
        other.counts().for_each(|(word, n)| self.add(word, word.hash(), n));
    }

    fn counts(&self) -> impl Iterator<Item = (Word, u64)> {
        self.slots.iter().filter(|s| s.0 != Word::FREE).map(|s| (Word(s.0), s.1))
    }

    fn len(&self) -> usize {
        self.taken
    }

    fn sum(&self) -> u64 {
        self.counts().map(|(_, n)| n).sum()
    }

    fn clear(&mut self) {
        self.slots.fill((Word::FREE, 0));
        self.taken = 0;
    }
}
