//! Problems of the world outside: with a place in the manifest where there is one, and without.

use reelflow_config::{
    Code, Partitions, Problem, Problems, config::Log, external_missing, manifest_unreadable, parse, render, report,
};

use crate::cases;

fn all(config: &reelflow_config::Config) -> Vec<Problem> {
    let Log::Kafka { brokers, .. } = &config.log else { panic!("the case is about Kafka") };
    let (sink, said) = config.sinks.iter().find_map(|sink| Some((sink, sink.schema()?))).expect("a sink has a schema");
    vec![
        config.topic_missing("plays"),
        config.partitions_differ("impressions", 12, "plays", 8),
        config.partitions_differ("reel.p.trending", 12, "plays", 8),
        config.broker_unreachable("connection refused"),
        manifest_unreadable("reel.toml", "no such file"),
        Problem::at(Code::PluginFileUnreadable, config.plugins[0].path.span.clone(), "a plugin cannot be read", "no such file"),
        external_missing(brokers, "the environment variable KAFKA_BROKERS is not set"),
        config.broker_too_old("exactly-once needs Apache Kafka 4.0 or newer"),
        config.log_unusable("another process has it open"),
        config.data_lost("plays", 3, 100, 220, 900),
        config.data_lost("impressions", 0, 100, 0, 20),
        config.access_denied("not allowed to read group \"reel.p\""),
        config.files_unusable("rows", "\"out/rows\" is a file").help("name a folder"),
        config.schema_unreadable("impressions", "no such file"),
        config.bad_schema("impressions", "it is none"),
        config.registry_unreachable("connection refused"),
        config.registry_denied("it answers 401"),
        config.sink_schema_unreadable(sink, said, "no such file"),
        config.schema_refused(sink, said, "Schema being registered is incompatible with an earlier schema"),
        config.history_unusable("plays", "\"history/plays\" does not exist"),
        config.history_unusable("impressions", "no space is left"),
        config.backfill_stuck("other records"),
        config.stage_failed("clean", "topic \"plays\", partition 3, offset 17", "plugin trapped: no page (trap)"),
        config.too_many_errors("clean", "51 of 1000 rows", "row {\"key\":1}", "no page (rejected)"),
        config.plan_changed("stage \"trending\" had the key (profile_id)"),
        config.plugin_not_compiled(
            &config.plugins[0].name,
            "component 9f3c was not compiled: the helper ended with signal: 9 (SIGKILL)",
        ),
        config.store_unusable("data/bases: permission denied"),
        config.store_taken(
            "pipeline \"personalization\" of Kafka cluster x keeps its bases there, and this one is of Kafka cluster y",
        ),
        config.bases_lost("task \"plays\" [3]", "the store of bases at file://data/bases lacks a.base (it is not there)"),
        config.store_unnamed("task \"plays\" [3]", "its base a.base lies in a store, and the manifest names none"),
    ]
}

#[test]
fn the_environment_is_drawn_at_the_manifest() {
    let path = cases::folder().join("environment/kafka.toml");
    let text = std::fs::read_to_string(&path).expect("the case is there");
    let config = parse(&text).expect("the case is a good manifest").value;
    let planned = reelflow_config::plan(&config, &cases::outside(&config).expect("its schemas are good"), Partitions::all(1))
        .expect("it fits its plugin")
        .value;
    let mut at_files = config.histories(&planned, &[], false).expect_err("a source has no files");
    at_files.append(config.files_of_another_run());
    // No more are drawn at once than somebody reads.
    let mut pages = [at_files, Problems::default(), Problems::default()];
    for (idx, problem) in all(&config).into_iter().enumerate() {
        pages[1 + idx % 2].push(problem);
    }
    let drawn = |problems: &Problems| format!("{}\n", render(problems, "kafka.toml", &text, false));
    let drawn: Vec<String> = pages.iter().map(drawn).collect();
    cases::check(&path.with_extension("txt"), &drawn.join("\n"));
}

#[test]
fn problems_as_data_say_where_and_what_to_write_instead() {
    let text = "[pipeline]\nname = \"p\"\nguarantee = \"exactly_once\"\n";
    let problems = parse(text).expect_err("it has mistakes");
    let reports = serde_json::to_value(report(&problems, "reel.toml", text)).expect("a report is JSON");
    let found = reports.as_array().expect("a list").iter().find(|report| report["code"] == "RF0112").expect("the guarantee");
    let expected = serde_json::json!({
        "code": "RF0112", "severity": "error", "file": "reel.toml", "line": 3, "column": 13,
        "message": "\"guarantee\" of [pipeline] is unknown", "label": "must be \"exactly-once\" or \"at-least-once\"",
        "notes": [], "help": "write", "replacement": "\"exactly-once\""
    });
    assert_eq!(*found, expected);
    let nowhere = reports.as_array().expect("a list").iter().find(|report| report["code"] == "RF0201").expect("no source");
    assert!(nowhere["line"].is_null() && nowhere["column"].is_null(), "{nowhere}");
}
