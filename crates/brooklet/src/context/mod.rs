//! The two contexts: [`Context`] runs jobs, [`StreamingContext`] runs a stream of them.

mod core;
#[cfg(feature = "http")]
mod http;
mod life_cycle;
mod shutdown;
mod files;
mod range;
mod streaming;

pub use self::core::Context;
pub(crate) use self::core::Inner;
pub use self::streaming::{ContextState, StreamingContext, StreamingContextBuilder};
