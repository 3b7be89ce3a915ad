//! What the searching and splitting methods of [`Str`] accept.
//!
//! These are the kinds std's `Pattern` accepts, which cannot be named on stable Rust. Both traits
//! are sealed: unsafe code trusts the places a [`Searcher`] returns.

use super::search::find_text;
use super::string::Str;
use std::fmt;

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// What [`Str::split`], [`Str::find`] and their kin look for: a `&str`, `&String`, `&Str` or
/// `&&str`; a `char`; an array or slice of `char`s; or a closure `FnMut(char) -> bool`.
///
/// This trait is sealed.
///
/// ```
/// use brooklet::Str;
///
/// let line = Str::from("a1b22c");
/// assert!(line.split("1b").eq(["a", "22c"]));
/// assert!(line.split('1').eq(["a", "b22c"]));
/// assert!(line.split(['1', '2']).eq(["a", "b", "", "c"]));
/// assert!(line.split(|c: char| c.is_numeric()).eq(["a", "b", "", "c"]));
/// ```
pub trait Pattern: Sized + Sealed {
    /// Owns what it looks for, so that an iterator over pieces borrows nothing.
    type Searcher: Searcher;

    /// A searcher for one text.
    fn searcher(self) -> Self::Searcher;

    /// Where the first match starts, without making a searcher if that costs something.
    #[inline(always)]
    fn find_in(self, text: &str) -> Option<usize> {
        self.searcher().find_from(text, 0).map(|(start, _)| start)
    }

    /// Start and end of the last match.
    fn rfind_in(self, text: &str) -> Option<(usize, usize)>;

    /// What follows the match at the start of `text`, if there is one.
    fn after_prefix(self, text: &str) -> Option<&str>;

    /// What precedes the match at the end of `text`, if there is one.
    fn before_suffix(self, text: &str) -> Option<&str>;
}

/// A [`Pattern`] that matches single characters: what [`Str::trim_matches`] accepts.
///
/// This trait is sealed.
///
/// ```
/// use brooklet::Str;
///
/// assert_eq!(Str::from("--a-b-").trim_matches('-'), "a-b");
/// assert_eq!(Str::from("(a b]").trim_matches(['(', ']']), "a b");
/// assert_eq!(Str::from("12a3").trim_matches(char::is_numeric), "a");
/// ```
pub trait CharPattern: Pattern {
    /// Whether `c` matches.
    fn matches(&mut self, c: char) -> bool;
}

/// Finds the matches of a [`Pattern`] in one text, from front to back.
///
/// This trait is sealed. It is of use only as a bound, as in [`Split`](super::Split).
pub trait Searcher: Sealed {
    /// Start and end of the first match at or after byte `from`, both on character boundaries.
    fn find_from(&mut self, text: &str, from: usize) -> Option<(usize, usize)>;

    /// What is looked for, if that is one ASCII byte: callers may then search by other means.
    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        None
    }
}

/// Where matches lie at the ends of a text, std knows best: `$std` is the same pattern for std.
macro_rules! ends_by_std {
    ($pattern:ident => $std:expr) => {
        #[inline]
        fn rfind_in(self, text: &str) -> Option<(usize, usize)> {
            let $pattern = self;
            let (start, found) = text.rmatch_indices($std).next()?;
            Some((start, start + found.len()))
        }

        #[inline]
        fn after_prefix(self, text: &str) -> Option<&str> {
            let $pattern = self;
            text.strip_prefix($std)
        }

        #[inline]
        fn before_suffix(self, text: &str) -> Option<&str> {
            let $pattern = self;
            text.strip_suffix($std)
        }
    };
}

/// The [`Searcher`] for text.
#[derive(Clone, Debug)]
pub struct TextSearcher {
    needle: Str,
    /// Where an empty needle matched last; it matches between all characters, as in std.
    last: Option<usize>,
}

impl Sealed for TextSearcher {}

impl Searcher for TextSearcher {
    #[inline]
    fn find_from(&mut self, text: &str, from: usize) -> Option<(usize, usize)> {
        if self.needle.is_empty() {
            let at = match self.last {
                None => 0,
                Some(last) => last + text[last..].chars().next()?.len_utf8(),
            };
            self.last = Some(at);
            return Some((at, at));
        }
        let start = from + find_text(&text.as_bytes()[from..], self.needle.as_bytes())?;
        Some((start, start + self.needle.len()))
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        match self.needle.as_bytes() {
            &[byte] => Some(byte),
            _ => None,
        }
    }
}

impl Sealed for &str {}

impl Pattern for &str {
    type Searcher = TextSearcher;

    #[inline(always)]
    fn searcher(self) -> TextSearcher {
        TextSearcher { needle: Str::from(self), last: None }
    }

    #[inline(always)]
    fn find_in(self, text: &str) -> Option<usize> {
        find_text(text.as_bytes(), self.as_bytes())
    }

    ends_by_std!(needle => needle);
}

impl Sealed for &Str {}

impl Pattern for &Str {
    type Searcher = TextSearcher;

    #[inline(always)]
    fn searcher(self) -> TextSearcher {
        TextSearcher { needle: self.clone(), last: None }
    }

    #[inline(always)]
    fn find_in(self, text: &str) -> Option<usize> {
        self.as_str().find_in(text)
    }

    ends_by_std!(needle => needle.as_str());
}

macro_rules! as_str_pattern {
    ($($pattern:ty),*) => {$(
        impl Sealed for $pattern {}

        impl Pattern for $pattern {
            type Searcher = TextSearcher;

            #[inline(always)]
            fn searcher(self) -> TextSearcher {
                let text: &str = self;
                text.searcher()
            }

            #[inline(always)]
            fn find_in(self, text: &str) -> Option<usize> {
                let needle: &str = self;
                needle.find_in(text)
            }

            ends_by_std!(needle => needle);
        }
    )*};
}
as_str_pattern!(&String, &&str);

/// The [`Searcher`] for one character.
#[derive(Clone, Debug)]
pub struct CharSearcher(char);

impl Sealed for CharSearcher {}

impl Searcher for CharSearcher {
    #[inline]
    fn find_from(&mut self, text: &str, from: usize) -> Option<(usize, usize)> {
        let rest = &text.as_bytes()[from..];
        if let Some(byte) = self.byte() {
            let start = from + memchr::memchr(byte, rest)?;
            return Some((start, start + 1));
        }
        let mut buffer = [0; 4];
        let needle = self.0.encode_utf8(&mut buffer).as_bytes();
        let start = from + find_text(rest, needle)?;
        Some((start, start + needle.len()))
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        self.0.is_ascii().then_some(self.0 as u8)
    }
}

impl Sealed for char {}

impl Pattern for char {
    type Searcher = CharSearcher;

    #[inline(always)]
    fn searcher(self) -> CharSearcher {
        CharSearcher(self)
    }

    ends_by_std!(c => c);
}

impl CharPattern for char {
    #[inline(always)]
    fn matches(&mut self, c: char) -> bool {
        *self == c
    }
}

#[inline(always)]
fn find_char(
    text: &str,
    from: usize,
    mut matches: impl FnMut(char) -> bool,
) -> Option<(usize, usize)> {
    let (i, c) = text[from..].char_indices().find(|&(_, c)| matches(c))?;
    Some((from + i, from + i + c.len_utf8()))
}

/// The [`Searcher`] for the characters a closure says yes to.
#[derive(Clone)]
pub struct FnSearcher<F>(F);

impl<F> fmt::Debug for FnSearcher<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnSearcher").finish_non_exhaustive()
    }
}

impl<F> Sealed for FnSearcher<F> {}

impl<F: FnMut(char) -> bool> Searcher for FnSearcher<F> {
    #[inline]
    fn find_from(&mut self, text: &str, from: usize) -> Option<(usize, usize)> {
        find_char(text, from, &mut self.0)
    }
}

// `FnMut` is a fundamental trait, so these do not overlap with those for `char` and `&str`.
impl<F: FnMut(char) -> bool> Sealed for F {}

impl<F: FnMut(char) -> bool> Pattern for F {
    type Searcher = FnSearcher<F>;

    #[inline(always)]
    fn searcher(self) -> FnSearcher<F> {
        FnSearcher(self)
    }

    ends_by_std!(matches => matches);
}

impl<F: FnMut(char) -> bool> CharPattern for F {
    #[inline(always)]
    fn matches(&mut self, c: char) -> bool {
        self(c)
    }
}

/// The [`Searcher`] for any of several characters.
#[derive(Clone, Debug)]
pub struct SetSearcher<C>(C);

impl<C> Sealed for SetSearcher<C> {}

impl<C: AsRef<[char]>> Searcher for SetSearcher<C> {
    #[inline]
    fn find_from(&mut self, text: &str, from: usize) -> Option<(usize, usize)> {
        find_char(text, from, |c| self.0.as_ref().contains(&c))
    }
}

/// `$owned` makes the pattern into what the searcher keeps.
macro_rules! set_pattern {
    ([$($generics:tt)*] $pattern:ty, $kept:ty, $set:ident => $owned:expr) => {
        impl<$($generics)*> Sealed for $pattern {}

        impl<$($generics)*> Pattern for $pattern {
            type Searcher = SetSearcher<$kept>;

            #[inline(always)]
            fn searcher(self) -> Self::Searcher {
                let $set = self;
                SetSearcher($owned)
            }

            #[inline(always)]
            fn find_in(self, text: &str) -> Option<usize> {
                text.find(self)
            }

            ends_by_std!(set => set);
        }

        impl<$($generics)*> CharPattern for $pattern {
            #[inline(always)]
            fn matches(&mut self, c: char) -> bool {
                self.contains(&c)
            }
        }
    };
}
set_pattern!([const N: usize] [char; N], [char; N], set => set);
set_pattern!([const N: usize] &[char; N], [char; N], set => *set);
set_pattern!([] &[char], Box<[char]>, set => set.into());
