//! What did a profile play last?
//!
//! Input: plays, keyed by profile. Output: the latest twenty distinct titles (setting `titles`), the last one first, whenever that list
//! changes: the last row of a profile counts. State: these titles with their last times.
//!
//! The order of the plays does not matter. A title that fell out of the list cannot come back without a play that is newer than all that
//! fell out, so keeping the list alone is exact.

use std::collections::BTreeMap;

use reelflow::prelude::*;

#[derive(Event)]
pub struct Play {
    title_id: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Recent {
    /// Title → time of its last play.
    last_play: BTreeMap<i64, i64>,
}

/// `recent_titles`: ids with commas between them. Titles played at the same time stand with the greater id first.
#[derive(Emit)]
pub struct RecentTitles {
    profile_id: i64,
    recent_titles: String,
    last_play_ts: i64,
}

#[derive(Config)]
#[config(check = check)]
pub struct RecentPlays {
    /// How many titles are kept.
    #[config(default = 20)]
    titles: u64,
}

fn check(settings: &RecentPlays) -> Result<(), String> {
    if (1..=1000).contains(&settings.titles) { Ok(()) } else { Err(format!("titles is {}, not in 1..=1000", settings.titles)) }
}

impl Process for RecentPlays {
    type Event<'a> = Play;
    type State = Recent;
    type Output<'a> = RecentTitles;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id")];

    fn on_event(&self, ctx: &mut Context<'_, RecentTitles>, state: &mut Recent, play: Play) -> Result<(), Reject> {
        let (title_id, at) = (play.title_id, ctx.time());
        if state.last_play.get(&title_id).is_some_and(|last| *last >= at) {
            return Ok(());
        }
        state.last_play.insert(title_id, at);
        if state.last_play.len() as u64 > self.titles {
            let oldest = state.last_play.iter().map(|(title_id, at)| (*at, *title_id)).min();
            let (_, dropped) = oldest.expect("there are titles");
            state.last_play.remove(&dropped);
            if dropped == title_id {
                return Ok(());
            }
        }
        let mut latest: Vec<(i64, i64)> = state.last_play.iter().map(|(title_id, at)| (*at, *title_id)).collect();
        latest.sort_by(|a, b| b.cmp(a));
        let titles: Vec<String> = latest.iter().map(|(_, title_id)| title_id.to_string()).collect();
        ctx.emit(RecentTitles { profile_id: ctx.key().i64(), recent_titles: titles.join(","), last_play_ts: latest[0].0 });
        Ok(())
    }
}

reelflow::export!(RecentPlays as Process);

#[cfg(test)]
mod tests {
    use super::*;

    /// The last row that came out, for plays (time, title) in this order.
    fn last_row(config: &str, plays: &[(i64, i64)]) -> Option<String> {
        let plugin = reelflow::testing::configure::<RecentPlays>(config).unwrap();
        let mut key = reelflow::testing::process(&plugin, "[7]");
        let times: Vec<i64> = plays.iter().map(|(at, _)| *at).collect();
        let rows: String = plays.iter().map(|(_, title_id)| format!(r#"{{"title_id":{title_id}}}"#)).collect();
        key.rows(&times, &rows).out("out").pop()
    }

    #[track_caller]
    fn check(config: &str, plays: &[(i64, i64)], titles: &str, last_play_ts: i64) {
        let row = format!(r#"{{"profile_id":7,"recent_titles":"{titles}","last_play_ts":{last_play_ts}}}"#);
        assert_eq!(last_row(config, plays), Some(row));
    }

    #[test]
    fn the_last_play_of_each_title_counts_whatever_the_order() {
        check("{}", &[(1, 70), (3, 71), (2, 72), (4, 70)], "70,71,72", 4);
        check("{}", &[(4, 70), (2, 72), (3, 71), (1, 70)], "70,71,72", 4);
        check("{}", &[(5, 70), (5, 71)], "71,70", 5);
    }

    #[test]
    fn only_so_many_titles_are_kept() {
        check(r#"{"titles":2}"#, &[(1, 70), (2, 71), (3, 72)], "72,71", 3);
        // An old play that does not make it into the list says nothing.
        check(r#"{"titles":2}"#, &[(2, 71), (3, 72), (1, 70)], "72,71", 3);
    }

    #[test]
    fn what_changes_nothing_says_nothing() {
        let plugin = reelflow::testing::configure::<RecentPlays>("{}").unwrap();
        let mut key = reelflow::testing::process(&plugin, "[7]");
        assert_eq!(key.rows(&[5, 5, 4], r#"{"title_id":70}{"title_id":70}{"title_id":70}"#).out("out").len(), 1);
    }

    #[test]
    fn a_list_has_at_least_one_title() {
        let refused = reelflow::testing::configure::<RecentPlays>(r#"{"titles":0}"#).err().unwrap();
        assert_eq!(refused, "titles is 0, not in 1..=1000");
    }
}
