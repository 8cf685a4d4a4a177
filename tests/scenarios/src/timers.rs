//! The process plugin of the scenarios. It counts the rows of a key and says so; a row's id tells it what else to do, with `n` in seconds:
//!
//! - `at` sets an event-time timer, `not` deletes it; `wall` sets a timer of the clock, so far from now;
//! - `chain` sets a timer for the row's own time, and each one that fires the next, a second later, so many times;
//! - `forget` forgets the state; `bomb` sets a timer on which the plugin traps, `dud` one that it refuses;
//! - `flood` sets so many timers at once; `refuse` is refused, `trap` traps.

use reelflow_core::{
    column::{Packed, RowBuilder, Rows, Value},
    plugin::{Clock, PluginFault, Reject, Request, Response, Routed, TimeRead, Timer, TimerChange},
};

use crate::plugins::Plugin;

/// What is kept of a key.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    count: i64,
    /// How many timers of a chain are still to be set.
    chain: i64,
    /// What the next timer does: 0 nothing else, 1 trap, 2 be refused.
    next: i64,
}

impl State {
    fn decode(bytes: &[u8]) -> State {
        let number =
            |at: usize| bytes.get(at..at + 8).map_or(0, |bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        State { count: number(0), chain: number(8), next: number(16) }
    }

    fn encode(self, to: &mut Packed) {
        to.push(&[self.count, self.chain, self.next].map(i64::to_le_bytes).concat());
    }
}

/// What a call has made so far.
struct Answer {
    states: Packed,
    rows: RowBuilder,
    origins: Vec<u32>,
    rejects: Vec<Reject>,
    timers: Vec<TimerChange>,
}

impl Answer {
    fn new() -> Answer {
        let kinds = Plugin::Timers.outputs()[0].1.fields.iter().map(|field| field.field_type.kind()).collect::<Vec<_>>();
        let (rows, origins) = (RowBuilder::new(kinds), Vec::new());
        Answer { states: Packed::default(), rows, origins, rejects: Vec::new(), timers: Vec::new() }
    }

    fn emit(&mut self, origin: u32, key: Value<'_>, ts: Value<'_>, on: &str, count: i64) {
        self.rows.push([key, ts, Value::Bytes(on.as_bytes()), Value::Int(count)]);
        self.origins.push(origin);
    }

    fn change(&mut self, origin: u32, is_set: bool, clock: Clock, at: i64) {
        self.timers.push(TimerChange { origin, is_set, timer: Timer { clock, at } });
    }

    fn finish(mut self) -> Response {
        let outputs = vec![Routed { output: 0, rows: self.rows.finish(), origins: self.origins }];
        Response::Processed { states: self.states, outputs, rejects: self.rejects, timers: self.timers }
    }
}

pub(crate) fn call(request: &Request) -> Result<Response, PluginFault> {
    match request {
        Request::Take { grouped, keys, states, time, .. } => take(&grouped.rows, &grouped.ends, keys, states, *time),
        Request::Fire { timers, keys, states, .. } => fire(timers, keys, states),
        other => panic!("a process was asked {other:?}"),
    }
}

fn take(rows: &Rows, ends: &[u32], keys: &Rows, states: &Packed, time: TimeRead) -> Result<Response, PluginFault> {
    let mut answer = Answer::new();
    let mut row = 0;
    for (group, end) in ends.iter().enumerate() {
        let mut state = Some(State::decode(states.at(group))).filter(|_| !states.at(group).is_empty());
        while row < *end {
            let at = |column: usize| rows.column(column).at(row as usize);
            let (Value::Int(ts), id, n) = (at(1), at(2), at(3)) else { panic!("a time is required") };
            let n = if let Value::Int(n) = n { n } else { 0 };
            let mut next = state.unwrap_or_default();
            next.count += 1;
            let mut is_forgotten = false;
            match id {
                Value::Bytes(b"at") => answer.change(row, true, Clock::EventTime, n * 1000),
                Value::Bytes(b"not") => answer.change(row, false, Clock::EventTime, n * 1000),
                Value::Bytes(b"wall") => answer.change(row, true, Clock::WallTime, time.now.0 + n * 1000),
                Value::Bytes(b"chain") => {
                    next.chain = n;
                    answer.change(row, true, Clock::EventTime, ts);
                }
                Value::Bytes(b"forget") => is_forgotten = true,
                Value::Bytes(what @ (b"bomb" | b"dud")) => {
                    next.next = if what == b"bomb" { 1 } else { 2 };
                    answer.change(row, true, Clock::EventTime, n * 1000);
                }
                Value::Bytes(b"flood") => (0..n).for_each(|at| answer.change(row, true, Clock::EventTime, ts + 1000 + at)),
                Value::Bytes(b"refuse") => {
                    answer.rejects.push(Reject { row, code: 7, message: "marked".into() });
                    row += 1;
                    continue;
                }
                Value::Bytes(b"trap") => return Err(PluginFault::Trap("marked".into())),
                _ => {}
            }
            answer.emit(row, keys.column(0).at(group), Value::Int(ts), "row", next.count);
            state = Some(next).filter(|_| !is_forgotten);
            row += 1;
        }
        match state {
            Some(state) => state.encode(&mut answer.states),
            None => answer.states.push(b""),
        }
    }
    Ok(answer.finish())
}

fn fire(timers: &[Timer], keys: &Rows, states: &Packed) -> Result<Response, PluginFault> {
    let mut answer = Answer::new();
    for (group, timer) in timers.iter().enumerate() {
        let (origin, mut state) = (group as u32, State::decode(states.at(group)));
        match state.next {
            1 => return Err(PluginFault::Trap("a bomb".into())),
            2 => {
                answer.rejects.push(Reject { row: origin, code: 8, message: "a dud".into() });
                answer.states.push(states.at(group));
                continue;
            }
            _ => {}
        }
        if state.chain > 0 {
            state.chain -= 1;
            answer.change(origin, true, Clock::EventTime, timer.at + 1000);
        }
        let (on, ts) = match timer.clock {
            Clock::EventTime => ("timer", Value::Int(timer.at)),
            Clock::WallTime => ("wall", Value::Null),
        };
        answer.emit(origin, keys.column(0).at(group), ts, on, state.count);
        if states.at(group).is_empty() { answer.states.push(b"") } else { state.encode(&mut answer.states) }
    }
    Ok(answer.finish())
}
