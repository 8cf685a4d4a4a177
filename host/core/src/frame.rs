//! The value of a record in an internal shuffle topic: many rows as columns, or a watermark.
//!
//! ```text
//! frame     = version u8 | crc32 of the rest, u32 LE | body
//! body      = 0 u8 | upstream varint | rows                 (rows of the upstream task of that partition)
//!           | 1 u8 | upstream varint | watermark, i64 LE | idle u8
//!           | 2 u8 | upstream varint | state name bytes | state version varint | terms, u32 LE | rows
//!                                                           (partial states, see `stage::aggregate::combine`: columns are the key and the state)
//!           | 3 u8 | upstream varint | watermark, i64 LE | until, i64 LE            (idle, and how far the others may go without it)
//! rows      = n_rows varint | event times, i64 LE each | marks | revised u8 | [ (rev varint | final u8)* ] | n_columns varint | column*
//! marks     = for each row, varint: its mark less that of the row before it, modulo 2^64; the first less the least i64
//! column    = kind u8 (0 bool, 1 int, 2 float, 3 bytes) | nulls u8 | [ validity bitmap ] | values
//! values    = bitmap | i64 LE each | f64 LE each | ends, u32 LE each | data (as long as the last end says)
//! ```
//!
//! A row's mark is the watermark of the upstream task from before the row. Frames of version 1 have none; that tells nothing, so every mark
//! is the least. Bodies 2 and 3 came with version 3, and only they have it.
//!
//! Every length is checked against the bytes that are there before anything is allocated, and the columns against the schema: kinds,
//! null only where allowed, UTF-8 in text, finite floats. So a decoded frame is as good as decoded JSON, whoever wrote it.

use std::ops::Range;

use crate::{
    column::{Bitmap, Column, Kind, Packed, Rows, Value, Values},
    record::Partition,
    schema::{Field, FieldType, Schema},
    stage::{Batch, Revision, aggregate::combine::MadeBy},
    state::{ByteWriter, ChangeReader, StateError},
    time::{EventTime, Watermark},
    watermark::InputMark,
};

/// The newest format that this build reads.
pub const FRAME_VERSION: u8 = 3;
/// That of frames which older builds read too.
const PLAIN_VERSION: u8 = 2;
/// Rows are cut into frames of at most about so many bytes: brokers refuse records over 1 MB. A single row may be longer.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

const ROWS: u8 = 0;
const WATERMARK: u8 = 1;
const PARTIALS: u8 = 2;
const IDLE: u8 = 3;

/// What one record of a shuffle topic says.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Rows of the upstream task of partition `upstream`, as a stage made them, and how far that task had come before each.
    Rows { upstream: Partition, batch: Batch, marks: Vec<Watermark> },
    /// That task has come so far.
    Watermark { upstream: Partition, mark: InputMark },
}

/// What one record of a topic says in which an aggregate may have partial states ([`crate::stage::aggregate::combine`]).
#[derive(Clone, Debug, PartialEq)]
pub enum CombinedFrame {
    Plain(Frame),
    /// What that task has added up of its rows: a state for each key in a pane, and how far the task had come before the last of its rows. The
    /// time is that of one of them.
    Partials {
        upstream: Partition,
        made: MadeBy,
        batch: Batch,
        marks: Vec<Watermark>,
    },
    /// That task has come so far and is idle. Its readers may go on without it, but not beyond `until`.
    Idle {
        upstream: Partition,
        watermark: Watermark,
        until: Watermark,
    },
}

/// The frames that hold `batch`, in row order; none for an empty batch. `marks`: one for each row.
pub fn encode_rows(batch: &Batch, marks: &[Watermark], upstream: Partition) -> Vec<Vec<u8>> {
    let frame = |range: Range<usize>| {
        let mut writer = ByteWriter::default();
        writer.u8(ROWS);
        writer.varint(upstream.into());
        write_rows(batch, marks, range, &mut writer);
        seal(PLAIN_VERSION, writer)
    };
    cut(batch, frame)
}

/// As [`encode_rows`], of partial states that were made by `made`.
pub fn encode_partials(batch: &Batch, marks: &[Watermark], made: &MadeBy, upstream: Partition) -> Vec<Vec<u8>> {
    let frame = |range: Range<usize>| {
        let mut writer = ByteWriter::default();
        writer.u8(PARTIALS);
        writer.varint(upstream.into());
        writer.bytes(made.state.as_bytes());
        writer.varint(made.version.into());
        writer.fixed(&made.terms.to_le_bytes());
        write_rows(batch, marks, range, &mut writer);
        seal(FRAME_VERSION, writer)
    };
    cut(batch, frame)
}

/// `batch` in as many frames as it needs.
fn cut(batch: &Batch, frame: impl Fn(Range<usize>) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut first = 0;
    let mut n_bytes = 0;
    for row in 0..batch.len() {
        let row_bytes = row_bytes(batch, row);
        if row > first && n_bytes + row_bytes > FRAME_BYTES_MAX {
            frames.push(frame(first..row));
            (first, n_bytes) = (row, 0);
        }
        n_bytes += row_bytes;
    }
    if first < batch.len() {
        frames.push(frame(first..batch.len()));
    }
    frames
}

/// The frame that says how far the upstream task of partition `upstream` has come.
pub fn encode_watermark(mark: InputMark, upstream: Partition) -> Vec<u8> {
    let mut writer = ByteWriter::default();
    writer.u8(WATERMARK);
    writer.varint(upstream.into());
    writer.fixed(&mark.watermark.0.to_le_bytes());
    writer.bool(mark.is_idle);
    seal(PLAIN_VERSION, writer)
}

/// The frame that says that this task has come so far and is idle, and how far others may go without it.
pub fn encode_idle(watermark: Watermark, until: Watermark, upstream: Partition) -> Vec<u8> {
    let mut writer = ByteWriter::default();
    writer.u8(IDLE);
    writer.varint(upstream.into());
    writer.fixed(&watermark.0.to_le_bytes());
    writer.fixed(&until.0.to_le_bytes());
    seal(FRAME_VERSION, writer)
}

/// Reads a frame whose rows, if any, have the fields of `schema`. Never panics, whatever the bytes.
pub fn decode(value: &[u8], schema: &Schema) -> Result<Frame, StateError> {
    match decode_combined(value, schema, None)? {
        CombinedFrame::Plain(frame) => Ok(frame),
        CombinedFrame::Partials { .. } | CombinedFrame::Idle { .. } => Err(StateError::Damaged("a frame of another topic")),
    }
}

/// As [`decode`], of a topic that may also hold partial states with the fields of `partials`.
pub fn decode_combined(value: &[u8], schema: &Schema, partials: Option<&Schema>) -> Result<CombinedFrame, StateError> {
    let (&version, rest) = value.split_first().ok_or(StateError::Damaged("no version"))?;
    if !(1..=FRAME_VERSION).contains(&version) {
        return Err(StateError::Version { found: version, reads: FRAME_VERSION });
    }
    let (crc, body) = rest.split_first_chunk::<4>().ok_or(StateError::Damaged("no checksum"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(StateError::Damaged("checksum"));
    }
    let mut reader = ChangeReader::new(body);
    let what = reader.u8()?;
    let upstream = u32::try_from(reader.varint()?).map_err(|_| StateError::Damaged("an upstream partition"))?;
    let is_plain = version <= PLAIN_VERSION;
    let frame = match what {
        ROWS if is_plain => {
            let (batch, marks) = read_rows(&mut reader, version, schema)?;
            CombinedFrame::Plain(Frame::Rows { upstream, batch, marks })
        }
        WATERMARK if is_plain => {
            let watermark = Watermark(read_numbers(&mut reader, 1)?[0]);
            CombinedFrame::Plain(Frame::Watermark { upstream, mark: InputMark { watermark, is_idle: reader.bool()? } })
        }
        PARTIALS if !is_plain => read_partials(&mut reader, upstream, partials)?,
        IDLE if !is_plain => {
            let marks = read_numbers(&mut reader, 2)?;
            CombinedFrame::Idle { upstream, watermark: Watermark(marks[0]), until: Watermark(marks[1]) }
        }
        _ => return Err(StateError::Damaged("an unknown kind of frame")),
    };
    if reader.is_empty() { Ok(frame) } else { Err(StateError::Damaged("bytes after the frame")) }
}

/// About how many bytes one row takes.
fn row_bytes(batch: &Batch, row: usize) -> usize {
    let columns = batch.rows.columns().iter().map(|column| match column.values() {
        Values::Bool(_) => 1,
        Values::Int(_) | Values::Float(_) => 8,
        Values::Bytes(packed) => 4 + packed.at(row).len(),
    });
    // Event time, mark and revision.
    18 + columns.sum::<usize>()
}

fn write_rows(batch: &Batch, marks: &[Watermark], range: Range<usize>, writer: &mut ByteWriter) {
    writer.varint(range.len() as u64);
    batch.times[range.clone()].iter().for_each(|time| writer.fixed(&time.0.to_le_bytes()));
    let mut last = Watermark::UNKNOWN;
    for mark in &marks[range.clone()] {
        writer.varint(mark.0.wrapping_sub(last.0) as u64);
        last = *mark;
    }
    writer.bool(batch.revisions.is_some());
    for revision in batch.revisions.as_ref().map_or(&[][..], |all| &all[range.clone()]) {
        writer.varint(revision.rev.into());
        writer.bool(revision.is_final);
    }
    writer.varint(batch.rows.columns().len() as u64);
    if range.len() == batch.len() {
        batch.rows.columns().iter().for_each(|column| write_column(column, writer));
    } else {
        let rows: Vec<u32> = range.map(|row| row as u32).collect();
        batch.rows.columns().iter().for_each(|column| write_column(&column.take(&rows), writer));
    }
}

fn write_column(column: &Column, to: &mut ByteWriter) {
    to.u8(kind_code(column.kind()));
    to.bool(column.validity().is_some());
    if let Some(validity) = column.validity() {
        to.fixed(validity.as_bytes());
    }
    match column.values() {
        Values::Bool(bits) => to.fixed(bits.as_bytes()),
        Values::Int(values) => values.iter().for_each(|value| to.fixed(&value.to_le_bytes())),
        Values::Float(values) => values.iter().for_each(|value| to.fixed(&value.to_le_bytes())),
        Values::Bytes(packed) => {
            packed.ends().iter().for_each(|end| to.fixed(&end.to_le_bytes()));
            to.fixed(packed.data());
        }
    }
}

fn seal(version: u8, body: ByteWriter) -> Vec<u8> {
    let body = body.into_bytes();
    let mut frame = Vec::with_capacity(5 + body.len());
    frame.push(version);
    frame.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    frame.extend_from_slice(&body);
    frame
}

fn read_partials(
    reader: &mut ChangeReader<'_>,
    upstream: Partition,
    schema: Option<&Schema>,
) -> Result<CombinedFrame, StateError> {
    let schema = schema.ok_or(StateError::Damaged("partial states where nothing is added up"))?;
    let state = std::str::from_utf8(reader.bytes()?).map_err(|_| StateError::Damaged("the name of a state"))?.to_owned();
    let version = u32::try_from(reader.varint()?).map_err(|_| StateError::Damaged("the version of a state"))?;
    let (terms, _) = reader.fixed(4)?.as_chunks::<4>();
    let made = MadeBy { state, version, terms: u32::from_le_bytes(terms[0]) };
    let (batch, marks) = read_rows(reader, FRAME_VERSION, schema)?;
    let states = batch.rows.column(schema.len() - 1);
    if (0..batch.len()).any(|row| states.at(row) == Value::Bytes(b"")) {
        return Err(StateError::Damaged("an empty state"));
    }
    Ok(CombinedFrame::Partials { upstream, made, batch, marks })
}

fn read_rows(reader: &mut ChangeReader<'_>, version: u8, schema: &Schema) -> Result<(Batch, Vec<Watermark>), StateError> {
    let n_rows = usize::try_from(reader.varint()?).map_err(|_| StateError::Damaged("a row count"))?;
    let times = read_numbers(reader, n_rows)?
        .into_iter()
        .map(|ms| EventTime::checked(ms).ok_or(StateError::Damaged("an event time")))
        .collect::<Result<Vec<_>, _>>()?;
    // From here on `n_rows` is backed by 8 bytes each that were there, so what is reserved for it is bounded by the frame.
    let marks = if version == 1 { vec![Watermark::UNKNOWN; n_rows] } else { read_marks(reader, n_rows)? };
    let revisions =
        if reader.bool()? { Some((0..n_rows).map(|_| read_revision(reader)).collect::<Result<Vec<_>, _>>()?) } else { None };
    if reader.varint()? != schema.len() as u64 {
        return Err(StateError::Damaged("columns other than the schema's"));
    }
    let columns = schema.fields.iter().map(|field| read_column(reader, field, n_rows)).collect::<Result<Vec<_>, _>>()?;
    let rows = Rows::new(n_rows, columns).ok_or(StateError::Damaged("columns of unequal length"))?;
    Ok((Batch::made(rows, times, revisions), marks))
}

fn read_marks(reader: &mut ChangeReader<'_>, n_rows: usize) -> Result<Vec<Watermark>, StateError> {
    let mut last = Watermark::UNKNOWN;
    let next = |_| {
        last = Watermark(last.0.wrapping_add(reader.varint()? as i64));
        Ok(last)
    };
    (0..n_rows).map(next).collect()
}

fn read_revision(reader: &mut ChangeReader<'_>) -> Result<Revision, StateError> {
    let rev = u32::try_from(reader.varint()?).map_err(|_| StateError::Damaged("a revision"))?;
    Ok(Revision { rev, is_final: reader.bool()? })
}

fn read_column(reader: &mut ChangeReader<'_>, field: &Field, n_rows: usize) -> Result<Column, StateError> {
    if reader.u8()? != kind_code(field.field_type.kind()) {
        return Err(StateError::Damaged("a column of another kind"));
    }
    let validity = if reader.bool()? { Some(read_bitmap(reader, n_rows)?) } else { None };
    if field.required && validity.as_ref().is_some_and(|bits| (0..n_rows).any(|row| !bits.at(row))) {
        return Err(StateError::Damaged("null in a required column"));
    }
    let values = match field.field_type.kind() {
        Kind::Bool => Values::Bool(read_bitmap(reader, n_rows)?),
        Kind::Int => Values::Int(read_numbers(reader, n_rows)?),
        Kind::Float => Values::Float(read_floats(reader, n_rows)?),
        Kind::Bytes => Values::Bytes(read_packed(reader, n_rows, field.field_type)?),
    };
    Column::from_parts(values, validity).ok_or(StateError::Damaged("a validity of another length"))
}

fn read_bitmap(reader: &mut ChangeReader<'_>, n_bits: usize) -> Result<Bitmap, StateError> {
    let bytes = reader.fixed(n_bits.div_ceil(8))?.to_vec();
    Bitmap::from_bytes(bytes, n_bits).ok_or(StateError::Damaged("a bitmap"))
}

fn read_numbers(reader: &mut ChangeReader<'_>, n_numbers: usize) -> Result<Vec<i64>, StateError> {
    let n_bytes = n_numbers.checked_mul(8).ok_or(StateError::Damaged("a count"))?;
    let (chunks, _) = reader.fixed(n_bytes)?.as_chunks::<8>();
    Ok(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect())
}

fn read_floats(reader: &mut ChangeReader<'_>, n_floats: usize) -> Result<Vec<f64>, StateError> {
    let (chunks, _) = reader.fixed(n_floats * 8)?.as_chunks::<8>();
    let floats: Vec<f64> = chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
    if floats.iter().all(|float| float.is_finite()) { Ok(floats) } else { Err(StateError::Damaged("a float that is not finite")) }
}

fn read_packed(reader: &mut ChangeReader<'_>, n_values: usize, field_type: FieldType) -> Result<Packed, StateError> {
    let (chunks, _) = reader.fixed(n_values * 4)?.as_chunks::<4>();
    let ends: Vec<u32> = chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect();
    let data = reader.fixed(ends.last().map_or(0, |end| *end as usize))?;
    if field_type == FieldType::Text {
        let text = simdutf8::basic::from_utf8(data).map_err(|_| StateError::Damaged("text that is not UTF-8"))?;
        if ends.iter().any(|end| !text.is_char_boundary(*end as usize)) {
            return Err(StateError::Damaged("text that is not UTF-8"));
        }
    }
    Packed::from_parts(data.to_vec(), ends).ok_or(StateError::Damaged("ends that do not rise"))
}

fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Bool => 0,
        Kind::Int => 1,
        Kind::Float => 2,
        Kind::Bytes => 3,
    }
}

#[cfg(test)]
mod tests;
