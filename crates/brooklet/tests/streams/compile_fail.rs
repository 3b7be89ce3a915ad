//! Slips that the compiler must explain: each file of `tests/slips` fails to compile, with our text.
//!
//! The slips are compiled by rustc against the library that this test is linked with: nothing is built
//! twice and nothing is downloaded. Only our headlines are pinned, not the compiler's layout. The file
//! `good.rs` must compile: it shows that the others fail for the slip alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// Where cargo has put this test and what it links.
fn deps() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().to_path_buf()
}

/// Builds of a library, newest first: earlier builds may lie beside the current one.
fn builds(name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}-");
    let mut found: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(deps())
        .unwrap()
        .filter_map(|e| {
            let e = e.ok()?;
            let file = e.file_name().into_string().ok()?;
            let ours = file.starts_with(&prefix) && file.ends_with(".rlib");
            ours.then_some((e.metadata().ok()?.modified().ok()?, e.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn compile(slip: &str, brooklet: &Path, serde: &Path) -> Output {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slips").join(format!("{slip}.rs"));
    let out = std::env::temp_dir().join(format!("brooklet-slip-{slip}-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    let of = |name: &str, path: &Path| format!("{name}={}", path.display());
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg(source)
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--color=never"])
        .arg("--out-dir")
        .arg(&out)
        .arg("-L")
        .arg(format!("dependency={}", deps().display()))
        .args(["--extern", &of("brooklet", brooklet), "--extern", &of("serde", serde)])
        .output()
        .expect("rustc can be run");
    std::fs::remove_dir_all(out).unwrap();
    output
}

/// The libraries with which `good.rs` compiles.
fn libraries() -> (PathBuf, PathBuf) {
    let mut last = String::from("no build of the library was found");
    for brooklet in builds("brooklet") {
        for serde in builds("serde") {
            let out = compile("good", &brooklet, &serde);
            if out.status.success() {
                return (brooklet, serde);
            }
            last = String::from_utf8_lossy(&out.stderr).into_owned();
        }
    }
    panic!("good.rs doesn't compile:\n{last}");
}

#[test]
fn slips_are_explained_by_the_compiler() {
    let (brooklet, serde) = libraries();
    let slips: [(&str, &[&str]); 6] = [
        (
            "key_without_hash",
            &[
                "`Colour` can't be the key of a pair stream",
                "needs `Hash + Eq` and serde's `Serialize + Deserialize`",
                "add `#[derive(PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]`",
            ],
        ),
        (
            "shuffled_value_without_serde",
            &[
                "`Visit` leaves its task here (shuffle, state, storage or result), so it must be \
                 serializable",
                "add `#[derive(serde::Serialize, serde::Deserialize)]` to `Visit`",
            ],
        ),
        ("collect_of_a_type_that_cannot_travel", &["`Visit` leaves its task here"]),
        ("persist_of_a_type_that_cannot_travel", &["`Visit` leaves its task here"]),
        (
            "rc_in_a_record",
            &["`Rc<String>` can't be a record of a stream", "replace `Rc` by `Arc`"],
        ),
        ("narrow_chain_returned_without_boxed", &["mismatched types", "expected `DStream<Str>`"]),
    ];
    for (slip, wanted) in slips {
        let out = compile(slip, &brooklet, &serde);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{slip}.rs compiles");
        // Lines are wrapped by the compiler where it likes.
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for w in wanted {
            assert!(flat.contains(w), "{slip}: no `{w}` in\n{text}");
        }
        let headline = text.lines().find(|l| l.starts_with("error[")).unwrap_or_default();
        assert!(headline.contains(wanted[0]), "{slip}: not the first headline:\n{text}");
    }
}
