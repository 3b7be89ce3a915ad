//! `print`: the first records of each batch on standard output.

use std::fmt::Debug;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::foreach_rdd::user_result;
use super::output::Runner;
use super::{DStream, Node, Output};
use crate::Time;
use crate::conf::defaults;
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::pipe::{Flow, Pipe};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Prints the first 10 records of each batch, below a header with the batch time; `...` says that
    /// there are more. Records are formatted where they are; only the text comes to the driver.
    ///
    /// ```no_run
    /// # use brooklet::prelude::*;
    /// # let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
    /// ssc.socket_text_stream("localhost", 9999).print();
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn print(&self) -> Output
    where
        T: Debug,
    {
        let write = |text: String| {
            let mut out = std::io::stdout().lock();
            // A reader that has gone away must not stop the stream.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        };
        self.print_at(Site::here("print"), defaults::PRINT_ELEMENTS, write)
    }

    /// [`DStream::print`] of the first `n` records.
    #[track_caller]
    pub fn print_n(&self, n: usize) -> Output
    where
        T: Debug,
    {
        let write = |text: String| {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        };
        self.print_at(Site::here("print"), n, write)
    }

    /// What [`DStream::print_n`] would print, given to `sink` instead.
    #[track_caller]
    pub fn print_to(&self, n: usize, sink: impl FnMut(String) + Send + 'static) -> Output
    where
        T: Debug,
    {
        self.print_at(Site::here("print_to"), n, sink)
    }

    #[track_caller]
    fn print_at(
        &self,
        site: Site,
        n: usize,
        mut sink: impl FnMut(String) + Send + 'static,
    ) -> Output
    where
        T: Debug,
    {
        let act = move |p: &N::Pipe, cx: &crate::engine::TaskCx<'_>| {
            let mut lines = Vec::new();
            let _ = p.try_each(cx, cx.partition(), |x| {
                lines.push(site.guard(|| format!("{x:?}")));
                if lines.len() > n { Flow::Break(()) } else { Flow::Continue(()) }
            })?;
            Ok(lines)
        };
        self.task_output(site, act, move |runner: &Runner<'_, Vec<String>>, t| {
            // One partition first, the rest only when that wasn't enough.
            let (mut from, mut width) = (0, 1);
            let mut lines = Vec::new();
            while from < runner.partitions() && lines.len() <= n {
                let to = runner.partitions().min(from + width);
                lines.extend(runner.run(from..to)?.into_iter().flatten());
                (from, width) = (to, u32::MAX / 2);
            }
            let done = catch_unwind(AssertUnwindSafe(|| sink(page(t, lines, n))));
            user_result(site, t, done.map(Ok))
        })
    }
}

/// The text of one batch.
fn page(t: Time, mut lines: Vec<String>, n: usize) -> String {
    const RULE: &str = "-------------------------------------------";
    let more = lines.len() > n;
    lines.truncate(n);
    let mut text = format!("{RULE}\nTime: {t}\n{RULE}\n");
    for l in lines {
        text.push_str(&l);
        text.push('\n');
    }
    if more {
        text.push_str("...\n");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_rule_and_says_when_there_is_more() {
        let lines = |n: i32| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let rule = "-".repeat(43);
        let full = page(Time::from_millis(2_000), lines(3), 2);
        assert_eq!(full, format!("{rule}\nTime: 2000 ms\n{rule}\n0\n1\n...\n\n"));
        assert!(!page(Time::ZERO, lines(2), 2).contains("..."));
    }
}
