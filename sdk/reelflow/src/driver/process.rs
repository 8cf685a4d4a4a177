//! A process plugin's calls.

use std::ops::Range;

use super::Emitted;
use crate::{
    Event, Key, Process, Reject,
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
    let mut start = 0;
    for (group, end) in ends.iter().enumerate() {
        let rows = start..*end as usize;
        start = rows.end;
        ctx.begin_key(Key::new(keys, group));
        let taking = Taking { plugin, columns: &columns, times, time };
        taking.group(&mut ctx, rows, states.at(group), &mut rejects).write(&mut after);
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
    ) -> Kept<P::State> {
        let mut kept = Kept::read(before);
        let mut good: Option<Packed> = None;
        let mut since = rows.start;
        for row in rows {
            let Err(reject) = self.row(ctx, row, &mut kept) else { continue };
            ctx.take_back();
            rejects.push((row as u32, reject));
            kept = Kept::read(good.as_ref().map_or(before, |good| good.at(0)));
            let mut again = Context::new(ctx.key(), self.time, 0);
            for row in since..row {
                let outcome = self.row(&mut again, row, &mut kept);
                assert!(
                    outcome.is_ok(),
                    "`on_event` refused a row that it had accepted: it depends on something other than state and row"
                );
            }
            let mut bytes = Packed::default();
            kept.write(&mut bytes);
            good = Some(bytes);
            since = row + 1;
        }
        kept
    }

    fn row(&self, ctx: &mut Context<'a, P::Output<'a>>, row: usize, kept: &mut Kept<P::State>) -> Result<(), Reject> {
        ctx.begin(row as u32, self.times[row]);
        let event = <P::Event<'a>>::row(self.columns, row)?;
        self.plugin.on_event(ctx, &mut kept.state, event)?;
        kept.after(ctx.is_forgotten());
        Ok(())
    }
}

/// `process.fire`
pub fn fire<'a, P: Process>(plugin: &P, timers: &[Timer], keys: &'a Rows, states: &Packed, time: Time) -> Processed {
    let mut ctx = Context::<'a, P::Output<'a>>::new(Key::new(keys, 0), time, timers.len());
    let (mut after, mut rejects) = (Packed::default(), Vec::new());
    for (group, timer) in timers.iter().enumerate() {
        ctx.begin_key(Key::new(keys, group));
        ctx.begin(group as u32, timer.at());
        let mut kept = Kept::<P::State>::read(states.at(group));
        match plugin.on_timer(&mut ctx, &mut kept.state, *timer) {
            Ok(()) => {
                kept.after(ctx.is_forgotten());
                kept.write(&mut after);
            }
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

/// A group's state, and whether it is kept.
struct Kept<S> {
    state: S,
    is_kept: bool,
}

impl<S: state::State + Default> Kept<S> {
    /// No bytes are no state.
    fn read(bytes: &[u8]) -> Kept<S> {
        if bytes.is_empty() {
            return Kept { state: S::default(), is_kept: false };
        }
        match state::decode(bytes) {
            Ok(state) => Kept { state, is_kept: true },
            Err(why) => panic!("{why}"),
        }
    }

    /// The author's function has returned.
    fn after(&mut self, is_forgotten: bool) {
        self.is_kept = !is_forgotten;
        if is_forgotten {
            self.state = S::default();
        }
    }

    fn write(&self, to: &mut Packed) {
        if self.is_kept {
            state::encode(&self.state, &mut to.data);
        }
        to.end();
    }
}
