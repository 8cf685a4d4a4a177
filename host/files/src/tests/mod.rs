//! Publishing on a real file system: crashed at every step, beside rivals, and read back.

mod complete;
mod crashes;
mod harness;
mod read_back;
mod refused;
