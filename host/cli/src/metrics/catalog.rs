//! Every metric that there is: the one list from which they are served, documented and checked.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows while the process lives; its samples are called `NAME_total`.
    Counter,
    Gauge,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Without `_total`; ends with the unit, if it has one.
    pub name: &'static str,
    pub kind: Kind,
    /// Beside `pipeline`, which all have.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// How its samples are called.
    pub fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge => self.name.to_owned(),
        }
    }

    /// What its values count, if the name says it.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(&format!("_{unit}")))
    }
}

macro_rules! metrics {
    ($($id:ident $name:literal $kind:ident [$($label:literal),*] $help:literal)*) => {
        $(pub(crate) const $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order in which they are served.
        pub(crate) const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    UPTIME "reel_uptime_seconds" Gauge [] "Since the run began."
    READY "reel_ready" Gauge [] "1 if every worker owns its tasks, recovered, or is a spare one; else 0."
    WORKERS "reel_workers" Gauge ["state"] "Workers of this process: ready, recovering, or retrying after an error of the log."
    RECORDS_READ "reel_records_read" Counter [] "Records read from topics of all kinds, committed or not."
    READ_BYTES "reel_read_bytes" Counter [] "Their bytes."
    RECORDS_WRITTEN "reel_records_written" Counter [] "Records written and committed, the changelog aside."
    DEAD_LETTERS "reel_dead_letters" Counter ["by", "reason"] "Committed dead letters, by the stage or source that refused them and the reason in their header."
    CHANGELOG_BYTES "reel_changelog_bytes" Counter [] "Committed state changes."
    BASES_WRITTEN "reel_bases_written" Counter [] "Bases put into the store. Absent without a store, as all that follows of bases."
    BASES_WRITTEN_BYTES "reel_bases_written_bytes" Counter [] "Their bytes, compressed."
    BASES_FAILURES "reel_bases_failures" Counter [] "Calls of the store that failed."
    BASES_SKIPPED "reel_bases_skipped" Counter [] "Bases that a recovery found gone or damaged: it took the one before, and more of the changelog."
    BASE_AGE "reel_base_age_max_seconds" Gauge [] "The age of the newest base in the store, of the task where it is the greatest. Absent before the first."
    FILES_PUBLISHED "reel_files_published" Counter [] "Files published."
    ROWS_PUBLISHED "reel_rows_published" Counter [] "Rows in them."
    EPOCHS_SEALED "reel_epochs_sealed" Counter [] "Epochs committed."
    EPOCHS_ABORTED "reel_epochs_aborted" Counter [] "Epochs dropped and done again from the last commit."
    TRIALS "reel_trials" Counter ["verdict"] "Trials of new code that this process has heard the end of: accepted or rolled-back."
    SESSIONS_LOST "reel_sessions_lost" Counter [] "Sessions with the log that ended by an error."
    RECOVERY "reel_recovery_max_seconds" Gauge [] "The longest that a worker took to get the state of its tasks back."
    UNACCOUNTED "reel_unaccounted" Gauge [] "Sources and stages whose counts do not add up. Anything but 0 is a bug of Reelflow."
    WATERMARK "reel_watermark_seconds" Gauge ["partition"] "The lowest watermark among the tasks of a partition, since 1970; at most 128 partitions. Absent before the first record and after the end."
    WATERMARK_MIN "reel_watermark_min_seconds" Gauge [] "The lowest of all partitions."
    WATERMARK_LAG "reel_watermark_lag_seconds" Gauge ["partition"] "How far the watermark is behind the wall clock."
    WATERMARK_LAG_MAX "reel_watermark_lag_max_seconds" Gauge [] "The greatest of all partitions."
    SOURCE_RECORDS "reel_source_records" Counter ["source", "fate"] "Committed records of a source: decoded or dead."
    STAGE_ROWS_IN "reel_stage_rows_in" Counter ["stage"] "Committed rows that came to a stage."
    STAGE_ROWS "reel_stage_rows" Counter ["stage", "fate"] "What became of them: accepted, duplicate, late, dead or skipped. Sums up to the rows that came."
    STAGE_ROWS_OUT "reel_stage_rows_out" Counter ["stage"] "Committed rows that a stage emitted."
    STAGE_RESULTS "reel_stage_results" Counter ["stage", "fate"] "What went wrong behind rows that were accepted: windows that a row was late for; results dead or skipped."
    STAGE_CONFLICTS "reel_stage_conflicting_rows" Counter ["stage"] "Duplicates whose fields differ from the first row with their id."
    STAGE_STATE "reel_stage_state_bytes" Gauge ["stage"] "State that a stage keeps, in the tasks of this process."
    STAGE_WAITING "reel_stage_waiting_rows" Gauge ["stage"] "Rows that wait for a table to come past them."
    PLUGIN_CALLS "reel_plugin_calls" Counter ["stage", "plugin"] "Calls of a plugin for a stage, committed or not, as all that follows."
    PLUGIN_ROWS "reel_plugin_rows" Counter ["stage", "plugin"] "Rows or groups that the calls covered; again where calls were cut or made again."
    PLUGIN_TIME "reel_plugin_call_seconds" Counter ["stage", "plugin"] "Wall time in calls."
    PLUGIN_CPU "reel_plugin_cpu_seconds" Counter ["stage", "plugin"] "CPU time in them."
    PLUGIN_IN "reel_plugin_in_bytes" Counter ["stage", "plugin"] "Bytes given to calls."
    PLUGIN_OUT "reel_plugin_out_bytes" Counter ["stage", "plugin"] "Bytes of good answers."
    PLUGIN_MEMORY "reel_plugin_memory_max_bytes" Gauge ["stage", "plugin"] "The most linear memory that an instance had."
    PLUGIN_RETRIES "reel_plugin_retries" Counter ["stage", "plugin"] "Calls made again because a lone row ran into the deadline."
    PLUGIN_FAULTS "reel_plugin_faults" Counter ["stage", "plugin", "kind"] "Calls that failed: trap, deadline, memory, output or malformed."
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write, fs, path::PathBuf};

    use super::*;

    fn docs(file: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
    }

    #[test]
    fn names_are_those_of_open_metrics() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "each once");
        for metric in ALL {
            let is_legal = metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_legal && metric.name.starts_with("reel_") && !metric.name.ends_with("_total"), "{metric:?}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\\', '\n', '"']), "{metric:?}");
            assert!(!metric.labels.contains(&"pipeline"), "{metric:?}");
        }
    }

    /// `REEL_BLESS=1` writes the table anew.
    #[test]
    fn the_table_in_the_docs_is_up_to_date() {
        let mut table = "| metric | labels | |\n| --- | --- | --- |\n".to_owned();
        for metric in ALL {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(table, "| `{}` | {} | {} |", metric.sample_name(), labels.join(", "), metric.help)
                .expect("a string takes all");
        }
        let text = fs::read_to_string(docs("operations.md")).expect("the page is there");
        let start = text.find("| metric | labels | |\n").expect("the page has the table");
        let end = text[start..].find("\n\n").map_or(text.len(), |len| start + len + 1);
        if std::env::var_os("REEL_BLESS").is_some() {
            fs::write(docs("operations.md"), format!("{}{table}{}", &text[..start], &text[end..]))
                .expect("the page can be written");
        } else {
            assert_eq!(text[start..end], table, "REEL_BLESS=1 accepts it");
        }
    }

    /// The words in `text` that are names of ours.
    fn named(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| word.starts_with("reel_")).map(str::to_owned).collect()
    }

    #[test]
    fn every_alert_is_a_rule_about_metrics_that_exist() {
        let text = fs::read_to_string(docs("alerts.yml")).expect("the rules are there");
        let rules = yaml_rust2::YamlLoader::load_from_str(&text).expect("they are YAML");
        let known: BTreeSet<String> = ALL.iter().map(Metric::sample_name).collect();
        let mut n_rules = 0;
        for group in rules[0]["groups"].as_vec().expect("groups of rules") {
            assert!(group["name"].as_str().is_some());
            for rule in group["rules"].as_vec().expect("a group has rules") {
                let name = rule["alert"].as_str().expect("a rule has a name");
                let text = |of: &yaml_rust2::Yaml, key: &str| {
                    of[key].as_str().unwrap_or_else(|| panic!("{name} has no {key}")).to_owned()
                };
                let expr = text(rule, "expr");
                let named = named(&expr);
                assert!(!named.is_empty() && named.is_subset(&known), "{name} is about {named:?}");
                assert!(["page", "ticket"].contains(&text(&rule["labels"], "severity").as_str()), "{name}");
                assert!(text(rule, "for").ends_with(['s', 'm', 'h']), "{name}");
                assert!(
                    !text(&rule["annotations"], "summary").is_empty() && !text(&rule["annotations"], "description").is_empty()
                );
                n_rules += 1;
            }
        }
        assert!(n_rules >= 5, "{n_rules}");
    }
}
