//! `reel dlq list`: what died, where, why and how often.

use std::collections::BTreeMap;

use reelflow_core::{
    letter::{Letter, Place, retried::Retried, wording},
    time::Watermark,
};
use reelflow_runtime::retry::retried;
use serde_json::{Value, json};

use super::Letters;
use crate::{
    args::{
        Format,
        dlq::{Address, DlqList},
    },
    failure::Failure,
    manifest::Manifest,
    output::{Output, print, printable},
    summary,
};

/// More groups than this are not told apart.
const GROUPS_MAX: usize = 1_000;

/// Is it of a stage, or of a source; its name; the plugin; the reason; the error without what differs.
type Kind = (bool, String, Option<String>, String, String);

/// Letters of one kind.
struct Group {
    n_letters: u64,
    n_retried: u64,
    /// By the log's time.
    first: (i64, Address),
    last: (i64, Address),
}

#[derive(Default)]
struct Counted {
    groups: BTreeMap<Kind, Group>,
    n_letters: u64,
    n_retried: u64,
    /// Of kinds beyond [`GROUPS_MAX`].
    n_others: u64,
}

pub(super) fn list(args: &DlqList) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let log = manifest.open_log()?;
    let letters = Letters::open(&manifest, &*log)?;
    let pipeline = &manifest.config.pipeline.name;
    let retried = retried(&*log, pipeline, &letters.topic).map_err(|error| manifest.run_failure(error))?;
    let mut counted = Counted::default();
    letters.each(&args.filters, &mut |address, letter| {
        counted.count(address, letter, &retried);
        Ok(())
    })?;
    match args.format {
        Format::Json => print(&json_of(pipeline, &letters.topic, &counted).to_string()),
        Format::Text => text(pipeline, &letters.topic, &counted),
    }
}

impl Counted {
    fn count(&mut self, address: Address, letter: &Letter<'_>, retried: &Retried) {
        let is_retried = u64::from(retried.contains(address.partition, address.offset));
        self.n_letters += 1;
        self.n_retried += is_retried;
        let is_stage = matches!(letter.place, Place::Stage(_));
        let plugin = letter.plugin.map(str::to_owned);
        let kind = (is_stage, letter.place.name().to_owned(), plugin, letter.reason.to_owned(), wording(letter.error));
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&kind) {
            self.n_others += 1;
            return;
        }
        let one = (letter.record.timestamp_ms, address);
        let group = self.groups.entry(kind).or_insert(Group { n_letters: 0, n_retried: 0, first: one, last: one });
        group.n_letters += 1;
        group.n_retried += is_retried;
        group.first = group.first.min(one);
        group.last = group.last.max(one);
    }

    /// The most frequent ones first.
    fn sorted(&self) -> Vec<(&Kind, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.n_letters));
        groups
    }
}

fn json_of(pipeline: &str, topic: &str, counted: &Counted) -> Value {
    let mark = |(ms, address): &(i64, Address)| json!({ "timestamp": ms, "letter": address.to_string() });
    let group = |((is_stage, name, plugin, reason, error), group): (&Kind, &Group)| {
        json!({
            if *is_stage { "stage" } else { "source" }: name,
            "plugin": plugin,
            "reason": reason,
            "error": error,
            "letters": group.n_letters,
            "retried": group.n_retried,
            "first": mark(&group.first),
            "last": mark(&group.last),
        })
    };
    json!({
        "format": 1,
        "pipeline": pipeline,
        "topic": topic,
        "letters": counted.n_letters,
        "retried": counted.n_retried,
        "others": counted.n_others,
        "groups": counted.sorted().into_iter().map(group).collect::<Vec<_>>(),
    })
}

fn text(pipeline: &str, topic: &str, counted: &Counted) -> Result<(), Failure> {
    if counted.n_letters == 0 {
        return print(&format!("pipeline \"{pipeline}\" has no such dead letters in topic \"{topic}\""));
    }
    let mut output = Output::new();
    output.line(&format!(
        "pipeline \"{pipeline}\" has {} dead letters in topic \"{topic}\", of which {} were put back",
        counted.n_letters, counted.n_retried
    ))?;
    let date = |ms: i64| summary::date(Watermark(ms));
    for ((is_stage, name, plugin, reason, error), group) in counted.sorted() {
        let place = if *is_stage { Place::Stage(name) } else { Place::Source(name) };
        let back = if group.n_retried > 0 { format!(" ({} put back)", group.n_retried) } else { String::new() };
        let plugin = plugin.as_ref().map(|plugin| format!(", plugin {plugin}")).unwrap_or_default();
        output.line(&format!("{:>10}{back}  {}", group.n_letters, printable(&format!("{place}{plugin}  {reason}: {error}"))))?;
        let ((first_ms, first), (last_ms, last)) = (group.first, group.last);
        output.line(&format!("{:>10}  {} at {first} to {} at {last}", "", date(first_ms), date(last_ms)))?;
    }
    if counted.n_others > 0 {
        output.line(&format!("{:>10}  of other kinds; ask for fewer with --stage, --reason or --since", counted.n_others))?;
    }
    output.finish()
}
