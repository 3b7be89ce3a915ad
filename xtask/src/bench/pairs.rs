//! Two programs in turn on the same work: limit, ours, limit, ours ... A pair's ratio is little moved by
//! what else goes on on the machine; the median of the ratios less still.
//!
//! The programs are called as `program CASE key=value ...` and print one JSON object per line:
//! `{"ev":"batch","i":3,"ms":12.5,"n":100000}` and `{"ev":"check","v":"..."}`, a fingerprint of the
//! results. Exit code 3 says that a program doesn't do the case.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::input;
use crate::Result;
use crate::process::captured;

const LIMIT: Duration = Duration::from_secs(300);

/// Measures one case, prints ratios (above 1: ours is faster), and says whether all results are equal.
pub fn run(case: &str, limit: &Path, ours: &Path, data: &Path, rounds: u32) -> Result<bool> {
    let mut ratios = Vec::new();
    let mut checks = Vec::new();
    for _ in 0..rounds {
        let a = measure(case, limit, data)?;
        let b = measure(case, ours, data)?;
        let ratio = b.rate / a.rate;
        println!("  {case}: {ratio:.3} (limit {:.2} M records/s, ours {:.2})", a.rate, b.rate);
        ratios.push(ratio);
        checks.extend([a.check, b.check]);
    }
    ratios.sort_by(f64::total_cmp);
    checks.sort();
    checks.dedup();
    let (q1, median, q3) =
        (quantile(&ratios, 0.25), quantile(&ratios, 0.5), quantile(&ratios, 0.75));
    let equal = checks.len() == 1;
    let same = if equal { "equal".into() } else { format!("DIFFER {checks:?}") };
    println!(
        "{case}: ours is {median:.2} x limit (quartiles {q1:.2} and {q3:.2}, {rounds} pairs), \
         fingerprints {same}"
    );
    Ok(equal)
}

/// Between the two values of a sorted list that are nearest.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * share;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

struct Measured {
    /// Million records a second, from the median batch of the second half.
    rate: f64,
    check: Option<String>,
}

fn measure(case: &str, program: &Path, data: &Path) -> Result<Measured> {
    let mut command = Command::new(program);
    command.arg(case).arg(format!("data={}", data.display()));
    command.arg(format!("needle={}", input::needle()));
    command.args(match case {
        "empty" => &["lines=1", "passes=1", "batches=5000"][..],
        _ => &["passes=4"][..],
    });
    let name = program.display();
    let outcome = captured(command, LIMIT)?;
    if !outcome.ok {
        return Err(format!("{name} {case}: {}\n{}", outcome.problem, outcome.output));
    }
    let mut batches: Vec<f64> = outcome
        .output
        .lines()
        .filter(|l| l.starts_with('{') && l.contains(r#""ev":"batch""#))
        .filter_map(|l| Some(number(l, r#""n":"#)? / number(l, r#""ms":"#)? / 1e3))
        .collect();
    let mut steady = batches.split_off(batches.len() / 2);
    if steady.is_empty() {
        return Err(format!("{name} {case} reported no batch\n{}", outcome.output));
    }
    steady.sort_by(f64::total_cmp);
    let check = outcome.output.lines().find(|l| l.contains(r#""ev":"check""#)).map(str::to_string);
    Ok(Measured { rate: steady[steady.len() / 2], check })
}

/// The number after `key`.
fn number(json: &str, key: &str) -> Option<f64> {
    let json = json.replace(": ", ":").replace(", ", ",");
    let after = &json[json.find(key)? + key.len()..];
    after[..after.find([',', '}'])?].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.25), 1.5);
        assert_eq!(quantile(&[3.0], 0.75), 3.0);
    }

    #[test]
    fn numbers_are_found_with_and_without_spaces() {
        assert_eq!(number(r#"{"ev":"batch","ms":12.5,"n":7}"#, r#""ms":"#), Some(12.5));
        assert_eq!(number(r#"{"ev": "batch", "ms": 12.5, "n": 7}"#, r#""n":"#), Some(7.0));
        assert_eq!(number(r#"{"ev":"first"}"#, r#""n":"#), None);
    }
}
