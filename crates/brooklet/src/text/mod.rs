//! Text as a stream element: [`Str`] and the block it is cut from.
//!
//! A source receives text in large pieces. Each piece becomes one [`TextBlock`], checked once to
//! be UTF-8, and every line, word or field cut from it is a [`Str`]: 24 bytes, owned, `Send`,
//! `Sync` and `'static`, so that it can be a key, cross a shuffle or live in state. Up to
//! [`Str::INLINE`] bytes are stored in the value itself; longer text is a counted slice of its
//! block. Cutting never allocates.
//!
//! ```
//! use brooklet::Str;
//! use brooklet::text::TextBlock;
//!
//! let block = TextBlock::from_str("to be or not\nto be\n");
//! let words: Vec<Str> = block.lines().flat_map(|line| line.split(" ")).collect();
//! assert_eq!(words, ["to", "be", "or", "not", "to", "be"]);
//! ```
//!
//! The methods of `Str` that cut text ([`split`](Str::split), [`trim`](Str::trim), ...) carry the
//! names of `str`'s and yield `Str`s; everything else of `str` is there by `Deref`.
//!
//! # What a long text costs
//!
//! A `Str` longer than [`Str::INLINE`] keeps its whole block alive ([`Str::pinned_bytes`]). That
//! is what one wants within a batch, and not what one wants of a key that stays in state for a
//! week: [`Str::detach`] copies the text out. The engine does so, where that saves memory, for results
//! on the driver (`collect`, `take`, `reduce`, ...) and for persisted records; a program that keeps a
//! `Str` from inside a closure, or a few of many collected ones, has to do it itself.
//!
//! # Where the unsafe code is
//!
//! | file | what it does | what it relies on |
//! |---|---|---|
//! | `string.rs` | the 24-byte layout, counting references | one invariant, stated there |
//! | `block.rs` | reads a block as `str` | the text was checked when the block was made |
//! | `mask.rs` | SIMD: where in 64 bytes is this byte? | readable bytes, given by `TextBlock::PAD` |
//! | `split.rs`, `whitespace.rs`, `lines.rs`, `search.rs` | walk over a text with masks | the same, and ASCII cuts |
//! | `methods.rs` | `sub` turns a borrowed part into a piece | the part was checked to lie in the text |

mod block;
mod convert;
mod lines;
mod mask;
mod methods;
mod pattern;
pub(crate) mod pins;
mod search;
mod split;
mod string;
mod whitespace;

#[cfg(test)]
mod tests;

pub use block::TextBlock;
pub use lines::{LineRuns, Lines};
pub use pattern::{
    CharPattern, CharSearcher, FnSearcher, Pattern, Searcher, SetSearcher, TextSearcher,
};
pub use split::{Split, SplitInclusive, SplitN, SplitTerminator};
pub use string::Str;
pub use whitespace::{SplitAsciiWhitespace, SplitWhitespace};
