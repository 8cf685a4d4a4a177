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
