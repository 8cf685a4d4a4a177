//! What is trending in each country?
//!
//! Input: plays, keyed by country, in windows of the manifest's choice. Output: for each window the ten titles (setting `top`) with the
//! most distinct profiles; of equal ones the more played, then the lower title id. State: for each title its plays and its profiles,
//! exactly; it grows with the number of (title, profile) pairs of a window. Plays without a country form a list of their own.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use reelflow::prelude::*;

#[derive(Event)]
pub struct Play {
    profile_id: i64,
    title_id: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Titles {
    titles: BTreeMap<i64, Watched>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Watched {
    plays: u64,
    viewers: BTreeSet<i64>,
}

/// One place of the list; `rank` starts at 1.
#[derive(Emit)]
pub struct Place<'a> {
    country: Option<&'a str>,
    w_start: i64,
    w_end: i64,
    rank: i64,
    title_id: i64,
    viewers: u64,
    plays: u64,
}

#[derive(Config)]
#[config(check = Self::check)]
pub struct Trending {
    /// How long the list is.
    #[config(default = 10)]
    top: u32,
}

impl Trending {
    fn check(&self) -> Result<(), String> {
        if self.top > 0 { Ok(()) } else { Err("\"top\" must be at least 1".to_owned()) }
    }
}

impl Aggregate for Trending {
    type Event<'a> = Play;
    type State = Titles;
    type Output<'a> = Place<'a>;

    const KEY: &'static [KeyField] = &[KeyField::str("country").optional()];

    fn add(&self, state: &mut Titles, play: Play) -> Result<(), Reject> {
        let watched = state.titles.entry(play.title_id).or_default();
        watched.plays += 1;
        watched.viewers.insert(play.profile_id);
        Ok(())
    }

    fn merge(&self, into: &mut Titles, from: Titles) {
        for (title_id, from) in from.titles {
            let watched = into.titles.entry(title_id).or_default();
            watched.plays += from.plays;
            watched.viewers.extend(from.viewers);
        }
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Titles, out: &mut Out<Place<'a>>) {
        let mut titles: Vec<_> = state
            .titles
            .iter()
            .map(|(id, watched)| (Reverse(watched.viewers.len() as u64), Reverse(watched.plays), *id))
            .collect();
        titles.sort_unstable();
        let country = (!key.is_null()).then(|| key.str());
        for ((viewers, plays, title_id), rank) in titles.into_iter().take(self.top as usize).zip(1..) {
            out.emit(Place {
                country,
                w_start: window.start,
                w_end: window.end,
                rank,
                title_id,
                viewers: viewers.0,
                plays: plays.0,
            });
        }
    }
}

reelflow::export!(Trending as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 0, end: 300_000 };

    /// Plays as (profile, title); places as (rank, title, viewers, plays).
    #[track_caller]
    fn check(config: &str, plays: &[(i64, i64)], places: &[(i64, i64, i64, i64)]) {
        let plugin = reelflow::testing::configure::<Trending>(config).unwrap();
        let rows: String =
            plays.iter().map(|(profile, title)| format!(r#"{{"profile_id":{profile},"title_id":{title}}}"#)).collect();
        let expected: Vec<String> = places
            .iter()
            .map(|(rank, title, viewers, plays)| {
                format!(
                    r#"{{"country":"NL","w_start":0,"w_end":300000,"rank":{rank},"title_id":{title},"viewers":{viewers},"plays":{plays}}}"#
                )
            })
            .collect();
        assert_eq!(reelflow::testing::aggregate(&plugin, WINDOW, r#"["NL"]"#, &rows).out("out"), expected);
    }

    #[test]
    fn distinct_profiles_count_first_then_plays_then_the_lower_title() {
        check("{}", &[(1, 5), (2, 5), (1, 3), (1, 3), (1, 3)], &[(1, 5, 2, 2), (2, 3, 1, 3)]);
        check("{}", &[(1, 5), (1, 3), (1, 3)], &[(1, 3, 1, 2), (2, 5, 1, 1)]);
        check("{}", &[(1, 5), (2, 3)], &[(1, 3, 1, 1), (2, 5, 1, 1)]);
    }

    #[test]
    fn the_list_is_as_long_as_configured() {
        let plays: Vec<_> = (1..=12).map(|title| (1, title)).collect();
        let places: Vec<_> = (1..=10).map(|title| (title, title, 1, 1)).collect();
        check("{}", &plays, &places);
        check(r#"{"top":2}"#, &plays, &places[..2]);
        assert_eq!(reelflow::testing::configure::<Trending>(r#"{"top":0}"#).err().unwrap(), "\"top\" must be at least 1");
    }
}
