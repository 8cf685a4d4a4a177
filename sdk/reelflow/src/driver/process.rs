//! A process plugin's calls.

use std::ops::Range;

use super::Emitted;
use crate::{
    Event, Key, Process, Reject, State,
    column::{Packed, Rows},
    process::{Change, Context, Time, Timer},
    state,
};

/// States out, one per group, with rows, refusals and timers.
#[derive(Debug)]
pub struct Processed {
    /// An empty one: the group keeps no state.
    pub states: Packed,
    pub emitted: Emitted,
    pub timers: Vec<Change>,
}

/// `process.take`
pub fn take<'a, P: Process>(
    plugin: &P,
    input: &'a Rows,
    times: &[i64],
    ends: &[u32],
    keys: &'a Rows,
    states: &Packed,
    time: Time,
) -> Processed {
    let columns = <P::Event<'a>>::bind(input);
    let mut ctx = Context::<'a, P::Output<'a>>::new(Key::new(keys, 0), time, input.len);
    let (mut after, mut rejects) = (Packed::default(), Vec::new());
    let (taking, new) = (Taking { plugin, columns: &columns, times, time }, new_bytes::<P::State>());
    let mut start = 0;
    for (group, end) in ends.iter().enumerate() {
        let rows = start..*end as usize;
        start = rows.end;
        ctx.begin_key(Key::new(keys, group));
        write(&taking.group(&mut ctx, rows, states.at(group), &mut rejects), &new, &mut after);
    }
    finish(ctx, after, rejects)
}

/// What the groups of a call share.
struct Taking<'c, 'a, P: Process> {
    plugin: &'c P,
    columns: &'c <P::Event<'a> as Event<'a>>::Columns,
    times: &'c [i64],
    time: Time,
}

impl<'a, P: Process> Taking<'_, 'a, P> {
    /// Takes the rows of one group, whose state is in `before`.
    ///
    /// A refused row may have changed the state before it was refused. Then the state is made anew, as in [`super::add`]: from what was
    /// good before, and the rows since that were accepted, whose rows and timers are out already.
    fn group(
        &self,
        ctx: &mut Context<'a, P::Output<'a>>,
        rows: Range<usize>,
        before: &[u8],
        rejects: &mut Vec<(u32, Reject)>,
    ) -> P::State {
        let mut state: P::State = read(before);
        let mut good: Option<Vec<u8>> = None;
        let mut since = rows.start;
        for row in rows {
            let Err(reject) = self.row(ctx, row, &mut state) else { continue };
            ctx.take_back();
            rejects.push((row as u32, reject));
            state = read(good.as_deref().unwrap_or(before));
            let mut again = Context::new(ctx.key(), self.time, 0);
            for row in since..row {
                let outcome = self.row(&mut again, row, &mut state);
                assert!(
                    outcome.is_ok(),
                    "`on_event` refused a row that it had accepted: it depends on something other than state and row"
                );
            }
            let mut bytes = Vec::new();
            state::encode(&state, &mut bytes);
            good = Some(bytes);
            since = row + 1;
        }
        state
    }

    fn row(&self, ctx: &mut Context<'a, P::Output<'a>>, row: usize, state: &mut P::State) -> Result<(), Reject> {
        ctx.begin(row as u32, self.times[row]);
        let event = <P::Event<'a>>::row(self.columns, row)?;
        self.plugin.on_event(ctx, state, event)
    }
}

/// `process.fire`
pub fn fire<'a, P: Process>(plugin: &P, timers: &[Timer], keys: &'a Rows, states: &Packed, time: Time) -> Processed {
    let mut ctx = Context::<'a, P::Output<'a>>::new(Key::new(keys, 0), time, timers.len());
    let (mut after, mut rejects, new) = (Packed::default(), Vec::new(), new_bytes::<P::State>());
    for (group, timer) in timers.iter().enumerate() {
        ctx.begin_key(Key::new(keys, group));
        ctx.begin(group as u32, timer.at());
        let mut state: P::State = read(states.at(group));
        match plugin.on_timer(&mut ctx, &mut state, *timer) {
            Ok(()) => write(&state, &new, &mut after),
            Err(reject) => {
                ctx.take_back();
                rejects.push((group as u32, reject));
                after.push(states.at(group));
            }
        }
    }
    finish(ctx, after, rejects)
}

fn finish<T: crate::Outputs>(ctx: Context<'_, T>, states: Packed, rejects: Vec<(u32, Reject)>) -> Processed {
    let (out, timers) = ctx.into_parts();
    Processed { states, emitted: Emitted { outputs: out.finish(), rejects }, timers }
}

/// The state in `bytes`; none are a new key's.
fn read<S: State + Default>(bytes: &[u8]) -> S {
    if bytes.is_empty() {
        return S::default();
    }
    match state::decode(bytes) {
        Ok(state) => state,
        Err(why) => panic!("{why}"),
    }
}

/// Appends `state` to `to`, as no bytes if it is as `new` ones are.
pub(super) fn write<S: State>(state: &S, new: &[u8], to: &mut Packed) {
    let start = to.data.len();
    state::encode(state, &mut to.data);
    if to.data[start..] == *new {
        to.data.truncate(start);
    }
    to.end();
}

/// The bytes of a state that nothing has changed.
pub(super) fn new_bytes<S: State + Default>() -> Vec<u8> {
    let mut bytes = Vec::new();
    state::encode(&S::default(), &mut bytes);
    bytes
}
