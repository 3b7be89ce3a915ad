//! Names by pattern, as in a shell: of directories, files and logs.
//!
//! | | |
//! |---|---|
//! | `*` | any characters |
//! | `?` | one character |
//! | `[abc]`, `[a-z]`, `[^a]`, `[!a]` | one of, one not of |
//! | `{in,out}` | one of these texts, patterns themselves |
//! | `\x` | the character x itself |

/// A pattern of names: the alternatives that `{..}` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Vec<Token>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
    Set { not: bool, ranges: Vec<(char, char)> },
}

/// What isn't itself in a pattern.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

impl Glob {
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn new(text: &str) -> Result<Glob, String> {
        let texts = braces(&text.chars().collect::<Vec<_>>())?;
        texts.iter().map(|t| tokens(t)).collect::<Result<_, _>>().map(Glob)
    }

    /// Whether a name may be a pattern.
    pub(crate) fn is_special(text: &str) -> bool {
        text.contains(SPECIAL)
    }

    /// The part of a pattern before its first special character.
    pub(crate) fn plain_part(text: &str) -> &str {
        &text[..text.find(SPECIAL).unwrap_or(text.len())]
    }

    /// Without any wildcard: the name itself.
    pub(crate) fn literal(&self) -> Option<String> {
        let [only] = &self.0[..] else { return None };
        only.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
    }

    /// Whether a name fits. As in a shell, a `.` at its beginning has to be written out.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let hidden = name.starts_with('.');
        let name: Vec<char> = name.chars().collect();
        let may = |p: &Vec<Token>| !hidden || p.first() == Some(&Token::Char('.'));
        self.0.iter().any(|p| may(p) && fits(p, &name))
    }
}

/// Most alternatives that `{..}` may give.
const MAX_ALTERNATIVES: usize = 1_000;

/// The texts that `{a,b}` stands for.
fn braces(text: &[char]) -> Result<Vec<Vec<char>>, String> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '{' => break,
            _ => at += 1,
        }
    }
    if at >= text.len() {
        return Ok(vec![text.to_vec()]);
    }
    let (mut depth, mut i, mut from) = (0, at + 1, at + 1);
    let mut parts = Vec::new();
    loop {
        match text.get(i) {
            None => return Err("`{` has no `}`".into()),
            Some('\\') => i += 1,
            Some('{') => depth += 1,
            Some('}') if depth == 0 => break,
            Some('}') => depth -= 1,
            Some(',') if depth == 0 => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
        i += 1;
    }
    parts.push(&text[from..i]);
    let rest = braces(&text[i + 1..])?;
    let mut all = Vec::new();
    for part in parts {
        for middle in braces(part)? {
            for end in &rest {
                all.push([&text[..at], &middle, end].concat());
            }
        }
    }
    if all.len() > MAX_ALTERNATIVES {
        return Err(format!("it has more than {MAX_ALTERNATIVES} alternatives"));
    }
    Ok(all)
}

fn tokens(text: &[char]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.iter().copied().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Any) => continue,
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().ok_or("`\\` at the end stands before nothing")?),
            '[' => {
                let not = rest.next_if(|c| matches!(c, '^' | '!')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let open = || String::from("`[` has no `]`");
                    let mut c = rest.next().ok_or_else(open)?;
                    if c == ']' && !ranges.is_empty() {
                        break;
                    }
                    if c == '\\' {
                        c = rest.next().ok_or_else(open)?;
                    }
                    let mut end = c;
                    let mut ahead = rest.clone();
                    if ahead.next() == Some('-')
                        && let Some(to) = ahead.next()
                        && to != ']'
                    {
                        (end, rest) = (to, ahead);
                        if end < c {
                            return Err(format!("`{c}-{end}` is no range"));
                        }
                    }
                    ranges.push((c, end));
                }
                Token::Set { not, ranges }
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// By going back to the last `*` only: the time is the product of the lengths at worst.
fn fits(pattern: &[Token], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while n < name.len() {
        let one = match pattern.get(p) {
            Some(Token::Any) => {
                last = Some((p, n));
                p += 1;
                continue;
            }
            Some(Token::One) => true,
            Some(Token::Char(c)) => *c == name[n],
            Some(Token::Set { not, ranges }) => {
                ranges.iter().any(|(a, b)| (*a..=*b).contains(&name[n])) != *not
            }
            None => false,
        };
        if one {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, from)) = last {
            last = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|t| *t == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_their_patterns() {
        for (pattern, name, want) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            (".*", ".abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*b*b*", "abcb", true),
            ("a?c", "a流c", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[!a]x", "bx", true),
            ("[]a]x", "]x", true),
            ("{in,out}*", "out1", true),
            ("{in,out}*", "up", false),
            ("a{b,{c,d}e}", "ade", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("plain", "plain", true),
            ("*.log", "a.log.1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]x", "]x", true),
            ("", "", true),
            ("**", "anything", true),
            ("*", "", true),
            ("a?c*", "abc", true),
            ("*ä?", "xäö", true),
            ("*.txt", "a.txt~", false),
            ("?", "", false),
            ("a", "ab", false),
            ("a*c", "ab", false),
        ] {
            let glob = Glob::new(pattern).unwrap();
            assert_eq!(glob.matches(name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = Glob::new(&"*a".repeat(40)).unwrap();
        assert!(!glob.matches(&"a".repeat(39)));
        assert!(!glob.matches(&("a".repeat(2_000) + "b")));
    }

    #[test]
    fn names_without_wildcards_are_themselves() {
        assert_eq!(Glob::new("a\\*b").unwrap().literal().as_deref(), Some("a*b"));
        assert_eq!(Glob::new("a?").unwrap().literal(), None);
        assert_eq!((Glob::plain_part("app-[ab].log"), Glob::plain_part("app")), ("app-", "app"));
    }
}
