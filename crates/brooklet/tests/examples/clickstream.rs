//! `clickstream` and `sentiment`: sums over all batches are those of a count made here.

use std::collections::BTreeMap;

use super::{Example, serve};

/// Views of three pages, ten users and two postal codes, with a line that is none.
fn views() -> Vec<(String, u16, u32, u32)> {
    let view = |i: u32| {
        let page = ["index", "shop", "news"][(i * i % 3) as usize];
        let status = if i.is_multiple_of(7) { 404 } else { 200 };
        (
            format!("http://example.com/{page}.html"),
            status,
            [94_709, 10_011][(i % 2) as usize],
            i % 10,
        )
    };
    (0..500).map(view).collect()
}

fn served() -> String {
    let lines = views()
        .into_iter()
        .map(|(url, status, zip, user)| format!("{url}\t{status}\t{zip}\t{user}\n"));
    let text: Vec<String> = lines.chain(["this is no view\n".to_string()]).collect();
    serve(text.concat()).to_string()
}

/// How often each comes.
pub(super) fn counts<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// Reads what an example prints, adding up what `pick` finds in a line, until all is there. More than that
/// is a mistake too.
fn summed(
    example: &mut Example,
    pick: impl Fn(&str) -> Option<(String, u64)>,
    total: u64,
) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    while sums.values().sum::<u64>() < total {
        if let Some((key, n)) = pick(&example.line()) {
            *sums.entry(key).or_default() += n;
        }
    }
    sums
}

#[test]
fn clickstream_counts_the_views_of_each_page() {
    let mut example = Example::start("clickstream", &["page_counts", "127.0.0.1", &served()]);
    let pick = |line: &str| {
        let (page, n) = line.strip_prefix("(\"")?.strip_suffix(')')?.rsplit_once("\", ")?;
        Some((page.to_string(), n.parse().unwrap()))
    };
    let seen = summed(&mut example, pick, 500);
    assert_eq!(seen, counts(views().into_iter().map(|v| v.0)));
}

#[test]
fn clickstream_tells_the_share_of_failed_views_by_postal_code() {
    let mut example = Example::start("clickstream", &["error_rates", "127.0.0.1", &served()]);
    let (mut failed, mut all) = (BTreeMap::<u32, u64>::new(), BTreeMap::<u32, u64>::new());
    while all.values().sum::<u64>() < 500 {
        let line = example.line();
        let Some((zip, rest)) = line.split_once(": ") else { continue };
        let Ok(zip) = zip.parse::<u32>() else { continue };
        let words: Vec<&str> = rest.split(' ').collect();
        let (failures, views): (u64, u64) = (words[0].parse().unwrap(), words[2].parse().unwrap());
        let percent = 100.0 * failures as f64 / views as f64;
        assert_eq!(words[4], format!("{percent:.1}"), "{line}");
        assert_eq!(line.ends_with("**"), percent > 5.0, "{line}");
        *failed.entry(zip).or_default() += failures;
        *all.entry(zip).or_default() += views;
    }
    assert_eq!(all, counts(views().into_iter().map(|v| v.2)));
    assert_eq!(failed, counts(views().into_iter().filter(|v| v.1 != 200).map(|v| v.2)));
}

#[test]
fn clickstream_names_the_users_with_most_views() {
    let mut example = Example::start("clickstream", &["popular_users", "127.0.0.1", &served()]);
    let pick = |line: &str| {
        let (name, n) = line.split_once(": ")?;
        Some((name.to_string(), n.parse().ok()?))
    };
    let seen = summed(&mut example, pick, 500);
    // Ten users of fifty views each, all of them in the table.
    assert_eq!(seen.len(), 10);
    assert!(seen.contains_key("Ada") && seen.values().all(|n| *n == 50), "{seen:?}");
}

#[test]
fn clickstream_makes_its_own_views_without_an_address() {
    let mut example = Example::start("clickstream", &[]);
    let pick = |line: &str| {
        let (page, n) = line.strip_prefix("(\"")?.strip_suffix(')')?.rsplit_once("\", ")?;
        Some((page.to_string(), n.parse().unwrap()))
    };
    let seen = summed(&mut example, pick, 100);
    assert!(seen.keys().all(|url| url.starts_with("http://example.com/")), "{seen:?}");
    let most = seen.iter().max_by_key(|(_, n)| **n).unwrap();
    assert_eq!(most.0, "http://example.com/index.html", "{seen:?}");
}

#[test]
fn clickstream_refuses_a_figure_that_it_does_not_know() {
    let mut example = Example::start("clickstream", &["page_count"]);
    assert_eq!(example.child.wait().unwrap().code(), Some(2));
    let mut example = Example::start("clickstream", &["page_counts", "localhost"]);
    assert_eq!(example.child.wait().unwrap().code(), Some(2));
}

#[test]
fn sentiment_ranks_words_by_how_pleasant_they_are() {
    let text =
        "What a wonderful, WONDERFUL day: no table here\nsad but superb\nboring boring wonderful\n";
    let port = serve(text.repeat(10)).to_string();
    let mut example = Example::start("sentiment", &["127.0.0.1", &port]);
    // word -> (times, valence)
    let mut seen: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut in_batch: Vec<i64> = Vec::new();
    while seen.values().map(|(n, _)| n).sum::<i64>() < 70 {
        let line = example.line();
        if line.starts_with("Happiest words at ") {
            in_batch.clear();
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [happiness, word, n, "x", valence] = words[..] else { panic!("{line}") };
        let happiness: i64 = happiness.parse().unwrap();
        let n: i64 = n.trim_start_matches('(').parse().unwrap();
        let valence: i64 = valence.trim_end_matches(')').parse().unwrap();
        assert_eq!(happiness, n * valence, "{line}");
        in_batch.push(happiness);
        assert!(in_batch.is_sorted_by(|a, b| a >= b), "the happiest come first: {in_batch:?}");
        seen.entry(word.to_string()).or_insert((0, valence)).0 += n;
    }
    let want =
        [("boring", (20, -3)), ("sad", (10, -2)), ("superb", (10, 5)), ("wonderful", (30, 4))];
    assert_eq!(seen, want.map(|(w, x)| (w.to_string(), x)).into());
}
