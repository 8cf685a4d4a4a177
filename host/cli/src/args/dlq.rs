//! What `reel dlq` understands.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use reelflow_core::{
    letter::{Letter, Place},
    record::{Offset, Partition},
    time::EventTime,
};

use super::{Format, ManifestArg, values::event_time};

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Count dead letters by where they died, and why.
    List(DlqList),
    /// Print one dead letter in full.
    Show(DlqShow),
    /// Write dead letters to a file, a JSON object a line.
    Export(DlqExport),
    /// Put the records of dead letters back into the topics that they came from, each once.
    Retry(DlqRetry),
}

/// A dead letter, by where it lies in the topic of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let parts = text.split_once(':').and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
        match parts {
            Some((partition, offset)) if offset >= 0 => Ok(Address { partition, offset }),
            _ => Err("must be the partition and the offset of a dead letter, such as 0:17".to_owned()),
        }
    }
}

/// Which dead letters; all of them if nothing is said.
#[derive(Debug, Default, Args)]
pub(crate) struct Filters {
    /// Only what this stage refused. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Vec<String>,
    /// Only what this source refused. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// Only those with this reason, such as trap or type. May be given several times.
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Vec<String>,
    /// Only those whose error contains this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Only those that the log dates at this time or later: RFC 3339, a date (UTC), or ms since 1970.
    #[arg(long, value_name = "TIME", value_parser = event_time, allow_hyphen_values = true)]
    pub(crate) since: Option<EventTime>,
    /// Only those that the log dates before this time.
    #[arg(long, value_name = "TIME", value_parser = event_time, allow_hyphen_values = true)]
    pub(crate) until: Option<EventTime>,
    /// Only this dead letter. May be given several times.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    pub(crate) at: Vec<Address>,
}

impl Filters {
    pub(crate) fn is_empty(&self) -> bool {
        let Filters { stage, source, reason, error, since, until, at } = self;
        let are_empty = stage.is_empty() && source.is_empty() && reason.is_empty() && at.is_empty();
        are_empty && error.is_none() && since.is_none() && until.is_none()
    }

    pub(crate) fn keep(&self, partition: Partition, letter: &Letter<'_>) -> bool {
        let is_asked = |all: &[String], one: &str| all.is_empty() || all.iter().any(|asked| asked == one);
        let place = match letter.place {
            _ if self.stage.is_empty() && self.source.is_empty() => true,
            Place::Stage(name) => self.stage.iter().any(|asked| asked == name),
            Place::Source(name) => self.source.iter().any(|asked| asked == name),
        };
        let time = EventTime(letter.record.timestamp_ms);
        let address = Address { partition, offset: letter.record.offset };
        place
            && is_asked(&self.reason, letter.reason)
            && self.error.as_ref().is_none_or(|text| letter.error.contains(text.as_str()))
            && self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && (self.at.is_empty() || self.at.contains(&address))
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing. Numbers and ids in an error's text are written as #.\n\nExamples:\n  reel dlq list\n  reel dlq list --stage clean --since 2026-01-03 --format json | jq '.groups[] | {reason, letters}'"
)]
pub(crate) struct DlqList {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Changes nothing. `reel dlq list` gives addresses.\n\nExample:\n  reel dlq show --at 0:17")]
pub(crate) struct DlqShow {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Which one: its partition and offset in the topic of dead letters.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    pub(crate) at: Address,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing.\n\nExamples:\n  reel dlq export --to dead.ndjson\n  reel dlq export --reason type --to - | jq -r .error\n  reel dlq export --at 0:17 --bundle incident.reel && reel replay incident.reel"
)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(crate) struct DlqExport {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// The file; `-` is standard output. A file that is there is replaced, once all is written.
    #[arg(long, group = "target", value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Write one letter, given with --at, with the plugin and the call that failed, to be replayed elsewhere. It holds the record, the component and the plugin's config.
    #[arg(long, group = "target", value_name = "FILE", requires = "at")]
    pub(crate) bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Needs no log and no manifest.\n\nExamples:\n  reel replay incident.reel\n  reel replay incident.reel --plugin mended.wasm\n\nExit codes: 1 if the plugin fails, as it did or otherwise; 0 if it answers; 2 if the bundle or the plugin cannot be used."
)]
pub(crate) struct Replay {
    /// What `reel dlq export --bundle` wrote.
    pub(crate) bundle: PathBuf,
    /// Call this component instead of the one in the bundle.
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A record that is put back counts when it happened: what is too late by now goes to the late topics.\nStopped or killed, the same command goes on where it was, and doubles nothing.\n\nExamples:\n  reel dlq retry --dry-run\n  reel dlq retry --stage clean --reason trap\n  reel dlq retry --reason rejected --patch '{\"device\":\"other\"}'\n  reel dlq export --to dead.ndjson && $EDITOR dead.ndjson && reel dlq retry --from dead.ndjson"
)]
pub(crate) struct DlqRetry {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Change each record's value before it goes back, which must be a JSON object: a JSON Merge Patch (RFC 7396), where null takes a member away.
    #[arg(long, value_name = "JSON")]
    pub(crate) patch: Option<String>,
    /// Put back what the lines of this file say, as `export` wrote them and somebody mended their keys and values. Other members do not count.
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    pub(crate) from: Option<PathBuf>,
    /// Leave records that were put back so often.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) retries_max: u32,
    /// Also put back records that other stages or sinks have read: these will read them twice.
    #[arg(long)]
    pub(crate) shared: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[cfg(test)]
mod tests {
    use reelflow_core::{letter::name, record::Record};

    use super::*;

    #[test]
    fn an_address_is_a_partition_and_an_offset() {
        assert_eq!("1:17".parse(), Ok(Address { partition: 1, offset: 17 }));
        for wrong in ["", "17", "1:", ":1", "-1:0", "0:-1", "0:1:2", "a:b"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_are_all_to_be_met() {
        let header = |name: &str, text: &str| (name.into(), text.as_bytes().to_vec());
        let headers = [
            header(name::PIPELINE, "p"),
            header(name::STAGE, "clean"),
            header(name::REASON, "trap"),
            header(name::ERROR, "plugin trapped: no page"),
        ];
        let letter = Letter::read(Record { offset: 17, timestamp_ms: 5, key: None, value: None, headers: &headers }).unwrap();
        let text = |text: &str| vec![text.to_owned()];
        let one = |change: &dyn Fn(&mut Filters)| {
            let mut filters = Filters::default();
            change(&mut filters);
            assert!(!filters.is_empty());
            filters.keep(1, &letter)
        };
        assert!(Filters::default().is_empty() && Filters::default().keep(1, &letter));
        assert!(one(&|filters| filters.stage = text("clean")));
        assert!(!one(&|filters| filters.source = text("clean")));
        assert!(one(&|filters| (filters.source, filters.stage) = (text("plays"), text("clean"))));
        assert!(!one(&|filters| filters.reason = text("type")));
        assert!(one(&|filters| filters.error = Some("no page".to_owned())));
        assert!(!one(&|filters| filters.error = Some("no row".to_owned())));
        assert!(one(&|filters| (filters.since, filters.until) = (Some(EventTime(5)), Some(EventTime(6)))));
        assert!(!one(&|filters| filters.since = Some(EventTime(6))));
        assert!(!one(&|filters| filters.until = Some(EventTime(5))));
        assert!(one(&|filters| filters.at = vec![Address { partition: 1, offset: 17 }]));
        assert!(!one(&|filters| filters.at = vec![Address { partition: 0, offset: 17 }]));
        assert!(!one(&|filters| (filters.stage, filters.reason) = (text("clean"), text("type"))));
    }
}
