//! A part of a file, as a format reads it.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::compression::{self, HEAD};
use super::lines::{LineRange, LongLines, TextPieces};
use super::options::ReadOptions;
use super::report::{PartReport, TEXTS};
use super::slice::{FileId, Split, TakenFile};
use crate::error::BoxError;
use crate::rdd::OnError;
use crate::source::charset::DecodingReader;

/// What an [`InputFormat`](super::InputFormat) reads: a whole file, or a range of a big one. It gives the
/// file as it was when it was taken: what was added later isn't there, and when it is shorter now or another
/// file, reading fails.
pub struct FilePart<'a> {
    file: &'a TakenFile,
    split: Split,
    options: &'a ReadOptions,
    report: &'a RefCell<PartReport>,
    /// Instead of the file's content; for tests of formats.
    content: Option<&'a [u8]>,
}

trait Stored: Read + Seek {}
impl<T: Read + Seek> Stored for T {}

impl<'a> FilePart<'a> {
    pub(super) fn new(
        file: &'a TakenFile,
        split: Split,
        options: &'a ReadOptions,
        report: &'a RefCell<PartReport>,
    ) -> FilePart<'a> {
        FilePart { file, split, options, report, content: None }
    }

    #[cfg(test)]
    pub(super) fn with_content(mut self, content: &'a [u8]) -> FilePart<'a> {
        self.content = Some(content);
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path.path()
    }

    /// The file's size when it was taken, in bytes as they are stored.
    pub fn file_len(&self) -> u64 {
        self.file.stamp.size
    }

    /// The bytes whose records are wanted, as they are stored: those of the records that begin in the range.
    pub fn range(&self) -> Range<u64> {
        self.split.start..self.split.end
    }

    /// Whether this is the whole file; only then can it be compressed.
    pub fn is_whole(&self) -> bool {
        !self.split.cut
    }

    /// The longest line or record that is wanted, in bytes.
    pub fn max_line_bytes(&self) -> usize {
        self.options.max_line_bytes
    }

    /// The content of a whole file, decompressed; of a part of a file the bytes from the range's begin to the
    /// end of the file: stop after the last record that begins in the range.
    ///
    /// # Errors
    /// When the file is gone, shorter than it was, or another one; reading it may fail as well.
    pub fn open(&self) -> io::Result<Box<dyn Read + 'a>> {
        self.open_at(self.split.start)
    }

    /// [`FilePart::open`], as UTF-8: decoded from the character set of the options, without a byte order
    /// mark. Malformed text is replaced by U+FFFD and counted. For whole files.
    ///
    /// # Errors
    /// As [`FilePart::open`].
    pub fn open_text(&self) -> io::Result<impl Read + use<'a>> {
        Ok(self.decoded(self.open()?))
    }

    fn decoded<R: Read>(&self, bytes: R) -> Counted<'a, R> {
        let text = DecodingReader::new(bytes, self.options.charset);
        Counted { text, counted: 0, report: self.report }
    }

    /// The lines that begin in the range, as blocks of whole lines of UTF-8.
    ///
    /// # Errors
    /// As [`FilePart::open`].
    pub fn lines(&self, long: LongLines) -> io::Result<TextPieces<'a>> {
        let Range { start, end } = self.range();
        // A line that begins with the range is told by the byte before it.
        let from = start.saturating_sub(1);
        let whole = self.is_whole();
        let bytes =
            LineRange::new(self.open_at(from)?, from, start, if whole { u64::MAX } else { end });
        let utf8 = self.options.charset.is_utf8();
        let text: Box<dyn Read + 'a> =
            if utf8 { Box::new(bytes) } else { Box::new(self.decoded(bytes)) };
        let sizes = (self.options.max_line_bytes, self.options.piece);
        // Of compressed or decoded text more comes, as a rule.
        let named = self.options.compression.by_name(self.path());
        let more = if utf8 && !matches!(named, Ok(Some(_))) { 1 } else { 4 };
        let expected = (end - start).saturating_mul(more);
        let mark = utf8 && start == 0;
        Ok(TextPieces::new(text, expected, sizes, long, mark, self.report))
    }

    /// A record isn't what it should be: counts it, or gives the error to return, as the options say.
    ///
    /// # Errors
    /// The error that fails the task, under the policy to fail.
    pub fn bad_record(
        &self,
        place: impl fmt::Display,
        error: impl fmt::Display,
    ) -> Result<(), BoxError> {
        let text = format!("{place}: {error}");
        if self.options.on_bad_record == OnError::Fail {
            return Err(Box::new(BadRecord(text)));
        }
        let mut report = self.report.borrow_mut();
        report.bad_records += 1;
        if report.bad.len() < TEXTS {
            report.bad.push(format!("{}, {text}", self.path().display()));
        }
        Ok(())
    }

    fn stored(&self) -> io::Result<Box<dyn Stored + 'a>> {
        let had = self.file.stamp.size;
        if let Some(content) = self.content {
            return Ok(Box::new(Cursor::new(content)));
        }
        let file = File::open(self.path())?;
        let now = file.metadata()?;
        let id = FileId::of(&now);
        let other = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.file.id.is_some() && id != self.file.id {
            return Err(other("another file has this name since it was taken".into()));
        }
        if now.len() < had {
            let now = now.len();
            return Err(other(format!("it has {now} bytes and had {had} when it was taken")));
        }
        Ok(Box::new(file))
    }

    fn open_at(&self, at: u64) -> io::Result<Box<dyn Read + 'a>> {
        let mut stored = self.stored()?;
        let size = self.file.stamp.size;
        if at > 0 {
            stored.seek(SeekFrom::Start(at))?;
        }
        let mut bytes = AsTaken { bytes: stored, left: size.saturating_sub(at), size };
        if !self.is_whole() {
            return Ok(Box::new(bytes));
        }
        let codec = match self.options.compression.by_name(self.path()) {
            Ok(codec) => codec,
            Err(()) => {
                let mut head = Vec::with_capacity(HEAD);
                (&mut bytes).take(HEAD as u64).read_to_end(&mut head)?;
                bytes.bytes.rewind()?;
                bytes.left = size;
                self.options.compression.codec(self.path(), &head)
            }
        };
        match codec {
            None => Ok(Box::new(bytes)),
            Some(codec) => compression::decompress(codec, bytes),
        }
    }
}

impl fmt::Debug for FilePart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePart({}, {:?})", self.path().display(), self.range())
    }
}

/// A bad record under the policy to fail.
#[derive(Debug)]
pub(super) struct BadRecord(String);

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRecord {}

/// The bytes that the file had when it was taken; fewer are an error.
struct AsTaken<R> {
    bytes: R,
    left: u64,
    size: u64,
}

impl<R: Read> Read for AsTaken<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.bytes.read(&mut into[..want])?;
        if n == 0 {
            let (had, at) = (self.size, self.size - self.left);
            let text = format!("it ends at byte {at} and had {had} bytes when it was taken");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Text whose malformed sequences are counted.
struct Counted<'a, R> {
    text: DecodingReader<R>,
    counted: u64,
    report: &'a RefCell<PartReport>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.text.read(into)?;
        let malformed = self.text.malformed();
        if malformed > self.counted {
            self.report.borrow_mut().invalid_text += malformed - self.counted;
            self.counted = malformed;
        }
        Ok(n)
    }
}
