use reelflow::column::{Column, Packed, Rows, Values};

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
    assert_eq!(document["inputs"][1]["fields"][1], json!({"name": "level", "path": "level", "type": "i64", "required": true}));
}

/// Lets everybody through, and refuses who is alone and has level 0.
#[derive(Config)]
pub struct All;

impl FullJoin for All {
    type Left<'a> = Left;
    type Right<'a> = Right<'a>;
    type Output<'a> = Either<'a>;

    fn pair<'a>(&self, sides: Sides<Left, Right<'a>>, out: &mut Out<Either<'a>>) -> Result<(), Reject> {
        let is_zero = matches!(&sides, Sides::Right(right) if right.level == 0);
        let (left, right) = sides.options();
        out.emit(Either { id: left.map(|left| left.id), name: right.map(|right| right.name) });
        if is_zero { Err("level 0".into()) } else { Ok(()) }
    }
}

#[derive(Emit)]
pub struct Either<'a> {
    id: Option<i64>,
    name: Option<&'a str>,
}

mod full {
    reelflow::export!(super::All as FullJoin);
}

#[test]
fn rows_of_either_side_alone() {
    let right = r#"{"name":"a","level":1} null {"name":"b","level":0} {"name":"c","level":2} {"name":"d","level":0}"#;
    let run = testing::full_join(&All, r#"{"id":1}{"id":2} null null {"id":5}"#, right);
    let out = [r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":null}"#, r#"{"id":null,"name":"c"}"#, r#"{"id":5,"name":"d"}"#];
    assert_eq!(run.out("out"), out);
    assert_eq!(run.rejects(), ["row 2: level 0"]);
}

#[test]
fn a_full_join_that_is_told_of_no_left_bits_has_every_left_row() {
    let ints = |values: &[i64]| Column { values: Values::Ints(values.to_vec()), validity: Vec::new() };
    let mut names = Packed::default();
    ["a", "b"].iter().for_each(|name| names.push(name.as_bytes()));
    let names = Column { values: Values::Bytes(names), validity: Vec::new() };
    let (left, right) = (Rows { len: 2, columns: vec![ints(&[1, 2])] }, Rows { len: 2, columns: vec![names, ints(&[0, 1])] });
    let emitted = reelflow::driver::pair_full(&All, &left, &right, &[0b01]);
    assert_eq!(emitted.rejects, []);
    let rows = &emitted.outputs[0].1;
    assert_eq!(rows.columns[0], ints(&[1, 2]));
    assert_eq!(rows.columns[1].validity, [0b01]);
}

#[test]
fn the_document_says_that_right_rows_come_alone() {
    let of = |document: String| serde_json::from_str::<Value>(&document).unwrap()["right_alone"].clone();
    assert_eq!(of(reelflow::describe::full_join::<All>()), true);
    assert_eq!(of(reelflow::describe::join::<Pairs>()), Value::Null);
}
