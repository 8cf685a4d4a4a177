//! Seeded faults and crashes against the batch answer.
//!
//! One run: a pipeline, some workers on the model broker, random inputs, and a seed that decides who does what next, what fails and
//! who dies. At the end the committed outputs must be what a few loops over the input give ([`oracle`]), every record must have had
//! exactly one fate, and the state must be recoverable. The same seed gives the same run.
//!
//! Modules in reading order: [`shape`], [`input`], [`oracle`], [`chaos`], [`upgrades`], [`stores`], [`driver`], [`undisturbed`], [`versioned`].

pub mod chaos;
pub mod driver;
pub mod input;
pub mod oracle;
pub mod shape;
pub mod stores;
pub mod undisturbed;
pub mod upgrades;
pub mod versioned;
