//! The programs that cargo builds, read from its JSON messages.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::{Result, process};

/// A built program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Folder of its package.
    pub dir: PathBuf,
    /// `lib`, `bin`, `test`, `example`, `bench`.
    pub kind: String,
    pub name: String,
    pub path: PathBuf,
    /// Whether it is a test (or bench) program.
    pub test: bool,
}

impl Program {
    pub fn package(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Package and target, for people.
    pub fn title(&self) -> String {
        match self.kind.as_str() {
            "lib" => self.package(),
            kind => format!("{}, {kind} {}", self.package(), self.name),
        }
    }
}

/// Runs `cargo` (with `args` that build) and returns the programs that it made; its own messages are
/// shown. `None` when the build failed.
pub fn build(args: &[&str]) -> Result<Option<Vec<Program>>> {
    let mut command = process::cargo(args);
    println!("$ {}", process::line(&command));
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("can't run {}: {e}", process::line(&command)))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success().then(|| messages.lines().filter_map(program).collect()))
}

fn program(message: &str) -> Option<Program> {
    if !message.starts_with(r#"{"reason":"compiler-artifact""#) {
        return None;
    }
    let path = text(message, r#""executable":"#)?.into();
    let manifest: PathBuf = text(message, r#""manifest_path":"#)?.into();
    let target = &message[message.find(r#""target":{"#)?..];
    let profile = &message[message.find(r#""profile":{"#)?..];
    Some(Program {
        dir: manifest.parent().map(Path::to_path_buf)?,
        kind: text(target, r#""kind":["#)?,
        name: text(target, r#""name":"#)?,
        path,
        test: profile[..profile.find('}')?].contains(r#""test":true"#),
    })
}

/// The JSON text after the first `key`; none if there is no text there.
fn text(json: &str, key: &str) -> Option<String> {
    let after = json[json.find(key)? + key.len()..].strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = after.chars();
    loop {
        match chars.next()? {
            '"' => return Some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_cargo_is_read() {
        let message = concat!(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/crates/a#0.1.0","#,
            r#""manifest_path":"/w/crates/a/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"#,
            r#""name":"word_count","src_path":"/w/crates/a/tests/word_count.rs","edition":"2024","#,
            r#""doc":false,"doctest":false,"test":true},"profile":{"opt_level":"3","debuginfo":1,"#,
            r#""debug_assertions":false,"overflow_checks":false,"test":true},"features":[],"#,
            r#""filenames":["/w/target/x"],"executable":"/w/target/x","fresh":true}"#
        );
        let program = program(message).unwrap();
        assert_eq!(program.title(), "a, test word_count");
        assert_eq!(program.path, Path::new("/w/target/x"));
        assert!(program.test);
        let library = message.replace(r#""executable":"/w/target/x""#, r#""executable":null"#);
        assert_eq!(super::program(&library), None);
        assert_eq!(super::program(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
