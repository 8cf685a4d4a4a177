use reelflow::prelude::*;

#[derive(State, Default)]
#[state(version = 1)]
struct Views { by_title: std::collections::HashMap<i64, u64> }

fn main() {}
