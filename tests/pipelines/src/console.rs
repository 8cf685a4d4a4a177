//! Documents as a reader follows them: commands typed as they stand, edits made as they are shown, and what is printed held against the page.
//!
//! A block `console` has commands behind `$ ` and below each what it prints; in a line, `…` stands for anything, and alone for any number of
//! lines. A command without lines below it may print what it likes, but must not fail. A block `diff` whose first line is `--- FILE`
//! replaces lines of that file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{prepared, root, said, target};

/// What stands between what two commands print.
const MARK: &str = "-- next command --";

/// `commands` in one shell, in `folder`, with the program on the path. Gives what they wrote to standard output and standard error.
pub fn type_in(commands: &str, folder: &Path) -> Result<String> {
    let path = format!("{}:{}", prepared("debug").display(), std::env::var("PATH")?);
    let mut shell = Command::new("bash");
    // The crates of all kinds share what they depend on.
    shell
        .args(["-e", "-c", commands])
        .current_dir(folder)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", target().join("first-steps"));
    let output = shell.stdin(Stdio::null()).output().context("start bash")?;
    ensure!(output.status.success(), "ended with {}:\n{commands}\n{}", output.status, said(&output));
    Ok(said(&output))
}

/// Follows `document` in a new folder: every block that is for its reader to do, but those that run everything.
pub fn check_document(document: &str) -> Result<()> {
    let text = fs::read_to_string(root().join(document))?;
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    let mut at = folder.path().to_owned();
    let mut n_commands = 0;
    for step in steps(&text) {
        match step {
            Step::Type(commands) => {
                n_commands += commands.len();
                at = type_block(&commands, &at).with_context(|| document.to_owned())?;
            }
            Step::Edit { file, hunk } => edit(&at.join(&file), &hunk).with_context(|| format!("{document}: {file}"))?,
        }
    }
    ensure!(n_commands > 0, "{document} has no commands to try");
    Ok(())
}

/// Something that a document has its reader do.
enum Step {
    /// Commands, and the lines that each prints.
    Type(Vec<(String, Vec<String>)>),
    Edit {
        file: String,
        hunk: Vec<String>,
    },
}

fn steps(document: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let mut block = || lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect::<Vec<String>>();
        match line {
            "```console" => {
                let commands = commands(&block());
                let is_all =
                    |(command, _): &(String, Vec<String>)| command.starts_with("cargo xtask") || command.starts_with("git clone");
                if !commands.iter().any(is_all) {
                    steps.push(Step::Type(commands));
                }
            }
            "```diff" => {
                let mut hunk = block();
                let file = hunk.remove(0).trim_start_matches("--- ").to_owned();
                steps.push(Step::Edit { file, hunk });
            }
            _ => {}
        }
    }
    steps
}

fn commands(block: &[String]) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.clone()),
            (None, None) => {}
        }
    }
    commands
}

/// Types a block in the folder `at`; gives the folder in which it ends.
fn type_block(commands: &[(String, Vec<String>)], at: &Path) -> Result<PathBuf> {
    // One shell for the whole block, since it may change its folder; what each command prints is told apart by a line, which says how it ended.
    let script: Vec<String> = commands.iter().map(|(command, _)| format!("{command}\necho \"{MARK}$?\"")).collect();
    let output = type_in(&format!("exec 2>&1\nset +e\n{}\npwd", script.join("\n")), at)?;
    let mut printed = output.split(MARK);
    let mut lines = printed.next().unwrap_or_default();
    for (command, wanted) in commands {
        let rest = printed.next().context("the shell ended in the middle of a block")?;
        let (code, after) = rest.split_once('\n').context("a mark is a line")?;
        let found: Vec<&str> = lines.lines().map(str::trim_end).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        if wanted.is_empty() {
            ensure!(code == "0", "`{command}` ends with {code}:\n{lines}");
        } else if !lines_fit(&found, &wanted) {
            bail!("`{command}` prints\n{lines}\ninstead of\n{}", wanted.join("\n"));
        }
        lines = after;
    }
    Ok(PathBuf::from(lines.trim_end()))
}

/// Replaces the lines of `file` that stand behind ` ` and `-` by those behind ` ` and `+`.
fn edit(file: &Path, hunk: &[String]) -> Result<()> {
    let of = |skip: char| -> String {
        let kept = hunk.iter().filter(|line| !line.starts_with(skip));
        kept.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
    };
    let (before, after) = (of('+'), of('-'));
    let text = fs::read_to_string(file)?;
    ensure!(text.matches(&before).count() == 1, "these lines do not stand there once:\n{before}");
    Ok(fs::write(file, text.replace(&before, &after))?)
}

/// Whether `lines` are those `wanted`; there, a line `…` stands for any number of lines.
pub fn lines_fit(lines: &[&str], wanted: &[&str]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((&"…", rest)) => (0..=lines.len()).any(|skipped| lines_fit(&lines[skipped..], rest)),
        Some((first, rest)) => lines.first().is_some_and(|line| fits(line, first)) && lines_fit(&lines[1..], rest),
    }
}

/// Whether `line` is `wanted`, in which `…` stands for anything.
fn fits(line: &str, wanted: &str) -> bool {
    match wanted.split_once('…') {
        None => line == wanted,
        Some((before, rest)) => {
            let Some(after) = line.strip_prefix(before) else { return false };
            let ends = after.char_indices().map(|(at, _)| at).chain([after.len()]);
            ends.into_iter().any(|at| fits(&after[at..], rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_anything() {
        for (line, wanted, fit) in [
            ("built a.wasm  42 KB", "built a.wasm  … KB", true),
            ("built a.wasm  42 KB", "built b.wasm  … KB", false),
            ("built a.wasm  42 KB", "built a.wasm  … MB", false),
            ("one", "one", true),
            ("one two", "one", false),
            ("one two three", "… two …", true),
            ("a b a c", "…a c", true),
        ] {
            assert_eq!(fits(line, wanted), fit, "{line} as {wanted}");
        }
    }

    #[test]
    fn dots_alone_stand_for_lines() {
        for (lines, wanted, fit) in [
            (&["a", "b"][..], &["a", "b"][..], true),
            (&["a", "b"], &["a"], false),
            (&["a"], &["a", "b"], false),
            (&["a", "b", "c"], &["…", "c"], true),
            (&["a", "b", "c"], &["a", "…"], true),
            (&["a"], &["…", "a", "…"], true),
            (&["a", "b"], &["…", "a"], false),
        ] {
            assert_eq!(lines_fit(lines, wanted), fit, "{lines:?} as {wanted:?}");
        }
    }
}
