//! What bytes are given to, one a module.

pub mod answer;
pub mod changelog;
pub mod component;
pub mod frame;
pub mod json;
pub mod letter_call;
pub mod state;
