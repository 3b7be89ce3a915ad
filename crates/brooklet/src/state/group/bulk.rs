//! Many keys of a group, one after the other, with the memory of the next ones asked for.
#![allow(unsafe_code)]

use super::{FAR, Group, NEAR, Was};
use crate::Time;
use crate::data::{Key, Wire};
use crate::rdd::combine::{Entry, prefetch_value};
use crate::rdd::detach;

impl<K: Key, S: Wire> Group<K, S> {
    /// Asks for what [`Group::upsert_all`] or [`Group::find_all`] of these hashes begins with.
    #[inline]
    pub(in crate::state) fn before_all(&self, order: &[(u32, u32)]) {
        order.iter().take(FAR).for_each(|(hash, _)| self.prefetch(*hash));
    }

    /// Sets the values of keys to what `f` makes of them, and tells `placed` their slots. `order` has hashes and
    /// numbers of entries.
    pub(in crate::state) fn upsert_all<V>(
        &mut self,
        (order, entries): (&[(u32, u32)], &[Entry<K, V>]),
        t: Time,
        mut f: impl FnMut(&Entry<K, V>, Option<&S>) -> S,
        mut placed: impl FnMut(u32),
    ) {
        order.iter().take(NEAR).for_each(|(hash, _)| self.prefetch_slot(*hash, false));
        for (at, (hash, i)) in order.iter().enumerate() {
            if let Some((_, i)) = order.get(at + FAR + NEAR) {
                prefetch_value(&raw const entries[*i as usize]);
            }
            if let Some((hash, _)) = order.get(at + FAR) {
                self.prefetch(*hash);
            }
            if let Some((hash, _)) = order.get(at + NEAR) {
                self.prefetch_slot(*hash, false);
            }
            let e = &entries[*i as usize];
            let slot = match self.find(*hash, &e.key) {
                None => {
                    let new = detach::one(f(e, None));
                    self.insert(*hash, detach::one(e.key.clone()), new, t)
                }
                Some(slot) => {
                    let i = slot as usize;
                    // SAFETY: the index names slots that have values.
                    let old = unsafe { self.vals.at(i) };
                    let new = detach::one(f(e, Some(old)));
                    // SAFETY: as above; the new value takes the place of the old one at once.
                    let old = unsafe { self.vals.read(i) };
                    self.vals.write(i, new);
                    self.log_value(slot, t, old);
                    slot
                }
            };
            placed(slot);
        }
    }

    /// Looks up the keys of entries, and tells `f` of each entry the slot, if the key is there.
    pub(in crate::state) fn find_all<'e, V>(
        &self,
        (order, entries): (&[(u32, u32)], &'e [Entry<K, V>]),
        mut f: impl FnMut(&'e Entry<K, V>, Option<u32>),
    ) {
        order.iter().take(NEAR).for_each(|(hash, _)| self.prefetch_slot(*hash, false));
        for (at, (hash, i)) in order.iter().enumerate() {
            if let Some((hash, i)) = order.get(at + FAR) {
                prefetch_value(&raw const entries[*i as usize]);
                self.prefetch(*hash);
            }
            if let Some((hash, _)) = order.get(at + NEAR) {
                self.prefetch_slot(*hash, false);
            }
            let e = &entries[*i as usize];
            f(e, self.find(*hash, &e.key));
        }
    }

    /// A value was set; the log gets the one before it.
    #[inline(always)]
    pub(super) fn log_value(&mut self, slot: u32, t: Time, before: S) {
        if self.by_time {
            self.touched(slot, t, Was::Value(before));
        } else {
            // Logged every time: that is less than looking whether it was.
            self.log(t).ops.push(slot, Was::Value(before), None);
        }
    }
}
