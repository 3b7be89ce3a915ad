//! Types of which no schema can be had, and why.

use std::fmt;

use super::ty::{Def, Kind, Schema, Ty};

/// `T` has no schema: which part of it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opaque {
    type_name: &'static str,
    /// `Session.kind::B`.
    pub(crate) path: String,
    pub(crate) reason: Reason,
}

/// Why a type has no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `#[serde(flatten)]`.
    Flatten,
    /// The type asks the data what it is: untagged and tagged enums, dynamic values.
    Dynamic,
    /// No invented value passes the type's own checks.
    Refuses(String),
    /// Its `Deserialize` or `Serialize` panicked.
    Panics(String),
    /// No finite value was found.
    Endless,
    /// What one field is depends on the data of others.
    Varies(String),
    /// Not every variant or field could be reached.
    Incomplete(String),
    /// `Serialize` writes another form than `Deserialize` reads.
    Differs(String),
    /// A value that was written can't be read again, or comes back as another one.
    Lossy(String),
    /// `Option<Option<_>>`.
    NestedOption,
    /// `Option<()>`.
    OptionOfUnit,
}

impl Opaque {
    pub(super) fn new<T>(path: String, reason: Reason) -> Opaque {
        Opaque { type_name: std::any::type_name::<T>(), path, reason }
    }

    /// Whether values of the type survive being stored, so that a version number makes up for the schema.
    pub(crate) fn is_storable(&self) -> bool {
        !matches!(self.reason, Reason::Lossy(_) | Reason::NestedOption | Reason::OptionOfUnit)
    }

    /// What stands for the schema when the user has given the type a version (`.version(n)`).
    ///
    /// # Errors
    /// The same refusal for types whose values would be lost.
    pub(crate) fn version(self, version: u32) -> Result<Schema, Opaque> {
        if !self.is_storable() {
            return Err(self);
        }
        let name = short_name(self.type_name);
        Ok(Schema { root: Ty::Def(0), defs: vec![Def { name, kind: Kind::Opaque(version) }] })
    }
}

/// `Session` of `app::state::Session`; types with parameters keep them, shortened too.
pub(super) fn short_name(type_name: &str) -> String {
    let mut short = String::new();
    let mut word = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for (i, c) in type_name.char_indices() {
        if !is_word(c) {
            short.push_str(last_segment(&type_name[word..i]));
            short.push(c);
            word = i + c.len_utf8();
        }
    }
    short.push_str(last_segment(&type_name[word..]));
    short
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Flatten => f.write_str("it has `#[serde(flatten)]`"),
            Reason::Dynamic => f.write_str(
                "what it reads depends on the data (an untagged or tagged enum, or a dynamic value)",
            ),
            Reason::Refuses(text) => write!(f, "it accepts none of the values tried: {text}"),
            Reason::Panics(text) => {
                write!(f, "its `Deserialize` or `Serialize` panicked on a value tried: {text}")
            }
            Reason::Endless => f.write_str("no finite value of it was found"),
            Reason::Varies(text) => write!(f, "its form depends on other data: {text}"),
            Reason::Incomplete(text) => write!(f, "not all of it could be reached: {text}"),
            Reason::Differs(text) => {
                write!(f, "its `Serialize` and `Deserialize` don't have the same form: {text}")
            }
            Reason::Lossy(text) => write!(f, "a value doesn't survive being stored: {text}"),
            Reason::NestedOption => f.write_str(
                "`Option<Option<_>>` is stored as one `Option`, so `Some(None)` would come back as \
                 `None`; use an enum with three variants",
            ),
            Reason::OptionOfUnit => f.write_str(
                "`Option<()>` is stored as nothing, so `Some(())` would come back as `None`; use a `bool`",
            ),
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Opaque { type_name, path, reason } = self;
        if self.is_storable() {
            write!(
                f,
                "`{path}` of `{type_name}` has no schema: {reason}. Give the state a version with \
                 `.version(1)`; whenever the type changes, raise it and give a migration function"
            )
        } else {
            write!(f, "`{path}` of `{type_name}` can't be kept in state: {reason}")
        }
    }
}

impl std::error::Error for Opaque {}
