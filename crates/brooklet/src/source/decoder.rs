//! From bytes to records: the trait that converters of sockets implement, and those that come with the
//! crate.

use std::fmt;

use memchr::memchr;
use memchr::memmem::Finder;

use crate::error::BoxError;

/// Cuts a stream of bytes into records; for [`socket_stream`](crate::StreamingContext::socket_stream).
///
/// Every connection begins with a fresh clone, so a decoder may keep what it likes about the bytes it has
/// seen. It runs on the receiver's thread.
///
/// ```
/// use brooklet::BoxError;
/// use brooklet::source::{Decoded, Decoder};
///
/// /// Readings of four bytes, big-endian; 0 stands for "nothing to tell".
/// #[derive(Clone)]
/// struct Readings;
///
/// impl Decoder for Readings {
///     type Item = u32;
///     fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<u32>, BoxError> {
///         let Some(reading) = bytes.first_chunk::<4>() else {
///             return Ok(Decoded::Needs(4));
///         };
///         Ok(match u32::from_be_bytes(*reading) {
///             0 => Decoded::Skip(4),
///             n => Decoded::Record(n, 4),
///         })
///     }
/// }
/// assert_eq!(Readings.decode(&[0, 0, 1, 0, 7])?, Decoded::Record(256, 4));
/// # Ok::<(), BoxError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no converter of bytes to records",
    label = "needs a `Decoder`",
    note = "implement `Decoder`, take a ready one such as `Lines`, or wrap a function from a reader to an iterator of `Result`s: `from_reader(|bytes| ..)`"
)]
pub trait Decoder: Clone + Send + 'static {
    /// The records.
    type Item;

    /// Looks at the bytes that came and aren't taken yet (never none), and says what is at their front.
    /// Called again with the rest after a record, and with more bytes after [`Decoded::Incomplete`].
    ///
    /// # Errors
    /// These bytes can't be decoded. The connection is closed and made again; the error is counted
    /// (`decode_errors`) and reported with its place.
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<Self::Item>, BoxError>;

    /// The connection ended, and these bytes aren't taken (never none). They may be a last record. Default:
    /// they are half a record, which is dropped and counted (`half_records`).
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    fn end(&mut self, _rest: &[u8]) -> Result<Option<Self::Item>, BoxError> {
        Ok(None)
    }

    /// A decoder whose records `f` makes of this one's.
    ///
    /// ```
    /// use brooklet::source::{Decoded, Decoder, Lines};
    /// let mut numbers = Lines::new().and_then(|line| std::str::from_utf8(&line)?.parse::<i64>().map_err(brooklet::BoxError::from));
    /// assert_eq!(numbers.decode(b"17\n4")?, Decoded::Record(17, 3));
    /// assert!(numbers.decode(b"x\n").is_err());
    /// # Ok::<(), brooklet::BoxError>(())
    /// ```
    fn and_then<U, E, F>(self, f: F) -> AndThen<Self, F>
    where
        F: Fn(Self::Item) -> Result<U, E> + Clone + Send + 'static,
        E: Into<BoxError>,
    {
        AndThen { decoder: self, f }
    }
}

/// What a [`Decoder`] finds at the front of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<T> {
    /// A record, and how many bytes it took, with its framing: at least one.
    Record(T, usize),
    /// This many bytes, at least one, belong to no record.
    Skip(usize),
    /// Part of a record; more bytes are needed.
    Incomplete,
    /// Part of a record; more bytes are needed until there are this many.
    Needs(usize),
}

/// What [`Decoder::and_then`] returns.
#[derive(Clone)]
pub struct AndThen<D, F> {
    decoder: D,
    f: F,
}

impl<D, F, U, E> Decoder for AndThen<D, F>
where
    D: Decoder,
    F: Fn(D::Item) -> Result<U, E> + Clone + Send + 'static,
    E: Into<BoxError>,
{
    type Item = U;

    #[inline]
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<U>, BoxError> {
        Ok(match self.decoder.decode(bytes)? {
            Decoded::Record(item, n) => Decoded::Record((self.f)(item).map_err(Into::into)?, n),
            Decoded::Skip(n) => Decoded::Skip(n),
            Decoded::Incomplete => Decoded::Incomplete,
            Decoded::Needs(n) => Decoded::Needs(n),
        })
    }

    fn end(&mut self, rest: &[u8]) -> Result<Option<U>, BoxError> {
        self.decoder.end(rest)?.map(|item| (self.f)(item).map_err(Into::into)).transpose()
    }
}

impl<D: fmt::Debug, F> fmt::Debug for AndThen<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AndThen").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

/// Lines as bytes, without their ends (`\n` or `\r\n`). A half line at the end of a connection is a record.
///
/// For lines of UTF-8, [`socket_text_stream`](crate::StreamingContext::socket_text_stream) is faster.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Bytes at the front that are known to have no end.
    searched: usize,
}

impl Lines {
    /// A decoder of lines.
    pub fn new() -> Lines {
        Lines::default()
    }
}

impl Decoder for Lines {
    type Item = Vec<u8>;

    #[inline]
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<Vec<u8>>, BoxError> {
        match memchr(b'\n', &bytes[self.searched..]) {
            Some(at) => {
                let end = self.searched + at;
                self.searched = 0;
                let line = &bytes[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                Ok(Decoded::Record(line.to_vec(), end + 1))
            }
            None => {
                self.searched = bytes.len();
                Ok(Decoded::Incomplete)
            }
        }
    }

    fn end(&mut self, rest: &[u8]) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(Some(rest.to_vec()))
    }
}

/// Records that end with a delimiter, as bytes, without it. What is left at the end of a connection is a
/// record.
///
/// ```
/// use brooklet::source::{Decoded, Decoder, Delimited};
/// let mut records = Delimited::by("||");
/// assert_eq!(records.decode(b"a|b||c")?, Decoded::Record(b"a|b".to_vec(), 5));
/// assert_eq!(records.decode(b"c")?, Decoded::Incomplete);
/// # Ok::<(), brooklet::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimited {
    delimiter: Finder<'static>,
    searched: usize,
}

impl Delimited {
    /// Records that end with `delimiter`.
    ///
    /// # Panics
    /// When it is empty.
    pub fn by(delimiter: impl AsRef<[u8]>) -> Delimited {
        assert!(!delimiter.as_ref().is_empty(), "the delimiter of records can't be empty");
        Delimited { delimiter: Finder::new(delimiter.as_ref()).into_owned(), searched: 0 }
    }
}

impl Decoder for Delimited {
    type Item = Vec<u8>;

    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<Vec<u8>>, BoxError> {
        let length = self.delimiter.needle().len();
        match self.delimiter.find(&bytes[self.searched..]) {
            Some(at) => {
                let end = self.searched + at;
                self.searched = 0;
                Ok(Decoded::Record(bytes[..end].to_vec(), end + length))
            }
            None => {
                // The end may be the beginning of a delimiter.
                self.searched = (bytes.len() + 1).saturating_sub(length).max(self.searched);
                Ok(Decoded::Incomplete)
            }
        }
    }

    fn end(&mut self, rest: &[u8]) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(Some(rest.to_vec()))
    }
}

/// Frames that begin with their length, as bytes, without it.
///
/// ```
/// use brooklet::source::{Decoded, Decoder, LengthPrefixed};
/// let mut frames = LengthPrefixed::new(2);
/// assert_eq!(frames.decode(&[0, 3, b'a', b'b', b'c', 0])?, Decoded::Record(b"abc".to_vec(), 5));
/// assert_eq!(frames.decode(&[0, 3, b'a'])?, Decoded::Needs(5));
/// # Ok::<(), brooklet::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LengthPrefixed {
    bytes: usize,
    little_endian: bool,
}

impl LengthPrefixed {
    /// Lengths of `bytes` bytes, from 1 to 8, big-endian; the length itself doesn't count.
    ///
    /// # Panics
    /// When `bytes` isn't from 1 to 8.
    pub fn new(bytes: usize) -> LengthPrefixed {
        assert!((1..=8).contains(&bytes), "a length has from 1 to 8 bytes, not {bytes}");
        LengthPrefixed { bytes, little_endian: false }
    }

    /// The lengths are little-endian.
    #[must_use]
    pub fn little_endian(mut self) -> LengthPrefixed {
        self.little_endian = true;
        self
    }
}

impl Decoder for LengthPrefixed {
    type Item = Vec<u8>;

    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<Vec<u8>>, BoxError> {
        let Some(prefix) = bytes.get(..self.bytes) else {
            return Ok(Decoded::Needs(self.bytes));
        };
        let digit = |n: u64, b: &u8| n << 8 | u64::from(*b);
        let length = if self.little_endian {
            prefix.iter().rev().fold(0, digit)
        } else {
            prefix.iter().fold(0, digit)
        };
        let end = usize::try_from(length).ok().and_then(|n| n.checked_add(self.bytes));
        let end = end.ok_or_else(|| format!("a frame of {length} bytes can't be"))?;
        Ok(match bytes.get(self.bytes..end) {
            Some(frame) => Decoded::Record(frame.to_vec(), end),
            None => Decoded::Needs(end),
        })
    }
}

/// Records that all have the same length, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct FixedLength(usize);

impl FixedLength {
    /// Records of `bytes` bytes.
    ///
    /// # Panics
    /// When that is zero.
    pub fn new(bytes: usize) -> FixedLength {
        assert!(bytes > 0, "a record can't have zero bytes");
        FixedLength(bytes)
    }
}

impl Decoder for FixedLength {
    type Item = Vec<u8>;

    #[inline]
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<Vec<u8>>, BoxError> {
        Ok(match bytes.get(..self.0) {
            Some(record) => Decoded::Record(record.to_vec(), self.0),
            None => Decoded::Needs(self.0),
        })
    }
}
