//! `docs/conformance.md` names what shows each row; this checks that the names are true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "docs/conformance.md";
/// What a row may wait for.
const TO_COME: [&str; 5] = ["recovery", "back pressure", "Kafka", "UI", "cluster"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn table() -> String {
    fs::read_to_string(root().join(TABLE)).unwrap()
}

/// The functions behind `#[test]` in a source text, also inside `proptest!`.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if std::mem::take(&mut marked) {
                found.insert(&rest[..end]);
            }
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            marked = false;
        }
    }
    found
}

/// The source file of a module, in a folder of modules; `main.rs` or `lib.rs` has no part.
fn file_of(base: &Path, modules: &[&str]) -> Option<PathBuf> {
    let path: PathBuf = modules.iter().fold(base.to_owned(), |p, m| p.join(m));
    let found = [path.with_extension("rs"), path.join("mod.rs")].into_iter().find(|f| f.exists());
    // `mod tests { .. }` stands in the file of the module around it.
    match (found, modules) {
        (None, [outer @ .., "tests"]) => {
            let file = file_of(base, outer)?;
            fs::read_to_string(&file).ok()?.contains("mod tests {").then_some(file)
        }
        (found, _) => found,
    }
}

/// What is wrong with the name of a test, if anything.
fn problem_of_name(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split("::").collect();
    let [binary, modules @ .., function] = &parts[..] else {
        return Some(format!("`{name}` isn't binary::module::test"));
    };
    let file = match *binary {
        "brooklet" => file_of(&root().join("crates/brooklet/src"), modules),
        "sources" | "streams" => {
            file_of(&root().join("crates/brooklet/tests").join(binary), modules)
        }
        "cli" if modules.is_empty() => Some(root().join("crates/brooklet-cli/tests/cli.rs")),
        _ => return Some(format!("`{name}`: there is no binary `{binary}`")),
    };
    let Some(source) = file.and_then(|f| fs::read_to_string(f).ok()) else {
        return Some(format!("`{name}`: there is no such module"));
    };
    let known = tests_in(&source).contains(function);
    (!known).then(|| format!("`{name}`: the module has no such test"))
}

/// The names between backticks that look like tests.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|n| n.contains("::"))
}

/// What is wrong with the last cell of a row.
fn problems_of_cell(cell: &str) -> Vec<String> {
    let mut problems: Vec<String> = names(cell).filter_map(problem_of_name).collect();
    if !cell.matches('`').count().is_multiple_of(2) {
        problems.push(format!("an open backtick in: {cell}"));
    }
    if let Some(what) = cell.strip_prefix("issue to come: ") {
        if !TO_COME.contains(&what) {
            problems.push(format!("`{what}` is no issue to come"));
        }
    } else if let Some(reason) = cell.strip_prefix("otherwise: ") {
        let said = reason.split('`').filter(|part| !part.contains("::"));
        if said.flat_map(str::split_whitespace).filter(|word| *word != ";").count() < 4 {
            problems.push(format!("no reason in: {cell}"));
        }
    } else {
        let rest: String = cell.split('`').step_by(2).collect();
        if names(cell).next().is_none() || !rest.trim().is_empty() {
            problems.push(format!("neither tests nor a reason nor an issue: {cell}"));
        }
    }
    problems
}

/// The rows of the table by section: number, and what shows it.
fn rows(table: &str) -> Vec<(&str, Vec<&str>)> {
    let mut section = "";
    let mut rows = Vec::new();
    for line in table.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if let Some(row) = line.strip_prefix("| ") {
            let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
            if cells[0] != "row" && !cells[0].starts_with("---") {
                rows.push((section, cells));
            }
        }
    }
    rows
}

/// Everything that is wrong with a table.
fn problems(table: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut sections: BTreeMap<&str, usize> = BTreeMap::new();
    for (section, cells) in rows(table) {
        let id = cells[0].split_whitespace().next().unwrap_or_default();
        let number = section.split_whitespace().next().unwrap_or_default();
        *sections.entry(number).or_default() += 1;
        if !seen.insert(id) {
            problems.push(format!("row {id} is there twice"));
        }
        let fits = match number {
            "Easily" => id.starts_with('P'),
            _ => id.strip_prefix(number).is_some_and(|r| r.starts_with('.')),
        };
        if !fits {
            problems.push(format!("row {id} doesn't belong to section {section}"));
        }
        match &cells[..] {
            [_, ours, shown] if !ours.is_empty() => {
                problems.extend(problems_of_cell(shown).into_iter().map(|p| format!("{id}: {p}")));
            }
            _ => problems.push(format!("row {id} needs three full cells: {cells:?}")),
        }
    }
    let numbers =
        "1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.11 2 4.2 4.3 4.4 4.5 4.8 4.9 4.10 4.11 4.12 4.17";
    for number in numbers.split(' ') {
        let n = sections.get(number).copied().unwrap_or_default();
        for i in 1..=n.max(1) {
            if !seen.contains(format!("{number}.{i}").as_str()) {
                problems.push(format!("row {number}.{i} is missing"));
            }
        }
    }
    for n in 1..=25 {
        let (whole, first) = (format!("P{n}"), format!("P{n}a"));
        if !seen.contains(whole.as_str()) && !seen.contains(first.as_str()) {
            problems.push(format!("row P{n} is missing"));
        }
    }
    problems
}

#[test]
fn every_row_is_shown() {
    let problems = problems(&table());
    assert!(problems.is_empty(), "{TABLE}:\n{}", problems.join("\n"));
}

#[test]
fn slips_in_the_table_are_found() {
    let good = table();
    let broken = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        problems(&good.replacen(from, to, 1))
    };
    let slips = [
        // A letter, a module, a binary.
        ("queue::graceful_stop_empties_the_queue", "queue::graceful_stop_empties_the_queu"),
        ("sources::socket::", "sources::sockets::"),
        ("`brooklet::time::tests::", "`brook::time::tests::"),
        ("brooklet::time::duration::tests::", "brooklet::time::clock::tests::"),
        // A helper isn't a test.
        ("sources::queue::graceful_stop_empties_the_queue", "sources::queue::batches"),
        // The row, and the forms.
        ("| 1.1.2 ", "| 1.1.1 "),
        ("| 4.4.7 ", "| 4.5.7 "),
        ("| P22 ", "| P26 "),
        ("issue to come: Kafka", "issue to come: Kafak"),
        ("issue to come: UI", ""),
        ("otherwise: the standard library has them", "otherwise: so"),
        ("otherwise: a matter of the JVM alone", "a matter of the JVM alone"),
        ("`streams::life_cycle::a_second_start_changes_nothing`", "a second start"),
    ];
    for (from, to) in slips {
        assert!(!broken(from, to).is_empty(), "`{from}` → `{to}` isn't noticed");
    }
}
