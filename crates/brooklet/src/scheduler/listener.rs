//! What a program can learn while its stream runs: events for listeners, and their payloads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Time;
use crate::time::Timestamp;

/// Hears of everything that happens to receivers, batches and output operations.
///
/// Events come one at a time, in order, on a thread of their own: a slow listener delays other
/// listeners, never the stream. Above `defaults::LISTENER_QUEUE` waiting events the oldest are dropped
/// and counted. A listener that panics is reported and removed; the stream goes on.
#[allow(unused_variables)]
pub trait StreamingListener: Send + 'static {
    /// The stream was started, at this moment of its clock.
    fn on_streaming_started(&mut self, at: Timestamp) {}
    /// A receiver runs.
    fn on_receiver_started(&mut self, receiver: &ReceiverInfo) {}
    /// A receiver reported an error; it may be restarted.
    fn on_receiver_error(&mut self, receiver: &ReceiverInfo) {}
    /// A receiver stopped.
    fn on_receiver_stopped(&mut self, receiver: &ReceiverInfo) {}
    /// A batch got its input and waits for a job thread.
    fn on_batch_submitted(&mut self, batch: &BatchInfo) {}
    /// The first work of a batch started.
    fn on_batch_started(&mut self, batch: &BatchInfo) {}
    /// All work of a batch is over, with or without failures.
    fn on_batch_completed(&mut self, batch: &BatchInfo) {}
    /// An output operation of a batch started.
    fn on_output_operation_started(&mut self, output: &OutputOperationInfo) {}
    /// An output operation of a batch ended; see [`OutputOperationInfo::failure_reason`].
    fn on_output_operation_completed(&mut self, output: &OutputOperationInfo) {}
}

/// A listener made of a closure that is called with each completed batch.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::scheduler::listener::batch_completed;
/// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
/// ssc.add_listener(batch_completed(|b| println!("{} took {:?}", b.batch_time, b.total_delay())));
/// # Ok::<(), brooklet::Error>(())
/// ```
pub fn batch_completed(f: impl FnMut(&BatchInfo) + Send + 'static) -> impl StreamingListener {
    BatchCompletedFn(f)
}

/// A listener made of a closure that is called with each ended output operation.
pub fn output_completed(
    f: impl FnMut(&OutputOperationInfo) + Send + 'static,
) -> impl StreamingListener {
    OutputCompletedFn(f)
}

struct BatchCompletedFn<F>(F);

impl<F: FnMut(&BatchInfo) + Send + 'static> StreamingListener for BatchCompletedFn<F> {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        (self.0)(batch);
    }
}

struct OutputCompletedFn<F>(F);

impl<F: FnMut(&OutputOperationInfo) + Send + 'static> StreamingListener for OutputCompletedFn<F> {
    fn on_output_operation_completed(&mut self, output: &OutputOperationInfo) {
        (self.0)(output);
    }
}

/// What one input gave to one batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamInputInfo {
    /// The input, numbered in the order of definition.
    pub input_stream_id: usize,
    /// Records in the batch.
    pub num_records: u64,
    /// More that the input tells, such as file names or offset ranges.
    pub metadata: BTreeMap<String, String>,
}

impl StreamInputInfo {
    /// The key of [`StreamInputInfo::metadata_description`].
    pub const DESCRIPTION: &'static str = "Description";

    /// An input's records, without more.
    pub fn new(input_stream_id: usize, num_records: u64) -> StreamInputInfo {
        StreamInputInfo { input_stream_id, num_records, metadata: BTreeMap::new() }
    }

    /// A text for people about what was taken, when the input gave one.
    pub fn metadata_description(&self) -> Option<&str> {
        self.metadata.get(Self::DESCRIPTION).map(String::as_str)
    }
}

/// A batch, as far as it has come. Moments are those of the stream's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchInfo {
    /// The batch.
    pub batch_time: Time,
    /// What each input gave.
    pub stream_id_to_input_info: BTreeMap<usize, StreamInputInfo>,
    /// When the batch had its input and was queued.
    pub submission_time: Timestamp,
    /// When its first work started.
    pub processing_start_time: Option<Timestamp>,
    /// When its last work ended.
    pub processing_end_time: Option<Timestamp>,
    /// Its output operations, by id.
    pub output_operation_infos: BTreeMap<usize, OutputOperationInfo>,
}

impl BatchInfo {
    /// From the tick that the batch is named after to its submission.
    pub fn generation_delay(&self) -> Duration {
        self.submission_time.since(self.batch_time.into())
    }

    /// From submission to the start of its first work.
    pub fn scheduling_delay(&self) -> Option<Duration> {
        self.processing_start_time.map(|t| t.since(self.submission_time))
    }

    /// From the start of its first work to the end of its last.
    pub fn processing_delay(&self) -> Option<Duration> {
        Some(self.processing_end_time?.since(self.processing_start_time?))
    }

    /// [`scheduling_delay`](Self::scheduling_delay) plus [`processing_delay`](Self::processing_delay).
    pub fn total_delay(&self) -> Option<Duration> {
        Some(self.scheduling_delay()? + self.processing_delay()?)
    }

    /// Records of all inputs.
    pub fn num_records(&self) -> u64 {
        self.stream_id_to_input_info.values().map(|i| i.num_records).sum()
    }

    /// Whether any of its output operations failed or could not run.
    pub fn is_failed(&self) -> bool {
        self.output_operation_infos.values().any(|o| o.failure_reason.is_some())
    }
}

/// One output operation in one batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputOperationInfo {
    /// The batch.
    pub batch_time: Time,
    /// The output, numbered in the order of definition.
    pub id: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Its call site, or what else describes it.
    pub description: Arc<str>,
    /// When it started; `None` also when it never ran.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Why it failed or did not run.
    pub failure_reason: Option<String>,
}

impl OutputOperationInfo {
    /// From start to end.
    pub fn duration(&self) -> Option<Duration> {
        Some(self.end_time?.since(self.start_time?))
    }
}

/// A receiver, as last heard of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiverInfo {
    /// The input stream it feeds.
    pub stream_id: usize,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// The host it runs on.
    pub location: String,
    /// The executor it runs on.
    pub executor_id: String,
    /// The last error in short; empty when there was none.
    pub last_error_message: String,
    /// The last error with its causes; empty when there was none.
    pub last_error: String,
    /// When the last error came.
    pub last_error_time: Option<Timestamp>,
}

/// What travels to the listeners.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    StreamingStarted(Timestamp),
    ReceiverStarted(Box<ReceiverInfo>),
    ReceiverError(Box<ReceiverInfo>),
    ReceiverStopped(Box<ReceiverInfo>),
    BatchSubmitted(Arc<BatchInfo>),
    BatchStarted(Arc<BatchInfo>),
    BatchCompleted(Arc<BatchInfo>),
    OutputStarted(Box<OutputOperationInfo>),
    OutputCompleted(Box<OutputOperationInfo>),
}

impl Event {
    /// Calls the listener's method for this event.
    pub(crate) fn tell(&self, l: &mut dyn StreamingListener) {
        match self {
            Event::StreamingStarted(at) => l.on_streaming_started(*at),
            Event::ReceiverStarted(r) => l.on_receiver_started(r),
            Event::ReceiverError(r) => l.on_receiver_error(r),
            Event::ReceiverStopped(r) => l.on_receiver_stopped(r),
            Event::BatchSubmitted(b) => l.on_batch_submitted(b),
            Event::BatchStarted(b) => l.on_batch_started(b),
            Event::BatchCompleted(b) => l.on_batch_completed(b),
            Event::OutputStarted(o) => l.on_output_operation_started(o),
            Event::OutputCompleted(o) => l.on_output_operation_completed(o),
        }
    }
}

/// A listener's ticket, for its removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ListenerId(pub(crate) u64);

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}", self.0)
    }
}
