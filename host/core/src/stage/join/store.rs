//! The stored form of a join's state (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                                 rows were emitted up to here
//!        | 02 key bytes time (signed) tie bytes, packed row bytes                a right row; of all pairs, its number as tie
//!        | 03 key bytes time (signed) id (varint) n emitted (varint) packed row  a left row
//!        | 04 time (signed) id (varint) n emitted (varint)                       a left row was emitted again
//!        | 05 time (signed) number (varint)                                      a right row was emitted with a partner
//! ```
//!
//! Of a join of all pairs (`pairs::store`), a left row has as n emitted whether it had a partner: 0 or 1. Rows that were purged or became
//! final are not written: the watermark says which they are.

use super::{
    Join,
    sides::{Dirty, Left, LeftId, Right},
};
use crate::{
    key::{decode_key_bytes, empty_columns},
    packed_row::check_row,
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

pub(super) const WATERMARK: u8 = 1;
pub(super) const RIGHT: u8 = 2;
pub(super) const LEFT: u8 = 3;
pub(super) const EMITTED: u8 = 4;
pub(super) const RIGHT_EMITTED: u8 = 5;

pub(super) fn write_changes(join: &mut Join, to: &mut ChangeWriter) {
    if std::mem::take(&mut join.is_watermark_dirty) {
        write_watermark(join.watermark, to);
    }
    for (key, right) in join.sides.take_dirty_rights() {
        write_right(join.sides.key(key), &right, to);
    }
    for (id, dirty) in join.sides.take_dirty_lefts() {
        let left = join.sides.left(id).expect("only what is there is taken");
        match dirty {
            Dirty::Row => write_left(join.sides.key(left.key), id, left, to),
            Dirty::Count | Dirty::Nothing => write_emitted(id, left.n_emitted, to),
        }
    }
}

pub(super) fn write_image(join: &mut Join, to: &mut ChangeWriter) {
    join.is_watermark_dirty = false;
    join.sides.take_dirty_rights();
    join.sides.take_dirty_lefts();
    write_watermark(join.watermark, to);
    for (key, right) in join.sides.rights() {
        write_right(key, right, to);
    }
    for (id, left) in join.sides.lefts() {
        write_left(join.sides.key(left.key), id, left, to);
    }
}

pub(super) fn restore(join: &mut Join, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => {
                join.watermark = Watermark(from.signed()?);
                join.forget_final_lefts();
                join.purge();
            }
            RIGHT => restore_right(join, from)?,
            LEFT => restore_left(join, from)?,
            EMITTED => {
                let id = read_id(from)?;
                let n_emitted = read_count(from)?;
                if join.sides.left(id).is_none() {
                    return Err(StateError::Damaged("a left row that is not there"));
                }
                join.sides.set_emitted(id, n_emitted);
            }
            _ => return Err(StateError::Damaged("an unknown change of a join")),
        }
    }
    // What was read is written down.
    join.sides.take_dirty_lefts();
    Ok(())
}

pub(super) fn write_watermark(watermark: Watermark, to: &mut ChangeWriter) {
    to.body().u8(WATERMARK);
    to.body().signed(watermark.0);
    to.end_change();
}

fn write_right(key: &[u8], right: &Right, to: &mut ChangeWriter) {
    to.body().u8(RIGHT);
    to.body().bytes(key);
    to.body().signed(right.time.0);
    to.body().bytes(right.tie());
    to.body().bytes(right.row());
    to.end_change();
}

fn write_left(key: &[u8], id: LeftId, left: &Left, to: &mut ChangeWriter) {
    to.body().u8(LEFT);
    to.body().bytes(key);
    write_id(id, to);
    to.body().varint(left.n_emitted.into());
    to.body().bytes(&left.row);
    to.end_change();
}

fn write_emitted(id: LeftId, n_emitted: u32, to: &mut ChangeWriter) {
    to.body().u8(EMITTED);
    write_id(id, to);
    to.body().varint(n_emitted.into());
    to.end_change();
}

pub(super) fn write_id(id: LeftId, to: &mut ChangeWriter) {
    to.body().signed(id.0.0);
    to.body().varint(id.1);
}

fn restore_right(join: &mut Join, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let key = read_key(join, from)?;
    let time = read_time(from)?;
    let (tie, row) = (from.bytes()?, from.bytes()?);
    decode_key_bytes(tie, &mut empty_columns(join.facts.tie_kind.as_slice()))?;
    check_row(row, &join.facts.columns.kinds[1])?;
    let key = join.sides.find_or_insert(key);
    join.sides.add_right(key, Right::restored(time, tie, row), join.facts.within_ms);
    Ok(())
}

fn restore_left(join: &mut Join, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let key = read_key(join, from)?;
    let id = read_id(from)?;
    let n_emitted = read_count(from)?;
    let row = from.bytes()?;
    check_row(row, &join.facts.columns.kinds[0])?;
    let key = join.sides.find_or_insert(key);
    join.sides.restore_left(id, Left { key, n_emitted, row: row.into(), dirty: Dirty::Nothing });
    Ok(())
}

fn read_key<'a>(join: &Join, from: &mut ChangeReader<'a>) -> Result<&'a [u8], StateError> {
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&join.facts.key_kinds))?;
    Ok(key)
}

pub(super) fn read_id(from: &mut ChangeReader<'_>) -> Result<LeftId, StateError> {
    let time = read_time(from)?;
    let id = from.varint()?;
    if id == u64::MAX { Err(StateError::Damaged("a left row's id")) } else { Ok((time, id)) }
}

pub(super) fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}

pub(super) fn read_count(from: &mut ChangeReader<'_>) -> Result<u32, StateError> {
    u32::try_from(from.varint()?).map_err(|_| StateError::Damaged("a count"))
}
