//! Checks between tables: names, inputs, cycles, topics, and what nothing uses.

use std::collections::BTreeMap;

use crate::{
    code::Code,
    config::Config,
    plan::time,
    problem::{At, Problem, Problems, Span},
    raw::{self, RawConfig},
    value::closest,
};

mod combined;
mod of_tests;

/// Runs every check. Returns the configuration if all tables are whole; the caller looks at the problems.
pub(crate) fn check(raw: RawConfig, problems: &mut Problems) -> Option<Config> {
    not_empty(&raw, problems);
    names(&raw, problems);
    let n_before = problems.len();
    inputs(&raw, problems);
    tables(&raw, problems);
    plugins(&raw, problems);
    // What a misspelt reference meant would be reported as unused too: one mistake, one problem.
    let references_hold = problems.len() == n_before;
    let n_before = problems.len();
    cycles(&raw, problems);
    let has_cycle = problems.len() > n_before;
    if references_hold {
        unused(&raw, problems);
    }
    topics(&raw, problems);
    registry(&raw, problems);
    of_tests::check(&raw, problems);
    let config = Config {
        pipeline: raw.pipeline?,
        upgrade: raw.upgrade?,
        log: raw.log?,
        registry: raw.registry.map_or(Some(None), |registry| registry.value.map(Some))?,
        state: raw.state.map_or(Some(None), |state| state.map(Some))?,
        sources: raw.sources.into_iter().map(|source| source.built).collect::<Option<_>>()?,
        plugins: raw.plugins.into_iter().map(|plugin| plugin.built).collect::<Option<_>>()?,
        stages: raw.stages.into_iter().map(|stage| stage.built).collect::<Option<_>>()?,
        sinks: raw.sinks.into_iter().map(|sink| sink.built).collect::<Option<_>>()?,
        tests: raw.tests,
    };
    combined::check(&config, problems);
    // What horizons must span can only be said of a DAG.
    if references_hold && !has_cycle {
        time::check(&config, problems);
    }
    Some(config)
}

fn not_empty(raw: &RawConfig, problems: &mut Problems) {
    for (kind, is_empty) in [("source", raw.sources.is_empty()), ("sink", raw.sinks.is_empty())] {
        if is_empty {
            let message = format!("the pipeline has no {kind}");
            problems.push(Problem::nowhere(Code::NothingToDo, message).help(format!("add a table `[{kind}.NAME]`")));
        }
    }
}

fn names(raw: &RawConfig, problems: &mut Problems) {
    for table in raw.sources.iter().filter(|source| source.is_table) {
        if let Some(source) = raw.sources.iter().find(|source| !source.is_table && source.name.value == table.name.value) {
            let message = format!("a source and a table are both called \"{}\"", *table.name);
            problems.push(
                Problem::at(Code::NameTaken, table.name.span.clone(), message, "the table")
                    .also(source.name.span.clone(), "the source"),
            );
        }
    }
    for stage in &raw.stages {
        if let Some(source) = raw.sources.iter().find(|source| source.name.value == stage.name.value) {
            let what = source.what();
            let message = format!("a {what} and a stage are both called \"{}\"", *stage.name);
            problems.push(
                Problem::at(Code::NameTaken, stage.name.span.clone(), message, "the stage")
                    .also(source.name.span.clone(), format!("the {what}"))
                    .note(format!("an input says only a name, so {what}s and stages share them")),
            );
        }
        if stage.name.value == "history" && raw.sources.iter().any(|source| source.has_history()) {
            let message = "a stage cannot be called \"history\" where sources have files";
            problems.push(Problem::at(Code::BadName, stage.name.span.clone(), message, "topics of the pipeline are called so"));
        }
        if let name @ ("changelog" | "control" | "components" | "retried") = stage.name.as_str() {
            let message = format!("a stage cannot be called \"{name}\"");
            problems.push(Problem::at(Code::BadName, stage.name.span.clone(), message, "the pipeline's own topic is called so"));
        }
    }
}

/// A table is looked up and nothing else, and nothing else is looked up.
fn tables(raw: &RawConfig, problems: &mut Problems) {
    let source = |name: &str| raw.sources.iter().find(|source| source.name.value == name);
    let mut read_as_stream = |user: &str, input: &At<String>| {
        let Some(table) = source(input).filter(|source| source.is_table) else { return };
        let message = format!("{user} reads table \"{}\" as a stream", **input);
        problems.push(
            Problem::at(Code::TableOrStream, input.span.clone(), message, "this is a table")
                .also(table.name.span.clone(), "declared here")
                .help("look it up with a stage of kind \"lookup\", or declare it as `[source.…]`"),
        );
    };
    for stage in &raw.stages {
        let is_table = |input: &&At<String>| stage.table.as_ref().is_some_and(|table| table.span == input.span);
        let user = format!("stage \"{}\"", *stage.name);
        stage.inputs.iter().filter(|input| !is_table(input)).for_each(|input| read_as_stream(&user, input));
    }
    for sink in &raw.sinks {
        let user = format!("sink \"{}\"", *sink.name);
        sink.input.iter().for_each(|input| read_as_stream(&user, input));
    }
    for (stage, table) in raw.stages.iter().filter_map(|stage| Some((stage, stage.table.as_ref()?))) {
        let is_stage = raw.stages.iter().any(|other| other.name.value == producer(table));
        if !is_stage && source(table).is_none_or(|source| source.is_table) {
            continue;
        }
        let message = format!("stage \"{}\" looks up \"{}\", which is a stream", *stage.name, **table);
        problems.push(
            Problem::at(Code::TableOrStream, table.span.clone(), message, "only tables have versions")
                .help("declare the topic as `[table.…]`, or write what a stage makes to a topic and that as a table"),
        );
    }
}

/// The stage or source that `input` names, without the output behind the dot.
pub(crate) fn producer(input: &str) -> &str {
    input.split_once('.').map_or(input, |(name, _)| name)
}

fn inputs(raw: &RawConfig, problems: &mut Problems) {
    let of_stages = raw.stages.iter().flat_map(|stage| stage.inputs.iter().map(move |input| ("stage", &stage.name, input)));
    let of_sinks = raw.sinks.iter().flat_map(|sink| sink.input.iter().map(move |input| ("sink", &sink.name, input)));
    let names: BTreeMap<&str, &Span> = raw
        .sources
        .iter()
        .map(|source| &source.name)
        .chain(raw.stages.iter().map(|stage| &stage.name))
        .map(|name| (name.value.as_str(), &name.span))
        .collect();
    for (kind, name, input) in of_stages.chain(of_sinks) {
        let wanted = producer(input);
        if names.contains_key(wanted) {
            output_exists(raw, wanted, input, problems);
            continue;
        }
        let message = format!("{kind} \"{}\" reads from an input that does not exist", **name);
        let label = format!("no source or stage is called \"{wanted}\"");
        let mut problem = Problem::at(Code::UnknownInput, input.span.clone(), message, label);
        let is_itself =
            |other: &str| kind == "stage" && other == name.value && raw.sources.iter().all(|source| *source.name != other);
        let others = names.keys().copied().filter(|other| !is_itself(other));
        if let Some(meant) = closest(wanted, others) {
            let output = &input.value[wanted.len()..];
            problem = problem.also(names[meant].clone(), "did you mean this one?").patch(
                "rename it",
                input.span.clone(),
                format!("\"{meant}{output}\""),
            );
        } else {
            let quoted: Vec<String> = names.keys().map(|name| format!("\"{name}\"")).collect();
            problem = problem.note(format!("inputs: {}", quoted.join(", ")));
        }
        problems.push(problem);
    }
}

/// Only a transform and a process have outputs with names; which ones, their plugin knows.
fn output_exists(raw: &RawConfig, wanted: &str, input: &At<String>, problems: &mut Problems) {
    if wanted.len() == input.value.len() {
        return;
    }
    let stage = raw.stages.iter().find(|stage| stage.name.value == wanted);
    let kind = match stage.map(|stage| stage.kind) {
        Some(Some("transform" | "process") | None) => return,
        Some(Some(kind)) => kind,
        None => "source",
    };
    let message = format!("\"{wanted}\" has only one output");
    let label = if kind == "source" {
        "a source has no named outputs".to_owned()
    } else {
        format!("a stage of kind \"{kind}\" has no named outputs")
    };
    problems.push(Problem::at(Code::UnknownOutput, input.span.clone(), message, label).patch(
        "write",
        input.span.clone(),
        format!("\"{wanted}\""),
    ));
}

fn plugins(raw: &RawConfig, problems: &mut Problems) {
    for stage in &raw.stages {
        let Some(plugin) = &stage.plugin else { continue };
        if raw.plugins.iter().any(|other| other.name.value == plugin.value) {
            continue;
        }
        let message = format!("stage \"{}\" uses a plugin that does not exist", *stage.name);
        let label = format!("no plugin is called \"{}\"", plugin.value);
        let mut problem = Problem::at(Code::UnknownPlugin, plugin.span.clone(), message, label);
        if let Some(meant) = closest(plugin, raw.plugins.iter().map(|plugin| plugin.name.value.as_str())) {
            let place = raw.plugins.iter().find(|plugin| plugin.name.value == meant).expect("it was just found");
            problem = problem.also(place.name.span.clone(), "did you mean this one?");
            problem = problem.patch("rename it", plugin.span.clone(), format!("\"{meant}\""));
        } else {
            problem = problem.help(format!("add `[plugin.{}]` with the `path` of its component", plugin.value));
        }
        problems.push(problem);
    }
}

/// Reports each circle once, where the walk through the text closes it.
fn cycles(raw: &RawConfig, problems: &mut Problems) {
    let stages = &raw.stages;
    /// A stage on the way, and how many of its inputs were followed.
    struct Step {
        stage: usize,
        n_followed: usize,
    }
    let read_by = |stage: usize, n: usize| {
        let input = stages[stage].inputs.get(n)?;
        // A name that a source has too is a problem of its own; here it means the source.
        let is_source = raw.sources.iter().any(|source| source.name.value == producer(input));
        Some((input, stages.iter().position(|stage| stage.name.value == producer(input) && !is_source)))
    };
    let mut is_done = vec![false; stages.len()];
    for start in 0..stages.len() {
        // A path of our own: a manifest must not overflow the stack.
        let mut path = Vec::new();
        if !is_done[start] {
            path.push(Step { stage: start, n_followed: 0 });
        }
        while let Some(step) = path.last_mut() {
            let stage = step.stage;
            let Some((input, next)) = read_by(stage, step.n_followed) else {
                is_done[stage] = true;
                path.pop();
                continue;
            };
            step.n_followed += 1;
            let Some(next) = next.filter(|next| !is_done[*next]) else { continue };
            match path.iter().position(|step| step.stage == next) {
                None => path.push(Step { stage: next, n_followed: 0 }),
                Some(from) => {
                    let circle = path[from..].iter().map(|step| step.stage).chain([next]);
                    let names: Vec<String> = circle.map(|stage| format!("\"{}\"", *stages[stage].name)).collect();
                    let message = "stages read from each other in a circle";
                    let problem = Problem::at(Code::Cycle, input.span.clone(), message, "this closes the circle");
                    problems.push(problem.note(names.join(" reads ")));
                }
            }
        }
    }
}

fn unused(raw: &RawConfig, problems: &mut Problems) {
    let read: Vec<&str> = raw
        .stages
        .iter()
        .flat_map(|stage| &stage.inputs)
        .chain(raw.sinks.iter().filter_map(|sink| sink.input.as_ref()))
        .map(|input| producer(input))
        .collect();
    for source in raw.sources.iter().filter(|source| !read.contains(&source.name.value.as_str())) {
        let message = format!("{} \"{}\" is never read", source.what(), *source.name);
        problems.push(Problem::at(Code::UnusedSource, source.name.span.clone(), message, "no stage or sink has it as input"));
    }
    for stage in raw.stages.iter().filter(|stage| !read.contains(&stage.name.value.as_str())) {
        let message = format!("nothing reads what stage \"{}\" makes", *stage.name);
        problems.push(Problem::at(Code::UnusedStage, stage.name.span.clone(), message, "no stage or sink has it as input"));
    }
    let is_used = |name: &str| raw.stages.iter().any(|stage| stage.plugin.as_ref().is_some_and(|plugin| plugin.value == name));
    for plugin in raw.plugins.iter().filter(|plugin| !is_used(&plugin.name)) {
        let message = format!("plugin \"{}\" is never used", *plugin.name);
        problems.push(Problem::at(Code::UnusedPlugin, plugin.name.span.clone(), message, "no stage names it"));
    }
}

/// Sources that name no schema need a registry, and sinks that name a subject of one.
fn registry(raw: &RawConfig, problems: &mut Problems) {
    let mut told = raw.sinks.iter().filter_map(|sink| Some((sink, sink.subject.as_ref()?)));
    let mut asked = raw.sources.iter().filter_map(|source| Some((source, source.asks_registry.as_ref()?)));
    match &raw.registry {
        Some(registry) if asked.next().is_none() && told.next().is_none() => {
            let message = "nothing asks the registry";
            let label = "each source and table is JSON, is raw, or names a schema file, and no sink has a subject";
            problems.push(Problem::at(Code::UnusedRegistry, registry.span.clone(), message, label));
        }
        Some(_) => {}
        None => {
            for (source, format) in asked {
                let message = format!("nobody has the schemas of {} \"{}\"", source.what(), *source.name);
                let label = format!("{} cannot be read without them", format.value);
                let problem = Problem::at(Code::SchemaNowhere, format.span.clone(), message, label);
                problems
                    .push(problem.help("name the file of the one schema, `schema = \"…\"`, or add `[registry]` with its `url`"));
            }
            for (sink, subject) in told {
                let message = format!("nobody keeps the schema of sink \"{}\"", *sink.name);
                let problem = Problem::at(Code::SchemaNowhere, subject.span.clone(), message, "a subject of which registry?");
                problems.push(
                    problem.help("add `[registry]` with its `url`, or remove \"subject\": then no id stands before values"),
                );
            }
        }
    }
}

/// What a topic is for, in messages: (whose it is, its name, where).
type Topic<'r> = (String, &'r str, Span);

fn topics(raw: &RawConfig, problems: &mut Problems) {
    raw::check_paths(&raw.sinks, problems);
    let read: Vec<Topic<'_>> = raw
        .sources
        .iter()
        .filter_map(|source| Some((source, source.topic.as_ref()?)))
        .map(|(source, topic)| (format!("{} \"{}\"", source.what(), *source.name), topic.value.as_str(), topic.span.clone()))
        .collect();
    let written: Vec<Topic<'_>> = raw
        .sinks
        .iter()
        .filter_map(|sink| Some((sink, sink.topic.as_ref()?)))
        .map(|(sink, topic)| (format!("sink \"{}\"", *sink.name), topic.value.as_str(), topic.span.clone()))
        .collect();
    twice(&read, "read", problems);
    twice(&written, "written", problems);
    for (sink, topic, span) in &written {
        if let Some((source, _, read_span)) = read.iter().find(|(_, other, _)| other == topic) {
            let message = format!("topic \"{topic}\" is both read and written");
            let problem = Problem::at(Code::TopicLoop, span.clone(), message, format!("{sink} writes it"));
            problems.push(
                problem
                    .also(read_span.clone(), format!("{source} reads it"))
                    .note("its own results would come back as input, for ever"),
            );
        }
    }
    for (user, topic, span) in read.iter().chain(&written) {
        reserved(raw, user, topic, span, problems);
    }
}

fn twice(topics: &[Topic<'_>], verb: &str, problems: &mut Problems) {
    for (idx, (user, topic, span)) in topics.iter().enumerate() {
        if let Some((first_user, _, first)) = topics[..idx].iter().find(|(_, other, _)| other == topic) {
            let message = format!("topic \"{topic}\" is {verb} twice");
            problems.push(
                Problem::at(Code::TopicTwice, span.clone(), message, format!("by {user}"))
                    .also(first.clone(), format!("by {first_user}")),
            );
        }
    }
}

/// Internal topics, late topics and the dead-letter topic are written by Reelflow alone, and reading one's own is a loop.
fn reserved(raw: &RawConfig, user: &str, topic: &str, span: &Span, problems: &mut Problems) {
    let internal = raw.pipeline.as_ref().is_some_and(|pipeline| topic.starts_with(&format!("reel.{}.", *pipeline.name)));
    let dead = raw.pipeline.as_ref().is_some_and(|pipeline| topic == pipeline.dead_letters.value);
    let late = topic.strip_prefix("late.").is_some_and(|name| raw.stages.iter().any(|stage| stage.name.value == name));
    let what = match () {
        () if internal => "a topic of the pipeline's own",
        () if dead => "where refused records go",
        () if late => "where late records go",
        () => return,
    };
    let message = format!("{user} cannot use topic \"{topic}\"");
    problems.push(Problem::at(Code::ReservedTopic, span.clone(), message, what));
}
