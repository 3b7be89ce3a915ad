//! The small programs.

use std::collections::BTreeMap;

use super::{Example, serve};

/// The numbers that `print` shows as `(key, n)`, added up over all batches.
fn pairs<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        let Some(pair) = line.as_ref().strip_prefix('(').and_then(|l| l.strip_suffix(')')) else {
            continue;
        };
        let (key, n) = pair.rsplit_once(", ").unwrap();
        *sums.entry(key.trim_matches('"').to_string()).or_default() += n.parse::<u64>().unwrap();
    }
    sums
}

#[test]
fn network_word_count_counts_what_the_server_sends() {
    let text = "the brook 流 the\n\nthe long word incomprehensibilities-of-brooks\n".repeat(100);
    let mut expected = BTreeMap::new();
    for line in text.lines() {
        line.split(' ').for_each(|w| *expected.entry(w.to_string()).or_default() += 1u64);
    }
    let total = expected.values().sum::<u64>();
    let port = serve(text).to_string();
    let mut example = Example::start("network_word_count", &["127.0.0.1", &port]);
    let mut lines = Vec::new();
    while pairs(&lines).values().sum::<u64>() < total {
        lines.push(example.line());
    }
    assert_eq!(pairs(&lines), expected);
    assert!(lines.iter().any(|l| l.starts_with("Time: ") && l.ends_with(" ms")), "{lines:?}");
}

#[test]
fn hdfs_word_count_counts_each_file_once() {
    let dir = std::env::temp_dir().join(format!("brooklet-example-files-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("old.txt"), "the brook\n").unwrap();
    let mut example = Example::start("hdfs_word_count", &[dir.to_str().unwrap()]);
    let mut lines = Vec::new();
    while pairs(&lines).is_empty() {
        lines.push(example.line());
    }
    // Moved in whole, while the program runs.
    let aside = dir.with_extension("aside");
    std::fs::write(&aside, "the long brook 流\n").unwrap();
    std::fs::rename(&aside, dir.join("new.txt")).unwrap();
    while pairs(&lines).values().sum::<u64>() < 6 {
        lines.push(example.line());
    }
    let expected = [("brook", 2), ("long", 1), ("the", 2), ("流", 1)];
    assert_eq!(pairs(&lines), expected.map(|(w, n)| (w.to_string(), n)).into());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn custom_receiver_averages_every_reading() {
    let lines = Example::start("custom_receiver", &[]).rest();
    let mut readings = BTreeMap::new();
    for line in lines.iter().filter(|l| l.contains(" readings")) {
        let words: Vec<_> = line.trim_matches('"').split(' ').collect();
        let (room, degrees) = (words[0].trim_end_matches(':'), words[1].parse::<f64>().unwrap());
        assert!((18.0..=24.0).contains(&degrees), "{line}");
        *readings.entry(room.to_string()).or_default() +=
            words[words.len() - 2].parse::<u64>().unwrap();
    }
    assert_eq!(readings, [("cellar".into(), 250), ("kitchen".into(), 250)].into(), "{lines:?}");
}

#[test]
fn custom_input_gives_each_batch_its_own_numbers() {
    let lines = Example::start("custom_input", &["5"]).rest();
    let numbers: Vec<u64> = lines.iter().filter_map(|l| l.parse().ok()).collect();
    let sum = |batch: u64| (0..500_000).map(|i| batch * 1_000_000 + 2 * i).sum::<u64>();
    // The clock decides how many batches there are in that time.
    assert!(numbers.len() >= 4, "{lines:?}");
    for (batch, figures) in numbers.chunks(2).enumerate() {
        assert_eq!(figures, [500_000, sum(batch as u64)], "batch {batch}");
    }
}

#[test]
fn queue_stream_counts_what_was_pushed() {
    let lines = Example::start("queue_stream", &["3"]).rest();
    let expected: BTreeMap<String, u64> = (0..10).map(|d| (d.to_string(), 300)).collect();
    assert_eq!(pairs(&lines), expected, "{lines:?}");
}

#[test]
fn raw_network_grep_counts_the_lines_of_its_own_senders() {
    const WORDS: [&str; 8] = ["the", "brook", "flows", "there", "under", "stones", "and", "then"];
    let lines = |mut seed: u32| {
        let mut word = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            WORDS[(seed >> 29) as usize]
        };
        (0..5_000).filter(|_| [word(), word(), word()].contains(&"the")).count() as u64
    };
    let found: u64 = (0..40).map(lines).sum();
    let out = Example::start("raw_network_grep", &[]).rest();
    let last = out.last().unwrap();
    assert_eq!(*last, format!("{found} of 200000 lines have the word"), "{out:?}");
    // What each batch prints adds up to the same.
    let printed: u64 = out.iter().filter_map(|l| l.parse::<u64>().ok()).sum();
    assert_eq!(printed, found, "{out:?}");
}
