//! What was written is what is read.

use std::{fs::File, sync::Arc};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reelflow_core::{
    column::{RowBuilder, Value},
    plan::{Divided, FileFormat, Plan},
    schema::{FieldType, Schema},
    stage::{Batch, Revision},
    time::EventTime,
};
use reelflow_ports::files::FileSink;

use super::harness::*;
use crate::{disk::LocalDisk, sink::LocalSink};

/// Fields of every type, required and optional.
fn wide(format: FileFormat) -> Plan {
    let mut plan = plan(format, Divided::Not);
    let types = [FieldType::Bool, FieldType::Int, FieldType::Float, FieldType::Text, FieldType::Bytes];
    let required = types.iter().map(|of| field(&format!("r_{}", of.name()), *of, true));
    let optional = types.iter().map(|of| field(&format!("o_{}", of.name()), *of, false));
    plan.sinks[0].schema = Schema { fields: required.chain(optional).collect() };
    plan.sinks[0].upsert = true;
    plan
}

fn wide_batch(plan: &Plan) -> Batch {
    let mut rows = RowBuilder::new(plan.sinks[0].schema.fields.iter().map(|field| field.field_type.kind()));
    let full = || {
        [Value::Bool(true), Value::Int(i64::MIN), Value::Float(-0.5), Value::Bytes("ä\"\n".as_bytes()), Value::Bytes(&[0, 255])]
    };
    rows.push(full().into_iter().chain([Value::Null; 5]));
    rows.push(full().into_iter().chain(full()));
    let revisions = vec![Revision { rev: 0, is_final: false }, Revision { rev: 1, is_final: true }];
    Batch::made(rows.finish(), vec![EventTime(-1), EventTime(1)], Some(revisions))
}

/// The only file that a sink of `plan` writes of `batches`.
fn written(plan: &Plan, batches: &[Batch]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = LocalSink::on(Arc::new(LocalDisk), plan, 0, folder.path());
    sink.prepare().expect("an empty folder");
    let mut files = sink.open(0).expect("open");
    for (offset, batch) in (0..).zip(batches) {
        files.write(offset, batch).expect("write");
    }
    let published = files.publish(batches.len() as i64, mark(0)).expect("publish");
    assert_eq!(published.n_files, 1);
    let is_file = |path: &std::path::PathBuf| path.is_file();
    let file = entries(&folder.path().join("out/rows")).into_iter().find(is_file).expect("a file");
    assert_eq!(published.n_bytes, file.metadata().expect("it is there").len());
    (folder, file)
}

fn read_parquet(file: &std::path::Path) -> Vec<RecordBatch> {
    let file = File::open(file).expect("open");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").build().expect("columns");
    reader.map(|batch| batch.expect("a batch")).collect()
}

#[test]
fn parquet_has_a_column_for_each_field_and_its_nulls() {
    let plan = wide(FileFormat::Parquet);
    let (_folder, file) = written(&plan, &[wide_batch(&plan)]);
    let batches = read_parquet(&file);
    let [batch] = &batches[..] else { panic!("{batches:?}") };
    let schema = batch.schema();
    let described: Vec<String> =
        schema.fields().iter().map(|f| format!("{} {} {}", f.name(), f.data_type(), f.is_nullable())).collect();
    assert_eq!(
        described,
        [
            "r_bool Boolean false",
            "r_i64 Int64 false",
            "r_f64 Float64 false",
            "r_string Utf8 false",
            "r_bytes Binary false",
            "o_bool Boolean true",
            "o_i64 Int64 true",
            "o_f64 Float64 true",
            "o_string Utf8 true",
            "o_bytes Binary true",
            "rev Int64 false",
            "final Boolean false",
        ]
    );
    for (column, is_null) in [(0, false), (4, false), (5, true), (6, true), (7, true), (8, true), (9, true)] {
        assert_eq!(batch.column(column).is_null(0), is_null, "{column}");
        assert!(!batch.column(column).is_null(1), "{column}");
    }
    for base in [0, 5] {
        assert!(batch.column(base).as_boolean().value(1));
        assert_eq!(batch.column(base + 1).as_primitive::<Int64Type>().value(1), i64::MIN);
        assert_eq!(batch.column(base + 2).as_primitive::<Float64Type>().value(1), -0.5);
        assert_eq!(batch.column(base + 3).as_string::<i32>().value(1), "ä\"\n");
        assert_eq!(batch.column(base + 4).as_binary::<i32>().value(1), [0, 255]);
    }
    assert_eq!(batch.column(10).as_primitive::<Int64Type>().values(), &[0, 1]);
    assert_eq!(batch.column(11).as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
}

#[test]
fn ndjson_has_the_rows_that_a_topic_would_have() {
    let plan = wide(FileFormat::Ndjson);
    let (_folder, file) = written(&plan, &[wide_batch(&plan)]);
    let required = r#""r_bool":true,"r_i64":-9223372036854775808,"r_f64":-0.5,"r_string":"ä\"\n","r_bytes":"AP8=""#;
    let null = r#""o_bool":null,"o_i64":null,"o_f64":null,"o_string":null,"o_bytes":null"#;
    let optional = required.replace("r_", "o_");
    let expected =
        format!("{{{required},{null},\"rev\":0,\"final\":false}}\n{{{required},{optional},\"rev\":1,\"final\":true}}\n");
    assert_eq!(std::fs::read_to_string(file).expect("text"), expected);
}

#[test]
fn many_row_groups_hold_all_rows_in_order() {
    let plan = plan(FileFormat::Parquet, Divided::Not);
    let ids: Vec<i64> = (0..300_000).collect();
    let batches: Vec<Batch> = ids.chunks(7_001).map(batch).collect();
    let (_folder, file) = written(&plan, &batches);
    let read = read_parquet(&file);
    let read: Vec<i64> = read.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert!(read == ids);
}

/// More folders than files may be open: some are ended early, and begun again within the roll.
#[test]
fn rows_of_many_hours_find_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = local(folder.path());
    sink.prepare().expect("an empty folder");
    let mut files = sink.open(0).expect("open");
    for offset in 0..2 {
        let mut batch = batch(&(0..600).collect::<Vec<_>>());
        batch.times = (0..600).map(|hour| EventTime(hour * HOUR_MS)).collect();
        files.write(offset, &batch).expect("write");
    }
    assert!(files.open_roll().is_full);
    let roll = files.publish(2, mark(0)).expect("publish");
    assert_eq!((roll.n_rows, published(folder.path()).len()), (1_200, roll.n_files));
    let second_half = published(folder.path()).into_iter().filter(|path| path.to_string_lossy().contains(".1.ndjson"));
    assert!(second_half.count() > 300, "a folder has two files of one roll, with two names");
    assert!(!files.open_roll().is_full);
}
