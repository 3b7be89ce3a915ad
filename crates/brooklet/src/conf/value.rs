//! Values as text: what they may look like, and what is said when they don't.

use std::time::Duration;

use crate::time::parse_duration;

/// The longest duration that a setting takes.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfKind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// A number with a unit: `200ms`, `2s`, `5min`, `1h`. A number alone counts milliseconds, as it does in
    /// the original's keys.
    Duration,
    /// A whole number of bytes, with or without a unit: `4096`, `400m`, `1g`, `512MiB`. Each unit is 1024
    /// times the one before, however it is written.
    Bytes,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl ConfKind {
    /// As the tables of the documentation name it.
    pub fn describe(self) -> String {
        match self {
            ConfKind::Text => "text".into(),
            ConfKind::Number => "number".into(),
            ConfKind::Duration => "duration".into(),
            ConfKind::Bytes => "size".into(),
            ConfKind::Flag => "`true` or `false`".into(),
            ConfKind::Choice(words) => {
                words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

pub(super) fn number(text: &str) -> Result<u64, String> {
    let t = text.trim();
    let digits = t.strip_prefix('-').unwrap_or(t);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{text}` is no whole number: write digits only, as in `8`"));
    }
    if t.starts_with('-') {
        return Err(format!("`{text}` is negative"));
    }
    t.parse().map_err(|_| format!("`{text}` is too large: at most {}", u64::MAX))
}

/// A number for a `usize` or `u32`.
pub(super) fn count<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    N::try_from(number(text)?).map_err(|_| format!("`{text}` is too large"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let t = text.trim();
    if t.starts_with('-') {
        return Err(format!("`{text}` is negative"));
    }
    // A bare number is in milliseconds.
    let digits = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let long = || format!("`{text}` is too long: at most 365d");
    let d = if digits { parse_duration(&format!("{t}ms")) } else { parse_duration(t) };
    let d = d.map_err(|e| if e.contains("too long") { long() } else { e })?;
    if d > LONGEST {
        return Err(long());
    }
    if d.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("`{text}` is no whole number of milliseconds"));
    }
    Ok(d)
}

pub(super) fn bytes<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let t = text.trim();
    if t.starts_with('-') {
        return Err(format!("`{text}` is negative"));
    }
    let at = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let (digits, unit) = (&t[..at], t[at..].trim());
    if digits.is_empty() || unit.starts_with('.') {
        return Err(format!(
            "`{text}` is no size: write a whole number and a unit, as in `400m` or `512MiB`"
        ));
    }
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => {
            return Err(format!(
                "`{text}` has the unknown unit `{unit}`: use one of b, k, m, g, t (each is 1024 times \
                 the one before)"
            ));
        }
    };
    let n = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    n.and_then(|n| N::try_from(n).ok()).ok_or_else(|| format!("`{text}` is too large"))
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// The place of the word among `words`.
pub(super) fn choice(text: &str, words: &[&str]) -> Result<usize, String> {
    let found = words.iter().position(|w| *w == text.trim());
    found.ok_or_else(|| format!("`{text}` is none of {}", words.join(", ")))
}

/// A size as a person writes it; the inverse of [`bytes`].
pub(super) fn show_bytes(n: u64) -> String {
    for (shift, unit) in [(40, "t"), (30, "g"), (20, "m"), (10, "k")] {
        if n >= 1 << shift && n.is_multiple_of(1 << shift) {
            return format!("{}{unit}", n >> shift);
        }
    }
    n.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format_duration, millis, minutes, seconds};

    #[test]
    fn durations_have_a_unit_or_are_milliseconds() {
        assert_eq!(duration("200"), Ok(millis(200)));
        assert_eq!(duration(" 2s "), Ok(seconds(2)));
        assert_eq!(duration("5m"), Ok(minutes(5)));
        assert_eq!(duration("1.5s"), Ok(millis(1_500)));
        assert_eq!(duration("365d"), Ok(LONGEST));
        for d in [millis(1), seconds(90), minutes(2)] {
            assert_eq!(duration(&format_duration(d)), Ok(d));
        }
        for (text, hint) in [
            ("", "not a duration"),
            ("fast", "`200ms`"),
            ("-5ms", "negative"),
            ("-5", "negative"),
            ("3 fortnights", "fortnights"),
            ("366d", "at most 365d"),
            ("99999999999999999999", "at most 365d"),
            ("99999999999999999999d", "at most 365d"),
            ("1.5ms", "whole number of milliseconds"),
            ("50us", "whole number of milliseconds"),
        ] {
            let e = duration(text).unwrap_err();
            assert!(e.contains(hint), "{text}: {e}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, n) in [
            ("0", 0_u64),
            ("4096", 4_096),
            ("10b", 10),
            ("400m", 400 << 20),
            ("1g", 1 << 30),
            ("512MiB", 512 << 20),
            ("512 MB", 512 << 20),
            ("2T", 2 << 40),
            ("16777215t", 16_777_215 << 40),
        ] {
            assert_eq!(bytes(text), Ok(n));
            assert_eq!(bytes(&show_bytes(n)), Ok(n));
        }
        for (text, hint) in [
            ("", "is no size"),
            ("much", "is no size"),
            ("1.5g", "whole number"),
            ("-1m", "negative"),
            ("3 pages", "`pages`"),
            ("16777216t", "too large"),
            ("99999999999999999999", "too large"),
        ] {
            let e = bytes::<u64>(text).unwrap_err();
            assert!(e.contains(hint), "{text}: {e}");
        }
        assert!(bytes::<u32>("4g").is_err());
    }

    #[test]
    fn numbers_flags_and_words() {
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        assert!(number("18446744073709551616").unwrap_err().contains("too large"));
        assert!(number("-1").unwrap_err().contains("negative"));
        assert!(number("1e3").unwrap_err().contains("digits"));
        assert!(number("").is_err());
        assert_eq!(count::<u32>("7"), Ok(7));
        assert!(count::<u32>("4294967296").unwrap_err().contains("too large"));
        assert_eq!((flag("true"), flag("false")), (Ok(true), Ok(false)));
        assert!(flag("yes").unwrap_err().contains("`true`"));
        assert_eq!(choice("b", &["a", "b"]), Ok(1));
        assert!(choice("c", &["a", "b"]).unwrap_err().contains("a, b"));
    }
}
