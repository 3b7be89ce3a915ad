use brooklet::prelude::*;

#[derive(Clone)]
struct Visit {
    page: String,
}

fn program(numbers: &DStream<i64>) {
    numbers.map(|n| Visit { page: n.to_string() }).foreach_rdd(|rdd, _| rdd.collect().map(drop));
}

fn main() {
    let _ = program;
}
