//! How much memory the texts of a value keep alive, and how much copies of them would take: found by
//! serializing it.

use std::cell::Cell;

use super::{Str, TextBlock};

/// What a text in a block of its own takes beside its bytes and the padding: the block, aligned, with its
/// counters.
const BLOCK_OF_ITS_OWN: usize = 2 * align_of::<TextBlock>();

/// Bytes of the blocks behind long texts, and what copies of these texts would take.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pins {
    blocks: usize,
    copies: usize,
    /// The address of the last block met. A block that is met again later counts again, so that the
    /// texts of mixed blocks are rather copied than not.
    last: usize,
}

thread_local! {
    static PINS: Cell<Pins> = const { Cell::new(Pins { blocks: 0, copies: 0, last: 0 }) };
}

/// Called for every text that is serialized.
#[inline(always)]
pub(super) fn note(text: &Str) {
    if let Some(block) = text.block() {
        let mut pins = PINS.get();
        let address = std::ptr::from_ref(block).addr();
        if pins.last != address {
            pins.last = address;
            pins.blocks += block.allocated_bytes();
        }
        pins.copies += text.len() + TextBlock::PAD + BLOCK_OF_ITS_OWN;
        PINS.set(pins);
    }
}

/// Whether copies of the texts that `serialize` meets would take less memory than the blocks behind them.
#[inline(always)]
pub(crate) fn outweigh_copies(serialize: impl FnOnce()) -> bool {
    PINS.set(Pins::default());
    serialize();
    let pins = PINS.get();
    pins.blocks > pins.copies
}
