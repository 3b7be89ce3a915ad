//! Each file one record.

use std::io::Read;
use std::ops::ControlFlow;

use super::{FilePart, InputFormat};
use crate::conf::defaults;
use crate::error::BoxError;
use crate::text::Str;

/// Each file as one record: its path and its bytes, decompressed when its name says that it is compressed.
/// A file above the limit is an error that names it.
#[derive(Clone, Copy, Debug)]
pub struct WholeFiles {
    max_bytes: u64,
}

impl WholeFiles {
    /// Files of up to [`defaults::WHOLE_FILE_MAX_BYTES`].
    pub fn new() -> WholeFiles {
        WholeFiles { max_bytes: defaults::WHOLE_FILE_MAX_BYTES }
    }

    /// Another limit, in bytes of the decompressed content.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> WholeFiles {
        self.max_bytes = bytes;
        self
    }
}

impl Default for WholeFiles {
    fn default() -> Self {
        WholeFiles::new()
    }
}

impl InputFormat for WholeFiles {
    type Item = (Str, Vec<u8>);

    fn is_text(&self) -> bool {
        false
    }

    fn read(
        &self,
        part: &FilePart<'_>,
        mut out: impl FnMut((Str, Vec<u8>)) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        let max = self.max_bytes;
        let mut bytes = Vec::new();
        part.open()?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(format!(
                "its content has more than {max} bytes; raise `WholeFiles::max_bytes` if the memory is there"
            )
            .into());
        }
        let _ = out((Str::from(part.path().to_string_lossy()), bytes));
        Ok(())
    }
}
