//! What `reel` understands on its command line, with examples.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use reelflow_core::time::EventTime;

use compile::{ComponentCache, component_cache};
use dlq::{Dlq, Replay};
pub(crate) use reload::{History, Reload};
use state::State;
use top::Top;
use values::{event_time, listening, pipeline_name, suffix};

pub(crate) mod admin;
pub(crate) mod compile;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod plugin;
pub(crate) mod reload;
pub(crate) mod shadow;
pub(crate) mod state;
pub(crate) mod test;
pub(crate) mod top;
mod values;

/// Exactly the answer the batch job would have given, in seconds, after any crash.
#[derive(Debug, Parser)]
#[command(
    name = "reel",
    version,
    propagate_version = true,
    after_help = "First steps:\n  reel new trending && cd trending\n  reel build && reel test\n  reel topic write plays plays.ndjson --key profile_id --timestamp event_ts --partitions 1 --end\n  reel run --until-end && reel topic read trending\n\nExit codes: 0 ok, 1 the run failed, 2 usage or manifest, 3 environment, 130 interrupted."
)]
pub(crate) struct Cli {
    /// Colours: auto follows the terminal and NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Log what happens inside to standard error, as JSON lines: error, warn, info, debug; or a filter such as reelflow_runtime=debug.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Where compiled plugins are kept: a folder that only this user can write, or off. Default $XDG_CACHE_HOME/reelflow/components.
    #[arg(long, global = true, value_name = "DIR|off", env = "REEL_COMPONENT_CACHE", value_parser = component_cache, default_value = "", hide_default_value = true)]
    pub(crate) component_cache: ComponentCache,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline.
    Run(Run),
    /// Run a pipeline over files in place of its topics: to mend results, to fill a gap, or to give a new one its past.
    Backfill(Backfill),
    /// Give a running pipeline other code: tried on all partitions, kept if all goes well.
    #[command(alias = "upgrade")]
    Reload(Reload),
    /// Which code a pipeline has run, what was tried, and why it was given up.
    History(History),
    /// Run a candidate beside a running pipeline, on the same input and a copy of its state, and tell what it would have written otherwise.
    Shadow(shadow::Shadow),
    /// Find everything that is wrong with a manifest, without starting anything.
    #[command(alias = "validate", alias = "lint")]
    Check(Check),
    /// Play the tests of a manifest: records in, and what is to come of them.
    Test(test::Test),
    /// Build, test and play a sample, again whenever something is saved, and show what has changed.
    Dev(dev::Dev),
    /// Say what a pipeline does, or what an error code means.
    Explain(Explain),
    /// Start a new plugin: a crate, a manifest with a test, and sample records.
    New(New),
    /// Compile a plugin crate to a component and check it.
    Build(Build),
    /// Look at components.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Say how a running pipeline stands: which code it runs, what is tried, and why something was given up.
    Status(admin::Status),
    /// Show how fast a running pipeline is, how far behind, and what its plugins cost.
    Top(Top),
    /// Create, write, read and list topics of the log that a manifest names.
    #[command(subcommand)]
    Topic(Topic),
    /// Look at what a pipeline keeps, as it was committed last.
    #[command(subcommand)]
    State(State),
    /// Look at dead letters, and put their records back.
    #[command(subcommand)]
    Dlq(Dlq),
    /// Make the call of an incident bundle again.
    Replay(Replay),
    /// Print the JSON Schema of the manifest, for editors.
    Schema,
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  reel completions bash > /etc/bash_completion.d/reel")]
    Completions { shell: clap_complete::Shell },
    /// Internal: compile the component on standard input. What the process itself starts, with limits; see docs/operations.md.
    #[command(hide = true)]
    CompileComponent(compile::CompileComponent),
}

/// Which manifest.
#[derive(Debug, Args)]
pub(crate) struct ManifestArg {
    /// The manifest.
    #[arg(value_name = "FILE", default_value = "reel.toml")]
    pub(crate) manifest: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel run\n  reel run pipeline.toml --workers 4\n  reel run --until-end --format json | jq .records_per_s\n  reel run --metrics 9464 & curl -s localhost:9464/metrics\n  REEL_ADMIN_TOKEN=... reel run --admin 7070 & reel reload --admin 7070\n\nThe first ctrl-c seals the open epoch and leaves; the second leaves at once."
)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) process: Process,
    /// Stop once everything is processed that was in the source topics at the start.
    #[arg(long)]
    pub(crate) until_end: bool,
    /// Take components that are built anew while the pipeline runs, as `reel reload` does.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Forget what this stage keeps before it begins; may be given several times. Every start with it forgets again: leave it out of scripts.
    #[arg(long, value_name = "STAGE")]
    pub(crate) reset: Vec<String>,
    #[command(flatten)]
    pub(crate) serve: admin::Serve,
}

/// How a process runs a pipeline.
#[derive(Debug, Args)]
pub(crate) struct Process {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Worker threads; each owns some of the partitions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: u16,
    /// Names this process among those that run the pipeline. Keep it over restarts: a new life then takes over at once.
    #[arg(long, default_value = "0", value_name = "NAME")]
    pub(crate) instance: String,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Seconds to go on trying while the log does not answer.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) give_up_after: u64,
    /// Seconds after which the log takes a silent worker for dead.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) session_timeout: u64,
    /// Serve /metrics, /healthz and /readyz over HTTP: a port of this machine alone, or ADDRESS:PORT. Port 0 is a free one.
    #[arg(long, value_name = "ADDR", value_parser = listening)]
    pub(crate) metrics: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel backfill --suffix .fixed\n  reel backfill --in-place --from 2026-01-03 --to 2026-01-04T06:00:00Z\n  reel backfill pipeline.toml --suffix .fixed --only plays --workers 2\n  reel backfill --then-live && reel run\n\nReads what `files` of the sources names, in the order of event time. Stopped or killed, the same command goes on where it was."
)]
#[command(group = clap::ArgGroup::new("results").required(true))]
pub(crate) struct Backfill {
    #[command(flatten)]
    pub(crate) process: Process,
    /// Write results beside those of the live pipeline: topics and folders get this behind their names.
    #[arg(long, group = "results", value_name = "SUFFIX", value_parser = suffix)]
    pub(crate) suffix: Option<String>,
    /// Write results into the topics of the live pipeline.
    #[arg(long, group = "results")]
    pub(crate) in_place: bool,
    /// Be the pipeline's past: state and results are its own, and `reel run` goes on in the topics behind the last record of the files.
    #[arg(long, group = "results", conflicts_with_all = ["to", "only", "name", "partitions"])]
    pub(crate) then_live: bool,
    /// Only records that happened at this time or later: RFC 3339, a date (UTC), or ms since 1970.
    #[arg(long, value_name = "TIME", value_parser = event_time, allow_hyphen_values = true)]
    pub(crate) from: Option<EventTime>,
    /// Only records that happened before this time.
    #[arg(long, value_name = "TIME", value_parser = event_time, allow_hyphen_values = true)]
    pub(crate) to: Option<EventTime>,
    /// Only the files of this source; the others count as empty. May be given several times.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) only: Vec<String>,
    /// The backfill's own name, for its state and internal topics; the pipeline's with `-backfill` and the suffix if not given.
    #[arg(long, value_name = "NAME", value_parser = pipeline_name)]
    pub(crate) name: Option<String>,
    /// How many partitions the backfill's own topics have; as many as the source topics if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) partitions: Option<u32>,
    /// Where records are sorted: a folder with about as much room as their files take. The manifest's folder if not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel check\n  reel check --format json pipeline.toml\n  reel check --online --deny-warnings"
)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Also ask the log: do the topics exist, with equal partition counts?
    #[arg(long)]
    pub(crate) online: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel explain\n  reel explain pipeline.toml --format mermaid\n  reel explain RF0210")]
pub(crate) struct Explain {
    /// A manifest, or an error code such as RF0210.
    #[arg(default_value = "reel.toml", value_name = "FILE|CODE")]
    pub(crate) subject: String,
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    pub(crate) format: ExplainFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    Text,
    /// A flowchart for Mermaid.
    Mermaid,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel new trending\n  reel new enrich --kind transform")]
pub(crate) struct New {
    /// The folder to create; its last part names the crate.
    pub(crate) name: PathBuf,
    /// What the plugin does.
    #[arg(long, value_enum, default_value_t = Kind::Aggregate)]
    pub(crate) kind: Kind,
    /// Where the `reelflow` crate is, for a checkout that is not published.
    #[arg(long, value_name = "DIR", env = "REELFLOW_SDK")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Rows in, rows out.
    Transform,
    /// Rows into a state per key and window, and results out of it.
    Aggregate,
    /// Matched pairs in, rows out.
    Join,
    /// Rows and timers of a key, with a state for each key.
    Process,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel build\n  reel build plugins/trending --out components/trending.wasm")]
pub(crate) struct Build {
    /// The plugin's crate.
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Where to put the component; `<crate>.wasm` in the crate's folder if not given.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The cargo profile.
    #[arg(long, default_value = "release")]
    pub(crate) profile: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// All topics and their partitions.
    List {
        #[command(flatten)]
        log: LogArg,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Create a topic; fine if it exists with the same partitions.
    #[command(after_help = "Example:\n  reel topic create plays --partitions 4")]
    Create {
        topic: String,
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        partitions: u32,
        #[command(flatten)]
        log: LogArg,
    },
    /// Write records from files or standard input.
    Write(TopicWrite),
    /// Print committed records.
    Read(TopicRead),
}

/// Which log.
#[derive(Debug, Args)]
pub(crate) struct LogArg {
    /// The manifest that names the log.
    #[arg(long, short = 'm', default_value = "reel.toml", value_name = "FILE")]
    pub(crate) manifest: PathBuf,
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// Each line is a value, usually a JSON object.
    Ndjson,
    /// Key, log timestamp in ms, value; separated by tabs. Key and timestamp alone are a record without a value, which deletes the key of a table.
    Tsv,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel topic write plays plays.ndjson --key profile_id --timestamp sent_ts\n  zcat plays.ndjson.gz | reel topic write plays - --partitions 4 --end\n  reel topic write plays topics/plays.tsv --lines tsv"
)]
pub(crate) struct TopicWrite {
    pub(crate) topic: String,
    /// Files; `-` is standard input.
    #[arg(default_value = "-")]
    pub(crate) files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = LineFormat::Ndjson)]
    pub(crate) lines: LineFormat,
    /// The field whose value is the record's key (ndjson).
    #[arg(long, value_name = "FIELD")]
    pub(crate) key: Option<String>,
    /// The field whose value is the log timestamp in ms (ndjson); the time of writing if not given.
    #[arg(long, value_name = "FIELD")]
    pub(crate) timestamp: Option<String>,
    /// Create the topic with this many partitions if it does not exist.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) partitions: Option<u32>,
    /// Then say on every partition that nothing more will come: all windows close.
    #[arg(long)]
    pub(crate) end: bool,
    #[command(flatten)]
    pub(crate) log: LogArg,
}

/// What to print of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadFormat {
    /// The value, one a line.
    Value,
    /// A JSON object: partition, offset, timestamp, key, value, headers. Bytes that are not text are given as base64 under `…_base64`.
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel topic read trending\n  reel topic read dead.trending --format json --limit 5")]
pub(crate) struct TopicRead {
    pub(crate) topic: String,
    #[arg(long, value_enum, default_value_t = ReadFormat::Value)]
    pub(crate) format: ReadFormat,
    /// Only this partition.
    #[arg(long)]
    pub(crate) partition: Option<u32>,
    /// At most this many records.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) log: LogArg,
}
