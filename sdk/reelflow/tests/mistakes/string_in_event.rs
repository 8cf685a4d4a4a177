use reelflow::prelude::*;

#[derive(Event)]
struct Play { country: String }

fn main() {}
