//! CSV, a record per row.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::ops::ControlFlow;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde::de::DeserializeOwned;

use super::{FilePart, InputFormat};
use crate::data::Data;
use crate::error::BoxError;

/// A row as a type of your own: a struct by the names of the header, or a tuple (or a `Vec<String>`) by
/// position. Quoted fields may have line ends, so files aren't split. A row that isn't such a record, or has
/// another number of fields than the first one, is a bad record (see
/// [`FileOptions::on_bad_record`](super::FileOptions::on_bad_record)).
///
/// A row longer than [`FileOptions::max_line_bytes`](super::FileOptions::max_line_bytes) (most likely a quote
/// that isn't closed) is an error of the file, for nobody can tell where the next row begins.
pub struct Csv<T> {
    header: bool,
    delimiter: u8,
    quote: u8,
    flexible: bool,
    t: PhantomData<fn() -> T>,
}

impl<T> Csv<T> {
    /// With a header, fields between commas, quotes `"`.
    pub fn new() -> Csv<T> {
        Csv { header: true, delimiter: b',', quote: b'"', flexible: false, t: PhantomData }
    }

    /// Whether the first row of each file is a header. Default: yes.
    #[must_use]
    pub fn header(mut self, has: bool) -> Csv<T> {
        self.header = has;
        self
    }

    /// What stands between fields, an ASCII character. Default: `,`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Csv<T> {
        self.delimiter = delimiter;
        self
    }

    /// Whether rows may have different numbers of fields. Default: no.
    #[must_use]
    pub fn flexible(mut self, flexible: bool) -> Csv<T> {
        self.flexible = flexible;
        self
    }

    /// What fields are quoted by, an ASCII character. Default: `"`.
    #[must_use]
    pub fn quote(mut self, quote: u8) -> Csv<T> {
        self.quote = quote;
        self
    }
}

impl<T> Default for Csv<T> {
    fn default() -> Self {
        Csv::new()
    }
}

impl<T> fmt::Debug for Csv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csv")
            .field("header", &self.header)
            .field("delimiter", &char::from(self.delimiter))
            .field("quote", &char::from(self.quote))
            .finish()
    }
}

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

impl<T: Data + DeserializeOwned> InputFormat for Csv<T> {
    type Item = T;

    fn read(
        &self,
        part: &FilePart<'_>,
        mut out: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        let left = Cell::new(0);
        let max = part.max_line_bytes();
        let budget = || left.set(max + 2 * PIECE);
        budget();
        let mut rows = ReaderBuilder::new()
            .has_headers(self.header)
            .delimiter(self.delimiter)
            .quote(self.quote)
            .flexible(self.flexible)
            .buffer_capacity(PIECE)
            .from_reader(Bounded { text: part.open_text()?, left: &left, max });
        let header = match self.header {
            false => None,
            true => Some(rows.byte_headers().map_err(of_file)?.clone()),
        };
        let mut row = ByteRecord::new();
        loop {
            budget();
            match rows.read_byte_record(&mut row) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(e) if matches!(e.kind(), ErrorKind::Io(_)) => return Err(of_file(e)),
                Err(e) => {
                    part.bad_record(line_of(&row), e)?;
                    continue;
                }
            }
            match row.deserialize(header.as_ref()) {
                Ok(record) => {
                    if out(record).is_break() {
                        return Ok(());
                    }
                }
                Err(e) => part.bad_record(line_of(&row), e)?,
            }
        }
    }
}

fn line_of(row: &ByteRecord) -> String {
    row.position().map_or_else(|| "a row".into(), |at| format!("the row of line {}", at.line()))
}

fn of_file(e: csv::Error) -> BoxError {
    match e.into_kind() {
        ErrorKind::Io(e) => e.into(),
        other => format!("{other:?}").into(),
    }
}

/// Text of which a row may use up a limited amount.
struct Bounded<'a, R> {
    text: R,
    left: &'a Cell<usize>,
    max: usize,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            let max = self.max;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a row is longer than {max} bytes; is a quote not closed?"),
            ));
        }
        let n = self.text.read(into)?;
        self.left.set(self.left.get().saturating_sub(n));
        Ok(n)
    }
}
