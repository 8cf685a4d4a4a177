//! How long it takes to decode one record, beside `serde_json` into a struct that borrows its strings.
//!
//! `cargo run --release -p reelflow-core --example decode_speed` prints ns per record of both, the best of several rounds, on records
//! of about 300 bytes. The projector also fills columns, which `serde_json` is not asked to do.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use reelflow_core::{
    json::decode::Projector,
    schema::{Field, FieldType, Schema},
};
use serde::Deserialize;

const N_RECORDS: u64 = 20_000;
const N_ROUNDS: usize = 25;

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only filled")]
struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    country: &'a str,
    title_id: i64,
    row: i64,
    row_type: &'a str,
    position: i64,
}

fn main() {
    for (name, records) in [("one order of keys", records(false)), ("an optional key in every second record", records(true))] {
        let bytes: usize = records.iter().map(Vec::len).sum();
        println!("{name}, {} bytes a record on average", bytes / records.len());
        let mut projector = Projector::new(&schema());
        let mut rows = projector.rows();
        let ours = best(|| {
            for record in &records {
                projector.decode(black_box(record), &mut rows).expect("the records are good");
                if rows.len() == 1_000 {
                    black_box(rows.finish());
                }
            }
        });
        let theirs = best(|| {
            for record in &records {
                black_box(serde_json::from_slice::<Impression<'_>>(black_box(record)).expect("the records are good"));
            }
        });
        let per_record = |elapsed: Duration| elapsed.as_nanos() as f64 / N_RECORDS as f64;
        println!("  projector  {:6.1} ns", per_record(ours));
        println!("  serde_json {:6.1} ns, {:.2} times as much", per_record(theirs), theirs.as_secs_f64() / ours.as_secs_f64());
    }
}

fn best(mut round: impl FnMut()) -> Duration {
    let rounds = (0..N_ROUNDS).map(|_| {
        let begin = Instant::now();
        round();
        begin.elapsed()
    });
    rounds.min().expect("there are rounds")
}

fn schema() -> Schema {
    let field =
        |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: name.into(), field_type, required: true };
    let fields = [
        ("event_id", FieldType::Text),
        ("event_ts", FieldType::Int),
        ("profile_id", FieldType::Int),
        ("country", FieldType::Text),
        ("title_id", FieldType::Int),
        ("row", FieldType::Int),
        ("row_type", FieldType::Text),
        ("position", FieldType::Int),
    ];
    Schema { fields: fields.map(field).into() }
}

fn records(varied: bool) -> Vec<Vec<u8>> {
    let record = |n: u64| {
        let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (profile, title, at) = (8_000_000 + id % 1_000_000, 70_000_000 + id % 2_000, 1_767_225_600_000 + n * 37);
        let extra = if varied && n.is_multiple_of(2) { "\"experiment\":\"rows-7\"," } else { "" };
        format!(
            "{{\"v\":1,\"event_id\":\"019b76db-058f-7411-af48-{:012x}\",\"event_ts\":{at},\"sent_ts\":{},\"profile_id\":{profile},\
             \"account_id\":{},{extra}\"device\":\"tv\",\"country\":\"IN\",\"title_id\":{title},\"page\":\"home\",\
             \"request_id\":\"r-{:08x}\",\"row\":{},\"row_type\":\"continue_watching\",\"position\":{},\"algo\":\"pvr-4\",\"art_id\":{}}}",
            id >> 16,
            at + 1_500,
            profile / 2,
            id >> 32,
            n % 40,
            n % 75,
            n % 100_000,
        )
    };
    (0..N_RECORDS).map(|n| record(n).into_bytes()).collect()
}
