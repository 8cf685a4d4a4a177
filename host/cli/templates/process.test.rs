#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_with_the_last_play() {
        let mut profile = reelflow::testing::process(&Silences, "[7]");
        let run = profile.rows(&[0, 50_000, 1], r#"{"title_id":70} {"title_id":71} {"title_id":-1}"#);
        assert_eq!(run.rejects(), ["row 2: not a play"]);
        assert!(profile.watermark(109_999).out("out").is_empty());
        assert_eq!(profile.watermark(110_000).out("out"), [r#"{"profile_id":7,"since":50000,"plays":2}"#]);
    }
}
