//! The stored form of an aggregate's state (I-10): belongs to chunk format 1.
//!
//! ```text
//! change = 01 watermark (signed)                                          windows have fired up to here
//!        | 02 pane start (signed) n (varint) n × (key bytes, state bytes)
//!        | 04 window start (signed) window end (signed) key bytes revision (varint)             emitted more than once, or early
//!        | 03 window end (signed) key bytes revision (varint)             the same, as it was written when no two windows shared an end
//! ```
//!
//! Dropped panes and revisions are not written: the watermark says which they are.

use super::{Aggregate, pane::EntryIdx, panes::PaneIdx};
use crate::{
    key::{decode_key_bytes, empty_columns},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark, Window},
    window::Windowing,
};

const WATERMARK: u8 = 1;
const STATES: u8 = 2;
const REVISION_BY_END: u8 = 3;
const REVISION: u8 = 4;

/// The states of one pane are written in runs of about so many bytes, so that chunks can be cut between them.
const RUN_BYTES: usize = 16 * 1024;

pub(super) fn write_changes(aggregate: &mut Aggregate, to: &mut ChangeWriter) {
    if std::mem::take(&mut aggregate.is_watermark_dirty) {
        write_watermark(aggregate, to);
    }
    for (pane, entries) in aggregate.panes.take_dirty() {
        write_states(aggregate, pane, &entries, to);
    }
    for (window, key, rev) in aggregate.revisions.take_dirty() {
        write_revision(window, &key, rev, to);
    }
}

pub(super) fn write_image(aggregate: &mut Aggregate, to: &mut ChangeWriter) {
    aggregate.is_watermark_dirty = false;
    aggregate.panes.take_dirty();
    aggregate.revisions.take_dirty();
    write_watermark(aggregate, to);
    for pane in aggregate.panes.all() {
        let entries: Vec<EntryIdx> = aggregate.panes.pane(pane).entries().collect();
        write_states(aggregate, pane, &entries, to);
    }
    for (window, key, rev) in aggregate.revisions.iter() {
        write_revision(window, key, rev, to);
    }
}

pub(super) fn restore(aggregate: &mut Aggregate, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    while !from.is_empty() {
        match from.u8()? {
            WATERMARK => {
                aggregate.watermark = Watermark(from.signed()?);
                aggregate.forget();
            }
            STATES => restore_states(aggregate, from)?,
            REVISION_BY_END => {
                let end = from.signed()?;
                let window = aggregate.facts.windowing.first_after(Watermark(end.saturating_sub(1)));
                restore_revision(aggregate, (window.start().0, end), from)?;
            }
            REVISION => {
                let ends = (from.signed()?, from.signed()?);
                restore_revision(aggregate, ends, from)?;
            }
            _ => return Err(StateError::Damaged("an unknown change of an aggregate")),
        }
    }
    Ok(())
}

fn write_watermark(aggregate: &Aggregate, to: &mut ChangeWriter) {
    to.body().u8(WATERMARK);
    to.body().signed(aggregate.watermark.0);
    to.end_change();
}

fn write_states(aggregate: &Aggregate, pane_idx: PaneIdx, entries: &[EntryIdx], to: &mut ChangeWriter) {
    let pane = aggregate.panes.pane(pane_idx);
    let mut rest = entries;
    while !rest.is_empty() {
        let mut n_bytes = 0;
        let fits = |entry: &&EntryIdx| {
            let is_first = n_bytes == 0;
            n_bytes += pane.key(**entry).len() + pane.state(**entry).len();
            is_first || n_bytes <= RUN_BYTES
        };
        let (run, left) = rest.split_at(rest.iter().take_while(fits).count());
        to.body().u8(STATES);
        to.body().signed(aggregate.panes.start(pane_idx).0);
        to.body().varint(run.len() as u64);
        for entry in run {
            to.body().bytes(pane.key(*entry));
            to.body().bytes(pane.state(*entry));
        }
        to.end_change();
        rest = left;
    }
}

fn write_revision(window: Window, key: &[u8], rev: u32, to: &mut ChangeWriter) {
    to.body().u8(REVISION);
    to.body().signed(window.start().0);
    to.body().signed(window.end().0);
    to.body().bytes(key);
    to.body().varint(rev.into());
    to.end_change();
}

fn restore_revision(aggregate: &mut Aggregate, (start, end): (i64, i64), from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let window = (start < end).then(|| Window::new(EventTime(start), EventTime(end)));
    let window = window.filter(|window| aggregate.facts.windowing.is_one(*window));
    let window = window.ok_or(StateError::Damaged("a revision of other windows than the manifest's"))?;
    let key = from.bytes()?;
    let rev = u32::try_from(from.varint()?).map_err(|_| StateError::Damaged("a revision"))?;
    aggregate.revisions.restore(window, key, rev);
    Ok(())
}

fn restore_states(aggregate: &mut Aggregate, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
    let start = EventTime(from.signed()?);
    // A pane may start before the first time it can hold, by less than its length.
    if !(EventTime::MIN.0 - Windowing::SIZE_MS_MAX..=EventTime::MAX.0).contains(&start.0) {
        return Err(StateError::Damaged("a pane out of time"));
    }
    if aggregate.facts.windowing.pane(start).start() != start {
        return Err(StateError::Damaged("a pane of other windows than the manifest's"));
    }
    for _ in 0..from.varint()? {
        let (key, state) = (from.bytes()?, from.bytes()?);
        decode_key_bytes(key, &mut empty_columns(&aggregate.facts.key_kinds))?;
        if state.is_empty() {
            return Err(StateError::Damaged("an empty state"));
        }
        let (cell, is_new) = aggregate.panes.restore_state(start, key, state);
        if is_new && aggregate.facts.has_trails() {
            aggregate.trails.born(&aggregate.panes, cell);
        }
        if let Some(early) = &mut aggregate.early {
            early.changed(start, cell);
        }
    }
    Ok(())
}
