use reelflow::prelude::*;

#[derive(Config)]
struct Settings<'a> { country: &'a str }

fn main() {}
