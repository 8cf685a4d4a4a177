//! What decides the results of a stage: state that was made by other terms would give a mixture that no batch job gives.
//!
//! Terms are stored as text beside the state, so that a refusal can say what was changed. The plugin is none of them, nor is what
//! feeds the stage: both may be replaced. Whether a new plugin can read the old state is told by its versions (`versions`).

use crate::{
    plan::{Emission, GlobalWindow, Matching, Retime, StageKind, StagePlan, WindowSpec},
    schema::Schema,
    stage::{aggregate::combine::MadeBy, join::kept_columns},
    state::{ByteWriter, ChangeReader, StateError},
    time::duration_text,
};

/// Terms by which rows find the task that keeps what they belong to. Rows that were sent by other ones are under way: a stage that begins anew may
/// have other terms than before, but not these.
const PLACES: [&str; 8] = ["kind", "key", "id", "left_key", "right_key", "on", "key of the table", "broadcast"];

/// A term that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherTerm {
    pub term: &'static str,
    pub was: String,
    pub is: String,
}

/// Whether a stage that begins anew may have another one.
pub(crate) fn may_change_with_a_reset(term: &str) -> bool {
    !PLACES.contains(&term)
}

/// What is not the same in two plans of a stage, in the order of its terms.
pub(crate) fn other_terms(was: &StagePlan, is: &StagePlan) -> Vec<OtherTerm> {
    let was = Terms::of(was);
    Terms::of(is).others(was.0.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// Terms by which rows are added up before a shuffle.
const OF_PARTIALS: [&str; 3] = ["key", "window", "lateness"];

/// What a partial state says of who made it, by the plan of its stage.
pub(super) fn made_by(stage: &StagePlan) -> MadeBy {
    let mut crc = crc32fast::Hasher::new();
    for (term, value) in Terms::of(stage).0.iter().filter(|(term, _)| OF_PARTIALS.contains(term)) {
        crc.update(term.as_bytes());
        crc.update(&[0]);
        crc.update(value.as_bytes());
        crc.update(&[0]);
    }
    let (state, version) = stage.state.as_ref().map_or_else(Default::default, |state| (state.name.clone(), state.version));
    MadeBy { state, version, terms: crc.finalize() }
}

/// Whether `stage` can go on with a partial state, or why not.
pub(super) fn can_take(stage: &StagePlan, made: &MadeBy) -> Result<(), String> {
    let own = made_by(stage);
    if made.terms != own.terms {
        let what = "rows are under way that were added up by another key, window or lateness";
        return Err(format!("{what}; run the old manifest until they are through"));
    }
    let is_read = match &stage.state {
        Some(state) => state.can_read(&made.state, made.version),
        None => made.state.is_empty(),
    };
    if is_read {
        return Ok(());
    }
    let reads = stage.state.as_ref().map_or_else(|| "no state".to_owned(), ToString::to_string);
    let what =
        format!("rows are under way that were added up to state {} {}, the plugin reads {reads}", made.state, made.version);
    Err(format!("{what}; run the old plugin until they are through"))
}

/// (what manifests call it, its value), beginning with the kind of the stage, which decides which others there are.
#[derive(Debug)]
pub(super) struct Terms(Vec<(&'static str, String)>);

impl Terms {
    pub fn of(stage: &StagePlan) -> Terms {
        let mut terms = Vec::new();
        match &stage.kind {
            StageKind::Transform { .. } => terms.push(("kind", "transform".to_owned())),
            StageKind::Dedup { id, horizon_ms } => {
                terms.push(("kind", "dedup".to_owned()));
                terms.push(("id", fields_text(&stage.inputs[0], &[*id])));
                terms.push(("horizon", duration_text(*horizon_ms)));
            }
            StageKind::Aggregate { key, window, lateness_ms, emission, early_ms: _, plugin: _, columns: _ } => {
                // When results are told before their windows end is nothing that states know of.
                terms.push(("kind", "aggregate".to_owned()));
                terms.push(("key", fields_text(&stage.inputs[0], key)));
                terms.push(("window", window_text(window, &stage.inputs[0])));
                terms.push(("lateness", duration_text(*lateness_ms)));
                terms.push(("emit", emission_text(*emission)));
            }
            StageKind::Join { .. } => of_join(stage, &mut terms),
            StageKind::Lookup { .. } => of_lookup(stage, &mut terms),
            StageKind::Process { key, lateness_ms, state_ttl_ms, plugin: _, columns: _ } => {
                terms.push(("kind", "process".to_owned()));
                terms.push(("key", fields_text(&stage.inputs[0], key)));
                terms.push(("lateness", or_none(*lateness_ms)));
                terms.push(("state_ttl", or_none(*state_ttl_ms)));
            }
        }
        if let Some(Retime { columns, behind_ms }) = &stage.retime {
            let names: Vec<&str> =
                stage.outputs.iter().zip(columns).map(|(output, column)| output.schema.fields[*column].name.as_str()).collect();
            terms.push(("event_time", format!("{}, behind {}", names.join(", "), duration_text(*behind_ms))));
        }
        Terms(terms)
    }

    pub fn write(&self, to: &mut ByteWriter) {
        to.varint(self.0.len() as u64);
        for (name, value) in &self.0 {
            to.bytes(name.as_bytes());
            to.bytes(value.as_bytes());
        }
    }

    /// Reads what [`Terms::write`] wrote. Those that are not the same, in their order.
    pub fn read_others(&self, from: &mut ChangeReader<'_>) -> Result<Vec<OtherTerm>, StateError> {
        let mut written = Vec::new();
        for _ in 0..from.varint()? {
            written.push((from.bytes()?, from.bytes()?));
        }
        Ok(self.others(written.iter().copied()))
    }

    /// What is not as it is among `written`: names and values.
    fn others<'a>(&self, written: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<OtherTerm> {
        let other = |(term, is): &(&'static str, String)| {
            let was = written.clone().find(|(name, _)| *name == term.as_bytes()).map_or(&b"nothing"[..], |(_, value)| value);
            let was = String::from_utf8_lossy(was).into_owned();
            (was != *is).then(|| OtherTerm { term, was, is: is.clone() })
        };
        self.0.iter().filter_map(other).collect()
    }
}

impl OtherTerm {
    pub(crate) fn refused(self, stage: &str) -> StateError {
        let OtherTerm { term, was, is } = self;
        StateError::OtherTerms { stage: stage.to_owned(), term, was, is }
    }
}

/// `(name: type, …)`. Not whether they are required: null has its own place in stored keys and rows.
fn of_join(stage: &StagePlan, terms: &mut Vec<(&'static str, String)>) {
    let StageKind::Join {
        plugin: _,
        left_columns: _,
        right_columns,
        left_key,
        right_key,
        matching,
        tie,
        join,
        lateness_ms,
        emission,
    } = &stage.kind
    else {
        unreachable!("stage \"{}\" is no join", stage.name);
    };
    let [left, right] = &stage.inputs[..] else { unreachable!("a join has two inputs") };
    terms.push(("kind", "join".to_owned()));
    terms.push(("left_key", fields_text(left, left_key)));
    terms.push(("right_key", fields_text(right, right_key)));
    // Waiting rows are kept without their names; those that can die without a partner whole, for dead letters.
    let kept = kept_columns(&stage.inputs, right_columns, join.keeps_right());
    terms.push(("fields of the left", fields_text(left, &kept[0])));
    terms.push(("fields of the right", fields_text(right, &kept[1])));
    terms.push(("match", matching_text(matching)));
    match matching {
        Matching::LatestBefore { within_ms } | Matching::All { within_ms, .. } => {
            terms.push(("within", duration_text(*within_ms)));
        }
        Matching::Window(window) => terms.push(("window", window_text(window, left))),
    }
    terms.push(("tie", fields_text(right, tie.as_slice())));
    terms.push(("join", join.name().to_owned()));
    terms.push(("lateness", duration_text(*lateness_ms)));
    terms.push(("emit", emission_text(*emission)));
}

fn of_lookup(stage: &StagePlan, terms: &mut Vec<(&'static str, String)>) {
    let StageKind::Lookup {
        plugin: _,
        left_columns: _,
        right_columns,
        left_key,
        right_key,
        deleted: _,
        outer,
        is_broadcast,
        lateness_ms,
    } = &stage.kind
    else {
        unreachable!("stage \"{}\" is no lookup", stage.name);
    };
    let [left, right] = &stage.inputs[..] else { unreachable!("a lookup has two inputs") };
    let all: Vec<usize> = (0..left.len()).collect();
    terms.push(("kind", "lookup".to_owned()));
    terms.push(("on", fields_text(left, left_key)));
    terms.push(("key of the table", fields_text(right, right_key)));
    terms.push(("broadcast", is_broadcast.to_string()));
    // Rows that wait, and versions, are kept without their names.
    terms.push(("fields of the rows", fields_text(left, &all)));
    terms.push(("fields of the table", fields_text(right, right_columns)));
    terms.push(("join", if *outer { "left" } else { "inner" }.to_owned()));
    terms.push(("lateness", or_none(*lateness_ms)));
}

fn fields_text(schema: &Schema, columns: &[usize]) -> String {
    let fields = columns.iter().map(|column| &schema.fields[*column]);
    let texts: Vec<String> = fields.map(|field| format!("{}: {}", field.name, field.field_type.name())).collect();
    format!("({})", texts.join(", "))
}

fn or_none(ms: Option<i64>) -> String {
    ms.map_or("none".to_owned(), duration_text)
}

fn window_text(window: &WindowSpec, input: &Schema) -> String {
    match window {
        WindowSpec::Tumbling { size_ms, offset_ms } => {
            format!("tumbling {}, offset {}", duration_text(*size_ms), duration_text(*offset_ms))
        }
        // The rules too: where they were changed, windows in the state may begin elsewhere.
        WindowSpec::Local(windows) => {
            let [size, slide, offset] = [windows.size_ms(), windows.slide_ms(), windows.offset_ms()].map(duration_text);
            let kind = if size == slide { format!("tumbling {size}") } else { format!("hopping {size} every {slide}") };
            let zone = windows.zone();
            format!("{kind}, offset {offset}, time zone {} with rules {:016x}", zone.name(), zone.fingerprint())
        }
        WindowSpec::Hopping { size_ms, slide_ms, offset_ms } => {
            let [size, slide, offset] = [*size_ms, *slide_ms, *offset_ms].map(duration_text);
            format!("hopping {size} every {slide}, offset {offset}")
        }
        WindowSpec::Session { gap_ms, cuts } => {
            let end = cuts.end.map(|column| format!(", end {}", input.fields[column].name));
            let rows = cuts.rows_max.map(|max| format!(", at most {max} rows"));
            let length = cuts.length_ms_max.map(|max| format!(", at most {}", duration_text(max)));
            let cuts: String = [end, rows, length].into_iter().flatten().collect();
            format!("session with a gap of {}{cuts}", duration_text(*gap_ms))
        }
        WindowSpec::Global(GlobalWindow { every_rows, every_ms, clear, idle_ms }) => {
            let rows = every_rows.map(|n_rows| format!(", every {n_rows} rows"));
            let every = every_ms.map(|every_ms| format!(", every {}", duration_text(every_ms)));
            let triggers: String = [rows, every].into_iter().flatten().collect();
            let clear = if *clear { ", cleared" } else { "" };
            format!("global{triggers}{clear}, idle {}", duration_text(*idle_ms))
        }
    }
}

fn matching_text(matching: &Matching) -> String {
    match matching {
        Matching::LatestBefore { .. } => "latest-before".to_owned(),
        Matching::All { after_ms, .. } => format!("all, after {}", duration_text(*after_ms)),
        Matching::Window(_) => "window".to_owned(),
    }
}

fn emission_text(emission: Emission) -> String {
    match emission {
        Emission::Final => "final",
        Emission::Upsert => "upsert",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::{
        plan::{Failing, JoinKind, SessionCuts},
        schema::{Field, FieldType},
        window::local::LocalWindows,
        zone::Zone,
    };

    fn checked(was: &StageKind, is: &StageKind) -> Result<(), String> {
        let field = |name: &str| Field { name: name.into(), path: name.into(), field_type: FieldType::Int, required: true };
        let schema = Schema { fields: ["a", "b"].map(field).into() };
        let terms = |kind: &StageKind| {
            let inputs = vec![schema.clone(); 2];
            let (name, outputs) = ("tested".into(), Vec::new());
            Terms::of(&StagePlan {
                name,
                fragment: 0,
                inputs,
                kind: kind.clone(),
                outputs,
                state: None,
                retime: None,
                failing: Failing::STANDARD,
                late_topic: None,
                union: Vec::new(),
            })
        };
        let mut bytes = ByteWriter::default();
        terms(was).write(&mut bytes);
        let bytes = bytes.into_bytes();
        let mut reader = ChangeReader::new(&bytes);
        let others = terms(is).read_others(&mut reader).expect("it was just written");
        others.into_iter().next().map_or(Ok(()), |other| Err(other.refused("tested").to_string()))
    }

    #[test]
    fn the_first_term_that_changed_is_named() {
        let aggregate = |plugin, key: &[usize], window, lateness_ms, emission| StageKind::Aggregate {
            plugin,
            columns: vec![plugin],
            key: key.to_vec(),
            window,
            lateness_ms,
            emission,
            early_ms: None,
        };
        let hour = || WindowSpec::Tumbling { size_ms: 3_600_000, offset_ms: 0 };
        let half = || WindowSpec::Tumbling { size_ms: 1_800_000, offset_ms: 0 };
        let session = |cuts| WindowSpec::Session { gap_ms: 300_000, cuts };
        let was = aggregate(0, &[0], hour(), 0, Emission::Final);
        assert_eq!(checked(&was, &was), Ok(()));
        assert_eq!(
            checked(&was, &aggregate(1, &[0], hour(), 0, Emission::Final)),
            Ok(()),
            "another plugin may read other fields"
        );
        let hopping = WindowSpec::Hopping { size_ms: 3_600_000, slide_ms: 60_000, offset_ms: 0 };
        let shifted = WindowSpec::Tumbling { size_ms: 3_600_000, offset_ms: 1_800_000 };
        for (is, says) in [
            (
                aggregate(0, &[0], half(), 0, Emission::Final),
                "window = tumbling 1h, offset 0s, now it is tumbling 30m, offset 0s",
            ),
            (
                aggregate(0, &[0], hopping, 0, Emission::Final),
                "window = tumbling 1h, offset 0s, now it is hopping 1h every 1m, offset 0s",
            ),
            (
                aggregate(0, &[0], shifted, 0, Emission::Final),
                "window = tumbling 1h, offset 0s, now it is tumbling 1h, offset 30m",
            ),
            (
                aggregate(0, &[0], session(SessionCuts::NONE), 0, Emission::Final),
                "window = tumbling 1h, offset 0s, now it is session with a gap of 5m",
            ),
            (
                aggregate(
                    0,
                    &[0],
                    session(SessionCuts { end: Some(1), rows_max: Some(9), length_ms_max: Some(86_400_000) }),
                    0,
                    Emission::Final,
                ),
                "window = tumbling 1h, offset 0s, now it is session with a gap of 5m, end b, at most 9 rows, at most 1d",
            ),
            (aggregate(0, &[1], hour(), 0, Emission::Final), "key = (a: i64), now it is (b: i64)"),
            (aggregate(0, &[0, 1], half(), 0, Emission::Final), "key = (a: i64), now it is (a: i64, b: i64)"),
            (aggregate(0, &[0], hour(), 1, Emission::Final), "lateness = 0s, now it is 1ms"),
            (aggregate(0, &[0], hour(), 0, Emission::Upsert), "emit = final, now it is upsert"),
            (StageKind::Dedup { id: 0, horizon_ms: 1 }, "kind = aggregate, now it is dedup"),
        ] {
            assert_eq!(checked(&was, &is), Err(format!("stage \"tested\" had {says}")));
        }
    }

    #[test]
    fn what_tells_a_global_window_is_one_of_its_terms() {
        let global = |every_rows, every_ms, clear| StageKind::Aggregate {
            plugin: 0,
            columns: vec![],
            key: vec![0],
            window: WindowSpec::Global(GlobalWindow { every_rows, every_ms, clear, idle_ms: 86_400_000 }),
            lateness_ms: 0,
            emission: if clear { Emission::Final } else { Emission::Upsert },
            early_ms: None,
        };
        let was = global(Some(9), None, false);
        assert_eq!(checked(&was, &was), Ok(()));
        let refused = checked(&was, &global(Some(9), Some(60_000), true)).unwrap_err();
        let said = "window = global, every 9 rows, idle 1d, now it is global, every 9 rows, every 1m, cleared, idle 1d";
        assert_eq!(refused, format!("stage \"tested\" had {said}"));
    }

    #[test]
    fn other_rules_of_a_time_zone_are_other_windows() {
        let in_zone = |name: &str, offset_ms, size_ms| {
            let zone = Arc::new(Zone::new(name, offset_ms, Vec::new()));
            let windows = LocalWindows::new(zone, size_ms, 86_400_000, 18_000_000);
            let window = WindowSpec::Local(Arc::new(windows));
            StageKind::Aggregate {
                plugin: 0,
                columns: vec![],
                key: vec![0],
                window,
                lateness_ms: 0,
                emission: Emission::Final,
                early_ms: None,
            }
        };
        let was = in_zone("Asia/Kolkata", 19_800_000, 86_400_000);
        assert_eq!(checked(&was, &was), Ok(()));
        let refused = |is| checked(&was, &is).unwrap_err();
        let text = refused(in_zone("Asia/Kolkata", 19_801_000, 86_400_000));
        let said = "stage \"tested\" had window = tumbling 1d, offset 5h, time zone Asia/Kolkata with rules ";
        assert!(text.starts_with(said), "{text}");
        assert!(refused(in_zone("Asia/Colombo", 19_800_000, 86_400_000)).contains("time zone Asia/Colombo"));
        let week = refused(in_zone("Asia/Kolkata", 19_800_000, 7 * 86_400_000));
        assert!(week.contains("now it is hopping 7d every 1d, offset 5h, time zone Asia/Kolkata with rules "), "{week}");
    }

    #[test]
    fn a_process_keeps_its_key_its_lateness_and_its_time_to_live() {
        let process = |plugin, key: &[usize], lateness_ms, state_ttl_ms| StageKind::Process {
            plugin,
            columns: vec![plugin],
            key: key.to_vec(),
            lateness_ms,
            state_ttl_ms,
        };
        let was = process(0, &[0], None, Some(1000));
        assert_eq!(checked(&was, &process(1, &[0], None, Some(1000))), Ok(()), "another plugin may read other fields");
        for (is, says) in [
            (process(0, &[1], None, Some(1000)), "key = (a: i64), now it is (b: i64)"),
            (process(0, &[0], Some(0), Some(1000)), "lateness = none, now it is 0s"),
            (process(0, &[0], None, None), "state_ttl = 1s, now it is none"),
        ] {
            assert_eq!(checked(&was, &is), Err(format!("stage \"tested\" had {says}")));
        }
    }

    #[test]
    fn a_lookup_keeps_its_table_where_it_is() {
        let lookup = |outer, is_broadcast, lateness_ms| StageKind::Lookup {
            plugin: 0,
            left_columns: Vec::new(),
            right_columns: vec![0],
            left_key: vec![1],
            right_key: vec![1],
            deleted: 0,
            outer,
            is_broadcast,
            lateness_ms,
        };
        let was = lookup(false, false, None);
        assert_eq!(checked(&was, &was), Ok(()));
        for (is, says) in [
            (lookup(false, true, None), "broadcast = false, now it is true"),
            (lookup(true, false, None), "join = inner, now it is left"),
            (lookup(false, false, Some(1000)), "lateness = none, now it is 1s"),
        ] {
            assert_eq!(checked(&was, &is), Err(format!("stage \"tested\" had {says}")));
        }
    }

    #[test]
    fn a_join_may_not_read_its_waiting_rows_as_other_fields() {
        let join = |right_columns: &[usize], tie, join, matching| StageKind::Join {
            plugin: 0,
            left_columns: vec![0],
            right_columns: right_columns.to_vec(),
            left_key: vec![0],
            right_key: vec![1],
            matching,
            tie,
            join,
            lateness_ms: 0,
            emission: Emission::Final,
        };
        let latest = || Matching::LatestBefore { within_ms: 1000 };
        let all = |within_ms, after_ms| Matching::All { within_ms, after_ms };
        let window = |size_ms| Matching::Window(WindowSpec::Tumbling { size_ms, offset_ms: 0 });
        let inner = |matching| join(&[0], None, JoinKind::Inner, matching);
        for (was, is, says) in [
            (inner(latest()), inner(all(1000, 0)), "match = latest-before, now it is all, after 0s"),
            (inner(latest()), join(&[1], None, JoinKind::Inner, latest()), "fields of the right = (a: i64), now it is (b: i64)"),
            (inner(latest()), join(&[0], Some(1), JoinKind::Inner, latest()), "tie = (), now it is (b: i64)"),
            (inner(latest()), join(&[0], None, JoinKind::Left, latest()), "join = inner, now it is left"),
            (inner(all(1000, 0)), inner(all(1000, 1)), "match = all, after 0s, now it is all, after 1ms"),
            (inner(all(1000, 0)), inner(all(1001, 0)), "within = 1s, now it is 1001ms"),
            (inner(all(1000, 0)), inner(window(1000)), "match = all, after 0s, now it is window"),
            (inner(window(1000)), inner(window(2000)), "window = tumbling 1s, offset 0s, now it is tumbling 2s, offset 0s"),
            (
                join(&[0], None, JoinKind::Left, window(1000)),
                join(&[0], None, JoinKind::Full, window(1000)),
                "fields of the right = (a: i64), now it is (a: i64, b: i64)",
            ),
            (
                join(&[0], None, JoinKind::Right, window(1000)),
                join(&[0], None, JoinKind::Full, window(1000)),
                "join = right, now it is full",
            ),
        ] {
            assert_eq!(checked(&was, &was), Ok(()));
            assert_eq!(checked(&was, &is), Err(format!("stage \"tested\" had {says}")));
        }
    }

    #[test]
    fn a_term_that_was_not_written_is_a_difference() {
        let terms = Terms(vec![("kind", "dedup".to_owned()), ("horizon", "1d".to_owned())]);
        let mut bytes = ByteWriter::default();
        Terms(vec![("kind", "dedup".to_owned())]).write(&mut bytes);
        let bytes = bytes.into_bytes();
        let others = terms.read_others(&mut ChangeReader::new(&bytes)).unwrap();
        assert_eq!(others, [OtherTerm { term: "horizon", was: "nothing".to_owned(), is: "1d".to_owned() }]);
    }
}
