use super::{
    call::DeadCall,
    row::{DeadRow, NoRow, dead_row},
    *,
};
use crate::{
    column::Value,
    format::{SchemaAnswer, SourceFormat},
    plan::{EventTimeFrom, ShufflePlan, ShuffleTo, SinkPlan, SourcePlan, StagePlan, Stream},
    schema::{Field, FieldType, Schema},
    time::EventTime,
};

fn header(name: &str, text: &str) -> Header {
    (name.into(), text.as_bytes().to_vec())
}

/// The headers of a letter whose record came with `before`.
fn headers(before: &[Header], of: (&str, &str), offset: Option<&str>) -> Vec<Header> {
    let mut all = before.to_vec();
    all.extend([header(name::PIPELINE, "test"), header(of.0, of.1), header(name::REASON, "trap"), header(name::ERROR, "why")]);
    if let Some(offset) = offset {
        all.extend([header(name::TOPIC, "plays"), header(name::PARTITION, "1"), header(name::OFFSET, offset)]);
        all.push(header(name::TIMESTAMP, "-7"));
    }
    all
}

fn letter(headers: &[Header]) -> Option<Letter<'_>> {
    Letter::read(Record { offset: 3, timestamp_ms: 42, key: Some(b"k"), value: Some(b"v"), headers })
}

#[test]
fn a_letter_says_where_its_record_came_from() {
    let all = headers(&[header("trace", "t"), header(name::RETRIES, "2")], (name::STAGE, "clean"), Some("100"));
    let letter = letter(&all).unwrap();
    assert_eq!((letter.pipeline, letter.place, letter.reason), ("test", Place::Stage("clean"), "trap"));
    assert_eq!((letter.error, letter.code, letter.retries), ("why", None, 2));
    assert_eq!(letter.origin, Some(Origin { topic: "plays", partition: 1, offset: 100 }));
    assert_eq!(letter.timestamp_ms, -7);
    assert_eq!(letter.headers_again(), [header("trace", "t"), header(name::RETRIES, "3")]);
}

#[test]
fn a_letter_of_a_letter_is_the_last_one() {
    let first = headers(&[], (name::STAGE, "first"), Some("1"));
    let second = headers(&first, (name::SOURCE, "plays"), Some("2"));
    let letter = letter(&second).unwrap();
    assert_eq!((letter.place, letter.origin.unwrap().offset), (Place::Source("plays"), 2));
    assert_eq!(letter.headers, first);
}

#[test]
fn what_is_no_letter_is_none() {
    assert!(letter(&[]).is_none());
    assert!(letter(&[header(name::PIPELINE, "test")]).is_none());
    assert!(letter(&headers(&[], (name::STAGE, "a"), Some("no number"))).unwrap().origin.is_none());
    // Without the header that is younger than the others, the letter's own time must do.
    let mut old = headers(&[], (name::STAGE, "a"), Some("1"));
    old.pop();
    assert_eq!(letter(&old).unwrap().timestamp_ms, 42);
}

#[test]
fn an_error_may_point_into_the_value() {
    for (error, expected) in [
        ("field \"a\" at byte 5 must be string, not a number", Some(5)),
        ("value is not UTF-8 at byte 12", Some(12)),
        ("value is not a JSON object at byte 0: it is empty", Some(0)),
        ("at no byte", None),
        ("it was at byte x", None),
        (" at byte 99999999999999999999999", None),
    ] {
        let mut all = headers(&[], (name::SOURCE, "plays"), None);
        all.push(header(name::ERROR, error));
        assert_eq!(letter(&all).unwrap().byte_position(), expected, "{error}");
    }
}

#[test]
fn wordings_leave_out_what_differs() {
    for (error, expected) in [
        ("", ""),
        ("no page", "no page"),
        ("field \"a\" at byte 5 must be i64, not 7.5", "field \"a\" at byte # must be i#, not #.#"),
        ("play 019b76db-058f-7411-af48-d1493627b76d is unknown", "play # is unknown"),
        ("panicked at src/lib.rs:7:50: index 12", "panicked at src/lib.rs:7:50: index #"),
        ("größer als 10", "größer als #"),
    ] {
        assert_eq!(wording(error), expected);
    }
    assert_eq!(wording(&"ä".repeat(400)).chars().count(), WORDING_CHARS_MAX + 1);
}

/// Source plays with `consumers`; stage 0 is a dedup with `behind`, 1 the transform "clean", 2 the transform "other".
fn plan(consumers: &[Consumer], behind: &[Consumer]) -> Plan {
    let stream = |consumers: &[Consumer]| Stream { schema: Schema::default(), consumers: consumers.to_vec() };
    let stage = |name: &str, kind, consumers: &[Consumer]| StagePlan {
        name: name.into(),
        fragment: 0,
        inputs: vec![Schema::default()],
        kind,
        outputs: vec![stream(consumers)],
        failing: crate::plan::Failing::STANDARD,
        state: None,
        retime: None,
        late_topic: None,
        union: Vec::new(),
    };
    let transform = || StageKind::Transform { plugin: 0, columns: Vec::new() };
    Plan {
        name: "test".into(),
        n_partitions: 2,
        sources: vec![SourcePlan {
            name: "plays".into(),
            topic: "plays".into(),
            fragment: 0,
            format: SourceFormat::Json,
            stream: stream(consumers),
            event_time: EventTimeFrom::LogTimestamp,
            bound_ms: 0,
            idle_after_ms: 0,
            future_ms_max: 0,
            value_bytes_max: 10,
            table: None,
        }],
        stages: vec![
            stage("unique", StageKind::Dedup { id: 0, horizon_ms: 1 }, behind),
            stage("clean", transform(), &[]),
            stage("other", transform(), &[]),
        ],
        shuffles: vec![ShufflePlan {
            topic: "reel.test.by_title".into(),
            from_fragment: 0,
            to_fragment: 1,
            to: ShuffleTo::Everyone,
            is_combined: false,
            stream: stream(&[]),
        }],
        sinks: vec![SinkPlan {
            name: "all".into(),
            topic: "all".into(),
            n_partitions: 1,
            schema: Schema::default(),
            key: Vec::new(),
            upsert: false,
            tombstone: None,
            format: Default::default(),
            files: None,
        }],
        fragments: Vec::new(),
        dead_letter_topic: "dead.test".into(),
        side_partitions: 2,
        changelog_topic: "reel.test.changelog".into(),
        resets: Default::default(),
    }
}

const STRICT: Allowed = Allowed { retries_max: 3, shared: false };
const SHARED: Allowed = Allowed { retries_max: 3, shared: true };
const TO_DEDUP: Consumer = Consumer::Stage { stage: 0, port: 0 };
const TO_CLEAN: Consumer = Consumer::Stage { stage: 1, port: 0 };
const TO_OTHER: Consumer = Consumer::Stage { stage: 2, port: 0 };

#[track_caller]
fn check(consumers: &[Consumer], behind: &[Consumer], of: (&str, &str), allowed: Allowed, expected: Option<Obstacle>) {
    let all = headers(&[], of, Some("1"));
    assert_eq!(obstacle(&plan(consumers, behind), &letter(&all).unwrap(), allowed), expected);
}

#[test]
fn a_record_that_nothing_else_has_read_goes_back() {
    check(&[TO_CLEAN], &[], (name::STAGE, "clean"), STRICT, None);
    // A source refuses before anything reads.
    check(&[TO_CLEAN, TO_OTHER, Consumer::Sink(0)], &[], (name::SOURCE, "plays"), STRICT, None);
}

#[test]
fn a_record_that_others_have_read_does_not_unless_that_is_wanted() {
    let shared = |with: &str| Some(Obstacle::Shared { with: with.to_owned() });
    let clean = (name::STAGE, "clean");
    check(&[TO_CLEAN, TO_OTHER], &[], clean, STRICT, shared("stage \"other\""));
    check(&[TO_CLEAN, Consumer::Sink(0)], &[], clean, STRICT, shared("sink \"all\""));
    check(&[TO_CLEAN, Consumer::Shuffle(0)], &[], clean, STRICT, shared("topic \"reel.test.by_title\""));
    check(&[TO_CLEAN, TO_OTHER], &[], clean, SHARED, None);
    // The stage is gone since: whoever reads now has read it then.
    check(&[TO_OTHER], &[], clean, STRICT, shared("stage \"other\""));
    check(&[TO_DEDUP, TO_CLEAN], &[TO_OTHER], clean, STRICT, shared("stage \"unique\""));
}

/// What adds rows up before they are moved is the stage behind.
#[test]
fn a_record_that_died_before_it_was_moved_goes_back() {
    let of = |consumers: &[Consumer], behind: &[Consumer]| {
        let mut plan = plan(consumers, behind);
        let window = crate::plan::WindowSpec::Tumbling { size_ms: 1, offset_ms: 0 };
        plan.stages[1].kind = StageKind::Aggregate {
            plugin: 0,
            columns: Vec::new(),
            key: Vec::new(),
            window,
            lateness_ms: 0,
            emission: crate::plan::Emission::Final,
            early_ms: None,
        };
        plan.shuffles[0].stream.consumers = vec![TO_CLEAN];
        plan.shuffles[0].is_combined = true;
        let all = headers(&[], (name::STAGE, "clean"), Some("1"));
        obstacle(&plan, &letter(&all).unwrap(), STRICT)
    };
    assert_eq!(of(&[Consumer::Shuffle(0)], &[]), None);
    assert_eq!(of(&[TO_DEDUP], &[Consumer::Shuffle(0)]), Some(Obstacle::Deduplicated { stage: "unique".to_owned() }));
    assert_eq!(of(&[Consumer::Shuffle(0), TO_OTHER], &[]), Some(Obstacle::Shared { with: "stage \"other\"".to_owned() }));
}

#[test]
fn a_record_whose_id_is_known_does_not_go_back_at_all() {
    let known = Some(Obstacle::Deduplicated { stage: "unique".to_owned() });
    for allowed in [STRICT, SHARED] {
        check(&[TO_DEDUP], &[TO_CLEAN], (name::STAGE, "clean"), allowed, known.clone());
    }
    check(&[TO_DEDUP], &[TO_CLEAN], (name::SOURCE, "plays"), STRICT, None);
}

#[test]
fn other_obstacles_are_named() {
    let plan = plan(&[TO_CLEAN], &[]);
    let of = |all: &[Header], key: &[u8]| {
        let letter = Letter::read(Record { offset: 3, timestamp_ms: 42, key: Some(key), value: None, headers: all }).unwrap();
        obstacle(&plan, &letter, STRICT).map(|obstacle| obstacle.to_string()).unwrap_or_default()
    };
    let good = headers(&[], (name::STAGE, "clean"), Some("1"));
    assert_eq!(of(&good, b"k"), "");
    let with = |at: usize, text: &str| {
        let mut all = good.clone();
        all[at].1 = text.as_bytes().to_vec();
        of(&all, b"k")
    };
    assert_eq!(with(0, "another"), "of pipeline \"another\"");
    assert_eq!(with(4, "gone"), "from topic \"gone\", which no source reads");
    assert_eq!(with(5, "2"), "from a partition that topic \"plays\" does not have");
    assert_eq!(of(&good, b"__end"), "a control record");
    assert!(of(&headers(&[], (name::STAGE, "clean"), None), b"k").starts_with("a row that a stage made"));
    let often = |n: &str| of(&headers(&[header(name::RETRIES, n)], (name::STAGE, "clean"), Some("1")), b"k");
    assert_eq!((often("2"), often("3")), (String::new(), "put back 3 times already".to_owned()));
}

/// [`plan`], whose rows have a number and a time. The number lies deeper in a record.
fn plan_with_fields(consumers: &[Consumer], behind: &[Consumer]) -> Plan {
    let field =
        |name: &str, path: &str| Field { name: name.into(), path: path.into(), field_type: FieldType::Int, required: true };
    let schema = Schema { fields: vec![field("n", "deep.n"), field("ts", "ts")] };
    let mut plan = plan(consumers, behind);
    plan.sources[0].stream.schema = schema.clone();
    plan.sources[0].event_time = EventTimeFrom::Field(1);
    plan.stages.iter_mut().for_each(|stage| stage.inputs = vec![schema.clone()]);
    plan
}

fn row_of(plan: &Plan, headers: &[Header], value: &[u8]) -> Result<(i64, i64, EventTime), NoRow> {
    let letter = Letter::read(Record { offset: 3, timestamp_ms: 42, key: None, value: Some(value), headers }).unwrap();
    let DeadRow { stage, rows, time, .. } = dead_row(plan, &letter, &mut |_| SchemaAnswer::Unknown)?;
    assert_eq!(*plan.stages[stage].name, *letter.place.name());
    let [Value::Int(n), Value::Int(ts)] = [0, 1].map(|column| rows.column(column).at(0)) else { panic!("{rows:?}") };
    Ok((n, ts, time))
}

#[test]
fn the_row_of_a_letter_is_that_of_its_stage() {
    let plan = plan_with_fields(&[TO_DEDUP], &[TO_CLEAN]);
    let record = headers(&[], (name::STAGE, "clean"), Some("1"));
    let expected = Ok((7, 5, EventTime(5)));
    assert_eq!(row_of(&plan, &record, br#"{"deep":{"n":7},"ts":5}"#), expected);
    // A row alone has its fields by name, and its time beside it.
    let mut row = headers(&[], (name::STAGE, "clean"), None);
    row.push(header(name::TIMESTAMP, "9"));
    assert_eq!(row_of(&plan, &row, br#"{"n":7,"ts":5}"#), Ok((7, 5, EventTime(9))));
    // A union has its columns in another order.
    let mut union = plan.clone();
    union.stages[1].union = vec![vec![Some(1), Some(0)]];
    assert_eq!(row_of(&union, &record, br#"{"deep":{"n":7},"ts":5}"#), Ok((5, 7, EventTime(5))));
}

/// Its fields may be called as those of a left one: only the call tells.
#[test]
fn a_right_row_alone_is_one_of_the_right_input() {
    let mut plan = plan_with_fields(&[TO_DEDUP], &[TO_CLEAN]);
    let mut row = headers(&[], (name::STAGE, "clean"), None);
    row.push((name::CALL.into(), DeadCall::right_alone().encode()));
    let value = br#"{"n":7,"ts":5}"#;
    let refused = row_of(&plan, &row, value).map_err(|why| why.to_string());
    assert_eq!(refused, Err("its value is no row of stage \"clean\": the stage has no right rows".to_owned()));
    let mut right = plan.stages[1].inputs[0].clone();
    right.fields.swap(0, 1);
    plan.stages[1].inputs.push(right);
    assert_eq!(row_of(&plan, &row, value).map(|(ts, n, _)| (ts, n)), Ok((5, 7)));
    row.pop();
    assert_eq!(row_of(&plan, &row, value).map(|(n, ts, _)| (n, ts)), Ok((7, 5)), "without it, of the left one");
}

#[test]
fn where_there_is_no_row_it_is_said() {
    let plan = plan_with_fields(&[TO_CLEAN], &[]);
    let why = |of: (&str, &str), offset: Option<&str>, value: &[u8]| {
        row_of(&plan, &headers(&[], of, offset), value).map_err(|why| why.to_string()).unwrap_err()
    };
    let good = br#"{"deep":{"n":7},"ts":5}"#;
    assert!(why((name::SOURCE, "plays"), Some("1"), good).starts_with("source \"plays\" refused it"));
    assert_eq!(why((name::STAGE, "gone"), Some("1"), good), "the pipeline has no stage \"gone\"");
    assert_eq!(why((name::STAGE, "unique"), Some("1"), good), "stage \"unique\" has no plugin");
    assert_eq!(why((name::STAGE, "other"), Some("1"), good), "no source reads topic \"plays\" for stage \"other\"");
    assert!(why((name::STAGE, "clean"), None, b"{\"n\":7}").contains("required field \"ts\""));
    let mut of_host = headers(&[], (name::STAGE, "clean"), Some("1"));
    of_host.push(header(name::REASON, "timers"));
    assert_eq!(row_of(&plan, &of_host, good), Err(NoRow::OfHost("timers".to_owned())));
}
