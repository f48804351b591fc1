//! What rustc says about the mistakes of a first hour: it names the right function.
//!
//! Each file in `cases` is a program (W6 and W7 in `docs/contract.md`), and begins with the words that the error has to have, or with `compiles`. Only words of ours are
//! looked for, so other versions of rustc may say the rest as they like.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a package of the cases. It keeps what it has built for the next time.
fn package() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    let bins = package.join("src/bin");
    let _ = fs::remove_dir_all(&bins);
    fs::create_dir_all(&bins).unwrap();
    for case in cases() {
        fs::copy(&case, bins.join(case.file_name().unwrap())).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"messages\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         bellwire = {{ path = {root:?}, features = [\"blocking\", \"tokio\", \"futures-io\", \"serde\"] }}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    package
}

fn cases() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/cases");
    let mut cases: Vec<_> = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What rustc has to say about one of them; nothing if it compiles.
fn check(package: &Path, name: &str) -> Option<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["check", "--offline", "--quiet", "--color", "never", "--bin", name])
        .current_dir(package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether a note of ours says so, or the line of ours beside the bound, which rustc shows together with its comment.
fn names(said: &str, words: &str) -> bool {
    let ours = |line: &&str| line.contains("= note:") || line.contains(" // ");
    said.lines().filter(ours).any(|line| line.contains(words))
}

#[test]
fn w6_w7_a_mistake_of_the_first_hour_is_told_with_the_name_of_the_right_function() {
    let package = package();
    let mut wrong = Vec::new();
    for case in cases() {
        let (source, name) = (fs::read_to_string(&case).unwrap(), case.file_stem().unwrap().to_str().unwrap());
        let said = check(&package, name);
        if std::env::var_os("SHOW_MESSAGES").is_some() {
            println!("=== {name}\n{}", said.as_deref().unwrap_or_default());
        }
        let line = source.lines().next().unwrap();
        let right = match (line.strip_prefix("//! error: "), &said) {
            (Some(words), Some(said)) => names(said, words),
            (None, None) => line == "//! compiles",
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {line}\n{}", said.as_deref().unwrap_or("it compiles")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
