//! What is known about a receiver, and who is told.

pub use crate::scheduler::ReceiverInfo;

/// Who is told of a receiver's life. Called on receiver threads; must not block for long.
pub trait ReceiverEvents: Send + Sync {
    /// A receiver's code starts, for the first time or again.
    fn started(&self, info: ReceiverInfo);
    /// A receiver failed, panicked or reported an error.
    fn error(&self, info: ReceiverInfo);
    /// A receiver stopped for good; everything that it gave is stored.
    fn stopped(&self, info: ReceiverInfo);
}
