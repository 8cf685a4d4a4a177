use reelflow::prelude::*;

#[derive(State)]
#[state(version = 1)]
struct Last<'a> { country: &'a str }

fn main() {}
