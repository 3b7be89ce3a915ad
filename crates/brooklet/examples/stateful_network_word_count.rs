//! Counts words over all time: each word that comes over a TCP connection is shown with how often it has come
//! since the beginning. `hello` and `world` begin at 1.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example stateful_network_word_count -- localhost 9999 /tmp/totals
//! ```
//!
//! The third argument is a directory where the totals are stored: end the program with Ctrl-C, start it
//! again, and it goes on with them. Without a directory they end with the program.

use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(host), Some(port)) = (args.next(), args.next().and_then(|p| p.parse().ok())) else {
        eprintln!("usage: stateful_network_word_count HOST PORT [DIRECTORY OF THE TOTALS]");
        std::process::exit(2);
    };

    // Ctrl-C counts what has come, and stores the totals, before the program ends.
    let conf = Conf::new("stateful-network-word-count").stop_gracefully_on_shutdown(true);
    let ssc = StreamingContext::new(conf, seconds(1))?;
    if let Some(directory) = args.next() {
        ssc.checkpoint(directory)?;
    }

    let initial = ssc.context().parallelize([(Str::from("hello"), 1), (Str::from("world"), 1)], 2);
    let words = ssc.socket_text_stream(&host, port).flat_map(|line| line.split_whitespace());
    let totals = words.map(|word| (word, 1u64)).map_with_state_spec(
        StateSpec::new().initial_state(initial),
        |word, one, total: &mut State<u64>| {
            let sum = total.get().unwrap_or(&0) + one.unwrap_or(0);
            total.update(sum);
            (word.clone(), sum)
        },
    );
    // The name is what the stored totals are found by, however the program changes.
    totals.name("totals").print();
    ssc.start()?;
    ssc.await_termination()
}
