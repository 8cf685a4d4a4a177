//! How long the aggregate takes for a row, without a plugin's own work: `cargo run --release -p reelflow-core --example aggregate_speed`.
//!
//! Counts rows in windows over 100,000 keys, answered by a native function, and prints ns per row for some window shapes. Each run
//! reads two minutes of event time at 50,000 rows a second in batches of 4,096 rows, moves the watermark after each, and drops what
//! is emitted. An argument picks the shapes whose name contains it.

use std::time::Instant;

use reelflow_core::{
    column::{Column, Kind, Packed, Rows, Value},
    plan::{Emission, Failing, SessionCuts, StageKind, StagePlan, WindowSpec},
    plugin::{Request, Response, Routed},
    schema::{Field, FieldType, Schema},
    stage::{Batch, Operator, Outbox, aggregate::Aggregate, session::Session},
    state::ChangeWriter,
    time::{EventTime, Watermark},
};

const N_KEYS: u64 = 100_000;
const ROWS_PER_SECOND: u64 = 50_000;
const N_ROWS: u64 = 120 * ROWS_PER_SECOND;
const BATCH_ROWS: u64 = 4096;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let shapes = [
        ("tumbling 10 s", WindowSpec::Tumbling { size_ms: 10_000, offset_ms: 0 }),
        ("hopping 10 s / 1 s", WindowSpec::Hopping { size_ms: 10_000, slide_ms: 1000, offset_ms: 0 }),
        ("hopping 60 s / 1 s", WindowSpec::Hopping { size_ms: 60_000, slide_ms: 1000, offset_ms: 0 }),
        ("hopping 600 s / 1 s", WindowSpec::Hopping { size_ms: 600_000, slide_ms: 1000, offset_ms: 0 }),
        ("session, gap 2 s", WindowSpec::Session { gap_ms: 2000, cuts: SessionCuts::NONE }),
    ];
    for (name, window) in shapes.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let mut run = Run::new(window);
        let start = Instant::now();
        run.all();
        let ns = start.elapsed().as_nanos() as u64;
        let Run { n_emitted, n_parts, n_changed_bytes, .. } = run;
        println!(
            "{name:20} {:6} ns a row, {n_emitted:9} results, {n_parts:10} parts merged, {n_changed_bytes} bytes of changes",
            ns / N_ROWS
        );
    }
}

struct Run {
    stage: Box<dyn Operator>,
    n_emitted: usize,
    n_parts: usize,
    n_changed_bytes: usize,
}

impl Run {
    fn new(window: WindowSpec) -> Run {
        let field =
            |name: &str| Field { name: name.to_owned(), path: name.to_owned(), field_type: FieldType::Int, required: true };
        let is_session = matches!(window, WindowSpec::Session { .. });
        let kind = StageKind::Aggregate {
            plugin: 0,
            columns: vec![],
            key: vec![0],
            window,
            lateness_ms: 0,
            emission: Emission::Final,
            early_ms: None,
        };
        let inputs = vec![Schema { fields: vec![field("key")] }];
        let plan = StagePlan {
            name: "counts".into(),
            fragment: 0,
            inputs,
            kind,
            state: None,
            retime: None,
            failing: Failing::STANDARD,
            outputs: Vec::new(),
            late_topic: None,
            union: Vec::new(),
        };
        let stage: Box<dyn Operator> = match is_session {
            true => Box::new(Session::new(&plan)),
            false => Box::new(Aggregate::new(&plan)),
        };
        Run { stage, n_emitted: 0, n_parts: 0, n_changed_bytes: 0 }
    }

    fn all(&mut self) {
        let mut watermark = Watermark::UNKNOWN;
        for first in (0..N_ROWS).step_by(BATCH_ROWS as usize) {
            let mut out = Outbox::default();
            let rows = first..(first + BATCH_ROWS).min(N_ROWS);
            let times: Vec<EventTime> = rows.clone().map(|row| EventTime((row * 1000 / ROWS_PER_SECOND) as i64)).collect();
            let last = times[times.len() - 1];
            let mut keys = Column::empty(Kind::Int);
            rows.clone().for_each(|row| keys.push(Value::Int(scrambled(row) as i64)));
            let rows = Rows::new(times.len(), vec![keys]).expect("one column");
            let marks = vec![watermark; times.len()];
            self.stage.accept(0, Batch::made(rows, times, None), &marks, &mut out);
            self.answer(&mut out);
            watermark = Watermark(last.0 - 1000);
            self.stage.advance(watermark, &mut out);
            self.answer(&mut out);
            if (first / BATCH_ROWS).is_multiple_of(10) {
                let mut writer = ChangeWriter::default();
                writer.stage("counts");
                self.stage.changes(&mut writer);
                self.n_changed_bytes += writer.finish().iter().map(Vec::len).sum::<usize>();
            }
        }
    }

    fn answer(&mut self, out: &mut Outbox) {
        while let Some(request) = self.stage.next_call() {
            let response = match request {
                Request::Add { grouped, states } => counted(&grouped.ends, &states),
                Request::Merge { parts, ends } => {
                    self.n_parts += parts.len();
                    summed(&parts, &ends)
                }
                Request::Emit { windows, keys, .. } => {
                    self.n_emitted += windows.len();
                    let origins = (0..windows.len() as u32).collect();
                    Response::Rows { outputs: vec![Routed { output: 0, rows: keys, origins }], rejects: Vec::new() }
                }
                request => unreachable!("an aggregate asked {request:?}"),
            };
            self.stage.returned(Ok(response), out);
        }
        out.emitted.clear();
    }
}

/// A key that looks random, the same in every run.
fn scrambled(row: u64) -> u64 {
    (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % N_KEYS
}

fn counted(ends: &[u32], states: &Packed) -> Response {
    let (mut counts, mut start) = (Packed::default(), 0);
    for (end, state) in ends.iter().zip(states.iter()) {
        counts.push(&(count(state) + u64::from(end - start)).to_le_bytes());
        start = *end;
    }
    Response::States { states: counts, rejects: Vec::new() }
}

fn summed(parts: &Packed, ends: &[u32]) -> Response {
    let (mut sums, mut start) = (Packed::default(), 0);
    for end in ends {
        let sum: u64 = (start..*end).map(|part| count(parts.at(part as usize))).sum();
        sums.push(&sum.to_le_bytes());
        start = *end;
    }
    Response::States { states: sums, rejects: Vec::new() }
}

fn count(state: &[u8]) -> u64 {
    state.try_into().map_or(0, u64::from_le_bytes)
}
