//! Features told as text: records in, results out; one file of `cases` per feature, no Rust in it.
//!
//! A case is a list of steps, each a few lines of input, a line `----`, and what comes of it. It drives real tasks of the core with
//! plugins written here and a log that is a list. Each case runs up to three times: as it stands; with a crash after every step,
//! where what was not sealed happens again and must come out the same; and sealed before each of these crashes.
//!
//! `REEL_BLESS=1 cargo test -p reelflow-scenarios` rewrites what is expected: read the difference before you believe it.
//!
//! Modules in reading order: [`script`] (steps), [`pipeline`] (the words of `pipeline`), `windows`, `words`, [`plugins`], `owned` (a task), [`world`] (tasks and log),
//! [`print`](mod@print), [`counts`].

pub mod counts;
mod owned;
pub mod pipeline;
pub mod plugins;
pub mod print;
pub mod script;
mod timers;
mod windows;
mod words;
pub mod world;
