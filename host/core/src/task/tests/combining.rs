//! Rows that are added up before a shuffle ([`super::super::combining`]): what becomes of what is under way, and of silent tasks.

use super::*;
use crate::{
    column::{Packed, Rows, Value},
    frame::CombinedFrame,
    key::empty_columns,
    plan::{Emission, WindowSpec},
    plugin::{Grouped, Routed, StateVersion},
};

const WINDOW_MS: i64 = 10;

/// plays → the shuffle "away" by id → windows of 10 ms, whose plugin counts, → sink "out".
fn counting(is_combined: bool, size_ms: i64, state: StateVersion) -> Arc<Plan> {
    let mut plan = (*plan()).clone();
    let output = Schema { fields: schema().fields.into_iter().rev().collect() };
    plan.n_partitions = 2;
    plan.sources[0].stream.consumers = vec![Consumer::Shuffle(0)];
    plan.stages[0] = StagePlan {
        name: "count".into(),
        fragment: 1,
        kind: StageKind::Aggregate {
            plugin: 0,
            columns: vec![1],
            key: vec![0],
            window: WindowSpec::Tumbling { size_ms, offset_ms: 0 },
            lateness_ms: 0,
            emission: Emission::Final,
            early_ms: None,
        },
        outputs: vec![Stream { schema: output.clone(), consumers: vec![Consumer::Sink(0)] }],
        state: Some(state),
        late_topic: Some("late.count".into()),
        ..plan.stages[0].clone()
    };
    plan.shuffles[0].to = ShuffleTo::Key(vec![0]);
    plan.shuffles[0].is_combined = is_combined;
    plan.shuffles[0].stream.consumers = vec![Consumer::Stage { stage: 0, port: 0 }];
    plan.sinks[0].schema = output;
    plan.fragments[0].stages = Vec::new();
    plan.fragments[1].stages = vec![0];
    Arc::new(plan)
}

fn version(version: u32, reads: &[u32]) -> StateVersion {
    StateVersion { name: "Count".to_owned(), version, reads: reads.to_vec() }
}

fn combined() -> Arc<Plan> {
    counting(true, WINDOW_MS, version(1, &[]))
}

/// A state is as many bytes as rows were added.
fn answer(request: Request) -> Response {
    let mut states = Packed::default();
    let mut first = 0;
    match request {
        Request::Add { grouped: Grouped { ends, .. }, states: before } => {
            for (group, end) in ends.iter().enumerate() {
                states.push(&vec![1; before.at(group).len() + (end - first) as usize]);
                first = *end;
            }
            Response::States { states, rejects: Vec::new() }
        }
        Request::Merge { parts, ends } => {
            for end in ends {
                states.push(&vec![1; (first..end).map(|part| parts.at(part as usize).len()).sum()]);
                first = end;
            }
            Response::States { states, rejects: Vec::new() }
        }
        Request::Emit { windows, keys, states } => {
            let mut columns = empty_columns(&[crate::column::Kind::Int, crate::column::Kind::Bytes]);
            for group in 0..windows.len() {
                columns[0].push(Value::Int(states.at(group).len() as i64));
                columns[1].push(keys.column(0).at(group));
            }
            let rows = Rows::new(windows.len(), columns).expect("one of each");
            Response::Rows {
                outputs: vec![Routed { output: 0, rows, origins: (0..windows.len() as u32).collect() }],
                rejects: Vec::new(),
            }
        }
        other => panic!("nobody asks {other:?}"),
    }
}

/// What comes of an input, all calls answered.
fn done(task: &mut Task, input: Input) -> Vec<Effect> {
    let (mut all, mut inputs) = (Vec::new(), vec![input]);
    while let Some(input) = inputs.pop() {
        for effect in handled(task, input) {
            match effect {
                Effect::Call { request, .. } => inputs.push(Input::PluginReturned { result: Ok(answer(request)) }),
                other => all.push(other),
            }
        }
    }
    all
}

fn at(plan: Arc<Plan>, fragment: usize, now: i64) -> Task {
    let mut task = Task::new(plan, fragment, 0);
    done(&mut task, Input::ClockRead { now: WallTime(now) });
    task
}

/// Plays of "a" at these times.
fn plays_at(times: &[i64]) -> Input {
    let mut batch = RecordBatch::default();
    for ts in times {
        let value = format!(r#"{{"id":"a","ts":{ts}}}"#);
        batch.push(Record { offset: 0, timestamp_ms: *ts, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    Input::Records { input: 0, batch: Arc::new(batch) }
}

/// The frames in what was sent through the shuffle, for one partition of those that all get the same.
fn frames(all: &[Outgoing]) -> Vec<CombinedFrame> {
    let away = all.iter().filter(|outgoing| *outgoing.topic == *"away");
    let schemas = combined().partials_for(0).map(|(_, schema)| schema);
    let records =
        away.flat_map(|outgoing| outgoing.records.iter().zip(&outgoing.partitions).filter(|(_, to)| **to == partition()));
    records.map(|(record, _)| frame::decode_combined(record.value.unwrap(), &schema(), schemas.as_ref()).unwrap()).collect()
}

/// That of the key "a".
fn partition() -> u32 {
    partition_of(b"a", 2)
}

/// How many states crossed, and how many rows as they are.
fn crossed(effects: Vec<Effect>) -> (usize, usize) {
    let count = |counts: (usize, usize), frame| match frame {
        CombinedFrame::Partials { batch, .. } => (counts.0 + batch.len(), counts.1),
        CombinedFrame::Plain(Frame::Rows { batch, .. }) => (counts.0, counts.1 + batch.len()),
        CombinedFrame::Plain(Frame::Watermark { .. }) | CombinedFrame::Idle { .. } => counts,
    };
    frames(&appended(effects)).into_iter().fold((0, 0), count)
}

/// What the task behind the shuffle reads of what was sent.
fn arrives(all: Vec<Outgoing>) -> Input {
    let mut batch = RecordBatch::default();
    for outgoing in all.iter().filter(|outgoing| *outgoing.topic == *"away") {
        outgoing
            .records
            .iter()
            .zip(&outgoing.partitions)
            .filter(|(_, to)| **to == partition())
            .for_each(|(record, _)| batch.push(record));
    }
    Input::Records { input: 0, batch: Arc::new(batch) }
}

#[test]
fn counts_stay_where_rows_were_added_up_once() {
    let mut task = at(combined(), 0, 0);
    assert_eq!(crossed(done(&mut task, plays_at(&[1, 2, 3]))), (1, 0));
    sealed(&mut task);
    let mut off = task.under(counting(false, WINDOW_MS, version(1, &[]))).unwrap();
    done(&mut off, Input::ClockRead { now: WallTime(0) });
    assert_eq!(crossed(done(&mut off, plays_at(&[4, 5]))), (0, 2));
    assert_eq!((off.counts().stages[&0].rows_in, task.counts()), (3, task.counts()));
    sealed(&mut off);
    let mut on = off.under(combined()).unwrap();
    done(&mut on, Input::ClockRead { now: WallTime(0) });
    assert_eq!(crossed(done(&mut on, plays_at(&[4, 5]))), (1, 0));
    assert_eq!(on.counts().stages[&0].accepted, 5);
}

#[test]
fn states_under_way_are_taken_by_whoever_reads_them() {
    let sent = appended(done(&mut at(combined(), 0, 0), plays_at(&[1, 2, 3])));
    for plan in [combined(), counting(false, WINDOW_MS, version(1, &[])), counting(true, WINDOW_MS, version(2, &[1]))] {
        let mut task = at(plan.clone(), 1, 0);
        assert!(done(&mut task, arrives(sent.clone())).is_empty());
        assert!(done(&mut task, arrives(sent.clone())).is_empty());
        let kept: Vec<u32> = {
            sealed(&mut task);
            task.state_versions(0).collect()
        };
        assert_eq!(kept, if plan.stages[0].state == Some(version(1, &[])) { vec![1] } else { vec![1, 2] });
        let mut n_rows = Vec::new();
        task.kept(&mut |_, kept| {
            if let Kept::Pane { state, .. } = kept {
                n_rows.push(state.len())
            }
        });
        assert_eq!((n_rows, task.counts().stages[&0].rows_in), (vec![6], 0), "they were counted where they were added");
    }
}

#[test]
fn states_that_would_be_taken_for_something_else_stop_the_pipeline() {
    let sent = appended(done(&mut at(combined(), 0, 0), plays_at(&[1, 2, 3])));
    let check = |plan: Arc<Plan>, expected: &str| {
        let effects = done(&mut at(plan, 1, 0), arrives(sent.clone()));
        let [Effect::Failed(failure)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((failure.row.reason, failure.row.error.as_str()), ("partial-state", expected));
    };
    let terms =
        "rows are under way that were added up by another key, window or lateness; run the old manifest until they are through";
    check(counting(true, 20, version(1, &[])), terms);
    let state = "rows are under way that were added up to state Count 1, the plugin reads Count 3 and migrates 2; run the old plugin until they are through";
    check(counting(false, WINDOW_MS, version(3, &[2])), state);
}

/// An hour of wall time, in which event time stands still at first.
#[test]
fn a_silent_task_says_how_far_others_may_go_and_sends_rows_up_to_there_as_they_are() {
    const MINUTE_MS: i64 = 60_000;
    let mut task = at(combined(), 0, 0);
    done(&mut task, Input::Reading { input: 0, is_at_end: true });
    done(&mut task, plays_at(&[1, 2]));
    sealed(&mut task);
    let mut said = Vec::new();
    for minute in 1..=7 {
        done(&mut task, Input::ClockRead { now: WallTime(minute * MINUTE_MS) });
        said.extend(frames(&sealed(&mut task).1));
    }
    // A source's max_future and ten minutes, from the first minute on and again five minutes later.
    let idle = |until| CombinedFrame::Idle { upstream: 0, watermark: Watermark(2), until: Watermark(until * MINUTE_MS) };
    assert_eq!(said, [idle(21), idle(27)]);
    let mut again = task.under(combined()).unwrap();
    for task in [&mut task, &mut again] {
        done(task, Input::ClockRead { now: WallTime(7 * MINUTE_MS) });
        let border = 27 * MINUTE_MS;
        assert_eq!(crossed(done(task, plays_at(&[3, 4, border - 1, border - 2]))), (0, 4));
        assert_eq!(crossed(done(task, plays_at(&[border + 1, border + 2]))), (1, 0));
    }
    // Where it did not say how far, nobody knows.
    let mut task = at(counting(false, WINDOW_MS, version(1, &[])), 0, 0);
    done(&mut task, Input::Reading { input: 0, is_at_end: true });
    done(&mut task, plays_at(&[1, 2]));
    done(&mut task, Input::ClockRead { now: WallTime(MINUTE_MS) });
    sealed(&mut task);
    let mut task = task.under(combined()).unwrap();
    assert_eq!(crossed(done(&mut task, plays_at(&[99 * MINUTE_MS, 99 * MINUTE_MS]))), (0, 2));
}
