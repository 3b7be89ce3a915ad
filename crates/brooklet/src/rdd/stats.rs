//! Actions on numbers: `sum`, `mean`, `stats` and what follows from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::pipe::Pipe;
use crate::Result;
use crate::data::Data;
use crate::engine::Site;

/// A number that [`Rdd::stats`] and its relatives take as `f64`. Whole numbers beyond 2^53 lose their last
/// digits there: [`Rdd::reduce`] adds them exactly.
#[diagnostic::on_unimplemented(
    message = "`{Self}` isn't a number",
    label = "needs one of the number types",
    note = "map the records to the number that you mean first"
)]
pub trait Number: Copy {
    /// The number.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}
numbers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64);

/// Count, sum, mean, variance, least and greatest of numbers, in one pass and without loss of digits for
/// numbers that lie close together (Welford's method; Chan's for merging).
///
/// ```
/// use brooklet::rdd::StatCounter;
/// let mut s: StatCounter = [1.0, 2.0, 3.0].into_iter().collect();
/// s.merge(&[6.0].into_iter().collect());
/// assert_eq!((s.count(), s.sum(), s.mean(), s.variance()), (4, 12.0, 3.0, 3.5));
/// assert_eq!((s.min(), s.max()), (1.0, 6.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatCounter {
    n: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for StatCounter {
    fn default() -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        StatCounter { n: 0, mean: 0.0, squares: 0.0, min, max }
    }
}

impl StatCounter {
    /// Of no numbers.
    pub fn new() -> StatCounter {
        StatCounter::default()
    }

    /// Adds a number.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let off = x - self.mean;
        self.n += 1;
        self.mean += off / self.n as f64;
        self.squares += off * (x - self.mean);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &StatCounter) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let (off, n) = (other.mean - self.mean, a + b);
        // From the larger side, so that little is added to much.
        self.mean = if b * 10.0 < a {
            self.mean + off * b / n
        } else if a * 10.0 < b {
            other.mean - off * a / n
        } else {
            (self.mean * a + other.mean * b) / n
        };
        self.squares += other.squares + off * off * a * b / n;
        self.n += other.n;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.n
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.mean * self.n as f64
    }

    /// Their mean; 0 of no numbers, as in the original.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The least; infinity of no numbers. NaN is passed over.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest; minus infinity of no numbers. NaN is passed over.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The variance of these numbers; NaN of no numbers.
    pub fn variance(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.squares / self.n as f64 }
    }

    /// The variance of what these numbers are a sample of (divided by n - 1); NaN of less than two.
    pub fn sample_variance(&self) -> f64 {
        if self.n < 2 { f64::NAN } else { self.squares / (self.n - 1) as f64 }
    }

    /// The root of [`StatCounter::variance`].
    pub fn stdev(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The root of [`StatCounter::sample_variance`].
    pub fn sample_stdev(&self) -> f64 {
        self.sample_variance().sqrt()
    }
}

impl Extend<f64> for StatCounter {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, numbers: I) {
        numbers.into_iter().for_each(|x| self.add(x));
    }
}

impl FromIterator<f64> for StatCounter {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> StatCounter {
        let mut s = StatCounter::new();
        s.extend(numbers);
        s
    }
}

impl fmt::Display for StatCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, mean, dev) = (self.n, self.mean(), self.stdev());
        write!(f, "count: {n}, mean: {mean}, stdev: {dev}, max: {}, min: {}", self.max, self.min)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Count, mean, variance, least and greatest of the numbers, in one job.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let s = ctx.parallelize([1, 2, 3, 6], 2).stats()?;
    /// assert_eq!((s.count(), s.mean(), s.variance(), s.max()), (4, 3.0, 3.5, 6.0));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn stats(&self) -> Result<StatCounter>
    where
        T: Number,
    {
        self.counted(Site::here("stats"))
    }

    pub(crate) fn counted(&self, site: Site) -> Result<StatCounter>
    where
        T: Number,
    {
        let parts = self.run_action(
            site,
            |n| 0..n,
            |p, cx| {
                p.fold(cx, cx.partition(), StatCounter::new(), |mut s, x| {
                    s.add(x.to_f64());
                    s
                })
            },
        )?;
        Ok(parts.iter().fold(StatCounter::new(), |mut a, b| {
            a.merge(b);
            a
        }))
    }

    /// The sum of the numbers; 0 of none. For an exact sum of whole numbers see [`Rdd::reduce`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([1.5, 2.5, 5.0], 2);
    /// assert_eq!((r.sum()?, r.mean()?), (9.0, 3.0));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn sum(&self) -> Result<f64>
    where
        T: Number,
    {
        let sum = |p: &P, cx: &crate::engine::TaskCx<'_>| {
            p.fold(cx, cx.partition(), 0.0, |a, x| a + x.to_f64())
        };
        let parts = self.run_action(Site::here("sum"), |n| 0..n, sum)?;
        // Not `sum()`, which is -0 of nothing.
        Ok(parts.into_iter().fold(0.0, |a, b| a + b))
    }

    /// The mean of the numbers; 0 of none, as in the original.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn mean(&self) -> Result<f64>
    where
        T: Number,
    {
        Ok(self.counted(Site::here("mean"))?.mean())
    }

    /// The variance of the numbers; NaN of none.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([1, 3], 2);
    /// assert_eq!((r.variance()?, r.stdev()?), (1.0, 1.0));
    /// assert_eq!((r.sample_variance()?, r.sample_stdev()?), (2.0, 2f64.sqrt()));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn variance(&self) -> Result<f64>
    where
        T: Number,
    {
        Ok(self.counted(Site::here("variance"))?.variance())
    }

    /// The root of the variance; NaN of no numbers.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn stdev(&self) -> Result<f64>
    where
        T: Number,
    {
        Ok(self.counted(Site::here("stdev"))?.stdev())
    }

    /// The variance of what the numbers are a sample of (divided by n - 1); NaN of less than two.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn sample_variance(&self) -> Result<f64>
    where
        T: Number,
    {
        Ok(self.counted(Site::here("sample_variance"))?.sample_variance())
    }

    /// The root of [`Rdd::sample_variance`].
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn sample_stdev(&self) -> Result<f64>
    where
        T: Number,
    {
        Ok(self.counted(Site::here("sample_stdev"))?.sample_stdev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn close_numbers_keep_their_variance() {
        let s: StatCounter = (0..1_000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert!((s.variance() - 0.25).abs() < 1e-6, "{s}");
    }

    proptest! {
        #[test]
        fn merged_parts_are_the_whole(parts in prop::collection::vec(prop::collection::vec(-1e3..1e3f64, 0..40), 0..6)) {
            let whole: StatCounter = parts.concat().into_iter().collect();
            let mut merged = StatCounter::new();
            for p in &parts {
                merged.merge(&p.iter().copied().collect());
            }
            prop_assert_eq!((merged.n, merged.min, merged.max), (whole.n, whole.min, whole.max));
            prop_assert!((merged.mean - whole.mean).abs() < 1e-9);
            prop_assert!((merged.squares - whole.squares).abs() <= 1e-9 * (1.0 + whole.squares));
        }
    }
}
