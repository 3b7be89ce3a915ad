//! Character sets of text sources: bytes in, UTF-8 out, whatever the pieces they come in.

use std::fmt;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use crate::{Error, Result};

/// A character set, by the names that the web uses: `utf-8`, `gbk`, `gb18030`, `big5`, `shift_jis`,
/// `euc-kr`, `windows-1252`, `utf-16le`, ...
///
/// ```
/// use brooklet::source::Charset;
/// let gbk = Charset::named("GBK")?;
/// let mut decoder = gbk.decoder();
/// let mut text = String::new();
/// decoder.decode(b"\xc7\xa7\xc0", false, &mut text); // the second character is cut in two
/// decoder.decode(b"\xef", true, &mut text);
/// assert_eq!((text.as_str(), decoder.malformed()), ("千里", 0));
/// assert!(Charset::named("gkb").unwrap_err().to_string().contains("gkb"));
/// # Ok::<(), brooklet::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

impl Charset {
    /// The default of all text sources.
    pub const UTF_8: Charset = Charset(UTF_8);

    /// The character set of this name; case doesn't matter, and the usual other names are known.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that nobody knows.
    pub fn named(name: &str) -> Result<Charset> {
        let unknown = || Error::Config {
            key: "charset".into(),
            problem: format!(
                "`{name}` is no known character set; use a name of the WHATWG Encoding Standard, such as \
                 `utf-8`, `gbk`, `gb18030`, `big5`, `shift_jis`, `euc-kr`, `windows-1252`, `utf-16le`"
            ),
        };
        Encoding::for_label_no_replacement(name.as_bytes()).map(Charset).ok_or_else(unknown)
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether it is UTF-8, so that valid text needs no conversion.
    pub fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    /// Whether the byte `\n` is always a line end and nothing but bytes up to the next one tells how to read
    /// a line: then bytes may be cut into lines before they are decoded. Not so in UTF-16 and ISO-2022-JP.
    pub fn keeps_line_ends(self) -> bool {
        self.0.is_ascii_compatible()
    }

    /// A decoder for one stream of bytes. It removes the charset's byte order mark at the beginning.
    pub fn decoder(self) -> CharsetDecoder {
        CharsetDecoder { inner: self.0.new_decoder_with_bom_removal(), malformed: 0 }
    }

    /// A decoder for a part from the middle of a stream: a byte order mark there is text.
    pub(crate) fn decoder_of_a_part(self) -> CharsetDecoder {
        CharsetDecoder { inner: self.0.new_decoder_without_bom_handling(), malformed: 0 }
    }
}

impl Default for Charset {
    fn default() -> Self {
        Charset::UTF_8
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Turns a stream of bytes into UTF-8, piece by piece; a character may be cut by the end of a piece.
/// Malformed input becomes U+FFFD and is counted.
pub struct CharsetDecoder {
    inner: Decoder,
    malformed: u64,
}

impl CharsetDecoder {
    /// Appends the text of the next piece to `out`; `last` at the end of the stream, after which the decoder
    /// is used up. What waits for the rest of a character is a few bytes.
    pub fn decode(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        let mut rest = bytes;
        loop {
            // Enough for whatever the worst case of the rest is; at least for one character.
            let room = self.inner.max_utf8_buffer_length_without_replacement(rest.len());
            out.reserve(room.unwrap_or(0).max(16));
            let (result, read) = self.inner.decode_to_string_without_replacement(rest, out, last);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.malformed += 1;
                }
            }
        }
    }

    /// Malformed sequences that were replaced so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

impl fmt::Debug for CharsetDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CharsetDecoder")
            .field("charset", &self.inner.encoding().name())
            .field("malformed", &self.malformed)
            .finish()
    }
}

/// Bytes of a character set, read as UTF-8.
pub struct DecodingReader<R> {
    bytes: R,
    decoder: CharsetDecoder,
    raw: Vec<u8>,
    text: String,
    /// How much of `text` has been read.
    taken: usize,
    ended: bool,
}

/// Bytes that are decoded at once.
const PIECE: usize = 32 << 10;

impl<R: Read> DecodingReader<R> {
    /// Reads `bytes` as `charset`.
    pub fn new(bytes: R, charset: Charset) -> DecodingReader<R> {
        DecodingReader {
            bytes,
            decoder: charset.decoder(),
            raw: vec![0; PIECE],
            text: String::new(),
            taken: 0,
            ended: false,
        }
    }

    /// Malformed sequences that were replaced so far.
    pub fn malformed(&self) -> u64 {
        self.decoder.malformed()
    }
}

impl<R: Read> Read for DecodingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while self.taken == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            let n = self.bytes.read(&mut self.raw)?;
            self.ended = n == 0;
            self.text.clear();
            self.taken = 0;
            self.decoder.decode(&self.raw[..n], self.ended, &mut self.text);
        }
        let rest = &self.text.as_bytes()[self.taken..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        Ok(n)
    }
}

impl<R> fmt::Debug for DecodingReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decoder.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(text: &str, charset: Charset) -> Vec<u8> {
        let (bytes, _, unmappable) = charset.0.encode(text);
        assert!(!unmappable);
        bytes.into_owned()
    }

    fn in_pieces(bytes: &[u8], charset: Charset, piece: usize) -> (String, u64) {
        let (mut decoder, mut text) = (charset.decoder(), String::new());
        for p in bytes.chunks(piece) {
            decoder.decode(p, false, &mut text);
        }
        decoder.decode(&[], true, &mut text);
        (text, decoder.malformed())
    }

    #[test]
    fn malformed_bytes_are_replaced_and_counted() {
        for piece in 1..6 {
            let (text, malformed) = in_pieces(b"caf\xe9 t\xc3", Charset::UTF_8, piece);
            assert_eq!((text.as_str(), malformed), ("caf\u{fffd} t\u{fffd}", 2), "{piece}");
        }
    }

    #[test]
    fn byte_order_marks_are_removed_once() {
        let bytes = b"\xef\xbb\xbfa\xef\xbb\xbf";
        assert_eq!(in_pieces(bytes, Charset::UTF_8, 1).0, "a\u{feff}");
        let utf16 = Charset::named("utf-16le").unwrap();
        assert!(!utf16.keeps_line_ends());
        assert_eq!(in_pieces(b"\xff\xfea\0\n\0", utf16, 1).0, "a\n");
    }

    proptest! {
        #[test]
        fn text_comes_back_in_any_pieces(text in "\\PC{0,40}", piece in 1usize..9) {
            let charset = Charset::named("gb18030").unwrap();
            let bytes = encode(&text, charset);
            prop_assert_eq!(in_pieces(&bytes, charset, piece), (text.clone(), 0));
            let mut read = String::new();
            let small = io::BufReader::with_capacity(piece, &bytes[..]);
            DecodingReader::new(small, charset).read_to_string(&mut read).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn any_bytes_give_text(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..9) {
            for name in ["utf-8", "gbk", "utf-16be", "iso-2022-jp", "shift_jis"] {
                let charset = Charset::named(name).unwrap();
                prop_assert_eq!(
                    in_pieces(&bytes, charset, piece),
                    in_pieces(&bytes, charset, bytes.len().max(1))
                );
            }
        }
    }
}
