//! The layout of [`Str`], and what depends on it: making, cloning, dropping, comparing, hashing.
//!
//! ```text
//! byte     0 ......... 7   8 ........ 15   16 ............ 22   23
//! inline   text, padded with zeros                              length, 0 to 23
//! shared   text pointer    block pointer   length (7 bytes)     0xFF
//! ```
//!
//! **Invariant.** A text of up to 23 bytes is inline, a longer one is shared. Equality, order and
//! hash look at the words of inline texts and would be wrong if one text had two forms.
//!
//! All words are stored so that the picture above holds on either byte order; `to_le` is nothing
//! on little-endian machines.
#![allow(unsafe_code)]

use super::block::TextBlock;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::ptr;
use std::slice;
use std::str;
use std::sync::Arc;

/// The value of byte 23 that says "shared".
const SHARED: u64 = 0xFF << 56;

/// Owned, immutable text in 24 bytes: short text inline, longer text a slice of a [`TextBlock`].
///
/// See the [module](crate::text) for the idea. A `Str` dereferences to `str`; the methods that
/// cut text return `Str`s that borrow nothing, hence closures like this one compile:
///
/// ```
/// use brooklet::Str;
///
/// let lines = vec![Str::from("a b"), Str::from("c")];
/// let words: Vec<Str> = lines.into_iter().flat_map(|line| line.split(" ")).collect();
/// assert_eq!(words, ["a", "b", "c"]);
/// ```
///
/// # Maps keyed by `Str`
///
/// `Str` does not implement `Borrow<str>`: that would demand the hash of `str`, and a short `Str`
/// hashes faster than that, by its three words. To look up a `&str` in a `HashMap<Str, _>`, ask
/// with `&Str::from(text)`, which allocates only for text longer than [`Str::INLINE`].
#[repr(transparent)]
pub struct Str {
    repr: Repr,
}

/// Every byte is initialised in either form, and stays so on targets with short pointers, so that
/// `words` can always be read.
#[derive(Clone, Copy)]
#[repr(C)]
union Repr {
    words: [u64; 3],
    shared: Shared,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Shared {
    /// Into `block`'s bytes, with leave to read all of them.
    text: Word<*const u8>,
    /// From `Arc::into_raw`; this value owns one count.
    block: Word<*const TextBlock>,
    len: u64,
}

/// Eight bytes wide, whatever the pointer width.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Word<T>(T);

const _: () = assert!(size_of::<Str>() == 24 && align_of::<Str>() == 8);

// SAFETY: a `Str` gives shared access only. The block it counts is immutable and itself `Send +
// Sync`, and the count is `Arc`'s, which is atomic.
unsafe impl Send for Str {}
// SAFETY: as for `Send`.
unsafe impl Sync for Str {}

/// `MASKS[n]` keeps the first `n` of 24 bytes.
static MASKS: [[u64; 3]; 32] = {
    let mut masks = [[0u64; 3]; 32];
    let mut n = 0;
    while n < 32 {
        let mut i = 0;
        while i < 24 && i < n {
            masks[n][i / 8] |= (0xFFu64 << (8 * (i % 8))).to_le();
            i += 1;
        }
        n += 1;
    }
    masks
};

impl Str {
    /// The most bytes a text can have that is stored in the value itself.
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("x".repeat(Str::INLINE)).is_inline());
    /// assert!(!Str::from("x".repeat(Str::INLINE + 1)).is_inline());
    /// ```
    pub const INLINE: usize = 23;

    /// The empty text.
    ///
    /// ```
    /// assert_eq!(brooklet::Str::new(), "");
    /// ```
    #[inline]
    pub const fn new() -> Str {
        Str { repr: Repr { words: [0; 3] } }
    }

    /// The text itself.
    ///
    /// ```
    /// let word = brooklet::Str::from("brook");
    /// assert_eq!(word.as_str(), "brook");
    /// ```
    #[inline(always)]
    pub fn as_str(&self) -> &str {
        let tag = self.words()[2].to_le();
        let (text, len) = if self.is_inline() {
            (ptr::from_ref(self).cast(), tag >> 56)
        } else {
            // SAFETY: a text that is not inline is shared.
            (unsafe { self.repr.shared.text.0 }, tag & !SHARED)
        };
        // SAFETY: there are that many bytes of UTF-8, which live as long as `self` does: they are
        // either its own or in the block it counts.
        unsafe { str::from_utf8_unchecked(slice::from_raw_parts(text, len as usize)) }
    }

    /// Whether the text is stored in the value itself, which is so for up to [`Str::INLINE`]
    /// bytes and only then.
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("short").is_inline());
    /// assert!(!Str::from("a text of more than twenty-three bytes").is_inline());
    /// ```
    #[inline(always)]
    pub fn is_inline(&self) -> bool {
        self.words()[2].to_le() >> 56 != 0xFF
    }

    /// The block this text is a slice of, unless it is inline.
    #[inline(always)]
    pub(super) fn block(&self) -> Option<&TextBlock> {
        // SAFETY: in a shared text `block` came from `Arc::into_raw`, and we own a count of it.
        (!self.is_inline()).then(|| unsafe { &*self.repr.shared.block.0 })
    }

    /// The first byte of the text. In a shared text the pointer may read to the end of the block's
    /// padding; in an inline one, to the end of `self`.
    #[inline(always)]
    pub(super) fn base(&self) -> *const u8 {
        if self.is_inline() {
            ptr::from_ref(self).cast()
        } else {
            // SAFETY: a text that is not inline is shared.
            unsafe { self.repr.shared.text.0 }
        }
    }

    #[inline(always)]
    fn words(&self) -> &[u64; 3] {
        // SAFETY: all 24 bytes are initialised in either form.
        unsafe { &self.repr.words }
    }

    /// The whole text of a block.
    pub(super) fn whole(block: &Arc<TextBlock>) -> Str {
        let len = block.len();
        if len <= Self::INLINE {
            return Self::copied(block.as_str());
        }
        let raw = Arc::into_raw(Arc::clone(block));
        // SAFETY: the count just taken is handed over, and the text is longer than `INLINE`.
        unsafe { Self::shared(block.base(), raw, len) }
    }

    /// A copy of `text`: inline, or in a block of its own.
    #[inline]
    pub(super) fn copied(text: &str) -> Str {
        if text.len() > Self::INLINE {
            return Self::whole(&TextBlock::from_str(text));
        }
        let mut bytes = [0; 24];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[23] = text.len() as u8;
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Str { repr: Repr { words } }
    }

    /// # Safety
    ///
    /// `len` is more than `INLINE`; `text` points to that many bytes of UTF-8 in the block, with
    /// leave to read to the end of its padding; the caller owns a count of `block`, from
    /// `Arc::into_raw`, and gives it up.
    #[inline(always)]
    unsafe fn shared(text: *const u8, block: *const TextBlock, len: usize) -> Str {
        debug_assert!(len > Self::INLINE);
        let mut repr = Repr { words: [0, 0, (len as u64 | SHARED).to_le()] };
        // Only the pointers are written, so that no byte is left without a value where pointers
        // are shorter than a word.
        repr.shared.text.0 = text;
        repr.shared.block.0 = block;
        Str { repr }
    }

    /// An inline text from `len` bytes at `text`. No branch on the length: word lengths cannot be
    /// predicted.
    ///
    /// # Safety
    ///
    /// 24 bytes are readable at `text`, the first `len` are UTF-8, and `len` is at most `INLINE`.
    #[inline(always)]
    unsafe fn inline(text: *const u8, len: usize) -> Str {
        debug_assert!(len <= Self::INLINE);
        let mask = &MASKS[len & 31];
        let from = text.cast::<u64>();
        // SAFETY: the caller vouches for 24 readable bytes.
        let [a, b, c] = unsafe {
            [from.read_unaligned(), from.add(1).read_unaligned(), from.add(2).read_unaligned()]
        };
        let len = ((len as u64) << 56).to_le();
        Str { repr: Repr { words: [a & mask[0], b & mask[1], c & mask[2] | len] } }
    }

    /// The piece of `len` bytes at `text`, which lies within this text or within a copy of it.
    ///
    /// # Safety
    ///
    /// The piece is UTF-8. If `self` is shared, `text` is derived from `self.base()` and the piece
    /// lies within `self`; if it is inline, `text` is in a copy of `self` with 24 readable bytes
    /// from every place on, and `len` is at most `self.len()`.
    #[inline(always)]
    pub(super) unsafe fn piece_at(&self, text: *const u8, len: usize) -> Str {
        if len <= Self::INLINE {
            // SAFETY: 24 bytes are readable: in the copy, or thanks to the block's padding.
            return unsafe { Self::inline(text, len) };
        }
        // SAFETY: a piece longer than `INLINE` is of a shared text, whose block is alive. The count
        // is taken for the new value.
        unsafe {
            let block = self.repr.shared.block.0;
            Arc::increment_strong_count(block);
            Self::shared(text, block, len)
        }
    }

    /// The piece from byte `start` to byte `end`.
    ///
    /// # Safety
    ///
    /// `start <= end <= self.len()`, both on character boundaries.
    #[inline(always)]
    pub(super) unsafe fn piece(&self, start: usize, end: usize) -> Str {
        debug_assert!(self.as_str().get(start..end).is_some());
        if !self.is_inline() {
            // SAFETY: by the caller's promise the piece lies in `self`.
            return unsafe { self.piece_at(self.base().add(start), end - start) };
        }
        let copy = self.padded::<48>();
        // SAFETY: `start` is at most 23, so 24 bytes are readable in the copy.
        unsafe { Self::inline(copy.as_ptr().add(start), end - start) }
    }

    /// The bytes of an inline text (and of the length) with zeros behind them.
    #[inline(always)]
    pub(super) fn padded<const N: usize>(&self) -> [u8; N] {
        debug_assert!(self.is_inline());
        let mut copy = [0; N];
        for (i, word) in self.words().iter().enumerate() {
            copy[8 * i..8 * i + 8].copy_from_slice(&word.to_ne_bytes());
        }
        copy
    }
}

impl Drop for Str {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_inline() {
            // SAFETY: the pointer came from `Arc::into_raw`, and this value owns one count.
            unsafe { Arc::decrement_strong_count(self.repr.shared.block.0) }
        }
    }
}

impl Clone for Str {
    #[inline(always)]
    fn clone(&self) -> Str {
        if !self.is_inline() {
            // SAFETY: the block is alive, as `self` counts it. The count is the clone's.
            unsafe { Arc::increment_strong_count(self.repr.shared.block.0) }
        }
        Str { repr: self.repr }
    }
}

impl Deref for Str {
    type Target = str;

    #[inline(always)]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Str {
    #[inline(always)]
    fn eq(&self, other: &Str) -> bool {
        self.words() == other.words()
            || (!self.is_inline() && !other.is_inline() && self.as_str() == other.as_str())
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    #[inline]
    fn partial_cmp(&self, other: &Str) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    /// The order of `str`. Two inline texts are compared by words: the padding is the smallest
    /// byte, and texts that differ in trailing zero bytes only are told apart by the length.
    #[inline]
    fn cmp(&self, other: &Str) -> Ordering {
        if self.is_inline() && other.is_inline() {
            let key = |s: &Str| s.words().map(u64::to_be);
            key(self).cmp(&key(other))
        } else {
            self.as_str().cmp(other.as_str())
        }
    }
}

impl Hash for Str {
    /// Inline text hashes its three words, longer text its bytes: a text always has the same form,
    /// hence the same hash. This is not the hash of `str`.
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.is_inline() {
            let [a, b, c] = self.words().map(u64::to_le);
            state.write_u128(u128::from(a) | u128::from(b) << 64);
            state.write_u64(c);
        } else {
            state.write(self.as_bytes());
            // As `str` does: ("ab", "c") shall not hash like ("a", "bc").
            state.write_u8(0xFF);
        }
    }
}
