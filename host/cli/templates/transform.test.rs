#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_television_weighs_more() {
        let run = reelflow::testing::transform(
            &Signals,
            r#"{"profile_id":1,"title_id":70,"device":"tv"} {"profile_id":2,"title_id":70} {"profile_id":-1,"title_id":70}"#,
        );
        assert_eq!(
            run.out("out"),
            [
                r#"{"profile_id":1,"title_id":70,"device":"tv","weight":1.0}"#,
                r#"{"profile_id":2,"title_id":70,"device":"unknown","weight":0.5}"#
            ]
        );
        assert_eq!(run.rejects(), ["row 2: not a profile"]);
    }
}
