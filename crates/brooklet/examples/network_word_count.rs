//! Counts words that come over a TCP connection, one batch a second.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example network_word_count -- localhost 9999
//! ```

use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let mut args = std::env::args().skip(1);
    let host = args.next().unwrap_or_else(|| "localhost".into());
    let port = args.next().and_then(|p| p.parse().ok()).unwrap_or(9999);

    let ssc = StreamingContext::new(Conf::new("network-word-count"), seconds(1))?;
    let lines = ssc.socket_text_stream(&host, port);
    let words = lines.flat_map(|line| line.split(" "));
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    counts.print();
    ssc.start()?;
    ssc.await_termination()
}
