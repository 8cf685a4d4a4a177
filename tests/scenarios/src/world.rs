//! The tasks of a pipeline, the plugins they call, and a log that is a list.
//!
//! ```text
//! records [SOURCE] pN KEY[#ID][=N][!]@TIME[^LOGGED] …   one batch; ! is `stop`; ^ is the log's timestamp. `end` is the end of the partition,
//!                                                    `from@TIME` its promise to hold nothing older, `-KEY@TIME` a record without a value
//! raw [SOURCE] pN VALUE                              one record with these bytes; \xff, \n as in Rust
//! end                                                the end of every partition
//! behind [SOURCE] pN                                 the log has more of it, which is not read now; until its next records
//! wait TIME                                          wall time passes, nothing comes
//! seal                                               the epoch ends everywhere; what was shuffled is read
//! crash                                              all tasks are lost, recover, and read again what was not sealed
//! counts                                             what became of everything
//! state                                              whether any state is kept
//! ```

use std::sync::Arc;

use reelflow_core::{
    plan::{FragmentInput, Plan},
    record::{END_KEY, Outgoing, Partition, Record, RecordBatch, WATERMARK_KEY},
    task::{Task, TaskCounts},
    time::{WallTime, Watermark},
};

use crate::{
    counts,
    owned::{Happened, Owned},
    pipeline,
    plugins::Plugin,
    print, script,
};

/// Where wall time begins.
const START: WallTime = WallTime(1_000_000_000_000);

/// A pipeline in the middle of a case.
pub struct World {
    plan: Arc<Plan>,
    plugins: Vec<Plugin>,
    /// By fragment, then partition.
    owned: Vec<Owned>,
    now: WallTime,
    offset: i64,
    /// Shuffled in this epoch: (topic, partition, value).
    in_flight: Vec<(Arc<str>, Partition, Vec<u8>)>,
}

impl World {
    /// The pipeline that the lines of a `pipeline` step describe.
    pub fn new(lines: &[String]) -> Result<World, String> {
        let (plan, plugins) = pipeline::build(lines)?;
        let plan = Arc::new(plan);
        let mut world = World { owned: Vec::new(), now: START, offset: 0, in_flight: Vec::new(), plugins, plan: plan.clone() };
        for fragment in 0..plan.fragments.len() {
            for partition in 0..plan.n_partitions {
                let task = Task::new(plan.clone(), fragment, partition);
                let n_inputs = plan.fragments[fragment].inputs.len();
                let owned = Owned {
                    fragment,
                    partition,
                    task,
                    chunks: Vec::new(),
                    unsealed: Vec::new(),
                    appended: Vec::new(),
                    sealed_at: START,
                    at_end: vec![false; n_inputs],
                    sealed_at_end: vec![false; n_inputs],
                    failed: None,
                };
                world.owned.push(owned);
            }
        }
        let mut out = String::new();
        world.wait(0, &mut out)?;
        for source in 0..plan.sources.len() {
            (0..plan.n_partitions).try_for_each(|partition| world.read_to_end(source, partition, true, &mut out))?;
        }
        if out.is_empty() { Ok(world) } else { Err(format!("a pipeline that has read nothing says {out}")) }
    }

    /// Does what the lines of a step say; what comes of it.
    pub fn step(&mut self, lines: &[String]) -> Result<String, String> {
        let mut out = String::new();
        for line in lines {
            let before = self.watermarks();
            self.line(line, &mut out).map_err(|why| format!("{line}: {why}"))?;
            let after = self.watermarks();
            out.extend(after.iter().filter(|(of, mark)| !before.contains(&((*of).clone(), *mark))).map(|(of, mark)| {
                let words: Vec<&str> = ["watermark", of].into_iter().filter(|word| !word.is_empty()).collect();
                format!("{} {}\n", words.join(" "), print::watermark(*mark))
            }));
            self.tell_job_watermark();
        }
        Ok(out)
    }

    /// Loses every task and recovers it. An error unless everything comes out as before.
    pub fn crash(&mut self) -> Result<(), String> {
        self.owned.iter_mut().try_for_each(|owned| owned.crash(&self.plan, &self.plugins))
    }

    /// Ends the epoch of every task of a pipeline without shuffles, where nobody can notice.
    pub fn seal_silently(&mut self) {
        for owned in &mut self.owned {
            let appended = owned.seal(&self.plugins, self.now);
            assert!(appended.is_empty(), "a seal without shuffles appends nothing");
        }
    }

    fn line(&mut self, line: &str, out: &mut String) -> Result<(), String> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "records" => {
                let (source, partition, rest) = self.address(rest)?;
                let mut batch = RecordBatch::default();
                for word in rest.split_whitespace() {
                    self.push_record(word, &mut batch)?;
                }
                self.give(source, partition, batch, out)
            }
            "raw" => {
                let (source, partition, rest) = self.address(rest)?;
                let value = script::unescape(rest)?;
                let mut batch = RecordBatch::default();
                self.push(&mut batch, Some(b"raw"), Some(&value), 0);
                self.give(source, partition, batch, out)
            }
            "end" => {
                for source in 0..self.plan.sources.len() {
                    for partition in 0..self.plan.n_partitions {
                        let mut batch = RecordBatch::default();
                        self.push_record("end", &mut batch)?;
                        self.give(source, partition, batch, out)?;
                    }
                }
                Ok(())
            }
            "behind" => {
                let (source, partition, _) = self.address(&format!("{rest} "))?;
                self.read_to_end(source, partition, false, out)
            }
            "wait" => self.wait(print::parse_time(rest)?, out),
            "seal" => self.seal(out),
            "crash" => {
                self.crash()?;
                *out += "same outputs again\n";
                Ok(())
            }
            "counts" => {
                let of_tasks: Vec<TaskCounts> = self.owned.iter().map(|owned| owned.task.counts()).collect();
                *out += &counts::all(&self.plan, &of_tasks);
                Ok(())
            }
            "state" => {
                let n_bytes: usize = self.owned.iter().map(|owned| owned.task.state_bytes()).sum();
                *out += if n_bytes == 0 { "no state\n" } else { "some state\n" };
                Ok(())
            }
            _ => Err("no such step".into()),
        }
    }

    /// `[SOURCE] pN rest`
    fn address<'a>(&self, rest: &'a str) -> Result<(usize, Partition, &'a str), String> {
        let (first, after) = rest.split_once(' ').ok_or("a partition and records are missing")?;
        let partition = |word: &str| word.strip_prefix('p').and_then(|number| number.parse().ok());
        if let Some(partition) = partition(first) {
            return Ok((0, partition, after));
        }
        let source =
            self.plan.sources.iter().position(|source| *source.name == *first).ok_or_else(|| format!("no source \"{first}\""))?;
        let (second, after) = after.split_once(' ').ok_or("a partition and records are missing")?;
        Ok((source, partition(second).ok_or_else(|| format!("\"{second}\" is no partition"))?, after))
    }

    /// `KEY[#ID][=N][!]@TIME[^LOGGED]`, `-KEY@TIME`, `from@TIME`, or `end`
    fn push_record(&mut self, word: &str, batch: &mut RecordBatch) -> Result<(), String> {
        if word == "end" {
            self.push(batch, Some(END_KEY), Some(b"{}"), 0);
            return Ok(());
        }
        let (what, times) = word.split_once('@').ok_or_else(|| format!("\"{word}\" has no @time"))?;
        let (time, logged) = times.split_once('^').map_or((times, times), |(time, logged)| (time, logged));
        if what == "from" {
            let promise = print::parse_time(time)?.to_string();
            self.push(batch, Some(WATERMARK_KEY), Some(promise.as_bytes()), print::parse_time(logged)?);
            return Ok(());
        }
        if let Some(key) = what.strip_prefix('-') {
            self.push(batch, Some(key.as_bytes()), None, print::parse_time(logged)?);
            return Ok(());
        }
        let (what, is_stop) = what.strip_suffix('!').map_or((what, false), |what| (what, true));
        let (named, n) = what.split_once('=').map_or((what, None), |(named, n)| (named, Some(n)));
        let (key, id) = named.split_once('#').map_or((named, None), |(key, id)| (key, Some(id)));
        let mut value = format!(r#"{{"key":"{key}","ts":{}"#, print::parse_time(time)?);
        if let Some(id) = id {
            value += &format!(r#","id":"{id}""#);
        }
        if let Some(n) = n {
            value += &format!(r#","n":{n}"#);
        }
        if is_stop {
            value += r#","stop":true"#;
        }
        value.push('}');
        self.push(batch, Some(key.as_bytes()), Some(value.as_bytes()), print::parse_time(logged)?);
        Ok(())
    }

    fn push(&mut self, batch: &mut RecordBatch, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64) {
        batch.push(Record { offset: self.offset, timestamp_ms, key, value, headers: &[] });
        self.offset += 1;
    }

    fn give(&mut self, source: usize, partition: Partition, batch: RecordBatch, out: &mut String) -> Result<(), String> {
        let (at, input) = self.task_of(source, partition)?;
        self.happen(at, &Happened::Clock(self.now), out);
        self.read_to_end(source, partition, true, out)?;
        self.happen(at, &Happened::Records { input, batch: Arc::new(batch) }, out);
        Ok(())
    }

    /// The log says whether all that it holds of a partition was read.
    fn read_to_end(&mut self, source: usize, partition: Partition, is_at_end: bool, out: &mut String) -> Result<(), String> {
        let (at, input) = self.task_of(source, partition)?;
        if self.owned[at].at_end[input] != is_at_end {
            self.owned[at].at_end[input] = is_at_end;
            self.happen(at, &Happened::Reading { input, is_at_end }, out);
        }
        Ok(())
    }

    /// The place of the task that reads a partition, and which of its inputs that is.
    fn task_of(&self, source: usize, partition: Partition) -> Result<(usize, usize), String> {
        let fragment = self.plan.sources[source].fragment;
        let at = self.owned.iter().position(|owned| (owned.fragment, owned.partition) == (fragment, partition));
        let at = at.ok_or_else(|| format!("no partition {partition}"))?;
        Ok((at, self.input_of(fragment, FragmentInput::Source(source))))
    }

    fn input_of(&self, fragment: usize, input: FragmentInput) -> usize {
        self.plan.fragments[fragment].inputs.iter().position(|one| *one == input).expect("an input of its fragment")
    }

    fn happen(&mut self, at: usize, happened: &Happened, out: &mut String) {
        let owned = &mut self.owned[at];
        owned.unsealed.push(happened.clone());
        let (appended, sealed) = owned.handle(happened.input(), &self.plugins);
        assert!(sealed.is_none(), "sealed without being asked");
        owned.appended.extend(appended.iter().cloned());
        let failed = owned.failed.take();
        appended.iter().for_each(|outgoing| self.appended(outgoing, out));
        failed.iter().for_each(|failure| *out += &(print::failed(&self.plan, failure) + "\n"));
    }

    /// Prints what was appended, or keeps it for its readers.
    fn appended(&mut self, outgoing: &Outgoing, out: &mut String) {
        for (record, partition) in outgoing.records.iter().zip(&outgoing.partitions) {
            let value = || record.value.expect("outputs have values");
            let line = match outgoing.topic.split_once('.') {
                Some(("out", sink)) => match record.value {
                    Some(value) => print::sink_row(sink, value),
                    None => format!("{sink} {} (tombstone)", record.key.expect("it says whose").escape_ascii()),
                },
                Some(("late", _)) => print::late(&outgoing.topic, value()),
                Some(("reel", _)) => {
                    self.in_flight.push((outgoing.topic.clone(), *partition, value().to_vec()));
                    continue;
                }
                _ => print::dead(&record),
            };
            *out += &line;
            out.push('\n');
        }
    }

    fn wait(&mut self, ms: i64, out: &mut String) -> Result<(), String> {
        self.now = WallTime(self.now.0 + ms);
        (0..self.owned.len()).for_each(|at| self.happen(at, &Happened::Clock(self.now), out));
        Ok(())
    }

    /// Ends the epoch of all tasks, and then those downstream read what was committed with it.
    fn seal(&mut self, out: &mut String) -> Result<(), String> {
        for at in 0..self.owned.len() {
            let appended = self.owned[at].seal(&self.plugins, self.now);
            appended.iter().for_each(|outgoing| self.appended(outgoing, out));
        }
        let committed = std::mem::take(&mut self.in_flight);
        for at in 0..self.owned.len() {
            let (fragment, partition) = (self.owned[at].fragment, self.owned[at].partition);
            for (input, of) in self.plan.fragments[fragment].inputs.clone().into_iter().enumerate() {
                let topic = self.plan.input_topic(of).clone();
                let mut batch = RecordBatch::default();
                for (_, _, value) in committed.iter().filter(|(of, to, _)| *of == topic && *to == partition) {
                    self.push(&mut batch, None, Some(value), 0);
                }
                if !batch.is_empty() {
                    self.happen(at, &Happened::Clock(self.now), out);
                    self.happen(at, &Happened::Records { input, batch: Arc::new(batch) }, out);
                }
            }
        }
        Ok(())
    }

    /// The watermark of each task, and what tells it from the others.
    fn watermarks(&self) -> Vec<(String, Watermark)> {
        let name = |owned: &Owned| {
            let fragment = if self.plan.fragments.len() > 1 {
                format!("{}/", self.plan.fragments[owned.fragment].name)
            } else {
                String::new()
            };
            if self.plan.n_partitions > 1 {
                format!("{fragment}p{}", owned.partition)
            } else {
                fragment.trim_end_matches('/').to_owned()
            }
        };
        self.owned.iter().map(|owned| (name(owned), owned.task.watermark())).collect()
    }

    fn tell_job_watermark(&mut self) {
        for partition in 0..self.plan.n_partitions {
            let of_partition = |owned: &&Owned| owned.partition == partition;
            let lowest =
                self.owned.iter().filter(of_partition).map(|owned| owned.task.watermark()).min().expect("there are tasks");
            for at in 0..self.owned.len() {
                if self.owned[at].partition == partition {
                    let mut silent = String::new();
                    self.happen(at, &Happened::Job(lowest), &mut silent);
                    assert!(silent.is_empty(), "a job-wide watermark appends nothing");
                }
            }
        }
    }
}
