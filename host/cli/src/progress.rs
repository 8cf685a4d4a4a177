//! What a run shows while it runs: one line that is rewritten on a terminal, one line every ten seconds elsewhere.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use reelflow_runtime::{
    observe::{Event, Observer},
    summary::Summary,
};

use crate::{args::Format, summary};

/// How often a line is printed where nothing can be rewritten.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how much of the files is read, on a terminal.
pub(crate) struct ReadingBar(ProgressBar);

impl ReadingBar {
    pub(crate) fn new() -> ReadingBar {
        if !std::io::stderr().is_terminal() {
            return ReadingBar(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("reading files {wide_bar} {bytes}/{total_bytes} {eta}").expect("a constant template");
        ReadingBar(ProgressBar::new(0).with_style(style))
    }

    pub(crate) fn show(&self, n_bytes: u64, n_bytes_all: u64) {
        self.0.set_length(n_bytes_all);
        self.0.set_position(n_bytes);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// One line about something that goes on, on a terminal.
pub(crate) struct Line(ProgressBar);

impl Line {
    pub(crate) fn new() -> Line {
        Line(if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() })
    }

    pub(crate) fn show(&self, text: &str) {
        self.0.set_message(text.to_owned());
        self.0.tick();
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Shows a pipeline's events and progress on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    json: bool,
    last: Mutex<Last>,
}

struct Last {
    line_at: Instant,
    read: u64,
    read_at: Instant,
    rate: f64,
}

impl Progress {
    /// `total`: how many records there are to read, if the run has an end.
    pub(crate) fn new(format: Format, total: Option<u64>) -> Progress {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = match (on_terminal, total) {
            (false, _) => ProgressBar::hidden(),
            (true, Some(total)) => {
                let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}").expect("a constant template");
                ProgressBar::new(total).with_style(style)
            }
            (true, None) => ProgressBar::new_spinner(),
        };
        let now = Instant::now();
        let last = Mutex::new(Last { line_at: now, read: 0, read_at: now, rate: 0.0 });
        Progress { bar, on_terminal, json: format == Format::Json, last }
    }

    /// Takes the line away: what follows is the result.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Says one line on standard error.
    pub(crate) fn say(&self, line: &str) {
        if self.json {
            anstream::eprintln!("{}", serde_json::json!({ "message": line }));
        } else if self.on_terminal {
            self.bar.suspend(|| anstream::eprintln!("{line}"));
        } else {
            anstream::eprintln!("{line}");
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::TopicCreated { topic, n_partitions } => {
                self.say(&format!("created topic \"{topic}\" with {n_partitions} partitions"))
            }
            Event::Recovered { worker, n_tasks, state_bytes, n_changes, took } if *n_changes > 0 => self.say(&format!(
                "worker {worker} recovered {n_tasks} tasks ({} KB of state, {n_changes} changes) in {:.1} s",
                state_bytes.div_ceil(1024),
                took.as_secs_f64()
            )),
            Event::Lost { worker } => self.say(&format!("worker {worker} lost its partitions; its open epoch was dropped")),
            Event::Retrying { worker, error, failing_for, after } => self.say(&format!(
                "{}{error}; failing for {:.0} s, trying again in {:.1} s",
                worker.map(|worker| format!("worker {worker}: ")).unwrap_or_default(),
                failing_for.as_secs_f64(),
                after.as_secs_f64()
            )),
            Event::AwaitingSchemas { worker, error, failing_for, after } => self.say(&format!(
                "worker {worker}: {error}; failing for {:.0} s, asking again in {:.1} s",
                failing_for.as_secs_f64(),
                after.as_secs_f64()
            )),
            Event::AwaitingBases { worker, error, failing_for, after } => self.say(&format!(
                "worker {worker}: {error}; failing for {:.0} s, asking again in {:.1} s",
                failing_for.as_secs_f64(),
                after.as_secs_f64()
            )),
            Event::BaseSkipped { task, name, why } => self.say(&format!(
                "{task}: base {name} was SKIPPED: {why}; an older one, and more of the changelog, took its place"
            )),
            Event::BaseDelayed { error, after } => {
                self.say(&format!("a base could not be written: {error}; trying again in {:.0} s", after.as_secs_f64()))
            }
            Event::BaseWritten { .. } => {}
            Event::Assigned { .. } | Event::Recovered { .. } | Event::Sealed(_) | Event::Revoked { .. } | Event::ReachedEnd => {}
            Event::HandedOver { positions } => {
                let of = |(at, next): &(_, _)| format!("{at} from {next}");
                let positions: Vec<String> = positions.iter().map(of).collect();
                self.say(&format!("the history is processed; `reel run` goes on with {}", positions.join(", ")));
            }
            Event::FilesStale { files, running } => self.say(&format!(
                "the components of this manifest ({files}) were replaced or given up while the pipeline ran, or are on trial: it runs {running}; `reel reload` proposes them again"
            )),
            Event::CodeStarted { code } => self.say(&format!("another process was started with other code: {code}")),
            Event::TrialBegan { code, by, .. } => self.say(&format!("{by} proposes {code}: trying it")),
            Event::Switched { worker, is_trial: true, pause } => {
                self.say(&format!("worker {worker} tries the new code after a pause of {} ms", pause.as_millis()))
            }
            Event::Switched { worker, is_trial: false, pause } => {
                self.say(&format!("worker {worker} has the new code after a pause of {} ms", pause.as_millis()))
            }
            Event::CodeAccepted { code, .. } => self.say(&format!("accepted: {code}")),
            Event::CodeRolledBack { code, why, .. } => {
                self.say(&format!("ROLLED BACK {code}: {why}; the code before goes on, nothing of the trial was committed"))
            }
            Event::Resumed { worker, took } => {
                self.say(&format!("worker {worker} is back where the trial began after {} ms", took.as_millis()))
            }
            Event::Published { sink, partition, n_files, n_rows, n_bytes } => self.say(&format!(
                "published {n_rows} rows of sink \"{sink}\", partition {partition}: {n_files} files, {} KB",
                n_bytes.div_ceil(1024)
            )),
        }
    }

    fn progress(&self, so_far: &Summary) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since = last.read_at.elapsed();
        if since >= Duration::from_millis(200) {
            last.rate = (so_far.records_read - last.read) as f64 / since.as_secs_f64();
            (last.read, last.read_at) = (so_far.records_read, Instant::now());
        }
        let late: u64 = so_far.stages.iter().map(|stage| stage.run.late).sum();
        let watermark = so_far.watermarks.values().min().map_or_else(|| "unknown".to_owned(), |mark| summary::date(*mark));
        let line = format!(
            "{:.1}k/s  out {}  watermark {watermark}  epoch {}  late {late}  dead {}",
            last.rate / 1_000.0,
            so_far.records_written,
            so_far.epochs_sealed,
            so_far.dead_letters
        );
        if self.on_terminal {
            self.bar.set_position(so_far.records_read);
            self.bar.set_message(line);
        } else if last.line_at.elapsed() >= LINE_EVERY {
            last.line_at = Instant::now();
            self.say(&format!("in {}  {line}", so_far.records_read));
        }
    }
}
