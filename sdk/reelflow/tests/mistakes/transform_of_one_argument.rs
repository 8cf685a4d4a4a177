use reelflow::prelude::*;

#[derive(Event)]
struct Play { id: i64 }
#[reelflow::transform]
fn copy(play: Play) -> Result<(), Reject> {
    Ok(())
}

fn main() {}
