//! The tables of `docs/configuration.md` come from the table of keys; this checks that they do.

use std::fmt::Write;
use std::path::PathBuf;

use super::keys::{ConfKey, KEYS, REFUSED};

const FILE: &str = "docs/configuration.md";
/// Write the tables anew: `WRITE_DOCS=1 cargo test -p brooklet --lib conf::doc`.
const REWRITE: &str = "WRITE_DOCS";

fn default(key: &ConfKey) -> String {
    match (key.default(), (key.get)(&super::Conf::new(""))) {
        (text, _) if text.is_empty() => "the program's".into(),
        (text, None) => text,
        (text, Some(_)) => format!("`{text}`"),
    }
}

fn accepted() -> String {
    let mut out = String::from(
        "| key | original | setter | values | default | meaning |\n|---|---|---|---|---|---|\n",
    );
    for k in KEYS {
        let original = k.original.map_or_else(String::new, |o| format!("`{o}`"));
        let setter = if k.setter == "app_name" { "new" } else { k.setter };
        let (kind, default) = (k.kind.describe(), default(k));
        writeln!(
            out,
            "| `{}` | {original} | `{setter}` | {kind} | {default} | {} |",
            k.name, k.about
        )
        .unwrap();
    }
    out
}

fn refused() -> String {
    let mut out = String::from("| `spark.` or `brooklet.` and | reason |\n|---|---|\n");
    for r in REFUSED {
        let keys: Vec<String> = r.keys.iter().map(|k| format!("`{k}`")).collect();
        writeln!(out, "| {} | {} |", keys.join(", "), r.reason).unwrap();
    }
    out
}

/// The text with what stands between the marks of a table replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{FILE}: no `{begin}`"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{FILE}: no `{end}`"));
    format!("{before}{begin}\n{table}\n{end}{after}")
}

#[test]
fn the_documentation_lists_the_keys_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let right = with_table(&text, "accepted keys", &accepted());
    let right = with_table(&right, "refused keys", &refused());
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &right).unwrap();
    } else if text != right {
        let differ = text.lines().zip(right.lines()).find(|(is, should)| is != should);
        panic!("{FILE} is out of date ({differ:?}); {REWRITE}=1 writes its tables anew");
    }
}
