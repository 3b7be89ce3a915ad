//! The text that the benches count: lines of 15 Zipf-distributed words, the same on every machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const LINES: usize = 2_000_000;
const WORDS_PER_LINE: usize = 15;
const VOCABULARY: usize = 100_000;
/// The place of the word that `grep` looks for.
const NEEDLE: usize = 300;

/// Writes the text, if it isn't there yet.
pub fn write(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    println!("writing {}", path.display());
    let words = vocabulary();
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=words.len())
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let part = path.with_extension("part");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
    let mut state = 1u64;
    for _ in 0..LINES {
        for i in 0..WORDS_PER_LINE {
            let draw = (random(&mut state) >> 11) as f64 / (1u64 << 53) as f64 * sum;
            let word = cumulative.partition_point(|c| *c <= draw).min(words.len() - 1);
            out.write_all(words[word].as_bytes())?;
            out.write_all(if i + 1 < WORDS_PER_LINE { b" " } else { b"\n" })?;
        }
    }
    out.into_inner()?.sync_all()?;
    fs::rename(part, path)
}

/// The word that `grep` looks for.
pub fn needle() -> String {
    vocabulary().swap_remove(NEEDLE)
}

/// Distinct pseudo-words; the frequent ones are the short ones.
fn vocabulary() -> Vec<String> {
    let mut syllables = Vec::new();
    for c in "bdfgklmnprstvz".chars() {
        for v in "aeiou".chars() {
            syllables.extend("lnrs".chars().map(|e| format!("{c}{v}{e}")));
        }
    }
    syllables.truncate(50);
    let mut words = syllables.clone();
    let mut longest = syllables.clone();
    while words.len() < VOCABULARY {
        longest = longest
            .iter()
            .flat_map(|head| syllables.iter().map(move |tail| format!("{head}{tail}")))
            .collect();
        words.extend(longest.iter().take(VOCABULARY - words.len()).cloned());
    }
    words
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_distinct() {
        let words = vocabulary();
        assert_eq!(words.len(), VOCABULARY);
        assert_eq!(words.iter().collect::<std::collections::HashSet<_>>().len(), VOCABULARY);
        assert_eq!(needle(), words[NEEDLE]);
    }
}
