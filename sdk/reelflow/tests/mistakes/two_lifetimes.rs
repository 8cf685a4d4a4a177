use reelflow::prelude::*;

#[derive(Event)]
struct Play<'a, 'b> { country: &'a str, device: &'b str }

fn main() {}
