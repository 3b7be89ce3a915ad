use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Colour {
    Red,
}

fn program(numbers: &DStream<i64>) {
    numbers.map(|n| (Colour::Red, n)).reduce_by_key(|a, b| a + b).count().print();
}

fn main() {
    let _ = program;
}
