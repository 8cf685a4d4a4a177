//! `input` and `inputs`: the one stream of a stage, or the several that it reads as one.

use crate::{
    code::Code,
    problem::{At, Problem, Problems},
    walk::Table,
};

/// Reads whichever of the two keys there is; at most one may be. Empty if what stands there is wrong, or nothing does.
pub(super) fn inputs(table: &mut Table<'_>, problems: &mut Problems) -> Vec<At<String>> {
    let places = ["input", "inputs"].map(|key| table.peek(key).map(|entry| entry.key_span.clone()));
    if let [Some(one), Some(several)] = places {
        let message = format!("{} says twice what it reads", table.what);
        problems.push(
            Problem::at(Code::DuplicateKey, several, message, "several streams")
                .also(one, "one stream")
                .help("write all of them in `inputs`, and no `input`"),
        );
    }
    let one = table.string("input", problems);
    let several = table.strings("inputs", problems).map(|list| list.value);
    several.unwrap_or_else(|| one.into_iter().collect())
}

/// As [`inputs`], of a stage that must read something.
pub(super) fn required_inputs(table: &mut Table<'_>, problems: &mut Problems) -> Vec<At<String>> {
    if table.peek("input").is_none() && table.peek("inputs").is_none() {
        table.missing("input", "\"…\"", problems);
    }
    inputs(table, problems)
}
