//! One file of a log: how far it has been read, and by what it is known again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::follow::{Budget, Event, Rules};
use super::fs::{FileId, Files, Stat};
use super::scan::{Lines, Print, count_lines, invalid_utf8, whole_lines};
use crate::Time;
use crate::conf::defaults;
use crate::receiver::HalfLines;

/// Bytes before the position by which a file is known again.
const TAIL: usize = 256;

/// How far a file has been read, and by what it is known again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) position: u64,
    /// Of the first bytes of the file.
    pub(super) head: Print,
    /// Of the bytes before the position.
    pub(super) tail: Print,
    /// The position is within a line that has been cut.
    pub(super) in_long: bool,
}

/// Whole lines of a file, chosen for a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRange {
    /// The log's path.
    pub log: PathBuf,
    /// What the file was called when the lines were chosen.
    pub path: PathBuf,
    /// The file itself.
    pub file: FileId,
    /// The first byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// Lines, long ones as often as they are cut.
    pub records: u64,
    /// Checksum (CRC-32C) of the bytes.
    pub crc: u32,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Followed<H> {
    pub(super) handle: H,
    pub(super) id: FileId,
    /// What it was called when that was last looked up.
    pub(super) path: PathBuf,
    pub(super) mark: Mark,
    /// Length and last change at the last look.
    pub(super) seen: u64,
    pub(super) modified: u128,
    /// Since when the log's name hasn't led to it, or it hasn't been written to since then.
    pub(super) rotated: Option<Time>,
}

/// A file that isn't open: read to its end, or not to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: FileId,
    /// None of a file that can't be read, such as a compressed one.
    pub(super) mark: Option<Mark>,
    pub(super) modified: u128,
}

impl<H: Clone> Followed<H> {
    /// The next whole lines.
    pub(super) fn next<F: Files<Handle = H>>(
        &mut self,
        fs: &F,
        log: &Path,
        rules: &Rules,
        budget: Budget,
        buffer: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<LogRange>> {
        let line = rules.lines.max_line + 2;
        let wish = usize::try_from(budget.bytes).unwrap_or(usize::MAX).min(rules.split);
        let left = self.seen - self.mark.position;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(wish.max(line));
        buffer.resize(want, 0);
        let n = fs.read_at(&self.handle, buffer, self.mark.position)?;
        let bytes = &buffer[..n];
        match whole_lines(bytes, wish, budget.records) {
            Some(end) => Ok(Some(self.range(&bytes[..end], log, rules, false, events))),
            None => {
                let cut = rules.lines.too_long(bytes);
                Ok((cut > 0).then(|| self.range(&bytes[..cut], log, rules, true, events)))
            }
        }
    }

    /// Nothing more will come: a half line is a line, or is dropped.
    pub(super) fn finish<F: Files<Handle = H>>(
        &mut self,
        fs: &F,
        log: &Path,
        rules: &Rules,
        buffer: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<LogRange>> {
        let left = usize::try_from(self.seen.saturating_sub(self.mark.position)).unwrap_or(0);
        // Whole lines have been taken, and of a long one what is too long.
        buffer.resize(left.min(rules.lines.max_line + 2), 0);
        let n = fs.read_at(&self.handle, buffer, self.mark.position)?;
        if n == 0 {
            return Ok(None);
        }
        events.push(Event::HalfLine);
        if rules.half_lines == HalfLines::Drop {
            self.mark.position += n as u64;
            self.mark.tail = Print::of(&buffer[n.saturating_sub(TAIL)..n]);
            return Ok(None);
        }
        Ok(Some(self.range(&buffer[..n], log, rules, false, events)))
    }

    /// Takes `bytes`, which begin at the position. `in_long`: they end within a line that is cut there.
    fn range(
        &mut self,
        bytes: &[u8],
        log: &Path,
        rules: &Rules,
        in_long: bool,
        events: &mut Vec<Event>,
    ) -> LogRange {
        let continued = self.mark.in_long;
        let prepared = rules.lines.prepare(bytes, continued);
        // A cut that leaves nothing too long behind is the first one of its line all the same.
        let long = prepared.long_lines.max(u64::from(in_long && !continued));
        let counts = [
            (long, Event::LongLines(long)),
            (prepared.malformed, Event::InvalidText(prepared.malformed)),
        ];
        events.extend(counts.into_iter().filter(|(n, _)| *n > 0).map(|(_, e)| e));
        if rules.lines.charset.is_utf8() {
            let invalid = invalid_utf8(&prepared.text);
            if invalid > 0 {
                events.push(Event::InvalidUtf8(invalid));
            }
        }
        let from = self.mark.position;
        self.mark.position += bytes.len() as u64;
        self.mark.tail = Print::of(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.mark.in_long = in_long;
        LogRange {
            log: log.to_owned(),
            path: self.path.clone(),
            file: self.id,
            from,
            to: self.mark.position,
            records: count_lines(&prepared.text),
            crc: crc32c::crc32c(bytes),
        }
    }
}

impl Known {
    /// A file that has been read as far as its mark says.
    pub(super) fn read<H>(f: &Followed<H>) -> Known {
        Known { id: f.id, mark: Some(f.mark), modified: f.modified }
    }

    /// A file of which nothing is to be read.
    pub(super) fn whole<H>(f: &Followed<H>) -> Known {
        let mark = Mark { position: f.seen, head: f.mark.head, ..Mark::default() };
        Known { id: f.id, mark: Some(mark), modified: f.modified }
    }

    pub(super) fn unreadable(stat: &Stat) -> Known {
        Known { id: stat.id, mark: None, modified: stat.modified }
    }

    /// The mark, if it is this file: the identity alone may be another one's by now.
    pub(super) fn mark_of<F: Files>(
        &self,
        fs: &F,
        handle: &F::Handle,
        stat: &Stat,
    ) -> Option<Mark> {
        let mark = self.mark.filter(|_| self.id == stat.id)?;
        let same = if mark.head.len == 0 {
            stat.len <= mark.position
        } else {
            matches!(unchanged(fs, handle, stat.len, &mark), Ok(true))
        };
        same.then_some(mark)
    }
}

/// Of the first bytes of a file.
pub(super) fn head<F: Files>(fs: &F, file: &F::Handle, len: u64) -> io::Result<Print> {
    let mut bytes = [0; defaults::LOG_FINGERPRINT_BYTES];
    let want = len.min(bytes.len() as u64) as usize;
    let n = fs.read_at(file, &mut bytes[..want], 0)?;
    Ok(Print::of(&bytes[..n]))
}

/// Whether a file of this length has, up to the mark's position, what the marked file had.
pub(super) fn unchanged<F: Files>(
    fs: &F,
    file: &F::Handle,
    len: u64,
    mark: &Mark,
) -> io::Result<bool> {
    if len < mark.position {
        return Ok(false);
    }
    let mut bytes = [0; defaults::LOG_FINGERPRINT_BYTES];
    let head = &mut bytes[..mark.head.len as usize];
    let n = fs.read_at(file, head, 0)?;
    if !mark.head.begins(&head[..n]) {
        return Ok(false);
    }
    let tail = &mut bytes[..mark.tail.len as usize];
    let n = fs.read_at(file, tail, mark.position - u64::from(mark.tail.len))?;
    Ok(mark.tail.begins(&tail[..n]))
}

/// The mark after the last line end: a line that is being written is new.
pub(super) fn end<F: Files>(fs: &F, file: &F::Handle, len: u64, lines: &Lines) -> io::Result<Mark> {
    let step = len.min(lines.max_line as u64 + 1);
    let mut bytes = vec![0; usize::try_from(step).unwrap_or(0)];
    let n = fs.read_at(file, &mut bytes, len - step)?;
    let ended = memchr::memrchr(b'\n', &bytes[..n]).map(|at| at + 1);
    // Without a line end this far back, the rest of a long line is what comes next.
    let in_long = ended.is_none() && step < len;
    let at = ended.unwrap_or(if in_long { n } else { 0 });
    let tail = Print::of(&bytes[at.saturating_sub(TAIL)..at]);
    Ok(Mark { position: len - step + at as u64, tail, in_long, ..Mark::default() })
}
