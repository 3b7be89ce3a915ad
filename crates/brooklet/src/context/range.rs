//! `range`: numbers that lie nowhere.

use std::ops::Range;
use std::sync::Arc;

use super::Context;
use crate::conf::defaults;
use crate::engine::{TaskBody, TaskCx, TaskError};
use crate::rdd::pipe::{Flow, Pipe};
use crate::rdd::{Erased, Lineage, Rdd};

struct RangePipe {
    start: i64,
    step: i64,
    /// How many numbers.
    len: u64,
    parts: usize,
}

impl RangePipe {
    fn numbers(&self, part: usize) -> Range<u64> {
        let at = |i: usize| (u128::from(self.len) * i as u128 / self.parts as u128) as u64;
        at(part)..at(part + 1)
    }

    /// The i-th number. It fits: it lies between start and end.
    #[inline]
    fn at(&self, i: u64) -> i64 {
        self.start.wrapping_add(self.step.wrapping_mul(i as i64))
    }
}

/// Numbers between two checks.
const RUN: usize = 16 * defaults::CHUNK_RECORDS;

impl Pipe for RangePipe {
    type Out = i64;
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fn known_len(&self, _: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        let r = self.numbers(part);
        Ok(Some(r.end - r.start))
    }
    fn input_records(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&"range", self.parts);
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, i64) -> A,
    ) -> Result<A, TaskError> {
        let all = self.numbers(part);
        let mut acc = init;
        for from in all.clone().step_by(RUN) {
            let to = all.end.min(from + RUN as u64);
            acc = (from..to).fold(acc, |a, i| f(a, self.at(i)));
            cx.check()?;
        }
        Ok(acc)
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(i64) -> Flow,
    ) -> Result<Flow, TaskError> {
        let all = self.numbers(part);
        for from in all.clone().step_by(RUN) {
            let to = all.end.min(from + RUN as u64);
            let r = (from..to).try_for_each(|i| f(self.at(i)));
            cx.check()?;
            if r.is_break() {
                return Ok(r);
            }
        }
        Ok(Flow::Continue(()))
    }
}

impl Context {
    /// The numbers `start`, `start + step`, .. before `end` (which is left out; `step` may be negative) in
    /// `partitions` partitions (at least 1). They are made where they are used.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.range(0, 10, 3, 2).glom().collect()?, [vec![0, 3], vec![6, 9]]);
    /// assert_eq!(ctx.range(3, 0, -1, 1).collect()?, [3, 2, 1]);
    /// assert_eq!(ctx.range(0, 1 << 40, 1, 4).count()?, 1 << 40);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// For a step of 0.
    #[track_caller]
    pub fn range(&self, start: i64, end: i64, step: i64, partitions: usize) -> Rdd<i64> {
        assert!(step != 0, "`range` with a step of 0 has no end: give another step");
        let (way, stride) = (i128::from(end) - i128::from(start), i128::from(step));
        let len = if way.signum() == stride.signum() {
            (way.abs() + stride.abs() - 1) / stride.abs()
        } else {
            0
        };
        // At most 2^64 - 1: the way is shorter than 2^64.
        let pipe = RangePipe { start, step, len: len as u64, parts: partitions.max(1) };
        self.plain(Erased::new(Arc::new(pipe)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conf;

    #[test]
    fn ranges_are_those_of_the_language() {
        let ctx = Context::new(Conf::new("range").master("local[1]")).unwrap();
        for (start, end) in [(0, 10), (-5, 5), (7, 7), (9, 2)] {
            for step in 1..5 {
                for parts in [0, 1, 3, 20] {
                    let got = ctx.range(start, end, step, parts);
                    assert_eq!(got.num_partitions(), parts.max(1));
                    let want: Vec<i64> = (start..end).step_by(step as usize).collect();
                    assert_eq!(got.collect().unwrap(), want);
                    let got = ctx.range(end, start, -step, parts).collect().unwrap();
                    let want: Vec<i64> = (start + 1..=end).rev().step_by(step as usize).collect();
                    assert_eq!(got, want);
                }
            }
        }
        let ends = ctx.range(i64::MIN, i64::MAX, i64::MAX, 2).collect().unwrap();
        assert_eq!(ends, [i64::MIN, -1, i64::MAX - 1]);
        assert_eq!(ctx.range(i64::MIN, i64::MAX, 1, 3).count().unwrap(), u64::MAX);
    }
}
