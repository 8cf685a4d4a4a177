//! Guests against the real engine: each one in `tests/guests` behaves in one way, most of them badly (I-7, I-8).

mod behaves;
mod bombs;
mod compiling;
mod faults;
mod frozen;
mod hostile;
mod loading;
mod malformed;
mod support;
mod written;
