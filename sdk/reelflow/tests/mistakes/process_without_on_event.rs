use reelflow::prelude::*;

#[derive(Event)]
struct Play {
    title_id: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
struct Seen {
    plays: u64,
}

#[derive(Config)]
struct Recent;

impl Process for Recent {
    type Event<'a> = Play;
    type State = Seen;
    type Output<'a> = Vec<i64>;
}

fn main() {}
