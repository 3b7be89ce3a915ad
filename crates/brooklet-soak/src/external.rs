//! Sorts and aggregates far more records than the tasks have memory for.

use std::time::Instant;

use brooklet::prelude::*;

use crate::Result;
use crate::figures::Limits;
use crate::process::{peak_mb, resident_mb};

/// What a task may take, and what all shuffle outputs together may.
const MEMORY: usize = 64 << 20;
const THREADS: usize = 2;
/// Bytes of a record's text; with key and number a record has about a hundred.
const TEXT: usize = 84;
const INPUTS: u64 = 64;
/// Of what the tasks, the outputs and the program itself may take together.
const RESIDENT_MB: f64 = 512.0;

/// The n-th record: a key in no order, a text.
fn record(n: u64) -> (u64, String) {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^= z >> 27;
    (z, format!("{z:0>TEXT$}"))
}

/// Records, whether they were in order, the last key, and a checksum that doesn't depend on the order.
type Seen = (u64, bool, u64, u64);

pub fn run(megabytes: u64) -> Result<()> {
    let records = megabytes * 1_000_000 / 100;
    let conf = Conf::new("external")
        .master(format!("local[{THREADS}]"))
        .task_memory(MEMORY)
        .shuffle_memory(MEMORY);
    let ctx = Context::new(conf)?;
    let input = ctx
        .parallelize(0..INPUTS, INPUTS as usize)
        .flat_map(move |i| (i * records / INPUTS..(i + 1) * records / INPUTS).map(record));
    let sum = (0..records).fold(0u64, |sum, n| sum.wrapping_add(record(n).0));
    println!(
        "{records} records of about 100 bytes, {} MiB for each of {THREADS} tasks",
        MEMORY >> 20
    );
    println!("resident at the start: {:.0} MB", resident_mb()?);
    let mut limits = Limits::default();

    let start = Instant::now();
    let sorted = input.sort_by_key(true, 8)?;
    let (n, in_order, _, check) = sorted.aggregate(
        (0, true, 0, 0),
        |(n, ok, last, sum): Seen, (k, text)| {
            let whole = text.len() == TEXT && text.ends_with(&k.to_string());
            (n + 1, ok && whole && last <= k, k, sum.wrapping_add(k))
        },
        |a, b| (a.0 + b.0, a.1 && b.1, a.2.max(b.2), a.3.wrapping_add(b.3)),
    )?;
    println!("sorted in {:.1} s", start.elapsed().as_secs_f64());
    limits.check("sorted records", n, records, n == records && check == sum);
    limits.check("all in order", in_order, true, in_order);
    let spilled = ctx.spill_metrics();
    println!("spilled: {} files, {} MB", spilled.spilled_files, spilled.spilled_bytes / 1_000_000);
    drop(sorted);
    let peak = peak_mb()?;
    limits.check("peak MB after the sort", format!("{peak:.0}"), RESIDENT_MB, peak < RESIDENT_MB);

    let start = Instant::now();
    let keys = records / 2;
    let totals = input
        .map(move |(k, text)| (k % keys, (1u64, text)))
        .reduce_by_key_into(|a, b| (a.0 + b.0, a.1.max(b.1)), 8);
    let (n, counted, whole) = totals.aggregate(
        (0u64, 0u64, true),
        |(n, sum, ok), (_, (count, text))| (n + 1, sum + count, ok && text.len() == TEXT),
        |a, b| (a.0 + b.0, a.1 + b.1, a.2 && b.2),
    )?;
    println!("aggregated to {n} keys in {:.1} s", start.elapsed().as_secs_f64());
    limits.check("aggregated records", counted, records, counted == records && whole);
    drop(totals);
    let spilled = ctx.spill_metrics();
    println!("spilled: {} files, {} MB", spilled.spilled_files, spilled.spilled_bytes / 1_000_000);
    limits.check("files left", spilled.live_files, 0, spilled.live_files == 0);
    let peak = peak_mb()?;
    limits.check("peak MB", format!("{peak:.0}"), RESIDENT_MB, peak < RESIDENT_MB);
    limits.result()
}
