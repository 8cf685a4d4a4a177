//! A seeded generator of what people looked at and watched, as their devices would report it: late, doubled, out of order, from
//! skewed clocks, sometimes broken. Beside the records it writes the truth: what must become of each.
//!
//! It knows nothing of the engine, so that the two can be held against each other. One seed gives the same bytes everywhere.
//!
//! Modules in reading order: [`model`] (the numbers), [`people`] (who and what exists), [`tables`] (how that changes),
//! [`sessions`] (what they do), [`disturb`] (what goes wrong on the way), [`files`] (what is written).

use std::hash::{DefaultHasher, Hash, Hasher};

pub mod disturb;
pub mod files;
pub mod model;
pub mod people;
pub mod sessions;
pub mod tables;

/// Another number for another generator: what an earlier one wrote must not be taken for this one's.
pub fn fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    let sources = [
        include_str!("disturb.rs"),
        include_str!("files.rs"),
        include_str!("model.rs"),
        include_str!("people.rs"),
        include_str!("sessions.rs"),
        include_str!("tables.rs"),
    ];
    sources.hash(&mut hasher);
    hasher.finish()
}
