//! The examples with windows. A record is in as many windows as there are slides in one, whatever batch it came
//! with: so what all windows together show is known exactly.

use std::collections::BTreeMap;

use brooklet_testkit::TestTcpServer;

use super::{Example, pair};

const TEXT: &str = "the brook\n\nthe river 流 the\nbrook\n";

fn word_counts(times: u64) -> BTreeMap<String, u64> {
    [("the", 3), ("brook", 2), ("river", 1), ("流", 1)]
        .map(|(word, n)| (word.to_string(), times * n))
        .into()
}

/// A page of pairs, each key at most once.
fn pairs(lines: &[String]) -> BTreeMap<String, u64> {
    let pairs: Vec<_> = lines.iter().filter_map(|l| pair(l)).collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!((map.len(), pairs.len()), (pairs.len(), lines.len()), "{lines:?}");
    map
}

#[test]
fn windowed_network_word_count_has_all_words_in_a_long_window() {
    let server = TestTcpServer::script().send(TEXT.repeat(50)).in_pieces([5, 1]).start().unwrap();
    let port = server.port().to_string();
    let args = ["127.0.0.1", &port, "600", "1"];
    let mut example = Example::start("windowed_network_word_count", &args);
    let mut before = BTreeMap::new();
    for times in [50, 51] {
        while before != word_counts(times) {
            let now = pairs(&example.page().1);
            for (word, n) in &before {
                assert!(now.get(word) >= Some(n), "{word} of {before:?} is less in {now:?}");
            }
            before = now;
        }
        server.send(TEXT);
    }
}

#[test]
fn windowed_network_word_count_lets_words_go() {
    let server = TestTcpServer::serving(TEXT.repeat(10)).unwrap();
    let port = server.port().to_string();
    let args = ["127.0.0.1", &port, "4", "2"];
    let mut example = Example::start("windowed_network_word_count", &args);
    let (mut sums, mut last) = (BTreeMap::<String, u64>::new(), None);
    loop {
        let (time, lines) = example.page();
        assert!(last.is_none_or(|last| time == last + 2_000), "{time} after {last:?}");
        last = Some(time);
        let page = pairs(&lines);
        assert!(page.values().all(|n| *n > 0), "{page:?}");
        let over = page.is_empty() && sums.values().sum::<u64>() >= 2 * 70;
        for (word, n) in page {
            *sums.entry(word).or_default() += n;
        }
        if over {
            break;
        }
    }
    // Each word was in two windows.
    assert_eq!(sums, word_counts(20));
}

#[test]
fn windowed_network_word_count_says_how_it_is_used() {
    for args in [
        &["localhost", "9999"][..],
        &["localhost", "9999", "4", "0"],
        &["localhost", "x", "4", "2"],
    ] {
        let example = Example::start("windowed_network_word_count", args);
        assert_eq!(example.code(), Some(2), "{args:?}");
    }
}

/// A page of `popular_hashtags`: seconds of the window, how many tags it has, and those that are shown.
fn hashtags(example: &mut Example) -> (u64, usize, Vec<(String, u64)>) {
    let line = example.line();
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["Popular", "hashtags", "of", "the", "last", window, "at", _, "ms,", all, "in", "all:"] =
        words[..]
    else {
        panic!("{line}")
    };
    let (window, all) = (window.strip_suffix('s').unwrap().parse().unwrap(), all.parse().unwrap());
    let shown = (0..10.min(all)).map(|_| {
        let line = example.line();
        let (n, tag) = line.trim_start().split_once("  ").unwrap_or_else(|| panic!("{line}"));
        (tag.to_string(), n.parse().unwrap())
    });
    let shown: Vec<(String, u64)> = shown.collect();
    let in_order = shown.is_sorted_by(|(a, n), (b, m)| n > m || (n == m && a < b));
    assert!(in_order, "the popular ones come first, once each: {shown:?}");
    (window, all, shown)
}

#[test]
fn popular_hashtags_are_ranked_in_both_windows() {
    // Each post has all twelve tags, so each batch has the same ten on top; three are equal at the end.
    let often = [30, 28, 26, 24, 22, 20, 18, 16, 14, 3, 3, 3];
    let tags = || {
        often.iter().enumerate().map(|(i, n)| (format!("#tag-{}", (b'a' + i as u8) as char), *n))
    };
    let post: Vec<String> = tags().map(|(tag, n)| format!("{tag} no#tag ").repeat(n)).collect();
    let server = TestTcpServer::serving(format!("{}#\n", post.concat()).repeat(20)).unwrap();
    let top = |times: usize| -> Vec<(String, u64)> {
        tags().take(10).map(|(tag, n)| (tag, (n * times) as u64)).collect()
    };

    let mut example =
        Example::start("popular_hashtags", &["127.0.0.1", &server.port().to_string()]);
    let (mut minute, mut sums, mut empty) = (Vec::new(), BTreeMap::<String, u64>::new(), false);
    // Until a minute has them all, and they have left the ten seconds.
    while minute != top(20) || sums.is_empty() || !empty {
        let (window, all, shown) = hashtags(&mut example);
        assert!(all == 0 || all == 12, "{all} tags");
        if window == 60 {
            minute = shown;
        } else {
            assert_eq!(window, 10);
            empty = all == 0;
            shown.into_iter().for_each(|(tag, n)| *sums.entry(tag).or_default() += n);
        }
    }
    // Each of them was in five windows of ten seconds, one each two seconds.
    assert_eq!(sums, top(100).into_iter().collect());
}

#[test]
fn popular_hashtags_makes_its_own_posts_without_an_address() {
    let mut example = Example::start("popular_hashtags", &[]);
    loop {
        let (_, all, shown) = hashtags(&mut example);
        assert!(shown.iter().all(|(tag, _)| tag.starts_with("#tag")), "{shown:?}");
        if all > 10 {
            break;
        }
    }
    assert_eq!(Example::start("popular_hashtags", &["localhost"]).code(), Some(2));
}
