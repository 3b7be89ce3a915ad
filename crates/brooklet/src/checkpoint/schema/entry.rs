//! The encoding of single entries: MessagePack with field names.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::opaque::short_name;
use crate::Key;

/// Arrays and maps one inside the other that an entry may have, in levels. Reading takes stack for each,
/// and has to succeed on any thread that writing succeeded on.
const MAX_DEPTH: usize = 500;

/// An entry couldn't be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryError {
    /// A value's `Serialize` failed. Fix the type.
    Encode {
        /// Its type.
        of: String,
        /// What is wrong.
        problem: String,
    },
    /// Bytes aren't an entry of this type: they are of another version of it, or damaged.
    Decode {
        /// Its type.
        of: String,
        /// The field, from the type on: `Session.hits`.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key isn't the same after it was written and read, so that it would be found as another one.
    UnstableKey {
        /// Its type.
        of: String,
        /// What is different.
        problem: String,
    },
}

/// Appends the entry to `out`, which is as before if it fails. The same value gives the same bytes, as long
/// as it has the same order: hash maps and sets don't.
///
/// # Errors
/// [`EntryError::Encode`] when `Serialize` fails, or when the value is nested too deeply to be read again.
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EntryError> {
    let start = out.len();
    let written = rmp_serde::encode::write_named(out, value).map_err(|e| e.to_string());
    // A level takes a byte at least, so short entries can't be too deep.
    let problem = match written {
        Err(problem) => Some(problem),
        Ok(()) if out.len() - start > MAX_DEPTH && depth(&out[start..]) > MAX_DEPTH => Some(
            format!("it is nested deeper than {MAX_DEPTH} levels; keep long chains in a `Vec`"),
        ),
        Ok(()) => None,
    };
    match problem {
        None => Ok(()),
        Some(problem) => {
            out.truncate(start);
            Err(EntryError::Encode { of: type_name::<T>(), problem })
        }
    }
}

/// Reads an entry, which must be all of `bytes`.
///
/// # Errors
/// [`EntryError::Decode`], with the place.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    match T::deserialize(&mut reader) {
        // Nothing may be left: asking for one more value must fail.
        Ok(value) if <IgnoredAny as serde::Deserialize>::deserialize(&mut reader).is_err() => {
            Ok(value)
        }
        Ok(_) => Err(decode_error::<T>("", "bytes are left over after it".to_string())),
        Err(e) => Err(located::<T>(bytes, e)),
    }
}

/// Reads again, slowly, to find the place of the error.
#[cold]
fn located<T: DeserializeOwned>(bytes: &[u8], first: rmp_serde::decode::Error) -> EntryError {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => decode_error::<T>("", problem(&first)),
        Err(e) => decode_error::<T>(&e.path().to_string(), problem(e.inner())),
    }
}

/// An error of the reader in words that don't take knowing the format.
#[cold]
fn problem(e: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match e {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => {
            "the bytes end too early".to_string()
        }
        Error::TypeMismatch(marker) => {
            let marker = format!("{marker:?}");
            let found = [
                ("Str", "text"),
                ("Array", "a sequence"),
                ("Map", "a struct or map"),
                ("Bin", "bytes"),
                ("Null", "nothing"),
            ];
            let found = found.iter().find(|(m, _)| marker.contains(m)).map_or("a number", |f| f.1);
            format!("{found} is stored there, which the type doesn't read")
        }
        e => e.to_string(),
    }
}

#[cold]
fn decode_error<T>(path: &str, problem: String) -> EntryError {
    let of = type_name::<T>();
    let path = match path {
        "" | "." => of.clone(),
        path if path.starts_with('[') => format!("{of}{path}"),
        path => format!("{of}.{path}"),
    };
    EntryError::Decode { of, path, problem }
}

/// Whether a key is found again: read from its bytes it must be equal, and have the same bytes. For the
/// first keys of an operator; fields that are skipped and hash maps inside a key show themselves here.
///
/// # Errors
/// [`EntryError::UnstableKey`], or what writing and reading give.
pub(crate) fn check_key<K: Key>(key: &K) -> Result<(), EntryError> {
    let (mut first, mut second) = (vec![], vec![]);
    encode_into(key, &mut first)?;
    let again: K = decode(&first)?;
    encode_into(&again, &mut second)?;
    let problem = if again != *key {
        "read from its own bytes it isn't equal to itself (a skipped field?)"
    } else if first != second {
        "the same key has several encodings (a hash map or set in it?)"
    } else {
        return Ok(());
    };
    Err(EntryError::UnstableKey { of: type_name::<K>(), problem: problem.to_string() })
}

fn type_name<T: ?Sized>() -> String {
    short_name(std::any::type_name::<T>())
}

/// How many arrays and maps are one inside the other, in well-formed bytes.
fn depth(bytes: &[u8]) -> usize {
    // Values still to come, per open array or map.
    let mut open: Vec<u64> = vec![];
    let mut deepest = 0;
    let mut rest = bytes;
    while let Some((&marker, after)) = rest.split_first() {
        rest = after;
        let mut number = |width: usize| {
            let (head, tail) = rest.split_at(width.min(rest.len()));
            rest = tail;
            head.iter().fold(0u64, |n, b| n << 8 | u64::from(*b))
        };
        let (skip, values) = match marker {
            0x80..=0x8f => (0, Some(u64::from(marker & 0x0f) * 2)),
            0x90..=0x9f => (0, Some(u64::from(marker & 0x0f))),
            0xa0..=0xbf => (u64::from(marker & 0x1f), None),
            0xc4 | 0xd9 => (number(1), None),
            0xc5 | 0xda => (number(2), None),
            0xc6 | 0xdb => (number(4), None),
            0xc7 => (number(1) + 1, None),
            0xc8 => (number(2) + 1, None),
            0xc9 => (number(4) + 1, None),
            0xcc | 0xd0 => (1, None),
            0xcd | 0xd1 => (2, None),
            0xca | 0xce | 0xd2 => (4, None),
            0xcb | 0xcf | 0xd3 => (8, None),
            0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, None),
            0xdc => (0, Some(number(2))),
            0xdd => (0, Some(number(4))),
            0xde => (0, Some(number(2) * 2)),
            0xdf => (0, Some(number(4) * 2)),
            _ => (0, None),
        };
        rest = rest.get(skip as usize..).unwrap_or_default();
        if let Some(values) = values {
            open.push(values);
            deepest = deepest.max(open.len());
        } else if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        while open.last() == Some(&0) {
            open.pop();
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
        }
    }
    deepest
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::Encode { of, problem } => {
                write!(f, "an entry of `{of}` can't be written: {problem}")
            }
            EntryError::Decode { path, problem, .. } => {
                write!(f, "a stored entry can't be read at `{path}`: {problem}")
            }
            EntryError::UnstableKey { of, problem } => {
                write!(f, "`{of}` can't be the key of stored state: {problem}")
            }
        }
    }
}

impl std::error::Error for EntryError {}
