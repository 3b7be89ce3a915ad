//! `sample` and `random_split`: records drawn by chance, the same ones at every attempt.

use std::iter::RepeatN;

use super::Rdd;
use super::pipe::Pipe;
use super::random::Random;
use super::scan::{Scan, ScanPipe};
use crate::data::Data;
use crate::engine::Site;
use crate::{Error, Result};

/// How often a record is drawn.
#[derive(Debug)]
pub struct Draw {
    seed: u64,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Once where a uniform number lies in this range (the end left out).
    Once(f64, f64),
    /// Any number of times, so often on average.
    Often(f64),
}

impl How {
    fn times(self, random: &mut Random) -> usize {
        match self {
            How::Once(from, to) => {
                let x = random.unit();
                usize::from(from <= x && x < to)
            }
            How::Often(mean) => random.poisson(mean),
        }
    }
}

impl<T: Clone + 'static> Scan<T> for Draw {
    type State = Random;
    type Out = RepeatN<T>;
    fn begin(&self, part: usize) -> Random {
        Random::of(self.seed, part)
    }
    #[inline]
    fn step(&self, random: &mut Random, record: T) -> RepeatN<T> {
        std::iter::repeat_n(record, self.how.times(random))
    }
}

/// A fraction that can't be drawn.
pub(crate) fn check_fraction(site: Site, fraction: f64, with_replacement: bool) -> Result<()> {
    let most = if with_replacement { f64::MAX } else { 1.0 };
    if (0.0..=most).contains(&fraction) {
        return Ok(());
    }
    let range = if with_replacement { "0 or more" } else { "between 0 and 1" };
    Err(Error::usage(format!("{site}: the fraction must be {range}, and is {fraction}")))
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// A part of the records, drawn by chance: each with probability `fraction`, or, with replacement, each
    /// so many times on average (by Poisson's law). The same seed draws the same records from the same
    /// partitions. The size of the result is only about `fraction` of the whole: see [`Rdd::take_sample`]
    /// for an exact one.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let all = ctx.parallelize(0..10_000, 4);
    /// let some = all.sample(false, 0.1, 42)?;
    /// assert!((850..1_150).contains(&some.count()?));
    /// assert_eq!(some.collect()?, all.sample(false, 0.1, 42)?.collect()?);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a fraction below 0, or above 1 without replacement.
    #[track_caller]
    pub fn sample(
        &self,
        with_replacement: bool,
        fraction: f64,
        seed: u64,
    ) -> Result<Rdd<T, ScanPipe<P, Draw>>> {
        let site = Site::here("sample");
        check_fraction(site, fraction, with_replacement)?;
        let how = if with_replacement { How::Often(fraction) } else { How::Once(0.0, fraction) };
        Ok(self.drawn(site, how, seed))
    }

    fn drawn(&self, site: Site, how: How, seed: u64) -> Rdd<T, ScanPipe<P, Draw>> {
        self.narrow(|parent| ScanPipe { parent, f: Draw { seed, how }.into(), site })
    }

    /// Splits the records by chance into parts of about these weights (they needn't add up to 1). Each
    /// record is in exactly one part.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let parts = ctx.parallelize(0..10_000, 4).random_split(&[3.0, 1.0], 42)?;
    /// let sizes = (parts[0].count()?, parts[1].count()?);
    /// assert_eq!(sizes.0 + sizes.1, 10_000);
    /// assert!((7_300..7_700).contains(&sizes.0));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a negative weight, and when none is positive.
    #[track_caller]
    pub fn random_split(
        &self,
        weights: &[f64],
        seed: u64,
    ) -> Result<Vec<Rdd<T, ScanPipe<P, Draw>>>> {
        let site = Site::here("random_split");
        let sum: f64 = weights.iter().sum();
        if !(weights.iter().all(|w| *w >= 0.0) && sum > 0.0 && sum.is_finite()) {
            return Err(Error::usage(format!(
                "{site}: weights must be 0 or more, and one above 0; these are {weights:?}"
            )));
        }
        let mut from = 0.0;
        let mut below = 0.0;
        // The last part with a weight ends at infinity: rounding must not lose the last records.
        let last = weights.iter().rposition(|w| *w > 0.0);
        let parts = weights.iter().enumerate().map(|(i, w)| {
            below += w;
            let to = if Some(i) == last { f64::INFINITY } else { below / sum };
            let how = How::Once(from, to);
            from = to;
            self.drawn(site, how, seed)
        });
        Ok(parts.collect())
    }
}
