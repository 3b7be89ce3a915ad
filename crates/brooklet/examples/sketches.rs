//! Counts with little memory: how many users there are (HyperLogLog) and how often the busiest of them come
//! (count-min), in each batch and over all time, beside the exact figures and how far off it is.
//!
//! ```text
//! cargo run --release -p brooklet --example sketches
//! cargo run --release -p brooklet --example sketches -- localhost 9999
//! ```
//!
//! Users come over a TCP connection, one a line; without an address the program makes its own.
//!
//! ```text
//! Batch 1763712000000 ms
//!   users: 641, about 643 (+0.3 %)
//!   user0: 57 times, at most 59 (+3.5 %)
//! All time
//!   ..
//! ```

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

/// Registers of the HyperLogLog, a power of two: it is off by 1.04 / 64 = 1.6 % (one standard deviation).
const REGISTERS: usize = 4096;
/// Counters in each row of the count-min sketch: in e / 272 = 1 % of all records it is off at most ..
const WIDTH: usize = 272;
/// .. with a probability of 1 - 1 / e^7 = 99.9 %.
const DEPTH: usize = 7;
/// Users that are shown.
const SHOWN: usize = 3;

/// Both sketches of the same users.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sketches {
    registers: Vec<u8>,
    counters: Vec<u32>,
}

fn hash(user: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}

/// One counter in each row.
fn cells(hash: u64) -> impl Iterator<Item = usize> {
    let (first, step) = (hash as u32 as usize, (hash >> 32) as usize | 1);
    (0..DEPTH).map(move |row| row * WIDTH + (first + row * step) % WIDTH)
}

impl Sketches {
    fn new() -> Sketches {
        Sketches { registers: vec![0; REGISTERS], counters: vec![0; WIDTH * DEPTH] }
    }

    fn add(mut self, user: &str) -> Sketches {
        let hash = hash(user);
        let register = &mut self.registers[hash as usize % REGISTERS];
        // How rare the other bits are: one hash of two begins with a one, one of four with 01.
        let rank = (hash / REGISTERS as u64).leading_zeros() - REGISTERS.ilog2() + 1;
        *register = (*register).max(rank as u8);
        cells(hash).for_each(|cell| self.counters[cell] += 1);
        self
    }

    /// What both have seen.
    fn merge(mut self, other: Sketches) -> Sketches {
        self.registers.iter_mut().zip(other.registers).for_each(|(a, b)| *a = b.max(*a));
        self.counters.iter_mut().zip(other.counters).for_each(|(a, b)| *a += b);
        self
    }

    /// About how many different users there were.
    fn users(&self) -> u64 {
        let m = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|r| 0.5f64.powi(i32::from(*r))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.registers.iter().filter(|r| **r == 0).count();
        let few = raw <= 2.5 * m && empty > 0;
        (if few { m * (m / empty as f64).ln() } else { raw }).round() as u64
    }

    /// How often a user has come, or more.
    fn times(&self, user: &str) -> u64 {
        cells(hash(user)).map(|cell| self.counters[cell]).min().unwrap_or(0).into()
    }
}

fn show(sketches: &Sketches, exact: &HashMap<Str, u64>) {
    let off = |about: u64, exact: u64| 100.0 * (about as f64 / exact as f64 - 1.0);
    let (users, about) = (exact.len() as u64, sketches.users());
    println!("  users: {users}, about {about} ({:+.1} %)", off(about, users));
    let mut busiest: Vec<_> = exact.iter().collect();
    busiest.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    for (user, n) in busiest.into_iter().take(SHOWN) {
        let most = sketches.times(user);
        println!("  {user}: {n} times, at most {most} ({:+.1} %)", off(most, *n));
    }
}

/// Users of this program's own; those with low numbers come often.
struct Visits;

impl Receiver for Visits {
    type Item = Str;

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
        let mut dice = 1u64;
        while out.sleep(millis(1)) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Of numbers with few bits there are as many as of those with many.
            out.store(format!("user{}", (dice >> 48) >> ((dice >> 40) % 16)).into())?;
        }
        Ok(())
    }
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ssc = StreamingContext::new(Conf::new("sketches"), seconds(1))?;
    let users = match (args.first(), args.get(1).map(|port| port.parse())) {
        (None, _) => ssc.receiver_stream(Visits),
        (Some(host), Some(Ok(port))) => ssc.socket_text_stream(host, port),
        _ => {
            eprintln!("usage: sketches [HOST PORT]");
            std::process::exit(2);
        }
    };

    let (mut all, mut exact) = (Sketches::new(), HashMap::new());
    users.foreach_rdd(move |users, time| {
        // Each task makes sketches of its users; merged, they are those of the batch.
        let batch = users.aggregate(Sketches::new(), |s, user| s.add(&user), Sketches::merge)?;
        let counts = users.count_by_value()?;
        if counts.is_empty() {
            return Ok(());
        }
        println!("Batch {time}");
        show(&batch, &counts);
        all = all.clone().merge(batch);
        counts.into_iter().for_each(|(user, n)| *exact.entry(user).or_default() += n);
        println!("All time");
        show(&all, &exact);
        Ok::<_, Error>(())
    });
    ssc.start()?;
    ssc.await_termination()
}
