use reelflow::prelude::*;

#[derive(Event)]
enum Play { Started { id: i64 }, Stopped { id: i64 } }

fn main() {}
