//! A schema registry that fails: what needs it waits, everything else goes on, and no record is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reelflow_core::{
    format::{
        Binary, SchemaAnswer, SourceFormat, WriterSchema,
        avro::{self, Type},
    },
    plan::{Consumer, EventTimeFrom, FragmentInput, FragmentPlan, Plan, SinkPlan, SourcePlan, Stream},
    record::Outgoing,
    schema::{Field, FieldType, Schema},
    time::WallTime,
};
use reelflow_ports::{
    clock::Clock,
    log::{Log, NewTopic, Retention},
    schemas::{KnownSchemas, Schemas, SchemasError},
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    error::RunError,
    finish::Goal,
    observe::{Event, Observer},
    pipeline,
    settings::{Alignment, Settings},
    summary::Summary,
    worker::{Job, Step, Worker},
};

const BEGIN: WallTime = WallTime(1_767_225_600_000);
const N_PARTITIONS: u32 = 3;
/// That of most records; a newer one; one that nobody has.
const OLD: u32 = 1;
const NEW: u32 = 2;
const UNKNOWN: u32 = 3;
const FOREVER: i64 = 1 << 40;

/// A registry that says `answers`, but fails while it is told to.
struct Failing {
    answers: KnownSchemas,
    error: SchemasError,
    is_down: AtomicBool,
    n_asked: AtomicUsize,
}

impl Schemas for Failing {
    fn writer(&self, id: u32) -> Result<SchemaAnswer, SchemasError> {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) { Err(self.error.clone()) } else { self.answers.writer(id) }
    }
}

/// Counts how often somebody waited for a schema.
#[derive(Default)]
struct Waits(Mutex<usize>);

impl Observer for Waits {
    fn event(&self, event: &Event) {
        if let Event::AwaitingSchemas { .. } = event {
            *self.0.lock().expect("nobody panics here") += 1;
        }
    }

    fn progress(&self, _: &Summary) {}
}

/// One field, `n`, which the new schema calls the second.
fn answers() -> KnownSchemas {
    let schema = |fields: &[&str]| {
        let fields = fields.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let types = vec![Type::Long, Type::Record { name: "R".to_owned(), fields }];
        SchemaAnswer::Known(Arc::new(WriterSchema::Avro(avro::Schema::new(types, 1).expect("a whole schema"))))
    };
    KnownSchemas(BTreeMap::from([(OLD, schema(&["n"])), (NEW, schema(&["more", "n"]))]))
}

fn plan() -> Plan {
    let schema =
        Schema { fields: vec![Field { name: "n".to_owned(), path: "n".to_owned(), field_type: FieldType::Int, required: true }] };
    let source = SourcePlan {
        name: "in".into(),
        topic: "in".into(),
        fragment: 0,
        format: SourceFormat::Registry(Binary::Avro),
        stream: Stream { schema: schema.clone(), consumers: vec![Consumer::Sink(0)] },
        event_time: EventTimeFrom::LogTimestamp,
        bound_ms: 0,
        idle_after_ms: 60_000,
        future_ms_max: 1 << 40,
        value_bytes_max: 1_000,
        table: None,
    };
    let sink = SinkPlan {
        name: "rows".into(),
        topic: "out".into(),
        n_partitions: N_PARTITIONS,
        schema,
        key: Vec::new(),
        upsert: false,
        tombstone: None,
        format: Default::default(),
        files: None,
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

/// What a run came to.
struct Outcome {
    /// Of each row: the partition and `n`.
    rows: Vec<(u32, i64)>,
    n_dead: usize,
    /// How many rows were there when the registry answered again, or the run ended.
    n_rows_before: usize,
    ended: Result<(), RunError>,
    n_waits: usize,
    n_asked: usize,
}

/// Three partitions, 50 records each: the first has old ones only, the second new ones from its half on, the third also some of a schema
/// that nobody has. Before record 15 the registry begins to fail with `error`, for `down_ms`.
fn run(down_ms: i64, error: SchemasError, alignment: Option<Alignment>) -> Outcome {
    let clock = VirtualClock::starting_at(BEGIN);
    let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
    let topic = NewTopic { name: "in".into(), n_partitions: N_PARTITIONS, retention: Retention::FromTimestamp };
    log.create_topic(&topic).expect("a new topic");
    pipeline::prepare(&log, &plan(), &Waits::default()).expect("the topics are as the plan needs them");
    let (is_down, n_asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let schemas = Arc::new(Failing { answers: answers(), error, is_down, n_asked });
    let watch = Arc::new(Waits::default());
    let settings = Settings { commit_interval: Duration::from_millis(20), alignment, ..Settings::standard("a".into()) };
    let job = Job {
        plan: Arc::new(plan()),
        plugins: Vec::new(),
        log: Arc::new(log.clone()),
        bases: None,
        schemas: schemas.clone(),
        clock: clock.clone(),
        settings,
        observer: watch.clone(),
        board: None,
    };
    let mut worker = Worker::new(0, job.clone()).expect("there are no plugins");
    let n_rows = || log.committed_records("out").iter().flatten().count();
    // A worker that has nothing to do waits in the log, and the clock goes on.
    let mut step = || {
        clock.advance(Duration::from_millis(1));
        worker.step()
    };
    let (mut since, mut ended) = (clock.now(), Ok(Step::Busy));
    for n in 0..50 {
        if n == 15 && down_ms > 0 {
            schemas.is_down.store(true, Ordering::Relaxed);
            since = clock.now();
        }
        log.write(&records(n)).expect("the model takes records");
        if ended.is_ok() {
            ended = (0..5).try_fold(Step::Busy, |_, _| step());
        }
    }
    while ended.is_ok() && clock.now().0 < since.0 + down_ms {
        ended = step();
    }
    let n_rows_before = n_rows();
    schemas.is_down.store(false, Ordering::Relaxed);
    let goal = Goal::at_start(&log, &job.plan).expect("the model answers");
    while ended.is_ok() && !goal.is_reached(&log, &job.plan, &job.group()).expect("the model answers") {
        ended = step();
        assert!(clock.now().0 < since.0 + 3_600_000, "the run does not end");
    }
    let topics = log.committed_records("out");
    let rows = topics.iter().enumerate().flat_map(|(partition, records)| {
        let n = |value: &[u8]| serde_json::from_slice::<serde_json::Value>(value).expect("a row is JSON")["n"].as_i64();
        records.iter().map(move |record| (partition as u32, n(record.value.as_deref().unwrap_or_default()).expect("a number")))
    });
    Outcome {
        rows: rows.collect(),
        n_dead: log.committed_records("dead.sim").iter().flatten().count(),
        n_rows_before,
        ended: ended.map(drop),
        n_waits: *watch.0.lock().expect("nobody panics here"),
        n_asked: schemas.n_asked.load(Ordering::Relaxed),
    }
}

/// The record `n` of each partition.
fn records(n: i64) -> Outgoing {
    let zigzag = |n: i64| vec![(2 * n) as u8];
    let mut outgoing = Outgoing::new("in".into());
    for partition in 0..N_PARTITIONS {
        let id = match partition {
            1 if n >= 25 => NEW,
            2 if n % 10 == 9 => UNKNOWN,
            _ => OLD,
        };
        let value = [vec![0], id.to_be_bytes().to_vec(), if id == NEW { zigzag(7) } else { Vec::new() }, zigzag(n)].concat();
        outgoing.push(partition, BEGIN.0 + n, None, Some(&value), &[]);
    }
    outgoing
}

fn unavailable() -> SchemasError {
    SchemasError::Unavailable("nobody answers".to_owned())
}

fn all_rows() -> Vec<(u32, i64)> {
    (0..N_PARTITIONS).flat_map(|partition| (0..50).map(move |n| (partition, n))).filter(|(p, n)| *p != 2 || n % 10 != 9).collect()
}

#[test]
fn a_registry_that_is_down_delays_what_needs_it_and_loses_nothing() {
    for alignment in [None, Some(Alignment::within(Duration::from_secs(3600)))] {
        let calm = run(0, unavailable(), alignment);
        // From before record 25, the first of the new schema, until long after the last one.
        let disturbed = run(60_000, unavailable(), alignment);
        for outcome in [&calm, &disturbed] {
            assert!(outcome.ended.is_ok(), "{:?}", outcome.ended);
            let mut rows = outcome.rows.clone();
            rows.sort_unstable();
            assert_eq!(rows, all_rows());
            assert_eq!(outcome.n_dead, 5, "the records of a schema that nobody has");
        }
        assert_eq!(calm.n_waits, 0);
        assert!((5..40).contains(&disturbed.n_waits), "it is asked again, but not at every step: {}", disturbed.n_waits);
        // All of the partition that needs nothing, and of the others what came before: record 25 of one, 19 of the other.
        assert_eq!(disturbed.n_rows_before, 50 + 25 + 18, "the others went on, and nothing was skipped");
        assert!(disturbed.n_asked < calm.n_asked + 40, "{} and {}", calm.n_asked, disturbed.n_asked);
    }
}

#[test]
fn a_registry_that_stays_down_is_given_up_and_nothing_is_skipped() {
    let outcome = run(FOREVER, unavailable(), None);
    let Err(error @ RunError::Schemas { .. }) = outcome.ended else { panic!("{:?}", outcome.ended) };
    assert!(error.to_string().contains("nobody answers"), "{error}");
    assert_eq!(outcome.rows.len(), 50 + 25 + 18);
    assert_eq!(outcome.n_dead, 1);
}

#[test]
fn a_registry_that_denies_access_ends_the_run_at_once() {
    let outcome = run(FOREVER, SchemasError::Denied("it answers 401".to_owned()), None);
    assert!(matches!(outcome.ended, Err(RunError::Schemas { .. })), "{:?}", outcome.ended);
    assert_eq!(outcome.n_waits, 0);
}
