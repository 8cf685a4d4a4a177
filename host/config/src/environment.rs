//! Problems that only the world outside of the manifest can show, at the place in the manifest that they concern.
//!
//! The caller finds them out; here they get their words. Those without a place are made with [`Problem::nowhere`].

use std::fmt::Display;

use crate::{
    code::Code,
    config::{Config, External, Log, Sink, Source, SourceFormat, failing::StageFailing, written::SinkSchema},
    problem::{At, Problem},
};

/// What a stage that stops the pipeline leaves behind.
const NOTHING_COMMITTED: &str = "nothing of the open epoch was committed: the next run goes on where the last commit left off";

impl Config {
    fn source_of(&self, topic: &str) -> Option<&Source> {
        self.sources.iter().find(|source| *source.topic == topic)
    }

    /// At what the manifest says of the log's address, or nowhere.
    fn at_log(&self, code: Code, message: String, label: String) -> Problem {
        match &self.log {
            Log::Kafka { brokers, .. } => Problem::at(code, brokers.span.clone(), message, label),
            Log::Embedded { path } if !path.span.is_empty() => Problem::at(code, path.span.clone(), message, label),
            Log::Embedded { .. } => Problem::nowhere(code, message).note(label),
        }
    }

    /// Plugin `name` may be as good as any; compiling it failed here. Panics if there is no plugin of that name.
    pub fn plugin_not_compiled(&self, name: &str, why: impl Display) -> Problem {
        let plugin = self.plugins.iter().find(|plugin| *plugin.name == name).expect("the caller loads plugins of this config");
        let message = format!("plugin \"{name}\" cannot be compiled here");
        Problem::at(Code::PluginNotCompiled, plugin.path.span.clone(), message, why.to_string())
    }

    /// `topic`, which a source reads, does not exist.
    pub fn topic_missing(&self, topic: &str) -> Problem {
        let message = format!("topic \"{topic}\" does not exist");
        match self.source_of(topic) {
            Some(source) => {
                let label = format!("source \"{}\" reads it", *source.name);
                let problem = Problem::at(Code::MissingTopic, source.topic.span.clone(), message, label);
                problem.help("create it, or correct the name: a source's topic is never created by Reelflow")
            }
            None => Problem::nowhere(Code::MissingTopic, message),
        }
    }

    /// `topic` has `n` partitions, but `other` has `n_other`.
    pub fn partitions_differ(&self, topic: &str, n: u32, other: &str, n_other: u32) -> Problem {
        let place = |topic: &str| self.source_of(topic).map(|source| source.topic.span.clone());
        let message = format!("topic \"{topic}\" has {n} partitions, \"{other}\" has {n_other}");
        let mut problem = Problem::nowhere(Code::PartitionMismatch, message);
        if let Some(span) = place(topic) {
            problem.span = Some(span);
            problem.label = format!("{n} partitions");
        }
        if let (Some(span), true) = (place(other), problem.span.is_some()) {
            problem = problem.also(span, format!("{n_other} partitions"));
        }
        problem.note("records with one key must lie in one partition number of all topics that a pipeline reads")
    }

    /// The broker does not answer.
    pub fn broker_unreachable(&self, why: impl Display) -> Problem {
        self.at_log(Code::BrokerUnreachable, "the broker does not answer".to_owned(), why.to_string())
    }

    /// The broker is older than exactly-once needs.
    pub fn broker_too_old(&self, why: impl Display) -> Problem {
        self.at_log(Code::BrokerTooOld, "the brokers are too old for exactly-once".to_owned(), why.to_string())
            .help("upgrade the brokers, or write `guarantee = \"at-least-once\"`")
    }

    /// The broker refuses what was tried.
    pub fn access_denied(&self, why: impl Display) -> Problem {
        self.at_log(Code::AccessDenied, "the broker refuses access".to_owned(), why.to_string())
    }

    /// The embedded log cannot be opened.
    pub fn log_unusable(&self, why: impl Display) -> Problem {
        self.at_log(Code::LogUnusable, "the embedded log cannot be opened".to_owned(), why.to_string())
    }

    /// The pipeline would go on at offset `wanted` of `topic`, which holds `earliest..end`.
    pub fn data_lost(&self, topic: &str, partition: u32, wanted: i64, earliest: i64, end: i64) -> Problem {
        let (message, label) = if wanted < earliest {
            let last = earliest - 1;
            (format!("records {wanted} to {last} of topic \"{topic}\", partition {partition}, are gone"), "they were never read")
        } else {
            let message = format!("topic \"{topic}\", partition {partition}, ends at {end}, before offset {wanted}");
            (message, "more of it was read before: the topic was created anew, or its records were lost")
        };
        let problem = match self.source_of(topic) {
            Some(source) => Problem::at(Code::DataLoss, source.topic.span.clone(), message, label),
            None => Problem::nowhere(Code::DataLoss, message).note(label),
        };
        problem.help("to accept the loss and compute anew from what is left, give the pipeline a new name")
    }

    /// The folder of the file sink `sink` cannot be used, or does not fit the log.
    pub fn files_unusable(&self, sink: &str, why: impl Display) -> Problem {
        let path = self.sinks.iter().find(|one| *one.name == sink).and_then(|one| Some(one.files()?.path.span.clone()));
        let message = format!("the files of sink \"{sink}\" cannot be published");
        match path {
            Some(span) => Problem::at(Code::FilesUnusable, span, message, why.to_string()),
            None => Problem::nowhere(Code::FilesUnusable, format!("{message}: {why}")),
        }
    }

    /// The schema file of source `name`, at its place in the manifest or at the source's name.
    fn at_schema(&self, code: Code, name: &str, done: &str, label: String) -> Problem {
        let source = self.sources.iter().find(|source| *source.name == name);
        let message = format!("the schema of {} \"{name}\" cannot be {done}", source.map_or("source", Source::what));
        match source.map(|source| (&source.format, &source.name.span)) {
            Some((SourceFormat::Bare { schema, .. }, _)) => Problem::at(code, schema.span.clone(), message, label),
            Some((_, name)) => Problem::at(code, name.clone(), message, label),
            None => Problem::nowhere(code, message).note(label),
        }
    }

    /// The schema file of source `name` cannot be read.
    pub fn schema_unreadable(&self, name: &str, why: impl Display) -> Problem {
        self.at_schema(Code::SchemaUnreadable, name, "read", why.to_string())
            .help("mend the path, which is relative to the manifest")
    }

    /// The schema file of source `name` holds no schema, or not what the source wants of it.
    pub fn bad_schema(&self, name: &str, why: impl Display) -> Problem {
        self.at_schema(Code::BadSchema, name, "used", why.to_string())
    }

    /// The schema file of `sink` cannot be read.
    pub fn sink_schema_unreadable(&self, sink: &Sink, said: &SinkSchema, why: impl Display) -> Problem {
        let message = format!("the schema of sink \"{}\" cannot be read", *sink.name);
        Problem::at(Code::SchemaUnreadable, said.path.span.clone(), message, why.to_string())
            .help("mend the path, which is relative to the manifest")
    }

    /// The schema file of `sink` holds no schema, or not what the sink wants of it.
    pub fn bad_sink_schema(&self, sink: &Sink, said: &SinkSchema, why: impl Display) -> Problem {
        let message = format!("the schema of sink \"{}\" cannot be used", *sink.name);
        Problem::at(Code::BadSchema, said.path.span.clone(), message, why.to_string())
    }

    /// The registry does not take the schema of `sink`.
    pub fn schema_refused(&self, sink: &Sink, said: &SinkSchema, why: impl Display) -> Problem {
        let subject = said.subject.as_ref().unwrap_or(&said.path);
        let message = format!("the registry does not take the schema of sink \"{}\"", *sink.name);
        Problem::at(Code::SchemaRefused, subject.span.clone(), message, why.to_string())
            .also(said.path.span.clone(), "this schema")
            .note("nothing was written")
    }

    fn at_registry(&self, code: Code, message: &str, label: String) -> Problem {
        match &self.registry {
            Some(registry) => Problem::at(code, registry.url.span.clone(), message, label),
            None => Problem::nowhere(code, message).note(label),
        }
    }

    /// The schema registry does not answer.
    pub fn registry_unreachable(&self, why: impl Display) -> Problem {
        self.at_registry(Code::RegistryUnreachable, "the schema registry does not answer", why.to_string())
            .note("records whose schemas are not known were not read: nothing is lost")
    }

    /// The schema registry does not let us in, or its address is none.
    pub fn registry_denied(&self, why: impl Display) -> Problem {
        self.at_registry(Code::RegistryDenied, "the schema registry refuses access", why.to_string())
    }

    /// At the address of the store of bases, or nowhere.
    fn at_store(&self, code: Code, message: String, label: String) -> Problem {
        match &self.state {
            Some(state) => Problem::at(code, state.store.span.clone(), message, label),
            None => Problem::nowhere(code, message).note(label),
        }
    }

    /// The store of bases does not answer, refuses access, is full, or is none.
    pub fn store_unusable(&self, why: impl Display) -> Problem {
        self.at_store(Code::StoreUnusable, "the store of bases cannot be used".to_owned(), why.to_string())
            .note("nothing that was committed is lost")
    }

    /// A pipeline of this name keeps its bases there, and it is one of another log.
    pub fn store_taken(&self, why: impl Display) -> Problem {
        self.at_store(Code::StoreTaken, "the store of bases is in use".to_owned(), why.to_string())
            .note("each would remove the other's bases")
    }

    /// Neither of the bases that `task` goes on from is in the store as it was written.
    pub fn bases_lost(&self, task: &str, why: impl Display) -> Problem {
        self.at_store(Code::BasesLost, format!("the state of {task} cannot be recovered"), why.to_string()).help(
            "bring one of these objects back, or name the store that holds them; to begin anew, give the pipeline a new name",
        )
    }

    /// The state of `task` lies in a store, and there is no `[state]`.
    pub fn store_unnamed(&self, task: &str, why: impl Display) -> Problem {
        Problem::nowhere(Code::StoreUnnamed, format!("the state of {task} cannot be recovered: {why}"))
            .help("write `[state]` with the `store` of before; `bases = \"changelog\"` beside it leads away from that store")
    }

    /// `stage` stopped the pipeline at its first error, at the row `place`.
    pub fn stage_failed(&self, stage: &str, place: impl Display, why: impl Display) -> Problem {
        let message = format!("stage \"{stage}\" failed at {place}");
        let says = self.failing_of(stage).and_then(|failing| failing.on_error.clone());
        let problem = match says {
            Some(span) => Problem::at(Code::StageFailed, span, message, "so the pipeline stops at the first error"),
            None => Problem::nowhere(Code::StageFailed, message),
        };
        problem.note(why.to_string()).note(NOTHING_COMMITTED)
    }

    /// More went wrong in `stage` than `errors_max` allows; `much` says how much, and `place` where the last of it stood.
    pub fn too_many_errors(&self, stage: &str, much: impl Display, place: impl Display, why: impl Display) -> Problem {
        let message = format!("too much went wrong in stage \"{stage}\": {much}");
        let says = self.failing_of(stage).and_then(|failing| failing.errors_max.clone());
        let problem = match says {
            Some(span) => Problem::at(Code::TooManyErrors, span, message, "this is how much may"),
            None => Problem::nowhere(Code::TooManyErrors, message),
        };
        problem.note(format!("the last at {place}: {why}")).note(NOTHING_COMMITTED)
    }

    fn failing_of(&self, stage: &str) -> Option<&StageFailing> {
        self.stages.iter().find(|one| *one.name == stage).map(|one| &one.failing)
    }

    /// The stored state belongs to another plan.
    pub fn plan_changed(&self, why: impl Display) -> Problem {
        let message = format!("the state of pipeline \"{}\" was written by another plan", *self.pipeline.name);
        Problem::at(Code::PlanChanged, self.pipeline.name.span.clone(), message, why.to_string())
            .help("undo the change, or give the pipeline a new name")
    }
}

/// The manifest cannot be read.
pub fn manifest_unreadable(path: impl Display, why: impl Display) -> Problem {
    Problem::nowhere(Code::ManifestUnreadable, format!("manifest \"{path}\" cannot be read: {why}"))
}

/// What `value` refers to is not there.
pub fn external_missing(value: &At<External>, why: impl Display) -> Problem {
    Problem::at(Code::ExternalMissing, value.span.clone(), "a value from outside is not there", why.to_string())
}
