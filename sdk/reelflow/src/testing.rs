//! Tests of plugins on the machine they are written on: JSON in, JSON out, no host, no Wasm.
//!
//! Rows are JSON objects one after the other, as a source would send them; what the plugin emits comes back as compact JSON, one
//! string a row. Each function also calls the plugin with the rows cut otherwise, as the host may, and panics if the answers differ.
//!
//! ```
//! use reelflow::prelude::*;
//!
//! #[derive(Event)]
//! struct Play {
//!     ms: i64,
//! }
//! #[derive(State, Default)]
//! #[state(version = 1)]
//! struct Watched {
//!     ms: i64,
//! }
//! #[derive(Emit)]
//! struct Total<'a> {
//!     country: &'a str,
//!     ms: i64,
//! }
//! #[derive(Config)]
//! struct Watch;
//!
//! impl Aggregate for Watch {
//!     type Event<'a> = Play;
//!     type State = Watched;
//!     type Output<'a> = Total<'a>;
//!     const KEY: &'static [KeyField] = &[KeyField::str("country")];
//!
//!     fn add(&self, state: &mut Watched, play: Play) -> Result<(), Reject> {
//!         state.ms += play.ms;
//!         Ok(())
//!     }
//!     fn merge(&self, into: &mut Watched, from: Watched) {
//!         into.ms += from.ms;
//!     }
//!     fn emit<'a>(&self, _: Window, key: Key<'a>, state: &'a Watched, out: &mut Out<Total<'a>>) {
//!         out.emit(Total { country: key.str(), ms: state.ms });
//!     }
//! }
//! reelflow::export!(Watch as Aggregate);
//!
//! let window = Window { start: 0, end: 60_000 };
//! let run = reelflow::testing::aggregate(&Watch, window, r#"["NL"]"#, r#"{"ms":3} {"ms":4}"#);
//! assert_eq!(run.out("out"), [r#"{"country":"NL","ms":7}"#]);
//! ```

use crate::{
    Aggregate, Config, Event, FullJoin, Join, Outputs, Process, Reject, Transform, Window,
    column::{Builder, Column, FieldSpec, FieldType, Packed, Rows, Values, bit, push_bit},
    describe,
    driver::{self, Emitted},
    emit::OutputSpec,
    json::Json,
};

pub mod keyed;

/// What a plugin answered.
#[derive(Debug)]
pub struct Run {
    /// (output, rows)
    outputs: Vec<(&'static str, Vec<Json>)>,
    rejects: Vec<(u32, Reject)>,
}

impl Run {
    /// The rows on the output called `name` (`out`, unless the plugin has several), as compact JSON in the order of the fields.
    pub fn out(&self, name: &str) -> Vec<String> {
        match self.outputs.iter().find(|(of, _)| *of == name) {
            Some((_, rows)) => rows.iter().map(Json::to_string).collect(),
            None => panic!("the plugin has no output \"{name}\""),
        }
    }

    /// The refused rows, like `row 1: play without a page`, in the order of the rows.
    pub fn rejects(&self) -> Vec<String> {
        self.rejects.iter().map(|(row, why)| format!("row {row}: {}", why.message())).collect()
    }
}

/// A plugin made from its config, a JSON object; or what the host would report.
pub fn configure<P: Config>(config: &str) -> Result<P, String> {
    describe::configure(config)
}

/// Calls a transform with `rows`.
#[track_caller]
pub fn transform<P: Transform>(plugin: &P, rows: &str) -> Run {
    let rows = parse_all(rows);
    let call = |rows: &[Json]| run(driver::apply(plugin, &rows_of(rows, P::Event::FIELDS)), P::Output::OUTPUTS);
    let whole = call(&rows);
    check_alone(&whole, (0..rows.len()).map(|row| call(&rows[row..=row])));
    whole
}

/// Calls a join with the pairs of `left` and `right`, of which there must be as many; `null` on the right: nothing matched.
#[track_caller]
pub fn join<P: Join>(plugin: &P, left: &str, right: &str) -> Run {
    pairs(left, right, |left, right| {
        let rows = (rows_of(left, P::Left::FIELDS), rows_of(right, P::Right::FIELDS));
        run(driver::pair(plugin, &rows.0, &rows.1, &present(right)), P::Output::OUTPUTS)
    })
}

/// Calls a join that takes right rows alone with the pairs of `left` and `right`, of which there must be as many; `null` on one side:
/// the other one is alone.
#[track_caller]
pub fn full_join<P: FullJoin>(plugin: &P, left: &str, right: &str) -> Run {
    pairs(left, right, |left, right| {
        let rows = (rows_of(left, P::Left::FIELDS), rows_of(right, P::Right::FIELDS));
        let sides = [present(right), present(left)].concat();
        run(driver::pair_full(plugin, &rows.0, &rows.1, &sides), P::Output::OUTPUTS)
    })
}

#[track_caller]
fn pairs(left: &str, right: &str, call: impl Fn(&[Json], &[Json]) -> Run) -> Run {
    let (left, right) = (parse_all(left), parse_all(right));
    assert_eq!(left.len(), right.len(), "as many rows on the right as on the left, `null` where nothing matched");
    let whole = call(&left, &right);
    check_alone(&whole, (0..left.len()).map(|row| call(&left[row..=row], &right[row..=row])));
    whole
}

/// A bit for each row: whether it is there.
fn present(rows: &[Json]) -> Vec<u8> {
    let mut bits = Vec::new();
    rows.iter().enumerate().for_each(|(idx, row)| push_bit(&mut bits, idx, *row != Json::Null));
    bits
}

/// Adds `rows` to one group of an aggregate and lets `window` fire for `key`, a JSON list with one value for each key column.
///
/// The rows are added in one call, one call each, and in two parts that are merged in both orders: all must emit the same.
#[track_caller]
pub fn aggregate<P: Aggregate>(plugin: &P, window: Window, key: &str, rows: &str) -> Run {
    let rows = parse_all(rows);
    let Ok(Json::List(key)) = Json::parse(key) else { panic!("the key is a JSON list, like [\"NL\"], not {key}") };
    let keys = key_row(&key, P::KEY.iter().map(|field| field.0.field_type).collect());
    let add = |rows: &[Json], state: &[u8]| {
        let mut states = Packed::default();
        states.push(state);
        driver::add(plugin, &rows_of(rows, P::Event::FIELDS), &[rows.len() as u32], &states)
    };
    let emit = |state: &Packed| run(driver::emit(plugin, &[window], &keys, state), P::Output::OUTPUTS);

    let added = add(&rows, b"");
    let mut whole = emit(&added.states);
    whole.rejects = added.rejects;

    let (mut one_by_one, mut refused) = (added.states, Vec::new());
    if !rows.is_empty() {
        one_by_one = Packed::default();
        one_by_one.push(b"");
    }
    for (idx, row) in rows.chunks(1).enumerate() {
        let added = add(row, one_by_one.at(0));
        refused.extend(added.rejects.into_iter().map(|(_, why)| (idx as u32, why)));
        one_by_one = added.states;
    }
    check_same(&whole, &emit(&one_by_one), "its rows were added one by one");
    assert_eq!(whole.rejects, refused, "the plugin refused other rows when they were added one by one");

    let (first, second) = rows.split_at(rows.len() / 2);
    let halves = [add(first, b"").states, add(second, b"").states];
    for order in [[0, 1], [1, 0]] {
        let mut parts = Packed::default();
        order.iter().for_each(|half| parts.push(halves[*half].at(0)));
        let merged = driver::merge(plugin, &parts, &[2]).states;
        check_same(&whole, &emit(&merged), "two halves of its rows were merged");
    }
    whole
}

/// One key of a process, to be played through: rows, watermarks, timers. `key` is a JSON list with one value for each key column.
///
/// ```
/// use reelflow::prelude::*;
///
/// #[derive(Event)]
/// struct Click {}
/// #[derive(State, Default)]
/// #[state(version = 1)]
/// struct Seen {
///     n: u64,
/// }
/// #[derive(Emit)]
/// struct Quiet {
///     profile_id: i64,
///     clicks: u64,
/// }
/// #[derive(Config)]
/// struct Silence;
///
/// impl Process for Silence {
///     type Event<'a> = Click;
///     type State = Seen;
///     type Output<'a> = Quiet;
///     const KEY: &'static [KeyField] = &[KeyField::i64("profile_id")];
///
///     fn on_event(&self, ctx: &mut Context<'_, Quiet>, state: &mut Seen, _: Click) -> Result<(), Reject> {
///         state.n += 1;
///         ctx.set_timer(Timer::EventTime(ctx.time() + 10));
///         Ok(())
///     }
///     fn on_timer(&self, ctx: &mut Context<'_, Quiet>, state: &mut Seen, _: Timer) -> Result<(), Reject> {
///         ctx.emit(Quiet { profile_id: ctx.key().i64(), clicks: state.n });
///         Ok(())
///     }
/// }
/// reelflow::export!(Silence as Process);
///
/// let mut key = reelflow::testing::process(&Silence, "[7]");
/// assert!(key.rows(&[1, 3], "{} {}").out("out").is_empty());
/// assert_eq!(key.timers(), [Timer::EventTime(11), Timer::EventTime(13)]);
/// assert_eq!(key.watermark(12).out("out"), [r#"{"profile_id":7,"clicks":2}"#]);
/// ```
#[track_caller]
pub fn process<'p, P: Process>(plugin: &'p P, key: &str) -> keyed::Keyed<'p, P> {
    let Ok(Json::List(key)) = Json::parse(key) else { panic!("the key is a JSON list, like [\"NL\"], not {key}") };
    keyed::Keyed::new(plugin, key_row(&key, P::KEY.iter().map(|field| field.0.field_type).collect()))
}

/// Rows as the host would send them. Panics where it would have sent the record to the dead-letter topic.
#[track_caller]
fn rows_of(rows: &[Json], fields: &[FieldSpec]) -> Rows {
    let column = |field: &FieldSpec| {
        let mut builder = Builder::new(field.field_type);
        for (idx, row) in rows.iter().enumerate() {
            let value = field.path.split('.').try_fold(row, |object, name| object.member(name));
            match value.unwrap_or(&Json::Null) {
                // A null row is the side of a pair that is not there: nulls everywhere.
                Json::Null if field.required && *row != Json::Null => {
                    panic!("row {idx} lacks the required field \"{}\"", field.path)
                }
                value => push(&mut builder, field.field_type, value, || format!("field \"{}\" of row {idx}", field.path)),
            }
        }
        builder.finish()
    };
    Rows { len: rows.len(), columns: fields.iter().map(column).collect() }
}

#[track_caller]
fn push(builder: &mut Builder, field_type: FieldType, value: &Json, place: impl Fn() -> String) {
    match (field_type, value) {
        (_, Json::Null) => builder.push_null(),
        (FieldType::Bool, Json::Bool(value)) => builder.push_bool(*value),
        (FieldType::Int, Json::Int(value)) => builder.push_int(*value),
        (FieldType::Float, Json::Float(text)) => builder.push_float(text.parse().expect("a number is a float")),
        (FieldType::Float, Json::Int(value)) => builder.push_float(*value as f64),
        (FieldType::Text | FieldType::Bytes, Json::Text(value)) => builder.push_bytes(value.as_bytes()),
        (wanted, other) => panic!("{} is {}, not {}", place(), other.kind(), wanted.name()),
    }
}

/// One row of key columns. A plugin that declares no key takes any: then the values say the types.
#[track_caller]
fn key_row(key: &[Json], declared: Vec<FieldType>) -> Rows {
    assert!(declared.is_empty() || declared.len() == key.len(), "the plugin declares {} key columns", declared.len());
    let column = |(idx, value): (usize, &Json)| {
        let field_type = declared.get(idx).copied().unwrap_or(match value {
            Json::Bool(_) => FieldType::Bool,
            Json::Float(_) => FieldType::Float,
            Json::Text(_) => FieldType::Text,
            _ => FieldType::Int,
        });
        let mut builder = Builder::new(field_type);
        push(&mut builder, field_type, value, || format!("key column {idx}"));
        builder.finish()
    };
    Rows { len: 1, columns: key.iter().enumerate().map(column).collect() }
}

#[track_caller]
fn parse_all(mut text: &str) -> Vec<Json> {
    let mut rows = Vec::new();
    while !text.trim_start().is_empty() {
        let (row, rest) = Json::parse_first(text).unwrap_or_else(|why| panic!("row {} is not JSON: {why}", rows.len()));
        rows.push(row);
        text = rest;
    }
    rows
}

fn run(emitted: Emitted, specs: &'static [OutputSpec]) -> Run {
    let mut outputs: Vec<_> = specs.iter().map(|spec| (spec.name, Vec::new())).collect();
    for (output, rows, _) in emitted.outputs {
        let fields = specs[output as usize].fields;
        let row = |idx| {
            let member = |(field, column): (&FieldSpec, &Column)| (field.name.to_owned(), value(column, field.field_type, idx));
            Json::Object(fields.iter().zip(&rows.columns).map(member).collect())
        };
        outputs[output as usize].1 = (0..rows.len).map(row).collect();
    }
    Run { outputs, rejects: emitted.rejects }
}

fn value(column: &Column, field_type: FieldType, idx: usize) -> Json {
    if !column.validity.is_empty() && !bit(&column.validity, idx) {
        return Json::Null;
    }
    match &column.values {
        Values::Bools(bits) => Json::Bool(bit(bits, idx)),
        Values::Ints(values) => Json::Int(values[idx]),
        Values::Floats(values) => Json::Float(format!("{:?}", values[idx])),
        Values::Bytes(packed) if field_type == FieldType::Text => {
            Json::Text(std::str::from_utf8(packed.at(idx)).expect("text is UTF-8").to_owned())
        }
        Values::Bytes(packed) => Json::List(packed.at(idx).iter().map(|byte| Json::Int(i64::from(*byte))).collect()),
    }
}

/// The answer to a batch must be the answers to its rows, one after the other.
#[track_caller]
fn check_alone(whole: &Run, alone: impl Iterator<Item = Run>) {
    let mut joined = Run { outputs: whole.outputs.iter().map(|(name, _)| (*name, Vec::new())).collect(), rejects: Vec::new() };
    for (row, one) in alone.enumerate() {
        for (all, (_, rows)) in joined.outputs.iter_mut().zip(one.outputs) {
            all.1.extend(rows);
        }
        joined.rejects.extend(one.rejects.into_iter().map(|(_, why)| (row as u32, why)));
    }
    check_same(whole, &joined, "its rows came one by one");
    assert_eq!(whole.rejects, joined.rejects, "the plugin refused other rows when they came one by one");
}

#[track_caller]
fn check_same(whole: &Run, other: &Run, when: &str) {
    let same = whole.outputs.iter().zip(&other.outputs).all(|(a, b)| {
        let (a, b) = (&a.1, &b.1);
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
    });
    assert!(
        same,
        "the plugin answered otherwise when {when}\n  in one call: {:?}\n  otherwise:   {:?}",
        whole.outputs, other.outputs
    );
}

/// Equal, but for the rounding of sums that were added in another order.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Float(a), Json::Float(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Json::Object(a), Json::Object(b)) => a.iter().zip(b).all(|((_, a), (_, b))| same(a, b)),
        (a, b) => a == b,
    }
}
