//! `Ordered`: floating point numbers as sort keys and as keys of pairs.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An `f32` or `f64` with a total order, so that it can be a sort key or the key of a pair: numbers in their
/// order, `-0.0` before `0.0`, and all NaNs equal and last, whatever their sign.
///
/// ```
/// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
/// use brooklet::Ordered;
/// let r = ctx.parallelize([2.5, f64::NAN, -1.0, f64::INFINITY], 2);
/// let sorted = r.sort_by(|x| Ordered(*x), true, 2)?.collect()?;
/// assert_eq!(sorted[..3], [-1.0, 2.5, f64::INFINITY]);
/// assert!(sorted[3].is_nan());
/// # Ok::<(), brooklet::Error>(())
/// ```
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordered<F>(pub F);

impl<F> Ordered<F> {
    /// The number.
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl<F> From<F> for Ordered<F> {
    fn from(x: F) -> Self {
        Ordered(x)
    }
}

impl<F: fmt::Debug> fmt::Debug for Ordered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<F: fmt::Display> fmt::Display for Ordered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! ordered {
    ($($float:ident)*) => {$(
        impl Ordered<$float> {
            /// The number with one NaN for all.
            fn canonical(self) -> $float {
                if self.0.is_nan() { $float::NAN.abs() } else { self.0 }
            }
        }

        impl Ord for Ordered<$float> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.canonical().total_cmp(&other.canonical())
            }
        }

        impl PartialOrd for Ordered<$float> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for Ordered<$float> {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for Ordered<$float> {}

        impl Hash for Ordered<$float> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.canonical().to_bits().hash(state);
            }
        }
    )*};
}

ordered! { f32 f64 }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashSeed;

    #[test]
    fn order_is_total_and_agrees_with_equality_and_hash() {
        let negative_nan = -f64::NAN.abs();
        let in_order =
            [f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 7.5, f64::INFINITY, f64::NAN];
        for (i, a) in in_order.iter().enumerate() {
            for (j, b) in in_order.iter().enumerate() {
                assert_eq!(Ordered(*a).cmp(&Ordered(*b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(Ordered(negative_nan), Ordered(f64::NAN));
        let seed = HashSeed::new(1);
        assert_eq!(seed.hash(&Ordered(negative_nan)), seed.hash(&Ordered(f64::NAN)));
        assert!(Ordered(-f32::NAN) > Ordered(f32::MAX));
    }
}
