//! `take_sample`: a sample of an exact size.

use super::Rdd;
use super::action::count_partition;
use super::detach;
use super::pipe::{Pipe, pushed};
use super::random::Random;
use crate::Result;
use crate::data::{Data, Wire};
use crate::engine::Site;

/// The fraction with which a draw from `total` records nearly always gives `wanted` or more (it fails once
/// in 10,000 times).
fn generous_fraction(wanted: u64, total: u64, with_replacement: bool) -> f64 {
    let (wanted, total) = (wanted as f64, total as f64);
    let fraction = wanted / total;
    if with_replacement {
        let deviations = if wanted < 12.0 { 9.0 } else { 5.0 };
        fraction + deviations * (fraction / total).sqrt()
    } else {
        let gamma = -(5e-5f64.ln()) / total;
        (fraction + gamma + (gamma * gamma + 2.0 * gamma * fraction).sqrt()).min(1.0)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// `n` records drawn by chance, in random order, in the driver's memory; without replacement at most as
    /// many as there are. Runs a job that counts and one (seldom more) that draws.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let all = ctx.parallelize(0..100, 4);
    /// assert_eq!(all.take_sample(false, 10, 42)?.len(), 10);
    /// assert_eq!(all.take_sample(false, 1_000, 42)?.len(), 100);
    /// assert_eq!(all.take_sample(true, 1_000, 42)?.len(), 1_000);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn take_sample(&self, with_replacement: bool, n: usize, seed: u64) -> Result<Vec<T>>
    where
        T: Wire,
    {
        let site = Site::here("take_sample");
        if n == 0 {
            return Ok(Vec::new());
        }
        let total: u64 = self.run_action(site, |n| 0..n, count_partition)?.iter().sum();
        let mut random = Random::of(seed, usize::MAX);
        if total == 0 {
            return Ok(Vec::new());
        }
        let all = !with_replacement && n as u64 >= total;
        let fraction = if all { 1.0 } else { generous_fraction(n as u64, total, with_replacement) };
        loop {
            let drawn = self.sample(with_replacement, fraction, random.word())?;
            let parts = drawn.run_action(
                site,
                |n| 0..n,
                |p, cx| p.fold(cx, cx.partition(), Vec::new(), pushed).map(detach::all),
            )?;
            let mut records: Vec<T> = parts.into_iter().flatten().collect();
            if records.len() >= n || all {
                random.shuffle(&mut records);
                records.truncate(n);
                return Ok(records);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draw_is_nearly_always_enough() {
        for (n, total) in [(1, 10), (5, 1_000), (900, 1_000), (20, 100_000)] {
            for with in [false, true] {
                let f = generous_fraction(n, total, with);
                assert!(f >= n as f64 / total as f64);
                let mut random = Random::of(1, 2);
                let enough = (0..200).filter(|_| {
                    let drawn: usize =
                        (0..total)
                            .map(|_| {
                                if with {
                                    random.poisson(f)
                                } else {
                                    usize::from(random.unit() < f)
                                }
                            })
                            .sum();
                    drawn as u64 >= n
                });
                assert!(enough.count() >= 199, "{n} of {total}, {with}");
            }
        }
    }
}
