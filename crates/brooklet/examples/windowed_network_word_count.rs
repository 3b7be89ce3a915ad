//! Counts the words of the last seconds that came over a TCP connection.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example windowed_network_word_count -- localhost 9999 30 10
//! ```
//!
//! That is: every 10 seconds the words of the last 30. The counts of the seconds that leave the window are
//! taken away from those of the window before, so a long window costs no more than a short one.

use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    let (Some(port), Some(window), Some(slide)) =
        (args.get(1).and_then(|p| p.parse().ok()), number(2), number(3))
    else {
        eprintln!(
            "usage: windowed_network_word_count HOST PORT WINDOW SLIDE (both in whole seconds)"
        );
        std::process::exit(2);
    };

    let ssc = StreamingContext::new(Conf::new("windowed-network-word-count"), seconds(1))?;
    let words = ssc.socket_text_stream(&args[0], port).flat_map(|line| line.split_whitespace());
    let counts = words.map(|word| (word, 1)).reduce_by_key_and_window_inv_filter(
        |a, b| a + b,
        |a, b| a - b,
        seconds(window),
        seconds(slide),
        None,
        |_, n| *n > 0, // words of which none is left are forgotten
    );
    counts.print();
    ssc.start()?;
    ssc.await_termination()
}
