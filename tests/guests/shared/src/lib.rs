//! What all guests share: reading their config, and the ways to misbehave that fit anywhere.

use std::{
    panic::PanicHookInfo,
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

/// What the config asked for.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    pub mode: String,
    /// The exported function that is to misbehave.
    pub at: String,
    /// What `describe` is to answer instead of the truth.
    pub answer: Option<String>,
}

static ORDERS: Mutex<Option<Orders>> = Mutex::new(None);

/// Modes that every guest knows, at each of its functions.
const COMMON_MODES: [&str; 5] = ["loop", "hoard", "recurse", "panic", "trap"];

/// `describe` of every guest: keeps the orders, answers `truth` unless it was told otherwise.
///
/// Mode `modes` is an error that lists the modes, so that a test can tell whether it has them all.
pub fn describe(config: &str, truth: &str, own_modes: &[&str]) -> Result<String, String> {
    let orders = Orders {
        mode: member(config, "mode").unwrap_or_default().to_owned(),
        at: member(config, "at").unwrap_or_default().to_owned(),
        answer: member(config, "answer_hex").map(unhex),
    };
    *ORDERS.lock().unwrap() = Some(orders.clone());
    std::panic::set_hook(Box::new(leave_note));
    match orders.mode.as_str() {
        "modes" => return Err([&COMMON_MODES[..], own_modes].concat().join(" ")),
        "error" => return Err("threshold must be positive".to_owned()),
        _ => misbehave("describe"),
    }
    Ok(orders.answer.unwrap_or_else(|| truth.to_owned()))
}

/// The mode, if `function` is the one that is to misbehave; the common modes never return.
pub fn misbehave(function: &str) {
    match mode_at(function).as_str() {
        "loop" => spin(),
        "hoard" => hoard(),
        "recurse" => drop(recurse(1)),
        "panic" => panic!("asked to panic in {function}"),
        "trap" => trap(),
        _ => {}
    }
}

/// The mode for `function`, or nothing.
pub fn mode_at(function: &str) -> String {
    let orders = ORDERS.lock().unwrap();
    orders.as_ref().filter(|orders| orders.at == function).map(|orders| orders.mode.clone()).unwrap_or_default()
}

fn spin() {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn hoard() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// The argument depends on the result, or the compiler would make a loop of it.
fn recurse(depth: u64) -> u64 {
    if std::hint::black_box(depth) == 0 { 0 } else { recurse(std::hint::black_box(depth + 1)).wrapping_add(depth) }
}

#[cfg(target_arch = "wasm32")]
fn trap() {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn trap() {
    std::process::abort()
}

/// Where the host finds the message of a panic (wit/plugin/README.md).
#[repr(C)]
struct Note {
    marker: [u8; 16],
    len: AtomicU32,
    text: [AtomicU8; 1024],
}

// `used`: nobody reads the marker, and without it the host would find nothing.
#[used]
static NOTE: Note = Note { marker: *b"reelflow:panic\x00\x01", len: AtomicU32::new(0), text: [const { AtomicU8::new(0) }; 1024] };

fn leave_note(panic: &PanicHookInfo<'_>) {
    let message = panic.to_string();
    let n_bytes = message.len().min(NOTE.text.len());
    NOTE.text.iter().zip(message.bytes()).for_each(|(slot, byte)| slot.store(byte, Ordering::Relaxed));
    NOTE.len.store(n_bytes as u32, Ordering::Relaxed);
}

/// The text member `name` of a JSON object whose texts hold no escapes. No parser: a guest must stay small.
fn member<'a>(config: &'a str, name: &str) -> Option<&'a str> {
    let rest = config.split_once(&format!("\"{name}\":\""))?.1;
    rest.split_once('"').map(|(value, _)| value)
}

fn unhex(hex: &str) -> String {
    let bytes = (0..hex.len() / 2).map(|idx| u8::from_str_radix(&hex[2 * idx..2 * idx + 2], 16).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}
