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
    check(r#"{"flag":true,"type":"x","int":2147483648}"#, Err(r#"row 0: field "int": 2147483648 is out of the range of i32"#));
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
