//! Character sets of logs. A log is cut into lines before it is decoded, so `\n` must be a line end wherever
//! it stands, and a line must be readable without the lines before it.

use std::borrow::Cow;

use crate::source::Charset;
use crate::{Error, Result};

/// How far before the limit a cut is looked for that certainly parts two characters.
const LOOK_BACK: usize = 256;

/// The character set of this name, if logs can be read in it.
pub(super) fn named(name: &str) -> Result<Charset> {
    let found = Charset::named(name)?;
    if found.keeps_line_ends() {
        return Ok(found);
    }
    Err(Error::Config {
        key: "charset".into(),
        problem: format!(
            "a log in {} can't be cut into lines before it is decoded, which following a log needs; \
             have it written in UTF-8 or another set that contains ASCII",
            found.name()
        ),
    })
}

/// The bytes as UTF-8, and how many malformed sequences were replaced. UTF-8 is given back as it is,
/// unchecked. No byte order mark is looked for: a log is read in pieces.
pub(super) fn decode(charset: Charset, bytes: &[u8]) -> (Cow<'_, [u8]>, u64) {
    if charset.is_utf8() || bytes.is_ascii() {
        return (Cow::Borrowed(bytes), 0);
    }
    let (mut decoder, mut text) = (charset.decoder_of_a_part(), String::new());
    decoder.decode(bytes, true, &mut text);
    (Cow::Owned(text.into_bytes()), decoder.malformed())
}

/// Where a line that is too long is cut: at or a little before `at`, between two characters if that can
/// be seen without decoding.
pub(super) fn border(charset: Charset, line: &[u8], at: usize) -> usize {
    if charset.is_utf8() {
        return (0..4).map(|back| at - back).find(|i| line[*i] & 0xc0 != 0x80).unwrap_or(at);
    }
    // In every set with several bytes a character, these bytes are characters of their own.
    let alone = |b: u8| (0x20..=0x2f).contains(&b);
    let from = at.saturating_sub(LOOK_BACK.min(at / 2));
    (from + 1..=at).rev().find(|i| alone(line[*i - 1])).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_other_sets_is_converted_and_what_is_malformed_counted() {
        let gbk = named("GBK").unwrap();
        let (text, malformed) = decode(gbk, b"\xc7\xa7\xc0\xef\n\xff\n");
        assert_eq!(&*text, "千里\n\u{fffd}\n".as_bytes());
        assert_eq!(malformed, 1);
        assert!(matches!(decode(gbk, b"plain"), (Cow::Borrowed(b"plain"), 0)));
    }

    #[test]
    fn sets_that_lines_can_not_be_cut_in_are_refused() {
        for (name, text) in
            [("utf-16le", "UTF-16LE"), ("iso-2022-jp", "cut into lines"), ("gkb", "`gkb`")]
        {
            let e = named(name).unwrap_err().to_string();
            assert!(e.contains(text) && e.contains("charset"), "{e}");
        }
    }

    #[test]
    fn long_line_is_cut_between_characters() {
        let gbk = named("gbk").unwrap();
        let line = [&b"\xc7\xa7\xc0\xef "[..], &b"\xc7\xa7".repeat(10)].concat();
        assert_eq!(border(gbk, &line, 8), 5);
        assert_eq!(border(Charset::UTF_8, "aüü".as_bytes(), 2), 1);
    }
}
