//! HyperLogLog++: how many distinct values there are, in little memory.
//!
//! 64-bit hashes and a sparse form of 25 index bits for few values are those of Heule, Nunkesser and Hall
//! (2013). In place of their tables of measured corrections stands the estimator of Ertl (2017), which is
//! without bias over the whole range.

use serde::{Deserialize, Serialize};

/// Index bits of the sparse form.
const SPARSE_BITS: u32 = 25;
/// Bits for the rank in a sparse entry.
const RANK_BITS: u32 = 6;

/// Counts distinct hashes. Two of the same precision can be merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sketch {
    precision: u32,
    registers: Registers,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Registers {
    /// Entries `index << 6 | rank`: `entries[..sorted]` in order, at most one (the greatest) of an index.
    Sparse { entries: Vec<u32>, sorted: usize },
    /// The greatest rank of each of 2^precision indices.
    Dense(Vec<u8>),
}

/// Mixes a hash, so that all its bits depend on all of the key's.
pub(crate) fn mixed(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// Index bits for a relative standard deviation, if it can be had.
pub(crate) fn precision_for(relative_sd: f64) -> Option<u32> {
    // Not in the range for 0, negative numbers and NaN either.
    let bits = (2.0 * (1.054 / relative_sd).log2()).ceil();
    // 2^4 registers say nearly nothing, 2^20 take 1 MB.
    (4.0..=20.0).contains(&bits).then_some(bits as u32)
}

impl Sketch {
    pub(crate) fn new(precision: u32) -> Sketch {
        Sketch { precision, registers: Registers::Sparse { entries: Vec::new(), sorted: 0 } }
    }

    /// Adds a value by its (mixed) hash.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64) {
        let index = (hash >> (64 - SPARSE_BITS)) as u32;
        let rank = ((hash << SPARSE_BITS) | (1 << (SPARSE_BITS - 1))).leading_zeros() + 1;
        self.put(index << RANK_BITS | rank);
    }

    #[inline]
    fn put(&mut self, entry: u32) {
        let precision = self.precision;
        match &mut self.registers {
            Registers::Dense(ranks) => note(ranks, precision, entry),
            Registers::Sparse { entries, sorted } => {
                entries.push(entry);
                // A quarter of the registers' bytes, for entries of four bytes.
                if entries.len() - *sorted > 64 + *sorted / 4 {
                    *sorted = tidy(entries);
                    if entries.len() * 4 > 1 << precision {
                        self.make_dense();
                    }
                }
            }
        }
    }

    fn make_dense(&mut self) {
        if let Registers::Sparse { entries, .. } = &self.registers {
            let mut ranks = vec![0; 1 << self.precision];
            entries.iter().for_each(|e| note(&mut ranks, self.precision, *e));
            self.registers = Registers::Dense(ranks);
        }
    }

    /// Adds what another one has seen.
    pub(crate) fn merge(mut self, mut other: Sketch) -> Sketch {
        if matches!(self.registers, Registers::Sparse { .. }) {
            std::mem::swap(&mut self, &mut other);
        }
        match other.registers {
            Registers::Sparse { entries, .. } => entries.into_iter().for_each(|e| self.put(e)),
            Registers::Dense(theirs) => {
                self.make_dense();
                if let Registers::Dense(mine) = &mut self.registers {
                    mine.iter_mut().zip(theirs).for_each(|(a, b)| *a = b.max(*a));
                }
            }
        }
        self
    }

    /// How many distinct values there were, about.
    pub(crate) fn estimate(&self) -> u64 {
        match &self.registers {
            Registers::Sparse { entries, .. } => {
                let mut entries = entries.clone();
                let (m, used) = (f64::from(1u32 << SPARSE_BITS), tidy(&mut entries) as f64);
                (m * (m / (m - used)).ln()).round() as u64
            }
            Registers::Dense(ranks) => ertl(ranks, self.precision).round() as u64,
        }
    }
}

/// Sorts entries and leaves the greatest of each index. Returns how many there are.
fn tidy(entries: &mut Vec<u32>) -> usize {
    entries.sort_unstable_by(|a, b| b.cmp(a));
    entries.dedup_by_key(|e| *e >> RANK_BITS);
    entries.len()
}

/// Takes a sparse entry into registers: what is left of its index counts as hash bits again.
fn note(ranks: &mut [u8], precision: u32, entry: u32) {
    let (index, rank) = (entry >> RANK_BITS, entry & ((1 << RANK_BITS) - 1));
    let rest_bits = SPARSE_BITS - precision;
    let rest = index & ((1 << rest_bits) - 1);
    let rank =
        if rest == 0 { rank + rest_bits } else { rest.leading_zeros() - (32 - rest_bits) + 1 };
    let register = &mut ranks[(index >> rest_bits) as usize];
    *register = (*register).max(rank as u8);
}

/// The improved raw estimator: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
/// algorithm 6.
fn ertl(ranks: &[u8], precision: u32) -> f64 {
    let q = (64 - precision) as usize;
    let mut counts = vec![0u64; q + 2];
    ranks.iter().for_each(|r| counts[usize::from(*r)] += 1);
    let m = ranks.len() as f64;
    let mut z = m * tau(1.0 - counts[q + 1] as f64 / m);
    for k in (1..=q).rev() {
        z = 0.5 * (z + counts[k] as f64);
    }
    z += m * sigma(counts[0] as f64 / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(precision: u32, values: std::ops::Range<u64>) -> Sketch {
        let mut s = Sketch::new(precision);
        values.for_each(|i| s.add(mixed(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        s
    }

    #[test]
    fn precision_follows_the_deviation_asked_for() {
        assert_eq!(precision_for(0.05), Some(9));
        assert_eq!(precision_for(0.01), Some(14));
        for bad in [0.0, -1.0, f64::NAN, 0.9, 1e-6] {
            assert_eq!(precision_for(bad), None, "{bad}");
        }
    }

    #[test]
    fn estimates_stay_within_the_deviation_over_all_sizes() {
        for precision in [4, 9, 14] {
            let sd = 1.054 / f64::from(1u32 << precision).sqrt();
            let (mut far, mut all, mut bias) = (0, 0, 0.0);
            for size in [1u64, 10, 100, 1_000, 5_000, 40_000, 300_000] {
                for set in 0..10 {
                    let from = set * 1_000_000 + size * 17;
                    let got = sketch(precision, from..from + size).estimate() as f64;
                    let off = (got - size as f64) / size as f64;
                    far += u32::from(off.abs() > 2.0 * sd);
                    bias += off / sd;
                    all += 1;
                }
            }
            assert!(far * 10 < all, "{precision}: {far} of {all} are off by two deviations");
            assert!((bias / f64::from(all)).abs() < 0.5, "{precision}: bias {bias} over {all}");
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        for size in [0, 1, 2, 17, 500] {
            assert_eq!(sketch(14, 0..size).estimate(), size);
        }
    }

    #[test]
    fn merging_gives_what_adding_all_gives() {
        for (a, b) in [(10, 20), (10, 50_000), (50_000, 10), (30_000, 60_000), (0, 5)] {
            let whole = sketch(10, 0..a.max(b)).estimate();
            let merged = sketch(10, 0..a).merge(sketch(10, 0..b));
            assert_eq!(merged.estimate(), whole, "{a} and {b}");
            let bytes = postcard::to_stdvec(&merged).unwrap();
            let back: Sketch = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(back.estimate(), whole);
        }
    }
}
