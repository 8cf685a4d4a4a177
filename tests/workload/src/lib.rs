//! A seeded generator of what people looked at and watched, as their devices would report it: late, doubled, out of order, from
//! skewed clocks, sometimes broken. Beside the records it writes the truth: what must become of each.
//!
//! It knows nothing of the engine, so that the two can be held against each other. One seed gives the same bytes everywhere.
//!
//! Modules in reading order: [`model`] (the numbers), [`people`] (who and what exists), [`sessions`] (what they do),
//! [`disturb`] (what goes wrong on the way), [`files`] (what is written).

pub mod disturb;
pub mod files;
pub mod model;
pub mod people;
pub mod sessions;
