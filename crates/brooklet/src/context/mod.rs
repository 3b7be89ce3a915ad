//! The two contexts: [`Context`] runs jobs, [`StreamingContext`] runs a stream of them.

mod checkpoint;
mod core;
mod files;
#[cfg(feature = "http")]
mod http;
mod life_cycle;
mod range;
mod shutdown;
mod streaming;

pub use self::checkpoint::{CheckpointMetrics, CheckpointOptions};
pub use self::core::Context;
pub(crate) use self::core::Inner;
pub use self::streaming::{ContextState, StreamingContext, StreamingContextBuilder};
