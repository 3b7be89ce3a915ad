use std::rc::Rc;

use brooklet::prelude::*;

fn program(numbers: &DStream<i64>) {
    numbers.map(|n| Rc::new(n.to_string())).count().print();
}

fn main() {
    let _ = program;
}
