//! What limits and metrics need of a key group.

use std::collections::HashMap;

use super::Group;
use crate::Time;
use crate::data::{Key, Wire};
use crate::rdd::behind;
use crate::state::log::Was;

/// Keys that are looked at to find what keys and values own.
const SAMPLES: usize = 8;

impl<K: Key, S: Wire> Group<K, S> {
    /// When the key was touched that wasn't touched for the longest time.
    pub(in crate::state) fn oldest(&mut self) -> Option<u64> {
        loop {
            let ((time, _), slot) = (self.ages.front()?, self.ages.slot(0)?);
            if self.is_last(slot, time) {
                return Some(time);
            }
            self.ages.advance();
        }
    }

    /// Removes that key. Returns what `count` says of it.
    pub(in crate::state) fn remove_oldest(
        &mut self,
        t: Time,
        count: impl Fn(&K, &S) -> u64,
    ) -> u64 {
        let Some(slot) = self.oldest().and_then(|_| self.ages.slot(0)) else { return 0 };
        let Some(val) = self.vals.take(slot as usize) else { return 0 };
        let n = self.keys.get(slot as usize).map_or(0, |k| count(k, &val));
        self.remove(slot, t, Was::Removed(val));
        self.ages.advance();
        n
    }

    /// What `count` says of the records that batch `t` has changed, as they were before it and as they are.
    pub(in crate::state) fn changed(&self, t: Time, count: impl Fn(&K, &S) -> u64) -> (u64, u64) {
        let Some(version) = self.versions.back().filter(|v| v.time == t) else { return (0, 0) };
        let of = |slot: usize, val: Option<&S>| match (self.keys.get(slot), val) {
            (Some(k), Some(v)) => count(k, v),
            _ => 0,
        };
        if let Some(whole) = &version.whole {
            let slots = 0..self.keys.len();
            let before = slots.clone().map(|i| of(i, whole.get(i))).sum();
            return (before, slots.map(|i| of(i, self.vals.get(i))).sum());
        }
        // The oldest change of a slot has the value from before the batch.
        let firsts: HashMap<u32, Option<&S>> = version.ops.before().collect();
        let before = firsts.iter().map(|(slot, was)| of(*slot as usize, *was)).sum();
        let now = firsts.keys().map(|slot| of(*slot as usize, self.vals.get(*slot as usize))).sum();
        (before, now)
    }

    /// Notes that a key which is there was touched.
    pub(in crate::state) fn touch(&mut self, hash: u32, key: &K, t: Time) {
        if let Some(slot) = self.find(hash, key)
            && self.meta[slot as usize].touched != t.millis()
        {
            self.touched(slot, t, Was::Same);
        }
    }

    /// Bytes that keys and values own elsewhere, by a sample.
    pub(in crate::state) fn owned(&self) -> usize {
        let plain = !std::mem::needs_drop::<K>() && !std::mem::needs_drop::<S>();
        if plain || self.live == 0 {
            return 0;
        }
        let step = self.keys.len().div_ceil(SAMPLES).max(1);
        let one = |i| {
            let (k, v) = (self.keys.get(i)?, self.vals.get(i)?);
            Some(behind(std::slice::from_ref(k), 1) + behind(std::slice::from_ref(v), 1))
        };
        let sampled: Vec<usize> = (0..self.keys.len()).step_by(step).filter_map(one).collect();
        let sum: usize = sampled.iter().sum();
        sum * self.live / sampled.len().max(1)
    }
}
