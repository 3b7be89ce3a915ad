//! Receivers: user code that brings records in, and what makes blocks and batches of them.
//!
//! ```text
//! Receiver ─Store─► BlockGenerator ─► Supervisor ─► BlockStore
//!  own thread        timer, queue,      memory        │
//!                    push thread        chain         └─ block info ─► ReceiverTracker ─► batches
//! ```
//! A receiver has at most `receiver_max_unprocessed_bytes` in memory that no batch has processed. Above
//! that its blocks go to disk if their level has it, up to `receiver_max_spilled_bytes`; above that the
//! push thread waits, the queue (10 blocks, 32 MiB) fills, `store` waits, and so does the sender. Nothing
//! is dropped.

pub mod counters;

mod block_tracker;
mod control;
mod erased;
mod generator;
mod info;
mod limiter;
mod pending;
mod runtime;
mod store;
mod supervisor;
mod text;
mod tracker;

#[cfg(test)]
mod tests;

pub use block_tracker::{ReceivedBlockInfo, ReceivedBlockTracker, StreamBlocks, TrackerEvent};
pub use erased::{ErasedReceiver, erase, erase_async};
pub use info::{ReceiverEvents, ReceiverInfo};
pub use store::{Store, StoreError};
pub use text::HalfLines;
pub use tracker::{Allocation, ReceiverTracker};

pub(crate) use pending::block_of;
pub(crate) use runtime::IoRuntime;
pub(crate) use supervisor::{internal_stream, public_stream};
pub(crate) use text::cut_long_lines;

use crate::{BoxError, Result, Wire};

/// Code that brings records in, on a thread of its own.
///
/// ```
/// use brooklet::BoxError;
/// use brooklet::receiver::{Receiver, Store};
///
/// struct Countdown(u32);
///
/// impl Receiver for Countdown {
///     type Item = u32;
///     fn run(&mut self, out: &mut Store<u32>) -> Result<(), BoxError> {
///         while self.0 > 0 && !out.is_stopped() {
///             out.store(self.0)?;
///             self.0 -= 1;
///         }
///         Ok(()) // the source has ended
///     }
/// }
/// ```
pub trait Receiver: Send + 'static {
    /// The records.
    type Item: Wire;

    /// Called once when the context starts, on the thread that starts it, before any receiver runs: the
    /// place to take ports, read files and check settings.
    ///
    /// # Errors
    /// End the start of the context.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Receives until the source ends or [`Store::is_stopped`]. May block; give [`Store::on_stop`] what
    /// unblocks it.
    ///
    /// `Ok`: the source has ended, the receiver stops. `Err` or a panic: it is reported, and `run` is
    /// called again, on the same object, after `receiver_restart_delay`.
    fn run(&mut self, out: &mut Store<Self::Item>) -> Result<(), BoxError>;

    /// The host that it would like to run on. Without meaning on one machine.
    fn preferred_location(&self) -> Option<String> {
        None
    }

    /// The name that errors, listeners and the UI show. Default: the type's.
    fn name(&self) -> String {
        type_name::<Self>()
    }
}

/// Like [`Receiver`], for code that is `async`.
///
/// Its future is polled on the receiver's own thread, inside a tokio runtime that drives sockets and
/// timers; blocking in [`Store`]'s calls stops nothing else. After a stop it has a fifth of a second to
/// return, then it is dropped at its next await.
pub trait AsyncReceiver: Send + 'static {
    /// The records.
    type Item: Wire;

    /// See [`Receiver::prepare`].
    ///
    /// # Errors
    /// End the start of the context.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// See [`Receiver::run`].
    fn run(
        &mut self,
        out: &mut Store<Self::Item>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// See [`Receiver::preferred_location`].
    fn preferred_location(&self) -> Option<String> {
        None
    }

    /// See [`Receiver::name`].
    fn name(&self) -> String {
        type_name::<Self>()
    }
}

/// The name of a type without the path of its module.
fn type_name<R: ?Sized>() -> String {
    let full = std::any::type_name::<R>();
    let end = full.find('<').unwrap_or(full.len());
    full[..end].rsplit("::").next().unwrap_or(full).to_owned()
}
