use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::{
    Pair,
    comparison::{Compared, Comparison},
    written::{Outlet, Written},
};
use crate::{
    column::{Column, Rows, Values},
    frame,
    plan::{Divided, FileFormat, FilesPlan, Plan, ShufflePlan, ShuffleTo, SinkPlan, Stream},
    record::{Header, Outgoing},
    schema::{Field, FieldType, Schema},
    stage::Batch,
    time::{EventTime, Watermark},
    watermark::InputMark,
};

/// A plan that writes to one sink.
fn plan() -> Arc<Plan> {
    let sink = SinkPlan {
        name: "out".into(),
        topic: "out".into(),
        n_partitions: 1,
        schema: Schema::default(),
        key: Vec::new(),
        upsert: false,
        tombstone: None,
        format: Default::default(),
        files: None,
    };
    Arc::new(Plan {
        name: "p".into(),
        n_partitions: 1,
        sources: Vec::new(),
        stages: Vec::new(),
        shuffles: Vec::new(),
        sinks: vec![sink],
        fragments: Vec::new(),
        dead_letter_topic: "dead.p".into(),
        side_partitions: 1,
        changelog_topic: "reel.p.changelog".into(),
        resets: Default::default(),
    })
}

/// Key, event time, value; no value is a tombstone.
type Row = (u8, i64, Option<u8>);

/// The same rows in batches of at most `n_rows`.
fn written(rows: &[Row], n_rows: usize) -> Vec<Outgoing> {
    let batch = |rows: &[Row]| {
        let mut outgoing = Outgoing::new("out".into());
        rows.iter()
            .for_each(|(key, time, value)| outgoing.push(0, *time, Some(&[*key]), value.as_ref().map(std::slice::from_ref), &[]));
        outgoing
    };
    rows.chunks(n_rows).map(batch).collect()
}

fn compared(steps: &[(&[Row], &[Row])]) -> Compared {
    let plan = plan();
    let mut comparison = Comparison::new(&plan, &plan, 100);
    steps.iter().for_each(|(old, new)| comparison.compare(&written(old, 2), &written(new, 3)));
    comparison.finish().remove(&Outlet::Sink(0)).unwrap_or_default()
}

fn row((key, time_ms, value): Row) -> Written {
    Written { at: Outlet::Sink(0), key: Some(vec![key]), time_ms, headers: Vec::new(), value: value.map(|value| vec![value]) }
}

/// `equal`: how many rows; `keys`: how many differ.
fn check(steps: &[(&[Row], &[Row])], equal: u64, keys: u64, expected: &[Pair<Row>]) {
    let found = compared(steps);
    let whole = |pair: &Pair<Row>| match *pair {
        Pair::Changed { old, new } => Pair::Changed { old: row(old), new: row(new) },
        Pair::OnlyOld(old) => Pair::OnlyOld(row(old)),
        Pair::OnlyNew(new) => Pair::OnlyNew(row(new)),
    };
    assert_eq!(found.rows.first, expected.iter().map(whole).collect::<Vec<_>>(), "{steps:?}");
    assert_eq!((found.rows.equal, found.n_keys, found.rows.differing()), (equal, keys, expected.len() as u64), "{steps:?}");
}

#[test]
fn rows_differ_by_key_and_event_time() {
    let (a, b, c) = ((1, 10, Some(5)), (1, 20, Some(5)), (2, 10, None));
    let other = (1, 10, Some(6));
    check(&[(&[], &[])], 0, 0, &[]);
    check(&[(&[a, b, c], &[a, b, c])], 3, 0, &[]);
    check(&[(&[a, b, c], &[other, b, c])], 2, 1, &[Pair::Changed { old: a, new: other }]);
    check(&[(&[a, b], &[b])], 1, 1, &[Pair::OnlyOld(a)]);
    check(&[(&[c], &[c, a])], 1, 1, &[Pair::OnlyNew(a)]);
    // As often as in the other.
    check(&[(&[a, a], &[a])], 1, 1, &[Pair::OnlyOld(a)]);
    // Another time is another row.
    check(&[(&[a], &[b])], 0, 1, &[Pair::OnlyOld(a), Pair::OnlyNew(b)]);
    // A tombstone is no row with an empty value.
    check(&[(&[(3, 1, None)], &[(3, 1, Some(0))])], 0, 1, &[Pair::Changed { old: (3, 1, None), new: (3, 1, Some(0)) }]);
}

#[test]
fn a_row_may_come_with_another_input() {
    let (a, b) = ((1, 10, Some(5)), (2, 20, Some(5)));
    check(&[(&[a, b], &[]), (&[], &[b]), (&[], &[a])], 2, 0, &[]);
    check(&[(&[a], &[]), (&[b], &[b])], 1, 1, &[Pair::OnlyOld(a)]);
}

/// What a dead letter says counts, where in its code the plugin trapped does not.
#[test]
fn dead_letters_differ_by_what_they_say() {
    let letter = |error: &str, place: &str| {
        let header = |name: &str, text: &str| -> Header { (name.into(), text.as_bytes().to_vec()) };
        let mut outgoing = Outgoing::new("dead.p".into());
        outgoing.push(0, 7, None, Some(b"x"), &[header("reel-error", error), header("reel-backtrace", place)]);
        [outgoing]
    };
    let check = |one: &[Outgoing], other: &[Outgoing], n_changed: u64| {
        let mut comparison = Comparison::new(&plan(), &plan(), 1);
        comparison.compare(one, other);
        let found = comparison.finish().remove(&Outlet::DeadLetters).expect("there are letters");
        assert_eq!((found.rows.equal, found.rows.changed), (1 - n_changed, n_changed));
    };
    check(&letter("why", "a"), &letter("why", "b"), 0);
    check(&letter("why", "a"), &letter("because", "a"), 1);
}

/// Frames are opened; one for everyone stands in every partition, and how far a task has come is no row.
#[test]
fn rows_in_frames_are_compared_like_records() {
    let field = |name: &str| Field { name: name.to_owned(), path: name.to_owned(), field_type: FieldType::Int, required: true };
    let schema = Schema { fields: vec![field("title"), field("plays")] };
    let mut plan = Plan::clone(&plan());
    plan.n_partitions = 2;
    let files =
        FilesPlan { path: "out".into(), format: FileFormat::Ndjson, divided: Divided::Not, roll_every_ms: 1, roll_bytes: 1 };
    plan.sinks[0] = SinkPlan { files: Some(files), schema: schema.clone(), key: vec![0], ..plan.sinks[0].clone() };
    plan.shuffles.push(ShufflePlan {
        topic: "reel.p.all".into(),
        from_fragment: 0,
        to_fragment: 0,
        to: ShuffleTo::Everyone,
        is_combined: false,
        stream: Stream { schema, consumers: Vec::new() },
    });
    let plan = Arc::new(plan);
    let written = |plays: [i64; 2]| {
        let column = |values: Vec<i64>| Column::from_parts(Values::Int(values), None).expect("no validity");
        let rows = Rows::new(2, vec![column(vec![7, 8]), column(plays.into())]).expect("two of each");
        let batch = Batch::made(rows, vec![EventTime(10), EventTime(20)], None);
        let frame = frame::encode_rows(&batch, &[Watermark::UNKNOWN; 2], 0).remove(0);
        let [mut sink, mut all] = ["out", "reel.p.all"].map(|topic| Outgoing::new(topic.into()));
        sink.push(0, 99, Some(b"fits"), Some(&frame), &[]);
        sink.push(0, 99, None, Some(&frame::encode_watermark(InputMark::UNKNOWN, 0)), &[]);
        (0..2).for_each(|partition| all.push(partition, 99, None, Some(&frame), &[]));
        [sink, all]
    };
    let mut comparison = Comparison::new(&plan, &plan, 10);
    comparison.compare(&written([1, 2]), &written([1, 2]));
    comparison.compare(&written([1, 2]), &written([1, 3]));
    let found = comparison.finish();
    let row = |at: Outlet, key: Option<&[u8]>, plays: i64| Written {
        at,
        key: key.map(<[u8]>::to_vec),
        time_ms: 20,
        headers: Vec::new(),
        value: Some(format!("{{\"title\":8,\"plays\":{plays}}}").into_bytes()),
    };
    for (at, key) in [(Outlet::Sink(0), Some(&b"8"[..])), (Outlet::Shuffle(0), None)] {
        let rows = &found[&at].rows;
        assert_eq!((rows.equal, rows.differing()), (3, 1), "{at:?}");
        assert_eq!(rows.first, [Pair::Changed { old: row(at, key, 2), new: row(at, key, 3) }]);
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..4_u8, 0..3_i64, prop::option::of(0..3_u8)), 0..40)
}

proptest! {
    /// However the rows are cut and mixed, those that both wrote are equal.
    #[test]
    fn the_same_rows_never_differ(rows in rows().prop_shuffle(), cut in 0..40_usize) {
        let (first, rest) = rows.split_at(cut.min(rows.len()));
        let mut mixed: Vec<Row> = rest.iter().chain(first).copied().collect();
        mixed.reverse();
        let found = compared(&[(&rows, &mixed[..cut.min(mixed.len())]), (&[], &mixed[cut.min(mixed.len())..])]);
        prop_assert_eq!(found.rows.differing(), 0);
        prop_assert_eq!(found.rows.equal, rows.len() as u64);
    }

    /// What differs is what a comparison of the two lists by hand finds, and no other key.
    #[test]
    fn what_differs_is_told(old in rows(), new in rows()) {
        let found = compared(&[(&old, &new)]);
        let mut rest = new.clone();
        let mut only_old = Vec::new();
        for row in &old {
            match rest.iter().position(|other| other == row) {
                Some(at) => drop(rest.remove(at)),
                None => only_old.push(*row),
            }
        }
        let rows = &found.rows;
        prop_assert_eq!(rows.equal + rows.changed + rows.only_old, old.len() as u64);
        prop_assert_eq!(rows.equal + rows.changed + rows.only_new, new.len() as u64);
        prop_assert_eq!(rows.changed + rows.only_old, only_old.len() as u64);
        let keys: BTreeSet<u8> = only_old.iter().chain(&rest).map(|(key, ..)| *key).collect();
        prop_assert_eq!(found.n_keys, keys.len() as u64);
    }
}

/// Only so many are kept; all are counted.
#[test]
fn differences_are_kept_up_to_a_number() {
    let plan = plan();
    let mut comparison = Comparison::new(&plan, &plan, 2);
    let rows: Vec<Row> = (0..50).map(|key| (key, 0, Some(1))).collect();
    comparison.compare(&written(&rows, 50), &[]);
    assert_eq!(comparison.n_differing(), 50);
    let found = comparison.finish().remove(&Outlet::Sink(0)).expect("the sink was written to");
    assert_eq!((found.rows.only_old, found.rows.first.len(), found.n_keys), (50, 2, 50));
}
