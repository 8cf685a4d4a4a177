//! Rows as Arrow columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use reelflow_core::{
    column::{Column, Value},
    schema::{FieldType, Schema},
    stage::Batch,
};

/// The columns of a sink: its fields in order, and `rev` and `final` where rows carry them.
pub(crate) fn schema(schema: &Schema, upsert: bool) -> SchemaRef {
    let field = |field: &reelflow_core::schema::Field| Field::new(&field.name, data_type(field.field_type), !field.required);
    let mut fields: Vec<Field> = schema.fields.iter().map(field).collect();
    if upsert {
        fields.push(Field::new("rev", DataType::Int64, false));
        fields.push(Field::new("final", DataType::Boolean, false));
    }
    Arc::new(ArrowSchema::new(fields))
}

/// The rows of `batch`, whose columns have the types of `schema`.
pub(crate) fn batch(arrow: &SchemaRef, schema: &Schema, upsert: bool, batch: &Batch) -> RecordBatch {
    let columns = schema.fields.iter().zip(batch.rows.columns());
    let mut arrays: Vec<ArrayRef> = columns.map(|(field, column)| array(field.field_type, column)).collect();
    if upsert {
        let revisions = batch.revisions.as_deref().expect("rows of an upsert stream carry revisions");
        arrays.push(Arc::new(Int64Array::from_iter_values(revisions.iter().map(|one| i64::from(one.rev)))));
        arrays.push(Arc::new(revisions.iter().map(|one| Some(one.is_final)).collect::<BooleanArray>()));
    }
    RecordBatch::try_new(arrow.clone(), arrays).expect("a frame was checked against this schema when it was decoded")
}

fn data_type(field_type: FieldType) -> DataType {
    match field_type {
        FieldType::Bool => DataType::Boolean,
        FieldType::Int => DataType::Int64,
        FieldType::Float => DataType::Float64,
        FieldType::Text => DataType::Utf8,
        FieldType::Bytes => DataType::Binary,
    }
}

fn array(field_type: FieldType, column: &Column) -> ArrayRef {
    let values = (0..column.len()).map(|row| column.at(row));
    match field_type {
        FieldType::Bool => {
            Arc::new(values.map(|value| if let Value::Bool(it) = value { Some(it) } else { None }).collect::<BooleanArray>())
        }
        FieldType::Int => {
            Arc::new(values.map(|value| if let Value::Int(it) = value { Some(it) } else { None }).collect::<Int64Array>())
        }
        FieldType::Float => {
            Arc::new(values.map(|value| if let Value::Float(it) = value { Some(it) } else { None }).collect::<Float64Array>())
        }
        FieldType::Text => Arc::new(values.map(text).collect::<StringArray>()),
        FieldType::Bytes => Arc::new(values.map(bytes).collect::<BinaryArray>()),
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    bytes(value).map(|bytes| std::str::from_utf8(bytes).expect("text was checked when it was decoded"))
}

fn bytes(value: Value<'_>) -> Option<&[u8]> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}
