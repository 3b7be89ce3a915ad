//! Character sets of logs. A log is cut into lines before it is decoded, so `\n` must be a line end wherever
//! it stands, and a line must be readable without the lines before it.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding};

use crate::{Error, Result};

/// How far before the limit a cut is looked for that certainly parts two characters.
const LOOK_BACK: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Charset(&'static Encoding);

impl Charset {
    pub(super) const UTF_8: Charset = Charset(encoding_rs::UTF_8);

    pub(super) fn named(name: &str) -> Result<Charset> {
        let bad = |problem: String| Error::Config { key: "charset".into(), problem };
        let Some(found) = Encoding::for_label_no_replacement(name.as_bytes()) else {
            return Err(bad(format!(
                "`{name}` is no known character set; use a name of the WHATWG Encoding Standard, such as \
                 `utf-8`, `gbk`, `gb18030`, `big5`, `shift_jis`, `euc-kr`, `windows-1252`"
            )));
        };
        if !found.is_ascii_compatible() {
            return Err(bad(format!(
                "a log in {} can't be cut into lines before it is decoded, which following a log needs; \
                 have it written in UTF-8 or another set that contains ASCII",
                found.name()
            )));
        }
        Ok(Charset(found))
    }

    pub(super) fn is_utf8(self) -> bool {
        self == Charset::UTF_8
    }

    /// The bytes as UTF-8, and how many malformed sequences were replaced. UTF-8 is given back as it is,
    /// unchecked. No byte order mark is looked for: a log is read in pieces.
    pub(super) fn decode(self, bytes: &[u8]) -> (Cow<'_, [u8]>, u64) {
        if self.is_utf8() {
            return (Cow::Borrowed(bytes), 0);
        }
        if Encoding::ascii_valid_up_to(bytes) == bytes.len() {
            return (Cow::Borrowed(bytes), 0);
        }
        let mut decoder = self.0.new_decoder_without_bom_handling();
        let (mut text, mut rest, mut malformed) = (String::new(), bytes, 0);
        loop {
            let room = decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.reserve(room.unwrap_or(0).max(16));
            let (result, read) =
                decoder.decode_to_string_without_replacement(rest, &mut text, true);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return (Cow::Owned(text.into_bytes()), malformed),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    malformed += 1;
                }
            }
        }
    }

    /// Where a line that is too long is cut: at or a little before `at`, between two characters if that can
    /// be seen without decoding.
    pub(super) fn border(self, line: &[u8], at: usize) -> usize {
        if self.is_utf8() {
            return (0..4).map(|back| at - back).find(|i| line[*i] & 0xc0 != 0x80).unwrap_or(at);
        }
        // In every set with several bytes a character, these bytes are characters of their own.
        let alone = |b: u8| (0x20..=0x2f).contains(&b);
        let from = at.saturating_sub(LOOK_BACK.min(at / 2));
        (from + 1..=at).rev().find(|i| alone(line[*i - 1])).unwrap_or(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_other_sets_is_converted_and_what_is_malformed_counted() {
        let gbk = Charset::named("GBK").unwrap();
        let (text, malformed) = gbk.decode(b"\xc7\xa7\xc0\xef\n\xff\n");
        assert_eq!(&*text, "千里\n\u{fffd}\n".as_bytes());
        assert_eq!(malformed, 1);
        assert!(matches!(gbk.decode(b"plain"), (Cow::Borrowed(b"plain"), 0)));
    }

    #[test]
    fn sets_that_lines_can_not_be_cut_in_are_refused() {
        for (name, text) in
            [("utf-16le", "UTF-16LE"), ("iso-2022-jp", "cut into lines"), ("gkb", "`gkb`")]
        {
            let e = Charset::named(name).unwrap_err().to_string();
            assert!(e.contains(text) && e.contains("charset"), "{e}");
        }
    }

    #[test]
    fn long_line_is_cut_between_characters() {
        let gbk = Charset::named("gbk").unwrap();
        let line = [&b"\xc7\xa7\xc0\xef "[..], &b"\xc7\xa7".repeat(10)].concat();
        assert_eq!(gbk.border(&line, 8), 5);
        assert_eq!(Charset::UTF_8.border("aüü".as_bytes(), 2), 1);
    }
}
