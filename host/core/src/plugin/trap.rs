//! What is known of a trap.

use std::fmt;

/// Of these, how many stand in its text.
const FRAMES_IN_TEXT: usize = 4;

/// A guest's panic or trap: what it said, and where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrapReport {
    /// The panic's message, or the trap's name.
    pub message: String,
    /// The guest's functions, the innermost first, with the names that its author knows; at most [`TrapReport::FRAMES_MAX`].
    pub frames: Vec<String>,
}

impl TrapReport {
    /// Functions that a report names at most.
    pub const FRAMES_MAX: usize = 32;

    /// One function a line; empty, if the guest has no names.
    pub fn backtrace(&self) -> String {
        self.frames.join("\n")
    }
}

impl From<&str> for TrapReport {
    fn from(message: &str) -> TrapReport {
        TrapReport { message: message.to_owned(), frames: Vec::new() }
    }
}

impl From<String> for TrapReport {
    fn from(message: String) -> TrapReport {
        TrapReport { message, frames: Vec::new() }
    }
}

/// `panicked at src/lib.rs:7:5: no page, in my_plugin::add < …`, without the functions that every panic goes through.
impl fmt::Display for TrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let own = self.frames.iter().filter(|name| !is_machinery(name)).take(FRAMES_IN_TEXT);
        for (idx, name) in own.enumerate() {
            write!(f, "{}{name}", if idx == 0 { ", in " } else { " < " })?;
        }
        Ok(())
    }
}

/// Functions between a guest's mistake and its trap.
fn is_machinery(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["core::", "std::", "alloc::", "__rust", "rust_", "abort"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_guests_own_functions_and_the_backtrace_all() {
        let frames = ["std::panicking::begin", "<core::X>::y", "mine::a", "mine::b", "mine::c", "mine::d", "mine::e"];
        let report = TrapReport { message: "no page".to_owned(), frames: frames.map(str::to_owned).to_vec() };
        assert_eq!(report.to_string(), "no page, in mine::a < mine::b < mine::c < mine::d");
        assert_eq!(report.backtrace(), frames.join("\n"));
        assert_eq!(TrapReport::from("unreachable").to_string(), "unreachable");
    }
}
