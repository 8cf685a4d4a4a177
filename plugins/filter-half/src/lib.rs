//! What does a filter cost? (For benchmarks.)
//!
//! Input: any topic with `event_id`, `event_ts`, `profile_id` and `title_id`. Output: the same four fields of the rows whose profile id
//! is even. State: none.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Viewed<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
}

#[derive(Emit)]
pub struct Kept<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
}

#[reelflow::transform]
pub fn filter_half<'a>(viewed: Viewed<'a>, out: &mut Out<Kept<'a>>) {
    let Viewed { event_id, event_ts, profile_id, title_id } = viewed;
    if profile_id % 2 == 0 {
        out.emit(Kept { event_id, event_ts, profile_id, title_id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_profiles_pass() {
        let rows: Vec<String> =
            (-2..2).map(|id| format!(r#"{{"event_id":"e{id}","event_ts":1,"profile_id":{id},"title_id":9}}"#)).collect();
        let run = reelflow::testing::transform(&FilterHalf, &rows.join("\n"));
        assert_eq!(run.out("out"), [rows[0].as_str(), rows[2].as_str()]);
    }
}
