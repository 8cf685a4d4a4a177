//! Problems that only the world outside of the manifest can show, at the place in the manifest that they concern.
//!
//! The caller finds them out; here they get their words. Those without a place are made with [`Problem::nowhere`].

use std::fmt::Display;

use crate::{
    code::Code,
    config::{Config, External, Log, Source},
    problem::{At, Problem, Span},
};

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
    pub fn broker_too_old(&self, version: impl Display) -> Problem {
        let message = format!("exactly-once needs Apache Kafka 4.0 or newer, this is {version}");
        self.at_log(Code::BrokerTooOld, message, "these brokers".to_owned())
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

    /// Offsets `from..to` of `topic` are gone, and the pipeline has not read them.
    pub fn data_lost(&self, topic: &str, partition: u32, from: i64, to: i64) -> Problem {
        let message = format!("records {from} to {} of topic \"{topic}\", partition {partition}, are gone", to - 1);
        let problem = match self.source_of(topic) {
            Some(source) => Problem::at(Code::DataLoss, source.topic.span.clone(), message, "they were never read"),
            None => Problem::nowhere(Code::DataLoss, message),
        };
        problem.help("to accept the loss and begin anew, start with `--reset`")
    }

    /// Committed epochs stand in the changelog, but nothing says where to resume.
    pub fn reset_needed(&self) -> Problem {
        let span: Span = self.pipeline.name.span.clone();
        let message = format!("pipeline \"{}\" has state but no place to resume from", *self.pipeline.name);
        Problem::at(Code::ResetNeeded, span, message, "its changelog holds committed epochs, its group no offsets")
            .help("if this is another pipeline, rename it; to compute everything anew, start with `--reset`")
    }

    /// The stored state belongs to another plan.
    pub fn plan_changed(&self, why: impl Display) -> Problem {
        let message = format!("the state of pipeline \"{}\" was written by another plan", *self.pipeline.name);
        Problem::at(Code::PlanChanged, self.pipeline.name.span.clone(), message, why.to_string())
            .help("undo the change, rename the pipeline, or start with `--reset`")
    }
}

/// What `value` refers to is not there.
pub fn external_missing(value: &At<External>, why: impl Display) -> Problem {
    Problem::at(Code::ExternalMissing, value.span.clone(), "a value from outside is not there", why.to_string())
}
