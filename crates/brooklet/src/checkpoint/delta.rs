//! What a batch has changed in the state of an operator.
//!
//! ```text
//! delta   entry*                                          in the order of changes
//! entry   group:u8 key:u32 value:u32 key-bytes value-bytes     value is FFFFFFFF for a removed key
//! ```
//! One buffer with group tags: a task appends to one place, and the sorting is done in the background.

use crate::conf::defaults;

const HEAD: usize = 9;
/// The most that an entry's key and value get beforehand.
const ROOM: usize = 32;
const REMOVED: u32 = u32::MAX;

/// Collects the changes of one partition and batch. The last change of a key counts.
#[derive(Debug, Default)]
pub(crate) struct DeltaBuilder {
    bytes: Vec<u8>,
    /// Where the whole entries end; what an encoder left behind that failed or panicked is cut there.
    end: usize,
    entries: usize,
}

/// Why a change wasn't taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PutError<E> {
    /// The encoder of key or value failed.
    Encode(E),
    /// Key or value has more than [`defaults::CHECKPOINT_MAX_ENTRY_BYTES`].
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

impl DeltaBuilder {
    /// One that begins with room for `entries` whose keys and values take about `bytes` each in memory.
    pub(crate) fn with_capacity(entries: usize, bytes: usize) -> DeltaBuilder {
        // Numbers are shorter than in memory, and what a value owns isn't known.
        let room = entries.saturating_mul(HEAD + bytes.min(ROOM));
        DeltaBuilder { bytes: Vec::with_capacity(room), ..Default::default() }
    }

    /// Sets a key's value. The closures append the encoded key and value to the buffer they are given.
    ///
    /// # Errors
    /// Nothing is recorded when a closure fails, or when key or value is too large.
    pub(crate) fn put_with<E>(
        &mut self,
        group: u8,
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), PutError<E>> {
        let at = self.begin(group);
        let key = self.part(key)?;
        let value = self.part(value)?;
        self.commit(at, key, value);
        Ok(())
    }

    /// Removes a key; `key` as in [`DeltaBuilder::put_with`].
    ///
    /// # Errors
    /// As [`DeltaBuilder::put_with`].
    pub(crate) fn remove_with<E>(
        &mut self,
        group: u8,
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), PutError<E>> {
        let at = self.begin(group);
        let key = self.part(key)?;
        self.commit(at, key, REMOVED);
        Ok(())
    }

    /// Sets a key's value, both encoded already.
    ///
    /// # Errors
    /// When key or value is too large.
    #[cfg(test)]
    pub(crate) fn put(
        &mut self,
        group: u8,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), PutError<std::convert::Infallible>> {
        self.put_with(group, |b| copy(b, key), |b| copy(b, value))
    }

    /// Removes a key that is encoded already.
    ///
    /// # Errors
    /// When the key is too large.
    #[cfg(test)]
    pub(crate) fn remove(
        &mut self,
        group: u8,
        key: &[u8],
    ) -> Result<(), PutError<std::convert::Infallible>> {
        self.remove_with(group, |b| copy(b, key))
    }

    /// Changes recorded.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// The changes, ready to be handed over.
    pub(crate) fn finish(mut self) -> Delta {
        self.bytes.truncate(self.end);
        // What isn't used counts for when checkpoints are due.
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        Delta { bytes: self.bytes, entries: self.entries }
    }

    fn begin(&mut self, group: u8) -> usize {
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(&[group, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.end
    }

    fn part<E>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u32, PutError<E>> {
        let from = self.bytes.len();
        encode(&mut self.bytes).map_err(PutError::Encode)?;
        let bytes = self.bytes.len().saturating_sub(from);
        if bytes > defaults::CHECKPOINT_MAX_ENTRY_BYTES {
            return Err(PutError::TooLarge { bytes });
        }
        Ok(bytes as u32)
    }

    fn commit(&mut self, at: usize, key: u32, value: u32) {
        self.bytes[at + 1..at + 5].copy_from_slice(&key.to_le_bytes());
        self.bytes[at + 5..at + 9].copy_from_slice(&value.to_le_bytes());
        self.end = self.bytes.len();
        self.entries += 1;
    }
}

#[cfg(test)]
fn copy(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), std::convert::Infallible> {
    to.extend_from_slice(bytes);
    Ok(())
}

/// The changes of one partition and batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    bytes: Vec<u8>,
    entries: usize,
}

/// One change: a key's new value, or `None` when it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) group: u8,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl Delta {
    /// Reads the form that [`Delta::as_bytes`] gives, in another process; `None` when it isn't one.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Delta> {
        let mut delta = Delta { bytes, entries: 0 };
        let mut at = 0;
        while at < delta.bytes.len() {
            at = delta.change(at)?.1;
            delta.entries += 1;
        }
        Some(delta)
    }

    /// The changes as bytes, to be sent to the process that writes the checkpoint.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The same, as they are.
    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Memory that the changes take.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The change at byte `at`, and where the next one begins; `None` at the end.
    fn change(&self, at: usize) -> Option<(Change<'_>, usize)> {
        let rest = self.bytes.get(at..)?;
        let number = |i: usize| Some(u32::from_le_bytes(*rest.get(i..)?.first_chunk()?));
        let (group, key, value) = (*rest.first()?, number(1)? as usize, number(5)?);
        let (key_end, removed) = (HEAD + key, value == REMOVED);
        let end = if removed { key_end } else { key_end + value as usize };
        let value = if removed { None } else { Some(rest.get(key_end..end)?) };
        Some((Change { group, key: rest.get(HEAD..key_end)?, value }, at + end))
    }
}

/// The changes of several batches by group and key, the last one of each key.
pub(crate) struct Sorted<'a> {
    deltas: &'a [Delta],
    places: Vec<Place>,
    next: usize,
}

/// Where a change is. Sorted by group and key, then by age.
#[derive(Clone, Copy)]
struct Place {
    /// The group and the first seven bytes of the key: decides most comparisons.
    rank: u64,
    at: usize,
    delta: u32,
}

impl<'a> Sorted<'a> {
    /// Sorts the changes of `deltas`, the oldest of which comes first.
    pub(crate) fn new(deltas: &'a [Delta]) -> Sorted<'a> {
        let mut places = Vec::with_capacity(deltas.iter().map(|d| d.entries).sum());
        for (i, d) in deltas.iter().enumerate() {
            let mut at = 0;
            while let Some((change, next)) = d.change(at) {
                places.push(Place { rank: rank(change.group, change.key), at, delta: i as u32 });
                at = next;
            }
        }
        let key = |p: &Place| deltas[p.delta as usize].change(p.at).map(|(c, _)| c.key);
        places.sort_unstable_by(|a, b| {
            a.rank
                .cmp(&b.rank)
                .then_with(|| key(a).cmp(&key(b)))
                .then_with(|| (a.delta, a.at).cmp(&(b.delta, b.at)))
        });
        Sorted { deltas, places, next: 0 }
    }

    fn change(&self, i: usize) -> Option<Change<'a>> {
        let p = self.places.get(i)?;
        Some(self.deltas[p.delta as usize].change(p.at)?.0)
    }
}

impl<'a> Iterator for Sorted<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let mut last = self.change(self.next)?;
        self.next += 1;
        while let Some(c) = self.change(self.next)
            && (c.group, c.key) == (last.group, last.key)
        {
            last = c;
            self.next += 1;
        }
        Some(last)
    }
}

fn rank(group: u8, key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[0] = group;
    let n = key.len().min(7);
    bytes[1..=n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn room_that_is_not_used_does_not_count_as_changes() {
        for bytes in [0, 16, 100_000] {
            let mut d = DeltaBuilder::with_capacity(1_000, bytes);
            d.put(1, b"a", b"1").unwrap();
            assert!(d.finish().memory() <= 100, "{bytes}");
            let mut d = DeltaBuilder::with_capacity(1_000, bytes);
            (0..1_000u32).for_each(|i| d.put(1, &i.to_le_bytes(), b"12345678").unwrap());
            let len = 1_000 * (HEAD + 12);
            assert!((len..=2 * len).contains(&d.finish().memory()), "{bytes}");
        }
    }

    #[test]
    fn a_failed_or_panicked_encoder_leaves_nothing() {
        let mut d = DeltaBuilder::default();
        d.put(1, b"a", b"1").unwrap();
        let failed = d.put_with(
            1,
            |b| copy(b, b"b").map_err(|_| ()),
            |b| {
                b.push(7);
                Err(())
            },
        );
        assert_eq!(failed, Err(PutError::Encode(())));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = d.put_with::<()>(2, |_| Ok(()), |_| panic!("in user code"));
        }));
        assert!(panicked.is_err());
        d.remove(3, b"c").unwrap();
        assert_eq!(d.entries(), 2);
        let d = d.finish();
        let again = Delta::from_bytes(d.as_bytes().to_vec()).unwrap();
        assert_eq!(d, again);
        let all: Vec<Change<'_>> = Sorted::new(std::slice::from_ref(&d)).collect();
        assert_eq!(
            all,
            [
                Change { group: 1, key: b"a", value: Some(b"1") },
                Change { group: 3, key: b"c", value: None }
            ]
        );
        assert!(Delta::from_bytes(d.as_bytes()[..10].to_vec()).is_none());
    }

    proptest! {
        #[test]
        fn sorted_changes_are_a_map_of_the_last_ones(
            batches in prop::collection::vec(
                prop::collection::vec((0u8..3, "[ab]{0,9}", prop::option::of(0u8..9)), 0..40), 0..5)
        ) {
            let mut model = BTreeMap::new();
            let mut deltas = Vec::new();
            for b in &batches {
                let mut d = DeltaBuilder::default();
                for (group, key, value) in b {
                    let key = key.as_bytes();
                    match value {
                        Some(v) => d.put(*group, key, &[*v]).unwrap(),
                        None => d.remove(*group, key).unwrap(),
                    }
                    model.insert((*group, key.to_vec()), *value);
                }
                deltas.push(d.finish());
            }
            let got: Vec<_> = Sorted::new(&deltas)
                .map(|c| ((c.group, c.key.to_vec()), c.value.map(|v| v[0])))
                .collect();
            prop_assert_eq!(got, model.into_iter().collect::<Vec<_>>());
        }
    }
}
