//! `reel dlq retry`: records of dead letters back into the topics that they came from, each once.

use std::{collections::BTreeMap, sync::Arc, thread};

use reelflow_core::{
    letter::{Allowed, Letter, obstacle, retried::Retried},
    plan::Plan,
    record::partition_of,
};
use reelflow_ports::clock::SystemClock;
use reelflow_runtime::{
    retry::{PutBack, Retrier, Step, retried},
    settings::Settings,
};
use serde_json::{Value, json};

use super::{
    Cursor, Letters,
    patch::Patch,
    repairs::{Repair, Repairs},
};
use crate::{
    args::{
        Format,
        dlq::{Address, DlqRetry, Filters},
    },
    commands::state::Committed,
    failure::{Exit, Failure},
    output::{Output, print},
};

/// One transaction holds at most so many records, or about so many bytes.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;

/// What became of the letters that were asked for.
#[derive(Default)]
struct Outcome {
    /// By topic.
    put_back: BTreeMap<Arc<str>, u64>,
    n_before: u64,
    /// Why letters were left: how many, and the first of them.
    left: BTreeMap<String, (u64, Address)>,
}

/// Decides on letters and puts them back.
struct Putting<'a> {
    committed: &'a Committed,
    letters: Letters<'a>,
    allowed: Allowed,
    patch: Option<Patch>,
    /// `None`: nothing is to be done.
    retrier: Option<Retrier>,
    /// Which letters had been put back at the start; the retrier knows better, once it has begun.
    before: Retried,
    outcome: Outcome,
}

/// The records of one transaction.
#[derive(Default)]
struct Batch {
    records: Vec<PutBack>,
    n_bytes: usize,
}

pub(super) fn retry(args: &DlqRetry) -> Result<(), Failure> {
    if args.from.is_some() && !args.filters.is_empty() {
        let message = "--from names each dead letter, so it cannot be combined with filters";
        return Err(Failure::new(Exit::User, message).help("Take lines out of the file instead."));
    }
    let patch = args.patch.as_deref().map(Patch::parse).transpose()?;
    let repairs = args.from.as_deref().map(Repairs::open).transpose()?;
    let committed = Committed::open(&args.file)?;
    let letters = Letters::open(&committed.manifest, &*committed.log)?;
    // Where nothing has died, there is nothing to remember.
    let is_acting = !args.dry_run && !letters.extents.is_empty();
    let settings = Settings::standard("retry".into());
    let retrier = is_acting.then(|| Retrier::new(committed.log.clone(), Arc::new(SystemClock), &committed.plan, &settings));
    let allowed = Allowed { retries_max: args.retries_max, shared: args.shared };
    let before =
        retried(&*committed.log, &committed.plan.name, &letters.topic).map_err(|error| committed.manifest.run_failure(error))?;
    let outcome = Outcome::default();
    let mut putting = Putting { committed: &committed, letters, allowed, patch, retrier, before, outcome };
    // From here on the retrier knows what was put back, as long as nobody fences it.
    putting.put(Batch::default())?;
    match repairs {
        Some(repairs) => putting.mended(repairs)?,
        None => putting.filtered(&args.filters)?,
    }
    if let Some(retrier) = putting.retrier.take() {
        retrier.stop().map_err(|error| committed.manifest.log_failure(error))?;
    }
    match args.format {
        Format::Json => print(&json_of(&committed.plan, &putting.outcome, args.dry_run).to_string()),
        Format::Text => text(&committed.plan, &putting.outcome, args.dry_run),
    }
}

impl Putting<'_> {
    /// Puts back what `filters` keep.
    fn filtered(&mut self, filters: &Filters) -> Result<(), Failure> {
        let mut cursor = Some(Cursor { partition: 0, offset: 0 });
        while let Some(from) = cursor {
            let mut batch = Batch::default();
            let Putting { committed, letters, allowed, patch, retrier, before, outcome } = self;
            let known = retrier.as_ref().and_then(Retrier::retried).unwrap_or(before);
            cursor = letters.each_from(from, filters, &mut |address, letter| {
                if known.contains(address.partition, address.offset) {
                    outcome.n_before += 1;
                    return Ok(true);
                }
                let value = match patch.as_ref().map(|patch| patch.apply(letter.record.value)) {
                    None => letter.record.value.map(<[u8]>::to_vec),
                    Some(Some(value)) => Some(value),
                    Some(None) => {
                        outcome.leave("its value is no JSON object, which can be patched", address);
                        return Ok(true);
                    }
                };
                let key = letter.record.key.map(<[u8]>::to_vec);
                outcome.decide(&committed.plan, *allowed, address, letter, key, value, &mut batch);
                Ok(!batch.is_full())
            })?;
            self.put(batch)?;
        }
        Ok(())
    }

    /// Puts back what `repairs` say.
    fn mended(&mut self, mut repairs: Repairs) -> Result<(), Failure> {
        loop {
            let mut piece = repairs.piece(BATCH_RECORDS, BATCH_BYTES)?;
            if piece.is_empty() {
                return Ok(());
            }
            let filters = Filters { at: piece.keys().copied().collect(), ..Filters::default() };
            let mut batch = Batch::default();
            let Putting { committed, letters, allowed, retrier, before, outcome, .. } = self;
            let known = retrier.as_ref().and_then(Retrier::retried).unwrap_or(before);
            letters.each(&filters, &mut |address, letter| {
                let Some(Repair { key, value }) = piece.remove(&address) else { return Ok(()) };
                if known.contains(address.partition, address.offset) {
                    outcome.n_before += 1;
                    return Ok(());
                }
                let key = key.unwrap_or_else(|| letter.record.key.map(<[u8]>::to_vec));
                let value = value.unwrap_or_else(|| letter.record.value.map(<[u8]>::to_vec));
                outcome.decide(&committed.plan, *allowed, address, letter, key, value, &mut batch);
                Ok(())
            })?;
            piece.into_keys().for_each(|address| outcome.leave("not in the topic of dead letters", address));
            self.put(batch)?;
        }
    }

    /// One transaction; again and again while the log fails.
    fn put(&mut self, batch: Batch) -> Result<(), Failure> {
        let Some(retrier) = &mut self.retrier else { return Ok(()) };
        loop {
            match retrier.step(&batch.records).map_err(|error| self.committed.manifest.run_failure(error))? {
                Step::Done => return Ok(()),
                Step::Again => {}
                Step::Trouble { error, after } => {
                    anstream::eprintln!("{error}; trying again");
                    thread::sleep(after);
                }
            }
        }
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.records.len() >= BATCH_RECORDS || self.n_bytes >= BATCH_BYTES
    }
}

impl Outcome {
    fn leave(&mut self, why: &str, address: Address) {
        self.left.entry(why.to_owned()).or_insert((0, address)).0 += 1;
    }

    /// Adds the record of `letter`, with another key and value, to `batch`, if it can be put back.
    #[expect(clippy::too_many_arguments, reason = "a letter and what is to become of it")]
    fn decide(
        &mut self,
        plan: &Plan,
        allowed: Allowed,
        address: Address,
        letter: &Letter<'_>,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        batch: &mut Batch,
    ) {
        if let Some(obstacle) = obstacle(plan, letter, allowed) {
            return self.leave(&obstacle.to_string(), address);
        }
        let origin = letter.origin.expect("a letter without an origin has an obstacle");
        let topic = plan.sources.iter().map(|source| &source.topic).find(|topic| ***topic == *origin.topic);
        let topic = topic.expect("one that no source reads is an obstacle").clone();
        // A record with another key belongs elsewhere.
        let partition = match &key {
            Some(key) if letter.record.key != Some(key) => partition_of(key, plan.n_partitions),
            _ => origin.partition,
        };
        *self.put_back.entry(topic.clone()).or_default() += 1;
        batch.n_bytes += key.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Vec::len);
        batch.records.push(PutBack {
            letter: (address.partition, address.offset),
            topic,
            partition,
            timestamp_ms: letter.timestamp_ms,
            key,
            value,
            headers: letter.headers_again(),
        });
    }
}

fn json_of(plan: &Plan, outcome: &Outcome, dry_run: bool) -> Value {
    let left = |(why, (n_letters, first)): (&String, &(u64, Address))| json!({ "why": why, "letters": n_letters, "first": first.to_string() });
    let topics: serde_json::Map<String, Value> =
        outcome.put_back.iter().map(|(topic, n_records)| (topic.to_string(), json!(n_records))).collect();
    json!({
        "format": 1,
        "pipeline": &*plan.name,
        "dry_run": dry_run,
        "put_back": outcome.put_back.values().sum::<u64>(),
        "topics": topics,
        "before": outcome.n_before,
        "left": outcome.left.iter().map(left).collect::<Vec<_>>(),
        "late_topics": late_topics(plan),
    })
}

fn text(plan: &Plan, outcome: &Outcome, dry_run: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    let n_records: u64 = outcome.put_back.values().sum();
    let verb = if dry_run { "would put" } else { "put" };
    output.line(&format!("{verb} {n_records} records back"))?;
    for (topic, n_records) in &outcome.put_back {
        output.line(&format!("{n_records:>10}  into topic \"{topic}\""))?;
    }
    if outcome.n_before > 0 {
        output.line(&format!("{:>10}  were put back before", outcome.n_before))?;
    }
    for (why, (n_letters, first)) in &outcome.left {
        output.line(&format!("{n_letters:>10}  left, such as {first}: {why}"))?;
    }
    let late = late_topics(plan);
    if n_records > 0 && !late.is_empty() {
        output.line(&format!("They count when they happened: what is too late by now goes to {}", late.join(", ")))?;
    }
    output.finish()
}

fn late_topics(plan: &Plan) -> Vec<&str> {
    plan.stages.iter().filter_map(|stage| stage.late_topic.as_deref()).collect()
}
