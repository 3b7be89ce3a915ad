//! What is known about a receiver, and who is told.

use crate::time::Timestamp;

/// The state of a receiver, as listeners and the UI see it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReceiverInfo {
    /// The stream's number.
    pub stream_id: u32,
    /// The receiver's name.
    pub name: String,
    /// Whether its code runs now.
    pub active: bool,
    /// The host that it runs on.
    pub location: String,
    /// The executor that it runs on.
    pub executor_id: String,
    /// What the last reported error was about; empty: none so far.
    pub last_error_message: String,
    /// The last error itself.
    pub last_error: String,
    /// When it was reported.
    pub last_error_time: Option<Timestamp>,
}

/// Who is told of a receiver's life. Called on receiver threads; must not block for long.
pub trait ReceiverEvents: Send + Sync {
    /// A receiver's code starts, for the first time or again.
    fn started(&self, info: ReceiverInfo);
    /// A receiver failed, panicked or reported an error.
    fn error(&self, info: ReceiverInfo);
    /// A receiver stopped for good; everything that it gave is stored.
    fn stopped(&self, info: ReceiverInfo);
}
