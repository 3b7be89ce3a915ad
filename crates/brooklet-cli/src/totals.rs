//! Sums over all batches, and their comparison with what was sent.

use std::collections::HashMap;

use brooklet::Str;

use crate::text::{Tally, Vocabulary};

/// Distinct words whose totals are kept; later new words count as words only.
const MAX_DISTINCT: usize = 2_000_000;
/// Words that a reported difference names.
const SHOWN_DIFFERENCES: usize = 5;

#[derive(Debug, Default)]
pub struct Totals {
    pub batches: u64,
    pub records: u64,
    pub words: u64,
    counts: HashMap<String, u64>,
    more: bool,
}

impl Totals {
    pub fn add(&mut self, records: u64, counts: &[(Str, u64)]) {
        self.batches += 1;
        self.records += records;
        for (word, n) in counts {
            self.words += n;
            if let Some(total) = self.counts.get_mut(&**word) {
                *total += n;
            } else if self.counts.len() < MAX_DISTINCT {
                self.counts.insert(word.to_string(), *n);
            } else {
                self.more = true;
            }
        }
    }

    pub fn summary(&self) -> String {
        let more = if self.more { " or more" } else { "" };
        format!(
            "total: {} batches, {} records, {} words, {}{more} distinct",
            self.batches,
            self.records,
            self.words,
            self.counts.len()
        )
    }

    /// Distinct words, of those whose totals are kept.
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// The `k` most frequent words of all batches.
    pub fn top(&self, k: usize) -> Vec<(&str, u64)> {
        top(self.counts.iter().map(|(word, n)| (word.as_str(), *n)).collect(), Some(k))
    }

    /// Compares with what the feed has sent; the error says what differs.
    pub fn compare(&self, sent: &Tally, vocabulary: &Vocabulary) -> Result<(), String> {
        let expected: HashMap<&str, u64> = sent.counts(vocabulary).collect();
        let counted = |w: &str| self.counts.get(w).copied().unwrap_or(0);
        let mut differences: Vec<String> = expected
            .iter()
            .filter(|(word, n)| counted(word) != **n)
            .map(|(word, n)| format!("`{word}` sent {n}, counted {}", counted(word)))
            .chain(
                self.counts
                    .iter()
                    .filter(|(word, _)| !expected.contains_key(word.as_str()))
                    .map(|(word, n)| format!("`{word}` sent 0, counted {n}")),
            )
            .collect();
        if differences.is_empty() && self.records == sent.lines && self.words == sent.words() {
            return Ok(());
        }
        differences.sort();
        let more = differences.len().saturating_sub(SHOWN_DIFFERENCES);
        differences.truncate(SHOWN_DIFFERENCES);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        Err(format!(
            "lines sent {}, counted {}; words sent {}, counted {}; {}",
            sent.lines,
            self.records,
            sent.words(),
            self.words,
            differences.join("; ")
        ))
    }
}

/// The `k` most frequent words (all without `k`), the most frequent first, equal ones by name.
pub fn top<W: Ord + AsRef<str>>(mut counts: Vec<(W, u64)>, k: Option<usize>) -> Vec<(W, u64)> {
    let order = |a: &(W, u64), b: &(W, u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    if let Some(k) = k.filter(|k| *k < counts.len()) {
        counts.select_nth_unstable_by(k, order);
        counts.truncate(k);
    }
    counts.sort_unstable_by(order);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Generator;

    #[test]
    fn top_is_by_count_then_by_name() {
        let counts = vec![("b", 2), ("c", 5), ("a", 2), ("d", 1)];
        assert_eq!(top(counts.clone(), Some(2)), [("c", 5), ("a", 2)]);
        assert_eq!(top(counts.clone(), None), [("c", 5), ("a", 2), ("b", 2), ("d", 1)]);
        assert_eq!(top(counts, Some(0)), []);
    }

    #[test]
    fn a_lost_word_is_named() {
        let vocabulary = Vocabulary::new();
        let mut generator = Generator::new(&vocabulary, 1);
        let sent = generator.lines(50, usize::MAX, &mut Vec::new()).clone();
        let counts: Vec<(Str, u64)> =
            sent.counts(&vocabulary).map(|(word, n)| (Str::from(word), n)).collect();
        let mut totals = Totals::default();
        totals.add(sent.lines, &counts);
        assert_eq!(totals.compare(&sent, &vocabulary), Ok(()));

        let mut lossy = Totals::default();
        lossy.add(sent.lines, &counts[1..]);
        let difference = lossy.compare(&sent, &vocabulary).unwrap_err();
        assert!(difference.contains("`the` sent") && difference.contains("counted 0"));
    }
}
