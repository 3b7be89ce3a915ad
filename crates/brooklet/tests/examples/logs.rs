//! The example `log_error_rates`: what it says against what the log has.

use std::collections::BTreeMap;

use super::Example;

/// Errors and lines by service, of the lines that begin with `mark`.
fn rates(lines: &[String], mark: &str) -> BTreeMap<String, (u64, u64)> {
    let mut all = BTreeMap::<String, (u64, u64)>::new();
    for line in lines.iter().filter_map(|l| l.strip_prefix(mark)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() < 5 || words[2] != "of" || words[4] != "lines" {
            continue;
        }
        let n = |i: usize| words[i].parse::<u64>().unwrap();
        let rate = all.entry(words[0].into()).or_default();
        *rate = (rate.0 + n(1), rate.1 + n(3));
    }
    all
}

#[test]
fn log_error_rates_counts_a_log_and_alerts() {
    let path = std::env::temp_dir().join(format!("brooklet-rates-{}.log", std::process::id()));
    let mut text = String::from("a line of another kind\n");
    for n in 0..1_000 {
        let service = ["search", "payment", "checkout"][n % 3];
        let level = if n % 4 == 0 && n % 3 == 1 { "ERROR" } else { "INFO" };
        text.push_str(&format!("2026-01-31T10:00:00Z {level} {service} request {n}\n"));
    }
    std::fs::write(&path, text).unwrap();
    let args = [path.to_str().unwrap(), "--from-start", "--batches", "2", "--limit", "24"];
    let lines = Example::start("log_error_rates", &args).rest();
    std::fs::remove_file(&path).unwrap();
    let expected = BTreeMap::from([
        ("(other)".to_string(), (0, 1)),
        ("search".into(), (0, 334)),
        ("payment".into(), (83, 333)),
        ("checkout".into(), (0, 333)),
    ]);
    assert_eq!(rates(&lines, "total  "), expected, "{lines:?}");
    assert_eq!(rates(&lines, ""), expected, "the batches together: {lines:?}");
    let alerts: Vec<_> = lines.iter().filter(|l| l.contains("ALERT")).collect();
    assert!(alerts.len() == 1 && alerts[0].starts_with("payment"), "{alerts:?}");
}

#[test]
fn log_error_rates_reads_every_line_of_the_log_it_writes() {
    let lines = Example::start("log_error_rates", &["--batches", "3"]).rest();
    let written = lines.iter().find_map(|l| l.strip_prefix("written ")?.strip_suffix(" lines"));
    let written: u64 = written.unwrap().parse().unwrap();
    let totals = rates(&lines, "total  ");
    assert_eq!(totals.values().map(|(_, n)| n).sum::<u64>(), written, "{lines:?}");
    assert!(written >= 20, "{lines:?}");
    assert!(!totals.contains_key("(other)"), "{lines:?}");
}
