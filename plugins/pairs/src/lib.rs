//! Which rows belong together, and which are alone? (For benchmarks, and for joins of all kinds.)
//!
//! Input: on both sides rows with `event_id`, `event_ts` and `profile_id`. Output: the profile, the ids of both, and how long the right row
//! was before the left one; the id of a side that is not there is null. State: none of its own, the host keeps both sides.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Row<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
}

#[derive(Emit)]
pub struct Pair<'a> {
    profile_id: i64,
    left_id: Option<&'a str>,
    right_id: Option<&'a str>,
    age_ms: Option<i64>,
}

#[derive(Config)]
pub struct Pairs;

impl FullJoin for Pairs {
    type Left<'a> = Row<'a>;
    type Right<'a> = Row<'a>;
    type Output<'a> = Pair<'a>;

    fn pair<'a>(&self, sides: Sides<Row<'a>, Row<'a>>, out: &mut Out<Pair<'a>>) -> Result<(), Reject> {
        let (profile_id, age_ms) = match &sides {
            Sides::Both(left, right) => (left.profile_id, Some(left.event_ts - right.event_ts)),
            Sides::Left(row) | Sides::Right(row) => (row.profile_id, None),
        };
        let (left, right) = sides.options();
        let [left_id, right_id] = [left, right].map(|row| row.map(|row| row.event_id));
        out.emit(Pair { profile_id, left_id, right_id, age_ms });
        Ok(())
    }
}

reelflow::export!(Pairs as FullJoin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_may_be_alone() {
        let row = |id: &str, ts: i64| format!(r#"{{"event_id":"{id}","event_ts":{ts},"profile_id":7}}"#);
        let left = format!("{} {} null", row("a", 5), row("b", 6));
        let right = format!("{} null {}", row("x", 2), row("y", 9));
        let run = reelflow::testing::full_join(&Pairs, &left, &right);
        let pair = |left: &str, right: &str, age: &str| {
            format!(r#"{{"profile_id":7,"left_id":{left},"right_id":{right},"age_ms":{age}}}"#)
        };
        let expected = [pair(r#""a""#, r#""x""#, "3"), pair(r#""b""#, "null", "null"), pair("null", r#""y""#, "null")];
        assert_eq!(run.out("out"), expected);
    }
}
