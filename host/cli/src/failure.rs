//! How a command ends when it does not end well: a text for a person, an exit code for a program.

use std::{fmt, io::IsTerminal};

use reelflow_config::{Problem, Problems, code::Code};
use reelflow_ports::log::{LogError, Who};

/// The process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The run, or a test, failed.
    Runtime = 1,
    /// The command line, the manifest, the data or the plugin must be mended.
    User = 2,
    /// Something outside does not answer or is full.
    Environment = 3,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Problems of a manifest, with the text that they point into.
    Manifest { file: String, text: String, problems: Problems },
    /// Anything else: what happened, and what can be done.
    Other { exit: Exit, message: String, help: Option<String> },
    /// All was said already; only the exit code is left.
    Said(u8),
    /// Standard output was closed: not worth a word.
    Closed,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure::Other { exit, message: message.to_string(), help: None }
    }

    pub(crate) fn help(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Other { exit, message, .. } => Failure::Other { exit, message, help: Some(text.into()) },
            other => other,
        }
    }

    /// All of it in one line, for somebody who does not have the manifest before them.
    pub(crate) fn text(&self) -> String {
        match self {
            Failure::Manifest { problems, .. } => {
                // The message says what cannot be, the label why.
                let text = |problem: &Problem| match problem.label.as_str() {
                    "" => problem.message.clone(),
                    label => format!("{}: {label}", problem.message),
                };
                problems.iter().map(text).collect::<Vec<_>>().join("; ")
            }
            Failure::Other { message, .. } => message.clone(),
            Failure::Said(_) | Failure::Closed => String::new(),
        }
    }

    /// All of it, as people are shown it. Empty if everything was said already.
    pub(crate) fn in_full(&self, color: bool) -> String {
        match self {
            Failure::Manifest { file, text, problems } => reelflow_config::render(problems, file, text, color),
            Failure::Other { message, help: None, .. } => format!("error: {message}"),
            Failure::Other { message, help: Some(help), .. } => format!("error: {message}\nhelp: {help}"),
            Failure::Said(_) | Failure::Closed => String::new(),
        }
    }

    /// Says on standard error what went wrong.
    pub(crate) fn say(&self) {
        let color =
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never && std::io::stderr().is_terminal();
        let text = self.in_full(color);
        if !text.is_empty() {
            anstream::eprintln!("{text}");
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Manifest { problems, .. } => {
                // A manifest that is right but cannot be used here is the environment's.
                // State of another plan is there because the manifest, or a plugin, was changed; files are named in the manifest.
                let of_user = [Code::PlanChanged, Code::NoHistory, Code::StoreUnnamed, Code::StoreTaken];
                let of_environment = |code: Code| code.number() / 100 == 5 && !of_user.contains(&code);
                // The manifest says that the failure of a plugin ends the run.
                let of_plugin = [Code::StageFailed, Code::TooManyErrors];
                if problems.iter().any(|problem| of_plugin.contains(&problem.code)) {
                    return Exit::Runtime as u8;
                }
                let environment = problems.iter().all(|problem| of_environment(problem.code));
                if environment { Exit::Environment as u8 } else { Exit::User as u8 }
            }
            Failure::Other { exit, .. } => *exit as u8,
            Failure::Said(code) => *code,
            Failure::Closed => 0,
        }
    }
}

/// The exit code that tells who must act.
pub(crate) fn exit_of(who: Who) -> Exit {
    match who {
        Who::User => Exit::User,
        Who::Environment => Exit::Environment,
        Who::Plugin | Who::Bug => Exit::Runtime,
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Failure {
        let help = match &error {
            LogError::Unavailable(_) => Some("Check that the broker runs and that log.brokers names it."),
            LogError::TopicMissing(_) => Some("Create it with `reel topic create`, or mend the name in the manifest."),
            LogError::PartitionCount { .. } => {
                Some("All topics that one pipeline reads must have the same number of partitions.")
            }
            LogError::OffsetLost { .. } => Some(
                "Retention deleted records before they were read, or the topic was created anew. Results would be wrong, so nothing was started.",
            ),
            LogError::RecordTooLarge { .. } => Some("Raise the topic's max.message.bytes, or write smaller records."),
            LogError::DiskFull(_) => Some("Free some space and start again: nothing that was committed is lost."),
            LogError::Fenced(_) => Some("Another process with the same --instance runs this pipeline."),
            LogError::Denied(_) => Some("Give this account the rights that docs/operations.md lists, or mend its credentials."),
            LogError::InDoubt(_) | LogError::TooOld(_) | LogError::Refused(_) | LogError::Damaged(_) => None,
        };
        Failure::Other { exit: exit_of(error.who()), message: error.to_string(), help: help.map(str::to_owned) }
    }
}
