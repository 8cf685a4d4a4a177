//! The stored form of sessions (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                                        sessions were closed up to here
//!        | 02 key bytes n (varint) n × (first (signed) last (signed) state bytes)       all sessions of a key
//!        | 03 key bytes n (varint) n × (first (signed) last (signed) rows (varint) is ended (bool) state bytes)
//!                                                                                       all parts of a key, where something cuts sessions
//! ```
//!
//! Sessions that closed are not written where nothing cuts them: the watermark says which they are.

use super::{Session, extent::Extent, sessions::Part};
use crate::{
    key::{decode_key_bytes, empty_columns},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

const WATERMARK: u8 = 1;
const SESSIONS: u8 = 2;
const PARTS: u8 = 3;

pub(super) fn write_changes(stage: &mut Session, to: &mut ChangeWriter) {
    if std::mem::take(&mut stage.is_watermark_dirty) {
        write_watermark(stage.watermark, to);
    }
    let has_cuts = stage.facts.rules.has_cuts();
    stage.sessions.take_dirty(|key, parts| write_key(key, parts, has_cuts, to));
}

pub(super) fn write_image(stage: &mut Session, to: &mut ChangeWriter) {
    stage.is_watermark_dirty = false;
    stage.sessions.take_dirty(|_, _| {});
    write_watermark(stage.watermark, to);
    for (key, parts) in stage.sessions.sorted() {
        write_key(key, parts, stage.facts.rules.has_cuts(), to);
    }
}

pub(super) fn restore(stage: &mut Session, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let has_cuts = stage.facts.rules.has_cuts();
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => {
                stage.watermark = Watermark(from.signed()?);
                stage.sessions.settle(stage.closed_before());
                if !has_cuts {
                    stage.sessions.take_due(usize::MAX);
                }
            }
            SESSIONS if !has_cuts => restore_key(stage, from)?,
            PARTS if has_cuts => restore_key(stage, from)?,
            _ => return Err(StateError::Damaged("an unknown change of sessions")),
        }
    }
    Ok(())
}

fn write_watermark(watermark: Watermark, to: &mut ChangeWriter) {
    to.body().u8(WATERMARK);
    to.body().signed(watermark.0);
    to.end_change();
}

fn write_key(key: &[u8], parts: &[Part], has_cuts: bool, to: &mut ChangeWriter) {
    to.body().u8(if has_cuts { PARTS } else { SESSIONS });
    to.body().bytes(key);
    to.body().varint(parts.len() as u64);
    for Part { extent, state } in parts {
        to.body().signed(extent.first.0);
        to.body().signed(extent.last.0);
        if has_cuts {
            to.body().varint(extent.n_rows);
            to.body().bool(extent.is_ended);
        }
        to.body().bytes(state);
    }
    to.end_change();
}

fn restore_key(stage: &mut Session, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let rules = stage.facts.rules;
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&stage.facts.key_kinds))?;
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..from.varint()? {
        let (first, last) = (read_time(from)?, read_time(from)?);
        let (n_rows, is_ended) = if rules.has_cuts() { (from.varint()?, from.bool()?) } else { (0, false) };
        let state = from.bytes()?.to_vec();
        if last < first || state.is_empty() {
            return Err(StateError::Damaged("a session"));
        }
        if parts.last().is_some_and(|before| first.0 - before.extent.last.0 <= rules.reach_ms()) {
            return Err(StateError::Damaged("sessions of another gap than the manifest's"));
        }
        parts.push(Part { extent: Extent { first, last, n_rows, is_ended }, state });
    }
    stage.sessions.restore(key, parts);
    Ok(())
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}
