//! What the derives and the drivers make of an author's types.

mod aggregates;
mod configs;
mod joins;
mod outputs;
mod processes;
mod rows;
mod states;

use std::collections::BTreeMap;

use reelflow::{prelude::*, testing};
use serde_json::{Value, json};

const WINDOW: Window = Window { start: 0, end: 10 };
