//! What the derives and the drivers make of an author's types.

use std::collections::BTreeMap;

use reelflow::{prelude::*, testing};
use serde_json::{Value, json};

const WINDOW: Window = Window { start: 0, end: 10 };

mod rows {
    use super::*;

    #[derive(Event)]
    pub struct All<'a> {
        flag: bool,
        #[field(name = "type")]
        kind: &'a str,
        #[field(path = "context.page")]
        page: Option<&'a str>,
        small: Option<u8>,
        int: Option<i32>,
        large: Option<u64>,
        float: Option<f64>,
    }

    #[derive(Emit)]
    pub struct Everything<'a> {
        flag: bool,
        #[field(name = "type")]
        kind: &'a str,
        page: Option<String>,
        small: Option<u8>,
        int: Option<i32>,
        large: Option<u64>,
        float: Option<f64>,
    }

    #[reelflow::transform]
    fn copy<'a>(all: All<'a>, out: &mut Out<Everything<'a>>) {
        let All { flag, kind, page, small, int, large, float } = all;
        out.emit(Everything { flag, kind, page: page.map(str::to_owned), small, int, large, float });
    }

    #[track_caller]
    fn check(row: &str, expected: Result<&str, &str>) {
        let run = testing::transform(&Copy, row);
        match expected {
            Ok(expected) => assert_eq!(run.out("out"), [expected]),
            Err(why) => assert_eq!(run.rejects(), [why]),
        }
    }

    #[test]
    fn values_go_through() {
        check(
            r#"{"flag":true,"type":"x","context":{"page":"home"},"small":255,"int":-5,"large":9,"float":2}"#,
            Ok(r#"{"flag":true,"type":"x","page":"home","small":255,"int":-5,"large":9,"float":2.0}"#),
        );
        check(
            r#"{"flag":false,"type":"","context":7}"#,
            Ok(r#"{"flag":false,"type":"","page":null,"small":null,"int":null,"large":null,"float":null}"#),
        );
    }

    #[test]
    fn integers_out_of_range_are_refused() {
        check(r#"{"flag":true,"type":"x","small":256}"#, Err(r#"row 0: field "small": 256 is out of the range of u8"#));
        check(
            r#"{"flag":true,"type":"x","int":2147483648}"#,
            Err(r#"row 0: field "int": 2147483648 is out of the range of i32"#),
        );
        check(r#"{"flag":true,"type":"x","large":-1}"#, Err(r#"row 0: field "large": -1 is out of the range of u64"#));
    }

    #[test]
    fn the_document_lists_the_fields() {
        let document: Value = serde_json::from_str(&reelflow::describe::transform::<Copy>()).unwrap();
        assert_eq!((&document["format"], &document["kind"]), (&json!(1), &json!("transform")));
        let inputs = document["inputs"][0]["fields"].as_array().unwrap();
        assert_eq!(inputs[1], json!({"name": "type", "path": "type", "type": "string", "required": true}));
        assert_eq!(inputs[2], json!({"name": "page", "path": "context.page", "type": "string", "required": false}));
        assert_eq!(document["outputs"][0]["name"], "out");
        assert_eq!(document["outputs"][0]["fields"][6], json!({"name": "float", "type": "f64", "required": false}));
    }
}

mod outputs {
    use super::*;

    #[derive(Event)]
    pub struct Number {
        n: i64,
    }

    #[derive(Emit)]
    pub struct Even {
        half: i64,
    }

    #[derive(Emit)]
    pub struct Odd<'a> {
        n: i64,
        why: &'a str,
    }

    #[derive(Outputs)]
    pub enum Sorted<'a> {
        Out(Even),
        OddNumbers(Odd<'a>),
        #[output(name = "all")]
        Every(Even),
    }

    #[derive(Config)]
    pub struct Limits {
        #[config(default = 100)]
        max: i64,
    }

    #[reelflow::transform]
    pub fn sort<'a>(limits: &Limits, number: Number, out: &mut Out<Sorted<'a>>) -> Result<(), Reject> {
        let n = number.n;
        out.emit(Sorted::Every(Even { half: n / 2 }));
        if n % 2 == 0 {
            out.emit(Sorted::Out(Even { half: n / 2 }))
        } else {
            out.emit(Sorted::OddNumbers(Odd { n, why: "odd" }))
        }
        // Refused only now: what was emitted must be taken back.
        if n > limits.max { Err(Reject::from("too large").with_code(3)) } else { Ok(()) }
    }

    #[test]
    fn each_row_goes_to_its_output_and_a_refused_one_to_none() {
        let sort = testing::configure::<Sort>("{}").unwrap();
        let run = testing::transform(&sort, r#"{"n":1}{"n":200}{"n":2}{"n":201}{"n":3}"#);
        assert_eq!(run.out("out"), [r#"{"half":1}"#]);
        assert_eq!(run.out("odd_numbers"), [r#"{"n":1,"why":"odd"}"#, r#"{"n":3,"why":"odd"}"#]);
        assert_eq!(run.out("all"), [r#"{"half":0}"#, r#"{"half":1}"#, r#"{"half":1}"#]);
        assert_eq!(run.rejects(), ["row 1: too large", "row 3: too large"]);
    }

    #[test]
    fn settings_reach_the_function() {
        let sort = testing::configure::<Sort>(r#"{"max":1}"#).unwrap();
        assert_eq!(testing::transform(&sort, r#"{"n":2}"#).rejects(), ["row 0: too large"]);
    }
}

mod aggregates {
    use super::*;

    #[derive(Event)]
    pub struct Play<'a> {
        title: &'a str,
        ms: i64,
    }

    #[derive(State, Default)]
    #[state(version = 1)]
    pub struct Watched {
        ms_by_title: BTreeMap<String, i64>,
        n_rows: u64,
    }

    /// Borrows from the state and from the key.
    #[derive(Emit)]
    pub struct Total<'a> {
        country: &'a str,
        hd: bool,
        title: &'a str,
        ms: i64,
        n_rows: u64,
    }

    #[derive(Config)]
    pub struct Watch;

    impl Aggregate for Watch {
        type Event<'a> = Play<'a>;
        type State = Watched;
        type Output<'a> = Total<'a>;
        const KEY: &'static [KeyField] = &[KeyField::str("country"), KeyField::bool("hd")];

        fn add(&self, state: &mut Watched, play: Play<'_>) -> Result<(), Reject> {
            // Changes the state before it refuses: the SDK must undo it.
            state.n_rows += 1;
            *state.ms_by_title.entry(play.title.to_owned()).or_default() += play.ms;
            if play.ms < 0 { Err("negative ms".into()) } else { Ok(()) }
        }

        fn merge(&self, into: &mut Watched, from: Watched) {
            into.n_rows += from.n_rows;
            for (title, ms) in from.ms_by_title {
                *into.ms_by_title.entry(title).or_default() += ms;
            }
        }

        fn emit<'a>(&self, _: Window, key: Key<'a>, state: &'a Watched, out: &mut Out<Total<'a>>) {
            for (title, ms) in &state.ms_by_title {
                out.emit(Total { country: key.str(), hd: key.at(1).bool(), title, ms: *ms, n_rows: state.n_rows });
            }
        }
    }

    reelflow::export!(Watch as Aggregate);

    /// `rows` are (title, ms), of which the negative ones are refused.
    #[track_caller]
    fn check(rows: &[(&str, i64)], expected: &[(&str, i64, u64)]) {
        let json: String = rows.iter().map(|(title, ms)| format!(r#"{{"title":"{title}","ms":{ms}}}"#)).collect();
        let run = testing::aggregate(&Watch, WINDOW, r#"["NL",true]"#, &json);
        let expected: Vec<_> = expected
            .iter()
            .map(|(title, ms, n_rows)| format!(r#"{{"country":"NL","hd":true,"title":"{title}","ms":{ms},"n_rows":{n_rows}}}"#))
            .collect();
        assert_eq!(run.out("out"), expected);
        let refused = rows.iter().enumerate().filter(|(_, (_, ms))| *ms < 0);
        assert_eq!(run.rejects(), refused.map(|(row, _)| format!("row {row}: negative ms")).collect::<Vec<_>>());
    }

    #[test]
    fn a_refused_row_leaves_the_state_as_it_was() {
        check(&[("a", 1), ("b", -1), ("a", 2)], &[("a", 3, 2)]);
        check(&[("x", -1), ("a", 1)], &[("a", 1, 1)]);
        check(&[("a", 1), ("x", -1), ("y", -2), ("b", 5), ("a", -3), ("b", 1), ("z", -1)], &[("a", 1, 3), ("b", 6, 3)]);
        check(&[("x", -1), ("y", -1)], &[]);
    }

    #[test]
    fn each_row_is_added_at_most_twice_however_many_are_refused() {
        use reelflow::{
            column::{Builder, FieldType, Packed, Rows},
            driver,
        };
        thread_local!(static CALLS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

        #[derive(Config)]
        struct Counting;
        impl Aggregate for Counting {
            type Event<'a> = Number;
            type State = Watched;
            type Output<'a> = Total<'a>;
            fn add(&self, state: &mut Watched, number: Number) -> Result<(), Reject> {
                CALLS.set(CALLS.get() + 1);
                state.n_rows += 1;
                if number.n % 2 == 0 { Err("even".into()) } else { Ok(()) }
            }
            fn merge(&self, _: &mut Watched, _: Watched) {}
            fn emit<'a>(&self, _: Window, _: Key<'a>, _: &'a Watched, _: &mut Out<Total<'a>>) {}
        }
        #[derive(Event)]
        struct Number {
            n: i64,
        }

        let mut column = Builder::new(FieldType::Int);
        (0..1_000).for_each(|n| column.push_int(n));
        let rows = Rows { len: 1_000, columns: vec![column.finish()] };
        let mut states = Packed::default();
        states.push(b"");
        let added = driver::add(&Counting, &rows, &[1_000], &states);
        assert_eq!(added.rejects.len(), 500);
        assert_eq!(reelflow::state::decode::<Watched>(added.states.at(0)).unwrap().n_rows, 500);
        assert!(CALLS.get() <= 2_000, "{} calls of add for 1000 rows", CALLS.get());
    }

    #[test]
    fn the_document_lists_key_and_state() {
        let document: Value = serde_json::from_str(&reelflow::describe::aggregate::<Watch>()).unwrap();
        assert_eq!(document["kind"], "aggregate");
        assert_eq!(document["key"], json!([{"name": "country", "type": "string"}, {"name": "hd", "type": "bool"}]));
        assert_eq!(document["state"], json!({"name": "Watched", "version": 1}));
    }
}

mod joins {
    use super::*;

    #[derive(Event)]
    pub struct Left {
        id: i64,
    }

    #[derive(Event)]
    pub struct Right<'a> {
        name: &'a str,
        level: u8,
    }

    #[derive(Emit)]
    pub struct Both<'a> {
        id: i64,
        name: Option<&'a str>,
    }

    #[derive(Config)]
    pub struct Pairs;

    impl Join for Pairs {
        type Left<'a> = Left;
        type Right<'a> = Right<'a>;
        type Output<'a> = Both<'a>;

        fn pair<'a>(&self, left: Left, right: Option<Right<'a>>, out: &mut Out<Both<'a>>) -> Result<(), Reject> {
            out.emit(Both { id: left.id, name: right.as_ref().map(|right| right.name) });
            if right.is_some_and(|right| right.level == 0) { Err("level 0".into()) } else { Ok(()) }
        }
    }

    reelflow::export!(Pairs as Join);

    #[test]
    fn pairs_and_lonely_rows() {
        let right = r#"{"name":"a","level":1} null {"name":"b","level":0} {"name":"c","level":300}"#;
        let run = testing::join(&Pairs, r#"{"id":1}{"id":2}{"id":3}{"id":4}"#, right);
        assert_eq!(run.out("out"), [r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":null}"#]);
        assert_eq!(run.rejects(), ["row 2: level 0", "row 3: field \"level\": 300 is out of the range of u8"]);
    }

    #[test]
    fn the_document_has_both_sides() {
        let document: Value = serde_json::from_str(&reelflow::describe::join::<Pairs>()).unwrap();
        assert_eq!(document["inputs"][0]["fields"][0]["name"], "id");
        assert_eq!(
            document["inputs"][1]["fields"][1],
            json!({"name": "level", "path": "level", "type": "i64", "required": true})
        );
    }
}

mod configs {
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
        check(
            r#"{"top":3,"topp":4}"#,
            r#""topp" is unknown: the settings are "top", "min-share", "countries", "limits", "weights""#,
        );
        check(r#"{"top":3,"countries":["a",7]}"#, r#""countries.1" must be a string, not an integer"#);
        check(r#"{"top":3,"limits":{"max":1}}"#, r#""limits.strict" is missing"#);
        check(r#"{"top":3,"limits":{"max":1,"strict":0}}"#, r#""limits.strict" must be true or false, not an integer"#);
        check(r#"{"top":0}"#, r#""top" must not be 0"#);
        check("[]", "must be an object, not a list");
        check("{", "config is not JSON: expected a string at byte 1");
        assert_eq!(testing::configure::<NoSettings>(r#"{"a":1}"#), Err(r#""a" is unknown: there are no settings"#.to_owned()));
    }
}

mod states {
    use super::*;
    use reelflow::state;

    #[derive(State, Default)]
    #[state(version = 1)]
    struct V1 {
        plays: u64,
    }

    #[derive(State, Debug, PartialEq)]
    #[state(version = 3, migrate(1 => from_v1))]
    struct V3 {
        plays: u64,
        country: String,
    }

    fn from_v1(old: V1) -> V3 {
        V3 { plays: old.plays, country: "unknown".to_owned() }
    }

    #[test]
    fn old_versions_are_migrated_and_unknown_ones_refused() {
        let mut bytes = Vec::new();
        state::encode(&V1 { plays: 5 }, &mut bytes);
        assert_eq!(state::decode(&bytes), Ok(V3 { plays: 5, country: "unknown".to_owned() }));
        bytes[0] = 2;
        let error = state::decode::<V3>(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "state \"V3\" has version 2, this plugin reads version 3");
    }

    #[test]
    fn damaged_bytes_are_refused_before_they_cost_memory() {
        #[derive(State, Debug, PartialEq)]
        #[state(version = 1)]
        struct Lists {
            list: Vec<u64>,
            set: std::collections::BTreeSet<u64>,
        }
        #[track_caller]
        fn check(bytes: &[u8], why: &str) {
            assert_eq!(state::decode::<Lists>(bytes).unwrap_err().to_string(), format!("state bytes are damaged: {why}"));
        }
        check(&[], "too short");
        check(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f], "a length");
        check(&[1, 0, 2, 7, 7], "a set");
        check(&[1, 0, 2, 7, 6], "a set");
        check(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0], "an integer");
    }
}
