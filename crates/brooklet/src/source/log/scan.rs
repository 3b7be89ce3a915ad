//! Bytes of a log: where lines end, what lines a range has, and prints by which files are known again.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use super::decode::{border, decode};
use crate::receiver::cut_long_lines;
use crate::source::Charset;

/// The checksum of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Print {
    pub(super) len: u32,
    crc: u32,
}

impl Print {
    pub(super) fn of(bytes: &[u8]) -> Print {
        Print { len: bytes.len() as u32, crc: crc32c::crc32c(bytes) }
    }

    /// Whether `bytes` begins with what the print was taken of.
    pub(super) fn begins(self, bytes: &[u8]) -> bool {
        bytes.get(..self.len as usize).is_some_and(|b| crc32c::crc32c(b) == self.crc)
    }
}

/// Text as it is read: long lines cut, another character set converted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) long_lines: u64,
    /// Malformed sequences of a character set other than UTF-8, replaced.
    pub(super) malformed: u64,
}

/// How bytes become lines; the same bytes always become the same lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) max_line: usize,
    pub(super) charset: Charset,
}

impl Lines {
    /// `continued`: the bytes begin within a line that has been cut and counted.
    pub(super) fn prepare<'a>(&self, bytes: &'a [u8], continued: bool) -> Prepared<'a> {
        let (text, malformed) = decode(self.charset, bytes);
        match text {
            Cow::Borrowed(b) => {
                let (text, long_lines) = cut_long_lines(b, self.max_line, continued);
                Prepared { text, long_lines, malformed }
            }
            Cow::Owned(v) => {
                let (text, long_lines) = cut_long_lines(&v, self.max_line, continued);
                let text = Cow::Owned(match text {
                    Cow::Owned(cut) => cut,
                    Cow::Borrowed(_) => v,
                });
                Prepared { text, long_lines, malformed }
            }
        }
    }

    /// Of a half line that is too long, as much as can be cut off; zero of others.
    pub(super) fn too_long(&self, half: &[u8]) -> usize {
        let mut at = 0;
        // One byte more may be a `\r` that belongs to the line end.
        while half.len() - at > self.max_line + 1 {
            at += border(self.charset, &half[at..], self.max_line);
        }
        at
    }
}

/// The lines of a text whose last one need not have an end.
pub(super) fn count_lines(text: &[u8]) -> u64 {
    let unended = text.last().is_some_and(|b| *b != b'\n');
    memchr_iter(b'\n', text).count() as u64 + u64::from(unended)
}

/// Sequences that are no UTF-8, as they will be replaced.
pub(super) fn invalid_utf8(text: &[u8]) -> u64 {
    if std::str::from_utf8(text).is_ok() {
        return 0;
    }
    text.utf8_chunks().filter(|c| !c.invalid().is_empty()).count() as u64
}

/// The end of the whole lines in `bytes`: of those in the first `wish` bytes, or of the first line if that
/// is longer; of at most `records` lines.
pub(super) fn whole_lines(bytes: &[u8], wish: usize, records: Option<u64>) -> Option<usize> {
    let near = memrchr(b'\n', &bytes[..wish.min(bytes.len())]);
    let end = near.or_else(|| memchr(b'\n', bytes))? + 1;
    let Some(n) = records.and_then(|n| usize::try_from(n).ok()) else { return Some(end) };
    let nth = memchr_iter(b'\n', &bytes[..end]).nth(n.max(1) - 1);
    Some(nth.map_or(end, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_end_at_the_wish_the_first_line_or_the_count() {
        let text = b"a\nbb\nccc\nhalf";
        assert_eq!(whole_lines(text, 100, None), Some(9));
        assert_eq!(whole_lines(text, 6, None), Some(5));
        assert_eq!(whole_lines(text, 1, None), Some(2));
        assert_eq!(whole_lines(text, 0, None), Some(2));
        assert_eq!(whole_lines(text, 100, Some(2)), Some(5));
        assert_eq!(whole_lines(text, 100, Some(0)), Some(2));
        assert_eq!(whole_lines(text, 100, Some(9)), Some(9));
        assert_eq!(whole_lines(b"half", 100, None), None);
        assert_eq!(whole_lines(b"", 100, None), None);
    }

    #[test]
    fn long_half_line_is_cut_as_its_whole_line_would_be() {
        let lines = Lines { max_line: 16, charset: Charset::UTF_8 };
        let long: Vec<u8> = "ü".repeat(40).into_bytes();
        let at = lines.too_long(&long);
        assert_eq!(at, 64, "four cuts of eight characters");
        let whole = lines.prepare(&long, false);
        assert_eq!((count_lines(&whole.text), whole.long_lines), (5, 1));
        let head = lines.prepare(&long[..at], false);
        let tail = lines.prepare(&long[at..], true);
        assert_eq!(count_lines(&head.text) + count_lines(&tail.text), 5);
        assert_eq!(head.long_lines + tail.long_lines, 1);
        assert_eq!(lines.too_long(b"0123456789abcdef\r"), 0);
    }
}
