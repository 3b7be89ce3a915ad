//! The nearest name, for errors about names that don't exist.

/// The candidate that `name` was most likely meant to be, if one is near enough: at most a third of its
/// letters differ, or its last word is the same.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let last = |s: &str| plain(s.rsplit('.').next().unwrap_or(s));
    let (whole, word) = (plain(name), last(name));
    let limit = (whole.chars().count() / 3).clamp(1, 6);
    candidates
        .into_iter()
        .map(|c| {
            let far = distance(&whole, &plain(c));
            (far.min(if last(c) == word { limit } else { usize::MAX }), far, c)
        })
        .filter(|(rank, ..)| *rank <= limit)
        .min_by_key(|(rank, far, _)| (*rank, *far))
        .map(|(.., c)| c)
}

/// Without the difference between `blockInterval`, `block_interval` and `block-interval`.
fn plain(s: &str) -> String {
    s.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Letters to insert, remove, replace or swap with their neighbour, to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            next[j] = (row[j - 1] + usize::from(!same)).min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_slips() {
        for (a, b, n) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("interval", "intreval", 1),
            ("interval", "interva", 1),
            ("interval", "intervall", 1),
            ("interval", "inderval", 1),
            ("kitten", "sitting", 3),
            ("数据流", "数流", 1),
        ] {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not_offered() {
        let names = [
            "brooklet.streaming.blockInterval",
            "brooklet.streaming.blockQueueSize",
            "brooklet.master",
        ];
        let near = |n| nearest(n, names);
        assert_eq!(near("brooklet.streaming.blokInterval"), Some(names[0]));
        assert_eq!(near("brooklet.streaming.block_queue_sise"), Some(names[1]));
        assert_eq!(near("streaming.blockInterval"), Some(names[0]));
        assert_eq!(near("block-interval"), Some(names[0]));
        assert_eq!(near("MASTER"), Some(names[2]));
        assert_eq!(near("brooklet.sql.shuffle.partitions.minimum"), None);
        assert_eq!(near(""), None);
    }
}
