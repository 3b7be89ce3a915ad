//! Counts lines with the word `the` in blocks of text that come over raw connections, the fastest way into a
//! stream: blocks are stored as they come.
//!
//! ```text
//! cargo run --release -p brooklet --example raw_network_grep                              # with its own two senders
//! cargo run --release -p brooklet --example raw_network_grep -- send 9999 [BLOCKS]        # a sender alone, and
//! cargo run --release -p brooklet --example raw_network_grep -- localhost 9999 [HOST PORT ..]  # the count of senders
//! ```

use std::thread;

use brooklet::prelude::*;
use brooklet::source::RawSender;

const BLOCKS: u32 = 20;
const LINES_PER_BLOCK: usize = 5_000;
const WORDS: [&str; 8] = ["the", "brook", "flows", "there", "under", "stones", "and", "then"];

/// A block of text, always the same for a seed.
fn block(mut seed: u32) -> Vec<Str> {
    let mut word = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        WORDS[(seed >> 29) as usize]
    };
    let mut line = || format!("{} {} {}", word(), word(), word());
    (0..LINES_PER_BLOCK).map(|_| Str::from(line())).collect()
}

/// Sends blocks to whoever connects, and waits until they have arrived.
fn send(mut sender: RawSender<Str>, seeds: impl Iterator<Item = u32>) -> brooklet::Result<()> {
    for seed in seeds {
        sender.send(block(seed))?;
    }
    sender.finish()
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u32>().ok();
    if let ["send", ..] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let port = args.get(1).and_then(|p| p.parse().ok()).unwrap_or(9999);
        let sender = RawSender::bind("0.0.0.0", port)?;
        println!("sending to whoever connects to port {port}");
        return send(sender, 0..args.get(2).and_then(number).unwrap_or(10_000));
    }

    // Without arguments: two senders of this program's own.
    let mut servers: Vec<(String, u16)> =
        args.chunks(2).filter_map(|a| Some((a[0].clone(), a.get(1)?.parse().ok()?))).collect();
    let mut senders = Vec::new();
    if servers.is_empty() {
        for i in 0..2 {
            let sender = RawSender::bind("127.0.0.1", 0)?;
            servers.push(("127.0.0.1".into(), sender.local_addr().port()));
            senders.push(thread::spawn(move || send(sender, i * BLOCKS..(i + 1) * BLOCKS)));
        }
    }

    let ssc = StreamingContext::new(Conf::new("raw-network-grep"), millis(200))?;
    let (lines, found) =
        (ssc.context().long_accumulator("lines"), ssc.context().long_accumulator("found"));
    let streams = servers.iter().map(|(host, port)| ssc.raw_socket_stream::<Str>(host, *port));
    let text = ssc.union(streams)?;
    text.filter(|line| line.split(" ").any(|word| word == "the")).count().print();
    let (l, f) = (lines.clone(), found.clone());
    text.foreach_partition(move |part, _| {
        for line in part {
            l.add(1);
            f.add(i64::from(line.split(" ").any(|word| word == "the")));
        }
    });
    ssc.start()?;
    if senders.is_empty() {
        return ssc.await_termination();
    }
    for sender in senders {
        sender.join().expect("a sender doesn't panic")?;
    }
    ssc.stop(true)?; // what has arrived is counted first
    println!("{} of {} lines have the word", found.value().sum, lines.value().sum);
    Ok(())
}
