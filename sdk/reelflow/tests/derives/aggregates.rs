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
    assert_eq!(document["state"], json!({"name": "Watched", "version": 1, "reads": []}));
}
