//! The happiest words of each batch: words that come over a TCP connection are counted, joined with a
//! static list of how pleasant words are, and ranked by both together.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example sentiment -- localhost 9999
//! ```
//!
//! Type `what a wonderful day, wonderful and sad` into the first one, and every five seconds the second
//! one shows what came, the happiest words on top; words that aren't on the list don't count:
//!
//! ```text
//! Happiest words at 1763712000000 ms:
//!     8  wonderful (2 x 4)
//!    -2  sad (1 x -2)
//! ```

use brooklet::Error;
use brooklet::prelude::*;

/// One word and its value a line.
const LIST: &str = include_str!("data/valence.txt");
/// How many words are shown.
const SHOWN: usize = 10;

/// Happiness, then word, times, and valence: ordered as they are shown.
type Rank = (i64, Str, i64, i64);

fn valences() -> Vec<(Str, i64)> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(w, v)| (w.into(), v.parse().unwrap_or(0)))
        .collect()
}

/// The first words of these, the happiest first.
fn happiest(ranks: impl Iterator<Item = Rank>) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = ranks.collect();
    ranks.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
    ranks.truncate(SHOWN);
    ranks
}

fn main() -> brooklet::Result<()> {
    let mut args = std::env::args().skip(1);
    let host = args.next().unwrap_or_else(|| "localhost".into());
    let port = args.next().and_then(|p| p.parse().ok()).unwrap_or(9999);

    let ssc = StreamingContext::new(Conf::new("sentiment"), seconds(5))?;
    let list = ssc.context().parallelize(valences(), 2);

    let lines = ssc.socket_text_stream(&host, port);
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
    let counts = words.map(|word| (Str::from(word.to_lowercase()), 1)).reduce_by_key(|a, b| a + b);

    // A transform may use any RDD, also one that is no stream's, and any action.
    let top = counts.transform(move |counts| {
        let ranks = counts.join(&list).map(|(word, (n, valence))| (n * valence, word, n, valence));
        let best = ranks.map_partitions(happiest).collect()?;
        Ok::<_, Error>(counts.context().parallelize(happiest(best.into_iter()), 1))
    });
    top.foreach_rdd(|top, time| {
        println!("Happiest words at {time}:");
        for (happiness, word, n, valence) in top.collect()? {
            println!("{happiness:5}  {word} ({n} x {valence})");
        }
        Ok::<_, Error>(())
    });
    ssc.start()?;
    ssc.await_termination()
}
