//! The iterators behind [`Str::split_whitespace`] and [`Str::split_ascii_whitespace`].
#![allow(unsafe_code)]

use super::mask;
use super::string::Str;
use std::iter::FusedIterator;

/// Walks over the words between ASCII whitespace, one mask of 64 bytes at a time. `VT` says
/// whether `\x0b` is whitespace: it is for Unicode, and is not for ASCII.
#[derive(Clone, Debug)]
struct Words<const VT: bool> {
    /// Where the next word starts, at the earliest.
    start: usize,
    /// Where the 64 bytes start that `mask` is about.
    window: usize,
    /// The whitespace in the window not yet passed by.
    mask: u64,
}

impl<const VT: bool> Words<VT> {
    #[inline(always)]
    fn new(text: &Str) -> Self {
        let mut words = Words { start: 0, window: 0, mask: 0 };
        if text.is_inline() {
            // The only window. No other is ever loaded, so `next` may have any pointer.
            let copy = text.padded::<64>();
            // SAFETY: the copy has 64 bytes.
            unsafe { words.load(copy.as_ptr(), text.len()) };
        } else {
            // SAFETY: 64 bytes are readable from any byte of a shared text, thanks to the padding.
            unsafe { words.load(text.base(), text.len()) };
        }
        words
    }

    /// # Safety
    ///
    /// 64 bytes are readable at `base + self.window`.
    #[inline(always)]
    unsafe fn load(&mut self, base: *const u8, len: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            let p = base.add(self.window);
            self.mask = mask::clip(mask::space64(p), len - self.window);
            if !VT {
                self.mask &= !mask::eq64(p, b'\x0b');
            }
        }
    }

    /// Start and end of the next word.
    ///
    /// # Safety
    ///
    /// `base` and `len` are those of the text given to `new`. If that is inline, `base` is not
    /// read from.
    #[inline(always)]
    unsafe fn next(&mut self, base: *const u8, len: usize) -> Option<(usize, usize)> {
        loop {
            while self.mask == 0 {
                if self.window + 64 >= len {
                    let start = std::mem::replace(&mut self.start, len);
                    return (start < len).then_some((start, len));
                }
                self.window += 64;
                // SAFETY: the window starts within the text, which is shared as it is longer than
                // 64 bytes; so 64 bytes are readable.
                unsafe { self.load(base, len) };
            }
            let end = self.window + self.mask.trailing_zeros() as usize;
            self.mask &= self.mask - 1;
            let start = std::mem::replace(&mut self.start, end + 1);
            if start < end {
                return Some((start, end));
            }
        }
    }

    #[inline(always)]
    fn next_of(&mut self, text: &Str) -> Option<Str> {
        // SAFETY: the text is the one given to `new`. Words start and end at ASCII bytes or at an
        // end of the text.
        unsafe {
            let (start, end) = self.next(text.base(), text.len())?;
            Some(text.piece(start, end))
        }
    }

    #[inline(always)]
    fn fold_of<B>(mut self, text: &Str, init: B, mut f: impl FnMut(B, Str) -> B) -> B {
        let copy;
        let base = if text.is_inline() {
            copy = text.padded::<48>();
            copy.as_ptr()
        } else {
            text.base()
        };
        let len = text.len();
        let mut acc = init;
        // SAFETY: as in `next_of`. `base` is the text itself, or a copy with 24 readable bytes
        // from every place on.
        while let Some((start, end)) = unsafe { self.next(base, len) } {
            // SAFETY: as above.
            acc = f(acc, unsafe { text.piece_at(base.add(start), end - start) });
        }
        acc
    }
}

/// The words of a text: see [`Str::split_whitespace`].
#[derive(Clone, Debug)]
pub struct SplitWhitespace {
    text: Str,
    /// Whether the text is ASCII, and can be cut by masks.
    ascii: bool,
    words: Words<true>,
}

impl SplitWhitespace {
    #[inline(always)]
    pub(super) fn new(text: Str) -> Self {
        SplitWhitespace { ascii: text.is_ascii(), words: Words::new(&text), text }
    }

    /// The next word, character by character.
    fn next_of_unicode(&mut self) -> Option<Str> {
        let from = self.words.start;
        let rest = &self.text[from..];
        let start = from + rest.find(|c: char| !c.is_whitespace())?;
        let rest = &self.text[start..];
        let end = start + rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.words.start = end;
        // SAFETY: both are places `str::find` gave, or the end.
        Some(unsafe { self.text.piece(start, end) })
    }
}

impl Iterator for SplitWhitespace {
    type Item = Str;

    #[inline(always)]
    fn next(&mut self) -> Option<Str> {
        if self.ascii { self.words.next_of(&self.text) } else { self.next_of_unicode() }
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, Str) -> B>(mut self, init: B, mut f: F) -> B {
        if self.ascii {
            return self.words.fold_of(&self.text, init, f);
        }
        let mut acc = init;
        while let Some(word) = self.next_of_unicode() {
            acc = f(acc, word);
        }
        acc
    }
}

impl FusedIterator for SplitWhitespace {}

/// The words of a text between ASCII whitespace: see [`Str::split_ascii_whitespace`].
#[derive(Clone, Debug)]
pub struct SplitAsciiWhitespace {
    text: Str,
    words: Words<false>,
}

impl SplitAsciiWhitespace {
    #[inline(always)]
    pub(super) fn new(text: Str) -> Self {
        SplitAsciiWhitespace { words: Words::new(&text), text }
    }
}

impl Iterator for SplitAsciiWhitespace {
    type Item = Str;

    #[inline(always)]
    fn next(&mut self) -> Option<Str> {
        self.words.next_of(&self.text)
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, Str) -> B>(self, init: B, f: F) -> B {
        self.words.fold_of(&self.text, init, f)
    }
}

impl FusedIterator for SplitAsciiWhitespace {}
