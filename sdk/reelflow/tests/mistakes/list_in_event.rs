use reelflow::prelude::*;

#[derive(Event)]
struct Play { tags: Vec<i64> }

fn main() {}
