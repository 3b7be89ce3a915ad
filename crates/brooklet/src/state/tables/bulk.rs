//! Many keys of a partition at once, key group by key group: what those of a group change lies together.

use super::{Beside, Lease, Place};
use crate::data::{Key, Wire};
use crate::rdd::combine::{Entry, group_of};
use crate::state::group::FAR;

impl<K: Key, S: Wire, X: Beside> Lease<'_, K, S, X> {
    /// Sets the states of the entries' keys to what `f` makes of them. Returns their places, in the order in
    /// which `f` was called.
    pub(crate) fn upsert_all<V>(
        &mut self,
        entries: &[Entry<K, V>],
        mut f: impl FnMut(&Entry<K, V>, Option<&S>) -> S,
    ) -> Vec<Place> {
        let (t, order) = (self.t, by_group(entries));
        let mut places = Vec::with_capacity(entries.len());
        let mut groups = order.chunk_by(|a, b| group_of(a.0) == group_of(b.0)).peekable();
        while let Some(run) = groups.next() {
            self.before(groups.peek());
            let hash = run[0].0;
            let placed = |slot| places.push(Place::new(hash, slot));
            self.group(hash).upsert_all((run, entries), t, &mut f, placed);
        }
        places
    }

    /// Asks for what looking up the next run of hashes, all of one key group, begins with.
    #[inline]
    fn before(&self, next: Option<&&[(u32, u32)]>) {
        if let Some(next) = next
            && let Some(group) = &self.p.groups[usize::from(group_of(next[0].0))]
        {
            group.before_all(next);
        }
    }

    /// Goes over all keys: `f` gets each with the value of its entry, if there is one, and its state, and returns the
    /// new state, or none to remove the key. Comes before any other change. Returns the entries whose keys aren't
    /// there.
    pub(crate) fn pass_entries<'e, V>(
        &mut self,
        entries: &'e [Entry<K, V>],
        mut f: impl FnMut(&K, Option<&'e V>, S) -> Option<S>,
    ) -> Vec<&'e Entry<K, V>> {
        let (t, order) = (self.t, by_group(entries));
        let (mut new, mut there) = (Vec::new(), Vec::new());
        let mut runs = order.chunk_by(|a, b| group_of(a.0) == group_of(b.0)).peekable();
        for i in 0..self.p.groups.len() {
            let run = runs.next_if(|run| usize::from(group_of(run[0].0)) == i).unwrap_or_default();
            self.before(runs.peek());
            let Some(group) = &mut self.p.groups[i] else {
                new.extend(run.iter().map(|(_, e)| &entries[*e as usize]));
                continue;
            };
            there.clear();
            group.find_all((run, entries), |e, slot| match slot {
                Some(slot) => there.push((slot, &e.val)),
                None => new.push(e),
            });
            there.sort_unstable_by_key(|(slot, _)| *slot);
            group.pass(t, &mut there, |k, v, s| f(k, v.map(|v| *v), s));
        }
        new
    }

    /// Sets the states at places to what `f` makes of them and of the values beside the places, or removes the
    /// keys.
    pub(crate) fn upsert_places<V>(
        &mut self,
        (places, vals): (&[Place], &[V]),
        mut f: impl FnMut(usize, &V, Option<&S>) -> Option<S>,
    ) {
        let (t, mut i) = (self.t, 0);
        let mut groups = places.chunk_by(|a, b| a.group() == b.group()).peekable();
        while let Some(run) = groups.next() {
            if let Some(next) = groups.peek()
                && let Some(group) = &self.p.groups[usize::from(next[0].group())]
            {
                next.iter().take(FAR).for_each(|at| group.prefetch_value(at.slot()));
            }
            let Some(group) = &mut self.p.groups[usize::from(run[0].group())] else { continue };
            for (n, at) in run.iter().enumerate() {
                if let Some(ahead) = run.get(n + FAR) {
                    group.prefetch_value(ahead.slot());
                }
                group.upsert_slot(at.slot(), t, |s| f(i, &vals[i], s));
                i += 1;
            }
        }
    }
}

/// Hashes and numbers of entries in the order of their key groups.
fn by_group<K, V>(entries: &[Entry<K, V>]) -> Vec<(u32, u32)> {
    let mut next = [0; 257];
    for e in entries {
        next[usize::from(group_of(e.hash)) + 1] += 1;
    }
    for g in 1..next.len() {
        next[g] += next[g - 1];
    }
    let mut order = vec![(0, 0); entries.len()];
    for (i, e) in entries.iter().enumerate() {
        let at: &mut usize = &mut next[usize::from(group_of(e.hash))];
        order[*at] = (e.hash, i as u32);
        *at += 1;
    }
    order
}
