//! How often, and by how many people, each title was played in each minute.

use std::collections::BTreeSet;

use reelflow::prelude::*;

/// What is read of a record: only these fields are decoded.
#[derive(Event)]
pub struct Play {
    profile_id: i64,
}

/// What is kept per title and window.
#[derive(State, Default)]
#[state(version = 1)]
pub struct Views {
    plays: u64,
    viewers: BTreeSet<i64>,
}

/// What comes out when a window closes.
#[derive(Emit)]
pub struct Popularity {
    title_id: i64,
    window_start: i64,
    plays: i64,
    viewers: i64,
}

#[derive(Config)]
pub struct Titles;

impl Aggregate for Titles {
    type Event<'a> = Play;
    type State = Views;
    type Output<'a> = Popularity;
    const KEY: &'static [KeyField] = &[KeyField::i64("title_id")];

    fn add(&self, state: &mut Views, play: Play) -> Result<(), Reject> {
        if play.profile_id <= 0 {
            return Err(Reject::from("not a profile"));
        }
        state.plays += 1;
        state.viewers.insert(play.profile_id);
        Ok(())
    }

    fn merge(&self, into: &mut Views, from: Views) {
        into.plays += from.plays;
        into.viewers.extend(from.viewers);
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Views, out: &mut Out<Popularity>) {
        out.emit(Popularity {
            title_id: key.i64(),
            window_start: window.start,
            plays: state.plays as i64,
            viewers: state.viewers.len() as i64,
        });
    }
}

reelflow::export!(Titles as Aggregate);
