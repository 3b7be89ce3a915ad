//! Behaviour of streams and of the engine below them, through the public API, on the local and on the
//! loopback engine. Nothing sleeps; results are compared as multisets or exactly, never as sets.

#![allow(clippy::unwrap_used, clippy::type_complexity)] // a failed step is a failed test

mod batch_time;
mod bounded_state;
mod cases;
mod checkpoint;
mod compile_fail;
mod engines;
mod event_time;
mod external;
mod failures;
mod life_cycle;
mod lineage;
mod operators;
mod oracle;
mod order;
mod rdd_ops;
mod review;
mod save;
mod seams;
mod serve;
mod stateful;
mod windows;

use std::time::Duration;

use brooklet::prelude::*;
use brooklet::testing::{Driver, TestEngine};
use brooklet::{Queue, Wire};

/// What every behaviour is tried on.
const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// Ends a test that hangs; decides nothing else.
const HANG: Duration = Duration::from_secs(60);

/// A driver over one queue of `T`; `program` adds the outputs.
fn driver<T: Wire>(
    engine: TestEngine,
    conf: Conf,
    program: impl Fn(&StreamingContext, &DStream<T>),
) -> Driver<Queue<T>> {
    let made = Driver::with(engine, conf, |ssc| {
        let (queue, stream) = ssc.queue_stream::<T>();
        program(ssc, &stream);
        Ok(queue)
    });
    made.unwrap_or_else(|e| panic!("{engine:?}: {e}"))
}

fn conf() -> Conf {
    Driver::<()>::conf()
}

fn sorted<T: Ord>(mut v: Vec<T>) -> Vec<T> {
    v.sort();
    v
}
