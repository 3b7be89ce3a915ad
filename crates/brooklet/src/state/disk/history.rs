//! The versions of one partition: the newest one, and how to go back.

use crate::Time;
use crate::engine::{Site, TaskError};

/// `B` is what a version is made of, or what is needed to go back to it.
pub(super) struct History<B> {
    /// The batch that changed the partition last; [`Time::ZERO`] before the first.
    pub(super) version: Time,
    past: Vec<Past<B>>,
}

/// A batch that can be undone.
struct Past<B> {
    t: Time,
    /// The version before it.
    base: Time,
    before: B,
}

impl<B> Default for History<B> {
    fn default() -> Self {
        History { version: Time::ZERO, past: Vec::new() }
    }
}

impl<B> History<B> {
    /// Goes back to `base`, if that is known. Returns what there was then.
    pub(super) fn undo(&mut self, base: Time) -> Option<B> {
        let at = self.past.iter().position(|p| p.base == base)?;
        self.version = base;
        self.past.drain(at..).next().map(|p| p.before)
    }

    /// A batch begins.
    pub(super) fn begin(&mut self, t: Time, before: B) {
        self.past.push(Past { t, base: self.version, before });
        self.version = t;
    }

    /// Batches up to `up_to` won't be undone, nor versions before it read.
    pub(super) fn forget(&mut self, up_to: Time) {
        self.past.retain(|p| p.t > up_to);
    }

    /// What an older version is made of, if it is known.
    pub(super) fn before(&self, t: Time) -> Option<&B> {
        self.past.iter().find(|p| p.base == t).map(|p| &p.before)
    }

    #[cold]
    pub(super) fn gone(&self, site: Site, part: usize, wanted: Time) -> TaskError {
        TaskError::Input {
            message: format!(
                "state version of batch {wanted} of {site} is gone: partition {part} is at batch {}, and older \
                 versions are kept only as long as batches are remembered (`remember`)",
                self.version
            ),
        }
    }
}
