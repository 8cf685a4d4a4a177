//! Two processes share a pipeline with a file sink, and one of them leaves in the middle.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, thread, time::Duration};

use reelflow_core::{
    format::SourceFormat,
    frame::{self, Frame},
    plan::{
        Consumer, Divided, EventTimeFrom, FileFormat, FilesPlan, FragmentInput, FragmentPlan, Plan, SinkPlan, SourcePlan, Stream,
    },
    record::{END_KEY, Outgoing},
    schema::{Field, FieldType, Schema},
    time::WallTime,
};
use reelflow_files::sink::LocalSink;
use reelflow_ports::{
    log::{Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{observe::Blind, pipeline::Pipeline, publish::FileSinks, settings::Settings, worker::Job};

const N_PARTITIONS: u32 = 4;
const N_RECORDS: i64 = 20_000;
const BEGIN: WallTime = WallTime(1_767_225_600_000);

/// A source whose rows become files.
fn plan() -> Plan {
    let field = |name: &str| Field { name: name.to_owned(), path: name.to_owned(), field_type: FieldType::Int, required: true };
    let schema = Schema { fields: vec![field("id"), field("ts")] };
    let source = SourcePlan {
        name: "in".into(),
        topic: "in".into(),
        fragment: 0,
        format: SourceFormat::Json,
        stream: Stream { schema: schema.clone(), consumers: vec![Consumer::Sink(0)] },
        event_time: EventTimeFrom::Field(1),
        bound_ms: 0,
        idle_after_ms: 60_000,
        future_ms_max: 1 << 40,
        value_bytes_max: 1_000,
        table: None,
    };
    let files = FilesPlan {
        path: "out".into(),
        format: FileFormat::Ndjson,
        divided: Divided::Hourly,
        roll_every_ms: 1,
        roll_bytes: 2_000,
    };
    let sink = SinkPlan {
        name: "rows".into(),
        topic: "reel.sim.files.rows".into(),
        n_partitions: N_PARTITIONS,
        schema,
        key: Vec::new(),
        upsert: false,
        tombstone: None,
        format: Default::default(),
        files: Some(files),
    };
    Plan {
        name: "sim".into(),
        n_partitions: N_PARTITIONS,
        sources: vec![source],
        stages: Vec::new(),
        shuffles: Vec::new(),
        sinks: vec![sink],
        fragments: vec![FragmentPlan { name: "in".into(), inputs: vec![FragmentInput::Source(0)], stages: Vec::new() }],
        dead_letter_topic: "dead.sim".into(),
        side_partitions: 1,
        changelog_topic: "reel.sim.changelog".into(),
        resets: Default::default(),
    }
}

fn pipeline(log: &SimulatedLog, clock: &Arc<VirtualClock>, instance: &str, folder: &Path) -> Pipeline {
    let plan = plan();
    let mut files = FileSinks::new();
    files.insert(0, Arc::new(LocalSink::new(&plan, 0, folder)));
    let settings = Settings {
        commit_interval: Duration::from_millis(20),
        epoch_records_max: 100,
        until_end: true,
        ..Settings::standard(instance.into())
    };
    let job = Job {
        plan: Arc::new(plan),
        plugins: Vec::new(),
        log: Arc::new(log.clone()),
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock: clock.clone(),
        settings,
        observer: Arc::new(Blind),
        board: None,
    };
    Pipeline::new(job).with_files(files)
}

/// Records with ids from `from`, spread over partitions and a day.
fn records(from: i64, to: i64, is_end: bool) -> Outgoing {
    let mut outgoing = Outgoing::new("in".into());
    for id in from..to {
        let value = format!("{{\"id\":{id},\"ts\":{}}}", BEGIN.0 + id * 4_320);
        outgoing.push(id as u32 % N_PARTITIONS, BEGIN.0, None, Some(value.as_bytes()), &[]);
    }
    if is_end {
        (0..N_PARTITIONS).for_each(|partition| outgoing.push(partition, BEGIN.0, Some(END_KEY), Some(b""), &[]));
    }
    outgoing
}

/// How often a reader finds each id, and how many hours are complete.
fn found(folder: &Path) -> (BTreeMap<i64, usize>, usize, usize) {
    let (mut ids, mut n_hours, mut n_complete) = (BTreeMap::new(), 0, 0);
    for day in fs::read_dir(folder.join("out")).expect("the sink has a folder").flatten() {
        if !day.file_name().to_string_lossy().starts_with("dt=") {
            continue;
        }
        for hour in fs::read_dir(day.path()).expect("a day has hours").flatten() {
            n_hours += 1;
            n_complete += usize::from(hour.path().join("_SUCCESS").exists());
            let files = fs::read_dir(hour.path()).expect("an hour has files").flatten();
            for file in files.filter(|file| file.path().extension().is_some_and(|ending| ending == "ndjson")) {
                for line in fs::read_to_string(file.path()).expect("text").lines() {
                    let row: serde_json::Value = serde_json::from_str(line).expect("a row");
                    *ids.entry(row["id"].as_i64().expect("an id")).or_insert(0) += 1;
                }
            }
        }
    }
    (ids, n_hours, n_complete)
}

/// I-13: partitions move from one process to another while both publish.
#[test]
fn i_13_partitions_that_move_are_published_once() {
    for pause_ms in [0, 3, 10, 30, 60] {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = VirtualClock::starting_at(BEGIN);
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        let topic = NewTopic { name: "in".into(), n_partitions: N_PARTITIONS, retention: Retention::FromTimestamp };
        log.create_topic(&topic).expect("a new topic");
        log.write(&records(0, N_RECORDS, true)).expect("the model takes records");
        let leaving = pipeline(&log, &clock, "a", folder.path());
        let stopper = leaving.stopper();
        let staying = pipeline(&log, &clock, "b", folder.path());
        let (leaves, stays) = (thread::spawn(|| leaving.run()), thread::spawn(|| staying.run()));
        thread::sleep(Duration::from_millis(pause_ms));
        stopper.stop();
        // One that leaves may die with a transaction open, which then hides what the other one commits, until it is too old. The model's
        // time passes only in polls, and nobody polls at the end.
        while !stays.is_finished() {
            thread::sleep(Duration::from_millis(5));
            clock.advance(Duration::from_millis(20));
        }
        let left = leaves.join().expect("no panic").expect("it stops well");
        let stayed = stays.join().expect("no panic").expect("it reaches the end");
        let (ids, n_hours, n_complete) = found(folder.path());
        assert_eq!(ids, (0..N_RECORDS).map(|id| (id, 1)).collect(), "{pause_ms} ms");
        assert_eq!((n_hours, n_complete), (24, 24), "{pause_ms} ms");
        assert_eq!(left.rows_published + stayed.rows_published, N_RECORDS as u64, "{pause_ms} ms");
        let waiting = log.committed_records("reel.sim.files.rows").into_iter().flatten();
        let has_rows = |value: &[u8]| matches!(frame::decode(value, &plan().sinks[0].schema), Ok(Frame::Rows { .. }));
        let n_rows = waiting.filter(|record| has_rows(record.value.as_deref().unwrap_or_default())).count();
        assert_eq!(n_rows, 0, "what is published is trimmed");
    }
}
