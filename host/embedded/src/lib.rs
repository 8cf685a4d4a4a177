//! The log on local disk; the only crate that names fjall.
