//! A pipeline of one stage around a guest of `tests/guests`, for the tests of what becomes of a plugin that breaks.

use std::fs;

use anyhow::Result;

use crate::{Job, LogKind, guest};

const MANIFEST: &str = r#"
[pipeline]
name = "hostile"
[log]
kind = "embedded"
path = "log"
[source.numbers]
topic = "numbers"
event_time = "ts"
bound = "0s"
[plugin.guest]
path = "guest.wasm"
config = { mode = "MODE", at = "FUNCTION" }
limits = { memory = "16MiB", call = "200ms", output = "1MiB", component = "2MiB" }
[stage.guest]
kind = "KIND"
input = "numbers"
plugin = "guest"
MORE
[sink.out]
input = "OUT"
topic = "out"
"#;

/// What the stage is. Its name, and its plugin's, is `guest`, the pipeline's `hostile`; it reads `numbers`, whose event time is `ts`.
#[derive(Clone, Copy, Debug)]
pub struct GuestStage<'a> {
    /// The guest, and the kind of the stage.
    pub kind: &'a str,
    /// How the guest breaks, and in which of its functions; it does not where there is no such way.
    pub mode: &'a str,
    pub function: &'a str,
    /// More keys of the stage.
    pub more: &'a str,
}

impl GuestStage<'_> {
    /// A transform that breaks so when it meets 13, and refuses what is negative.
    pub fn transform(mode: &str) -> GuestStage<'_> {
        GuestStage { kind: "transform", mode, function: "apply", more: "" }
    }

    /// A folder with the pipeline and the guest, and `lines` in the topic, which ends with them if `end` is `--end`.
    pub fn job(&self, lines: &str, n_partitions: &str, end: &[&str]) -> Result<Job> {
        let job = Job::example("flights", &LogKind::Embedded, &[])?;
        self.put(&job)?;
        fs::copy(guest(self.kind), job.path().join("guest.wasm"))?;
        fs::write(job.path().join("in.ndjson"), lines)?;
        let write = ["topic", "write", "numbers", "in.ndjson", "--timestamp", "ts", "--partitions", n_partitions];
        job.read(&[&write, end].concat())?;
        Ok(job)
    }

    /// Writes the manifest of this stage over that of `job`.
    pub fn put(&self, job: &Job) -> Result<()> {
        let out = if self.kind == "process" { "guest.sums" } else { "guest" };
        let parts = [("MODE", self.mode), ("FUNCTION", self.function), ("KIND", self.kind), ("MORE", self.more), ("OUT", out)];
        let text = parts.iter().fold(MANIFEST.to_owned(), |text, (place, with)| text.replace(place, with));
        Ok(fs::write(job.path().join("reel.toml"), text)?)
    }
}
