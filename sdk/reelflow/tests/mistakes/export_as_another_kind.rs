use reelflow::prelude::*;

#[derive(Config)]
struct Copy;
reelflow::export!(Copy as Join);

fn main() {}
