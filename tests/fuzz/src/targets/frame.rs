//! The value of a record in a topic of a change of key: rows or partial states as columns, or a watermark.

use reelflow_core::{
    frame::{self, CombinedFrame, Frame},
    schema::{Field, FieldType, Schema},
};

/// The fields of the seeds.
pub fn schema() -> Schema {
    let field = |(name, field_type, required): (&str, FieldType, bool)| Field {
        name: name.into(),
        path: name.into(),
        field_type,
        required,
    };
    let fields = [
        ("text", FieldType::Text, true),
        ("int", FieldType::Int, false),
        ("float", FieldType::Float, false),
        ("bool", FieldType::Bool, false),
        ("bytes", FieldType::Bytes, false),
    ];
    Schema { fields: fields.map(field).into() }
}

/// Those of partial states in the seeds.
pub fn partial_schema() -> Schema {
    let field =
        |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: name.into(), field_type, required: true };
    Schema { fields: [("key", FieldType::Text), ("@state", FieldType::Bytes)].map(field).into() }
}

/// The first byte is the version, the rest the body behind a right checksum. What is read can be written again.
pub fn run(bytes: &[u8]) -> bool {
    let schema = schema();
    assert!(frame::decode(bytes, &schema).is_err() || bytes.len() > 5, "a frame has a checksum");
    let Some((version, body)) = bytes.split_first() else { return false };
    let sealed = crate::sealed(*version, body);
    let Ok(found) = frame::decode(&sealed, &schema) else { return combined(&sealed, &schema) };
    let again = match &found {
        Frame::Watermark { upstream, mark } => vec![frame::encode_watermark(*mark, *upstream)],
        Frame::Rows { upstream, batch, marks } => {
            assert_eq!((batch.rows.len(), batch.rows.len()), (batch.times.len(), marks.len()));
            frame::encode_rows(batch, marks, *upstream)
        }
    };
    if let [again] = &again[..] {
        assert_eq!(frame::decode(again, &schema), Ok(found));
    }
    true
}

/// As [`run`], of what only an aggregate reads that adds rows up before they are moved.
fn combined(value: &[u8], schema: &Schema) -> bool {
    let partials = partial_schema();
    let Ok(found) = frame::decode_combined(value, schema, Some(&partials)) else { return false };
    let again = match &found {
        CombinedFrame::Plain(frame) => panic!("it was refused by itself: {frame:?}"),
        CombinedFrame::Idle { upstream, watermark, until } => vec![frame::encode_idle(*watermark, *until, *upstream)],
        CombinedFrame::Partials { upstream, made, batch, marks } => {
            assert_eq!((batch.rows.len(), batch.rows.len()), (batch.times.len(), marks.len()));
            frame::encode_partials(batch, marks, made, *upstream)
        }
    };
    if let [again] = &again[..] {
        assert_eq!(frame::decode_combined(again, schema, Some(&partials)), Ok(found));
    }
    true
}
