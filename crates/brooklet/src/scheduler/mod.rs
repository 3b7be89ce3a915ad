//! Makes batches at the ticks of the clock, runs their work in order, tells who listens.
//!
//! ```text
//!  clock ──► a job thread leads ── allocate(t) ──► BatchQueue ──► job threads ── steps, outputs, clean-up
//!                                                      │
//!                            metrics (synchronous) ◄───┴───► listener bus (own thread)
//! ```
//! The scheduler knows nothing of streams: it drives a `BatchGraph`. User code runs on job threads and
//! on the listeners' thread, never on the one that leads.

mod bus;
mod generator;
mod input_info;
mod job_scheduler;
mod life_cycle;
pub mod listener;
mod queue;
mod shared;
mod stats;
mod stop;
#[cfg(test)]
mod tests;

pub use listener::{
    BatchInfo, ListenerId, OutputOperationInfo, ReceiverInfo, StreamInputInfo, StreamingListener,
};
pub use stats::StatsReportListener;

pub(crate) use bus::ListenerBus;
pub(crate) use life_cycle::{Scheduler, Stage};
pub(crate) use listener::Event;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Result, Time};

/// An output operation, as the graph knows it.
#[derive(Clone, Debug)]
pub(crate) struct OutputMeta {
    pub(crate) name: String,
    pub(crate) description: String,
}

/// What the scheduler drives: inputs, steps and outputs of all batches.
pub(crate) trait BatchGraph: Send + Sync + 'static {
    /// Called once by `start`, before the first tick, with the zero time: set the grid, start inputs. An
    /// error is that of `start`; then nothing else is called.
    fn begin(&self, zero: Time) -> Result<()> {
        let _ = zero;
        Ok(())
    }
    /// Chooses the input of batch `t`, on the thread that waits for ticks; never runs user code. `empty`: this
    /// time gets no input (queue policy `merge`). An error fails the batch like a failed step.
    fn allocate(&self, t: Time, empty: bool) -> Result<Vec<StreamInputInfo>>;
    /// Whether `run_steps` has anything to do; asked once, at the start.
    fn has_steps(&self) -> bool;
    /// All steps (state, windows, transforms) of `t`, once each, in creation order. Called in batch order,
    /// never overlapping, never twice for a batch.
    fn run_steps(&self, t: Time) -> Result<()>;
    /// The output operations; asked once, at the start. Ids are 0.. in order.
    fn outputs(&self) -> Vec<OutputMeta>;
    /// Runs one output operation; called again for each retry of the failure policy.
    fn run_output(&self, output: usize, t: Time) -> Result<()>;
    /// Asks the running jobs of `t` to stop at their next chunk. May come from any thread.
    fn cancel(&self, t: Time);
    /// Allocation or a step of `t` failed for good and the policy is skip: version t = t-1. Comes before
    /// the next batch's steps.
    fn roll_back(&self, t: Time);
    /// All work of `t` is over: what is known of its input only now, by inputs that count while they read.
    fn batch_over(&self, t: Time) -> Result<Vec<StreamInputInfo>> {
        let _ = t;
        Ok(Vec::new())
    }
    /// All work of `t` is over, well or not: clean-up. In batch order. Not called for batches that a stop
    /// cut short; for them there is `stop_graph`.
    fn completed(&self, t: Time);
    /// Graceful stop: whether there is received input that is in no batch yet.
    fn has_unallocated(&self) -> bool;
    /// Stops what receives. Graceful waits until everything received is stored; it runs on a thread of
    /// its own, and the other form may be called while it is under way (time-out, second stop).
    fn stop_inputs(&self, graceful: bool);
    /// The inputs' own stop, after the last batch.
    fn stop_graph(&self);
}

/// Runs a piece of the graph; a panic that comes this far is our defect.
fn guarded<T>(what: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|p| Err(Error::Bug(format!("panic in {what}: {}", panic_text(&*p)))))
}

/// The text of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
