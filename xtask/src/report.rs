//! What a run has shown: one row per part, and the counts of tests.

use std::fmt::Write;
use std::time::Duration;

/// Numbers of tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl Counts {
    /// Adds up all result lines of test programs in `output`.
    pub fn read(output: &str) -> Counts {
        let mut all = Counts::default();
        for line in output.lines().filter(|l| l.trim_start().starts_with("test result: ")) {
            let number = |what: &str| -> u64 {
                let Some(at) = line.find(what) else { return 0 };
                line[..at]
                    .rsplit([' ', '.', ';'])
                    .find(|w| !w.is_empty())
                    .map_or(0, |n| n.parse().unwrap_or(0))
            };
            all.passed += number(" passed");
            all.failed += number(" failed");
            all.ignored += number(" ignored");
        }
        all
    }

    pub fn total(&self) -> u64 {
        self.passed + self.failed
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// How a part ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    Ok,
    Failed(String),
    /// It didn't run, and why.
    Left(String),
}

/// One part of a run.
#[derive(Clone, Debug)]
pub struct Row {
    pub part: &'static str,
    pub time: Duration,
    /// For parts that run tests.
    pub counts: Option<Counts>,
    pub ending: Ending,
}

/// The rows of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
}

impl Report {
    /// All tests together. A part that failed otherwise than by a test counts as one failure, so that
    /// a failed run never ends with "0 failed".
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for row in &self.rows {
            let counts = row.counts.unwrap_or_default();
            all += counts;
            if matches!(row.ending, Ending::Failed(_)) && counts.failed == 0 {
                all.failed += 1;
            }
        }
        all
    }

    /// The table, and last the line `N passed, N failed`.
    pub fn text(&self) -> String {
        let mut t = format!(
            "\n{:<12} {:>9} {:>7} {:>7} {:>8}  result\n",
            "part", "time", "passed", "failed", "ignored"
        );
        for row in &self.rows {
            let number =
                |f: fn(Counts) -> u64| row.counts.map_or(String::new(), |c| f(c).to_string());
            let (time, result) = match &row.ending {
                Ending::Ok => (format!("{:.1} s", row.time.as_secs_f64()), "ok".into()),
                Ending::Failed(why) => {
                    (format!("{:.1} s", row.time.as_secs_f64()), format!("FAILED: {why}"))
                }
                Ending::Left(why) => ("-".into(), format!("did not run: {why}")),
            };
            // Writing to a String can't fail.
            let _ = writeln!(
                t,
                "{:<12} {time:>9} {:>7} {:>7} {:>8}  {result}",
                row.part,
                number(|c| c.passed),
                number(|c| c.failed),
                number(|c| c.ignored)
            );
        }
        let all = self.counts();
        let time: f64 = self.rows.iter().map(|r| r.time.as_secs_f64()).sum();
        let _ = writeln!(t, "{:<12} {:>9}", "together", format!("{time:.1} s"));
        let _ = writeln!(t, "{} passed, {} failed", all.passed, all.failed);
        t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let output = "running 2 tests\n..\ntest result: ok. 12 passed; 0 failed; 1 ignored; 0 measured\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counts::read(output), Counts { passed: 15, failed: 2, ignored: 1 });
        assert_eq!(Counts::read("no tests here"), Counts::default());
    }

    #[test]
    fn the_last_line_shows_a_failure_outside_of_tests() {
        let mut report = Report::default();
        let row = |part, counts, ending| Row { part, time: Duration::ZERO, counts, ending };
        report.rows.push(row("unit", Some(Counts { passed: 4, ..Counts::default() }), Ending::Ok));
        report.rows.push(row("examples", None, Ending::Left("--quick".into())));
        assert!(report.text().ends_with("\n4 passed, 0 failed\n"));
        report.rows.push(row("clippy", None, Ending::Failed("exit code 101".into())));
        assert!(report.text().ends_with("\n4 passed, 1 failed\n"));
    }
}
