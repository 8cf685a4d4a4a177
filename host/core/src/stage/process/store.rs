//! The stored form of keys with their states and timers (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                    how far timers have fired
//!        | 02 key bytes  last row (signed)  state bytes  n (varint) n × (clock (u8) at (signed))     what is kept of a key
//!        | 03 key bytes                                             nothing is kept of this key
//!        | 04                                                       nothing is kept of any key
//! clock  = 00 event time | 01 wall time
//! ```

use std::collections::BTreeSet;

use super::{
    Process, TIMERS_MAX,
    keys::{Kept, KeyBytes},
};
use crate::{
    key::{decode_key_bytes, empty_columns},
    plugin::{Clock, Timer},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

const WATERMARK: u8 = 1;
const KEPT: u8 = 2;
const FORGOTTEN: u8 = 3;
const EMPTIED: u8 = 4;

pub(super) fn write_changes(stage: &mut Process, to: &mut ChangeWriter) {
    if std::mem::take(&mut stage.is_watermark_dirty) {
        write_watermark(stage.watermark, to);
    }
    let (is_emptied, dirty) = stage.keys.take_dirty();
    if is_emptied {
        to.body().u8(EMPTIED);
        to.end_change();
    }
    for key in dirty {
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

pub(super) fn write_image(stage: &mut Process, to: &mut ChangeWriter) {
    stage.is_watermark_dirty = false;
    stage.keys.take_dirty();
    write_watermark(stage.watermark, to);
    for (key, kept) in stage.keys.iter() {
        write_kept(key, kept, to);
    }
}

pub(super) fn restore(stage: &mut Process, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => stage.watermark = Watermark(from.signed()?),
            KEPT => {
                let key = read_key(stage, from)?;
                let kept = read_kept(from)?;
                stage.keys.restore(key, Some(kept));
            }
            FORGOTTEN => {
                let key = read_key(stage, from)?;
                stage.keys.restore(key, None);
            }
            EMPTIED => stage.keys.clear(),
            _ => return Err(StateError::Damaged("an unknown change of a process")),
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
    to.body().u8(KEPT);
    to.body().bytes(key);
    to.body().signed(kept.last.0);
    to.body().bytes(&kept.state);
    to.body().varint(kept.timers.len() as u64);
    for timer in &kept.timers {
        to.body().u8(match timer.clock {
            Clock::EventTime => 0,
            Clock::WallTime => 1,
        });
        to.body().signed(timer.at);
    }
    to.end_change();
}

fn read_key(stage: &Process, from: &mut ChangeReader<'_>) -> Result<KeyBytes, StateError> {
    let key = from.bytes()?;
    decode_key_bytes(key, &mut empty_columns(&stage.facts.key_kinds))?;
    Ok(key.into())
}

fn read_kept(from: &mut ChangeReader<'_>) -> Result<Kept, StateError> {
    let (last, state) = (read_time(from)?, from.bytes()?.to_vec());
    let mut timers = BTreeSet::new();
    for _ in 0..from.varint()? {
        let clock = match from.u8()? {
            0 => Clock::EventTime,
            1 => Clock::WallTime,
            _ => return Err(StateError::Damaged("a timer's clock")),
        };
        timers.insert(Timer { clock, at: read_time(from)?.0 });
        if timers.len() > TIMERS_MAX {
            return Err(StateError::Damaged("more timers than a key may have"));
        }
    }
    if state.is_empty() && timers.is_empty() {
        return Err(StateError::Damaged("a key that keeps nothing"));
    }
    Ok(Kept { state, last, timers })
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}
