//! The stored form of sessions (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                                        sessions were closed up to here
//!        | 02 key bytes n (varint) n × (first (signed) last (signed) state bytes)       all sessions of a key
//! ```
//!
//! Closed sessions are not written: the watermark says which they are.

use super::{
    Session,
    sessions::{KeyBytes, Open},
};
use crate::{
    key::{decode_key_bytes, empty_columns},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

const WATERMARK: u8 = 1;
const SESSIONS: u8 = 2;

pub(super) fn write_changes(stage: &mut Session, to: &mut ChangeWriter) {
    if std::mem::take(&mut stage.is_watermark_dirty) {
        write_watermark(stage.watermark, to);
    }
    for key in stage.sessions.take_dirty() {
        write_sessions(&key, stage.sessions.of_key(&key), to);
    }
}

pub(super) fn write_image(stage: &mut Session, to: &mut ChangeWriter) {
    stage.is_watermark_dirty = false;
    stage.sessions.take_dirty();
    write_watermark(stage.watermark, to);
    for (key, sessions) in stage.sessions.iter() {
        write_sessions(key, sessions, to);
    }
}

pub(super) fn restore(stage: &mut Session, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => {
                stage.watermark = Watermark(from.signed()?);
                stage.sessions.take_closed(stage.closed_before(), stage.facts.gap_ms, usize::MAX);
            }
            SESSIONS => restore_sessions(stage, from)?,
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

fn write_sessions(key: &KeyBytes, sessions: &[Open], to: &mut ChangeWriter) {
    to.body().u8(SESSIONS);
    to.body().bytes(key);
    to.body().varint(sessions.len() as u64);
    for session in sessions {
        to.body().signed(session.first.0);
        to.body().signed(session.last.0);
        to.body().bytes(&session.state);
    }
    to.end_change();
}

fn restore_sessions(stage: &mut Session, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&stage.facts.key_kinds))?;
    let mut sessions: Vec<Open> = Vec::new();
    for _ in 0..from.varint()? {
        let (first, last, state) = (read_time(from)?, read_time(from)?, from.bytes()?);
        if last < first || state.is_empty() {
            return Err(StateError::Damaged("a session"));
        }
        if sessions.last().is_some_and(|before| first.0 - before.last.0 <= stage.facts.gap_ms) {
            return Err(StateError::Damaged("sessions of another gap than the manifest's"));
        }
        sessions.push(Open { first, last, state: state.to_vec() });
    }
    stage.sessions.restore(key.into(), sessions);
    Ok(())
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}
