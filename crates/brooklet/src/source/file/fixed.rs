//! Binary files of records of one length.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::{FilePart, InputFormat};
use crate::error::BoxError;

/// Records of a fixed number of bytes; what
/// [`binary_records_stream`](crate::StreamingContext::binary_records_stream) reads. A file whose length isn't
/// a multiple of it is an error that names file and length; its whole records come before.
#[derive(Clone, Copy, Debug)]
pub struct FixedRecords {
    length: usize,
}

impl FixedRecords {
    /// Records of `length` bytes.
    ///
    /// # Panics
    /// When `length` is 0.
    #[track_caller]
    pub fn new(length: usize) -> FixedRecords {
        assert!(length > 0, "a record needs at least one byte");
        FixedRecords { length }
    }
}

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

impl InputFormat for FixedRecords {
    type Item = Vec<u8>;

    fn splittable(&self) -> bool {
        true
    }

    fn is_text(&self) -> bool {
        false
    }

    fn read(
        &self,
        part: &FilePart<'_>,
        mut out: impl FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        let n = self.length as u64;
        let range = part.range();
        // Records that begin in the range; of a whole file all, for it may be compressed.
        let before = range.start.next_multiple_of(n) - range.start;
        let wanted = if part.is_whole() {
            u64::MAX
        } else {
            (range.end.next_multiple_of(n) - range.start).saturating_sub(before)
        };
        let mut bytes = part.open()?;
        io::copy(&mut (&mut bytes).take(before), &mut io::sink())?;
        let buffer = PIECE.min(usize::try_from(range.end - range.start).unwrap_or(PIECE));
        let mut bytes = io::BufReader::with_capacity(buffer.max(4_096), bytes.take(wanted));
        let mut seen = 0u64;
        let mut record = vec![0; self.length];
        loop {
            let mut have = 0;
            while have < record.len() {
                match bytes.read(&mut record[have..]) {
                    Ok(0) => break,
                    Ok(got) => have += got,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
            }
            seen += have as u64;
            if have == 0 {
                return Ok(());
            }
            if have < record.len() {
                let length = if part.is_whole() { seen } else { part.file_len() };
                return Err(format!(
                    "its length of {length} bytes is no multiple of the record length {n}: {have} bytes are \
                     left at its end"
                )
                .into());
            }
            if out(record.clone()).is_break() {
                return Ok(());
            }
        }
    }
}
