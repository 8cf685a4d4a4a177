//! What goes wrong outside of the manifest, said at the place in the manifest that it concerns.

use std::time::Duration;

use reelflow_config::{Config, Problem, Problems, config::Log as LogSection};
use reelflow_ports::{
    bases::BaseError,
    engine::LoadError,
    files::FilesError,
    history::HistoryError,
    log::{Log, LogError},
    schemas::SchemasError,
};
use reelflow_runtime::error::{RecoveryError, RunError, StageError};

use crate::failure::{Failure, exit_of};

/// The partition count that all sources share, or all that is wrong with their topics.
pub(crate) fn source_partitions(config: &Config, log: &dyn Log) -> Result<Result<u32, Problems>, LogError> {
    let mut problems = Problems::default();
    let mut first: Option<(&str, u32)> = None;
    for source in &config.sources {
        let topic = source.topic.as_str();
        match (log.n_partitions(topic)?, first) {
            (None, _) => problems.push(config.topic_missing(topic)),
            (Some(n), None) => first = Some((topic, n)),
            (Some(n), Some((other, n_other))) if n != n_other => {
                problems.push(config.partitions_differ(topic, n, other, n_other));
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(match first {
        Some((_, n)) if problems.is_empty() => Ok(n),
        _ => Err(problems),
    })
}

/// Why a pipeline stopped: problems of the manifest, or something that no place in it has to do with.
pub(crate) fn problems_of_run(config: &Config, error: RunError) -> Result<Problems, Failure> {
    match error {
        RunError::Log(error) => problem(config, &error).map(Problems::from).ok_or_else(|| error.into()),
        RunError::GaveUp { failing_for, last } => {
            let gave_up = format!("gave up after {} s", failing_for.as_secs());
            match problem(config, &last) {
                Some(problem) => Ok(problem.note(gave_up).into()),
                None => Err(Failure::new(exit_of(last.who()), format!("{gave_up}: {last}"))),
            }
        }
        RunError::Schemas { failing_for, last } => Ok(registry_problem(config, failing_for, &last).into()),
        RunError::Topics { problems: all, .. } => {
            let mut problems = Problems::default();
            for error in all {
                match problem(config, &error) {
                    Some(problem) => problems.push(problem),
                    None => return Err(error.into()),
                }
            }
            Ok(problems)
        }
        RunError::Stage(why) => Ok(stage_problem(config, &why).into()),
        RunError::History(HistoryError::UnderWay(_)) => Ok(config
            .behind_a_backfill()
            .help("let `reel backfill --then-live` come to its end: the same command goes on where it was")
            .into()),
        RunError::History(why) => Ok(config.backfill_stuck(&why).help(help_with_history(&why)).into()),
        RunError::Files { sink, why } => files_problem(config, &sink, &why),
        RunError::Bases(why @ BaseError::Taken { .. }) => Ok(config.store_taken(&why).help(help_with_store(&why)).into()),
        RunError::Bases(why) => Ok(config.store_unusable(&why).help(help_with_store(&why)).into()),
        RunError::Recovery { task, why: why @ RecoveryError::BasesLost { .. } } => Ok(config.bases_lost(&task, why).into()),
        RunError::Recovery { task, why: why @ RecoveryError::NoStore { .. } } => Ok(config.store_unnamed(&task, why).into()),
        RunError::Recovery { task, why: RecoveryError::State(why) } if why.is_of_another_plan() => {
            let problem = config.plan_changed(format!("{task}: {why}"));
            Ok(match why.can_be_reset() {
                Some(stage) => problem.help(format!(
                    "undo the change, give the pipeline a new name, or forget what the stage keeps: `reel run --reset {stage}`"
                )),
                None => problem,
            }
            .into())
        }
        error => Err(Failure::new(exit_of(error.who()), &error)),
    }
}

fn help_with_store(error: &BaseError) -> String {
    let help = match error {
        BaseError::Unavailable(_) => "look after the store, and start again",
        BaseError::Denied(_) => "give this account the right to read, write, list and delete there",
        BaseError::Full(_) => "free some space, and start again",
        BaseError::BadAddress(_) => "name a folder, or a name that is free",
        BaseError::Taken { pipeline, .. } => {
            return format!(
                "give each log a store of its own, such as a folder in this one; if this log is the other one moved, remove `{pipeline}/.log` from the store"
            );
        }
    };
    help.to_owned()
}

/// Why a stage stopped the pipeline, at what it says of errors.
fn stage_problem(config: &Config, error: &StageError) -> Problem {
    let (place, why) = (error.place(), format!("{} ({})", error.row.error, error.row.reason));
    match &error.exceeded {
        None => config
            .stage_failed(&error.stage, place, why)
            .help("mend the plugin and start again; or write `on_error = \"dead-letter\"`"),
        Some((much, _)) => {
            let much = format!("{} errors in {} rows", much.n_wrong, much.n_rows);
            config.too_many_errors(&error.stage, much, place, why).help("mend the plugin or its input and start again")
        }
    }
}

/// Why a schema registry was given up.
fn registry_problem(config: &Config, failing_for: Duration, error: &SchemasError) -> Problem {
    match error {
        SchemasError::Unavailable(why) => {
            config.registry_unreachable(why).note(format!("gave up after {} s", failing_for.as_secs()))
        }
        SchemasError::Denied(why) | SchemasError::BadUrl(why) => config.registry_denied(why),
    }
}

/// Why a plugin cannot be loaded, at its path in the manifest.
pub(crate) fn plugin_problem(config: &Config, plugin: &str, error: &LoadError) -> Problem {
    match error {
        LoadError::CompileTime { .. } => config
            .plugin_refused(plugin, error)
            .help("raise `compile_time` in the plugin's limits, if it is a component that you trust to be worth it"),
        LoadError::CompileMemory { .. } => config
            .plugin_refused(plugin, error)
            .help("raise `compile_memory` in the plugin's limits, if it is a component that you trust to be worth it"),
        LoadError::CompilerBroke { .. } | LoadError::NoCompiler(_) => config.plugin_not_compiled(plugin, error),
        LoadError::NotAComponent(_)
        | LoadError::TooLarge { .. }
        | LoadError::TooCostly { .. }
        | LoadError::Imports(_)
        | LoadError::WrongWorld(_)
        | LoadError::Config(_)
        | LoadError::Description(_)
        | LoadError::Fault(_) => config.plugin_refused(plugin, error),
    }
}

/// Why the files of a source cannot be replayed, at its path in the manifest.
pub(crate) fn history_problem(config: &Config, source: &str, error: &HistoryError) -> Problem {
    config.history_unusable(source, error).help(help_with_history(error))
}

fn help_with_history(error: &HistoryError) -> &'static str {
    match error {
        HistoryError::Missing(_) | HistoryError::NothingFound(_) => "mend the path, which is relative to the manifest",
        HistoryError::Foreign { .. } => "move the file away, or write a pattern that leaves it out",
        HistoryError::Pattern(..) => "write a name with `*` for any characters of one folder's or file's name",
        HistoryError::TooDeep(_) => "name a folder further down, or remove the link that leads back up",
        HistoryError::Unreadable { .. } => "give this account the right to read it",
        HistoryError::Damaged { .. } => "bring the whole file, or take it out of the folder",
        HistoryError::Codec { .. } => "write it without compression, or with snappy or zstd",
        HistoryError::ColumnMissing { .. } | HistoryError::ColumnType { .. } => {
            "write files with the columns that the pipeline reads: `reel explain` lists the fields of each source"
        }
        HistoryError::Empty { in_range: true } => "ask for other times with --from and --to",
        HistoryError::Empty { in_range: false } => "name the sources that have records with --only",
        HistoryError::Changed { .. } => "bring the files and options of before, or begin anew under another --name",
        HistoryError::Uncounted(_) => "begin anew under another --name",
        HistoryError::Gap { .. } => {
            "bring the files of what is missing, or give the topic a longer retention before the files are written"
        }
        HistoryError::Beyond { .. } => "name the topic, and the log, that these files were made of",
        HistoryError::Live(_) => "begin a pipeline of another name; to mend what this one has written, use --suffix",
        HistoryError::UnderWay(_) => "let it come to its end",
        HistoryError::NotAlone(_) => "stop them: all partitions are handed over at once; the same command goes on where it was",
        HistoryError::DiskFull(_) => "free some space, or sort somewhere else with --spool",
        HistoryError::Unavailable { .. } => "name a folder that can be written with --spool",
    }
}

/// Why the files of a sink cannot be published, at its path in the manifest.
fn files_problem(config: &Config, sink: &str, error: &FilesError) -> Result<Problems, Failure> {
    let help = match error {
        FilesError::NotAFolder(_) => "name a folder, or a name that is free",
        FilesError::Denied { .. } => "give this account the right to write there, or name another folder",
        FilesError::Unfit { .. } => "name a folder on another file system",
        FilesError::Foreign { .. } => "give each sink a folder of its own, empty when it starts",
        FilesError::Damaged { .. } => "bring the file back as it was: it says what is published already",
        FilesError::Ahead { .. } => {
            "bring the log back that these files were published from, or name a new folder for those of this one"
        }
        FilesError::Behind { .. } => "bring the folder back, or give the sink a new name to begin in a new folder",
        FilesError::Unreadable { .. } => {
            "publish what waits with the manifest and plugins as they were (`reel run --until-end`), or give the sink a new name"
        }
        FilesError::DiskFull(_) | FilesError::Unavailable { .. } | FilesError::Overtaken { .. } => {
            let message = format!("the files of sink \"{sink}\" cannot be published: {error}");
            return Err(Failure::new(exit_of(error.who()), message)
                .help("Nothing that was committed is lost: the next run publishes what is left."));
        }
    };
    Ok(config.files_unusable(sink, error).help(help).into())
}

/// An error of the log at its place in the manifest; `None` for errors that no place in it has to do with.
pub(crate) fn problem(config: &Config, error: &LogError) -> Option<Problem> {
    Some(match error {
        LogError::Unavailable(why) => config.broker_unreachable(why),
        LogError::TopicMissing(topic) => config.topic_missing(topic),
        LogError::PartitionCount { topic, found, wanted } => {
            config.partitions_differ(topic, *found, config.sources[0].topic.as_str(), *wanted)
        }
        LogError::OffsetLost { at, wanted, earliest, end } => config.data_lost(&at.topic, at.partition, *wanted, *earliest, *end),
        LogError::Denied(why) => config.access_denied(why),
        LogError::TooOld(why) => config.broker_too_old(why),
        LogError::Fenced(_)
        | LogError::InDoubt(_)
        | LogError::RecordTooLarge { .. }
        | LogError::DiskFull(_)
        | LogError::Refused(_)
        | LogError::Damaged(_) => return None,
    })
}

/// Like [`problem`], for a log that could not be opened.
pub(crate) fn problem_of_opening(config: &Config, error: &LogError) -> Option<Problem> {
    match (&config.log, error) {
        (LogSection::Embedded { .. }, LogError::Refused(why) | LogError::Damaged(why)) => Some(config.log_unusable(why)),
        (_, error) => problem(config, error),
    }
}
