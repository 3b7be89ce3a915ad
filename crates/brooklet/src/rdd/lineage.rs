//! `to_debug_string`: an RDD's lineage as text, one block of lines for each stage.

use std::collections::HashSet;
use std::fmt::{self, Display, Write};

use super::Rdd;
use super::pipe::Pipe;
use crate::data::Data;
use crate::engine::{StageKey, TaskBody};

/// The text of a lineage while it is written; see [`Pipe::lineage`].
#[derive(Debug, Default)]
pub struct Lineage {
    text: String,
    depth: usize,
    /// The next line begins a block: a stage, or a branch of one.
    begins: bool,
    /// Given by `set_name`, for the next line.
    name: Option<std::sync::Arc<str>>,
    seen: HashSet<StageKey>,
}

impl Lineage {
    /// One operator or source, and how many partitions it has.
    pub fn step(&mut self, what: &dyn Display, partitions: usize) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for _ in 1..self.depth {
            self.text.push_str(" |  ");
        }
        let name = self.name.take().map(|n| format!("{n}: ")).unwrap_or_default();
        let begins = std::mem::take(&mut self.begins) || self.text.is_empty();
        // Writing to a string can't fail.
        let _: fmt::Result = match (begins, self.depth) {
            (true, 0) => write!(self.text, "({partitions}) {name}{what}"),
            (true, _) => write!(self.text, " +- ({partitions}) {name}{what}"),
            (false, 0) => write!(self.text, " |  {name}{what}"),
            (false, _) => write!(self.text, " |   |  {name}{what}"),
        };
    }

    /// What follows is called so by the program.
    pub(crate) fn named(&mut self, name: &std::sync::Arc<str>) {
        self.name = Some(name.clone());
    }

    /// One of several parents.
    pub(crate) fn branch(&mut self, write: impl FnOnce(&mut Lineage)) {
        self.depth += 1;
        self.begins = true;
        write(self);
        self.depth -= 1;
        self.begins = false;
    }

    /// A stage that is read here: a block of its own. A stage that is read twice is written once.
    pub(crate) fn stage(&mut self, stage: &dyn TaskBody) {
        self.branch(|out| {
            if out.seen.insert(stage.key()) {
                stage.lineage(out);
            } else {
                out.step(&"the same stage as above", stage.width());
            }
        });
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The lineage as text, for people: one line for each operator with its call site, a block (with its
    /// number of partitions) for each stage and for each of several parents. Runs nothing.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let words = ctx.parallelize(["a", "b"].map(String::from), 3).set_name("words");
    /// let text = words.map(|w| (w, 1)).reduce_by_key(|a, b| a + b).to_debug_string();
    /// let lines: Vec<&str> = text.lines().collect();
    /// assert!(lines[0].starts_with("(3) `reduce_by_key` ("));
    /// assert!(lines[1].starts_with(" +- (3) `map` ("));
    /// assert_eq!(lines[2], " |   |  words: records in memory");
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn to_debug_string(&self) -> String {
        let mut out = Lineage { begins: true, ..Lineage::default() };
        self.pipe.lineage(&mut out);
        out.text
    }
}
