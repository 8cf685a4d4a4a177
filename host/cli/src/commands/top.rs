//! `reel top`: how fast a running pipeline is, how far behind, and what its plugins cost.

use std::{
    io::IsTerminal,
    thread,
    time::{Duration, Instant},
};

use reelflow_core::time::Watermark;

use crate::{
    args::top::Top,
    failure::Failure,
    metrics::{
        catalog::{self, Metric},
        read::Page,
    },
    output::print,
    summary,
};

pub(crate) fn top(args: &Top) -> Result<(), Failure> {
    let every = Duration::from_secs(args.every);
    let mut before = (Page::fetch(args.metrics)?, Instant::now());
    loop {
        thread::sleep(every);
        let page = Page::fetch(args.metrics)?;
        let at = Instant::now();
        let text = text_of(&before.0, &page, at - before.1);
        let is_redrawn = !args.once && std::io::stdout().is_terminal();
        print(&if is_redrawn { format!("\x1b[H\x1b[J{text}") } else { text })?;
        if args.once {
            return Ok(());
        }
        before = (page, at);
    }
}

/// What has happened between two pages that lie `between` apart.
fn text_of(before: &Page, now: &Page, between: Duration) -> String {
    let rate = |metric: Metric, labels: &[(&str, &str)]| {
        // A process that was started anew counts from 0.
        (now.sum(metric, labels) - before.sum(metric, labels)).max(0.0) / between.as_secs_f64()
    };
    let watermark = now.value(catalog::WATERMARK_MIN).map(|seconds| Watermark((seconds * 1_000.0) as i64));
    let lag = now.value(catalog::WATERMARK_LAG_MAX).map_or_else(String::new, |lag| format!(", {lag:.1} s behind"));
    let pipelines = now.values_of(catalog::READY, "pipeline");
    let mut lines = vec![
        format!(
            "{} · up {:.0} s · {} · watermark {}{lag}",
            pipelines.join(", "),
            now.value(catalog::UPTIME).unwrap_or_default(),
            if now.value(catalog::READY) == Some(1.0) { "ready" } else { "not ready" },
            watermark.map_or_else(|| "unknown".to_owned(), summary::date),
        ),
        format!(
            "read {:.0}/s  written {:.0}/s  epochs {:.1}/s  dead letters {:.0}  aborted {:.0}  sessions lost {:.0}",
            rate(catalog::RECORDS_READ, &[]),
            rate(catalog::RECORDS_WRITTEN, &[]),
            rate(catalog::EPOCHS_SEALED, &[]),
            now.sum(catalog::DEAD_LETTERS, &[]),
            now.sum(catalog::EPOCHS_ABORTED, &[]),
            now.sum(catalog::SESSIONS_LOST, &[]),
        ),
        format!(
            "{:<20}{:<20}{:>10}{:>10}{:>9}{:>9}{:>9}{:>11}{:>10}{:>8}{:>8}{:>8}",
            "stage", "plugin", "in/s", "out/s", "late", "wrong", "waiting", "state KiB", "ns/row", "busy", "cpu", "faults"
        ),
    ];
    let n_rolled_back = now.sum(catalog::TRIALS, &[("verdict", "rolled-back")]);
    if n_rolled_back > 0.0 {
        lines.insert(2, format!("ROLLED BACK {n_rolled_back:.0} trials of new code: `reel history` says why"));
    }
    for stage in now.values_of(catalog::STAGE_ROWS_IN, "stage") {
        let of = [("stage", stage)];
        let fate = |fate| now.sum(catalog::STAGE_ROWS, &[("stage", stage), ("fate", fate)]);
        let result = |fate| now.sum(catalog::STAGE_RESULTS, &[("stage", stage), ("fate", fate)]);
        let wrong = fate("dead") + fate("skipped") + result("dead") + result("skipped");
        let (rows, busy) = (rate(catalog::PLUGIN_ROWS, &of), rate(catalog::PLUGIN_TIME, &of));
        let plugin = plugin_of(now, stage);
        let [ns, busy, cpu, faults] = match plugin {
            None => ["", "", "", ""].map(str::to_owned),
            Some(_) => [
                if rows > 0.0 { format!("{:.0}", busy / rows * 1e9) } else { "-".to_owned() },
                format!("{:.0}%", busy * 100.0),
                format!("{:.0}%", rate(catalog::PLUGIN_CPU, &of) * 100.0),
                format!("{:.0}", now.sum(catalog::PLUGIN_FAULTS, &of)),
            ],
        };
        lines.push(format!(
            "{stage:<20}{:<20}{:>10.0}{:>10.0}{:>9.0}{wrong:>9.0}{:>9.0}{:>11.0}{ns:>10}{busy:>8}{cpu:>8}{faults:>8}",
            plugin.unwrap_or("-"),
            rate(catalog::STAGE_ROWS_IN, &of),
            rate(catalog::STAGE_ROWS_OUT, &of),
            fate("late"),
            now.sum(catalog::STAGE_WAITING, &of),
            now.sum(catalog::STAGE_STATE, &of) / 1_024.0,
        ));
    }
    lines.join("\n")
}

fn plugin_of<'a>(page: &'a Page, stage: &str) -> Option<&'a str> {
    let mut plugins = page.values_of(catalog::PLUGIN_CALLS, "plugin").into_iter();
    plugins.find(|plugin| page.has(catalog::PLUGIN_CALLS, &[("stage", stage), ("plugin", plugin)]))
}
