use reelflow::prelude::*;

#[derive(State, Default)]
#[state(version = 1)]
struct Views { plays: usize }

fn main() {}
