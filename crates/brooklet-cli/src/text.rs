//! Generated text: words of several scripts, distributed as words are (Zipf), the same for the same
//! seed on every machine.

/// Words from life, the most frequent ones of the text.
const FREQUENT: &[&str] = &[
    "the",
    "of",
    "and",
    "a",
    "流",
    "to",
    "in",
    "brook",
    "水",
    "is",
    "río",
    "that",
    "小溪",
    "it",
    "für",
    "was",
    "река",
    "as",
    "Bächlein",
    "on",
    "川",
    "with",
    "数据",
    "ποταμός",
    "by",
    "not",
    "이슬",
    "from",
    "naïve",
    "be",
    "नदी",
    "you",
    "瀑布",
    "at",
    "œuvre",
    "this",
    "שלום",
    "but",
    "مرحبا",
    "word",
    "千里之行",
    "have",
    "🌊",
    "an",
    "始于足下",
    "they",
    "ağaç",
    "which",
    "žába",
];
const VOCABULARY: usize = 5_000;
/// Draws go through a table in which a word stands as often as it is frequent.
const TABLE: usize = 1 << 16;
const WORDS_PER_LINE: std::ops::RangeInclusive<u64> = 3..=12;

/// What was generated, or sent, or taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    pub lines: u64,
    pub bytes: u64,
    /// How often each word of the vocabulary came.
    counts: Vec<u64>,
}

impl Tally {
    pub fn new() -> Tally {
        Tally { lines: 0, bytes: 0, counts: vec![0; VOCABULARY] }
    }

    pub fn words(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn distinct(&self) -> usize {
        self.counts.iter().filter(|n| **n > 0).count()
    }

    pub fn add(&mut self, other: &Tally) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// The words that came, with their counts.
    pub fn counts<'a>(
        &'a self,
        vocabulary: &'a Vocabulary,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        let words = vocabulary.words.iter().map(String::as_str);
        words.zip(self.counts.iter().copied()).filter(|(_, n)| *n > 0)
    }

    fn clear(&mut self) {
        self.lines = 0;
        self.bytes = 0;
        self.counts.fill(0);
    }
}

/// All words of the text, the frequent ones first.
#[derive(Debug)]
pub struct Vocabulary {
    words: Vec<String>,
    /// Word numbers, as often as their word is frequent.
    table: Vec<u16>,
}

impl Vocabulary {
    pub fn new() -> Vocabulary {
        let mut words: Vec<String> = FREQUENT.iter().map(|w| w.to_string()).collect();
        let mut n = 0;
        while words.len() < VOCABULARY {
            let word = syllables(n);
            if !FREQUENT.contains(&word.as_str()) {
                words.push(word);
            }
            n += 1;
        }
        // Each word once, the rest by 1/rank; only basic float operations, which are the same everywhere.
        let harmonic: f64 = (1..=VOCABULARY).map(|rank| 1.0 / rank as f64).sum();
        let share = (TABLE - VOCABULARY) as f64 / harmonic;
        let mut table = Vec::with_capacity(TABLE);
        for word in 0..VOCABULARY {
            let times = 1 + (share / (word + 1) as f64) as usize;
            table.extend(std::iter::repeat_n(word as u16, times));
        }
        table.resize(TABLE, 0);
        Vocabulary { words, table }
    }
}

/// The n-th pseudo-word, distinct for each n; some carry an accent or an ideograph.
fn syllables(mut n: usize) -> String {
    const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
    const VOWELS: [&str; 7] = ["a", "e", "i", "o", "u", "ö", "é"];
    let mut word = String::new();
    if n.is_multiple_of(11) {
        word.extend(char::from_u32(0x4e00 + (n as u32 / 11) % 2_000));
    }
    loop {
        word.push(CONSONANTS[n % CONSONANTS.len()].into());
        n /= CONSONANTS.len();
        word.push_str(VOWELS[n % VOWELS.len()]);
        n /= VOWELS.len();
        if n == 0 {
            return word;
        }
        n -= 1;
    }
}

/// An endless text, line by line.
#[derive(Debug)]
pub struct Generator<'a> {
    vocabulary: &'a Vocabulary,
    state: u64,
    /// What was made since the last [`Generator::lines`].
    tally: Tally,
}

impl<'a> Generator<'a> {
    pub fn new(vocabulary: &'a Vocabulary, seed: u64) -> Generator<'a> {
        Generator { vocabulary, state: seed, tally: Tally::new() }
    }

    /// Replaces the content of `text` by the next lines, at most `most` and about `bytes` long; says
    /// what is in it.
    pub fn lines(&mut self, most: u64, bytes: usize, text: &mut Vec<u8>) -> &Tally {
        text.clear();
        self.tally.clear();
        while self.tally.lines < most && text.len() < bytes {
            let span = WORDS_PER_LINE.end() - WORDS_PER_LINE.start() + 1;
            let words = WORDS_PER_LINE.start() + self.random() % span;
            for i in 0..words {
                if i > 0 {
                    text.push(b' ');
                }
                let word = self.vocabulary.table[(self.random() >> 48) as usize];
                self.tally.counts[usize::from(word)] += 1;
                text.extend_from_slice(self.vocabulary.words[usize::from(word)].as_bytes());
            }
            text.push(b'\n');
            self.tally.lines += 1;
        }
        self.tally.bytes = text.len() as u64;
        &self.tally
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn words_are_distinct_and_none_holds_white_space() {
        let v = Vocabulary::new();
        assert_eq!(v.table.len(), TABLE);
        assert_eq!(v.words.iter().collect::<HashSet<_>>().len(), VOCABULARY);
        assert!(v.words.iter().all(|w| !w.is_empty() && !w.contains(char::is_whitespace)));
    }

    #[test]
    fn the_tally_is_what_is_in_the_text() {
        let v = Vocabulary::new();
        let mut text = Vec::new();
        let mut g = Generator::new(&v, 7);
        let tally = g.lines(2_000, usize::MAX, &mut text).clone();
        let text = String::from_utf8(text).unwrap();
        let mut counts: HashMap<&str, u64> = HashMap::new();
        text.split_whitespace().for_each(|w| *counts.entry(w).or_default() += 1);
        assert_eq!(tally.lines, text.lines().count() as u64);
        assert_eq!(tally.bytes, text.len() as u64);
        assert_eq!(tally.words(), counts.values().sum::<u64>());
        assert!(tally.counts(&v).collect::<HashMap<_, _>>() == counts, "the counts differ");
        assert!(counts["the"] > counts["brook"] && counts["水"] > 0 && counts["río"] > 0);
    }

    #[test]
    fn the_same_seed_makes_the_same_text_in_pieces_of_any_size() {
        let v = Vocabulary::new();
        let (mut whole, mut piece, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        Generator::new(&v, 3).lines(100, usize::MAX, &mut whole);
        let mut g = Generator::new(&v, 3);
        for n in [1, 40, 59] {
            g.lines(n, usize::MAX, &mut piece);
            pieces.extend_from_slice(&piece);
        }
        assert_eq!(whole, pieces);
        Generator::new(&v, 4).lines(100, usize::MAX, &mut piece);
        assert_ne!(whole, piece);
    }
}
