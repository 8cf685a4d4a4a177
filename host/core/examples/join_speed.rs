//! How long the join of all pairs takes for a row, without a plugin's own work: `cargo run --release -p reelflow-core --example join_speed`.
//!
//! Rows of 100,000 keys at 50,000 a second of event time come in batches of 4,096, all of them on the right, and those of every second key on the
//! left too, and are joined where they lie at most a second apart; a native function answers. Moves the watermark after each batch, takes the
//! changes after each tenth, drops what is emitted, and prints ns per row of a batch. An argument picks the joins whose name contains it.

use std::time::Instant;

use reelflow_core::{
    column::{Column, Kind, Rows, Value},
    plan::{Emission, Failing, JoinKind, Matching, StageKind, StagePlan},
    plugin::{Request, Response, Routed},
    schema::{Field, FieldType, Schema},
    stage::{Batch, Operator, Outbox, join::pairs::PairJoin},
    state::ChangeWriter,
    time::{EventTime, Watermark},
};

const N_KEYS: u64 = 100_000;
const ROWS_PER_SECOND: u64 = 50_000;
const N_ROWS: u64 = 60 * ROWS_PER_SECOND;
const BATCH_ROWS: u64 = 4096;
const LEFT: usize = 0;
const RIGHT: usize = 1;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let joins = [("inner", JoinKind::Inner), ("left", JoinKind::Left), ("full", JoinKind::Full)];
    for (name, join) in joins.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let mut run = Run { stage: PairJoin::new(&stage(join)), n_emitted: 0, n_changed_bytes: 0 };
        let start = Instant::now();
        run.all();
        let ns = start.elapsed().as_nanos() as u64;
        println!("{name:8} {:6} ns a row, {:9} results, {} bytes of changes", ns / N_ROWS, run.n_emitted, run.n_changed_bytes);
    }
}

fn stage(join: JoinKind) -> StagePlan {
    let field =
        |name: &str, field_type: FieldType| Field { name: name.to_owned(), path: name.to_owned(), field_type, required: true };
    let side =
        || Schema { fields: vec![field("id", FieldType::Text), field("at", FieldType::Int), field("key", FieldType::Int)] };
    let kind = StageKind::Join {
        plugin: 0,
        left_columns: vec![0, 1, 2],
        right_columns: vec![0, 1, 2],
        left_key: vec![2],
        right_key: vec![2],
        matching: Matching::All { within_ms: 1000, after_ms: 0 },
        tie: None,
        join,
        lateness_ms: 0,
        emission: Emission::Final,
    };
    StagePlan {
        name: "pairs".into(),
        fragment: 0,
        inputs: vec![side(), side()],
        kind,
        state: None,
        retime: None,
        failing: Failing::STANDARD,
        outputs: Vec::new(),
        late_topic: None,
        union: Vec::new(),
    }
}

struct Run {
    stage: PairJoin,
    n_emitted: usize,
    n_changed_bytes: usize,
}

impl Run {
    fn all(&mut self) {
        let mut watermark = Watermark::UNKNOWN;
        for first in (0..N_ROWS).step_by(BATCH_ROWS as usize) {
            let rows = first..(first + BATCH_ROWS).min(N_ROWS);
            let last = time(rows.end - 1);
            self.accept(RIGHT, rows.clone(), watermark);
            self.accept(LEFT, rows.filter(|row| key(*row).is_multiple_of(2)), watermark);
            watermark = Watermark(last.0 - 1000);
            let mut out = Outbox::default();
            self.stage.advance(watermark, &mut out);
            self.answer(&mut out);
            if (first / BATCH_ROWS).is_multiple_of(10) {
                let mut writer = ChangeWriter::default();
                writer.stage("pairs");
                self.stage.changes(&mut writer);
                self.n_changed_bytes += writer.finish().iter().map(Vec::len).sum::<usize>();
            }
        }
    }

    fn accept(&mut self, port: usize, rows: impl Iterator<Item = u64>, watermark: Watermark) {
        let mut out = Outbox::default();
        let mut times = Vec::new();
        let mut columns = [Column::empty(Kind::Bytes), Column::empty(Kind::Int), Column::empty(Kind::Int)];
        for row in rows {
            let at = time(row);
            columns[0].push(Value::Bytes(format!("019b76db-0000-7000-8000-{row:012x}").as_bytes()));
            columns[1].push(Value::Int(at.0));
            columns[2].push(Value::Int(key(row) as i64));
            times.push(at);
        }
        let marks = vec![watermark; times.len()];
        let rows = Rows::new(times.len(), columns.into()).expect("each row has three values");
        self.stage.accept(port, Batch::made(rows, times, None), &marks, &mut out);
        self.answer(&mut out);
    }

    /// Answers each call with the left rows of its pairs.
    fn answer(&mut self, out: &mut Outbox) {
        while let Some(request) = self.stage.next_call() {
            let Request::Pair { left, .. } = request else { unreachable!("a join asked {request:?}") };
            self.n_emitted += left.len();
            let origins = (0..left.len() as u32).collect();
            let outputs = vec![Routed { output: 0, rows: left, origins }];
            self.stage.returned(Ok(Response::Rows { outputs, rejects: Vec::new() }), out);
        }
        out.emitted.clear();
    }
}

/// Up to a second behind the front, as rows of many producers are.
fn time(row: u64) -> EventTime {
    EventTime((row * 1000 / ROWS_PER_SECOND) as i64 - (scrambled(row) % 1000) as i64)
}

fn key(row: u64) -> u64 {
    (scrambled(row) >> 20) % N_KEYS
}

/// A number that looks random, the same in every run.
fn scrambled(row: u64) -> u64 {
    let mixed = (row ^ (row >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}
