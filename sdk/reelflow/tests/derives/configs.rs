use super::*;

#[derive(Config, Debug, PartialEq)]
#[config(check = Self::check)]
struct Settings {
    top: u8,
    #[config(name = "min-share", default = 0.5)]
    min_share: f64,
    #[config(default)]
    countries: Vec<String>,
    limits: Option<Limits>,
    #[config(default)]
    weights: BTreeMap<String, f64>,
}

#[derive(Config, Debug, PartialEq)]
struct Limits {
    max: i64,
    strict: bool,
}

#[derive(Config, Debug, PartialEq)]
struct NoSettings;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if self.top == 0 { Err("\"top\" must not be 0".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn settings_are_read_or_default() {
    let full = r#"{"top":3,"min-share":1,"countries":["NL"],"limits":{"max":-1,"strict":true},"weights":{"a":0.5}}"#;
    let expected = Settings {
        top: 3,
        min_share: 1.0,
        countries: vec!["NL".to_owned()],
        limits: Some(Limits { max: -1, strict: true }),
        weights: [("a".to_owned(), 0.5)].into(),
    };
    assert_eq!(testing::configure(full), Ok(expected));
    let bare = Settings { top: 3, min_share: 0.5, countries: vec![], limits: None, weights: BTreeMap::new() };
    assert_eq!(testing::configure(r#"{"top":3,"limits":null}"#), Ok(bare));
    assert_eq!(testing::configure("{}"), Ok(NoSettings));
}

#[test]
fn what_is_wrong_is_named() {
    #[track_caller]
    fn check(config: &str, why: &str) {
        assert_eq!(testing::configure::<Settings>(config), Err(why.to_owned()));
    }
    check("{}", r#""top" is missing"#);
    check(r#"{"top":"3"}"#, r#""top" must be an integer, not a string"#);
    check(r#"{"top":256}"#, r#""top" must be from 0 to 255, not 256"#);
    check(r#"{"top":1.5}"#, r#""top" must be an integer, not a float"#);
    check(r#"{"top":3,"topp":4}"#, r#""topp" is unknown: the settings are "top", "min-share", "countries", "limits", "weights""#);
    check(r#"{"top":3,"countries":["a",7]}"#, r#""countries.1" must be a string, not an integer"#);
    check(r#"{"top":3,"limits":{"max":1}}"#, r#""limits.strict" is missing"#);
    check(r#"{"top":3,"limits":{"max":1,"strict":0}}"#, r#""limits.strict" must be true or false, not an integer"#);
    check(r#"{"top":0}"#, r#""top" must not be 0"#);
    check("[]", "must be an object, not a list");
    check("{", "config is not JSON: expected a string at byte 1");
    assert_eq!(testing::configure::<NoSettings>(r#"{"a":1}"#), Err(r#""a" is unknown: there are no settings"#.to_owned()));
}
