//! What it costs that collected records are looked at for texts that would pin their block.

use std::time::{Duration, Instant};

use brooklet::text::TextBlock;
use brooklet::{Conf, Context, Str};

use crate::Result;
use crate::figures::median;

const RECORDS: usize = 1_000_000;
const ROUNDS: usize = 21;

pub fn run() -> Result<()> {
    let ctx = Context::new(Conf::new("detach").master("local[2]"))?;
    let time = |f: &dyn Fn() -> brooklet::Result<usize>| -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            if f()? != RECORDS {
                return Err("records are missing".into());
            }
            times.push(start.elapsed());
        }
        Ok(median(&times))
    };
    let short = ctx.parallelize(words(12), 2).map(|w| (w, 1u64));
    let owned = ctx.parallelize(words(40), 2).map(|w| (w.detach(), 1u64));
    let block = TextBlock::from_string(words(40).iter().flat_map(|w| [w, "\n"]).collect());
    let lines: Vec<Str> = block.lines().collect();
    drop(block);
    // The partitions of `parallelize` hold what they are given: slices of the one block.
    let pinning = ctx.parallelize(lines, 2).map(|w| (w, 1u64));
    let plain = ctx.parallelize(0..RECORDS as u64, 2).map(|n| (n, 1u64));
    println!("collect of {RECORDS} records, median of {ROUNDS}:");
    println!("  (u64, u64):                        {:?}", time(&|| Ok(plain.collect()?.len()))?);
    println!("  (Str, u64), 12 bytes:              {:?}", time(&|| Ok(short.collect()?.len()))?);
    println!("  (Str, u64), 40 bytes of their own: {:?}", time(&|| Ok(owned.collect()?.len()))?);
    println!("  (Str, u64), 40 bytes of a block:   {:?}", time(&|| Ok(pinning.collect()?.len()))?);
    Ok(())
}

fn words(len: usize) -> Vec<Str> {
    (0..RECORDS).map(|i| Str::from(format!("{i:0>len$}"))).collect()
}
