//! The driver: waits for an input, calls the core, performs its effects in the stated order.
