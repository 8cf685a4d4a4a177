use super::*;

#[derive(Event)]
pub struct Play<'a> {
    title: &'a str,
    n: Option<i64>,
}

/// A state with a value, a list and a map.
#[derive(State, Default)]
#[state(version = 1)]
pub struct Seen {
    n: i64,
    last: Vec<String>,
    by_title: BTreeMap<String, u64>,
}

#[derive(Emit)]
pub struct Row<'a> {
    country: &'a str,
    title: &'a str,
    n: i64,
    at: i64,
}

#[derive(Emit)]
pub struct Summary {
    titles: u64,
    last: String,
    wall: bool,
}

#[derive(Outputs)]
pub enum Either<'a> {
    Rows(Row<'a>),
    Summaries(Summary),
}

#[derive(Config)]
pub struct Everything;

impl Process for Everything {
    type Event<'a> = Play<'a>;
    type State = Seen;
    type Output<'a> = Either<'a>;
    const KEY: &'static [KeyField] = &[KeyField::str("country")];

    fn on_event<'a>(&self, ctx: &mut Context<'a, Either<'a>>, state: &mut Seen, play: Play<'a>) -> Result<(), Reject> {
        state.n += play.n.unwrap_or(0);
        state.last.push(play.title.to_owned());
        *state.by_title.entry(play.title.to_owned()).or_default() += 1;
        ctx.emit(Either::Rows(Row { country: ctx.key().str(), title: play.title, n: state.n, at: ctx.time() }));
        match play.title {
            "set" => ctx.set_timer(Timer::EventTime(ctx.time() + 10)),
            "wall" => ctx.set_timer(Timer::WallTime(ctx.now() + 10)),
            "delete" => ctx.delete_timer(Timer::EventTime(play.n.unwrap_or(0))),
            "forget" => *state = Seen::default(),
            _ => {}
        }
        // Refused only now, so that all of the above must be taken back.
        if play.n == Some(13) { Err("unlucky".into()) } else { Ok(()) }
    }

    fn on_timer<'a>(&self, ctx: &mut Context<'a, Either<'a>>, state: &mut Seen, timer: Timer) -> Result<(), Reject> {
        let last = state.last.pop().ok_or("nothing was seen")?;
        let wall = matches!(timer, Timer::WallTime(_));
        ctx.emit(Either::Summaries(Summary { titles: state.by_title.len() as u64, last, wall }));
        if !ctx.is_end() && state.n > 100 {
            ctx.set_timer(Timer::EventTime(timer.at() + 1));
        }
        Ok(())
    }
}

reelflow::export!(Everything as Process);

#[test]
fn rows_change_the_state_and_set_timers() {
    let mut key = testing::process(&Everything, r#"["NL"]"#);
    let run = key.rows(&[5, 3], r#"{"title":"a","n":2} {"title":"set","n":3}"#);
    let row = |title: &str, n: i64, at: i64| format!(r#"{{"country":"NL","title":"{title}","n":{n},"at":{at}}}"#);
    assert_eq!(run.out("rows"), [row("a", 2, 5), row("set", 5, 3)]);
    assert_eq!(key.timers(), [Timer::EventTime(13)]);
    assert!(key.watermark(12).out("summaries").is_empty());
    assert_eq!(key.watermark(13).out("summaries"), [r#"{"titles":2,"last":"set","wall":false}"#]);
    assert!(key.timers().is_empty());
}

#[test]
fn a_refused_row_leaves_state_rows_and_timers_as_they_were() {
    let mut key = testing::process(&Everything, r#"["NL"]"#);
    let rows = r#"{"title":"set","n":1} {"title":"wall","n":13} {"title":"a","n":2} {"title":"forget","n":13} {"title":"b"}"#;
    let run = key.rows(&[1, 2, 3, 4, 5], rows);
    assert_eq!(run.rejects(), ["row 1: unlucky", "row 3: unlucky"]);
    let last = r#"{"country":"NL","title":"b","n":3,"at":5}"#;
    assert_eq!(run.out("rows")[2], last);
    assert_eq!((run.out("rows").len(), key.timers()), (3, vec![Timer::EventTime(11)]));
}

#[test]
fn a_forgotten_state_begins_anew_and_keeps_its_timers() {
    let mut key = testing::process(&Everything, r#"["NL"]"#);
    let run = key.rows(&[1, 2, 3], r#"{"title":"set","n":1} {"title":"forget"} {"title":"a","n":2}"#);
    assert!(run.out("rows")[2].contains(r#""n":2"#));
    key.rows(&[4], r#"{"title":"forget"}"#);
    assert!(!key.has_state());
    assert_eq!(key.watermark(i64::MAX).rejects(), ["row 0: nothing was seen"]);
    assert!(!key.has_state() && key.timers().is_empty());
}

#[test]
fn timers_follow_both_clocks_and_may_be_deleted() {
    let mut key = testing::process(&Everything, r#"["NL"]"#);
    key.clock(1000);
    key.rows(&[1, 2, 3], r#"{"title":"wall"} {"title":"set"} {"title":"delete","n":12}"#);
    assert_eq!(key.timers(), [Timer::WallTime(1010)]);
    assert!(key.watermark(i64::MAX).out("summaries").is_empty());
    assert_eq!(key.clock(1010).out("summaries"), [r#"{"titles":3,"last":"delete","wall":true}"#]);
}

#[test]
fn a_timer_that_is_due_fires_after_its_batch_and_what_it_sets_too() {
    let mut key = testing::process(&Everything, r#"["NL"]"#);
    key.watermark(12);
    let run = key.rows(&[1, 2], r#"{"title":"set","n":101} {"title":"a"}"#);
    assert_eq!(run.out("summaries").len(), 2, "at 11 and 12");
    assert_eq!(key.timers(), [Timer::EventTime(13)]);
}

#[test]
fn the_document_has_outputs_key_and_state() {
    let document: Value = serde_json::from_str(&reelflow::describe::process::<Everything>()).unwrap();
    assert_eq!(document["kind"], "process");
    assert_eq!(document["outputs"][1]["name"], "summaries");
    assert_eq!(document["key"], json!([{"name": "country", "type": "string"}]));
    assert_eq!(document["state"], json!({"name": "Seen", "version": 1, "reads": []}));
}
