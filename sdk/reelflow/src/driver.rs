//! From batches to the author's functions and back. Straight loops: what a batch needs is decided before them.

use crate::{
    Aggregate, Event, FullJoin, Join, Key, Out, Outputs, Process, Reject, Sides, Transform, Window,
    column::{Packed, Rows, bit},
    state,
};

pub mod migrate;
pub mod process;

/// Rows out, and refused rows as (row or group of the call, why).
#[derive(Debug)]
pub struct Emitted {
    /// (index of the output, rows, for each row its origin); only outputs that got rows.
    pub outputs: Vec<(u32, Rows, Vec<u32>)>,
    pub rejects: Vec<(u32, Reject)>,
}

/// States out, one per group, and refused rows.
#[derive(Debug)]
pub struct Added {
    pub states: Packed,
    pub rejects: Vec<(u32, Reject)>,
}

/// `transform.apply`
pub fn apply<'a, P: Transform>(plugin: &P, input: &'a Rows) -> Emitted {
    let columns = <P::Event<'a>>::bind(input);
    each_row(input.len, |row, out: &mut Out<P::Output<'a>>| plugin.apply(<P::Event<'a>>::row(&columns, row)?, out))
}

/// `join.pair`
pub fn pair<'a, P: Join>(plugin: &P, left: &'a Rows, right: &'a Rows, matched: &[u8]) -> Emitted {
    let left_columns = <P::Left<'a>>::bind(left);
    let right_columns = <P::Right<'a>>::bind(right);
    each_row(left.len, |row, out: &mut Out<P::Output<'a>>| {
        let left = <P::Left<'a>>::row(&left_columns, row)?;
        let right = if bit(matched, row) { Some(<P::Right<'a>>::row(&right_columns, row)?) } else { None };
        plugin.pair(left, right, out)
    })
}

/// `join.pair` of a plugin that takes right rows alone: behind the bits of the right rows may be those of the left ones.
pub fn pair_full<'a, P: FullJoin>(plugin: &P, left: &'a Rows, right: &'a Rows, matched: &[u8]) -> Emitted {
    let left_columns = <P::Left<'a>>::bind(left);
    let right_columns = <P::Right<'a>>::bind(right);
    let (matched, has_left) = matched.split_at(left.len.div_ceil(8));
    each_row(left.len, |row, out: &mut Out<P::Output<'a>>| {
        let sides = match (has_left.is_empty() || bit(has_left, row), bit(matched, row)) {
            (true, true) => Sides::Both(<P::Left<'a>>::row(&left_columns, row)?, <P::Right<'a>>::row(&right_columns, row)?),
            (true, false) => Sides::Left(<P::Left<'a>>::row(&left_columns, row)?),
            (false, true) => Sides::Right(<P::Right<'a>>::row(&right_columns, row)?),
            (false, false) => unreachable!("the host sends rows"),
        };
        plugin.pair(sides, out)
    })
}

/// Calls `one` with each row; what a refused row emitted is taken back.
fn each_row<O: Outputs>(n_rows: usize, mut one: impl FnMut(usize, &mut Out<O>) -> Result<(), Reject>) -> Emitted {
    let mut out = Out::<O>::new(n_rows);
    let mut rejects = Vec::new();
    for row in 0..n_rows {
        out.begin(row as u32);
        if let Err(reject) = one(row, &mut out) {
            out.take_back();
            rejects.push((row as u32, reject));
        }
    }
    Emitted { outputs: out.finish(), rejects }
}

/// `aggregate.add`
pub fn add<'a, P: Aggregate>(plugin: &P, input: &'a Rows, ends: &[u32], states: &Packed) -> Added {
    let columns = <P::Event<'a>>::bind(input);
    let mut added = Added { states: Packed::default(), rejects: Vec::new() };
    let mut start = 0;
    for (group, end) in ends.iter().enumerate() {
        let rows = start..*end as usize;
        start = rows.end;
        let state = add_group::<P>(plugin, &columns, rows, states.at(group), &mut added.rejects);
        state::encode(&state, &mut added.states.data);
        added.states.end();
    }
    added
}

/// Adds the rows of one group to the state in `before`.
///
/// A refused row may have changed the state before it was refused. Then the state is made anew: from `before`, and the rows since
/// that were accepted. What was good at that point is kept as bytes, so that no row is added a third time however many are refused,
/// and a group without refusals pays nothing.
fn add_group<'a, P: Aggregate>(
    plugin: &P,
    columns: &<P::Event<'a> as Event<'a>>::Columns,
    rows: std::ops::Range<usize>,
    before: &[u8],
    rejects: &mut Vec<(u32, Reject)>,
) -> P::State {
    let mut state = state_of::<P>(before);
    let mut good: Option<Vec<u8>> = None;
    let mut since = rows.start;
    for row in rows {
        let Err(reject) = <P::Event<'a>>::row(columns, row).and_then(|event| plugin.add(&mut state, event)) else { continue };
        rejects.push((row as u32, reject));
        state = state_of::<P>(good.as_deref().unwrap_or(before));
        for again in since..row {
            let outcome = <P::Event<'a>>::row(columns, again).and_then(|event| plugin.add(&mut state, event));
            assert!(
                outcome.is_ok(),
                "`add` refused a row that it had accepted: it depends on something other than state and row"
            );
        }
        let mut bytes = Vec::new();
        state::encode(&state, &mut bytes);
        good = Some(bytes);
        since = row + 1;
    }
    state
}

/// The state in `bytes`; none are a new group's.
fn state_of<P: Aggregate>(bytes: &[u8]) -> P::State {
    if bytes.is_empty() {
        return P::State::default();
    }
    match state::decode(bytes) {
        Ok(state) => state,
        Err(why) => panic!("{why}"),
    }
}

/// `aggregate.merge`
pub fn merge<P: Aggregate>(plugin: &P, parts: &Packed, ends: &[u32]) -> Added {
    let mut states = Packed::default();
    let mut start = 0;
    for end in ends {
        let mut group = (start..*end as usize).map(|part| state_of::<P>(parts.at(part)));
        let mut into = group.next().unwrap_or_default();
        group.for_each(|from| plugin.merge(&mut into, from));
        start = *end as usize;
        state::encode(&into, &mut states.data);
        states.end();
    }
    Added { states, rejects: Vec::new() }
}

/// `aggregate.emit`
pub fn emit<P: Aggregate>(plugin: &P, windows: &[Window], keys: &Rows, states: &Packed) -> Emitted {
    // Each group's rows may borrow from its state, which lives for one turn of the loop; the sinks outlive them all.
    let mut out = Out::<P::Output<'static>>::new(windows.len());
    for (group, window) in windows.iter().enumerate() {
        out.begin(group as u32);
        out = emit_group(plugin, *window, Key::new(keys, group), &state_of::<P>(states.at(group)), out);
    }
    Emitted { outputs: out.finish(), rejects: Vec::new() }
}

fn emit_group<'a, P: Aggregate>(
    plugin: &P,
    window: Window,
    key: Key<'a>,
    state: &'a P::State,
    out: Out<P::Output<'static>>,
) -> Out<P::Output<'static>> {
    let mut out: Out<P::Output<'a>> = out.into();
    plugin.emit(window, key, state, &mut out);
    out.into()
}

/// Natively a plugin is only named, so that the compiler checks it.
#[doc(hidden)]
pub fn is_transform<P: Transform + Send + Sync>() {}
#[doc(hidden)]
pub fn is_aggregate<P: Aggregate + Send + Sync>() {}
#[doc(hidden)]
pub fn is_join<P: Join + Send + Sync>() {}
#[doc(hidden)]
pub fn is_full_join<P: FullJoin + Send + Sync>() {}
#[doc(hidden)]
pub fn is_process<P: Process + Send + Sync>() {}
