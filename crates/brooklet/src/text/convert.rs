//! [`Str`] from and to other types: std's traits and serde's.

use super::block::TextBlock;
use super::pins;
use super::string::Str;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

impl Str {
    /// A `Str` of a literal.
    ///
    /// As `Str::from`; the name says that no lifetime is meant. Text longer than [`Str::INLINE`]
    /// is copied once into a block of its own, as a literal has no padding.
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from_static("GET"), "GET");
    /// ```
    #[inline]
    pub fn from_static(text: &'static str) -> Str {
        Str::copied(text)
    }
}

impl Default for Str {
    /// The empty text.
    #[inline]
    fn default() -> Str {
        Str::new()
    }
}

impl From<&str> for Str {
    #[inline]
    fn from(text: &str) -> Str {
        Str::copied(text)
    }
}

impl From<String> for Str {
    /// Keeps the memory of a long `text`, unless more than half of it would be idle.
    fn from(text: String) -> Str {
        let needed = text.len() + TextBlock::PAD;
        if text.len() <= Str::INLINE || text.capacity() > 2 * needed {
            Str::copied(&text)
        } else {
            TextBlock::from_string(text).text()
        }
    }
}

impl From<&String> for Str {
    #[inline]
    fn from(text: &String) -> Str {
        Str::copied(text)
    }
}

impl From<char> for Str {
    #[inline]
    fn from(c: char) -> Str {
        Str::copied(c.encode_utf8(&mut [0; 4]))
    }
}

impl From<Cow<'_, str>> for Str {
    fn from(text: Cow<'_, str>) -> Str {
        match text {
            Cow::Borrowed(text) => Str::copied(text),
            Cow::Owned(text) => Str::from(text),
        }
    }
}

impl FromStr for Str {
    type Err = Infallible;

    #[inline]
    fn from_str(text: &str) -> Result<Str, Infallible> {
        Ok(Str::copied(text))
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.as_str().to_owned()
    }
}

impl FromIterator<char> for Str {
    fn from_iter<I: IntoIterator<Item = char>>(chars: I) -> Str {
        Str::from(String::from_iter(chars))
    }
}

impl<'a> FromIterator<&'a str> for Str {
    fn from_iter<I: IntoIterator<Item = &'a str>>(parts: I) -> Str {
        Str::from(String::from_iter(parts))
    }
}

impl AsRef<str> for Str {
    #[inline]
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

macro_rules! eq_by_str {
    ($($other:ty),*) => {$(
        impl PartialEq<$other> for Str {
            #[inline]
            fn eq(&self, other: &$other) -> bool {
                let other: &str = other;
                self.as_str() == other
            }
        }

        impl PartialEq<Str> for $other {
            #[inline]
            fn eq(&self, other: &Str) -> bool {
                let this: &str = self;
                this == other.as_str()
            }
        }
    )*};
}
eq_by_str!(str, &str, String);

impl Serialize for Str {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pins::note(self);
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Str {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Str, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Takes text in whatever form the format has it, so that short text is never allocated.
struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    // Also what `visit_borrowed_str` does unless told otherwise.
    fn visit_str<E: Error>(self, text: &str) -> Result<Str, E> {
        Ok(Str::copied(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Str, E> {
        Ok(Str::from(text))
    }
}
