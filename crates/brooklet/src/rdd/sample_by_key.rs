//! `sample_by_key` and `sample_by_key_exact`: a fraction of its own for each key.

use std::collections::HashMap;
use std::fmt;
use std::iter::RepeatN;

use super::Rdd;
use super::pipe::Pipe;
use super::random::Random;
use super::sample::check_fraction;
use super::scan::{Scan, ScanPipe};
use crate::data::{Data, Key};
use crate::engine::{Site, TaskCx};
use crate::{Error, Result};

/// Draws pairs by the fraction of their key.
pub struct DrawByKey<K> {
    fractions: HashMap<K, f64>,
    with_replacement: bool,
    seed: u64,
}

impl<K> fmt::Debug for DrawByKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrawByKey({} keys)", self.fractions.len())
    }
}

impl<K: Key, V: Clone + 'static> Scan<(K, V)> for DrawByKey<K> {
    type State = Random;
    type Out = RepeatN<(K, V)>;
    fn begin(&self, part: usize) -> Random {
        Random::of(self.seed, part)
    }
    fn step(&self, random: &mut Random, pair: (K, V)) -> RepeatN<(K, V)> {
        let fraction = self.fractions.get(&pair.0).copied().unwrap_or(0.0);
        let times = if self.with_replacement {
            random.poisson(fraction)
        } else {
            usize::from(random.unit() < fraction)
        };
        std::iter::repeat_n(pair, times)
    }
}

/// How many pairs of a key a partition has, and how many of them are to be drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quota {
    left: u64,
    wanted: u64,
}

/// Draws exactly as many pairs of each key as its partition has to give.
pub struct DrawExactly<K> {
    /// For each partition.
    quotas: Vec<HashMap<K, Quota>>,
    with_replacement: bool,
    seed: u64,
}

impl<K> fmt::Debug for DrawExactly<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrawExactly({} partitions)", self.quotas.len())
    }
}

impl<K: Key, V: Clone + 'static> Scan<(K, V)> for DrawExactly<K> {
    type State = (Random, HashMap<K, Quota>);
    type Out = RepeatN<(K, V)>;
    fn begin(&self, part: usize) -> Self::State {
        (Random::of(self.seed, part), self.quotas[part].clone())
    }
    /// Selection sampling: each of the pairs that are left is as likely to be drawn as the others.
    fn step(&self, (random, quotas): &mut Self::State, pair: (K, V)) -> RepeatN<(K, V)> {
        let times = match quotas.get_mut(&pair.0) {
            Some(q) if q.wanted > 0 && q.left > 0 => {
                let times = if self.with_replacement {
                    random.binomial(q.wanted, 1.0 / q.left as f64)
                } else {
                    u64::from(random.below(q.left) < q.wanted)
                };
                q.left -= 1;
                q.wanted -= times;
                times
            }
            Some(q) => {
                q.left = q.left.saturating_sub(1);
                0
            }
            None => 0,
        };
        std::iter::repeat_n(pair, times as usize)
    }
}

/// Shares `wanted` draws out to partitions with `sizes` records, each record as likely as the others.
fn share(random: &mut Random, sizes: &[u64], wanted: u64, with_replacement: bool) -> Vec<u64> {
    let mut left: u64 = sizes.iter().sum();
    let mut shares = vec![0; sizes.len()];
    if with_replacement {
        let mut wanted = wanted;
        for (share, size) in shares.iter_mut().zip(sizes) {
            if left > 0 {
                *share = random.binomial(wanted, *size as f64 / left as f64);
                wanted -= *share;
                left -= size;
            }
        }
        return shares;
    }
    // Records are drawn by number; one that is drawn already is drawn again. With more than half of them
    // wanted, those that stay are drawn instead, so that this ends soon.
    let total = left;
    let others = wanted > total / 2;
    for _ in 0..if others { total - wanted } else { wanted } {
        loop {
            let mut number = random.below(total);
            let part = sizes.iter().position(|n| {
                let here = number < *n;
                if !here {
                    number -= n;
                }
                here
            });
            let Some(part) = part else { continue };
            if random.below(sizes[part]) >= shares[part] {
                shares[part] += 1;
                break;
            }
        }
    }
    if others {
        shares.iter_mut().zip(sizes).for_each(|(share, size)| *share = size - *share);
    }
    shares
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// Pairs drawn by chance, each with the probability that `fractions` has for its key; with replacement
    /// each so many times on average. Keys without a fraction are left out. The same seed draws the same
    /// pairs.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize((0..9_000).map(|i| (i % 3, i)), 4);
    /// let some = pairs.sample_by_key(false, [(0, 0.5), (1, 1.0)], 42)?.count_by_key()?;
    /// assert!((1_350..1_650).contains(&some[&0]));
    /// assert_eq!((some[&1], some.get(&2)), (3_000, None));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a fraction below 0, or above 1 without replacement.
    #[track_caller]
    pub fn sample_by_key(
        &self,
        with_replacement: bool,
        fractions: impl IntoIterator<Item = (K, f64)>,
        seed: u64,
    ) -> Result<Rdd<(K, V), ScanPipe<P, DrawByKey<K>>>>
    where
        K: Key,
    {
        let site = Site::here("sample_by_key");
        let fractions: HashMap<K, f64> = fractions.into_iter().collect();
        fractions.values().try_for_each(|f| check_fraction(site, *f, with_replacement))?;
        let f = DrawByKey { fractions, with_replacement, seed };
        Ok(self.narrow(|parent| ScanPipe { parent, f: f.into(), site }))
    }

    /// [`Rdd::sample_by_key`] with exactly `fraction * n` pairs, rounded up, of each key that has n pairs.
    /// Runs a job that counts the pairs of the keys; the driver gets the counts of each partition.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize((0..900).map(|i| (i % 3, i)), 4);
    /// let some = pairs.sample_by_key_exact(false, [(0, 0.25), (1, 0.501)], 42)?.count_by_key()?;
    /// assert_eq!((some[&0], some[&1], some.get(&2)), (75, 151, None));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::sample_by_key`] and [`Rdd::collect`].
    #[track_caller]
    pub fn sample_by_key_exact(
        &self,
        with_replacement: bool,
        fractions: impl IntoIterator<Item = (K, f64)>,
        seed: u64,
    ) -> Result<Rdd<(K, V), ScanPipe<P, DrawExactly<K>>>>
    where
        K: Key,
    {
        let site = Site::here("sample_by_key_exact");
        let fractions: HashMap<K, f64> = fractions.into_iter().collect();
        fractions.values().try_for_each(|f| check_fraction(site, *f, with_replacement))?;
        // In an order that is the same in every process, as that of a map isn't.
        let hashes = self.ctx.0.env.seed;
        let mut keys: Vec<K> = fractions.keys().cloned().collect();
        keys.sort_by_key(|k| hashes.hash(k));
        let numbers: HashMap<K, usize> =
            keys.iter().enumerate().map(|(i, k)| (k.clone(), i)).collect();
        let n = keys.len();
        let count = move |p: &P, cx: &TaskCx<'_>| {
            p.fold(cx, cx.partition(), vec![0u64; n], |mut counts, (k, _)| {
                if let Some(i) = site.guard(|| numbers.get(&k)) {
                    counts[*i] += 1;
                }
                counts
            })
        };
        let counts: Vec<Vec<u64>> = self.run_action(site, |n| 0..n, count)?;
        if counts.len() != self.num_partitions() {
            return Err(Error::Bug(format!("{site}: a partition wasn't counted")));
        }
        let mut random = Random::of(seed, usize::MAX);
        let mut quotas: Vec<HashMap<K, Quota>> = counts.iter().map(|_| HashMap::new()).collect();
        for (i, key) in keys.iter().enumerate() {
            let sizes: Vec<u64> = counts.iter().map(|c| c[i]).collect();
            let total: u64 = sizes.iter().sum();
            let wanted = (fractions[key] * total as f64).ceil() as u64;
            let shares = share(&mut random, &sizes, wanted, with_replacement);
            for ((quota, left), wanted) in quotas.iter_mut().zip(sizes).zip(shares) {
                quota.insert(key.clone(), Quota { left, wanted });
            }
        }
        let f = DrawExactly { quotas, with_replacement, seed };
        Ok(self.narrow(|parent| ScanPipe { parent, f: f.into(), site }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_fit() {
        let mut random = Random::of(3, 0);
        let sizes = [5, 0, 100, 1, 37];
        for wanted in [0, 1, 70, 71, 72, 142, 143] {
            let shares = share(&mut random, &sizes, wanted, false);
            assert_eq!(shares.iter().sum::<u64>(), wanted);
            assert!(shares.iter().zip(sizes).all(|(s, n)| *s <= n), "{shares:?}");
        }
        for wanted in [0, 1, 143, 1_000] {
            let shares = share(&mut random, &sizes, wanted, true);
            assert_eq!((shares.iter().sum::<u64>(), shares[1]), (wanted, 0));
        }
        assert_eq!(share(&mut random, &[], 0, true), Vec::<u64>::new());
    }

    #[test]
    fn shares_are_proportional_on_average() {
        for with in [false, true] {
            let mut random = Random::of(4, 0);
            let mut sums = [0u64; 3];
            for _ in 0..2_000 {
                let shares = share(&mut random, &[10, 30, 60], 20, with);
                sums.iter_mut().zip(shares).for_each(|(a, b)| *a += b);
            }
            let want = [4_000.0, 12_000.0, 24_000.0];
            for (got, want) in sums.iter().zip(want) {
                assert!((*got as f64 - want).abs() < 400.0, "{sums:?}");
            }
        }
    }
}
