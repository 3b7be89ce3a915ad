//! Operators and actions of RDDs: against plain programs over the same records, and their edge cases. What
//! runs tasks is tried on the local and on the loopback engine, there in `transform`, where a stream's
//! program meets it.

mod actions;
mod edges;
mod files;
pub mod oracle;
mod partitions;

use std::fmt::Debug;

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{Rdd, Result, Wire};

use super::{ENGINES, conf};

/// A context on two threads, whose hashes are always the same.
fn context() -> Context {
    Context::new(conf()).unwrap()
}

/// What `program` makes of an RDD with these partitions, on this engine.
fn records_on<T: Wire, U: Wire>(
    engine: TestEngine,
    conf: Conf,
    parts: &[Vec<T>],
    program: impl Fn(Rdd<T>) -> Result<Rdd<U>> + Clone + Send + Sync + 'static,
) -> Result<Vec<U>> {
    let out = Collector::new();
    let mut driver = Driver::with(engine, conf, |ssc| {
        let (queue, stream) = ssc.queue_stream::<T>();
        let sink = out.clone();
        stream.transform(program.clone()).foreach_rdd(move |r, t| sink.take(r, t));
        Ok(queue)
    })?;
    driver.input().push_partitions(parts.iter().cloned());
    driver.batch()?;
    Ok(out.batches().swap_remove(0))
}

/// What `program` makes of an RDD with these partitions; the engines agree.
fn records<T: Wire, U: Wire + PartialEq + Debug>(
    parts: &[Vec<T>],
    program: impl Fn(Rdd<T>) -> Result<Rdd<U>> + Clone + Send + Sync + 'static,
) -> Vec<U> {
    let [a, b] = ENGINES.map(|e| {
        records_on(e, conf(), parts, program.clone()).unwrap_or_else(|x| panic!("{e:?}: {x}"))
    });
    assert_eq!(a, b, "the engines differ");
    a
}

/// What an action gives for an RDD with these partitions; the engines agree.
fn answer<T: Wire, U: Wire + PartialEq + Debug>(
    parts: &[Vec<T>],
    action: impl Fn(&Rdd<T>) -> Result<U> + Clone + Send + Sync + 'static,
) -> U {
    let mut all = records(parts, move |r| {
        let result = action(&r)?;
        Ok(r.context().parallelize([result], 1))
    });
    all.swap_remove(0)
}

/// The error of `program` on both engines, as text.
fn errors<T: Wire, U: Wire + Debug>(
    parts: &[Vec<T>],
    program: impl Fn(Rdd<T>) -> Result<Rdd<U>> + Clone + Send + Sync + 'static,
) -> [String; 2] {
    ENGINES.map(|e| records_on(e, conf(), parts, program.clone()).unwrap_err().to_string())
}
