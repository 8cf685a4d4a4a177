//! What a task's base costs on the embedded log: `cargo run --release -p reelflow-runtime --example base_cost [MB…]`.
//!
//! One task keeps so many MB of state (10, 100 and 500 unless given), of keys with 1 KB each and of keys with 16 bytes each. Every key
//! is written six times over, which makes bases due. They go into the changelog first, and into a store in a folder then. Prints how long epochs
//! took, the longest one, how much the changelog and the store hold at the end, and how long a new owner takes to get the state back.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use reelflow_bases::folder::FolderStore;
use reelflow_core::{
    column::Packed,
    format::SourceFormat,
    plan::{
        Consumer, Emission, EventTimeFrom, Failing, FragmentInput, FragmentPlan, Plan, SourcePlan, StageKind, StagePlan, Stream,
        WindowSpec,
    },
    plugin::{Declaration, PluginFault, Request, Response, StateVersion, World},
    record::Outgoing,
    schema::{Field, FieldType, Schema},
};
use reelflow_embedded::EmbeddedLog;
use reelflow_ports::{
    bases::BaseStore,
    clock::SystemClock,
    log::{Guarantee, Log, NewTopic, Retention, TopicPartition},
    native::NativePlugin,
    schemas::KnownSchemas,
};
use reelflow_runtime::{
    bases::Bases,
    inspect::inspect,
    observe::{Event, Observer, SealedEpoch},
    pipeline::Pipeline,
    settings::Settings,
    summary::Summary,
    worker::Job,
};

const N_ROUNDS: u64 = 6;

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).map(|mb| mb.parse().expect("a number of MB")).collect();
    let sizes = if asked.is_empty() { vec![10, 100, 500] } else { asked };
    println!(
        "{:>6}{:>8}{:>11}{:>9}{:>12}{:>12}{:>14}{:>14}{:>12}{:>14}{:>13}",
        "state",
        "a key",
        "bases",
        "epochs",
        "median",
        "longest",
        "its changes",
        "changelog",
        "records",
        "in the store",
        "recovery"
    );
    for mb in sizes {
        for state_bytes in [1024, 16] {
            for is_stored in [false, true] {
                measure(mb << 20, state_bytes, is_stored);
            }
        }
    }
}

fn measure(n_bytes: u64, state_bytes: usize, is_stored: bool) {
    let n_keys = n_bytes / (state_bytes as u64 + 21);
    let folder = tempfile::tempdir().expect("a folder");
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(&folder.path().join("log")).expect("a new log"));
    let store: Option<Arc<dyn BaseStore>> = is_stored.then(|| Arc::new(FolderStore::new(folder.path().join("bases"))) as _);
    let topic = NewTopic { name: "in".into(), n_partitions: 1, retention: Retention::FromTimestamp };
    log.create_topic(&topic).expect("a new topic");
    fill(&*log, n_keys);
    let plan = Arc::new(plan());
    let seen = Arc::new(Seen::default());
    let job = Job {
        plan: plan.clone(),
        plugins: vec![Arc::new(blob(state_bytes))],
        log: log.clone(),
        bases: store.clone().map(|store| Arc::new(Bases::new(store, true))),
        schemas: Arc::new(KnownSchemas::default()),
        clock: Arc::new(SystemClock),
        settings: Settings { until_end: true, epoch_records_max: (n_keys / 8) as usize, ..Settings::standard("0".into()) },
        observer: seen.clone(),
        board: None,
    };
    let summary = Pipeline::new(job).run().expect("the run reaches its end");
    let mut epochs = std::mem::take(&mut *seen.epochs.lock().expect("no panic with this lock"));
    epochs.sort_by_key(|epoch| epoch.took);
    let (median, longest) = (&epochs[epochs.len() / 2], &epochs[epochs.len() - 1]);
    let changelog = TopicPartition { topic: plan.changelog_topic.clone(), partition: 0 };
    let (earliest, end) = log.offsets(&changelog).expect("the changelog exists");
    let mut n_kept = 0;
    let count = &mut |record: reelflow_core::record::Record<'_>| {
        n_kept += record.value.map_or(0, <[u8]>::len);
        true
    };
    log.scan(&changelog, earliest, end, count).expect("the changelog is there");
    let stored = stored_bytes(store.as_deref());
    let begin = Instant::now();
    let tasks = inspect(&*log, store.as_deref(), &plan, Guarantee::ExactlyOnce).expect("the state comes back");
    let recovery = begin.elapsed();
    assert_eq!(tasks[0].stages[0].state_bytes as u64, summary.state_bytes, "recovery brings all back");
    println!(
        "{:>3} MB{:>6} B{:>11}{:>9}{:>9} ms{:>9} ms{:>11} MB{:>11} MB{:>12}{:>11} MB{:>10} ms",
        summary.state_bytes >> 20,
        state_bytes,
        if is_stored { "store" } else { "changelog" },
        epochs.len(),
        median.took.as_millis(),
        longest.took.as_millis(),
        longest.changelog_bytes >> 20,
        n_kept >> 20,
        end - earliest,
        stored >> 20,
        recovery.as_millis(),
    );
}

/// Bytes of all objects. A base that is named is among them.
fn stored_bytes(store: Option<&dyn BaseStore>) -> usize {
    let Some(store) = store else { return 0 };
    let names = store.list("bases/").expect("the folder can be listed");
    assert!(!names.is_empty(), "bases were due");
    names.iter().filter_map(|name| store.load(name).expect("it can be read")).map(|object| object.len()).sum()
}

fn fill(log: &dyn Log, n_keys: u64) {
    let mut records = Outgoing::new("in".into());
    for nth in 0..N_ROUNDS * n_keys {
        let key = nth % n_keys;
        records.push(0, 0, None, Some(format!("{{\"key\":{key},\"ts\":0}}").as_bytes()), &[]);
        if records.len() == 20_000 || nth + 1 == N_ROUNDS * n_keys {
            log.write(&records).expect("the log takes records");
            records = Outgoing::new("in".into());
        }
    }
}

/// Counts what the workers tell.
#[derive(Default)]
struct Seen {
    epochs: Mutex<Vec<SealedEpoch>>,
}

impl Observer for Seen {
    fn event(&self, event: &Event) {
        if let Event::Sealed(epoch) = event {
            self.epochs.lock().expect("no panic with this lock").push(epoch.clone());
        }
    }

    fn progress(&self, _: &Summary) {
        // Epochs say all that is asked for.
    }
}

/// An aggregate whose states have `state_bytes` bytes that no compression makes shorter.
fn blob(state_bytes: usize) -> NativePlugin {
    let declaration = Declaration {
        world: World::Aggregate,
        inputs: vec![Schema::default()],
        outputs: vec![("out".to_owned(), Schema::default())],
        key: Schema { fields: vec![int("key")] },
        state: Some(StateVersion { name: "Blob".to_owned(), version: 1, reads: Vec::new() }),
        sdk: "native".to_owned(),
        takes_right_alone: false,
    };
    let seed = std::sync::atomic::AtomicU64::new(1);
    NativePlugin::new("blob", declaration, move |request| {
        let Request::Add { grouped, .. } = request else { return Err(PluginFault::Trap(format!("{request:?}").into())) };
        let mut states = Packed::default();
        for _ in &grouped.ends {
            let mut word = seed.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            let mut state = Vec::with_capacity(state_bytes + 8);
            while state.len() < state_bytes {
                word = (word ^ (word >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                state.extend_from_slice(&word.to_le_bytes());
            }
            states.push(&state[..state_bytes]);
        }
        Ok(Response::States { states, rejects: Vec::new() })
    })
}

fn plan() -> Plan {
    let input = Schema { fields: vec![int("key"), int("ts")] };
    let source = SourcePlan {
        name: "in".into(),
        topic: "in".into(),
        fragment: 0,
        stream: Stream { schema: input.clone(), consumers: vec![Consumer::Stage { stage: 0, port: 0 }] },
        event_time: EventTimeFrom::Field(1),
        bound_ms: 0,
        idle_after_ms: 60_000,
        future_ms_max: 1 << 40,
        value_bytes_max: 1024,
        table: None,
        format: SourceFormat::Json,
    };
    let stage = StagePlan {
        name: "blobs".into(),
        fragment: 0,
        inputs: vec![input],
        union: Vec::new(),
        kind: StageKind::Aggregate {
            plugin: 0,
            columns: Vec::new(),
            key: vec![0],
            window: WindowSpec::Tumbling { size_ms: 3_600_000, offset_ms: 0 },
            lateness_ms: 0,
            emission: Emission::Final,
            early_ms: None,
        },
        state: None,
        outputs: vec![Stream { schema: Schema::default(), consumers: Vec::new() }],
        retime: None,
        failing: Failing::STANDARD,
        late_topic: Some("late.blobs".into()),
    };
    Plan {
        name: "bases".into(),
        n_partitions: 1,
        sources: vec![source],
        stages: vec![stage],
        shuffles: Vec::new(),
        sinks: Vec::new(),
        fragments: vec![FragmentPlan { name: "in".into(), inputs: vec![FragmentInput::Source(0)], stages: vec![0] }],
        dead_letter_topic: "dead.bases".into(),
        side_partitions: 1,
        changelog_topic: "reel.bases.changelog".into(),
        resets: Default::default(),
    }
}

fn int(name: &str) -> Field {
    Field { name: name.to_owned(), path: name.to_owned(), field_type: FieldType::Int, required: true }
}
