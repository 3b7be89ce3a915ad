//! What the scheduler drives: inputs, steps and outputs of one graph.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::block::BlockId;
use crate::dstream::{Graph, InputOperator, Kind, Operator};
use crate::engine::{panic_text, take_culprit};
use crate::receiver::{ReceiverEvents, ReceiverTracker};
use crate::scheduler::{BatchGraph, Event, ListenerBus, OutputMeta, ReceiverInfo, StreamInputInfo};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time, millis};

/// The graph with its receivers, as the scheduler sees it.
pub(super) struct Driver {
    graph: Arc<Graph>,
    tracker: Arc<ReceiverTracker>,
    running: Mutex<Option<Arc<Running>>>,
    /// A graceful stop is under way.
    gracefully: AtomicBool,
}

/// The operators by kind, fixed at the start.
struct Running {
    inputs: Vec<Arc<dyn InputOperator>>,
    steps: Vec<Arc<dyn Operator>>,
    outputs: Vec<Arc<dyn Operator>>,
}

impl Driver {
    pub(super) fn new(graph: Arc<Graph>, tracker: Arc<ReceiverTracker>) -> Driver {
        Driver { graph, tracker, running: Mutex::default(), gracefully: AtomicBool::new(false) }
    }

    fn running(&self) -> Arc<Running> {
        let make = || {
            Arc::new(Running {
                inputs: self.graph.inputs(),
                steps: self.graph.of_kind(Kind::Step),
                outputs: self.graph.outputs().into_iter().map(|(_, op)| op).collect(),
            })
        };
        self.running.get().get_or_insert_with(make).clone()
    }

    /// A panic outside of tasks and of closures that have their own guard.
    fn guarded(what: &str, f: impl FnOnce() -> Result<()>) -> Result<()> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or_else(|p| {
            let text = panic_text(&*p);
            Err(match take_culprit() {
                Some(site) => Error::usage(format!("closure of {site} panicked: {text}")),
                None => Error::Bug(format!("panic in {what}: {text}")),
            })
        })
    }
}

impl BatchGraph for Driver {
    fn begin(&self, zero: Time) -> Result<()> {
        self.graph.set_zero(self.graph.open_checkpoints(zero)?);
        #[cfg(feature = "http")]
        self.graph.http.start(self.tracker.io(), self.graph.ctx.conf())?;
        let running = self.running();
        for (i, input) in running.inputs.iter().enumerate() {
            if let Err(e) = input.start(&self.graph) {
                running.inputs[..i].iter().for_each(|started| started.stop());
                return Err(e);
            }
        }
        self.tracker.start().inspect_err(|_| {
            self.tracker.stop(false);
            running.inputs.iter().for_each(|i| i.stop());
        })
    }

    fn allocate(&self, t: Time, empty: bool) -> Result<Vec<StreamInputInfo>> {
        if self.tracker.num_receivers() > 0 {
            self.tracker.allocate(t, empty)?;
        }
        self.graph.flush_in(t);
        let mut infos = Vec::new();
        for input in &self.running().inputs {
            infos.extend(input.allocate(&self.graph, t, empty)?);
        }
        if !self.has_steps() {
            self.graph.is_ready(t);
        }
        Ok(infos)
    }

    fn has_steps(&self) -> bool {
        !self.running().steps.is_empty()
    }

    fn run_steps(&self, t: Time) -> Result<()> {
        let checkpoints = self.graph.checkpoints();
        if let Some(c) = &checkpoints {
            c.begin(t);
        }
        let all = self
            .running()
            .steps
            .iter()
            .try_for_each(|step| Driver::guarded("a step", || step.run(&self.graph, t)));
        if let Some(c) = checkpoints {
            match &all {
                Ok(()) => Driver::guarded("a checkpoint", || c.end(t))?,
                Err(_) => c.abandon(t),
            }
        }
        all?;
        self.graph.is_ready(t);
        Ok(())
    }

    fn outputs(&self) -> Vec<OutputMeta> {
        self.graph.outputs().into_iter().map(|(meta, _)| meta).collect()
    }

    fn run_output(&self, output: usize, t: Time) -> Result<()> {
        let running = self.running();
        Driver::guarded("an output", || running.outputs[output].run(&self.graph, t))
    }

    fn cancel(&self, t: Time) {
        self.graph.cancel(t);
    }

    fn roll_back(&self, t: Time) {
        self.running().steps.iter().for_each(|s| s.roll_back(t));
        self.graph.has_failed(t);
    }

    fn batch_over(&self, t: Time) -> Result<Vec<StreamInputInfo>> {
        let mut infos = Vec::new();
        for input in &self.running().inputs {
            infos.extend(input.batch_over(t)?);
        }
        Ok(infos)
    }

    fn completed(&self, t: Time) {
        self.graph.completed(t);
        if self.tracker.num_receivers() > 0
            && let Err(e) = self.tracker.release(self.graph.forgotten(t) + millis(1))
        {
            tracing::error!("releasing received blocks up to {t}: {e}");
        }
    }

    fn has_unallocated(&self) -> bool {
        self.tracker.has_unallocated()
            || self.running().inputs.iter().any(|i| i.has_unallocated())
            || self.graph.needs_flush()
    }

    fn stop_inputs(&self, graceful: bool) {
        self.gracefully.store(graceful, Relaxed);
        self.tracker.stop(graceful);
        self.running().inputs.iter().for_each(|i| i.stop_receiving(graceful));
    }

    fn stop_graph(&self) {
        self.running().inputs.iter().for_each(|i| i.stop());
        #[cfg(feature = "http")]
        self.graph.http.stop();
        let last = self.gracefully.load(Relaxed);
        let closed = Driver::guarded("the last checkpoint", || self.graph.close_checkpoints(last));
        if let Err(e) = closed {
            tracing::error!("the last checkpoint isn't written: {e}");
        }
        // Nothing runs any more. What the closures hold goes (the context itself, if they stop it), and
        // received blocks that no batch will read.
        let graph = self.graph.id;
        let mine = |id: BlockId| id.stream().is_some_and(|s| s >> 16 == graph);
        self.graph.ctx.0.env.blocks.remove_all(mine);
        drop(self.running.get().take());
        self.graph.clear();
    }
}

/// Passes receivers' events to the listeners.
#[derive(Default)]
pub(super) struct ToListeners(pub(super) OnceLock<Arc<ListenerBus>>);

impl ToListeners {
    fn post(&self, info: ReceiverInfo, event: impl FnOnce(Box<ReceiverInfo>) -> Event) {
        if let Some(bus) = self.0.get() {
            bus.post(|| event(Box::new(info)));
        }
    }
}

impl ReceiverEvents for ToListeners {
    fn started(&self, info: ReceiverInfo) {
        tracing::info!(stream = info.stream_id, "receiver {} started", info.name);
        self.post(info, Event::ReceiverStarted);
    }
    fn error(&self, info: ReceiverInfo) {
        tracing::warn!(
            stream = info.stream_id,
            "receiver {}: {}: {}",
            info.name,
            info.last_error_message,
            info.last_error
        );
        self.post(info, Event::ReceiverError);
    }
    fn stopped(&self, info: ReceiverInfo) {
        tracing::info!(stream = info.stream_id, "receiver {} stopped", info.name);
        self.post(info, Event::ReceiverStopped);
    }
}
