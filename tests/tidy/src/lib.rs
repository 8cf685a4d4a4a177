//! What the rules of the tree look at: its files, as git tracks them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in tests/").to_owned()
}

/// Every tracked file that is text, with its path from the root.
pub fn files() -> Result<Vec<(String, String)>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().context("start git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let mut files = Vec::new();
    for name in String::from_utf8(output.stdout)?.split('\0').filter(|name| !name.is_empty()) {
        // A file may be deleted and not yet committed, or hold no text.
        if let Ok(text) = fs::read_to_string(root().join(name)) {
            files.push((name.to_owned(), text));
        }
    }
    ensure!(!files.is_empty(), "git tracks nothing here");
    Ok(files)
}

/// The tracked Rust sources.
pub fn sources() -> Result<Vec<(String, String)>> {
    Ok(files()?.into_iter().filter(|(name, _)| name.ends_with(".rs")).collect())
}

/// The lines of a source before its unit tests.
pub fn before_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
}
