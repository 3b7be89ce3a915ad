//! What it costs that collected records are looked at for texts that would pin their block.

use std::hint::black_box;
use std::time::{Duration, Instant};

use brooklet::text::TextBlock;
use brooklet::{Conf, Context, Rdd, Str};

use crate::Result;
use crate::figures::median;

const RECORDS: usize = 1_000_000;
const ROUNDS: usize = 21;

pub fn run() -> Result<()> {
    let ctx = Context::new(Conf::new("detach").master("local[2]"))?;
    let time = |f: &dyn Fn() -> Result<()>| -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            f()?;
            times.push(start.elapsed());
        }
        Ok(median(&times))
    };
    let short = ctx.parallelize(words(12), 2).map(|w| (w, 1u64));
    let owned = ctx.parallelize(words(40), 2).map(|w| (w, 1u64));
    let block = TextBlock::from_string(words(40).iter().flat_map(|w| [w, "\n"]).collect());
    // The partitions of `parallelize` hold what they are given: slices of the one block.
    let lines = ctx.parallelize(block.lines(), 2).map(|w| (w, 1u64));
    let few = lines.filter(|(w, _)| w.ends_with("00"));
    println!("median of {ROUNDS}, {RECORDS} records of (Str, u64): made only, collected");
    // `foreach_partition` makes the same vectors and doesn't look into them.
    let made = |rdd: &Rdd<_>| Ok(rdd.foreach_partition(|it| drop(black_box(it)))?);
    let collected = |rdd: &Rdd<_>| {
        black_box(rdd.collect()?);
        Ok(())
    };
    for (what, rdd) in [
        ("12 bytes, inline", short.boxed()),
        ("40 bytes, each of its own", owned.boxed()),
        ("40 bytes, all of one block", lines.boxed()),
        ("40 bytes, 1 in 100 kept", few.boxed()),
    ] {
        println!("  {what}: {:?}, {:?}", time(&|| made(&rdd))?, time(&|| collected(&rdd))?);
    }
    Ok(())
}

fn words(len: usize) -> Vec<Str> {
    (0..RECORDS).map(|i| Str::from(format!("{i:0>len$}"))).collect()
}
