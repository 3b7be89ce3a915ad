use brooklet::prelude::*;

fn errors(lines: &DStream<Str>) -> DStream<Str> {
    lines.filter(|line| line.contains("ERROR"))
}

fn main() {
    let _ = errors;
}
