//! Whether a value holds texts that pin much more memory than their own: found by serializing it.

use std::cell::Cell;

use super::{Str, TextBlock};

thread_local! {
    static MET: Cell<bool> = const { Cell::new(false) };
}

/// Called for every text that is serialized.
#[inline(always)]
pub(super) fn note(text: &Str) {
    if !text.is_inline() && text.pinned_bytes() > 2 * (text.len() + TextBlock::PAD) {
        MET.set(true);
    }
}

/// Whether `serialize` met such a text.
#[inline(always)]
pub(crate) fn met(serialize: impl FnOnce()) -> bool {
    MET.set(false);
    serialize();
    MET.get()
}
