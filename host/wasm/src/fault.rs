//! Why a call ended without an answer, from what wasmtime says of it.

use reelflow_core::plugin::{PluginFault, TrapReport};
use reelflow_ports::engine::Limits;
use wasmtime::{Store, Trap, WasmBacktrace, WasmCoreDump};

use crate::{limits::Limiter, words::legible};

/// Where the SDK's panic hook leaves the message, since a guest without imports cannot print: these bytes, the text's length as a
/// little-endian u32, the text (UTF-8). The length is 0 until the first panic (wit/plugin/README.md).
const PANIC_MARKER: &[u8; 16] = b"reelflow:panic\x00\x01";
/// Bytes of a message, at most.
const PANIC_TEXT_MAX: usize = 1024;
/// The note is a static, and statics come first in memory, after 1 MiB of stack. A trap must stay cheap however large the heap is.
const PANIC_SEARCH_MAX: usize = 4 << 20;
/// Characters of a function's name, at most: a guest says its names itself.
const NAME_MAX: usize = 256;

/// The fault behind `error`, which ended a call of the guest in `store`.
pub(crate) fn of_error(error: &wasmtime::Error, store: &mut Store<Limiter>, limits: &Limits) -> PluginFault {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return PluginFault::Deadline { limit_ms: limits.call_ms_max };
    }
    if store.data_mut().take_refused_memory() {
        return PluginFault::Memory { limit_bytes: limits.memory_bytes_max };
    }
    if let Some(trap) = trap {
        return PluginFault::Trap(describe(*trap, error, store));
    }
    let text = format!("{:#}", error.root_cause());
    // wasmtime keeps the type of this error to itself; a guest of `tests/guests` fails when its words change.
    if text.contains("fuel allocated for hostcalls") {
        return PluginFault::Output { limit_bytes: limits.output_bytes_max };
    }
    PluginFault::Malformed(legible(&text))
}

/// `panicked at src/lib.rs:7:5: no page`, or the trap's name when nobody left a message; and where.
fn describe(trap: Trap, error: &wasmtime::Error, store: &Store<Limiter>) -> TrapReport {
    let message = panic_message(error, store).unwrap_or_else(|| trap.to_string());
    TrapReport { message, frames: frames(error) }
}

fn panic_message(error: &wasmtime::Error, store: &Store<Limiter>) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.memories().iter().find_map(|memory| panic_note(memory.data(store)))
}

/// The first filled note in a guest's memory. The guest may have written anything there: bounded, made printable, never trusted.
fn panic_note(memory: &[u8]) -> Option<String> {
    let searched = &memory[..memory.len().min(PANIC_SEARCH_MAX)];
    memchr::memmem::find_iter(searched, PANIC_MARKER).find_map(|at| {
        let (len, text) = memory[at + PANIC_MARKER.len()..].split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let text = text.get(..len.min(PANIC_TEXT_MAX)).filter(|text| !text.is_empty())?;
        Some(legible(&String::from_utf8_lossy(text)))
    })
}

/// The guest's functions, the innermost first.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    names
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .take(TrapReport::FRAMES_MAX)
        .map(|name| legible(&name).chars().take(NAME_MAX).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(len: u32, text: &[u8]) -> Vec<u8> {
        [&[7; 100][..], PANIC_MARKER, &len.to_le_bytes(), text].concat()
    }

    #[track_caller]
    fn check(memory: &[u8], expected: Option<&str>) {
        assert_eq!(panic_note(memory).as_deref(), expected);
    }

    #[test]
    fn a_filled_note_is_found() {
        check(&note(4, b"oops and what was there before"), Some("oops"));
        check(&[note(0, b""), note(4, b"oops")].concat(), Some("oops"));
    }

    #[test]
    fn what_is_no_note_is_ignored() {
        check(&[], None);
        check(&[7; 100], None);
        check(&note(0, b"never"), None);
        check(PANIC_MARKER, None);
        check(&[&PANIC_MARKER[..], &[1, 0, 0]].concat(), None);
        check(&note(5, b"four"), None);
        check(&note(u32::MAX, b"four"), None);
    }

    #[test]
    fn a_hostile_note_is_cut_and_made_printable() {
        check(&note(5, b"a\x1b[\xffb"), Some("a [\u{fffd}b"));
        let long = panic_note(&note(1 << 20, &vec![b'x'; 1 << 20])).unwrap();
        assert_eq!(long.len(), PANIC_TEXT_MAX);
        check(&[vec![0; PANIC_SEARCH_MAX], note(4, b"oops")].concat(), None);
    }
}
