//! The calls that a row, a window or a timer may have died in: as the letter says it, or with what is kept of the key now.

use reelflow_core::{
    column::Rows,
    letter::{
        call::{DeadCall, Function, States},
        row::DeadRow,
    },
    plan::{Matching, PluginIdx, StageKind, StagePlan, WindowSpec},
    plugin::TimeRead,
    schema::Schema,
    stage::kept::{Kept, Wanted},
    state::StateError,
    time::{EventTime, Watermark},
    window::Windowing,
};
use reelflow_ports::clock::{Clock, SystemClock};
use reelflow_runtime::inspect::TaskState;

use crate::{
    commands::state::{Committed, unreadable},
    failure::{Exit, Failure},
    incident::call::{Call, Named, State, TimerPart, WindowPart},
    json_bytes,
};

/// More partners of a row than these are not tried.
const PARTNERS_MAX: usize = 1_000;

pub(super) struct Calls {
    pub(super) plugin: PluginIdx,
    /// At least one. Of a join one for each partner that the row may have had.
    pub(super) calls: Vec<Call>,
    /// Of the letter's own call, or of what is kept now.
    pub(super) states_of: StatesOf,
}

/// Where the states of a call come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatesOf {
    Letter,
    Now,
}

pub(super) fn calls(committed: &Committed, stage: &StagePlan, dead: &DeadRow) -> Result<Calls, Failure> {
    let schema = &stage.inputs[0];
    let row = || named(schema, &dead.rows);
    if let Some(call) = &dead.call {
        let plugin = stage.kind.plugin().expect("a dead row is of a stage with a plugin");
        let (call, states_of) = of_letter(committed, stage, dead, call)?;
        return Ok(Calls { plugin, calls: vec![call], states_of });
    }
    let (plugin, calls) = match &stage.kind {
        StageKind::Transform { plugin, .. } => (*plugin, vec![Call::Apply { row: row() }]),
        StageKind::Aggregate { plugin, key, .. } => {
            let KeptOf { state, .. } = kept(committed, stage, dead, &dead.rows.project(key))?;
            (*plugin, vec![Call::Add { row: row(), state }])
        }
        StageKind::Process { plugin, key, .. } => {
            let keys = dead.rows.project(key);
            let KeptOf { state, watermark, .. } = kept(committed, stage, dead, &keys)?;
            let key = named(&schema.pick(key), &keys);
            let now = SystemClock.now().0;
            (*plugin, vec![Call::Take { row: row(), state, key, time: dead.time.0, watermark: watermark.0, now }])
        }
        StageKind::Join { plugin, left_key, .. } | StageKind::Lookup { plugin, left_key, .. } => {
            let KeptOf { partners, .. } = kept(committed, stage, dead, &dead.rows.project(left_key))?;
            let partners = partners.into_iter().map(Some).chain([None]);
            (*plugin, partners.map(|right| Call::Pair { left: Some(row()), right }).collect())
        }
        StageKind::Dedup { .. } => unreachable!("a dead row is of a stage with a plugin"),
    };
    Ok(Calls { plugin, calls, states_of: StatesOf::Now })
}

/// The call that a letter tells of. States that were too many for it are those that are kept now, if they still are.
fn of_letter(committed: &Committed, stage: &StagePlan, dead: &DeadRow, call: &DeadCall) -> Result<(Call, StatesOf), Failure> {
    let (mut states, states_of) = match &call.states {
        States::Whole { name, versions, states } => {
            let state = |bytes| State { name: name.clone(), versions: versions.clone(), base64: json_bytes::encoded(bytes) };
            // Only the parts of a merge are never empty.
            let is_there = |bytes: &&[u8]| !bytes.is_empty() || call.function == Function::Merge;
            (states.iter().filter(is_there).map(state).collect(), StatesOf::Letter)
        }
        States::LeftOut { n_states, n_bytes } => {
            let state = state_left_out(committed, stage, dead, call.function)?;
            let gone = format!("its {n_states} states of {n_bytes} bytes do not stand in this letter, and are not kept any more");
            (vec![state.ok_or_else(|| no_call(&gone))?], StatesOf::Now)
        }
    };
    let rows = |columns: &Schema| named(columns, &dead.rows);
    let key_of_row = || match &stage.kind {
        StageKind::Process { key, .. } => named(&stage.inputs[0].pick(key), &dead.rows.project(key)),
        _ => Vec::new(),
    };
    let key = || stage.key_schema().map(|schema| rows(&schema)).unwrap_or_default();
    let call = match call.function {
        Function::Add => Call::Add { row: rows(&stage.inputs[0]), state: states.pop() },
        Function::Merge if states.is_empty() => return Err(no_call("its letter has no states")),
        Function::Merge => Call::Merge { parts: states },
        Function::Emit { window } => {
            let state = states.pop().ok_or_else(|| no_call("its letter has no state"))?;
            Call::Emit { window: WindowPart { start: window.start().0, end: window.end().0 }, key: key(), state }
        }
        Function::Take { time: TimeRead { watermark, now } } => {
            let (row, key) = (rows(&stage.inputs[0]), key_of_row());
            Call::Take { row, state: states.pop(), key, time: dead.time.0, watermark: watermark.0, now: now.0 }
        }
        Function::Fire { timer, time: TimeRead { watermark, now } } => {
            let timer = TimerPart { clock: timer.clock.into(), at: timer.at };
            Call::Fire { timer, state: states.pop(), key: key(), watermark: watermark.0, now: now.0 }
        }
        Function::PairRight => Call::Pair { left: None, right: Some(rows(&stage.inputs[1])) },
    };
    Ok((call, states_of))
}

fn no_call(why: &str) -> Failure {
    Failure::new(Exit::User, format!("the call cannot be made again: {why}"))
}

/// The state of a call that its letter has no room for, as it is kept now. The parts of a merge are not: they were merged again since, or given up.
fn state_left_out(
    committed: &Committed,
    stage: &StagePlan,
    dead: &DeadRow,
    function: Function,
) -> Result<Option<State>, Failure> {
    // What a session or a key of all time held then is gone, or has become more.
    let is_one_pane = |window: &WindowSpec| match window {
        WindowSpec::Session { .. } | WindowSpec::Global(_) => false,
        window => Windowing::new(window.clone()).n_panes_per_window() == 1,
    };
    let key = match (function, &stage.kind) {
        (Function::Fire { .. }, _) => dead.rows.clone(),
        (Function::Emit { .. }, StageKind::Aggregate { window, .. }) if is_one_pane(window) => dead.rows.clone(),
        (Function::Add, StageKind::Aggregate { key, .. }) => dead.rows.project(key),
        (Function::Take { .. }, StageKind::Process { key, .. }) => dead.rows.project(key),
        _ => return Ok(None),
    };
    Ok(kept(committed, stage, dead, &key)?.state)
}

fn named(schema: &Schema, rows: &Rows) -> Vec<Named> {
    schema.fields.iter().enumerate().map(|(idx, field)| Named::of(field, rows, idx)).collect()
}

/// What a stage keeps of one key.
struct KeptOf {
    state: Option<State>,
    /// Right rows or versions, the latest first.
    partners: Vec<Vec<Named>>,
    /// Of the task that has the key; of the last one if none has.
    watermark: Watermark,
}

fn kept(committed: &Committed, stage: &StagePlan, dead: &DeadRow, key: &Rows) -> Result<KeptOf, Failure> {
    let mut found = KeptOf { state: None, partners: Vec::new(), watermark: Watermark::UNKNOWN };
    // Null is equal to nothing.
    let Some(wanted) = Wanted::of(stage, key) else { return Ok(found) };
    for task in committed.tasks()? {
        let is_empty = found.state.is_none() && found.partners.is_empty();
        if is_empty && task.stages.iter().any(|of_task| of_task.idx == dead.stage) {
            found = kept_by(&task, stage, dead, &wanted).map_err(|why| unreadable(stage, &why))?;
        }
    }
    Ok(found)
}

fn kept_by(task: &TaskState, stage: &StagePlan, dead: &DeadRow, wanted: &Wanted) -> Result<KeptOf, StateError> {
    let mut bytes: Option<Vec<u8>> = None;
    let mut partners: Vec<(EventTime, Vec<u8>)> = Vec::new();
    task.kept(&mut |idx, kept| {
        if idx != dead.stage || !wanted.is(&kept) {
            return;
        }
        if let Some(state) = state_at(&kept, dead.time) {
            bytes = Some(state.to_vec());
        }
        if let Some((time, row)) = partner(&kept, dead.time, reach(&stage.kind)) {
            partners.push((time, row.to_vec()));
        }
    });
    partners.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    partners.truncate(PARTNERS_MAX);
    let state = |bytes: Vec<u8>| {
        let declared = stage.state.as_ref()?;
        let versions = task.versions(dead.stage).to_vec();
        Some(State { name: declared.name.clone(), versions, base64: json_bytes::encoded(&bytes) })
    };
    let unpack = |(_, packed): (EventTime, Vec<u8>)| {
        let [_, schema] = stage.kept_rows();
        Ok(named(&schema, &schema.decode_packed(&packed)?))
    };
    let partners = partners.into_iter().map(unpack).collect::<Result<_, StateError>>()?;
    Ok(KeptOf { state: bytes.and_then(state), partners, watermark: task.watermark })
}

/// The state to which a row of this time is added, or that a window with this last ms has, if it is one pane.
fn state_at<'a>(kept: &Kept<'a>, time: EventTime) -> Option<&'a [u8]> {
    match *kept {
        Kept::Pane { pane, state, .. } => (pane.start() <= time && time < pane.end()).then_some(state),
        Kept::Session { first, last, state, .. } => (first <= time && time <= last).then_some(state),
        Kept::Key { state, .. } | Kept::Global { state, .. } => (!state.is_empty()).then_some(state),
        _ => None,
    }
}

/// How far the partner of a row may lie before it and after it, in ms.
fn reach(kind: &StageKind) -> (i64, i64) {
    match kind {
        StageKind::Join { matching: Matching::LatestBefore { within_ms }, .. } => (*within_ms, 0),
        StageKind::Join { matching: Matching::All { within_ms, after_ms }, .. } => (*within_ms, *after_ms),
        StageKind::Join { matching: Matching::Window(window), .. } => (window.size_ms(), window.size_ms()),
        _ => (i64::MAX, 0),
    }
}

/// A right row, or a version, that a row of this time may have been paired with.
fn partner<'a>(kept: &Kept<'a>, time: EventTime, (within_ms, after_ms): (i64, i64)) -> Option<(EventTime, &'a [u8])> {
    let (Kept::Right { time: at, row, .. } | Kept::Version { time: at, row: Some(row), .. }) = *kept else { return None };
    let is_near = time.0.saturating_sub(within_ms) <= at.0 && at.0 <= time.0.saturating_add(after_ms);
    is_near.then_some((at, row))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reelflow_core::time::Window;

    use super::*;

    #[test]
    fn a_row_is_added_to_the_state_of_its_time() {
        let pane = Kept::Pane { key: b"k", pane: Window::new(EventTime(-10), EventTime(0)), state: b"s" };
        let at =
            |kept: &Kept<'_>, ms: &[i64]| -> Vec<bool> { ms.iter().map(|ms| state_at(kept, EventTime(*ms)).is_some()).collect() };
        assert_eq!(at(&pane, &[-11, -10, -1, 0]), [false, true, true, false]);
        let session = Kept::Session { key: b"k", first: EventTime(5), last: EventTime(9), state: b"s" };
        assert_eq!(at(&session, &[4, 5, 9, 10]), [false, true, true, false]);
        let timers = BTreeSet::new();
        let key = |state: &'static [u8]| Kept::Key { key: b"k", last: EventTime(0), state, timers: &timers };
        assert_eq!((at(&key(b"s"), &[7]), at(&key(b""), &[7])), (vec![true], vec![false]));
    }

    #[test]
    fn a_partner_lies_within_reach() {
        let right = |ms| Kept::Right { key: b"k", time: EventTime(ms), row: b"r" };
        let near = |ms: i64, reach| partner(&right(ms), EventTime(100), reach).is_some();
        let all = [49, 50, 100, 110, 111];
        assert_eq!(all.map(|ms| near(ms, (50, 10))), [false, true, true, true, false]);
        assert_eq!(all.map(|ms| near(ms, (i64::MAX, 0))), [true, true, true, false, false]);
        let deleted = Kept::Version { key: b"k", time: EventTime(100), row: None };
        assert_eq!(partner(&deleted, EventTime(100), (50, 10)), None);
    }
}
