//! Text files: lines, of a whole file or of a range of it.
//!
//! ```text
//!  bytes of the file ─► LineRange ─► (character set) ─► TextPieces ─► blocks of whole lines
//!                       whole lines of the range        long lines cut
//! ```
//! A line belongs to the range in which it begins. A file is read in pieces of about
//! [`defaults::FILE_READ_BYTES`](crate::defaults::FILE_READ_BYTES); each becomes a text block, of which lines
//! are slices. The memory is a piece and the longest line at most.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::report::PartReport;
use super::{FilePart, InputFormat};
use crate::error::BoxError;
use crate::text::{Str, TextBlock};

/// The lines of text files; what [`text_file_stream`](crate::StreamingContext::text_file_stream) reads.
///
/// A line ends at `\n`, a `\r` before it is removed, and the last line need not have an end. Invalid text is
/// replaced by U+FFFD and counted (`invalid_text`), a byte order mark is removed, a line above
/// [`FileOptions::max_line_bytes`](super::FileOptions::max_line_bytes) is cut there and counted
/// (`long_lines`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines(());

impl Lines {
    /// Lines.
    pub fn new() -> Lines {
        Lines(())
    }
}

impl InputFormat for Lines {
    type Item = Str;

    fn splittable(&self) -> bool {
        true
    }

    fn read(
        &self,
        part: &FilePart<'_>,
        mut out: impl FnMut(Str) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        let mut pieces = part.lines(LongLines::Cut)?;
        while let Some(block) = pieces.next_block()? {
            if block.lines().each(&mut out).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What becomes of a line that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LongLines {
    /// It is cut into lines of the greatest length.
    Cut,
    /// A line of the one character U+001A stands in its place.
    Replace,
}

impl LongLines {
    /// What stands in the place of a long line.
    pub const REPLACEMENT: &str = "\u{1a}";
}

/// The lines that begin in a range of a file, as bytes.
pub(super) struct LineRange<R> {
    bytes: R,
    /// Where the next byte of `bytes` lies.
    at: u64,
    end: u64,
    begun: bool,
    ended: bool,
}

/// Bytes that are read at once where the end of a line is looked for.
const LOOK: usize = 64 << 10;

impl<R: Read> LineRange<R> {
    /// `bytes` begin at `at`, one before `start` unless that is 0.
    pub(super) fn new(bytes: R, at: u64, start: u64, end: u64) -> LineRange<R> {
        LineRange { bytes, at, end, begun: start == 0, ended: false }
    }

    /// Reads at most up to the end of the range, or a little beyond it.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = if left == 0 { LOOK } else { left };
        let want = into.len().min(most);
        let n = self.bytes.read(&mut into[..want])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl<R: Read> Read for LineRange<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        loop {
            let before = self.at;
            let mut n = match self.fill(into) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if n == 0 {
                self.ended = true;
                return Ok(0);
            }
            let mut from = before;
            if !self.begun {
                // The rest of a line that belongs to the range before.
                let Some(end) = memchr(b'\n', &into[..n]) else {
                    if self.at >= self.end {
                        self.ended = true; // no line begins in the range
                        return Ok(0);
                    }
                    continue;
                };
                from = before + end as u64 + 1;
                if from >= self.end {
                    self.ended = true;
                    return Ok(0);
                }
                self.begun = true;
                into.copy_within(end + 1..n, 0);
                n -= end + 1;
            }
            // The line end at or after the last byte of the range is the end.
            let last = self.end - 1;
            if from + n as u64 > last {
                let look = usize::try_from(last.saturating_sub(from)).unwrap_or(0);
                if let Some(end) = memchr(b'\n', &into[look..n]) {
                    self.ended = true;
                    return Ok(look + end + 1);
                }
            }
            if n > 0 {
                return Ok(n);
            }
        }
    }
}

/// Text in blocks of whole lines; the last line of a file need not have an end.
pub struct TextPieces<'a> {
    text: Box<dyn Read + 'a>,
    max_line: usize,
    piece: usize,
    /// Bytes to read next: less than a piece of a file that has less.
    next: usize,
    long: LongLines,
    /// The byte order mark may come.
    mark: bool,
    report: &'a RefCell<PartReport>,
    /// The begin of a line.
    carry: Vec<u8>,
    /// The carry goes on with a line that is too long.
    in_long: bool,
    ended: bool,
}

impl<'a> TextPieces<'a> {
    /// `expected`: bytes that will come, about; the first piece isn't larger.
    pub(super) fn new(
        text: Box<dyn Read + 'a>,
        expected: u64,
        (max_line, piece): (usize, usize),
        long: LongLines,
        mark: bool,
        report: &'a RefCell<PartReport>,
    ) -> TextPieces<'a> {
        let (max_line, piece) = (max_line.max(4), piece.max(1));
        // One more, so that the end is noticed.
        let expected = usize::try_from(expected.saturating_add(1)).unwrap_or(usize::MAX);
        TextPieces {
            text,
            max_line,
            piece,
            next: piece.min(expected),
            long,
            mark,
            report,
            carry: Vec::new(),
            in_long: false,
            ended: false,
        }
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn next_block(&mut self) -> io::Result<Option<Arc<TextBlock>>> {
        loop {
            let mut text = std::mem::take(&mut self.carry);
            self.fill(&mut text)?;
            if self.mark && (text.len() >= 3 || self.ended) {
                self.mark = false;
                if text.starts_with(b"\xef\xbb\xbf") {
                    text.drain(..3);
                }
            }
            if text.is_empty() && self.ended {
                if std::mem::take(&mut self.in_long) && self.long == LongLines::Replace {
                    return Ok(Some(TextBlock::from_str(LongLines::REPLACEMENT)));
                }
                return Ok(None);
            }
            let cut =
                if self.ended { Some(text.len()) } else { memrchr(b'\n', &text).map(|i| i + 1) };
            if let Some(cut) = cut {
                self.carry = self.buffer(&text[cut..]);
                text.truncate(cut);
                return Ok(Some(self.whole_lines(text)));
            }
            // Two bytes more: one may be a `\r` that belongs to the line end.
            if text.len() <= self.max_line + 1 {
                self.carry = text;
                continue;
            }
            if !std::mem::replace(&mut self.in_long, true) {
                self.report.borrow_mut().long_lines += 1;
            }
            match self.long {
                LongLines::Replace => {
                    text.clear();
                    self.carry = text;
                }
                LongLines::Cut => {
                    let (mut rest, mut cut) = (&text[..], Vec::new());
                    cut.reserve_exact(text.len() + text.len() / self.max_line + TextBlock::PAD);
                    while rest.len() > self.max_line + 1 {
                        let (head, tail) = rest.split_at(char_border(rest, self.max_line));
                        cut.extend_from_slice(head);
                        cut.push(b'\n');
                        rest = tail;
                    }
                    self.carry = self.buffer(rest);
                    return Ok(Some(self.block(cut)));
                }
            }
        }
    }

    /// A buffer with room for a piece, that begins with `begin`.
    fn buffer(&self, begin: &[u8]) -> Vec<u8> {
        let mut v = Vec::new();
        if !self.ended {
            v.reserve_exact(begin.len() + self.piece + TextBlock::PAD);
        }
        v.extend_from_slice(begin);
        v
    }

    /// Reads up to a piece more.
    fn fill(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let mut have = text.len();
        if self.ended {
            return Ok(());
        }
        let next = std::mem::replace(&mut self.next, self.piece);
        let want = have + next;
        text.reserve_exact(next + TextBlock::PAD);
        text.resize(want, 0);
        while have < want {
            match self.text.read(&mut text[have..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        text.truncate(have);
        Ok(())
    }

    /// Lines that are whole, but may be too long.
    fn whole_lines(&mut self, text: Vec<u8>) -> Arc<TextBlock> {
        let continued = std::mem::take(&mut self.in_long);
        let replaced = continued && self.long == LongLines::Replace;
        if !(replaced || has_long(&text, self.max_line)) {
            return self.block(text);
        }
        let max = self.max_line;
        let mut fixed = Vec::with_capacity(text.len() + text.len() / max + 1 + TextBlock::PAD);
        for (i, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            let goes_on = i == 0 && continued;
            let too_long = content(line) > max;
            self.report.borrow_mut().long_lines += u64::from(too_long && !goes_on);
            if self.long == LongLines::Replace && (too_long || goes_on) {
                fixed.extend_from_slice(LongLines::REPLACEMENT.as_bytes());
                fixed.push(b'\n');
                continue;
            }
            let mut rest = line;
            while content(rest) > max {
                let (head, tail) = rest.split_at(char_border(rest, max));
                fixed.extend_from_slice(head);
                fixed.push(b'\n');
                rest = tail;
            }
            fixed.extend_from_slice(rest);
        }
        self.block(fixed)
    }

    fn block(&self, mut text: Vec<u8>) -> Arc<TextBlock> {
        // The last piece of a file may be a short one.
        if text.capacity() / 2 > text.len() + TextBlock::PAD {
            text.shrink_to(text.len() + TextBlock::PAD);
        }
        let (block, replaced) = TextBlock::from_utf8_lossy(text);
        if replaced > 0 {
            self.report.borrow_mut().invalid_text += replaced as u64;
        }
        block
    }
}

impl fmt::Debug for TextPieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextPieces")
            .field("max_line", &self.max_line)
            .field("piece", &self.piece)
            .finish_non_exhaustive()
    }
}

/// Whether a line is too long, found with a search per `max` bytes instead of one per line.
fn has_long(lines: &[u8], max: usize) -> bool {
    let mut rest = lines;
    while rest.len() > max {
        // The end of the first line must be in the next `max` bytes and one, or two if there is a `\r`.
        let window = &rest[..rest.len().min(max + 2)];
        match memrchr(b'\n', window) {
            Some(end) if content(&window[..=end]) <= max || end <= max => rest = &rest[end + 1..],
            Some(end) if memchr(b'\n', &window[..end]).is_some() => {
                // Another line ends before: look from there.
                let first = memrchr(b'\n', &window[..end]).unwrap_or(end);
                rest = &rest[first + 1..];
            }
            _ => return true,
        }
    }
    false
}

/// The length of a line without its end.
fn content(line: &[u8]) -> usize {
    line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l)).len()
}

/// The last place at or before `at` where no character is cut in two; `at` if there is none near.
fn char_border(bytes: &[u8], at: usize) -> usize {
    (0..4).map(|back| at - back).find(|i| bytes[*i] & 0xc0 != 0x80).unwrap_or(at)
}
