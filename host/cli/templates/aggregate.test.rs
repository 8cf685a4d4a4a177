#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_counts_once() {
        let window = Window { start: 0, end: 60_000 };
        let run = reelflow::testing::aggregate(&Titles, window, "[70]", r#"{"profile_id":1} {"profile_id":1} {"profile_id":2} {"profile_id":-1}"#);
        assert_eq!(run.out("out"), [r#"{"title_id":70,"window_start":0,"plays":3,"viewers":2}"#]);
        assert_eq!(run.rejects(), ["row 3: not a profile"]);
    }
}
