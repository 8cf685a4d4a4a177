//! What scenarios do not show: the bytes of records, and what is written at a seal.

use super::*;
use crate::{
    format::SourceFormat,
    frame::{self, Frame},
    plan::{
        Consumer, Divided, EventTimeFrom, Failing, FileFormat, FilesPlan, FragmentInput, FragmentPlan, ShufflePlan, ShuffleTo,
        SinkPlan, SourcePlan, StageKind, StagePlan, Stream,
    },
    record::{END_KEY, Header, Record, partition_of},
    schema::{Field, FieldType, Schema},
};

mod bases;
mod combining;
mod resets;
mod stored;

const NOW: WallTime = WallTime(5_000_000);
const N_PARTITIONS: u32 = 4;

fn schema() -> Schema {
    let field = |(name, field_type): &(&str, FieldType)| Field {
        name: (*name).into(),
        path: (*name).into(),
        field_type: *field_type,
        required: true,
    };
    Schema { fields: [("id", FieldType::Text), ("ts", FieldType::Int)].iter().map(field).collect() }
}

fn stream(consumers: &[Consumer]) -> Stream {
    Stream { schema: schema(), consumers: consumers.to_vec() }
}

/// plays → unique (dedup) → sink "out" by id, and → the shuffle "away" by ts, which nobody reads here.
fn plan() -> Arc<Plan> {
    let source = SourcePlan {
        name: "plays".into(),
        topic: "topic-plays".into(),
        fragment: 0,
        format: SourceFormat::Json,
        stream: stream(&[Consumer::Stage { stage: 0, port: 0 }]),
        event_time: EventTimeFrom::Field(1),
        bound_ms: 0,
        idle_after_ms: 60_000,
        future_ms_max: 600_000,
        value_bytes_max: 10_000,
        table: None,
    };
    let stage = StagePlan {
        name: "unique".into(),
        fragment: 0,
        inputs: vec![schema()],
        kind: StageKind::Dedup { id: 0, horizon_ms: 1000 },
        outputs: vec![stream(&[Consumer::Sink(0), Consumer::Shuffle(0)])],
        state: None,
        retime: None,
        failing: Failing::STANDARD,
        late_topic: None,
        union: Vec::new(),
    };
    let shuffle = ShufflePlan {
        topic: "away".into(),
        from_fragment: 0,
        to_fragment: 1,
        to: ShuffleTo::Key(vec![1]),
        is_combined: false,
        stream: stream(&[]),
    };
    let sink = SinkPlan {
        name: "out".into(),
        topic: "out".into(),
        n_partitions: 3,
        schema: schema(),
        key: vec![0],
        upsert: false,
        tombstone: None,
        format: Default::default(),
        files: None,
    };
    let fragment = |(name, input, stages): (&str, _, _)| FragmentPlan { name: name.into(), inputs: vec![input], stages };
    let fragments = [("plays", FragmentInput::Source(0), vec![0]), ("away", FragmentInput::Shuffle(0), vec![])];
    Arc::new(Plan {
        name: "test".into(),
        n_partitions: N_PARTITIONS,
        sources: vec![source],
        stages: vec![stage],
        shuffles: vec![shuffle],
        sinks: vec![sink],
        fragments: fragments.map(fragment).into(),
        dead_letter_topic: "dead.test".into(),
        side_partitions: 2,
        changelog_topic: "reel.test.changelog".into(),
        resets: Default::default(),
    })
}

fn task() -> Task {
    let mut task = Task::new(plan(), 0, 3);
    assert!(handled(&mut task, Input::ClockRead { now: NOW }).is_empty());
    task
}

fn handled(task: &mut Task, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    task.handle(input, &mut effects);
    effects
}

fn appended(effects: Vec<Effect>) -> Vec<Outgoing> {
    let append = |effect| match effect {
        Effect::Append(outgoing) => Some(outgoing),
        Effect::Call { .. } | Effect::Migrated(_) | Effect::Sealed(_) | Effect::Failed(_) => None,
    };
    effects.into_iter().filter_map(append).collect()
}

fn sealed(task: &mut Task) -> (SealedTask, Vec<Outgoing>) {
    let mut effects = handled(task, Input::Seal);
    let Some(Effect::Sealed(sealed)) = effects.pop() else { panic!("a seal ends with what was sealed") };
    (sealed, appended(effects))
}

fn records(values: &[(&[u8], &[u8])]) -> Input {
    let headers: Vec<Header> = vec![("trace".into(), b"t-1".to_vec())];
    let mut batch = RecordBatch::default();
    for (idx, (key, value)) in values.iter().enumerate() {
        let offset = 100 + idx as i64;
        batch.push(Record { offset, timestamp_ms: 42, key: Some(key), value: Some(value), headers: &headers });
    }
    Input::Records { input: 0, batch: Arc::new(batch) }
}

/// Plays with ids `first..first + n` at 7 ms.
fn plays(first: usize, n: usize) -> Input {
    let values: Vec<String> = (first..first + n).map(|id| format!(r#"{{"id":"play-{id}","ts":7}}"#)).collect();
    let pairs: Vec<(&[u8], &[u8])> = values.iter().map(|value| (&b"k"[..], value.as_bytes())).collect();
    records(&pairs)
}

#[test]
fn a_dead_letter_keeps_the_record_and_says_why_it_died() {
    let all = appended(handled(&mut task(), records(&[(b"k", b"{}"), (b"k", b"")])));
    assert_eq!(all.len(), 1);
    assert_eq!((&*all[0].topic, &all[0].partitions), ("dead.test", &vec![3 % 2; 2]));
    let record = all[0].records.record(0);
    assert_eq!((record.key, record.value, record.timestamp_ms), (Some(&b"k"[..]), Some(&b"{}"[..]), 42));
    let headers: Vec<(&str, &str)> =
        record.headers.iter().map(|(name, bytes)| (&**name, std::str::from_utf8(bytes).unwrap())).collect();
    let expected = [
        ("trace", "t-1"),
        ("reel-pipeline", "test"),
        ("reel-source", "plays"),
        ("reel-reason", "missing"),
        ("reel-error", "required field \"id\" is missing"),
        ("reel-topic", "topic-plays"),
        ("reel-partition", "3"),
        ("reel-offset", "100"),
        ("reel-timestamp", "42"),
    ];
    assert_eq!(headers, expected);
    assert_eq!(all[0].records.record(1).value, Some(&b""[..]));
}

#[test]
fn an_output_has_the_event_time_the_key_and_the_partition_of_its_key() {
    let all = appended(handled(&mut task(), records(&[(b"k", br#"{"ts":-7,"more":1,"id":"a"}"#)])));
    let out = all.iter().find(|outgoing| *outgoing.topic == *"out").unwrap();
    let record = out.records.record(0);
    assert_eq!((record.key, record.value, record.timestamp_ms), (Some(&b"a"[..]), Some(&br#"{"id":"a","ts":-7}"#[..]), -7));
    assert_eq!(out.partitions, [partition_of(b"a", 3)]);
}

#[test]
fn shuffled_rows_go_where_a_producer_would_put_them_and_marks_go_everywhere() {
    let mut task = task();
    let values: Vec<String> = (0..50).map(|ts| format!(r#"{{"id":"{ts}","ts":{ts}}}"#)).collect();
    let pairs: Vec<(&[u8], &[u8])> = values.iter().map(|value| (&b"k"[..], value.as_bytes())).collect();
    let all = appended(handled(&mut task, records(&pairs)));
    let away = all.iter().find(|outgoing| *outgoing.topic == *"away").unwrap();
    assert_eq!(away.len(), N_PARTITIONS as usize, "one frame for each partition");
    let mut times = Vec::new();
    for (record, partition) in away.records.iter().zip(&away.partitions) {
        assert_eq!(record.timestamp_ms, NOW.0);
        let Ok(Frame::Rows { upstream: 3, batch, .. }) = frame::decode(record.value.unwrap(), &schema()) else {
            panic!("{record:?}")
        };
        assert!(batch.times.iter().all(|time| partition_of(time.to_string().as_bytes(), N_PARTITIONS) == *partition));
        times.extend(batch.times.iter().map(|time| time.0));
    }
    times.sort();
    assert_eq!(times, (0..50).collect::<Vec<_>>());

    let (_, marks) = sealed(&mut task);
    assert_eq!(marks[0].partitions, [0, 1, 2, 3]);
    let mark = InputMark { watermark: Watermark(49), is_idle: false };
    let decoded = frame::decode(marks[0].records.record(2).value.unwrap(), &schema());
    assert_eq!(decoded, Ok(Frame::Watermark { upstream: 3, mark }));
    assert!(sealed(&mut task).1.is_empty(), "nothing new to say");
}

#[test]
fn a_task_that_reads_frames_is_as_far_as_all_those_before_it() {
    let mut upstreams: Vec<Task> = (0..N_PARTITIONS).map(|partition| Task::new(plan(), 0, partition)).collect();
    let mut downstream = Task::new(plan(), 1, 2);
    for (at, upstream) in upstreams.iter_mut().enumerate() {
        assert_eq!(downstream.watermark(), Watermark::UNKNOWN, "{at} of 4 have spoken");
        handled(upstream, records(&[(END_KEY, b"")]));
        let (_, marks) = sealed(upstream);
        let frame = marks[0].records.record(2);
        handled(&mut downstream, records(&[(b"", frame.value.unwrap())]));
    }
    assert!(downstream.finished());
    let damaged = appended(handled(&mut downstream, records(&[(b"", b"no frame")])));
    assert_eq!(*damaged[0].topic, *"dead.test");
    assert_eq!(downstream.counts().shuffles[&0], SourceCounts { records_in: 1, decoded: 0, dead: 1 });
}

#[test]
fn a_handled_input_appends_once_to_each_topic() {
    let topics = |effects| appended(effects).iter().map(|outgoing| outgoing.topic.to_string()).collect::<Vec<_>>();
    assert_eq!(topics(handled(&mut task(), plays(0, 100))), ["out", "away"]);
}

#[test]
fn an_epoch_in_which_nothing_happened_leaves_nothing() {
    let mut task = task();
    handled(&mut task, plays(0, 10));
    assert!(!sealed(&mut task).0.chunks.is_empty());
    handled(&mut task, Input::ClockRead { now: WallTime(NOW.0 + 1000) });
    assert_eq!(sealed(&mut task).0, SealedTask { chunks: vec![], is_base: false, is_image_due: false });
}

#[test]
fn state_that_is_not_of_this_task_is_refused() {
    let mut task = task();
    handled(&mut task, plays(0, 1));
    let (SealedTask { chunks, .. }, _) = sealed(&mut task);
    let mut other = Task::new(plan(), 1, 3);
    assert_eq!(other.restore(&chunks[0]), Err(StateError::UnknownStage("plays".into())));
    let mut damaged = chunks[0].clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(other.restore(&damaged), Err(StateError::Damaged("checksum")));
    let mut longer = (*plan()).clone();
    longer.stages[0].kind = StageKind::Dedup { id: 0, horizon_ms: 2000 };
    let refused = Task::new(Arc::new(longer), 0, 3).restore(&chunks[0]).unwrap_err();
    assert_eq!(refused.to_string(), "stage \"unique\" had horizon = 1s, now it is 2s");
    let mut writer = ChangeWriter::default();
    writer.stage("gone");
    writer.body().u8(1);
    assert_eq!(other.restore(&writer.finish()[0]), Err(StateError::UnknownStage("gone".into())));
}

/// The same plan, whose sink writes files.
fn task_with_files() -> Task {
    let mut plan = (*plan()).clone();
    plan.sinks[0].files = Some(FilesPlan {
        path: "out".into(),
        format: FileFormat::Ndjson,
        divided: Divided::Hourly,
        roll_every_ms: 1,
        roll_bytes: 1,
    });
    let mut task = Task::new(Arc::new(plan), 0, 3);
    assert!(handled(&mut task, Input::ClockRead { now: NOW }).is_empty());
    task
}

/// What was sent to the sink: its partitions, and the frames.
fn frames(all: &[Outgoing]) -> (Vec<Partition>, Vec<Frame>) {
    let to_sink = || all.iter().filter(|outgoing| &*outgoing.topic == "out");
    let decode = |record: Record<'_>| frame::decode(record.value.expect("a frame"), &schema()).expect("a frame");
    let partitions = to_sink().flat_map(|outgoing| outgoing.partitions.clone()).collect();
    (partitions, to_sink().flat_map(|outgoing| outgoing.records.iter().map(decode).collect::<Vec<_>>()).collect())
}

#[test]
fn rows_that_become_files_stay_in_the_partition_of_the_task_and_marks_follow_them() {
    let mut task = task_with_files();
    let (partitions, rows) = frames(&appended(handled(&mut task, plays(0, 40))));
    assert_eq!(partitions, [3], "one frame, wherever the keys would lead");
    assert!(matches!(&rows[..], [Frame::Rows { upstream: 3, batch, .. }] if batch.len() == 40), "{rows:?}");
    let mark = |at| Frame::Watermark { upstream: 3, mark: InputMark { watermark: Watermark(at), is_idle: false } };
    assert_eq!(frames(&sealed(&mut task).1), (vec![3], vec![mark(7)]));
    assert_eq!(frames(&sealed(&mut task).1), (vec![], vec![]), "it has not come further");
    handled(&mut task, records(&[(END_KEY, b"")]));
    assert_eq!(frames(&sealed(&mut task).1).1, [mark(Watermark::END.0)]);
}

#[test]
fn rows_say_whether_they_still_fit_the_sink() {
    let sink = plan().sinks[0].clone();
    let renamed = |edit: fn(&mut SinkPlan)| {
        let mut other = sink.clone();
        edit(&mut other);
        other.rows_digest()
    };
    let others: [fn(&mut SinkPlan); 5] = [
        |sink| sink.schema.fields[1].name = "at".to_owned(),
        |sink| sink.schema.fields[1].required = false,
        |sink| sink.schema.fields[1].field_type = FieldType::Float,
        |sink| sink.schema.fields.swap(0, 1),
        |sink| sink.upsert = true,
    ];
    for (idx, edit) in others.into_iter().enumerate() {
        assert_ne!(renamed(edit), sink.rows_digest(), "{idx}");
    }
    assert_eq!(renamed(|sink| sink.topic = "elsewhere".into()), sink.rows_digest());
}
