//! What a stateful operator's state may take at most, and what happens when it would take more.

use super::watch::entry_bytes;
use crate::data::Wire;
use crate::engine::{Site, TaskError};

/// The most that the state of one operator may take; see [`StateSpec::limit`](crate::StateSpec::limit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateLimit {
    most: usize,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Keys,
    Bytes,
}

impl StateLimit {
    /// At most this many keys.
    pub const fn keys(n: usize) -> StateLimit {
        StateLimit { most: n, unit: Unit::Keys }
    }

    /// At most this many bytes of memory, about: a key counts as its own size and that of its state, what both
    /// own elsewhere (found by serializing them), and 40 bytes for the tables. Counted in the same way where
    /// the states are on disk.
    pub const fn bytes(n: usize) -> StateLimit {
        StateLimit { most: n, unit: Unit::Bytes }
    }
}

/// What happens when a batch leaves more state than the limit allows; see
/// [`StateSpec::limit`](crate::StateSpec::limit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFull {
    /// The batch fails, with an error that names the operator.
    Fail,
    /// The keys that weren't touched for the longest time are removed, and counted.
    EvictOldest,
}

/// A limit with what happens beyond it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded {
    limit: StateLimit,
    full: OnFull,
}

impl Bounded {
    pub(crate) fn new(limit: StateLimit, full: OnFull) -> Bounded {
        Bounded { limit, full }
    }

    /// # Panics
    /// When a partition would have nothing: the program's mistake, reported at the call.
    #[track_caller]
    pub(crate) fn check(&self, partitions: usize, site: Site) {
        assert!(
            self.limit.most >= partitions,
            "{site}: a limit of {} is less than one for each of {partitions} partitions",
            self.said(self.limit.most as u64)
        );
    }

    pub(crate) fn in_bytes(&self) -> bool {
        self.limit.unit == Unit::Bytes
    }

    pub(crate) fn evicts(&self) -> bool {
        self.full == OnFull::EvictOldest
    }

    /// What one partition may have; those of all partitions add up to the limit.
    pub(crate) fn share(&self, part: usize, parts: usize) -> u64 {
        (self.limit.most / parts + usize::from(part < self.limit.most % parts)) as u64
    }

    /// What a key counts for.
    pub(crate) fn count<K: Wire, S: Wire>(&self, key: &K, state: &S) -> u64 {
        match self.limit.unit {
            Unit::Keys => 1,
            Unit::Bytes => entry_bytes(key, state),
        }
    }

    /// Partition `part` of `parts` has `has`, which is too much, and nothing may go.
    #[cold]
    pub(crate) fn full(&self, site: Site, (part, parts): (usize, usize), has: u64) -> TaskError {
        let share = self.share(part, parts);
        TaskError::StateFull {
            operator: site.into(),
            partition: part as u32,
            message: format!(
                "would have {}, more than the {} that are its share of the limit of {}: raise the limit, let \
                 keys go that are idle (`timeout`, `State::remove`), or let the oldest ones go \
                 (`OnFull::EvictOldest`); `heaviest_keys` shows what takes the most",
                self.said(has),
                self.said(share),
                self.said(self.limit.most as u64)
            ),
        }
    }

    fn said(&self, n: u64) -> String {
        match (self.limit.unit, n) {
            (Unit::Keys, 1) => "1 key".into(),
            (Unit::Keys, n) => format!("{n} keys"),
            (Unit::Bytes, n) => format!("{n} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_limit() {
        for (n, parts) in [(10, 3), (1000, 7), (5, 5), (1, 1)] {
            let bounded = Bounded::new(StateLimit::keys(n), OnFull::Fail);
            bounded.check(parts, Site::here("test"));
            let shares: Vec<u64> = (0..parts).map(|p| bounded.share(p, parts)).collect();
            assert_eq!(shares.iter().sum::<u64>(), n as u64, "{shares:?}");
            assert!(shares.iter().all(|s| *s >= 1), "{shares:?}");
        }
    }

    #[test]
    #[should_panic(expected = "a limit of 3 keys is less than one for each of 4 partitions")]
    fn a_limit_below_the_partitions_is_refused() {
        Bounded::new(StateLimit::keys(3), OnFull::Fail).check(4, Site::here("map_with_state"));
    }
}
