//! What every program needs: `use brooklet::prelude::*;`

pub use crate::{
    BatchInfo, BoxError, Conf, Context, DStream, Error, FailurePolicy, OnError, QueuePolicy, Rdd,
    Receiver, State, StateSpec, StorageLevel, Store, Str, StreamingContext, StreamingListener,
    Time, Window, millis, minutes, seconds,
};
