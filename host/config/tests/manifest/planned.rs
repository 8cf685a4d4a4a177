//! Where plans cut, what they decode, and how long they remember.

use reelflow_core::plugin::limits::Limits;
use reelflow_core::{
    plan::{Consumer, EventTimeFrom, FragmentInput, Plan, ShuffleTo, StageKind, StagePlan},
    schema::Schema,
};

use crate::cases;

const SOURCES: &str = r#"
[pipeline]
name = "p"

[source.plays]
topic = "plays"
event_time = "event_ts"
id = "event_id"
key = ["profile_id"]
bound = "2m"
fields = { profile_id = "i64", country = "string" }

[source.impressions]
topic = "impressions"
event_time = "event_ts"
id = "event_id"
key = ["profile_id"]
bound = "2m"

[plugin.clean-plays]
path = "a.wasm"
[plugin.rename-profile]
path = "b.wasm"
[plugin.source-of-discovery]
path = "c.wasm"
[plugin.trending]
path = "d.wasm"
[plugin.count]
path = "e.wasm"
[plugin.rank]
path = "f.wasm"
[plugin.profile-as-text]
path = "i.wasm"
[plugin.reads-page]
path = "j.wasm"
[plugin.takes]
path = "k.wasm"
[plugin.pair-countries]
path = "g.wasm"
[plugin.pair-profiles]
path = "h.wasm"
"#;

/// The plan of `stages` over two sources, with a sink for each name in `read`.
fn plan(stages: &str, read: &[&str]) -> Plan {
    let sinks: String =
        read.iter().enumerate().map(|(n, input)| format!("[sink.s{n}]\ninput = \"{input}\"\ntopic = \"s{n}\"\n")).collect();
    let text = format!("{SOURCES}{stages}{sinks}");
    match cases::planned(&text) {
        Ok((plan, _)) => plan.value,
        Err(problems) => panic!("{}", reelflow_config::render(&problems, "reel.toml", &text, false)),
    }
}

fn aggregate(name: &str, input: &str, key: &str, plugin: &str) -> String {
    format!(
        "[stage.{name}]\nkind = \"aggregate\"\ninput = \"{input}\"\nkey = {key}\nwindow = {{ kind = \"tumbling\", size = \"1h\" }}\nplugin = \"{plugin}\"\n"
    )
}

fn join(name: &str, left: &str, right: &str, on: &str) -> String {
    format!(
        "[stage.{name}]\nkind = \"join\"\nleft = \"{left}\"\nright = \"{right}\"\non = {on}\nwithin = \"1h\"\nplugin = \"source-of-discovery\"\n"
    )
}

fn pair(name: &str, left: &str, right: &str, plugin: &str, on: &str) -> String {
    join(name, left, right, &format!("[\"{on}\"]")).replace("source-of-discovery", plugin)
}

fn dedup(name: &str, input: &str, extra: &str) -> String {
    format!("[stage.{name}]\nkind = \"dedup\"\ninput = \"{input}\"\n{extra}\n")
}

fn transform(name: &str, input: &str, plugin: &str) -> String {
    format!("[stage.{name}]\nkind = \"transform\"\ninput = \"{input}\"\nplugin = \"{plugin}\"\n")
}

/// Each fragment as `name: inputs -> stages`, and the plan's own consistency.
fn fragments(plan: &Plan) -> Vec<String> {
    check(plan);
    let describe = |idx: usize| {
        let fragment = &plan.fragments[idx];
        let inputs: Vec<&str> = fragment.inputs.iter().map(|input| &**plan.input_topic(*input)).collect();
        let stages: Vec<&str> = fragment.stages.iter().map(|stage| &*plan.stages[*stage].name).collect();
        format!("{}: {} -> {}", fragment.name, inputs.join(" "), stages.join(" "))
    };
    (0..plan.fragments.len()).map(describe).collect()
}

/// A port has the columns of its stream; a union has them where it says.
fn fits(stage: &StagePlan, port: usize, stream: &Schema) {
    let Some(columns) = stage.union.get(port) else { return assert_eq!(stage.inputs[port], *stream) };
    assert_eq!((stage.inputs.len(), columns.len()), (1, stage.inputs[0].len()));
    for (field, column) in stage.inputs[0].fields.iter().zip(columns) {
        let found = column.map(|column| &stream.fields[column]);
        assert!(found.is_none_or(|found| found.field_type == field.field_type), "{field:?} of {found:?}");
        assert!(!field.required || found.is_some_and(|found| found.required), "{field:?} of {found:?}");
    }
}

/// What must hold of every plan, whatever the manifest.
fn check(plan: &Plan) {
    let mut n_fed: Vec<Vec<usize>> = plan.stages.iter().map(|stage| vec![0; stage.inputs.len().max(stage.union.len())]).collect();
    let mut feed = |fragment: usize, schema: &Schema, consumers: &[Consumer], behind: Option<usize>| {
        for consumer in consumers {
            match *consumer {
                Consumer::Stage { stage, port } => {
                    n_fed[stage][port] += 1;
                    assert_eq!(plan.stages[stage].fragment, fragment, "only a shuffle leaves a fragment");
                    fits(&plan.stages[stage], port, schema);
                    assert!(behind.is_none_or(|producer| producer < stage), "stages are in topological order");
                }
                Consumer::Shuffle(shuffle) => {
                    let shuffle = &plan.shuffles[shuffle];
                    assert_eq!(shuffle.from_fragment, fragment);
                    assert_eq!(shuffle.stream.schema, *schema);
                    assert!(shuffle.from_fragment < shuffle.to_fragment, "fragments are in topological order");
                }
                Consumer::Sink(sink) => assert_eq!(plan.sinks[sink].schema, *schema),
            }
        }
    };
    for source in &plan.sources {
        feed(source.fragment, &source.stream.schema, &source.stream.consumers, None);
    }
    for (idx, stage) in plan.stages.iter().enumerate() {
        stage.outputs.iter().for_each(|stream| feed(stage.fragment, &stream.schema, &stream.consumers, Some(idx)));
        assert!(plan.fragments[stage.fragment].stages.contains(&idx));
    }
    for shuffle in &plan.shuffles {
        feed(shuffle.to_fragment, &shuffle.stream.schema, &shuffle.stream.consumers, None);
    }
    assert!(n_fed.iter().flatten().all(|n| *n == 1), "each port has one stream: {n_fed:?}");
    let n_inputs: usize = plan.fragments.iter().map(|fragment| fragment.inputs.len()).sum();
    assert_eq!(n_inputs, plan.sources.len() + plan.shuffles.len(), "each input belongs to one fragment");
    let n_stages: usize = plan.fragments.iter().map(|fragment| fragment.stages.len()).sum();
    assert_eq!(n_stages, plan.stages.len());
}

fn names(schema: &Schema) -> Vec<String> {
    schema
        .fields
        .iter()
        .map(|field| format!("{}: {}{}", field.name, field.field_type.name(), if field.required { "" } else { "?" }))
        .collect()
}

#[test]
fn a_key_that_holds_the_partition_key_needs_no_shuffle() {
    let stages = aggregate("by_both", "plays", r#"["country", "profile_id"]"#, "count");
    assert_eq!(fragments(&plan(&stages, &["by_both"])), ["plays: plays -> by_both"]);
}

#[test]
fn all_of_the_partition_key_must_be_in_the_key() {
    let pairs = "[source.pairs]\ntopic = \"pairs\"\nevent_time = \"at\"\nbound = \"2m\"\nkey = [\"profile_id\", \"country\"]\nfields = { profile_id = \"i64\", country = \"string\" }\n";
    let by = |key: &str| plan(&(pairs.to_owned() + &aggregate("n", "pairs", key, "count")), &["n"]);
    assert_eq!(fragments(&by(r#"["title_id", "country", "profile_id"]"#)), ["pairs: pairs -> n"]);
    assert_eq!(fragments(&by(r#"["profile_id"]"#)), ["pairs: pairs -> ", "n: reel.p.n -> n"]);
    assert_eq!(fragments(&by(r#"["country", "title_id"]"#)), ["pairs: pairs -> ", "n: reel.p.n -> n"]);
}

#[test]
fn rows_without_a_value_for_the_key_meet_in_one_partition() {
    let stages = transform("clean", "plays", "clean-plays") + &aggregate("by_page", "clean", r#"["page"]"#, "count");
    assert_eq!(fragments(&plan(&stages, &["by_page"])), ["plays: plays -> clean", "by_page: reel.p.by_page -> by_page"]);
}

#[test]
fn another_key_cuts_the_pipeline() {
    let stages = dedup("once", "plays", "") + &aggregate("by_country", "once", r#"["country"]"#, "trending");
    let plan = plan(&stages, &["by_country"]);
    assert_eq!(fragments(&plan), ["plays: plays -> once", "by_country: reel.p.by_country -> by_country"]);
    let shuffle = &plan.shuffles[0];
    assert_eq!(shuffle.to, ShuffleTo::Key(vec![shuffle.stream.schema.position("country").expect("it is the key")]));
    assert_eq!(plan.stages[1].late_topic.as_deref(), Some("late.by_country"));
    assert_eq!(plan.stages[0].late_topic, None);
}

#[test]
fn a_transform_keeps_the_partitioning_if_its_output_has_the_field() {
    let kept = transform("clean", "plays", "clean-plays") + &aggregate("n", "clean", r#"["profile_id"]"#, "count");
    assert_eq!(fragments(&plan(&kept, &["n"])), ["plays: plays -> clean n"]);
    let lost = transform("renamed", "plays", "rename-profile") + &aggregate("n", "renamed", r#"["member_id"]"#, "count");
    assert_eq!(fragments(&plan(&lost, &["n"])), ["plays: plays -> renamed", "n: reel.p.n -> n"]);
    let retyped = transform("text", "plays", "profile-as-text") + &aggregate("n", "text", r#"["profile_id"]"#, "count");
    assert_eq!(fragments(&plan(&retyped, &["n"])), ["plays: plays -> text", "n: reel.p.n -> n"]);
}

#[test]
fn a_shuffled_stream_lies_by_its_new_key() {
    let stages =
        aggregate("a", "plays", r#"["country"]"#, "trending") + &aggregate("b", "a", r#"["country", "title_id"]"#, "count");
    assert_eq!(fragments(&plan(&stages, &["b"])), ["plays: plays -> ", "a: reel.p.a -> a b"]);
    let back = aggregate("a", "plays", r#"["country"]"#, "trending") + &aggregate("b", "a", r#"["title_id"]"#, "count");
    assert_eq!(fragments(&plan(&back, &["b"])), ["plays: plays -> ", "a: reel.p.a -> a", "b: reel.p.b -> b"]);
}

#[test]
fn a_join_reads_sides_that_lie_alike_as_they_are() {
    let stages =
        dedup("once", "impressions", "horizon = \"1d\"") + &join("found", "plays", "once", r#"["title_id", "profile_id"]"#);
    let plan = plan(&stages, &["found"]);
    assert_eq!(fragments(&plan), ["plays: plays impressions -> once found"]);
    // Nobody's plugin reads the impressions' profile and title: the other side knows their types.
    let right = names(&plan.stages[1].inputs[1]);
    assert!(right.contains(&"profile_id: i64".to_owned()) && right.contains(&"title_id: i64".to_owned()), "{right:?}");
}

#[test]
fn a_join_on_other_columns_shuffles_both_sides() {
    let plan = plan(&join("found", "plays", "impressions", r#"["title_id"]"#), &["found"]);
    let expected = ["plays: plays -> ", "impressions: impressions -> ", "found: reel.p.found.left reel.p.found.right -> found"];
    assert_eq!(fragments(&plan), expected);
}

#[test]
fn a_join_never_mixes_a_side_of_ours_with_a_producers() {
    // Both sides lie by profile_id, but one of them as whoever writes the topic says.
    let hits = "[source.hits]\ntopic = \"hits\"\nevent_time = \"event_ts\"\nbound = \"2m\"\nfields = { profile_id = \"i64\" }\n";
    let stages = hits.to_owned()
        + &aggregate("n", "hits", r#"["profile_id"]"#, "count")
        + &pair("found", "plays", "n", "pair-profiles", "profile_id");
    let expected = ["plays: plays -> ", "hits: hits -> ", "n: reel.p.n reel.p.found.left -> n found"];
    assert_eq!(fragments(&plan(&stages, &["found"])), expected);
}

#[test]
fn a_fragment_never_waits_for_itself() {
    // `a` and `c` both lie by country, but `c` is made of `a` through other fragments: joined as they lie, the fragment of both
    // would wait for a topic that it fills itself.
    let far = aggregate("a", "plays", r#"["country"]"#, "trending")
        + &aggregate("b", "a", r#"["title_id"]"#, "rank")
        + &aggregate("c", "b", r#"["country"]"#, "rank")
        + &pair("found", "a", "c", "pair-countries", "country");
    let expected = [
        "plays: plays -> ",
        "a: reel.p.a -> a",
        "b: reel.p.b -> b",
        "c: reel.p.c -> c",
        "found: reel.p.found.left reel.p.found.right -> found",
    ];
    assert_eq!(fragments(&plan(&far, &["found"])), expected);
    // The same where only one side would have to be shuffled, into the fragment that feeds it.
    let near = aggregate("a", "plays", r#"["country"]"#, "trending")
        + &aggregate("b", "a", r#"["title_id"]"#, "rank")
        + &pair("found", "a", "b", "pair-countries", "country");
    let expected =
        ["plays: plays -> ", "a: reel.p.a -> a", "b: reel.p.b -> b", "found: reel.p.found.left reel.p.found.right -> found"];
    assert_eq!(fragments(&plan(&near, &["found"])), expected);
}

#[test]
fn sources_decode_what_their_readers_ask_for() {
    let stages = dedup("once", "plays", "")
        + &transform("clean", "once", "clean-plays")
        + &aggregate("n", "clean", r#"["profile_id"]"#, "count");
    let plan = plan(&stages, &["n"]);
    assert_eq!(plan.sources.len(), 1, "nothing reads the impressions");
    let source = &plan.sources[0];
    let expected = [
        "event_ts: i64",
        "event_id: string",
        "profile_id: i64",
        "country: string",
        "title_id: i64",
        "playback_id: string",
        "trailer: bool",
        "page: string?",
    ];
    assert_eq!(names(&source.stream.schema), expected);
    assert_eq!(source.stream.schema.fields[7].path, "context.page");
    assert_eq!(source.event_time, EventTimeFrom::Field(0));
    let StageKind::Transform { plugin, columns } = &plan.stages[1].kind else { panic!("{:?}", plan.stages[1].kind) };
    assert_eq!((*plugin, &columns[..]), (0, &[1, 0, 2, 4, 3, 5, 6, 7][..]));
}

#[test]
fn readers_of_one_path_share_a_column_and_the_strictest_decides() {
    // The first reader calls context.page `page`, and may do without it; the second calls it `where`, and something else `page`.
    let stages = transform("clean", "plays", "clean-plays") + &transform("where", "plays", "reads-page");
    let plan = plan(&stages, &["clean", "where"]);
    let schema = &plan.sources[0].stream.schema;
    let pages: Vec<(&str, &str, bool)> =
        schema.fields[7..].iter().map(|field| (&*field.name, &*field.path, field.required)).collect();
    assert_eq!(pages, [("page", "context.page", true), ("link.page", "link.page", true)]);
    let StageKind::Transform { columns, .. } = &plan.stages[1].kind else { panic!("{:?}", plan.stages[1].kind) };
    assert_eq!(columns, &[7, 8]);
}

#[test]
fn a_horizon_follows_the_longest_wait_below() {
    let below = |extra: &str| {
        dedup("once", "plays", extra)
            + &transform("clean", "once", "clean-plays")
            + &aggregate("n", "clean", r#"["country"]"#, "trending")
            + &join("found", "clean", "impressions", r#"["profile_id", "title_id"]"#)
            + "lateness = \"3h\"\n"
    };
    let horizon = |plan: &Plan| match plan.stages[0].kind {
        StageKind::Dedup { horizon_ms, .. } => horizon_ms,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(horizon(&plan(&below(""), &["n", "found"])), 4 * 3_600_000);
    assert_eq!(horizon(&plan(&below("horizon = \"4h\""), &["n", "found"])), 4 * 3_600_000);
    assert_eq!(horizon(&plan(&below("horizon = \"9d\""), &["n", "found"])), 9 * 24 * 3_600_000);
}

/// `stage` with several inputs instead of the one called `…`.
fn united(stage: String, inputs: &str) -> String {
    stage.replace("input = \"…\"", &format!("inputs = {inputs}"))
}

#[test]
fn streams_that_lie_alike_are_read_as_they_lie_and_others_by_key() {
    let cleans = transform("clean", "plays", "clean-plays") + &transform("more", "impressions", "clean-plays");
    let once = cleans.clone() + &united(dedup("once", "…", "horizon = \"1d\""), r#"["clean", "more"]"#);
    let by_profile = once.clone() + &united(aggregate("n", "…", r#"["profile_id"]"#, "count"), r#"["once", "plays"]"#);
    assert_eq!(fragments(&plan(&by_profile, &["n"])), ["plays: plays impressions -> clean more once n"]);
    let by_country = once + &united(aggregate("n", "…", r#"["country"]"#, "trending"), r#"["once", "plays"]"#);
    let expected = ["plays: plays impressions -> clean more once", "n: reel.p.n.once reel.p.n.plays -> n"];
    assert_eq!(fragments(&plan(&by_country, &["n"])), expected);
}

#[test]
fn a_union_with_what_is_made_of_it_goes_through_topics() {
    // By title already lies what is then ranked by country: read as it lies, the union's fragment would feed itself.
    let stages = aggregate("by_title", "plays", r#"["title_id"]"#, "rank")
        + &aggregate("by_country", "by_title", r#"["country"]"#, "rank")
        + &united(aggregate("all", "…", r#"["title_id"]"#, "count"), r#"["by_title", "by_country"]"#);
    let expected = [
        "plays: plays -> ",
        "by_title: reel.p.by_title -> by_title",
        "by_country: reel.p.by_country -> by_country",
        "all: reel.p.all.by_title reel.p.all.by_country -> all",
    ];
    assert_eq!(fragments(&plan(&stages, &["all"])), expected);
}

#[test]
fn a_union_has_the_columns_of_all_and_those_of_its_plugin_first() {
    let stages = transform("clean", "plays", "clean-plays")
        + &join("found", "clean", "impressions", r#"["profile_id", "title_id"]"#)
        + &united(aggregate("takes", "…", r#"["country"]"#, "takes"), r#"["found", "clean"]"#);
    let plan = plan(&stages, &["takes"]);
    let takes = plan.stages.iter().find(|stage| &*stage.name == "takes").expect("it is there");
    let StageKind::Aggregate { columns, key, .. } = &takes.kind else { panic!("{:?}", takes.kind) };
    assert_eq!((&columns[..], &key[..]), (&[0][..], &[1][..]));
    assert_eq!(names(&takes.inputs[0])[..3], ["imp_id: string?", "country: string", "playback_id: string"]);
    assert_eq!([&takes.union[0][..2], &takes.union[1][..2]], [[Some(4), Some(3)], [None, Some(4)]]);
}

#[test]
fn revisions_reach_sinks_through_transforms_only() {
    let upsert = join("found", "plays", "impressions", r#"["profile_id", "title_id"]"#) + "emit = \"upsert\"\n";
    let stages =
        upsert + &transform("t", "found", "rename-profile") + &dedup("once", "found", "id = \"playback_id\"\nhorizon = \"1d\"");
    let plan = plan(&stages, &["found", "t", "once", "plays"]);
    let upserts: Vec<bool> = plan.sinks.iter().map(|sink| sink.upsert).collect();
    assert_eq!(upserts, [true, true, false, false]);
    assert!(matches!(plan.fragments[0].inputs[..], [FragmentInput::Source(0), FragmentInput::Source(1)]));
}

#[test]
fn partition_counts_and_limits_have_defaults() {
    let manifest = format!(
        "{SOURCES}[sink.a]\ninput = \"plays\"\ntopic = \"a\"\n[sink.b]\ninput = \"plays\"\ntopic = \"b\"\npartitions = 7\n"
    );
    let (plan, _) = cases::planned(&manifest).expect("a good manifest");
    let plan = plan.value;
    assert_eq!((plan.n_partitions, plan.side_partitions), (4, 2));
    assert_eq!(plan.sinks.iter().map(|sink| sink.n_partitions).collect::<Vec<_>>(), [4, 7]);
    assert_eq!((&*plan.changelog_topic, &*plan.dead_letter_topic), ("reel.p.changelog", "dead.p"));
    let config = reelflow_config::parse(&manifest).expect("a good manifest").value;
    assert!(config.plugins.iter().all(|plugin| plugin.limits == Limits::STANDARD && plugin.config == serde_json::json!({})));
    assert_eq!((config.pipeline.commit_interval_ms, config.pipeline.epoch_records_max), (200, 100_000));
    assert_eq!(config.pipeline.max_drift_ms, None);
}
