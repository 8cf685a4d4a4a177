//! The stored form of a join of all pairs, as [`crate::stage::join::store`] says it.

use super::{
    PairJoin,
    sides::{Dirty, LEFT, RIGHT, Row, RowId},
};
use crate::{
    key::{decode_int, decode_key_bytes, empty_columns, encode_int},
    packed_row::check_row,
    stage::join::store::{self as form, read_count, read_id, read_time, write_id, write_watermark},
    state::{ChangeReader, ChangeWriter, StateError},
    time::Watermark,
};

pub(super) fn write_changes(join: &mut PairJoin, to: &mut ChangeWriter) {
    if std::mem::take(&mut join.is_watermark_dirty) {
        write_watermark(join.watermark, to);
    }
    for side in [LEFT, RIGHT] {
        join.sides.take_dirty(side, |key, row, dirty| match dirty {
            Dirty::Row => write_row(side, key, row, to),
            Dirty::Partner | Dirty::Nothing => write_partner(side, row.id, to),
        });
    }
}

pub(super) fn write_image(join: &mut PairJoin, to: &mut ChangeWriter) {
    join.is_watermark_dirty = false;
    write_watermark(join.watermark, to);
    for side in [LEFT, RIGHT] {
        join.sides.take_dirty(side, |_, _, _| {});
        for row in join.sides.rows(side) {
            write_row(side, join.sides.key(row.key), row, to);
        }
    }
}

pub(super) fn restore(join: &mut PairJoin, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            form::WATERMARK => {
                join.watermark = Watermark(from.signed()?);
                join.forget();
            }
            form::RIGHT => restore_right(join, from)?,
            form::LEFT => restore_left(join, from)?,
            form::EMITTED => {
                let id = read_id(from)?;
                read_count(from)?;
                restore_partner(join, LEFT, id)?;
            }
            form::RIGHT_EMITTED => {
                let id = read_id(from)?;
                restore_partner(join, RIGHT, id)?;
            }
            _ => return Err(StateError::Damaged("an unknown change of a join")),
        }
    }
    // What was read is written down.
    [LEFT, RIGHT].into_iter().for_each(|side| join.sides.take_dirty(side, |_, _, _| {}));
    Ok(())
}

fn write_row(side: usize, key: &[u8], row: &Row, to: &mut ChangeWriter) {
    let id = row.id;
    if side == LEFT {
        to.body().u8(form::LEFT);
        to.body().bytes(key);
        write_id(id, to);
        to.body().varint(row.has_partner.into());
        to.body().bytes(&row.packed);
        return to.end_change();
    }
    let mut number = Vec::new();
    encode_int(i64::try_from(id.1).expect("rows are counted from 0, one by one"), &mut number);
    to.body().u8(form::RIGHT);
    to.body().bytes(key);
    to.body().signed(id.0.0);
    to.body().bytes(&number);
    to.body().bytes(&row.packed);
    to.end_change();
    if row.has_partner {
        write_partner(side, id, to);
    }
}

fn write_partner(side: usize, id: RowId, to: &mut ChangeWriter) {
    to.body().u8(if side == LEFT { form::EMITTED } else { form::RIGHT_EMITTED });
    write_id(id, to);
    if side == LEFT {
        to.body().varint(1);
    }
    to.end_change();
}

fn restore_right(join: &mut PairJoin, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let key = from.bytes()?;
    let time = read_time(from)?;
    let number = decode_int(from.bytes()?).and_then(|number| u64::try_from(number).ok());
    let number = number.filter(|number| *number < i64::MAX as u64).ok_or(StateError::Damaged("the number of a right row"))?;
    restore_row(join, RIGHT, key, (time, number), false, from.bytes()?)
}

fn restore_left(join: &mut PairJoin, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let key = from.bytes()?;
    let id = read_id(from)?;
    let has_partner = read_count(from)? > 0;
    restore_row(join, LEFT, key, id, has_partner, from.bytes()?)
}

fn restore_row(
    join: &mut PairJoin,
    side: usize,
    key: &[u8],
    id: RowId,
    has_partner: bool,
    packed: &[u8],
) -> Result<(), StateError> {
    let mut columns = empty_columns(&join.facts.key_kinds);
    decode_key_bytes(key, &mut columns)?;
    check_row(packed, &join.facts.columns.kinds[side])?;
    let key = join.sides.find_or_insert(key, columns.iter().any(|column| !column.is_valid(0)));
    join.sides.restore(side, Row { id, key, has_partner, packed: packed.into(), dirty: Dirty::Nothing });
    Ok(())
}

fn restore_partner(join: &mut PairJoin, side: usize, id: RowId) -> Result<(), StateError> {
    let place = join.sides.find(side, id).ok_or(StateError::Damaged("a row that is not there"))?;
    join.sides.set_partner(side, place);
    Ok(())
}
