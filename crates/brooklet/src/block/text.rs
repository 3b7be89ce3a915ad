//! A block of text whose records are its lines.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Block, BlockError};
use crate::text::TextBlock;

/// A block of text; its records are its lines. Its encoded form is the text itself, so that it costs
/// nothing to keep it serialized and no copy to write it.
pub struct TextLines {
    text: Arc<TextBlock>,
    lines: usize,
    memory: usize,
}

impl TextLines {
    /// A block of the lines of `text`; counts them.
    pub fn new(text: Arc<TextBlock>) -> Arc<TextLines> {
        let lines = text.line_count();
        Self::counted(text, lines)
    }

    /// A block of text whose lines were counted before.
    pub(crate) fn counted(text: Arc<TextBlock>, lines: usize) -> Arc<TextLines> {
        let memory = text.allocated_bytes() + size_of::<TextBlock>() + size_of::<TextLines>();
        Arc::new(TextLines { text, lines, memory })
    }

    /// Reads the encoded form; the [`Decode`](super::Decode) of these blocks. Never fails: what isn't
    /// UTF-8 is replaced.
    pub fn decode(bytes: Vec<u8>) -> Result<Arc<dyn Block>, BlockError> {
        Ok(TextLines::new(TextBlock::from_utf8_lossy(bytes).0))
    }

    /// The text.
    pub fn text(&self) -> &Arc<TextBlock> {
        &self.text
    }
}

impl Block for TextLines {
    fn memory(&self) -> usize {
        self.memory
    }

    fn records(&self) -> usize {
        self.lines
    }

    fn encode(&self) -> Result<Vec<u8>, BlockError> {
        Ok(self.text.as_str().as_bytes().to_vec())
    }

    fn encoded(&self) -> Option<&[u8]> {
        Some(self.text.as_str().as_bytes())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl fmt::Debug for TextLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLines")
            .field("lines", &self.lines)
            .field("memory", &self.memory)
            .finish()
    }
}
