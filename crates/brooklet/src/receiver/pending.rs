//! The block that is being filled.

use std::any::Any;
use std::sync::Arc;

use super::counters::{Counters, INVALID_UTF8};
use crate::block::{Block, Decode, TextLines, Values, heap_of};
use crate::text::{Str, TextBlock};
use crate::{Time, Wire};

/// Bytes at which a block is cut before its interval is over.
pub(super) const BLOCK_BYTES: usize = 8 << 20;
/// The least memory that a text block begins with.
const FIRST_TEXT_BYTES: usize = 64 << 10;
/// Every how many items one is measured (all of the first ones are).
const MEASURE_EACH: usize = 16;

/// Items or text that came since the last cut; never both.
pub(super) struct Pending<T> {
    items: Vec<T>,
    /// Measured items and the bytes behind their pointers.
    measured: usize,
    behind: usize,
    text: Vec<u8>,
    lines: usize,
    /// Size of the last text block: about what the next one will have.
    last_text: usize,
}

/// A block that was cut but isn't made yet.
pub(super) enum Cut<T> {
    Items(Vec<T>, usize),
    Text(Vec<u8>, usize),
}

/// A finished block on its way to the store.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) block: Arc<dyn Block>,
    pub(crate) decode: Decode,
    /// Begin of its block interval.
    pub(crate) time: Time,
    pub(crate) metadata: Option<Vec<u8>>,
}

impl<T: Wire> Pending<T> {
    pub(super) fn new() -> Pending<T> {
        Pending {
            items: Vec::new(),
            measured: 0,
            behind: 0,
            text: Vec::new(),
            lines: 0,
            last_text: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.text.is_empty()
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        let behind = self.behind.saturating_mul(self.items.len()) / self.measured.max(1);
        self.items.capacity() * size_of::<T>() + behind + self.text.capacity()
    }

    /// Whether it has to be cut before an item is added.
    pub(super) fn full_for_item(&self) -> bool {
        // A vector about to double is full, too: the doubled one would be too large.
        let next = if self.items.len() == self.items.capacity() { 2 } else { 1 };
        let behind = self.behind.saturating_mul(self.items.len()) / self.measured.max(1);
        let bytes = self.items.capacity() * next * size_of::<T>() + behind;
        !self.text.is_empty() || (!self.items.is_empty() && bytes > BLOCK_BYTES)
    }

    /// Whether it has to be cut before `n` bytes of text are added.
    pub(super) fn full_for_text(&self, n: usize) -> bool {
        !self.items.is_empty() || (!self.text.is_empty() && self.text.len() + n > BLOCK_BYTES)
    }

    pub(super) fn push(&mut self, item: T) {
        if self.items.len() < 2 * MEASURE_EACH || self.items.len().is_multiple_of(MEASURE_EACH) {
            self.measured += 1;
            self.behind += heap_of(&item);
        }
        self.items.push(item);
    }

    /// Adds whole lines, each with its end.
    pub(super) fn push_text(&mut self, text: &[u8], lines: usize) {
        let need = self.text.len() + text.len() + TextBlock::PAD;
        if need > self.text.capacity() {
            let guess = if self.text.is_empty() {
                (self.last_text + self.last_text / 8).max(FIRST_TEXT_BYTES)
            } else {
                self.text.capacity() * 2
            };
            let capacity = guess.min(BLOCK_BYTES + TextBlock::PAD).max(need);
            self.text.reserve_exact(capacity - self.text.len());
        }
        self.text.extend_from_slice(text);
        self.lines += lines;
    }

    /// Takes everything out; `None` when there is nothing.
    pub(super) fn cut(&mut self) -> Option<Cut<T>> {
        if !self.text.is_empty() {
            self.last_text = self.text.len();
            return Some(Cut::Text(
                std::mem::take(&mut self.text),
                std::mem::take(&mut self.lines),
            ));
        }
        if self.items.is_empty() {
            return None;
        }
        let bytes = self.bytes();
        (self.measured, self.behind) = (0, 0);
        Some(Cut::Items(std::mem::take(&mut self.items), bytes))
    }
}

impl<T: Wire> Cut<T> {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Cut::Items(_, bytes) => *bytes,
            Cut::Text(text, _) => text.capacity(),
        }
    }

    /// Makes the block: checks text, gives spare memory back.
    pub(super) fn seal(self, time: Time, counters: &Counters) -> Sealed {
        let (block, decode) = match self {
            Cut::Items(items, _) => block_of(items),
            Cut::Text(text, lines) => {
                (text_block(text, lines, counters), TextLines::decode as Decode)
            }
        };
        Sealed { block, decode, time, metadata: None }
    }
}

fn text_block(mut text: Vec<u8>, lines: usize, counters: &Counters) -> Arc<dyn Block> {
    let room = text.len() + TextBlock::PAD;
    if text.capacity() > room + room / 8 {
        text.shrink_to(room);
    }
    let (text, replaced) = TextBlock::from_utf8_lossy(text);
    counters.add(INVALID_UTF8, replaced as u64);
    TextLines::counted(text, lines)
}

/// A block of these items. [`Str`]s become text if they can, so that they don't keep alive what they
/// were cut from.
pub(crate) fn block_of<T: Wire>(items: Vec<T>) -> (Arc<dyn Block>, Decode) {
    if let Some(strs) = (&items as &dyn Any).downcast_ref::<Vec<Str>>() {
        let is_line = |s: &Str| {
            !s.as_bytes().ends_with(b"\r") && memchr::memchr(b'\n', s.as_bytes()).is_none()
        };
        if strs.iter().all(is_line) {
            let bytes: usize = strs.iter().map(|s| s.len() + 1).sum();
            let mut text = String::with_capacity(bytes + TextBlock::PAD);
            for s in strs {
                text.push_str(s);
                text.push('\n');
            }
            return (
                TextLines::counted(TextBlock::from_string(text), strs.len()),
                TextLines::decode,
            );
        }
        let block = Values::new(strs.iter().map(Str::detach).collect::<Vec<Str>>());
        return (block, Values::<Str>::decode);
    }
    (Values::new(items), Values::<T>::decode)
}
