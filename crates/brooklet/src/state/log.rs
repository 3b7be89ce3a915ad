//! The undo log of one batch in one key group: packed, since every changed key costs an entry.

/// What undoing one change needs.
pub(super) enum Was<S> {
    /// The key wasn't there.
    Absent,
    /// The same value: only its time changed.
    Same,
    /// This value.
    Value(S),
    /// This value, and the key was in the index.
    Removed(S),
    /// The key was in the index; its value is kept elsewhere.
    Unlisted,
}

const ABSENT: u32 = 0;
const SAME: u32 = 1 << 24;
const VALUE: u32 = 2 << 24;
const REMOVED: u32 = 3 << 24;
const UNLISTED: u32 = 4 << 24;
const SLOT: u32 = 0xFF_FFFF;

/// Changes in order.
pub(super) struct UndoLog<S> {
    /// Kind and slot.
    ops: Vec<u32>,
    /// The values of those kinds that have one.
    olds: Vec<S>,
    /// When the slot was touched before, for each of `ops`, in tables that know the age of keys.
    stood: Vec<u64>,
}

impl<S> Default for UndoLog<S> {
    fn default() -> Self {
        UndoLog { ops: Vec::new(), olds: Vec::new(), stood: Vec::new() }
    }
}

impl<S> UndoLog<S> {
    /// `stood` is when the slot was touched before, in tables that know the age of keys.
    #[inline]
    pub(super) fn push(&mut self, slot: u32, was: Was<S>, stood: Option<u64>) {
        let kind = match was {
            Was::Absent => ABSENT,
            Was::Same => SAME,
            Was::Unlisted => UNLISTED,
            Was::Value(old) => {
                self.olds.push(old);
                VALUE
            }
            Was::Removed(old) => {
                self.olds.push(old);
                REMOVED
            }
        };
        self.ops.push(kind | slot);
        self.stood.extend(stood);
    }

    /// Takes the newest change out.
    pub(super) fn pop(&mut self) -> Option<(u32, Was<S>, Option<u64>)> {
        let op = self.ops.pop()?;
        let was = match op & !SLOT {
            ABSENT => Was::Absent,
            SAME => Was::Same,
            UNLISTED => Was::Unlisted,
            VALUE => Was::Value(self.olds.pop()?),
            _ => Was::Removed(self.olds.pop()?),
        };
        Some((op & SLOT, was, self.stood.pop()))
    }

    /// The changed slots, oldest change first.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.ops.iter().map(|op| op & SLOT)
    }

    /// The slot of change number `n`.
    #[inline]
    pub(super) fn slot(&self, n: usize) -> Option<u32> {
        self.ops.get(n).map(|op| op & SLOT)
    }

    /// The number of changes.
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Newest first: each slot with its value before, or none where the key wasn't there. Changes that say
    /// nothing of values are left out.
    pub(super) fn before(&self) -> impl Iterator<Item = (u32, Option<&S>)> {
        let mut olds = self.olds.iter().rev();
        self.ops.iter().rev().filter_map(move |op| match op & !SLOT {
            ABSENT => Some((op & SLOT, None)),
            VALUE | REMOVED => Some((op & SLOT, olds.next())),
            _ => None,
        })
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.ops.clear();
        self.olds.clear();
        self.stood.clear();
    }
}
