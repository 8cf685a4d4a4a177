use reelflow::prelude::*;

#[derive(Emit)]
struct Row { tags: Vec<i64> }

fn main() {}
