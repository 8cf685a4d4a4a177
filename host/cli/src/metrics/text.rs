//! Metrics as text: the OpenMetrics exposition format, version 1.0.0.

use std::{collections::BTreeMap, fmt::Write};

use reelflow_core::time::{WallTime, Watermark};
use reelflow_runtime::{
    summary::{StageSummary, Summary},
    usage::CallUsage,
};

use super::{
    State,
    catalog::{self, Kind, Metric},
};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Partitions that have samples of their own; the lowest of all is told in any case.
const PARTITIONS_MAX: usize = 128;

/// The page of all metrics.
pub(super) fn page(pipeline: &str, plugins: &BTreeMap<String, String>, state: &State, now: WallTime) -> String {
    let mut samples = Samples { pipeline, all: BTreeMap::new() };
    of_process(state, &mut samples);
    if let Some(summary) = &state.summary {
        of_summary(summary, now, &mut samples);
        of_watermarks(summary, now, &mut samples);
        for stage in &summary.stages {
            of_stage(stage, &mut samples);
            if let (Some(usage), Some(plugin)) = (&stage.calls, plugins.get(&*stage.name)) {
                of_calls(&stage.name, plugin, usage, &mut samples);
            }
        }
    }
    samples.text()
}

/// What is known of each metric, as lines.
struct Samples<'a> {
    pipeline: &'a str,
    all: BTreeMap<&'static str, String>,
}

impl Samples<'_> {
    /// `labels`: the values of those that the metric has, in its order.
    fn add(&mut self, metric: Metric, labels: &[&str], value: f64) {
        assert_eq!(metric.labels.len(), labels.len(), "of {}", metric.name);
        let lines = self.all.entry(metric.name).or_default();
        write!(lines, "{}{{pipeline=\"{}\"", metric.sample_name(), escaped(self.pipeline)).expect("a string takes all");
        for (label, value) in metric.labels.iter().zip(labels) {
            write!(lines, ",{label}=\"{}\"", escaped(value)).expect("a string takes all");
        }
        writeln!(lines, "}} {value}").expect("a string takes all");
    }

    fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        self.add(metric, labels, value as f64);
    }

    fn text(mut self) -> String {
        let mut text = String::new();
        for metric in catalog::ALL {
            let Some(lines) = self.all.remove(metric.name) else { continue };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            writeln!(text, "# TYPE {} {kind}", metric.name).expect("a string takes all");
            if let Some(unit) = metric.unit() {
                writeln!(text, "# UNIT {} {unit}", metric.name).expect("a string takes all");
            }
            write!(text, "# HELP {} {}\n{lines}", metric.name, metric.help).expect("a string takes all");
        }
        text + "# EOF\n"
    }
}

/// A label's value: names of ours need none of this, those of topics neither, but nobody should have to know that.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn of_process(state: &State, to: &mut Samples<'_>) {
    to.count(catalog::READY, &[], u64::from(state.is_ready()));
    for (name, n_workers) in state.workers() {
        to.count(catalog::WORKERS, &[name], n_workers);
    }
    to.count(catalog::TRIALS, &["accepted"], state.n_accepted);
    to.count(catalog::TRIALS, &["rolled-back"], state.n_rolled_back);
}

fn of_summary(summary: &Summary, now: WallTime, to: &mut Samples<'_>) {
    to.add(catalog::UPTIME, &[], summary.elapsed.as_secs_f64());
    to.count(catalog::RECORDS_READ, &[], summary.records_read);
    to.count(catalog::READ_BYTES, &[], summary.bytes_read);
    to.count(catalog::RECORDS_WRITTEN, &[], summary.records_written);
    for ((by, reason), n) in &summary.dead_letters_by {
        to.count(catalog::DEAD_LETTERS, &[by, reason], *n);
    }
    to.count(catalog::CHANGELOG_BYTES, &[], summary.changelog_bytes);
    if let Some(bases) = &summary.bases {
        to.count(catalog::BASES_WRITTEN, &[], bases.written);
        to.count(catalog::BASES_WRITTEN_BYTES, &[], bases.bytes_written);
        to.count(catalog::BASES_FAILURES, &[], bases.failures);
        to.count(catalog::BASES_SKIPPED, &[], bases.skipped);
        if let Some(oldest) = bases.oldest {
            to.add(catalog::BASE_AGE, &[], now.0.saturating_sub(oldest.0) as f64 / 1_000.0);
        }
    }
    to.count(catalog::FILES_PUBLISHED, &[], summary.files_published);
    to.count(catalog::ROWS_PUBLISHED, &[], summary.rows_published);
    to.count(catalog::EPOCHS_SEALED, &[], summary.epochs_sealed);
    to.count(catalog::EPOCHS_ABORTED, &[], summary.epochs_aborted);
    to.count(catalog::SESSIONS_LOST, &[], summary.sessions_lost);
    to.add(catalog::RECOVERY, &[], summary.recovery_max.as_secs_f64());
    to.count(catalog::UNACCOUNTED, &[], summary.unaccounted().len() as u64);
    for source in &summary.sources {
        to.count(catalog::SOURCE_RECORDS, &[&source.name, "decoded"], source.run.decoded);
        to.count(catalog::SOURCE_RECORDS, &[&source.name, "dead"], source.run.dead);
    }
}

fn of_watermarks(summary: &Summary, now: WallTime, to: &mut Samples<'_>) {
    let is_time = |mark: Watermark| mark != Watermark::UNKNOWN && mark != Watermark::END;
    let known = || summary.watermarks.iter().filter(|(_, mark)| is_time(**mark));
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let lag = |mark: Watermark| seconds(now.0.saturating_sub(mark.0));
    for (partition, mark) in known().take(PARTITIONS_MAX) {
        let partition = partition.to_string();
        to.add(catalog::WATERMARK, &[&partition], seconds(mark.0));
        to.add(catalog::WATERMARK_LAG, &[&partition], lag(*mark));
    }
    if let Some((_, lowest)) = known().min_by_key(|(_, mark)| **mark) {
        to.add(catalog::WATERMARK_MIN, &[], seconds(lowest.0));
        to.add(catalog::WATERMARK_LAG_MAX, &[], lag(*lowest));
    }
}

fn of_stage(stage: &StageSummary, to: &mut Samples<'_>) {
    let (name, run) = (&*stage.name, &stage.run);
    to.count(catalog::STAGE_ROWS_IN, &[name], run.rows_in);
    let fates = [
        ("accepted", run.accepted),
        ("duplicate", run.duplicate),
        ("late", run.late),
        ("dead", run.dead),
        ("skipped", run.skipped),
    ];
    fates.iter().for_each(|(fate, n)| to.count(catalog::STAGE_ROWS, &[name, fate], *n));
    to.count(catalog::STAGE_ROWS_OUT, &[name], run.rows_out);
    let results = [("late", run.late_panes), ("dead", run.dead_panes), ("skipped", run.skipped_panes)];
    results.iter().for_each(|(fate, n)| to.count(catalog::STAGE_RESULTS, &[name, fate], *n));
    to.count(catalog::STAGE_CONFLICTS, &[name], run.conflicting);
    to.count(catalog::STAGE_STATE, &[name], stage.state_bytes);
    to.count(catalog::STAGE_WAITING, &[name], stage.waiting_rows);
}

fn of_calls(stage: &str, plugin: &str, usage: &CallUsage, to: &mut Samples<'_>) {
    let labels = [stage, plugin];
    to.count(catalog::PLUGIN_CALLS, &labels, usage.calls);
    to.count(catalog::PLUGIN_ROWS, &labels, usage.rows);
    to.add(catalog::PLUGIN_TIME, &labels, usage.time.as_secs_f64());
    to.add(catalog::PLUGIN_CPU, &labels, usage.cpu.as_secs_f64());
    to.count(catalog::PLUGIN_IN, &labels, usage.bytes_in);
    to.count(catalog::PLUGIN_OUT, &labels, usage.bytes_out);
    to.count(catalog::PLUGIN_MEMORY, &labels, usage.memory_bytes_max);
    to.count(catalog::PLUGIN_RETRIES, &labels, usage.retries);
    for kind in ["trap", "deadline", "memory", "output", "malformed"] {
        to.count(catalog::PLUGIN_FAULTS, &[stage, plugin, kind], usage.faults.get(kind).copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reelflow_core::stage::StageCounts;
    use reelflow_runtime::bases::BasesSummary;

    use super::*;

    fn state() -> State {
        let (time, cpu) = (Duration::from_millis(3), Duration::from_millis(2));
        let calls = CallUsage { calls: 2, rows: 8, time, cpu, faults: [("trap", 1)].into(), ..CallUsage::default() };
        let run = StageCounts { rows_in: 4, accepted: 3, dead: 1, ..StageCounts::default() };
        let stage = StageSummary { name: "clean".into(), total: run, run, calls: Some(calls), state_bytes: 7, waiting_rows: 2 };
        let summary = Summary {
            elapsed: Duration::from_millis(1_500),
            stages: vec![stage],
            bases: Some(BasesSummary { written: 3, oldest: Some(WallTime(7_500)), ..BasesSummary::default() }),
            watermarks: [(0, Watermark(-1_500)), (1, Watermark(8_000)), (2, Watermark::UNKNOWN)].into(),
            dead_letters_by: [(("clean".to_owned(), "tr\"ap".to_owned()), 1)].into(),
            ..Summary::default()
        };
        State { summary: Some(summary), n_rolled_back: 1, ..State::of_workers(1) }
    }

    #[test]
    fn a_page_says_what_is_known() {
        let plugins = [("clean".to_owned(), "cleaner".to_owned())].into();
        let page = page("p", &plugins, &state(), WallTime(10_000));
        for line in [
            "# TYPE reel_uptime_seconds gauge\n# UNIT reel_uptime_seconds seconds\n# HELP reel_uptime_seconds Since the run began.\nreel_uptime_seconds{pipeline=\"p\"} 1.5\n",
            "reel_ready{pipeline=\"p\"} 0\n",
            "reel_workers{pipeline=\"p\",state=\"recovering\"} 1\n",
            "reel_trials_total{pipeline=\"p\",verdict=\"rolled-back\"} 1\n",
            "reel_bases_written_total{pipeline=\"p\"} 3\n",
            "reel_base_age_max_seconds{pipeline=\"p\"} 2.5\n",
            "# TYPE reel_dead_letters counter\n",
            "reel_dead_letters_total{pipeline=\"p\",by=\"clean\",reason=\"tr\\\"ap\"} 1\n",
            "reel_watermark_seconds{pipeline=\"p\",partition=\"0\"} -1.5\n",
            "reel_watermark_lag_seconds{pipeline=\"p\",partition=\"1\"} 2\n",
            "reel_watermark_lag_max_seconds{pipeline=\"p\"} 11.5\n",
            "reel_stage_rows_total{pipeline=\"p\",stage=\"clean\",fate=\"dead\"} 1\n",
            "reel_stage_waiting_rows{pipeline=\"p\",stage=\"clean\"} 2\n",
            "reel_plugin_call_seconds_total{pipeline=\"p\",stage=\"clean\",plugin=\"cleaner\"} 0.003\n",
            "reel_plugin_cpu_seconds_total{pipeline=\"p\",stage=\"clean\",plugin=\"cleaner\"} 0.002\n",
            "reel_plugin_faults_total{pipeline=\"p\",stage=\"clean\",plugin=\"cleaner\",kind=\"trap\"} 1\n",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.ends_with("# EOF\n") && !page.contains("partition=\"2\""), "{page}");
        let in_order = |a: &str, b: &str| page.find(a).is_some_and(|at| page[at..].contains(b));
        assert!(in_order("# TYPE reel_ready ", "# TYPE reel_plugin_faults "), "{page}");
        assert_eq!(page.matches("# TYPE reel_stage_rows ").count(), 1);
    }

    #[test]
    fn partitions_beyond_some_count_only_in_the_lowest() {
        let mut state = state();
        let marks = (0..1_000).map(|partition| (partition, Watermark(-i64::from(partition) * 1_000)));
        state.summary.iter_mut().for_each(|summary| summary.watermarks = marks.clone().collect());
        let page = page("p", &BTreeMap::new(), &state, WallTime(0));
        assert_eq!(page.matches("reel_watermark_seconds{").count(), PARTITIONS_MAX);
        assert!(page.contains("reel_watermark_lag_max_seconds{pipeline=\"p\"} 999\n"), "{page}");
    }
}
