// What the slips of this folder would be without the slip.
use std::sync::Arc;

use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Colour {
    Red,
}

#[derive(Clone, Serialize, Deserialize)]
struct Visit {
    page: String,
}

fn program(numbers: &DStream<i64>) {
    let pairs = numbers.map(|_| (Colour::Red, Visit { page: String::new() }));
    pairs.reduce_by_key(|a, _| a).foreach_rdd(|rdd, _| rdd.collect().map(drop));
    pairs.map(|(_, v)| v).persist(StorageLevel::MEMORY_ONLY).map(|v| v.page).print();
    numbers.map(|n| Arc::new(n.to_string())).print();
}

fn errors(lines: &DStream<Str>) -> DStream<Str> {
    lines.filter(|l| l.contains("ERROR")).boxed()
}

// A chain may be kept in a variable: its type borrows nothing of the streams before it.
fn chains(lines: &DStream<Str>, rdd: Rdd<i64>) -> Rdd<i64> {
    let parsed = lines.map(|l| l.to_string()).try_map(|l| l.parse::<i64>());
    let kept = parsed.map(|x| x + 1).try_filter(OnError::Skip, |x| Ok::<_, Error>(*x > 0));
    let sums = kept.filter(|x| *x > 1).map_partitions(|xs| [xs.sum::<i64>()]);
    sums.try_map_on(OnError::Skip, Ok::<_, Error>).print();
    let doubled = rdd.map(|x| x * 2).try_map(Ok::<_, Error>);
    doubled.filter(|x| *x > 0).map_partitions(|xs| xs).boxed()
}

fn main() {
    let _ = (program, errors, chains);
}
