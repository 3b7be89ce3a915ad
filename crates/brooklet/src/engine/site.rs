//! Names the culprit: which operator of the user's program a failure belongs to.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

use serde::{Deserialize, Serialize};

/// An operator of the user's program: its method and the place of the call. Errors, logs and the web
/// UI name operators by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The method, such as `map`.
    pub op: &'static str,
    /// Where the program calls it.
    pub at: &'static Location<'static>,
}

impl Site {
    /// The caller's place, for the method `op`.
    #[track_caller]
    pub fn here(op: &'static str) -> Site {
        Site { op, at: Location::caller() }
    }

    /// Runs user code on behalf of this operator. On the normal path this is just the call; when the
    /// code panics, the innermost site is noted for the error (see [`take_culprit`]).
    #[inline(always)]
    pub(crate) fn guard<R>(&self, f: impl FnOnce() -> R) -> R {
        let unwound = Unwound(self);
        let r = f();
        std::mem::forget(unwound);
        r
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}:{}:{})", self.op, self.at.file(), self.at.line(), self.at.column())
    }
}

/// A [`Site`] that can leave its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// The method, such as `map`.
    pub op: String,
    /// File, line and column of the call.
    pub at: String,
}

impl From<Site> for Blame {
    fn from(s: Site) -> Blame {
        Blame { op: s.op.into(), at: format!("{}:{}:{}", s.at.file(), s.at.line(), s.at.column()) }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.op, self.at)
    }
}

thread_local! {
    static CULPRIT: Cell<Option<Site>> = const { Cell::new(None) };
}

/// The innermost site of the panic that was just caught on this thread.
pub(crate) fn take_culprit() -> Option<Site> {
    CULPRIT.take()
}

struct Unwound<'a>(&'a Site);

impl Drop for Unwound<'_> {
    /// Only reached while unwinding. The innermost guard runs first and wins.
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        CULPRIT.set(CULPRIT.get().or(Some(*self.0)));
    }
}

/// The text of a caught panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(s), _) => (*s).to_string(),
        (_, Some(s)) => s.clone(),
        _ => "(a panic without a text)".into(),
    }
}
