//! The values offered for a leaf: the first one, then others when the type refuses it.
//!
//! The first of each list is never the usual default, so that a value which gets lost between `Serialize`
//! and `Deserialize` is seen to be lost.

use std::collections::{HashMap, HashSet};

/// Where in the type a leaf is.
pub(super) type Place = (usize, Vec<super::search::Step>);

pub(super) const INTS: &[u64] = &[1, 0, 2, 65, 1_000_000];
pub(super) const BOOLS: &[bool] = &[true, false];
pub(super) const FLOATS: &[f64] = &[1.0, 0.0, 0.5];
pub(super) const CHARS: &[char] = &['a', '0', 'A'];
pub(super) const STRS: &[&str] = &[
    "a",
    "",
    "0",
    "1",
    "A",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "Mon",
    "00000000-0000-0000-0000-000000000001",
    "127.0.0.1",
    "127.0.0.1:80",
    "::1",
    "[::1]:80",
    "10.0.0.0/8",
    "UTC",
    "+00:00",
    "http://a.b/",
    "a@b.c",
    "1.0.0",
    "1s",
    "USD",
    "en",
    "00",
];
pub(super) const BYTES: &[&[u8]] =
    &[&[1], &[], &[1; 16], &[1; 4], &[1; 8], &[1; 12], &[1; 20], &[1; 32], &[1; 64]];

/// Which value each leaf stands at.
#[derive(Default)]
pub(super) struct Menu {
    at: HashMap<Place, usize>,
    /// Leaves that refuse the low value.
    not_low: HashSet<Place>,
    /// The leaf asked last, and the length of its list.
    last: Option<(Place, usize)>,
}

impl Menu {
    pub fn begin(&mut self) {
        self.last = None;
    }

    /// The place in a list of `n` values; `low` is the place of the empty or zero one.
    pub fn pick(&mut self, place: Place, n: usize, low: Option<usize>) -> usize {
        let chosen = self.at.get(&place).copied().unwrap_or(0);
        let pick = match low {
            Some(low) if !self.not_low.contains(&place) => low,
            _ => chosen,
        };
        self.last = Some((place, n));
        pick.min(n - 1)
    }

    /// After a refusal: another value at the leaf asked last. `false` when there is none.
    pub fn next(&mut self, low: bool) -> bool {
        let Some((place, n)) = self.last.take() else { return false };
        if low {
            return self.not_low.insert(place);
        }
        let at = self.at.entry(place).or_insert(0);
        *at += 1;
        *at < n
    }
}
