//! brooklet: micro-batch stream processing, after the design of Spark Streaming.
#![deny(missing_docs)]
// A chain of operators is one type; naming its parts would hide that.
#![allow(clippy::type_complexity)]
// Only the loopback engine has executors so far; with the feature on, dead code is reported.
#![cfg_attr(not(feature = "testing"), allow(dead_code))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod block;
mod checkpoint;
mod conf;
mod context;
mod data;
mod dstream;
pub mod engine;
mod error;
mod event_time;
#[cfg(feature = "http")]
mod http;
pub mod metrics;
pub mod prelude;
pub mod rdd;
pub mod receiver;
pub mod scheduler;
pub mod source;
mod state;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod time;

pub use block::StorageLevel;
pub use checkpoint::CheckpointError;
pub use conf::{
    Conf, ConfEntry, ConfKey, ConfKind, ConfOrigin, FailurePolicy, QueuePolicy, RefusedKeys,
    StateStore, defaults,
};
pub use context::{
    CheckpointMetrics, CheckpointOptions, Context, ContextState, StreamingContext,
    StreamingContextBuilder,
};
pub use data::{Data, HashSeed, Key, Wire};
pub use dstream::{
    BatchSessions, DStream, DeadLetter, ErasedNode, EventTimeStream, GraphRef, IntoRdd,
    KeysOfPartition, Node, Output, SaveOptions, StateSpec, StateStream, Windowed, WithKey,
};
pub use engine::{Accumulate, Accumulator, Broadcast, DoubleSum, LongSum, Site, TaskError};
pub use error::{BoxError, Error, Result};
pub use event_time::Window;
#[cfg(feature = "http")]
pub use http::{HttpOptions, Publisher, ServeOptions};
pub use rdd::{
    Erased, FutureAction, OnError, Ordered, Outcome, PartitionIter, Partitioner, PartitionerOf,
    Partitions, Pipe, RangePartitioner, Rdd, StatCounter,
};
pub use receiver::{AsyncReceiver, Receiver, Store};
pub use scheduler::{
    BatchInfo, ListenerId, OutputOperationInfo, ReceiverInfo, StatsReportListener, StreamInputInfo,
    StreamingListener,
};
pub use source::{Input, Queue, QueueOptions, SliceInfo, TextQueue};
pub use state::{OnFull, State, StateLimit};
pub use text::Str;
pub use time::{Interval, Time, format_duration, millis, minutes, parse_duration, seconds};
