//! The note in which a plugin leaves its panic message: it cannot print, but the host can read its memory after a trap.
//!
//! Atomics stand for plain memory here: they are how safe code writes to a static, and cost nothing in a guest without threads.

use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed},
};

const TEXT_MAX: usize = 1024;

/// The layout that the host looks for (wit/plugin/README.md): these 16 bytes, the length, the text.
#[repr(C)]
pub struct Note {
    marker: [u8; 16],
    len: AtomicU32,
    text: [AtomicU8; TEXT_MAX],
}

impl Note {
    pub const fn empty() -> Note {
        Note { marker: *b"reelflow:panic\0\x01", len: AtomicU32::new(0), text: [const { AtomicU8::new(0) }; TEXT_MAX] }
    }

    /// Leaves `message`, cut to what fits.
    pub fn leave(&self, message: &impl fmt::Display) {
        let mut pen = Pen { note: self, len: 0 };
        // Never fails: what does not fit is dropped. In a panic there is nobody to tell anyway.
        let _full = write!(pen, "{message}");
        self.len.store(pen.len as u32, Relaxed);
    }
}

struct Pen<'a> {
    note: &'a Note,
    len: usize,
}

impl Write for Pen<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (slot, byte) in self.note.text[self.len..].iter().zip(text.bytes()) {
            slot.store(byte, Relaxed);
            self.len += 1;
        }
        Ok(())
    }
}

/// From here on, a panic leaves its message.
#[cfg(target_family = "wasm")]
pub fn listen() {
    // `used`: nothing in the guest reads it, so it would be dropped.
    #[used]
    static NOTE: Note = Note::empty();
    std::panic::set_hook(Box::new(|panic| NOTE.leave(panic)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, text: &str) {
        let note = Note::empty();
        note.leave(&"an older and much longer message");
        note.leave(&message);
        let written: Vec<u8> = note.text[..note.len.load(Relaxed) as usize].iter().map(|byte| byte.load(Relaxed)).collect();
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }

    #[test]
    fn the_last_message_stands_there_cut_to_what_fits() {
        check("oops", "oops");
        check(&"x".repeat(5_000), &"x".repeat(TEXT_MAX));
    }

    #[test]
    fn the_layout_is_the_contract_s() {
        assert_eq!(std::mem::offset_of!(Note, len), 16);
        assert_eq!(std::mem::offset_of!(Note, text), 20);
        assert_eq!(Note::empty().marker, *b"reelflow:panic\x00\x01");
    }
}
