//! The lines of a [`TextBlock`](super::TextBlock) or a [`Str`], one by one or in runs.
#![allow(unsafe_code)]

use super::mask;
use super::string::Str;
use std::iter::FusedIterator;
use std::ops::ControlFlow;

/// The lines of a text: see [`TextBlock::lines`](super::TextBlock::lines) and [`Str::lines`].
///
/// Going over all lines by [`each`](Lines::each), `fold`, `for_each` or anything built on them is
/// faster than a loop over `next`.
#[derive(Clone, Debug)]
pub struct Lines {
    text: Str,
    /// Where the next line starts.
    start: usize,
    end: usize,
}

impl Lines {
    /// The lines between `start` and `end`, which is the end of a line.
    #[inline(always)]
    pub(super) fn new(text: Str, start: usize, end: usize) -> Self {
        debug_assert!(text.as_str().get(start..end).is_some());
        Lines { text, start, end }
    }

    /// Calls `f` with each line until it breaks, and says whether it did.
    ///
    /// One mask of 64 bytes is made per window instead of one search per line.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    /// use std::ops::ControlFlow;
    ///
    /// let block = TextBlock::from_str("one\ntwo\nthree\n");
    /// let mut seen = Vec::new();
    /// let ended = block.lines().each(|line| {
    ///     seen.push(line);
    ///     if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    /// assert!(ended.is_break());
    /// assert_eq!(seen, ["one", "two"]);
    /// ```
    #[inline(always)]
    pub fn each(self, mut f: impl FnMut(Str) -> ControlFlow<()>) -> ControlFlow<()> {
        let Lines { text, start, end } = self;
        let copy;
        let base = if text.is_inline() {
            copy = text.padded::<96>();
            copy.as_ptr()
        } else {
            text.base()
        };
        let mut start = start;
        let mut window = start;
        while window < end {
            // SAFETY: `window` is less than the text's length, and 64 readable bytes follow the
            // text: the padding of the block, or of the copy (23 + 64 < 96).
            let mask = unsafe { mask::eq64(base.add(window), b'\n') };
            let mut mask = mask::clip(mask, end - window);
            while mask != 0 {
                let newline = window + mask.trailing_zeros() as usize;
                mask &= mask - 1;
                // SAFETY: from the start of a line to the `\n` that ends it, within the text.
                // `base` is the text itself, or a copy with 24 readable bytes from every place on.
                let line = unsafe {
                    let end = line_end(base, newline);
                    text.piece_at(base.add(start), end - start)
                };
                f(line)?;
                start = newline + 1;
            }
            window += 64;
        }
        if start < end {
            // SAFETY: from the start of a line to the end of the text.
            f(unsafe { text.piece_at(base.add(start), end - start) })?;
        }
        ControlFlow::Continue(())
    }
}

/// Where the line ends that the `\n` at `newline` ends: there, or at a `\r` before it.
///
/// An empty line needs no test of its own: what precedes its `\n` is the `\n` of another line, or
/// nothing, and then the byte looked at is the `\n` itself.
///
/// # Safety
///
/// `newline` is the place of a `\n` in the text at `base`.
#[inline(always)]
unsafe fn line_end(base: *const u8, newline: usize) -> usize {
    // SAFETY: the byte is in the text, at or before the `\n`.
    let before = unsafe { *base.add(newline.saturating_sub(1)) };
    newline - usize::from(before == b'\r')
}

impl Iterator for Lines {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        let start = self.start;
        if start >= self.end {
            return None;
        }
        let bytes = &self.text.as_bytes()[..self.end];
        let end = match memchr::memchr(b'\n', &bytes[start..]) {
            Some(i) => {
                self.start += i + 1;
                // SAFETY: that is where memchr found the `\n`.
                unsafe { line_end(bytes.as_ptr(), start + i) }
            }
            None => {
                self.start = self.end;
                self.end
            }
        };
        // SAFETY: from the start of a line to an ASCII byte or the end of the text.
        Some(unsafe { self.text.piece(start, end) })
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, Str) -> B>(self, init: B, mut f: F) -> B {
        let mut acc = Some(init);
        let _ = self.each(|line| {
            acc = acc.take().map(|acc| f(acc, line));
            ControlFlow::Continue(())
        });
        acc.expect("only a panic of `f`, which leaves this function, takes the value away")
    }
}

impl FusedIterator for Lines {}

/// The lines of a text in runs: see [`TextBlock::line_runs`](super::TextBlock::line_runs).
#[derive(Clone, Debug)]
pub struct LineRuns {
    text: Str,
    /// Where the next run starts.
    start: usize,
    bytes: usize,
}

impl LineRuns {
    pub(super) fn new(text: Str, bytes: usize) -> Self {
        LineRuns {
            text,
            start: 0,
            // A run has a line at least.
            bytes: bytes.max(1),
        }
    }
}

impl Iterator for LineRuns {
    type Item = Lines;

    fn next(&mut self) -> Option<Lines> {
        let (start, len) = (self.start, self.text.len());
        if start >= len {
            return None;
        }
        // The run ends with the line that holds its last wanted byte.
        let last = start.saturating_add(self.bytes - 1).min(len - 1);
        let newline = memchr::memchr(b'\n', &self.text.as_bytes()[last..]);
        self.start = newline.map_or(len, |newline| last + newline + 1);
        Some(Lines::new(self.text.clone(), start, self.start))
    }
}

impl FusedIterator for LineRuns {}
