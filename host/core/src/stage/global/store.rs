//! The stored form of a global window's keys (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                    how far keys were told
//!        | 02 key bytes  first row (signed)  last row (signed)  new rows (varint)  told (varint)  state bytes      what is kept of a key
//!        | 03 key bytes                                             nothing is kept of this key
//! ```

use super::{
    Global,
    keys::{Kept, KeyBytes},
};
use crate::{
    key::{decode_key_bytes, empty_columns},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

const WATERMARK: u8 = 1;
const KEPT: u8 = 2;
const FORGOTTEN: u8 = 3;

pub(super) fn write_changes(stage: &mut Global, to: &mut ChangeWriter) {
    if std::mem::take(&mut stage.is_watermark_dirty) {
        write_watermark(stage.watermark, to);
    }
    for key in stage.keys.take_dirty() {
        match stage.keys.kept(&key) {
            Some(kept) => write_kept(&key, kept, to),
            None => {
                to.body().u8(FORGOTTEN);
                to.body().bytes(&key);
                to.end_change();
            }
        }
    }
}

pub(super) fn write_image(stage: &mut Global, to: &mut ChangeWriter) {
    stage.is_watermark_dirty = false;
    stage.keys.take_dirty();
    write_watermark(stage.watermark, to);
    for (key, kept) in stage.keys.iter() {
        write_kept(key, kept, to);
    }
}

pub(super) fn restore(stage: &mut Global, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => stage.watermark = Watermark(from.signed()?),
            KEPT => {
                let key = read_key(stage, from)?;
                let kept = read_kept(stage, from)?;
                stage.keys.restore(key, Some(kept));
            }
            FORGOTTEN => {
                let key = read_key(stage, from)?;
                stage.keys.restore(key, None);
            }
            _ => return Err(StateError::Damaged("an unknown change of a global window")),
        }
    }
    Ok(())
}

fn write_watermark(watermark: Watermark, to: &mut ChangeWriter) {
    to.body().u8(WATERMARK);
    to.body().signed(watermark.0);
    to.end_change();
}

fn write_kept(key: &KeyBytes, kept: &Kept, to: &mut ChangeWriter) {
    let Kept { state, first, last, n_new, n_told } = kept;
    to.body().u8(KEPT);
    to.body().bytes(key);
    to.body().signed(first.0);
    to.body().signed(last.0);
    to.body().varint(*n_new);
    to.body().varint((*n_told).into());
    to.body().bytes(state);
    to.end_change();
}

fn read_key(stage: &Global, from: &mut ChangeReader<'_>) -> Result<KeyBytes, StateError> {
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&stage.facts.key_kinds))?;
    Ok(key.into())
}

fn read_kept(stage: &Global, from: &mut ChangeReader<'_>) -> Result<Kept, StateError> {
    let (first, last) = (read_time(from)?, read_time(from)?);
    let n_new = from.varint()?;
    let n_told = u32::try_from(from.varint()?).map_err(|_| StateError::Damaged("how often a key was told"))?;
    let state = from.bytes()?.to_vec();
    if last < first {
        return Err(StateError::Damaged("the last row of a key before its first"));
    }
    if n_new >= stage.facts.rows_max() {
        return Err(StateError::Damaged("more rows than a key is told for"));
    }
    if state.is_empty() && (n_told == 0 || n_new > 0) {
        return Err(StateError::Damaged("a key that keeps nothing"));
    }
    Ok(Kept { state, first, last, n_new, n_told })
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}
