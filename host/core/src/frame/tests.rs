use super::*;
use crate::column::RowBuilder;
use proptest::prelude::*;

fn schema() -> Schema {
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

type Row = (i64, u32, bool, String, Option<i64>, Option<f64>, Option<bool>, Option<Vec<u8>>);

fn batch(rows: &[Row], is_revised: bool) -> Batch {
    let mut builder = RowBuilder::new(schema().fields.iter().map(|field| field.field_type.kind()));
    for (_, _, _, text, int, float, bool, bytes) in rows {
        builder.push([
            Value::Bytes(text.as_bytes()),
            int.map_or(Value::Null, Value::Int),
            float.map_or(Value::Null, Value::Float),
            bool.map_or(Value::Null, Value::Bool),
            bytes.as_ref().map_or(Value::Null, |bytes| Value::Bytes(bytes)),
        ]);
    }
    Batch::made(
        builder.finish(),
        rows.iter().map(|row| EventTime(row.0)).collect(),
        is_revised.then(|| rows.iter().map(|row| Revision { rev: row.1, is_final: row.2 }).collect()),
    )
}

/// Marks that rise and fall, through the whole range.
fn marks(rows: &[Row]) -> Vec<Watermark> {
    let mark = |row: &Row| match row.1 % 4 {
        0 => Watermark::UNKNOWN,
        1 => Watermark::END,
        _ => Watermark(row.0),
    };
    rows.iter().map(mark).collect()
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop::option::of(any::<f64>().prop_filter("floats are finite", |float| float.is_finite()));
    let row = (
        EventTime::MIN.0..=EventTime::MAX.0,
        any::<u32>(),
        any::<bool>(),
        any::<String>(),
        any::<Option<i64>>(),
        float,
        any::<Option<bool>>(),
        any::<Option<Vec<u8>>>(),
    );
    prop::collection::vec(row, 0..20)
}

/// A frame of `body` whose checksum is right: what only the checks behind it can refuse.
fn sealed(body: Vec<u8>) -> Vec<u8> {
    let mut writer = ByteWriter::default();
    writer.fixed(&body);
    seal(PLAIN_VERSION, writer)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_survive_their_frame(rows in any_rows(), is_revised: bool, upstream: u32) {
        let batch = batch(&rows, is_revised);
        let marks = marks(&rows);
        let frames = encode_rows(&batch, &marks, upstream);
        prop_assert_eq!(frames.len(), usize::from(!rows.is_empty()));
        for frame in frames {
            let expected = Frame::Rows { upstream, batch: batch.clone(), marks: marks.clone() };
            prop_assert_eq!(decode(&frame, &schema()), Ok(expected));
        }
    }

    #[test]
    fn a_watermark_survives_its_frame(watermark: i64, is_idle: bool, upstream: u32) {
        let mark = InputMark { watermark: Watermark(watermark), is_idle };
        prop_assert_eq!(decode(&encode_watermark(mark, upstream), &schema()), Ok(Frame::Watermark { upstream, mark }));
    }

    #[test]
    fn a_flipped_bit_is_found(rows in any_rows(), place: prop::sample::Index, bit in 0..8_u32) {
        let mut frames = encode_rows(&batch(&rows, true), &marks(&rows), 3);
        frames.push(encode_watermark(InputMark::UNKNOWN, 3));
        for mut frame in frames {
            let place = place.index(frame.len());
            frame[place] ^= 1 << bit;
            prop_assert!(decode(&frame, &schema()).is_err());
            frame.truncate(place);
            prop_assert!(decode(&frame, &schema()).is_err());
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes, &schema()).is_err());
        if let Ok(Frame::Rows { batch, marks, .. }) = decode(&sealed(bytes), &schema()) {
            prop_assert_eq!((batch.rows.len(), batch.rows.len()), (batch.times.len(), marks.len()));
        }
    }

    /// Damage behind a good checksum is refused, or gives rows that keep every promise of the schema.
    #[test]
    fn a_forged_body_is_refused_or_whole(
        rows in any_rows(), is_revised: bool, patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        for frame in encode_rows(&batch(&rows, is_revised), &marks(&rows), 3) {
            let mut body = frame[5..].to_vec();
            for (place, byte) in &patches {
                let place = place.index(body.len());
                body[place] = *byte;
            }
            let Ok(Frame::Rows { batch, .. }) = decode(&sealed(body), &schema()) else { continue };
            prop_assert!(batch.times.iter().all(|time| EventTime::checked(time.0).is_some()));
            for row in 0..batch.len() {
                let Value::Bytes(text) = batch.rows.column(0).at(row) else { panic!("null in a required column") };
                prop_assert!(std::str::from_utf8(text).is_ok());
                prop_assert!(!matches!(batch.rows.column(2).at(row), Value::Float(float) if !float.is_finite()));
            }
        }
    }
}

fn partial_schema() -> Schema {
    let field =
        |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: name.into(), field_type, required: true };
    Schema { fields: [("key", FieldType::Text), ("@state", FieldType::Bytes)].map(field).into() }
}

/// Keys with their states, of state "V" 7.
fn partials(rows: &[(&str, &[u8])]) -> (Batch, Vec<Watermark>, MadeBy) {
    let mut builder = RowBuilder::new([Kind::Bytes, Kind::Bytes]);
    rows.iter().for_each(|(key, state)| builder.push([Value::Bytes(key.as_bytes()), Value::Bytes(state)]));
    let batch = Batch::made(builder.finish(), vec![EventTime(-2); rows.len()], None);
    (batch, vec![Watermark(-9); rows.len()], MadeBy { state: "V".to_owned(), version: 7, terms: 0x0102_0304 })
}

#[test]
fn partial_states_and_silence_are_read_where_they_may_be() {
    let (batch, marks, made) = partials(&[("a", b"1"), ("b", b"22")]);
    let frame = encode_partials(&batch, &marks, &made, 300).remove(0);
    let expected = CombinedFrame::Partials { upstream: 300, made: made.clone(), batch, marks };
    assert_eq!(decode_combined(&frame, &schema(), Some(&partial_schema())), Ok(expected));
    assert!(decode_combined(&frame, &schema(), None).is_err() && decode(&frame, &partial_schema()).is_err());
    assert!(decode_combined(&frame, &schema(), Some(&schema())).is_err());
    let silent = encode_idle(Watermark(5), Watermark(9), 300);
    let expected = CombinedFrame::Idle { upstream: 300, watermark: Watermark(5), until: Watermark(9) };
    assert_eq!(decode_combined(&silent, &schema(), None), Ok(expected));
    assert!(decode(&silent, &schema()).is_err());
    let (empty, marks, _) = partials(&[("a", b"1"), ("b", b"")]);
    let frame = encode_partials(&empty, &marks, &made, 300).remove(0);
    let refused = decode_combined(&frame, &schema(), Some(&partial_schema()));
    assert_eq!(refused, Err(StateError::Damaged("an empty state")));
    for (frame, len) in [&frame, &silent].into_iter().flat_map(|frame| (0..frame.len()).map(move |len| (frame, len))) {
        assert!(decode_combined(&frame[..len], &schema(), Some(&partial_schema())).is_err());
    }
}

#[test]
fn long_batches_are_cut() {
    let row = |n: i64, len: usize| (n, 0, false, "x".repeat(len), Some(n), None, None, None);
    let lengths = [10, 100_000, 100_000, 100_000, FRAME_BYTES_MAX + 1, 10, 10];
    let rows: Vec<Row> = lengths.iter().enumerate().map(|(n, len)| row(n as i64, *len)).collect();
    let whole = batch(&rows, true);
    let frames = encode_rows(&whole, &marks(&rows), 9);
    let mut n_rows = Vec::new();
    for frame in &frames {
        let Ok(Frame::Rows { upstream: 9, batch, .. }) = decode(frame, &schema()) else { panic!("rows went in") };
        let first = n_rows.iter().sum::<usize>() as u32;
        assert_eq!(batch, whole.take(&(first..first + batch.len() as u32).collect::<Vec<_>>()));
        assert!(frame.len() <= FRAME_BYTES_MAX || batch.len() == 1);
        n_rows.push(batch.len());
    }
    assert_eq!(n_rows, [3, 1, 1, 2]);
}

#[test]
fn frames_of_other_schemas_and_versions_are_refused() {
    let row: Row = (1, 2, true, "text".into(), Some(3), Some(4.5), Some(true), None);
    let frame = encode_rows(&batch(std::slice::from_ref(&row), false), &marks(&[row]), 0).remove(0);
    let refused = |change: &dyn Fn(&mut Schema)| {
        let mut schema = schema();
        change(&mut schema);
        decode(&frame, &schema).unwrap_err()
    };
    assert_eq!(refused(&|schema| schema.fields.truncate(4)), StateError::Damaged("columns other than the schema's"));
    assert_eq!(refused(&|schema| schema.fields[1].field_type = FieldType::Text), StateError::Damaged("a column of another kind"));
    assert_eq!(refused(&|schema| schema.fields[4].required = true), StateError::Damaged("null in a required column"));
    let mut other = frame.clone();
    other[0] = 4;
    assert_eq!(decode(&other, &schema()), Err(StateError::Version { found: 4, reads: FRAME_VERSION }));
    assert_eq!(decode(&[], &schema()), Err(StateError::Damaged("no version")));
    assert_eq!(decode(&[2, 0, 0], &schema()), Err(StateError::Damaged("no checksum")));
    let mut longer = frame[5..].to_vec();
    longer.push(0);
    assert_eq!(decode(&sealed(longer), &schema()), Err(StateError::Damaged("bytes after the frame")));
    // A row count that nothing backs must not reserve memory.
    let mut huge = vec![ROWS, 0];
    huge.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(decode(&sealed(huge), &schema()).is_err());
}

/// A good frame of rows that no decoder and no checked plugin makes.
#[test]
fn rows_that_break_a_promise_are_refused() {
    let fields = |field_type| {
        let field = Field { name: "a".into(), path: "a".into(), field_type, required: true };
        Schema { fields: vec![field] }
    };
    let check = |field_type: FieldType, values: [Value<'_>; 2], time: i64, expected: Result<(), &'static str>| {
        let mut builder = RowBuilder::new([field_type.kind()]);
        values.iter().for_each(|value| builder.push([*value]));
        let times = vec![EventTime(0), EventTime(time)];
        let (batch, marks) = (Batch::made(builder.finish(), times, None), vec![Watermark(5), Watermark(7)]);
        let frame = encode_rows(&batch, &marks, 0).remove(0);
        let decoded =
            decode(&frame, &fields(field_type)).map(|frame| assert_eq!(frame, Frame::Rows { upstream: 0, batch, marks }));
        assert_eq!(decoded, expected.map_err(StateError::Damaged), "{values:?}");
    };
    let (one, not_a_number, infinite) = (Value::Float(1.0), Value::Float(f64::NAN), Value::Float(f64::NEG_INFINITY));
    check(FieldType::Float, [one, one], EventTime::MAX.0, Ok(()));
    check(FieldType::Float, [one, one], EventTime::MAX.0 + 1, Err("an event time"));
    check(FieldType::Float, [one, one], EventTime::MIN.0 - 1, Err("an event time"));
    check(FieldType::Float, [one, not_a_number], 0, Err("a float that is not finite"));
    check(FieldType::Float, [infinite, one], 0, Err("a float that is not finite"));
    // Together these are one character, apart they are none.
    let halves = [Value::Bytes(b"\xc3"), Value::Bytes(b"\xa9")];
    check(FieldType::Bytes, halves, 0, Ok(()));
    check(FieldType::Text, halves, 0, Err("text that is not UTF-8"));
    check(FieldType::Text, [Value::Bytes(b"ok"), Value::Bytes(b"\xff")], 0, Err("text that is not UTF-8"));
}

/// The stored form: shuffle topics outlive a build, so the bytes of each version must be read for ever.
#[test]
fn the_bytes_of_every_version() {
    let row: Row = (-2, 7, true, "é".into(), None, Some(1.5), Some(true), Some(vec![0xff]));
    let read = |hex: &str, marks: Vec<Watermark>| {
        let hex = hex.replace(' ', "");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let batch = batch(std::slice::from_ref(&row), true);
        assert_eq!(decode(&bytes, &schema()), Ok(Frame::Rows { upstream: 300, batch, marks }), "{hex}");
        bytes
    };
    // Version, checksum; rows, upstream, count; time; revision; columns: text, int, float, bool, bytes.
    let version_1 = "01 e9e815bb 00 ac02 01 feffffffffffffff 01 07 01 05 03 00 02000000 c3a9 01 01 00 0000000000000000 \
                     02 00 000000000000f83f 00 00 01 03 00 01000000 ff";
    read(version_1, vec![Watermark::UNKNOWN]);
    // With a mark behind the time.
    let version_2 = "02 631a27d0 00 ac02 01 feffffffffffffff f7ffffffffffffff7f 01 07 01 05 03 00 02000000 c3a9 01 01 00 0000000000000000 \
                     02 00 000000000000f83f 00 00 01 03 00 01000000 ff";
    let frame = encode_rows(&batch(std::slice::from_ref(&row), true), &[Watermark(-9)], 300).remove(0);
    assert_eq!(frame, read(version_2, vec![Watermark(-9)]));
    // Version, checksum; partial states, upstream, name, version, terms, count; time, mark, revised; columns: key, state.
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (batch, marks, made) = partials(&[("k", b"\x01")]);
    let version_3 = "02ac02 0156 07 04030201 01 feffffffffffffff f7ffffffffffffff7f 00 02 0300 01000000 6b 0300 01000000 01";
    let frame = encode_partials(&batch, &marks, &made, 300).remove(0);
    assert_eq!((frame[0], hex(&frame[5..])), (3, version_3.replace(' ', "")));
    let frame = encode_idle(Watermark(5), Watermark(-1), 300);
    assert_eq!((frame[0], hex(&frame[5..])), (3, "03ac02 0500000000000000 ffffffffffffffff".replace(' ', "")));
}
