//! [`TextBlock`]: one piece of received text, which many [`Str`]s share.
#![allow(unsafe_code)]

use super::lines::{LineRuns, Lines};
use super::string::Str;
use std::fmt;
use std::str;
use std::string::FromUtf8Error;
use std::sync::Arc;

/// Immutable text, received in one piece and shared by the [`Str`]s cut from it.
///
/// It is always valid UTF-8, checked once when it is made, and is followed by [`TextBlock::PAD`]
/// zero bytes, so that wide loads which start in the text stay in the allocation.
///
/// Aligned so that the counters of two blocks, which two threads count on, never share a cache
/// line or the line the hardware fetches along with it.
///
/// ```
/// use brooklet::text::TextBlock;
///
/// let block = TextBlock::new(b"one\ntwo\n".to_vec())?;
/// assert_eq!(block.line_count(), 2);
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
#[repr(align(128))]
pub struct TextBlock {
    /// The text and its padding. Never written to or moved once the block is made.
    bytes: Vec<u8>,
    len: usize,
}

impl TextBlock {
    /// How many zero bytes follow the text.
    ///
    /// Whoever reads into a `Vec` should leave room for them. Then making the block neither
    /// allocates nor copies the text:
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let mut bytes = Vec::with_capacity(5 + TextBlock::PAD);
    /// bytes.extend_from_slice(b"hello");
    /// let address = bytes.as_ptr();
    /// let block = TextBlock::new(bytes)?;
    /// assert_eq!(block.as_str().as_ptr(), address);
    /// # Ok::<(), std::string::FromUtf8Error>(())
    /// ```
    pub const PAD: usize = 64;

    /// Makes a block of `bytes`.
    ///
    /// The text is not copied if `bytes` has room for [`TextBlock::PAD`] bytes more.
    ///
    /// # Errors
    ///
    /// If `bytes` is not UTF-8. The error says where and gives the bytes back; pass them to
    /// [`TextBlock::from_utf8_lossy`] to go on with what is readable.
    ///
    /// # Examples
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let error = TextBlock::new(b"caf\xe9".to_vec()).unwrap_err();
    /// assert_eq!(error.utf8_error().valid_up_to(), 3);
    /// assert_eq!(error.into_bytes(), b"caf\xe9");
    /// ```
    pub fn new(bytes: Vec<u8>) -> Result<Arc<TextBlock>, FromUtf8Error> {
        String::from_utf8(bytes).map(Self::from_string)
    }

    /// Makes a block of a copy of `text`.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("a\nb").line_count(), 2);
    /// ```
    #[allow(
        clippy::should_implement_trait,
        reason = "`FromStr` must return `Self`, and a block is always shared"
    )]
    pub fn from_str(text: &str) -> Arc<TextBlock> {
        let mut copy = String::with_capacity(text.len() + Self::PAD);
        copy.push_str(text);
        Self::from_string(copy)
    }

    /// Makes a block of `text`, which is not copied if it has room for [`TextBlock::PAD`] bytes
    /// more.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_string("a b".to_owned()).as_str(), "a b");
    /// ```
    pub fn from_string(text: String) -> Arc<TextBlock> {
        let mut bytes = text.into_bytes();
        let len = bytes.len();
        bytes.reserve_exact(Self::PAD);
        bytes.resize(len + Self::PAD, 0);
        Arc::new(TextBlock { bytes, len })
    }

    /// Makes a block of `bytes` with every invalid sequence replaced by U+FFFD, and says how many
    /// were replaced.
    ///
    /// Valid text is not copied, as in [`TextBlock::new`].
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let (block, replaced) = TextBlock::from_utf8_lossy(b"caf\xe9 and t\xe9".to_vec());
    /// assert_eq!(block.as_str(), "caf\u{fffd} and t\u{fffd}");
    /// assert_eq!(replaced, 2);
    /// ```
    pub fn from_utf8_lossy(bytes: Vec<u8>) -> (Arc<TextBlock>, usize) {
        let bytes = match Self::new(bytes) {
            Ok(block) => return (block, 0),
            Err(error) => error.into_bytes(),
        };
        let mut text = String::with_capacity(bytes.len() + bytes.len() / 16 + Self::PAD);
        let mut replaced = 0;
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                replaced += 1;
            }
        }
        (Self::from_string(text), replaced)
    }

    /// The text, without the padding.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("a\n").as_str(), "a\n");
    /// ```
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: `from_string`, the only maker, was given `len` bytes of UTF-8, and nothing
        // changes them.
        unsafe { str::from_utf8_unchecked(self.bytes.get_unchecked(..self.len)) }
    }

    /// The length of the text in bytes.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("abc").len(), 3);
    /// ```
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no text.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert!(TextBlock::from_str("").is_empty());
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory the text takes: its bytes, the padding and what the `Vec` had to spare.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("abc").allocated_bytes(), 3 + TextBlock::PAD);
    /// ```
    #[inline]
    pub fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many lines [`lines`](Self::lines) yields, without making them.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("a\n\nb").line_count(), 3);
    /// assert_eq!(TextBlock::from_str("a\n\nb\n").line_count(), 3);
    /// assert_eq!(TextBlock::from_str("").line_count(), 0);
    /// ```
    pub fn line_count(&self) -> usize {
        let text = self.as_str().as_bytes();
        let unended = text.last().is_some_and(|&last| last != b'\n');
        memchr::memchr_iter(b'\n', text).count() + usize::from(unended)
    }

    /// The lines of the text, as [`str::lines`] cuts them: each ends at `\n`, a `\r` before that
    /// is removed, and the last line need not have an end.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let block = TextBlock::from_str("one\r\n\ntwo");
    /// assert!(block.lines().eq(["one", "", "two"]));
    /// ```
    #[inline]
    pub fn lines(self: &Arc<Self>) -> Lines {
        Lines::new(self.text(), 0, self.len)
    }

    /// The lines in runs of about `bytes`, each of one or more whole lines, so that a task can
    /// look up from its work between two runs.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let block = TextBlock::from_str("aa\nbb\ncc\ndd\n");
    /// let runs: Vec<usize> = block.line_runs(6).map(|run| run.count()).collect();
    /// assert_eq!(runs, [2, 2]);
    /// ```
    pub fn line_runs(self: &Arc<Self>, bytes: usize) -> LineRuns {
        LineRuns::new(self.text(), bytes)
    }

    /// The whole text as one [`Str`].
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// assert_eq!(TextBlock::from_str("one\ntwo").text(), "one\ntwo");
    /// ```
    #[inline]
    pub fn text(self: &Arc<Self>) -> Str {
        Str::whole(self)
    }

    /// The first byte of the text, by a pointer that may read the padding too.
    #[inline(always)]
    pub(super) fn base(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
}

impl fmt::Debug for TextBlock {
    /// The sizes only: the text may be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextBlock")
            .field("len", &self.len)
            .field("allocated_bytes", &self.allocated_bytes())
            .finish()
    }
}
