//! The methods of [`Str`] that cut and search: named as those of `str`, and yielding `Str`s.
//!
//! They take `&self`, so that they work on an owned line (in `flat_map`) as on a borrowed one (in
//! `filter`), and what they return borrows nothing.
#![allow(unsafe_code)]

use super::lines::Lines;
use super::pattern::{CharPattern, Pattern};
use super::split::{Split, SplitInclusive, SplitN, SplitTerminator};
use super::string::Str;
use super::whitespace::{SplitAsciiWhitespace, SplitWhitespace};
use std::slice::SliceIndex;

/// Cutting and searching. Nothing here allocates, except that looking for pieces between texts of
/// more than [`Str::INLINE`] bytes, or between a slice of characters, keeps a copy of those.
impl Str {
    /// The pieces between the matches of `pattern`, as [`str::split`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("a,b,,c").split(',').eq(["a", "b", "", "c"]));
    /// assert!(Str::from("").split(',').eq([""]));
    /// ```
    #[inline(always)]
    pub fn split<P: Pattern>(&self, pattern: P) -> Split<P::Searcher> {
        Split::new(self.clone(), pattern.searcher())
    }

    /// At most `n` pieces, the last of which is all that is left, as [`str::splitn`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("GET /a b").splitn(2, ' ').eq(["GET", "/a b"]));
    /// ```
    #[inline(always)]
    pub fn splitn<P: Pattern>(&self, n: usize, pattern: P) -> SplitN<P::Searcher> {
        SplitN::new(self.split(pattern), n)
    }

    /// The pieces that end at the matches of `pattern`, without an empty one after the last match,
    /// as [`str::split_terminator`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("a;b;").split_terminator(';').eq(["a", "b"]));
    /// ```
    #[inline(always)]
    pub fn split_terminator<P: Pattern>(&self, pattern: P) -> SplitTerminator<P::Searcher> {
        SplitTerminator::new(self.split(pattern))
    }

    /// The pieces, each with the match of `pattern` that ends it, as [`str::split_inclusive`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("a;b;c").split_inclusive(';').eq(["a;", "b;", "c"]));
    /// ```
    #[inline(always)]
    pub fn split_inclusive<P: Pattern>(&self, pattern: P) -> SplitInclusive<P::Searcher> {
        SplitInclusive::new(self.split(pattern))
    }

    /// What is before and after the first match of `pattern`, as [`str::split_once`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// let (key, value) = Str::from("a=b=c").split_once('=').unwrap();
    /// assert_eq!((key.as_str(), value.as_str()), ("a", "b=c"));
    /// assert_eq!(Str::from("a").split_once('='), None);
    /// ```
    #[inline]
    pub fn split_once<P: Pattern>(&self, pattern: P) -> Option<(Str, Str)> {
        use super::pattern::Searcher;
        self.around(pattern.searcher().find_from(self, 0)?)
    }

    /// What is before and after the last match of `pattern`, as [`str::rsplit_once`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// let (path, name) = Str::from("/a/b").rsplit_once('/').unwrap();
    /// assert_eq!((path.as_str(), name.as_str()), ("/a", "b"));
    /// ```
    #[inline]
    pub fn rsplit_once<P: Pattern>(&self, pattern: P) -> Option<(Str, Str)> {
        self.around(pattern.rfind_in(self)?)
    }

    #[inline]
    fn around(&self, (start, end): (usize, usize)) -> Option<(Str, Str)> {
        Some((self.slice(..start), self.slice(end..)))
    }

    /// The words between Unicode whitespace, none of them empty, as [`str::split_whitespace`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from(" a  b\t\u{3000}c ").split_whitespace().eq(["a", "b", "c"]));
    /// ```
    #[inline]
    pub fn split_whitespace(&self) -> SplitWhitespace {
        SplitWhitespace::new(self.clone())
    }

    /// The words between ASCII whitespace, none of them empty, as
    /// [`str::split_ascii_whitespace`]. Faster than [`split_whitespace`](Str::split_whitespace)
    /// where the text is not ASCII.
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from(" été  b\t").split_ascii_whitespace().eq(["été", "b"]));
    /// ```
    #[inline]
    pub fn split_ascii_whitespace(&self) -> SplitAsciiWhitespace {
        SplitAsciiWhitespace::new(self.clone())
    }

    /// The lines, without their ends `\n` or `\r\n`, as [`str::lines`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert!(Str::from("a\r\n\nb").lines().eq(["a", "", "b"]));
    /// ```
    #[inline]
    pub fn lines(&self) -> Lines {
        Lines::new(self.clone(), 0, self.len())
    }

    /// The text without whitespace at its ends, as [`str::trim`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from(" a b\n").trim(), "a b");
    /// ```
    #[inline]
    pub fn trim(&self) -> Str {
        self.sub(self.as_str().trim())
    }

    /// The text without whitespace at its start, as [`str::trim_start`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from(" a b\n").trim_start(), "a b\n");
    /// ```
    #[inline]
    pub fn trim_start(&self) -> Str {
        self.sub(self.as_str().trim_start())
    }

    /// The text without whitespace at its end, as [`str::trim_end`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from(" a b\n").trim_end(), " a b");
    /// ```
    #[inline]
    pub fn trim_end(&self) -> Str {
        self.sub(self.as_str().trim_end())
    }

    /// The text without the characters that match at its ends, as [`str::trim_matches`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("\"a\"").trim_matches('"'), "a");
    /// ```
    #[inline]
    pub fn trim_matches<P: CharPattern>(&self, mut pattern: P) -> Str {
        self.sub(self.as_str().trim_matches(|c| pattern.matches(c)))
    }

    /// The text without the characters that match at its start, as [`str::trim_start_matches`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("007").trim_start_matches('0'), "7");
    /// ```
    #[inline]
    pub fn trim_start_matches<P: CharPattern>(&self, mut pattern: P) -> Str {
        self.sub(self.as_str().trim_start_matches(|c| pattern.matches(c)))
    }

    /// The text without the characters that match at its end, as [`str::trim_end_matches`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("so?!").trim_end_matches(['?', '!']), "so");
    /// ```
    #[inline]
    pub fn trim_end_matches<P: CharPattern>(&self, mut pattern: P) -> Str {
        self.sub(self.as_str().trim_end_matches(|c| pattern.matches(c)))
    }

    /// What follows `prefix`, if the text starts with it, as [`str::strip_prefix`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert_eq!(Str::from("#tag").strip_prefix('#'), Some(Str::from("tag")));
    /// assert_eq!(Str::from("tag").strip_prefix('#'), None);
    /// ```
    #[inline]
    pub fn strip_prefix<P: Pattern>(&self, prefix: P) -> Option<Str> {
        prefix.after_prefix(self).map(|rest| self.sub(rest))
    }

    /// What precedes `suffix`, if the text ends with it, as [`str::strip_suffix`].
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// assert_eq!(Str::from("a.log").strip_suffix(".log"), Some(Str::from("a")));
    /// ```
    #[inline]
    pub fn strip_suffix<P: Pattern>(&self, suffix: P) -> Option<Str> {
        suffix.before_suffix(self).map(|rest| self.sub(rest))
    }

    /// The byte where the first match of `pattern` starts, as [`str::find`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("say hello").find("hello"), Some(4));
    /// ```
    #[inline(always)]
    pub fn find<P: Pattern>(&self, pattern: P) -> Option<usize> {
        pattern.find_in(self)
    }

    /// The byte where the last match of `pattern` starts, as [`str::rfind`].
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("a b c").rfind(' '), Some(3));
    /// ```
    #[inline]
    pub fn rfind<P: Pattern>(&self, pattern: P) -> Option<usize> {
        pattern.rfind_in(self).map(|(start, _)| start)
    }

    /// Whether `pattern` matches somewhere, as [`str::contains`].
    ///
    /// ```
    /// assert!(brooklet::Str::from("an ERROR occurred").contains("ERROR"));
    /// ```
    #[inline(always)]
    pub fn contains<P: Pattern>(&self, pattern: P) -> bool {
        self.find(pattern).is_some()
    }

    /// Whether `pattern` matches at the start, as [`str::starts_with`].
    ///
    /// ```
    /// assert!(brooklet::Str::from("GET /").starts_with("GET "));
    /// ```
    #[inline]
    pub fn starts_with<P: Pattern>(&self, pattern: P) -> bool {
        pattern.after_prefix(self).is_some()
    }

    /// Whether `pattern` matches at the end, as [`str::ends_with`].
    ///
    /// ```
    /// assert!(brooklet::Str::from("a.gz").ends_with(".gz"));
    /// ```
    #[inline]
    pub fn ends_with<P: Pattern>(&self, pattern: P) -> bool {
        pattern.before_suffix(self).is_some()
    }

    /// The piece at `range` of bytes; what `&text[range]` is for `str`.
    ///
    /// # Panics
    ///
    /// As slicing a `str` does: if the range ends after the text or before it starts, or cuts a
    /// character. [`str::get`] and [`Str::sub`] together do not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// let line = Str::from("2024-05-01 up");
    /// assert_eq!(line.slice(..10), "2024-05-01");
    /// assert_eq!(line.get(11..99).map(|part| line.sub(part)), None);
    /// ```
    #[inline]
    pub fn slice<R: SliceIndex<str, Output = str>>(&self, range: R) -> Str {
        self.sub(&self.as_str()[range])
    }

    /// `part`, which borrows from this text, as a value of its own. The way back from what
    /// `str`'s methods return:
    ///
    /// ```
    /// use brooklet::Str;
    ///
    /// let line = Str::from("one, two");
    /// let last: Option<Str> = line.rsplit(", ").next().map(|part| line.sub(part));
    /// assert_eq!(last, Some(Str::from("two")));
    /// ```
    ///
    /// # Panics
    ///
    /// If `part` does not lie within this text.
    #[inline]
    pub fn sub(&self, part: &str) -> Str {
        let start = part.as_ptr().addr().wrapping_sub(self.as_ptr().addr());
        assert!(
            start <= self.len() && part.len() <= self.len() - start,
            "the part does not lie within the text"
        );
        // SAFETY: `part` is a `str` within this text, so it starts and ends on boundaries.
        unsafe { self.piece(start, start + part.len()) }
    }

    /// The same text, holding no more memory than it needs: long text that is a slice of a larger
    /// block is copied into a block of its own, other text is cloned.
    ///
    /// Call it on what outlives its batch.
    ///
    /// ```
    /// use brooklet::text::TextBlock;
    ///
    /// let block = TextBlock::from_str(&"a line of more than twenty-three bytes\n".repeat(1000));
    /// let line = block.lines().next().unwrap();
    /// assert!(line.pinned_bytes() > 30_000);
    /// assert_eq!(line.detach().pinned_bytes(), line.len() + TextBlock::PAD);
    /// ```
    pub fn detach(&self) -> Str {
        let needed = self.len() + super::TextBlock::PAD;
        if self.pinned_bytes() <= needed { self.clone() } else { Str::copied(self) }
    }

    /// The memory of the block this text keeps alive: 0 if it is inline, else
    /// [`TextBlock::allocated_bytes`](super::TextBlock::allocated_bytes).
    ///
    /// Texts of one block all name the whole of it, so these numbers do not add up.
    ///
    /// ```
    /// assert_eq!(brooklet::Str::from("short").pinned_bytes(), 0);
    /// ```
    #[inline]
    pub fn pinned_bytes(&self) -> usize {
        self.block().map_or(0, super::TextBlock::allocated_bytes)
    }
}
