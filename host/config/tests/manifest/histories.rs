//! What a backfill reads of a source, and where its results go.

use reelflow_config::{Code, Config, Partitions, Problems, parse, plan};
use reelflow_core::{
    format::{Binary, SourceFormat},
    history::HistoryPlan,
    plan::Plan,
    schema::FieldType,
};

use crate::cases;

const MANIFEST: &str = r#"
[pipeline]
name = "p"

[source.plays]
topic = "plays"
event_time = "event_ts"
id = "event_id"
key = ["profile_id"]
bound = "2m"
fields = { profile_id = "i64", country = "string" }
files = { path = "history/plays", format = "ndjson", timestamp = "sent_ts" }

[source.stops]
topic = "stops"
event_time = "@timestamp"
bound = "2m"
fields = { playback_id = "string" }
files = { path = "history/stops", format = "parquet", timestamp = "sent_ts" }

[plugin.trending]
path = "trending.wasm"
[stage.trending]
kind = "aggregate"
input = "plays"
key = ["country"]
window = { kind = "tumbling", size = "1m" }
plugin = "trending"

[sink.trending]
input = "trending"
topic = "trending"
[sink.rows]
input = "plays"
files = { path = "out/rows/", format = "parquet" }
[sink.stops]
input = "stops"
topic = "stops-copy"
"#;

fn planned(text: &str) -> (Config, Plan) {
    let config = parse(text).expect("the manifest is good").value;
    let plan = plan(&config, &cases::outside(&config).expect("it names no schemas"), Partitions::all(4))
        .expect("it fits its plugin")
        .value;
    (config, plan)
}

fn histories(edit: (&str, &str), only: &[&str]) -> Result<Vec<HistoryPlan>, Problems> {
    assert!(MANIFEST.contains(edit.0), "the manifest does not contain {:?}", edit.0);
    let (config, plan) = planned(&MANIFEST.replace(edit.0, edit.1));
    config.histories(&plan, &only.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), false)
}

#[test]
fn a_history_knows_what_orders_its_records_and_where_they_go() {
    let all = histories(("", ""), &[]).expect("both sources have files");
    let names = |history: &HistoryPlan, columns: &[usize]| -> Vec<String> {
        columns.iter().map(|column| history.schema.fields[*column].name.clone()).collect()
    };
    let [plays, stops] = &all[..] else { panic!("two sources, not {all:?}") };
    assert_eq!(
        (&*plays.path, names(plays, &[plays.time]), names(plays, &plays.key)),
        ("history/plays", vec!["event_ts".to_owned()], vec!["profile_id".to_owned()])
    );
    let sent = plays.timestamp.map(|column| plays.schema.fields[column].clone()).expect("the manifest names it");
    assert_eq!((&*sent.name, sent.field_type, sent.required), ("sent_ts", FieldType::Int, false));
    assert_eq!((Some(stops.time), &stops.key[..]), (stops.timestamp, &[][..]));
    let one = histories(("", ""), &["stops"]).expect("it has files");
    assert_eq!(one, std::slice::from_ref(stops));
}

#[test]
fn what_cannot_be_replayed_is_told_at_once() {
    let unread = ("key = [\"profile_id\"]", "key = [\"account_id\"]");
    for (edit, only, codes) in [
        (unread, &[][..], &[Code::UnknownColumn][..]),
        (
            ("timestamp = \"sent_ts\" }\n\n[source.stops]", "timestamp = \"country\" }\n\n[source.stops]"),
            &[],
            &[Code::EventTimeType],
        ),
        (("files = { path = \"history/plays\", format = \"ndjson\", timestamp = \"sent_ts\" }", ""), &[], &[Code::NoHistory]),
        (("", ""), &["pauses", "beats"], &[Code::UnknownInput, Code::UnknownInput]),
        (unread, &["pauses"], &[Code::UnknownInput]),
        (unread, &["plays", "pauses"], &[Code::UnknownInput, Code::UnknownColumn]),
    ] {
        let problems = histories(edit, only).expect_err("something is wrong");
        let found: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, codes, "{edit:?} {only:?}");
    }
}

#[test]
fn the_files_of_a_table_may_say_which_keys_are_deleted() {
    const TABLES: &str = include_str!("../cases/good/tables.toml");
    let of = |deleted: &str| {
        let (config, plan) = planned(&TABLES.replace("\"gone\" }", &format!("\"{deleted}\" }}")));
        config.histories(&plan, &["catalog".to_owned()], false)
    };
    let catalog = of("gone").expect("it has files").remove(0);
    let gone = &catalog.schema.fields[catalog.deleted.expect("the manifest names it")];
    assert_eq!((&*gone.name, gone.field_type, gone.required), ("gone", FieldType::Bool, false));
    let problems = of("title_id").expect_err("that is a number");
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::FieldConflict]);
}

#[test]
fn files_behind_which_topics_go_on_say_where_records_lay() {
    const PLAYS: &str = "format = \"ndjson\", timestamp = \"sent_ts\" }";
    const STOPS: &str = "format = \"parquet\", timestamp = \"sent_ts\" }";
    let of = |plays: &str, stops: &str| {
        let with = |text: &str, more: &str| text.replace(" }", &format!("{more} }}"));
        let (config, plan) = planned(&MANIFEST.replace(PLAYS, &with(PLAYS, plays)).replace(STOPS, &with(STOPS, stops)));
        (config.histories(&plan, &[], true), config.histories(&plan, &[], false))
    };
    const POSITION: &str = ", partition = \"p\", offset = \"o\"";
    let (then_live, alone) = of(POSITION, POSITION);
    let (then_live, alone) = (then_live.expect("both say it"), alone.expect("nobody asks"));
    let (partition, offset) = then_live[0].position.expect("it was asked for");
    let fields = &then_live[0].schema.fields;
    assert_eq!((&*fields[partition].name, &*fields[offset].name, fields[offset].field_type), ("p", "o", FieldType::Int));
    assert_eq!(alone.iter().map(|history| history.position).collect::<Vec<_>>(), [None, None]);
    let codes = |(then_live, _): (Result<Vec<HistoryPlan>, Problems>, _)| -> Vec<Code> {
        then_live.expect_err("something is wrong").iter().map(|problem| problem.code).collect()
    };
    assert_eq!(codes(of(POSITION, "")), [Code::NoHistory]);
    assert_eq!(codes(of(", partition = \"country\", offset = \"o\"", POSITION)), [Code::FieldConflict]);
}

#[test]
fn records_of_a_history_are_json_whatever_the_topic_holds() {
    let avro = MANIFEST.replacen("topic = \"plays\"\n", "topic = \"plays\"\nformat = \"avro\"\n", 1);
    let (_, live) = planned(&format!("{avro}[registry]\nurl = \"http://localhost:8081\"\n"));
    let of = |plan: &Plan| plan.sources.iter().map(|source| source.format.clone()).collect::<Vec<_>>();
    assert_eq!(of(&live), [SourceFormat::Registry(Binary::Avro), SourceFormat::Json]);
    assert_eq!(of(&live.of_history()), [SourceFormat::Json, SourceFormat::Json]);
}

#[test]
fn a_backfill_under_another_name_shares_no_topic_with_the_pipeline() {
    let (config, live) = planned(MANIFEST);
    let beside = plan(&config.renamed("p-backfill"), &cases::outside(&config).expect("it names no schemas"), Partitions::all(4))
        .expect("as before")
        .value;
    let beside = beside.with_suffix(".fixed").of_history();
    let written = |plan: &Plan| -> Vec<String> {
        let sinks = plan.sinks.iter().map(|sink| &sink.topic);
        let late = plan.stages.iter().filter_map(|stage| stage.late_topic.as_ref());
        let own = plan.shuffles.iter().map(|shuffle| &shuffle.topic).chain([&plan.changelog_topic, &plan.dead_letter_topic]);
        sinks.chain(late).chain(own).map(ToString::to_string).collect()
    };
    assert_eq!(
        written(&beside),
        [
            "trending.fixed",
            "reel.p-backfill.files.rows",
            "stops-copy.fixed",
            "late.trending.fixed",
            "reel.p-backfill.trending",
            "reel.p-backfill.changelog",
            "dead.p.fixed"
        ]
    );
    assert!(written(&live).iter().all(|topic| !written(&beside).contains(topic)));
    assert_eq!(beside.sinks[1].files.as_ref().map(|files| &*files.path), Some("out/rows.fixed"));
    assert_eq!(&*beside.sources[0].topic, "reel.p-backfill.history.plays");
    assert!(beside.is_own_topic(&beside.sources[0].topic) && !live.is_own_topic("reel.p-backfill.history.plays"));
}
