//! Why a pass ended early.

use std::fmt;

use serde::de;

use super::super::opaque::Reason;

/// The error of the probe.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stop {
    /// Something was learnt; the pass has to begin again.
    Again,
    /// The visitor misses a field.
    Missing(&'static str),
    /// The visitor has met a field before.
    Duplicate(&'static str),
    /// The visitor doesn't know a field.
    UnknownField,
    Dynamic,
    Flatten,
    /// No choice is left that ends.
    Endless,
    Varies(String),
    /// The type's own words.
    Other(String),
}

impl Stop {
    /// Whether another value wouldn't help.
    pub fn is_final(&self) -> bool {
        matches!(self, Stop::Dynamic | Stop::Flatten | Stop::Endless | Stop::Varies(_))
    }

    pub fn reason(self) -> Reason {
        match self {
            Stop::Dynamic => Reason::Dynamic,
            Stop::Flatten => Reason::Flatten,
            Stop::Endless => Reason::Endless,
            Stop::Varies(text) => Reason::Varies(text),
            other => Reason::Refuses(other.to_string()),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Missing(name) => write!(f, "missing field `{name}`"),
            Stop::Duplicate(name) => write!(f, "duplicate field `{name}`"),
            Stop::Other(text) => f.write_str(text),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(text: T) -> Stop {
        Stop::Other(text.to_string())
    }
    fn missing_field(name: &'static str) -> Stop {
        Stop::Missing(name)
    }
    fn duplicate_field(name: &'static str) -> Stop {
        Stop::Duplicate(name)
    }
    fn unknown_field(_: &str, _: &'static [&'static str]) -> Stop {
        Stop::UnknownField
    }
}
