use reelflow::prelude::*;

#[derive(Event)]
struct Play { #[field(optional)] id: Option<i64> }

fn main() {}
