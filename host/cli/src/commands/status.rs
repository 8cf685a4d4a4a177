//! `reel status`: how a running pipeline stands, and with which code.

use reelflow_core::time::Watermark;

use crate::{
    admin::{client, said::Status},
    args::{Format, admin},
    commands::reload::told::{self, Entry, Verdict},
    failure::Failure,
    output::print,
    summary,
};

pub(crate) fn status(args: &admin::Status) -> Result<(), Failure> {
    let status: Status = client::read(args.admin, "/status")?;
    print(&match args.format {
        Format::Json => told::json_of(&status),
        Format::Text => text_of(&status),
    })
}

fn text_of(status: &Status) -> String {
    let standing = &status.standing;
    let lowest = standing.figures.as_ref().and_then(|figures| {
        // `end` is no number: nothing more comes there.
        let of_partitions = figures["watermarks"].as_object()?.values();
        of_partitions.filter_map(serde_json::Value::as_i64).min()
    });
    let workers: Vec<String> =
        standing.workers.iter().filter(|(_, n)| **n > 0).map(|(state, n)| format!("{n} {state}")).collect();
    let mut lines = vec![format!(
        "{} · {} · workers: {} · watermark {}",
        status.pipeline,
        if standing.ready { "ready" } else { "not ready" },
        workers.join(", "),
        lowest.map_or_else(|| "unknown".to_owned(), |ms| summary::date(Watermark(ms))),
    )];
    let mut line = |what: &str, entry: &Entry| {
        let why = entry.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        lines.push(format!("{what:<12} {}  by {} at {}{why}", entry.code(), entry.by, entry.at()));
    };
    if let Some(code) = &status.code {
        line("runs", code);
    }
    if let Some(trial) = &status.trial {
        line("tries", trial);
    }
    match &status.decided {
        Some(decided) if decided.verdict == Verdict::RolledBack => line("ROLLED BACK", decided),
        Some(decided) if decided.verdict == Verdict::Refused => line("refused", decided),
        _ => {}
    }
    lines.join("\n")
}
