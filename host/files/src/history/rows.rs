//! The rows of a Parquet file, each as the JSON object that a topic would have held.
//!
//! Only the columns that the pipeline needs are read, by the names in the file. What a column may be:
//!
//! | the manifest or a plugin wants | columns |
//! | --- | --- |
//! | `i64` | integers of at most 64 bits, the unsigned ones of at most 32; timestamps of any unit, as ms since 1970 |
//! | `f64` | floats, and integers as for `i64`; a float that is not finite becomes null, as JSON has none |
//! | `bool` | booleans |
//! | `string` | UTF-8 |
//! | `bytes` | bytes, and UTF-8 that holds base64 |
//! | path `a.b` | column `b` of the struct `a` |
//!
//! A file may be compressed with snappy or zstd.

use std::{fs::File, path::Path};

use arrow_array::{
    Array, ArrayRef, RecordBatch, StructArray,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    },
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};
use reelflow_core::{
    column::{RowBuilder, Rows, Value},
    json::encode::RecordWriter,
    schema::{FieldType, Schema},
};
use reelflow_ports::history::HistoryError;

use super::listing::failed;

/// Rows are decoded so many at a time.
const BATCH_ROWS: usize = 1024;

/// A Parquet file whose columns are those that the pipeline needs.
pub(super) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    schema: Schema,
    builder: RowBuilder,
    writer: RecordWriter,
    rows: Rows,
    next: usize,
    n_bytes_per_row: u64,
}

impl ParquetRows {
    /// Opens `path`. Every column that is missing or of another type is an error.
    pub fn open(path: &Path, schema: &Schema) -> Result<ParquetRows, Vec<HistoryError>> {
        let file = File::open(path).map_err(|why| vec![failed(path, &why)])?;
        let n_bytes = file.metadata().map_err(|why| vec![failed(path, &why)])?.len();
        // As Parquet says it: what the library that wrote the file had in memory does not matter.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let damaged =
            |why: parquet::errors::ParquetError| vec![HistoryError::Damaged { path: path.to_owned(), why: why.to_string() }];
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(damaged)?;
        let (mut problems, read) = columns(path, builder.schema().fields(), schema);
        problems.extend(unknown_codec(builder.metadata()).map(|codec| HistoryError::Codec { path: path.to_owned(), codec }));
        if !problems.is_empty() {
            return Err(problems);
        }
        let n_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let mask = ProjectionMask::columns(builder.parquet_schema(), read.iter().map(String::as_str));
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
        let mut rows = RowBuilder::new(schema.fields.iter().map(|field| field.field_type.kind()));
        Ok(ParquetRows {
            reader,
            schema: schema.clone(),
            writer: RecordWriter::new(schema),
            rows: rows.finish(),
            builder: rows,
            next: 0,
            n_bytes_per_row: n_bytes / n_rows.max(1),
        })
    }

    /// Puts the next row into `value`; `None` at the end. Gives about how many bytes of the file it took.
    pub fn next(&mut self, path: &Path, value: &mut Vec<u8>) -> Result<Option<u64>, HistoryError> {
        value.clear();
        while self.next == self.rows.len() {
            match self.reader.next() {
                None => return Ok(None),
                Some(Ok(batch)) => self.take(&batch),
                Some(Err(why)) => return Err(HistoryError::Damaged { path: path.to_owned(), why: why.to_string() }),
            }
        }
        self.writer.write(&self.rows, self.next, value);
        self.next += 1;
        Ok(Some(self.n_bytes_per_row))
    }

    fn take(&mut self, batch: &RecordBatch) {
        let columns: Vec<Option<Leaf>> = self.schema.fields.iter().map(|field| Leaf::find(batch, &field.path)).collect();
        for row in 0..batch.num_rows() {
            let columns = columns.iter().zip(&self.schema.fields);
            self.builder.push(columns.map(|(leaf, field)| match leaf {
                Some(leaf) => leaf.value(row, field.field_type),
                None => Value::Null,
            }));
        }
        self.rows = self.builder.finish();
        self.next = 0;
    }
}

/// How a file is compressed, if it cannot be read for that.
fn unknown_codec(file: &ParquetMetaData) -> Option<String> {
    let columns = file.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut codecs = columns.map(ColumnChunkMetaData::compression);
    let is_known = |codec: &Compression| matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_));
    codecs.find(|codec| !is_known(codec)).map(|codec| codec.to_string())
}

/// What is wrong with the columns of a file, and which of them are read.
fn columns(path: &Path, found: &Fields, wanted: &Schema) -> (Vec<HistoryError>, Vec<String>) {
    let (mut problems, mut read) = (Vec::new(), Vec::new());
    for field in &wanted.fields {
        let column = field.path.clone();
        match find(found, &field.path) {
            None if field.required => problems.push(HistoryError::ColumnMissing { path: path.to_owned(), column }),
            None => {}
            Some(found) if fits(found.data_type(), field.field_type) => read.push(column),
            Some(found) => {
                let (found, wanted) = (found.data_type().to_string(), field.field_type.name());
                problems.push(HistoryError::ColumnType { path: path.to_owned(), column, found, wanted });
            }
        }
    }
    (problems, read)
}

fn find<'f>(fields: &'f Fields, path: &str) -> Option<&'f Field> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (_, field) = fields.find(first)?;
    match (rest, field.data_type()) {
        (None, _) => Some(field),
        (Some(rest), DataType::Struct(fields)) => find(fields, rest),
        (Some(_), _) => None,
    }
}

fn fits(found: &DataType, wanted: FieldType) -> bool {
    use DataType::{
        Binary, Boolean, FixedSizeBinary, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, UInt8, UInt16, UInt32, Utf8,
    };
    match wanted {
        FieldType::Bool => matches!(found, Boolean),
        FieldType::Int => matches!(found, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Timestamp(..)),
        FieldType::Float => matches!(found, Float32 | Float64 | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32),
        FieldType::Text => matches!(found, Utf8),
        FieldType::Bytes => matches!(found, Binary | FixedSizeBinary(_) | Utf8),
    }
}

/// One column of a batch, within the structs that hold it.
struct Leaf {
    above: Vec<StructArray>,
    array: ArrayRef,
}

impl Leaf {
    fn find(batch: &RecordBatch, path: &str) -> Option<Leaf> {
        let mut parts = path.split('.');
        let mut array = batch.column_by_name(parts.next()?)?.clone();
        let mut above = Vec::new();
        for part in parts {
            let object = array.as_struct_opt()?.clone();
            array = object.column_by_name(part)?.clone();
            above.push(object);
        }
        Some(Leaf { above, array })
    }

    fn value(&self, row: usize, wanted: FieldType) -> Value<'_> {
        if self.above.iter().any(|object| object.is_null(row)) || self.array.is_null(row) {
            return Value::Null;
        }
        match (wanted, self.array.data_type()) {
            (FieldType::Bool, _) => Value::Bool(self.array.as_boolean().value(row)),
            (FieldType::Float, DataType::Float32) => float(f64::from(self.array.as_primitive::<Float32Type>().value(row))),
            (FieldType::Float, DataType::Float64) => float(self.array.as_primitive::<Float64Type>().value(row)),
            (FieldType::Float, _) => Value::Float(self.integer(row) as f64),
            (FieldType::Int, _) => Value::Int(self.integer(row)),
            (FieldType::Bytes, DataType::FixedSizeBinary(_)) => Value::Bytes(self.array.as_fixed_size_binary().value(row)),
            (FieldType::Bytes, DataType::Binary) => Value::Bytes(self.array.as_binary::<i32>().value(row)),
            (FieldType::Text | FieldType::Bytes, _) => Value::Bytes(self.array.as_string::<i32>().value(row).as_bytes()),
        }
    }

    fn integer(&self, row: usize) -> i64 {
        let array = &self.array;
        match array.data_type() {
            DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
            DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
            DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
            DataType::Timestamp(TimeUnit::Second, _) => {
                array.as_primitive::<TimestampSecondType>().value(row).saturating_mul(1_000)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => array.as_primitive::<TimestampMillisecondType>().value(row),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                array.as_primitive::<TimestampMicrosecondType>().value(row).div_euclid(1_000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000_000)
            }
            _ => array.as_primitive::<Int64Type>().value(row),
        }
    }
}

fn float(value: f64) -> Value<'static> {
    if value.is_finite() { Value::Float(value) } else { Value::Null }
}
