//! `[state]`.

use super::pipeline::external;
use crate::{
    code::Code,
    config::{
        External,
        state::{Bases, State, store_address},
    },
    problem::{At, Problem, Problems},
    walk::Table,
};

/// The outer `None`: there is none. The inner one: something in it is wrong.
pub(super) fn state(root: &mut Table<'_>, problems: &mut Problems) -> Option<Option<State>> {
    const WHAT: &str = "[state]";
    let is_there = root.peek("state").is_some();
    let Some(mut table) = root.table("state", WHAT, problems) else { return is_there.then_some(None) };
    if table.peek("store").is_none() {
        table.missing("store", "\"file://data/bases\"", problems);
    }
    let store =
        table.take("store").and_then(|entry| external(&entry, WHAT, problems)).filter(|store| is_address(store, problems));
    let is_said = table.peek("bases").is_some();
    let bases = table.choice("bases", &[("store", Bases::Store), ("changelog", Bases::Changelog)], problems);
    table.finish(&[], problems);
    let bases = if is_said { bases.map(|bases| *bases) } else { Some(Bases::Store) };
    Some(store.zip(bases).map(|(store, bases)| State { store, bases }))
}

/// What comes from outside is looked at when it is there.
fn is_address(store: &At<External>, problems: &mut Problems) -> bool {
    let External::Inline(text) = &store.value else { return true };
    let Err((why, instead)) = store_address(text) else { return true };
    let message = "\"store\" of [state] is not the address of a store";
    let problem = Problem::at(Code::BadStore, store.span.clone(), message, why);
    problems.push(match instead {
        Some(instead) => problem.patch("write", store.span.clone(), format!("\"{instead}\"")),
        None => problem,
    });
    false
}
