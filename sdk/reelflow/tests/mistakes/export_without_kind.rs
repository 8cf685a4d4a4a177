use reelflow::prelude::*;

#[derive(Config)]
struct Copy;
reelflow::export!(Copy);

fn main() {}
