//! How titles and profiles change: the lines of the two topics that are tables, each change with the time from which on it holds.
//!
//! Some are there only later, most change now and then, some are deleted, and some of those come back: what a batch job finds depends on
//! the time as of which it looks.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    model::{HOUR, Model},
    people::{COUNTRIES, People, TEST_PROFILE, weighted},
};

const PLANS: [&str; 3] = ["basic", "standard", "premium"];

/// One line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: i64,
    /// The event time, and the log's timestamp.
    pub from_ms: i64,
    /// `None`: it is deleted.
    pub value: Option<String>,
}

/// The `catalog` topic: runtimes of titles, in the order of time.
pub fn catalog(model: &Model, people: &People, rng: &mut ChaCha8Rng) -> Vec<Change> {
    let mut all = Vec::new();
    for title in &people.titles {
        let id = title.id;
        for (version, from_ms, is_deleted) in history(model, rng) {
            // Another cut may be a third longer or shorter.
            let runtime_ms = if version == 1 { title.runtime_ms } else { title.runtime_ms * rng.random_range(66..=133) / 100 };
            let value = format!(
                r#"{{"title_id":{id},"version":{version},"valid_from":{from_ms},"runtime_ms":{runtime_ms},"kind":"movie","genre":"drama"}}"#
            );
            all.push(Change { id, from_ms, value: (!is_deleted).then_some(value) });
        }
    }
    in_order(all)
}

/// The `profile_changes` topic: country and plan of profiles, and whether they are there for tests, in the order of time.
pub fn profile_changes(model: &Model, people: &People, rng: &mut ChaCha8Rng) -> Vec<Change> {
    let mut all = Vec::new();
    for profile in &people.profiles {
        let id = profile.id;
        for (version, from_ms, is_deleted) in history(model, rng) {
            let country = if version > 1 && rng.random_bool(0.2) { weighted(&COUNTRIES, rng) } else { profile.country };
            let plan = PLANS[rng.random_range(0..PLANS.len())];
            let test = id == TEST_PROFILE || rng.random_bool(0.02);
            let value = format!(
                r#"{{"profile_id":{id},"version":{version},"valid_from":{from_ms},"country":"{country}","plan":"{plan}","test":{test},"deleted":false}}"#
            );
            all.push(Change { id, from_ms, value: (!is_deleted).then_some(value) });
        }
    }
    in_order(all)
}

/// Versions from 1 on, each with its time and whether it is a deletion. 95 % begin a day before everything else, half of all change later,
/// up to three times; one change in five is a deletion. No two have the same time.
fn history(model: &Model, rng: &mut ChaCha8Rng) -> Vec<(u32, i64, bool)> {
    let first =
        if rng.random_bool(0.05) { rng.random_range(model.start_ms..model.end_ms() - HOUR) } else { model.start_ms - 24 * HOUR };
    let n_more = match rng.random_range(0..100) {
        0..50 => 0,
        50..80 => 1,
        80..95 => 2,
        _ => 3,
    };
    let mut times: Vec<i64> = (0..n_more).map(|_| rng.random_range(first.max(model.start_ms) + 1..model.end_ms())).collect();
    times.push(first);
    times.sort_unstable();
    times.dedup();
    (1..).zip(times).map(|(version, from_ms)| (version, from_ms, version > 1 && rng.random_bool(0.2))).collect()
}

fn in_order(mut all: Vec<Change>) -> Vec<Change> {
    all.sort_by_key(|change| (change.from_ms, change.id));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use super::*;

    /// When something changes, and whether it is deleted then.
    type History = Vec<(i64, bool)>;

    /// Of each id.
    fn histories(changes: &[Change]) -> BTreeMap<i64, History> {
        let mut all: BTreeMap<i64, History> = BTreeMap::new();
        for change in changes {
            all.entry(change.id).or_default().push((change.from_ms, change.value.is_none()));
        }
        all
    }

    #[test]
    fn it_matters_when_one_looks() {
        let (model, mut rng) = (Model::of_size(1, 60_000), ChaCha8Rng::seed_from_u64(1));
        let people = People::new(&model, &mut rng);
        for changes in [catalog(&model, &people, &mut rng), profile_changes(&model, &people, &mut rng)] {
            assert!(changes.is_sorted_by_key(|change| change.from_ms));
            let all = histories(&changes);
            let share = |is_it: &dyn Fn(&History) -> bool| {
                all.values().filter(|history| is_it(history)).count() as f64 / all.len() as f64
            };
            assert!(all.values().all(|history| history.is_sorted_by(|a, b| a.0 < b.0)), "two versions at one time");
            assert!(all.values().all(|history| !history[0].1), "deleted before it was there");
            assert!(share(&|history| history.len() > 1) > 0.3, "that change");
            assert!(share(&|history| history[0].0 >= model.start_ms) > 0.01, "that come later");
            assert!(share(&|history| history.iter().any(|(_, is_deleted)| *is_deleted)) > 0.05, "that are deleted");
            assert!(share(&|history| history.windows(2).any(|pair| pair[0].1 && !pair[1].1)) > 0.005, "that come back");
        }
    }
}
