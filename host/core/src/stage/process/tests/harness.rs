//! The operator with a plugin whose rows say what it does, and what came out.

use std::collections::BTreeSet;

use super::super::Process;
use crate::{
    column::{Column, Kind, Packed, Rows, Value},
    plan::{Failing, StageKind, StagePlan},
    plugin::{Clock, PluginFault, Reject, Request, Response, Routed, Timer, TimerChange},
    schema::{FieldType, Schema},
    stage::{
        Batch, Operator, Outbox,
        testing::{Written, accept, advance, batch, clock, field},
    },
};

/// What the plugin does with a row, besides counting it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Acts {
    Nothing,
    Set(i64),
    Delete(i64),
    SetWall(i64),
    Forget,
    Refuse,
    Trap,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) at: i64,
    pub(super) acts: Acts,
}

/// A row that came out.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) struct Emitted {
    pub(super) key: i64,
    pub(super) at: i64,
    pub(super) is_timer: bool,
    pub(super) count: i64,
}

pub(super) struct Harness {
    lateness_ms: Option<i64>,
    ttl_ms: Option<i64>,
    pub(super) stage: Process,
    written: Written,
    pub(super) out: Outbox,
    pub(super) emitted: Vec<Emitted>,
    pub(super) n_calls: usize,
    watermark: i64,
    now: i64,
}

/// What one row makes of a count (0: no state): the count, and the timer it sets or deletes.
pub(super) fn of_row(count: i64, row: &Row) -> (i64, Option<(bool, Timer)>) {
    let event = |at| Timer { clock: Clock::EventTime, at };
    match row.acts {
        Acts::Set(at) => (count + 1, Some((true, event(at)))),
        Acts::Delete(at) => (count + 1, Some((false, event(at)))),
        Acts::SetWall(at) => (count + 1, Some((true, Timer { clock: Clock::WallTime, at }))),
        Acts::Forget => (0, None),
        Acts::Nothing | Acts::Refuse | Acts::Trap => (count + 1, None),
    }
}

/// What a timer does: some trap, some are refused; some count up and set the next one, possibly of the other clock, until the count is
/// high enough.
pub(super) enum OfTimer {
    Trap,
    Refuse,
    Counts(i64, Option<Timer>),
}

pub(super) fn of_timer(count: i64, timer: Timer) -> OfTimer {
    let next = match timer.at.rem_euclid(5) {
        3 => Timer { clock: Clock::WallTime, at: timer.at - 1 },
        step => Timer { clock: Clock::EventTime, at: timer.at + step },
    };
    match timer.at.rem_euclid(7) {
        0 => OfTimer::Trap,
        1 => OfTimer::Refuse,
        2 | 3 if count < 8 => OfTimer::Counts(count + 2, Some(next)),
        _ => OfTimer::Counts(count, None),
    }
}

const SCHEMA: [&str; 4] = ["key", "at", "act", "arg"];

pub(super) fn batch_of(rows: &[Row]) -> Batch {
    let of = |row: &Row| match row.acts {
        Acts::Nothing => (0, 0),
        Acts::Set(at) => (1, at),
        Acts::Delete(at) => (2, at),
        Acts::SetWall(at) => (3, at),
        Acts::Forget => (4, 0),
        Acts::Refuse => (5, 0),
        Acts::Trap => (6, 0),
    };
    let column = |value: &dyn Fn(&Row) -> i64| ints(rows.iter().map(value));
    let columns = vec![column(&|row| row.key), column(&|row| row.at), column(&|row| of(row).0), column(&|row| of(row).1)];
    batch(Rows::new(rows.len(), columns).unwrap(), &rows.iter().map(|row| row.at).collect::<Vec<_>>())
}

fn ints(values: impl Iterator<Item = i64>) -> Column {
    let mut column = Column::empty(Kind::Int);
    values.for_each(|value| column.push(Value::Int(value)));
    column
}

fn int(rows: &Rows, column: usize, row: usize) -> i64 {
    let Value::Int(value) = rows.column(column).at(row) else { panic!("all fields are integers") };
    value
}

impl Harness {
    pub(super) fn new(lateness_ms: Option<i64>, ttl_ms: Option<i64>) -> Harness {
        let stage = stage(lateness_ms, ttl_ms);
        let (written, out, emitted) = (Written::default(), Outbox::default(), Vec::new());
        Harness { lateness_ms, ttl_ms, stage, written, out, emitted, n_calls: 0, watermark: i64::MIN, now: i64::MIN }
    }

    pub(super) fn accept(&mut self, rows: &[Row]) {
        let n_calls = &mut self.n_calls;
        accept(&mut self.stage, 0, batch_of(rows), self.watermark, &mut |request| answer(request, n_calls), &mut self.out);
        self.collect();
    }

    pub(super) fn advance(&mut self, to: i64) {
        self.watermark = self.watermark.max(to);
        let n_calls = &mut self.n_calls;
        advance(&mut self.stage, to, &mut |request| answer(request, n_calls), &mut self.out);
        self.collect();
    }

    pub(super) fn clock(&mut self, now: i64) {
        self.now = self.now.max(now);
        let n_calls = &mut self.n_calls;
        clock(&mut self.stage, now, &mut |request| answer(request, n_calls), &mut self.out);
        self.collect();
    }

    /// Writes what changed (or everything) and goes on with a stage that was made of what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = stage(self.lateness_ms, self.ttl_ms);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        self.clock(self.now);
    }

    /// How many bytes of changes there are since the last write, but for what every chunk has.
    pub(super) fn written_bytes(&mut self) -> usize {
        let mut written = Written::default();
        written.changes(&mut self.stage);
        written.n_bytes().saturating_sub(5 + 1 + "tested".len() + 1)
    }

    fn collect(&mut self) {
        for (_, batch) in self.out.emitted.drain(..) {
            for row in 0..batch.len() {
                let at = batch.times[row].0;
                let (key, is_timer, count) = (int(&batch.rows, 0, row), int(&batch.rows, 1, row) == 1, int(&batch.rows, 2, row));
                self.emitted.push(Emitted { key, at, is_timer, count });
            }
        }
    }

    /// (key, time) of the late rows.
    pub(super) fn late(&self) -> BTreeSet<(i64, i64)> {
        let of = |batch: &Batch| (0..batch.len()).map(|row| (int(&batch.rows, 0, row), batch.times[row].0)).collect::<Vec<_>>();
        self.out.late.iter().flat_map(|late| of(&late.batch)).collect()
    }
}

fn stage(lateness_ms: Option<i64>, state_ttl_ms: Option<i64>) -> Process {
    let fields = SCHEMA.map(|name| field(name, FieldType::Int, true));
    Process::new(&StagePlan {
        name: "tested".into(),
        fragment: 0,
        inputs: vec![Schema { fields: fields.into() }],
        kind: StageKind::Process { plugin: 0, columns: vec![0, 1, 2, 3], key: vec![0], lateness_ms, state_ttl_ms },
        outputs: Vec::new(),
        state: None,
        retime: None,
        failing: Failing::STANDARD,
        union: Vec::new(),
        late_topic: None,
    })
}

fn acts(rows: &Rows, row: usize) -> Acts {
    let arg = int(rows, 3, row);
    match int(rows, 2, row) {
        0 => Acts::Nothing,
        1 => Acts::Set(arg),
        2 => Acts::Delete(arg),
        3 => Acts::SetWall(arg),
        4 => Acts::Forget,
        5 => Acts::Refuse,
        _ => Acts::Trap,
    }
}

/// A state is one byte, the count.
fn count_of(state: &[u8]) -> i64 {
    state.first().map_or(0, |count| i64::from(*count))
}

fn push_count(states: &mut Packed, count: i64) {
    states.push(if count == 0 { &[] } else { std::slice::from_ref(&COUNTS[count as usize]) });
}

const COUNTS: [u8; 256] = {
    let mut counts = [0; 256];
    let mut at = 0;
    while at < 256 {
        counts[at] = at as u8;
        at += 1;
    }
    counts
};

fn answer(request: &Request, n_calls: &mut usize) -> Result<Response, PluginFault> {
    *n_calls += 1;
    let (mut states, mut timers, mut rejects) = (Packed::default(), Vec::new(), Vec::new());
    let (mut emitted, mut origins): (Vec<[i64; 3]>, Vec<u32>) = (Vec::new(), Vec::new());
    match request {
        Request::Take { grouped, keys, states: before, .. } => {
            let mut row = 0;
            for (group, end) in grouped.ends.iter().enumerate() {
                let mut count = count_of(before.at(group));
                for origin in row..*end {
                    let one = |column| int(&grouped.rows, column, origin as usize);
                    assert_eq!(one(0), int(keys, 0, group), "each group has its key");
                    let of = Row { key: one(0), at: one(1), acts: acts(&grouped.rows, origin as usize) };
                    match of.acts {
                        Acts::Trap => return Err(PluginFault::Trap("asked to".into())),
                        Acts::Refuse => rejects.push(Reject { row: origin, code: 0, message: "asked to".to_owned() }),
                        _ => {
                            let (next, change) = of_row(count, &of);
                            timers.extend(change.map(|(is_set, timer)| TimerChange { origin, is_set, timer }));
                            count = next;
                            emitted.push([of.key, 0, count]);
                            origins.push(origin);
                        }
                    }
                }
                row = *end;
                push_count(&mut states, count);
            }
        }
        Request::Fire { timers: fired, keys, states: before, .. } => {
            for (group, timer) in fired.iter().enumerate() {
                let (origin, count) = (group as u32, count_of(before.at(group)));
                match of_timer(count, *timer) {
                    OfTimer::Trap => return Err(PluginFault::Trap("a trap".into())),
                    OfTimer::Refuse => {
                        rejects.push(Reject { row: origin, code: 0, message: "no".to_owned() });
                        push_count(&mut states, count);
                    }
                    OfTimer::Counts(next, set) => {
                        timers.extend(set.map(|timer| TimerChange { origin, is_set: true, timer }));
                        push_count(&mut states, next);
                        emitted.push([int(keys, 0, group), 1, next]);
                        origins.push(origin);
                    }
                }
            }
        }
        other => panic!("a process asks for no {other:?}"),
    }
    let columns = (0..3).map(|column| ints(emitted.iter().map(|row| row[column]))).collect();
    let rows = Rows::new(emitted.len(), columns).unwrap();
    Ok(Response::Processed { states, outputs: vec![Routed { output: 0, rows, origins }], rejects, timers })
}
