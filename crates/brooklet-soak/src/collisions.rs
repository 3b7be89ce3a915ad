//! Keys made to collide under a seed that the attacker knows, against the random seed of every start.

use std::time::{Duration, Instant};

use brooklet::{Conf, Context, HashSeed, Key, Str};

use crate::Result;
use crate::figures::{Limits, median};

const KEYS: usize = 10_000;
/// How often each key comes in a batch.
const REPEATS: usize = 20;
const ROUNDS: usize = 31;
const KNOWN: HashSeed = HashSeed::new(0x5eed);
/// More slots than a table of that many keys has.
const SLOT_BITS: u32 = 15;

pub fn run() -> Result<()> {
    println!("looking for {KEYS} words that share a slot under a known seed");
    // Entries carry 32 bits of the hash, of which a table looks at the low ones first.
    let slot = |w: &Str| {
        let h = KNOWN.hash(w);
        (h ^ (h >> 32)) & ((1 << SLOT_BITS) - 1)
    };
    let wanted = slot(&word(0));
    let words = (0..).map(word).filter(|w| slot(w) == wanted).take(KEYS).collect();
    let plain_words = (0..KEYS as u64).map(|i| word(i << SLOT_BITS)).collect();
    // The hash of a pair goes on from that of its first part, so all 64 bits can be made equal.
    let pairs: Vec<(u64, u64)> = (0..KEYS as u64).map(|x| (x, KNOWN.hash(&x) ^ 1)).collect();
    let plain_pairs: Vec<(u64, u64)> = (0..KEYS as u64).map(|x| (x, x)).collect();
    let same = pairs.iter().all(|p| KNOWN.hash(p) == KNOWN.hash(&pairs[0]));
    let mut limits = Limits::default();
    limits.check("pairs of one 64-bit hash", same, true, same);
    compare("words that share a slot", words, plain_words, &mut limits)?;
    compare("pairs of one hash", pairs, plain_pairs, &mut limits)?;
    limits.result()
}

/// A word for each number; made without `format!`, as hundreds of millions are tried.
fn word(number: u64) -> Str {
    let mut text = *b"w0123456789ab";
    for (i, c) in text[1..].iter_mut().enumerate() {
        *c = b"0123456789abcdef"[(number >> (4 * i)) as usize & 15];
    }
    std::str::from_utf8(&text).map_or_else(|_| Str::new(), Str::from)
}

fn compare<K: Key>(what: &str, bad: Vec<K>, plain: Vec<K>, limits: &mut Limits) -> Result<()> {
    let conf = || Conf::new("collisions").master("local[2]");
    let known = time(&Context::new(conf().hash_seed(KNOWN))?, &bad, 3)?;
    println!("{what}: {known:?} a batch if the seed is the known one");
    // In turn, so that what else runs on the machine meets both; each pair has a seed of its own.
    let (mut slow, mut normal) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ctx = Context::new(conf())?;
        slow.push(time(&ctx, &bad, 5)?);
        normal.push(time(&ctx, &plain, 5)?);
    }
    let ratio = median(&slow).as_secs_f64() / median(&normal).as_secs_f64();
    println!("{what}: {:?} with random seeds, ordinary keys {:?}", median(&slow), median(&normal));
    limits.check(&format!("{what}, slower by"), format!("{ratio:.2}"), 2, ratio <= 2.0);
    Ok(())
}

/// The median time of a count of all keys.
fn time<K: Key>(ctx: &Context, keys: &[K], rounds: usize) -> Result<Duration> {
    let records: Vec<K> = (0..REPEATS).flat_map(|_| keys.iter().cloned()).collect();
    let counts = ctx.parallelize(records, 2).map(|k| (k, 1u64));
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let found = counts.reduce_by_key(|a, b| a + b).count()?;
        times.push(start.elapsed());
        if found != KEYS as u64 {
            return Err(format!("{found} keys instead of {KEYS}").into());
        }
    }
    Ok(median(&times))
}
