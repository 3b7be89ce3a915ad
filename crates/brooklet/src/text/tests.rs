//! Every method against its model in std, over texts that cross the borders of 23 bytes (inline),
//! 64 bytes (mask) and 128 bytes.

use super::{
    LineRuns, Lines, Pattern, Split, SplitAsciiWhitespace, SplitWhitespace, Str, TextBlock,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

const LONG: &str = "a text of more than twenty-three bytes";

/// Texts with many separators, whitespace of all kinds and characters of all lengths.
fn texts() -> BoxedStrategy<String> {
    if cfg!(miri) {
        // Making random text is too much for an interpreter.
        return prop::sample::select(vec![
            String::new(),
            "a".to_owned(),
            " ab\r\n\u{b}b ".to_owned(),
            "ab 日本\u{3000}a,\r\nä b\n".to_owned(),
            "a b ab  exactly 23 long".to_owned(),
            format!("{LONG} a\n{LONG}\r\n"),
            format!("{} b{LONG}\u{3000}日本 ", "a".repeat(60)),
            format!("{}\n{} ", "a".repeat(63), "b".repeat(64)),
        ])
        .boxed();
    }
    let piece = prop_oneof![
        6 => "[ab]{0,30}",
        4 => Just(" ".to_owned()),
        2 => Just("ab".to_owned()),
        2 => Just("\r\n".to_owned()),
        1 => "[ \t\n\r\u{b}\u{c}\u{85}\u{a0}\u{2003}\u{2028}\u{3000}\u{1c}\0,;]{1,3}",
        1 => "[äßçяж日本語🦀\u{308}\u{ffff}]{1,8}",
        1 => "\\PC{0,12}",
    ];
    let pieces = |n: std::ops::Range<usize>| {
        prop::collection::vec(piece.clone(), n).prop_map(|pieces| pieces.concat())
    };
    // Short ones too: inline texts deserve as many cases as shared ones.
    prop_oneof![pieces(0..4), pieces(0..30), "[ab \n,]{0,30}", "[a \n]{55,140}"].boxed()
}

/// `text` as a value of its own and as a slice of a larger block, at odd places.
fn forms(text: &str) -> [Str; 2] {
    let (before, after) = ("x\n,", ",y \u{3000}z");
    let block = TextBlock::from_string([before, text, after].concat());
    let whole = block.text();
    [Str::from(text), whole.slice(before.len()..before.len() + text.len())]
}

/// What `iter` yields, by `next`, by `fold` and by `fold` after one `next`, is `want`, and all in
/// the right form.
fn check<I: Iterator<Item = Str> + Clone>(iter: I, want: &[&str]) -> Result<(), TestCaseError> {
    let mut by_next = Vec::new();
    let mut iter_next = iter.clone();
    for piece in iter_next.by_ref() {
        by_next.push(piece);
    }
    prop_assert_eq!(&by_next, want);
    prop_assert_eq!(iter_next.next(), None, "not fused");
    let collect = |mut all: Vec<Str>, piece| {
        all.push(piece);
        all
    };
    prop_assert_eq!(iter.clone().fold(Vec::new(), collect), want);
    let mut rest = iter;
    let first = Vec::from_iter(rest.next());
    prop_assert_eq!(rest.fold(first, collect), want);
    for (piece, want) in by_next.iter().zip(want) {
        check_form(piece, want)?;
    }
    Ok(())
}

/// Nothing tells `piece` from a fresh `Str` of the same text.
fn check_form(piece: &Str, want: &str) -> Result<(), TestCaseError> {
    let fresh = Str::from(want);
    prop_assert_eq!(piece.as_str(), want);
    prop_assert_eq!(piece.is_inline(), want.len() <= Str::INLINE);
    prop_assert_eq!(piece, &fresh);
    prop_assert_eq!(piece.cmp(&fresh), std::cmp::Ordering::Equal);
    prop_assert_eq!(hash(piece), hash(&fresh));
    Ok(())
}

fn hash(text: &Str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// All that takes a pattern, against std. A macro, as std's trait cannot be named.
macro_rules! check_pattern {
    ($text:expr, $pattern:expr) => {
        let text: &str = $text;
        let pieces: Vec<&str> = text.split($pattern).collect();
        let terminated: Vec<&str> = text.split_terminator($pattern).collect();
        let inclusive: Vec<&str> = text.split_inclusive($pattern).collect();
        for line in forms(text) {
            check(line.split($pattern), &pieces)?;
            check(line.split_terminator($pattern), &terminated)?;
            check(line.split_inclusive($pattern), &inclusive)?;
            for n in 0..4 {
                let some: Vec<&str> = text.splitn(n, $pattern).collect();
                check(line.splitn(n, $pattern), &some)?;
            }
            let both = |pair: Option<(Str, Str)>| pair.map(|(a, b)| (a.to_string(), b.to_string()));
            let std = |pair: Option<(&str, &str)>| pair.map(|(a, b)| (a.to_owned(), b.to_owned()));
            prop_assert_eq!(both(line.split_once($pattern)), std(text.split_once($pattern)));
            prop_assert_eq!(both(line.rsplit_once($pattern)), std(text.rsplit_once($pattern)));
            let prefix = line.strip_prefix($pattern);
            prop_assert_eq!(prefix.as_deref(), text.strip_prefix($pattern));
            let suffix = line.strip_suffix($pattern);
            prop_assert_eq!(suffix.as_deref(), text.strip_suffix($pattern));
            prop_assert_eq!(line.find($pattern), text.find($pattern));
            prop_assert_eq!(line.rfind($pattern), text.rfind($pattern));
            prop_assert_eq!(line.contains($pattern), text.contains($pattern));
            prop_assert_eq!(line.starts_with($pattern), text.starts_with($pattern));
            prop_assert_eq!(line.ends_with($pattern), text.ends_with($pattern));
        }
    };
}

macro_rules! check_trim {
    ($text:expr, $pattern:expr) => {
        let text: &str = $text;
        for line in forms(text) {
            check_form(&line.trim_matches($pattern), text.trim_matches($pattern))?;
            check_form(&line.trim_start_matches($pattern), text.trim_start_matches($pattern))?;
            check_form(&line.trim_end_matches($pattern), text.trim_end_matches($pattern))?;
        }
    };
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 150 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn text_patterns_match_as_in_std(text in texts(), at in 0usize..400, len in 0usize..40) {
        check_pattern!(&text, " ");
        check_pattern!(&text, "ab");
        check_pattern!(&text, "");
        check_pattern!(&text, &"a ".to_owned());
        check_pattern!(&text, &"\u{3000}");
        // A needle that is there, of any length.
        let indices: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        let from = indices.get(at % (indices.len() + 1)).copied().unwrap_or(text.len());
        let needle: String = text[from..].chars().take(len).collect();
        check_pattern!(&text, &needle);
        for line in forms(&text) {
            prop_assert_eq!(line.find(&Str::from(&needle)), text.find(&needle));
            let pieces: Vec<&str> = text.split(&needle).collect();
            check(line.split(&Str::from(&needle)), &pieces)?;
        }
    }

    #[test]
    fn char_patterns_match_as_in_std(text in texts()) {
        check_pattern!(&text, ' ');
        check_pattern!(&text, '\0');
        check_pattern!(&text, '日');
        check_pattern!(&text, ['a', '日']);
        check_pattern!(&text, &[',', ' ']);
        check_pattern!(&text, &[' ', 'ä'][..]);
        check_pattern!(&text, char::is_whitespace);
        check_pattern!(&text, |c: char| !c.is_alphanumeric());
        check_trim!(&text, 'a');
        check_trim!(&text, ['a', ' ']);
        check_trim!(&text, &['a', '日'][..]);
        check_trim!(&text, char::is_alphanumeric);
    }

    #[test]
    fn whitespace_and_lines_are_cut_as_in_std(text in texts()) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let ascii: Vec<&str> = text.split_ascii_whitespace().collect();
        let lines: Vec<&str> = text.lines().collect();
        for line in forms(&text) {
            check(line.split_whitespace(), &words)?;
            check(line.split_ascii_whitespace(), &ascii)?;
            check(line.lines(), &lines)?;
            check_form(&line.trim(), text.trim())?;
            check_form(&line.trim_start(), text.trim_start())?;
            check_form(&line.trim_end(), text.trim_end())?;
            check_form(&line.detach(), &text)?;
        }
    }

    #[test]
    fn a_block_has_the_lines_of_its_text(text in texts(), bytes in 0usize..200) {
        let block = TextBlock::from_str(&text);
        let lines: Vec<&str> = text.lines().collect();
        prop_assert_eq!(block.as_str(), &text);
        prop_assert_eq!(block.line_count(), lines.len());
        check(block.lines(), &lines)?;
        check(block.line_runs(bytes).flatten(), &lines)?;
        for run in block.line_runs(bytes) {
            prop_assert!(run.count() > 0);
        }
        // Stops where it is told to.
        let mut seen = Vec::new();
        let ended = block.lines().each(|line| {
            seen.push(line);
            if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        prop_assert_eq!(ended.is_break(), lines.len() >= 2);
        prop_assert_eq!(&seen, &lines[..lines.len().min(2)]);
    }

    #[test]
    fn order_and_equality_are_those_of_str(a in texts(), b in texts(), c in "[a\0\u{1}]{0,26}", d in "[a\0]{0,26}") {
        for (a, b) in [(&a, &b), (&c, &d), (&a, &a), (&c, &c)] {
            for (x, y) in forms(a).iter().zip(forms(b).iter().rev()) {
                prop_assert_eq!(x.cmp(y), a.cmp(b));
                prop_assert_eq!(x == y, a == b);
                prop_assert_eq!(x == b.as_str(), a == b);
                prop_assert_eq!(b == x, a == b);
                prop_assert_eq!(a != b || hash(x) == hash(y), true);
            }
        }
    }

    #[test]
    fn serde_gives_the_same_text_back(text in texts()) {
        for line in forms(&text) {
            let json = serde_json::to_string(&line).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&text).unwrap());
            check_form(&serde_json::from_str::<Str>(&json).unwrap(), &text)?;
            check_form(&serde_json::from_reader::<_, Str>(json.as_bytes()).unwrap(), &text)?;
            let value = serde_json::to_value(&line).unwrap();
            check_form(&serde_json::from_value::<Str>(value).unwrap(), &text)?;
            let bytes = postcard::to_stdvec(&line).unwrap();
            check_form(&postcard::from_bytes::<Str>(&bytes).unwrap(), &text)?;
        }
    }

    #[test]
    fn invalid_sequences_are_replaced_and_counted(mut bytes in texts().prop_map(String::into_bytes), bad in prop::collection::vec((0usize..300, any::<u8>()), 0..4)) {
        for (at, byte) in bad {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let want = String::from_utf8_lossy(&bytes);
        let already = bytes.windows(3).filter(|w| w == b"\xef\xbf\xbd").count();
        let (block, replaced) = TextBlock::from_utf8_lossy(bytes.clone());
        prop_assert_eq!(block.as_str(), &want);
        prop_assert_eq!(replaced, want.matches('\u{fffd}').count() - already);
        prop_assert_eq!(TextBlock::new(bytes).is_ok(), replaced == 0);
    }
}

#[test]
fn long_texts_are_searched_as_in_std() {
    // Many false candidates, and texts beyond the border to `memmem`.
    let most = if cfg!(miri) { 200 } else { 5000 };
    for n in [0, 1, 15, 16, 17, 100, most / 3, most] {
        for needle in ["ab", "aab", "aaab", "abbbbbba", "aaaaaaaaaaaaaaaaaaaaaaaaaaaab"] {
            for text in ["a".repeat(n), "a".repeat(n) + needle, "ab".repeat(n) + "aab"] {
                let found = needle.find_in(&text);
                assert_eq!(found, text.find(needle), "{needle} in {n}");
            }
        }
    }
    // All four compared bytes agree, the rest does not.
    let text = "abcXefgh".repeat(200);
    assert_eq!("abcYefgh".find_in(&text), None);
    let text = text + "abcYefgh";
    assert_eq!("abcYefgh".find_in(&text), Some(1600));
}

#[test]
fn conversions_agree() {
    for text in ["", "ä", "exactly 23 bytes long..", "more than 23 bytes long.", LONG] {
        let str = Str::from(text);
        assert_eq!(str, Str::from(text.to_owned()));
        assert_eq!(str, Str::from(&text.to_owned()));
        assert_eq!(str, text.parse::<Str>().unwrap());
        assert_eq!(str, text.chars().collect::<Str>());
        assert_eq!(str, text.split_inclusive(' ').collect::<Str>());
        assert_eq!(str, Str::from(std::borrow::Cow::from(text)));
        assert_eq!(str, Str::from(std::borrow::Cow::from(text.to_owned())));
        assert_eq!(String::from(str.clone()), text);
        assert_eq!(text.to_owned(), str);
        assert_eq!(str, text.to_owned());
        assert_eq!(*text, str);
        assert_eq!(format!("{str} {str:?} {str:>40}"), format!("{text} {text:?} {text:>40}"));
    }
    assert_eq!(Str::from('語'), "語");
    assert_eq!(Str::default(), Str::new());
    assert_eq!(Str::from_static("12").parse(), Ok(12));
}

#[test]
fn memory_is_reused_and_bounded() {
    let mut text = String::with_capacity(LONG.len() + TextBlock::PAD);
    text.push_str(LONG);
    let address = text.as_ptr();
    let text = Str::from(text);
    assert_eq!(text.as_ptr(), address);
    assert_eq!(text.detach().as_ptr(), address, "nothing to gain by a copy");
    let mut roomy = String::with_capacity(10_000);
    roomy.push_str(LONG);
    assert!(Str::from(roomy).pinned_bytes() < 200);

    let block = TextBlock::from_str(&LONG.repeat(100));
    let part = block.text().slice(..30);
    assert_eq!(part.pinned_bytes(), block.allocated_bytes());
    assert_eq!(part.detach().pinned_bytes(), 30 + TextBlock::PAD);
    assert_eq!(block.text().slice(..23).pinned_bytes(), 0);
}

#[test]
fn every_count_is_given_back() {
    let block = TextBlock::from_str(&format!("{LONG} {LONG}\nshort {LONG}\n").repeat(9));
    let count = || Arc::strong_count(&block);
    let kept: Vec<Str> = block.lines().flat_map(|line| line.split('|')).collect();
    assert_eq!(count(), 1 + kept.len());
    let copies = kept.clone();
    assert_eq!(count(), 1 + 2 * kept.len());
    drop((kept, copies));
    assert_eq!(count(), 1);
    let mut lines = block.lines();
    let mut words = lines.next().unwrap().split_whitespace();
    words.next();
    drop((lines, words));
    let _ = block.lines().each(|_| ControlFlow::Break(()));
    assert_eq!(count(), 1);
    let panicked = std::panic::catch_unwind(|| {
        let mut held = Vec::new();
        block.lines().for_each(|line| {
            held.push(line);
            assert!(held.len() < 3, "on purpose");
        });
    });
    assert!(panicked.is_err());
    assert_eq!(count(), 1);
    let last = block.text();
    drop(block);
    assert!(last.ends_with('\n'));
}

#[test]
fn threads_share_a_block() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(Str, Arc<TextBlock>, Lines, LineRuns)>();
    check::<(SplitWhitespace, SplitAsciiWhitespace, Split<<&str as Pattern>::Searcher>)>();

    let lines = if cfg!(miri) { 20 } else { 500 };
    let block = TextBlock::from_string(format!("{LONG} a {LONG}\n").repeat(lines));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let text = block.text();
            thread::spawn(move || {
                let mut counts = HashMap::<Str, usize>::new();
                for word in text.lines().flat_map(|line| line.split("an ")) {
                    *counts.entry(word).or_default() += 1;
                }
                counts
            })
        })
        .collect();
    for thread in threads {
        let counts = thread.join().unwrap();
        assert_eq!(counts.values().sum::<usize>(), 3 * lines);
    }
    assert_eq!(Arc::strong_count(&block), 1);
}

#[test]
#[should_panic(expected = "char boundary")]
fn slicing_a_character_panics() {
    Str::from("ä").slice(1..);
}

#[test]
#[should_panic(expected = "does not lie within the text")]
fn a_part_of_another_text_panics() {
    Str::from(LONG).sub("a");
}
