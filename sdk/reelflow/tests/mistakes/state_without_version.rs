use reelflow::prelude::*;

#[derive(State, Default)]
struct Views { plays: u64 }

fn main() {}
