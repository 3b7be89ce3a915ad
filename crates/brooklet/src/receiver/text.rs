//! The second door of the block generator: text in chunks.
//!
//! A chunk is cut at its last line end; the whole lines are copied once, into the block being filled,
//! and the half line waits for the next chunk. Lines are counted per chunk, and looked at one by one
//! only when the chunk has a line that is too long. UTF-8 is checked when the block is cut, on the push
//! thread.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};

/// Bytes that are handed on at once, if lines are shorter.
const PIECE: usize = 1 << 20;

/// What becomes of text after the last line end when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HalfLines {
    /// It is a line of its own; counted.
    #[default]
    Keep,
    /// It is dropped; counted.
    Drop,
}

/// Cuts chunks into whole lines.
#[derive(Debug)]
pub(super) struct TextDoor {
    max_line: usize,
    /// The half line from the last chunk.
    carry: Vec<u8>,
    /// The carry goes on with a line that was cut.
    in_long: bool,
    pub(super) policy: HalfLines,
    /// What a receiver reads into.
    pub(super) buffer: Vec<u8>,
}

/// Counts of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cuts {
    pub(super) long_lines: u64,
    pub(super) half_lines: u64,
}

impl TextDoor {
    pub(super) fn new(max_line: usize) -> TextDoor {
        TextDoor {
            max_line: max_line.max(4),
            carry: Vec::new(),
            in_long: false,
            policy: HalfLines::default(),
            buffer: Vec::new(),
        }
    }

    pub(super) fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes.max(4);
    }

    /// Gives all whole lines to `out`, in pieces that end with a line end, with their number.
    pub(super) fn push<E>(
        &mut self,
        mut chunk: &[u8],
        out: &mut impl FnMut(&[u8], usize) -> Result<(), E>,
    ) -> Result<Cuts, E> {
        let mut cuts = Cuts::default();
        if !self.carry.is_empty() {
            let Some(end) = memchr(b'\n', chunk) else {
                self.carry.extend_from_slice(chunk);
                self.cut_carry(&mut cuts, out)?;
                return Ok(cuts);
            };
            let mut line = std::mem::take(&mut self.carry);
            line.extend_from_slice(&chunk[..=end]);
            chunk = &chunk[end + 1..];
            self.emit(&line, &mut cuts, out)?;
            line.clear();
            line.shrink_to(64 << 10);
            self.carry = line;
        }
        while let Some(last) = last_line_end(chunk) {
            self.emit(&chunk[..=last], &mut cuts, out)?;
            chunk = &chunk[last + 1..];
        }
        self.carry.extend_from_slice(chunk);
        self.cut_carry(&mut cuts, out)?;
        Ok(cuts)
    }

    /// The connection ends: the half line becomes a line, or is dropped.
    pub(super) fn end<E>(
        &mut self,
        out: &mut impl FnMut(&[u8], usize) -> Result<(), E>,
    ) -> Result<Cuts, E> {
        let mut cuts = Cuts::default();
        let mut line = std::mem::take(&mut self.carry);
        if !line.is_empty() {
            cuts.half_lines = 1;
            if self.policy == HalfLines::Keep {
                line.push(b'\n');
                self.emit(&line, &mut cuts, out)?;
            }
        }
        self.in_long = false;
        Ok(cuts)
    }

    /// Gives whole lines on; cuts those that are too long.
    fn emit<E>(
        &mut self,
        lines: &[u8],
        cuts: &mut Cuts,
        out: &mut impl FnMut(&[u8], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let continued = std::mem::take(&mut self.in_long);
        let lines = self.cut_long(lines, continued, cuts);
        out(&lines, memchr_iter(b'\n', &lines).count())
    }

    /// Puts line ends into lines that are too long.
    fn cut_long<'a>(&self, lines: &'a [u8], continued: bool, cuts: &mut Cuts) -> Cow<'a, [u8]> {
        if !self.has_long(lines) {
            return Cow::Borrowed(lines);
        }
        let mut fixed = Vec::with_capacity(lines.len() + lines.len() / self.max_line + 1);
        for (i, line) in lines.split_inclusive(|b| *b == b'\n').enumerate() {
            let mut rest = line;
            let mut cut = false;
            while content(rest) > self.max_line {
                let (head, tail) = rest.split_at(char_border(rest, self.max_line));
                fixed.extend_from_slice(head);
                fixed.push(b'\n');
                rest = tail;
                cut = true;
            }
            cuts.long_lines += u64::from(cut && !(i == 0 && continued));
            fixed.extend_from_slice(rest);
        }
        Cow::Owned(fixed)
    }

    /// Whether a line is too long, found with a search per `max_line` bytes instead of one per line.
    fn has_long(&self, lines: &[u8]) -> bool {
        let mut at = 0;
        while lines.len() - at > self.max_line + 1 {
            // The end of the line at `at` must be in the next `max_line` bytes and one, or two if
            // the first of these is `\r`.
            let window = &lines[at..at + self.max_line + 1];
            match memrchr(b'\n', window) {
                Some(end) => at += end + 1,
                None if window.ends_with(b"\r") && lines[at + window.len()] == b'\n' => {
                    at += window.len() + 1;
                }
                None => return true,
            }
        }
        false
    }

    /// Cuts the half line while it is too long already.
    fn cut_carry<E>(
        &mut self,
        cuts: &mut Cuts,
        out: &mut impl FnMut(&[u8], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        // Two bytes more: one may be a `\r` that belongs to the line end.
        while self.carry.len() > self.max_line + 1 {
            let at = char_border(&self.carry, self.max_line);
            let tail = self.carry.split_off(at);
            self.carry.push(b'\n');
            cuts.long_lines += u64::from(!self.in_long);
            self.in_long = true;
            let head = std::mem::replace(&mut self.carry, tail);
            out(&head, 1)?;
        }
        Ok(())
    }
}

/// `lines` with line ends put into those that are longer than `max_line`, and how many those are; the first
/// one isn't counted if it was `continued`.
pub(crate) fn cut_long_lines(
    lines: &[u8],
    max_line: usize,
    continued: bool,
) -> (Cow<'_, [u8]>, u64) {
    let mut cuts = Cuts::default();
    let cut = TextDoor::new(max_line).cut_long(lines, continued, &mut cuts);
    (cut, cuts.long_lines)
}

/// The last line end of a piece of about [`PIECE`] bytes, or of the first line if that is longer.
fn last_line_end(chunk: &[u8]) -> Option<usize> {
    let piece = &chunk[..chunk.len().min(PIECE)];
    memrchr(b'\n', piece).or_else(|| Some(piece.len() + memchr(b'\n', &chunk[piece.len()..])?))
}

/// The length of a line without its end.
fn content(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
    line.len()
}

/// The last place at or before `at` where no character is cut in two; `at` if there is none near.
fn char_border(bytes: &[u8], at: usize) -> usize {
    (0..4).map(|back| at - back).find(|i| bytes[*i] & 0xc0 != 0x80).unwrap_or(at)
}

/// The end of the `n`th line.
pub(super) fn after_lines(text: &[u8], n: usize) -> usize {
    n.checked_sub(1)
        .and_then(|n| memchr_iter(b'\n', text).nth(n))
        .map_or(if n == 0 { 0 } else { text.len() }, |at| at + 1)
}
