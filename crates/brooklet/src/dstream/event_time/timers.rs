//! When the windows of a key end: an index of one partition's keys by time, so that firing costs what fires.
//!
//! The state is in tables that can undo a batch; this index never undoes anything. It may name keys whose
//! windows were fired or undone meanwhile, so whoever reads it looks at the state, and it keeps what fires
//! until no batch can begin before that any more.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::Time;

pub(super) struct Timers<K> {
    by_end: BTreeMap<Time, Vec<(u32, K)>>,
    /// The newest batches, each with the time up to which it has fired.
    fired: Vec<(Time, Time)>,
}

/// Batches of which it is remembered how far they have fired: the next one begins from one of the last two.
const REMEMBERED: usize = 4;

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { by_end: BTreeMap::new(), fired: Vec::new() }
    }
}

impl<K> Timers<K> {
    /// A batch begins from version `base`: what that version or one before it has fired stays so.
    pub(super) fn begin(&mut self, base: Time) {
        let Some((_, fired)) = self.fired.iter().rev().find(|(t, _)| *t == base) else { return };
        while let Some(first) = self.by_end.first_entry()
            && first.key() <= fired
        {
            first.remove();
        }
    }

    /// A window of a key with this hash ends at `end`.
    pub(super) fn push(&mut self, end: Time, hash: u32, key: K) {
        self.by_end.entry(end).or_default().push((hash, key));
    }

    /// The first entries after `after` and up to `until`, all of one time.
    pub(super) fn next(&self, after: Option<Time>, until: Time) -> Option<(Time, &[(u32, K)])> {
        let from = after.map_or(Unbounded, Excluded);
        let (end, keys) = self.by_end.range((from, Unbounded)).next()?;
        (*end <= until).then_some((*end, keys))
    }

    /// Batch `t` has fired what ended up to `until`.
    pub(super) fn done(&mut self, t: Time, until: Time) {
        self.fired.retain(|(of, _)| *of < t);
        self.fired.push((t, until));
        if self.fired.len() > REMEMBERED {
            self.fired.remove(0);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_end.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn due(t: &Timers<char>, until: u64) -> String {
        let (mut all, mut after) = (String::new(), None);
        while let Some((end, keys)) = t.next(after, at(until)) {
            all.extend(keys.iter().map(|(_, k)| k));
            after = Some(end);
        }
        all
    }

    #[test]
    fn what_ends_comes_in_time_order_and_again_until_its_version_is_the_base() {
        let mut t = Timers::default();
        t.begin(Time::ZERO);
        for (end, k) in [(30, 'c'), (10, 'a'), (20, 'b'), (10, 'A')] {
            t.push(at(end), 0, k);
        }
        assert_eq!(due(&t, 20), "aAb");
        t.done(at(1_000), at(20));
        // The batch was skipped: the next begins from before it and fires the same again.
        t.begin(Time::ZERO);
        assert_eq!(due(&t, 20), "aAb");
        t.done(at(2_000), at(20));
        t.begin(at(2_000));
        assert_eq!((due(&t, 100).as_str(), t.len()), ("c", 1));
    }

    #[test]
    fn a_flush_empties_it() {
        let mut t = Timers::default();
        t.push(at(10), 0, 'a');
        assert_eq!(due(&t, u64::MAX), "a");
        t.done(at(1_000), at(u64::MAX));
        t.begin(at(1_000));
        assert_eq!(t.len(), 0);
    }
}
