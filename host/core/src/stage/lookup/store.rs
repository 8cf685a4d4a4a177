//! The stored form of a lookup's state (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed) table's watermark (signed)      rows before the latter were looked up
//!        | 02 key bytes time (signed) 00                         a version: the key was deleted
//!        | 02 key bytes time (signed) 01 packed row bytes        a version
//!        | 03 key bytes time (signed) id (varint) packed row     a row that waits; no key bytes: there is null among them
//! ```
//!
//! Versions that were purged and rows that were looked up are not written: the watermarks say which they are.

use super::{
    Lookup,
    versions::Version,
    waiting::{RowId, WaitingRow},
};
use crate::{
    key::{decode_key_bytes, empty_columns},
    packed_row::check_row,
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

const WATERMARK: u8 = 1;
const VERSION: u8 = 2;
const WAITING: u8 = 3;

pub(super) fn write_changes(lookup: &mut Lookup, to: &mut ChangeWriter) {
    if std::mem::take(&mut lookup.is_watermark_dirty) {
        write_watermark(lookup, to);
    }
    for (key, at, version) in lookup.versions.take_dirty(lookup.floor()) {
        write_version(&key, at, &version, to);
    }
    for (id, row) in lookup.waiting.take_dirty() {
        write_waiting(id, row, to);
    }
}

pub(super) fn write_image(lookup: &mut Lookup, to: &mut ChangeWriter) {
    lookup.is_watermark_dirty = false;
    lookup.versions.take_dirty(lookup.floor());
    drop(lookup.waiting.take_dirty());
    write_watermark(lookup, to);
    for (key, at, version) in lookup.versions.all() {
        write_version(key, at, version, to);
    }
    for (id, row) in lookup.waiting.all() {
        write_waiting(id, row, to);
    }
}

pub(super) fn restore(lookup: &mut Lookup, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => {
                lookup.watermark = Watermark(from.signed()?);
                lookup.table = Watermark(from.signed()?);
            }
            VERSION => {
                let key = read_key(lookup, from)?;
                let at = read_time(from)?;
                let row = if from.bool()? { Some(from.bytes()?.to_vec()) } else { None };
                if let Some(row) = &row {
                    check_row(row, &lookup.facts.right_kinds)?;
                }
                lookup.versions.restore(key, at, Version::new(row.as_ref()));
            }
            WAITING => {
                let key = from.bytes()?;
                if !key.is_empty() {
                    decode_key_bytes(key, &mut empty_columns(&lookup.facts.key_kinds))?;
                }
                let (at, id) = (read_time(from)?, from.varint()?);
                if id == u64::MAX {
                    return Err(StateError::Damaged("the number of a row that waits"));
                }
                let row = from.bytes()?;
                check_row(row, &lookup.facts.left_kinds)?;
                lookup.waiting.restore((at, id), key, row);
            }
            _ => return Err(StateError::Damaged("an unknown change of a lookup")),
        }
    }
    while lookup.waiting.take_before(EventTime(lookup.table.0)).is_some() {}
    lookup.versions.purge(lookup.floor());
    Ok(())
}

fn write_watermark(lookup: &Lookup, to: &mut ChangeWriter) {
    to.body().u8(WATERMARK);
    to.body().signed(lookup.watermark.0);
    to.body().signed(lookup.table.0);
    to.end_change();
}

fn write_version(key: &[u8], at: EventTime, version: &Version, to: &mut ChangeWriter) {
    to.body().u8(VERSION);
    to.body().bytes(key);
    to.body().signed(at.0);
    to.body().bool(version.row().is_some());
    if let Some(row) = version.row() {
        to.body().bytes(row);
    }
    to.end_change();
}

fn write_waiting(id: RowId, row: &WaitingRow, to: &mut ChangeWriter) {
    to.body().u8(WAITING);
    to.body().bytes(&row.key);
    to.body().signed(id.0.0);
    to.body().varint(id.1);
    to.body().bytes(&row.row);
    to.end_change();
}

fn read_key<'a>(lookup: &Lookup, from: &mut ChangeReader<'a>) -> Result<&'a [u8], StateError> {
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&lookup.facts.key_kinds))?;
    Ok(key)
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}
