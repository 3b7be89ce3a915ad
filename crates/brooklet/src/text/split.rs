//! The iterators behind [`Str::split`] and its kin.
//!
//! Each owns a clone of the text, which is a count at most, and what it looks for.
#![allow(unsafe_code)]

use super::mask;
use super::pattern::Searcher;
use super::string::Str;
use std::fmt;
use std::iter::FusedIterator;

/// The pieces of a text between matches: see [`Str::split`].
#[derive(Clone)]
pub struct Split<S> {
    text: Str,
    searcher: S,
    /// Where the next piece starts.
    start: usize,
    done: bool,
}

impl<S: Searcher> Split<S> {
    #[inline(always)]
    pub(super) fn new(text: Str, searcher: S) -> Self {
        Split { text, searcher, start: 0, done: false }
    }

    /// The next piece that ends at a match, by where it starts, where it ends and where the match
    /// ends.
    #[inline(always)]
    fn matched(&mut self) -> Option<(usize, usize, usize)> {
        if self.done {
            return None;
        }
        let (end, next) = self.searcher.find_from(&self.text, self.start)?;
        let start = std::mem::replace(&mut self.start, next);
        Some((start, end, next))
    }

    /// Everything that is left, once.
    #[inline]
    fn rest(&mut self) -> Option<Str> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        Some(self.piece(self.start, self.text.len()))
    }

    /// Everything that is left, once, unless that is nothing.
    #[inline]
    fn rest_unless_empty(&mut self) -> Option<Str> {
        self.rest().filter(|rest| !rest.is_empty())
    }

    #[inline(always)]
    fn piece(&self, start: usize, end: usize) -> Str {
        // SAFETY: both come from the searcher, hence are in order and on character boundaries, or
        // are an end of the text.
        unsafe { self.text.piece(start, end) }
    }
}

impl<S: Searcher> Iterator for Split<S> {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        match self.matched() {
            Some((start, end, _)) => Some(self.piece(start, end)),
            None => self.rest(),
        }
    }

    /// The way a fused `flat_map` takes: for a one-byte needle, masks over the whole text instead
    /// of one search per piece.
    #[inline(always)]
    fn fold<B, F: FnMut(B, Str) -> B>(mut self, init: B, mut f: F) -> B {
        let mut acc = init;
        let byte = match self.searcher.byte() {
            Some(byte) if !self.done => byte,
            _ => {
                for piece in self.by_ref() {
                    acc = f(acc, piece);
                }
                return acc;
            }
        };
        let text = &self.text;
        let len = text.len();
        let copy;
        let base = if text.is_inline() {
            copy = text.padded::<96>();
            copy.as_ptr()
        } else {
            text.base()
        };
        // SAFETY: called below with the ends of the text and the places of an ASCII byte in it.
        // `base` is the text itself, or a copy with 24 readable bytes from every place on.
        let piece =
            |start: usize, end: usize| unsafe { text.piece_at(base.add(start), end - start) };
        let mut start = self.start;
        let mut window = start;
        while window < len {
            // SAFETY: `window` is less than `len`, and 64 readable bytes follow the text: the
            // padding of the block, or of the copy (23 + 64 < 96).
            let mask = unsafe { mask::eq64(base.add(window), byte) };
            let mut mask = mask::clip(mask, len - window);
            while mask != 0 {
                let end = window + mask.trailing_zeros() as usize;
                mask &= mask - 1;
                acc = f(acc, piece(start, end));
                start = end + 1;
            }
            window += 64;
        }
        f(acc, piece(start, len))
    }
}

impl<S: Searcher> FusedIterator for Split<S> {}

/// At most so many pieces of a text: see [`Str::splitn`].
#[derive(Clone)]
pub struct SplitN<S> {
    split: Split<S>,
    left: usize,
}

impl<S: Searcher> SplitN<S> {
    #[inline(always)]
    pub(super) fn new(split: Split<S>, n: usize) -> Self {
        SplitN { split, left: n }
    }
}

impl<S: Searcher> Iterator for SplitN<S> {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 { self.split.rest() } else { self.split.next() }
    }
}

impl<S: Searcher> FusedIterator for SplitN<S> {}

/// The pieces of a text that end at matches: see [`Str::split_terminator`].
#[derive(Clone)]
pub struct SplitTerminator<S> {
    split: Split<S>,
}

impl<S: Searcher> SplitTerminator<S> {
    #[inline(always)]
    pub(super) fn new(split: Split<S>) -> Self {
        SplitTerminator { split }
    }
}

impl<S: Searcher> Iterator for SplitTerminator<S> {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        match self.split.matched() {
            Some((start, end, _)) => Some(self.split.piece(start, end)),
            None => self.split.rest_unless_empty(),
        }
    }
}

impl<S: Searcher> FusedIterator for SplitTerminator<S> {}

/// The pieces of a text, each with the match that ends it: see [`Str::split_inclusive`].
#[derive(Clone)]
pub struct SplitInclusive<S> {
    split: Split<S>,
}

impl<S: Searcher> SplitInclusive<S> {
    #[inline(always)]
    pub(super) fn new(split: Split<S>) -> Self {
        SplitInclusive { split }
    }
}

impl<S: Searcher> Iterator for SplitInclusive<S> {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        match self.split.matched() {
            Some((start, _, end)) => Some(self.split.piece(start, end)),
            None => self.split.rest_unless_empty(),
        }
    }
}

impl<S: Searcher> FusedIterator for SplitInclusive<S> {}

impl<S> fmt::Debug for Split<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split")
            .field("text", &self.text)
            .field("start", &self.start)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for SplitN<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitN").field("split", &self.split).field("left", &self.left).finish()
    }
}

impl<S> fmt::Debug for SplitTerminator<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SplitTerminator").field(&self.split).finish()
    }
}

impl<S> fmt::Debug for SplitInclusive<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SplitInclusive").field(&self.split).finish()
    }
}
