//! What adding rows up before a change of key saves and costs, without a plugin's own work: `cargo run --release -p reelflow-core --example combine_speed`.
//!
//! A task decodes records and sends their rows by key, another one counts them in windows of 10 s; both are driven here, by native functions in
//! place of the plugin. Each run reads a minute of event time at 50,000 records a second in batches of 4,096, and seals after each tenth. Printed are
//! the bytes that cross for a row, and the time that each of the two tasks takes for it, without and with `combine`. An argument picks the
//! distributions of keys whose name contains it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reelflow_core::{
    column::Packed,
    format::SourceFormat,
    plan::{
        Consumer, Emission, EventTimeFrom, Failing, FragmentInput, FragmentPlan, Plan, ShufflePlan, ShuffleTo, SourcePlan,
        StageKind, StagePlan, Stream, WindowSpec,
    },
    plugin::{Request, Response},
    record::{Outgoing, Record, RecordBatch},
    schema::{Field, FieldType, Schema},
    task::{Effect, Input, Task},
    time::WallTime,
};

const ROWS_PER_SECOND: u64 = 50_000;
const N_ROWS: u64 = 60 * ROWS_PER_SECOND;
const BATCH_ROWS: u64 = 4096;
const BATCHES_PER_EPOCH: u64 = 10;
const TOPIC: &str = "reel.combine.counts";

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all = [
        ("100,000 keys alike", Keys::new(100_000, 0.0)),
        ("100,000 keys, Zipf 1.0", Keys::new(100_000, 1.0)),
        ("100,000 keys, Zipf 1.2", Keys::new(100_000, 1.2)),
        ("200 keys alike", Keys::new(200, 0.0)),
    ];
    for (name, keys) in all.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        for is_combined in [false, true] {
            let Run { n_bytes, before, behind, .. } = Run::of(&keys, is_combined);
            let per_row = |took: Duration| took.as_nanos() as u64 / N_ROWS;
            println!(
                "{name:24} {:8} {:6.1} bytes, {:4} ns before and {:4} ns behind the change of key, a row",
                if is_combined { "combined" } else { "plain" },
                n_bytes as f64 / N_ROWS as f64,
                per_row(before),
                per_row(behind),
            );
        }
    }
}

/// Keys by their shares: the n-th one has 1 / n^exponent of the first one's.
struct Keys {
    /// Up to where each is drawn, of 1.
    ends: Vec<f64>,
}

impl Keys {
    fn new(n_keys: usize, exponent: f64) -> Keys {
        let shares: Vec<f64> = (1..=n_keys).map(|nth| (nth as f64).powf(-exponent)).collect();
        let sum: f64 = shares.iter().sum();
        let ends = shares.iter().scan(0.0, |end, share| {
            *end += share / sum;
            Some(*end)
        });
        Keys { ends: ends.collect() }
    }

    /// A key that looks drawn, the same in every run.
    fn of_row(&self, row: u64) -> usize {
        let drawn = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64;
        self.ends.partition_point(|end| *end < drawn).min(self.ends.len() - 1)
    }
}

struct Run {
    tasks: [Task; 2],
    n_bytes: usize,
    before: Duration,
    behind: Duration,
}

impl Run {
    fn of(keys: &Keys, is_combined: bool) -> Run {
        let plan = Arc::new(plan(is_combined));
        let tasks = [0, 1].map(|fragment| Task::new(plan.clone(), fragment, 0));
        let mut run = Run { tasks, n_bytes: 0, before: Duration::ZERO, behind: Duration::ZERO };
        (0..2).for_each(|at| drop(run.give(at, Input::ClockRead { now: WallTime(0) })));
        for first in (0..N_ROWS).step_by(BATCH_ROWS as usize) {
            let batch = records(keys, first..(first + BATCH_ROWS).min(N_ROWS));
            let start = Instant::now();
            let mut sent = run.give(0, Input::Records { input: 0, batch: Arc::new(batch) });
            let is_epoch = (first / BATCH_ROWS).is_multiple_of(BATCHES_PER_EPOCH);
            if is_epoch {
                sent.extend(run.give(0, Input::Seal));
            }
            run.before += start.elapsed();
            for outgoing in sent.into_iter().filter(|outgoing| *outgoing.topic == *TOPIC) {
                run.n_bytes += outgoing.records.n_bytes();
                let start = Instant::now();
                run.give(1, Input::Records { input: 0, batch: Arc::new(outgoing.records) });
                run.behind += start.elapsed();
            }
            if is_epoch {
                let start = Instant::now();
                run.give(1, Input::Seal);
                run.behind += start.elapsed();
            }
        }
        run
    }

    /// What a task sends, all its calls answered.
    fn give(&mut self, at: usize, input: Input) -> Vec<Outgoing> {
        let (mut sent, mut inputs, mut effects) = (Vec::new(), vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            self.tasks[at].handle(input, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Append(outgoing) => sent.push(outgoing),
                    Effect::Call { request, .. } => inputs.push(Input::PluginReturned { result: Ok(answer(request)) }),
                    Effect::Sealed(_) => {}
                    Effect::Migrated(_) | Effect::Failed(_) => unreachable!("a native function counts rows"),
                }
            }
        }
        sent
    }
}

fn records(keys: &Keys, rows: std::ops::Range<u64>) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for row in rows {
        let ts = (row * 1000 / ROWS_PER_SECOND) as i64;
        let value = format!(r#"{{"key":"key-{:06}","ts":{ts},"watched_ms":{}}}"#, keys.of_row(row), row % 10_000);
        let (value, headers) = (Some(value.as_bytes()), &[][..]);
        batch.push(Record { offset: row as i64, timestamp_ms: ts, key: None, value, headers });
    }
    batch
}

fn answer(request: Request) -> Response {
    let (mut states, mut start) = (Packed::default(), 0);
    match request {
        Request::Add { grouped, states: before } => {
            for (end, state) in grouped.ends.iter().zip(before.iter()) {
                states.push(&(count(state) + u64::from(end - start)).to_le_bytes());
                start = *end;
            }
        }
        Request::Merge { parts, ends } => {
            for end in ends {
                let sum: u64 = (start..end).map(|part| count(parts.at(part as usize))).sum();
                states.push(&sum.to_le_bytes());
                start = end;
            }
        }
        Request::Emit { .. } => return Response::Rows { outputs: Vec::new(), rejects: Vec::new() },
        request => unreachable!("an aggregate asked {request:?}"),
    }
    Response::States { states, rejects: Vec::new() }
}

fn count(state: &[u8]) -> u64 {
    state.try_into().map_or(0, u64::from_le_bytes)
}

fn plan(is_combined: bool) -> Plan {
    let field =
        |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: name.into(), field_type, required: true };
    let fields = [("key", FieldType::Text), ("ts", FieldType::Int), ("watched_ms", FieldType::Int)];
    let schema = Schema { fields: fields.map(field).into() };
    let stream = |consumer| Stream { schema: schema.clone(), consumers: vec![consumer] };
    let window = WindowSpec::Tumbling { size_ms: 10_000, offset_ms: 0 };
    let kind = StageKind::Aggregate {
        plugin: 0,
        columns: vec![2],
        key: vec![0],
        window,
        lateness_ms: 0,
        emission: Emission::Final,
        early_ms: None,
    };
    Plan {
        name: "combine".into(),
        n_partitions: 1,
        sources: vec![SourcePlan {
            name: "plays".into(),
            topic: "plays".into(),
            fragment: 0,
            format: SourceFormat::Json,
            stream: stream(Consumer::Shuffle(0)),
            event_time: EventTimeFrom::Field(1),
            bound_ms: 1_000,
            idle_after_ms: 60_000,
            future_ms_max: 600_000,
            value_bytes_max: 10_000,
            table: None,
        }],
        stages: vec![StagePlan {
            name: "counts".into(),
            fragment: 1,
            inputs: vec![schema.clone()],
            union: Vec::new(),
            kind,
            state: None,
            outputs: vec![Stream { schema: Schema::default(), consumers: Vec::new() }],
            retime: None,
            failing: Failing::STANDARD,
            late_topic: Some("late.counts".into()),
        }],
        shuffles: vec![ShufflePlan {
            topic: TOPIC.into(),
            from_fragment: 0,
            to_fragment: 1,
            to: ShuffleTo::Key(vec![0]),
            is_combined,
            stream: stream(Consumer::Stage { stage: 0, port: 0 }),
        }],
        sinks: Vec::new(),
        fragments: vec![
            FragmentPlan { name: "plays".into(), inputs: vec![FragmentInput::Source(0)], stages: Vec::new() },
            FragmentPlan { name: "counts".into(), inputs: vec![FragmentInput::Shuffle(0)], stages: vec![0] },
        ],
        dead_letter_topic: "dead.combine".into(),
        side_partitions: 1,
        changelog_topic: "reel.combine.changelog".into(),
        resets: Default::default(),
    }
}
