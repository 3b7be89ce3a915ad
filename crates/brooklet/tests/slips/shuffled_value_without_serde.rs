use brooklet::prelude::*;

#[derive(Clone)]
struct Visit {
    page: String,
}

fn program(numbers: &DStream<i64>) {
    numbers.map(|n| (n, Visit { page: n.to_string() })).reduce_by_key(|a, _| a).count().print();
}

fn main() {
    let _ = program;
}
