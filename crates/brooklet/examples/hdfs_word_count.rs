//! Counts the words of text files that appear in a directory, one batch a second: the original's
//! `HdfsWordCount`, on local files.
//!
//! Run it in one terminal, and move or write files into the directory in another; gzip, zstd and bzip2 are
//! read too. A file is taken once, when it has been the same for a second.
//!
//! ```text
//! mkdir -p in
//! cargo run --release -p brooklet --example hdfs_word_count -- in
//! echo "to be or not to be" > in/one.txt
//! ```
//!
//! Each batch prints the words of the files that came with it, and how often they are in them.

use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let Some(dir) = std::env::args().nth(1) else {
        eprintln!("usage: hdfs_word_count DIRECTORY");
        std::process::exit(2);
    };

    let ssc = StreamingContext::new(Conf::new("hdfs-word-count"), seconds(1))?;
    let lines = ssc.text_file_stream(&dir);
    let words = lines.flat_map(|line| line.split_whitespace());
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    counts.print();
    ssc.start()?;
    ssc.await_termination()
}
