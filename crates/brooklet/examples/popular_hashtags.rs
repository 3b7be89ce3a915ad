//! The most popular hashtags of the last 60 and the last 10 seconds, in posts that come over a TCP connection,
//! one a line.
//!
//! ```text
//! cargo run --release -p brooklet --example popular_hashtags
//! cargo run --release -p brooklet --example popular_hashtags -- localhost 9999
//! ```
//!
//! Without an address the program makes its own posts. For yours, start a server such as `nc -lk 9999`.
//!
//! ```text
//! Popular hashtags of the last 10s at 1763712000000 ms, 31 in all:
//!     90  #rust
//!     41  #streams
//! ```

use std::time::Duration;

use brooklet::prelude::*;

/// How many hashtags are shown.
const SHOWN: usize = 10;

/// Posts of this program's own: low numbers are more popular than high ones, and which tag has which number
/// changes by and by.
struct Posts;

impl Receiver for Posts {
    type Item = Str;

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
        let (mut dice, mut posts) = (1u32, 0);
        let mut below = |n: u32| {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (dice >> 16) % n
        };
        while out.sleep(millis(5)) {
            let tag = below(6) * below(6) + posts / 2_000;
            out.store(format!("post {posts} about #tag{tag}").into())?;
            posts += 1;
        }
        Ok(())
    }
}

/// Shows the hashtags that were most often in the posts of the last `window`.
fn show(tags: &DStream<Str>, window: Duration) {
    let counts = tags.count_by_value_and_window(window, None);
    // A transform may use any function of RDDs: this one sorts, by name among equals.
    let ranked = counts
        .transform(|counts| counts.sort_with(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)), 2));
    ranked.foreach_rdd(move |ranked, time| {
        let (all, top) = (ranked.count()?, ranked.take(SHOWN)?);
        println!("Popular hashtags of the last {window:?} at {time}, {all} in all:");
        for (tag, n) in top {
            println!("{n:6}  {tag}");
        }
        Ok::<_, Error>(())
    });
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ssc = StreamingContext::new(Conf::new("popular-hashtags"), seconds(2))?;
    let posts = match (args.first(), args.get(1).map(|port| port.parse())) {
        (None, _) => ssc.receiver_stream(Posts),
        (Some(host), Some(Ok(port))) => ssc.socket_text_stream(host, port),
        _ => {
            eprintln!("usage: popular_hashtags [HOST PORT]");
            std::process::exit(2);
        }
    };
    let words = posts.flat_map(|post| post.split_whitespace());
    let tags = words.filter(|word| word.len() > 1 && word.starts_with("#")).boxed();
    show(&tags, seconds(60));
    show(&tags, seconds(10));
    ssc.start()?;
    ssc.await_termination()
}
