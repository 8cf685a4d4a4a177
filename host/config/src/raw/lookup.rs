//! Stages of kind `lookup`.

use crate::{
    config::StageKind,
    problem::{At, Problems},
    walk::Table,
};

/// `sides`: the rows, and the table.
pub(super) fn lookup(
    table: &mut Table<'_>,
    sides: [Option<At<String>>; 2],
    plugin: &Option<At<String>>,
    problems: &mut Problems,
) -> Option<StageKind> {
    if table.peek("on").is_none() {
        table.missing("on", "[\"title_id\"]", problems);
    }
    let on = table.strings("on", problems);
    let outer = table.choice("join", &[("inner", false), ("left", true)], problems).is_some_and(|outer| *outer);
    let lateness_ms = table.duration("lateness", problems);
    let ([input, looked_up], plugin) = (sides, plugin.clone());
    Some(StageKind::Lookup { input: input?, table: looked_up?, on: on?.value, outer, lateness_ms, plugin: plugin? })
}
