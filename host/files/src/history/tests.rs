//! Files in, records in order out, or what is wrong with the files.

use std::{fs, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field as ArrowField};
use parquet::arrow::ArrowWriter;
use reelflow_core::{
    schema::{Field, FieldType, Schema},
    time::EventTime,
};
use tempfile::TempDir;

use super::*;

fn plan(source: usize, path: &str, format: FileFormat) -> HistoryPlan {
    let field = |name: &str, path: &str, field_type, required| Field {
        name: name.to_owned(),
        path: path.to_owned(),
        field_type,
        required,
    };
    HistoryPlan {
        source,
        name: format!("source-{source}").into(),
        path: path.into(),
        format,
        schema: Schema {
            fields: vec![
                field("at", "at", FieldType::Int, true),
                field("id", "who.id", FieldType::Text, false),
                field("share", "share", FieldType::Float, false),
                field("raw", "raw", FieldType::Bytes, false),
            ],
        },
        time: 0,
        timestamp: None,
        deleted: None,
        position: None,
        key: vec![1],
        value_bytes_max: 1000,
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let base = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = base.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    base
}

fn open(base: &TempDir, plans: &[HistoryPlan], range: TimeRange) -> Result<LocalHistory, Vec<Unusable>> {
    LocalHistory::open(base.path(), plans, range, 4, base.path(), &mut |_| {})
}

/// Source, value and, of what will be refused, the origin.
fn all(history: &mut LocalHistory) -> Vec<String> {
    let mut records = Vec::new();
    while let Some(past) = history.next().unwrap() {
        let origin = past.origin.map(|origin| format!(" {origin}")).unwrap_or_default();
        records.push(format!("{} {}{origin}", past.source, past.value.map_or("deletes".into(), String::from_utf8_lossy)));
    }
    records
}

fn columns(n: i32) -> Vec<(&'static str, ArrayRef)> {
    let id: ArrayRef = Arc::new(StringArray::from_iter((0..n).map(|row| (row != 1).then(|| format!("u{row}")))));
    let who = StructArray::from(vec![(Arc::new(ArrowField::new("id", DataType::Utf8, true)), id)]);
    vec![
        ("at", Arc::new(Int32Array::from_iter_values((0..n).map(|row| 10 * (n - row)))) as ArrayRef),
        ("who", Arc::new(who)),
        ("share", Arc::new(Float64Array::from_iter((0..n).map(|row| Some(if row == 2 { f64::NAN } else { 0.5 }))))),
        ("raw", Arc::new(BinaryArray::from_iter_values((0..n).map(|_| [0xff])))),
        ("unread", Arc::new(TimestampMicrosecondArray::from_iter_values((0..n).map(i64::from)))),
    ]
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn files_and_sources_become_one_history_in_the_order_of_event_time() {
    let base = folder(&[
        ("a/dt=2/x.ndjson", "{\"at\":5}\n{\"at\":2,\"who\":{\"id\":\"b\"}}\nnothing\n"),
        ("a/dt=1/y.ndjson", "{\"at\":9}\n{\"at\":5,\"n\":1}"),
        ("a/dt=1/empty.ndjson", ""),
        ("b.ndjson", "{\"at\":5,\"n\":2}\n{\"at\":-1}\n"),
    ]);
    let plans = [plan(0, "a", FileFormat::Ndjson), plan(1, "b.ndjson", FileFormat::Ndjson)];
    let mut history = open(&base, &plans, TimeRange::default()).unwrap();
    assert_eq!(history.n_records(), 7);
    assert_eq!(
        all(&mut history),
        [
            r#"1 {"at":-1}"#,
            r#"0 {"at":2,"who":{"id":"b"}}"#,
            "0 nothing a/dt=2/x.ndjson:3",
            r#"0 {"at":5,"n":1}"#,
            r#"0 {"at":5}"#,
            r#"1 {"at":5,"n":2}"#,
            r#"0 {"at":9}"#
        ]
    );
    let range = TimeRange { from: Some(EventTime(2)), to: Some(EventTime(5)) };
    let mut part = open(&base, &plans, range).unwrap();
    assert_eq!(all(&mut part), [r#"0 {"at":2,"who":{"id":"b"}}"#, "0 nothing a/dt=2/x.ndjson:3"]);
    assert_ne!(part.identity(), history.identity());
    let again = open(&base, &plans, TimeRange::default()).unwrap();
    assert_eq!(again.identity(), history.identity());
    fs::write(base.path().join("b.ndjson"), "{\"at\":5,\"n\":3}\n{\"at\":-1}\n").unwrap();
    let other = open(&base, &plans, TimeRange::default()).unwrap();
    assert_ne!(other.identity(), history.identity());
}

#[test]
fn rows_become_the_objects_that_a_topic_would_have_held() {
    let base = folder(&[]);
    fs::write(base.path().join("a.parquet"), parquet(columns(3))).unwrap();
    let mut history = open(&base, &[plan(0, "a.parquet", FileFormat::Parquet)], TimeRange::default()).unwrap();
    assert_eq!(
        all(&mut history),
        [
            r#"0 {"at":10,"raw":"/w==","share":null,"who":{"id":"u2"}}"#,
            r#"0 {"at":20,"raw":"/w==","share":0.5,"who":{"id":null}}"#,
            r#"0 {"at":30,"raw":"/w==","share":0.5,"who":{"id":"u0"}}"#
        ]
    );
}

#[test]
fn more_rows_than_are_decoded_at_once() {
    let base = folder(&[]);
    fs::write(base.path().join("a.parquet"), parquet(columns(5000))).unwrap();
    let history = open(&base, &[plan(0, "a.parquet", FileFormat::Parquet)], TimeRange::default()).unwrap();
    assert_eq!(history.n_records(), 5000);
}

#[test]
fn all_that_is_wrong_with_files_is_told_at_once() {
    let base = folder(&[("n/torn.parquet", "PAR1 and no more"), ("n/ok.txt", ""), ("zero/a.parquet", "")]);
    let other = columns(2).into_iter().filter(|(name, _)| *name != "at").map(|(name, array)| match name {
        "share" => ("share", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
        _ => (name, array),
    });
    fs::create_dir(base.path().join("p")).unwrap();
    fs::write(base.path().join("p/other.parquet"), parquet(other.collect())).unwrap();
    let mut torn = parquet(columns(50));
    torn.truncate(torn.len() / 2);
    fs::write(base.path().join("p/torn.parquet"), torn).unwrap();
    let plans =
        ["p", "n/*.ndjson", "zero", "n", "none"].iter().enumerate().map(|(idx, path)| plan(idx, path, FileFormat::Parquet));
    let problems = open(&base, &plans.collect::<Vec<_>>(), TimeRange::default()).err().expect("nothing is right");
    let told: Vec<String> = problems.iter().map(|one| format!("{} {}", one.source, one.why)).collect();
    for (at, (source, says)) in [
        ("source-0", "has no column \"at\""),
        ("source-0", "column \"share\" of"),
        ("source-0", "torn.parquet\" is damaged"),
        ("source-1", "no file has a name like"),
        ("source-2", "a.parquet\" is damaged"),
        ("source-3", "ok.txt\" is no parquet file by its name"),
        ("source-4", "does not exist"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(told[at].contains(source) && told[at].contains(says), "{at}: {told:#?}");
    }
    assert_eq!(told.len(), 7, "{told:#?}");
}

#[test]
fn lines_that_end_within_a_record_and_histories_of_nothing_are_refused() {
    let base = folder(&[
        ("torn.ndjson", "{\"at\":1}\n{\"at\":"),
        ("empty.ndjson", ""),
        ("one.ndjson", "{\"at\":1}\n"),
        ("folder/_SUCCESS", ""),
    ]);
    let why = |path: &str, range| match open(&base, &[plan(0, path, FileFormat::Ndjson)], range) {
        Ok(_) => panic!("{path} is good"),
        Err(problems) => problems[0].why.to_string(),
    };
    let everything = TimeRange::default();
    assert!(why("torn.ndjson", everything).ends_with("torn.ndjson\" is damaged: it ends within line 2"));
    assert_eq!(why("empty.ndjson", everything), "no record lies there");
    assert_eq!(why("folder", everything), "no record lies there");
    let later = TimeRange { from: Some(EventTime(2)), to: None };
    assert_eq!(why("one.ndjson", later), "no record lies there within the times asked for");
}

/// As NDJSON and as Parquet, where what a deleted key does not have is null.
#[test]
fn a_table_says_which_keys_are_deleted() {
    let base = folder(&[("t.ndjson", "{\"at\":5,\"who\":{\"id\":\"a\"}}\n{\"at\":7,\"who\":{\"id\":\"a\"},\"gone\":true}\n")]);
    let gone = BooleanArray::from(vec![Some(true), None, Some(false)]);
    let name: ArrayRef = Arc::new(StringArray::from(vec![None, Some("B"), Some("C")]));
    fs::write(
        base.path().join("t.parquet"),
        parquet([columns(3), vec![("gone", Arc::new(gone) as ArrayRef), ("name", name)]].concat()),
    )
    .unwrap();
    let table = |path: &str, format, name_is_required| {
        let mut plan = plan(0, path, format);
        plan.deleted = Some(plan.schema.len());
        for (name, field_type, required) in [("gone", FieldType::Bool, false), ("name", FieldType::Text, name_is_required)] {
            plan.schema.fields.push(Field { name: name.to_owned(), path: name.to_owned(), field_type, required });
        }
        plan
    };
    let mut history = open(&base, &[table("t.ndjson", FileFormat::Ndjson, false)], TimeRange::default()).unwrap();
    assert_eq!(all(&mut history), [r#"0 {"at":5,"who":{"id":"a"}}"#, "0 deletes"]);
    let mut history = open(&base, &[table("t.parquet", FileFormat::Parquet, true)], TimeRange::default()).unwrap();
    let found = all(&mut history);
    assert!(found[0].contains("\"C\"") && found[1].contains("\"B\""), "{found:?}");
    assert_eq!(found[2], "0 deletes");
}

#[test]
fn files_say_where_their_topics_go_on() {
    let of = |lines: &str| {
        let base = folder(&[("a.ndjson", lines)]);
        let mut plan = plan(3, "a.ndjson", FileFormat::Ndjson);
        plan.position = Some((plan.schema.len(), plan.schema.len() + 1));
        for name in ["p", "o"] {
            let (name, path) = (name.to_owned(), name.to_owned());
            plan.schema.fields.push(Field { name, path, field_type: FieldType::Int, required: false });
        }
        open(&base, &[plan], TimeRange { from: Some(EventTime(5)), to: None })
    };
    let mut history = of("{\"at\":9,\"p\":2,\"o\":7}\nbroken\n{\"at\":1,\"p\":2,\"o\":8}\n{\"at\":5,\"p\":0,\"o\":3}\n").unwrap();
    assert_eq!(history.next_offsets(), [(3, 0, 4), (3, 2, 9)], "also of what is not asked for");
    assert_eq!(history.next().unwrap().map(|past| past.partition), Some(0));
    let why = of("{\"at\":9,\"p\":2,\"o\":7}\n{\"at\":9,\"p\":2}\n").err().expect("a record lies nowhere").remove(0).why;
    assert!(why.to_string().contains("record 2 does not say at which partition and offset"), "{why}");
}
