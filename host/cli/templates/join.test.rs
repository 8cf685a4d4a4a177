#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_without_an_impression_is_direct() {
        let run = reelflow::testing::join(
            &Source,
            r#"{"profile_id":1,"title_id":70} {"profile_id":2,"title_id":71}"#,
            r#"{"row_type":"genre"} null"#,
        );
        assert_eq!(
            run.out("out"),
            [r#"{"profile_id":1,"title_id":70,"source":"genre"}"#, r#"{"profile_id":2,"title_id":71,"source":"direct"}"#]
        );
    }
}
