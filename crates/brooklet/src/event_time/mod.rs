//! Event time: when things happened, as their records tell, and how far it is known to be complete.
//!
//! Pure state machines without clock, threads and I/O:
//!
//! - `watermark`: how far event time is complete, from what each batch has shown
//! - `late`: which records of a batch are too late, or too far ahead to be believed
//! - `window`: [`Window`], and the windows of a record on a fixed grid
//! - `session`: the open sessions of one key
//!
//! Within batch t everything is decided against the watermark from before t, so neither the order of
//! records inside a batch nor the order of its tasks matters. At the end of t the watermark moves.

mod late;
mod session;
#[cfg(test)]
mod tests;
mod watermark;
mod window;

pub(crate) use late::{Placed, is_rejected};
pub(crate) use session::Sessions;
pub(crate) use watermark::{Progress, Watermark, WatermarkRule, lowest};
pub use window::Window;
pub(crate) use window::{Grid, window_millis};
