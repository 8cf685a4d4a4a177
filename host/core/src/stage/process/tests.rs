//! What scenarios do not show: any order of rows, times and restarts against a plain recomputation, and the stored form.

use super::*;
use crate::{
    plugin::{Timer, TimerChange},
    stage::testing::Written,
    state::sections,
    time::EventTime,
};
use harness::{Acts, Harness, Row};

mod harness;
mod properties;

fn row(key: i64, at: i64, acts: Acts) -> Row {
    Row { key, at, acts }
}

#[test]
fn a_key_that_keeps_nothing_costs_nothing() {
    let mut harness = Harness::new(None, None);
    harness.accept(&[row(1, 5, Acts::Forget), row(2, 5, Acts::Refuse), row(3, 5, Acts::Trap)]);
    assert_eq!(harness.stage.state_bytes(), 0);
    assert_eq!(harness.written_bytes(), 11, "one key that was there for a moment");
}

#[test]
fn changes_hold_what_changed_and_an_image_everything() {
    let mut harness = Harness::new(None, None);
    harness.accept(&[row(1, 5, Acts::Set(9)), row(2, 5, Acts::Set(10))]);
    harness.restart(false);
    harness.accept(&[row(1, 6, Acts::Nothing)]);
    let one = harness.written_bytes();
    let mut image = Written::default();
    image.image(&mut harness.stage);
    assert!(one > 0 && image.n_bytes() > one, "{one} bytes of changes, {} of an image", image.n_bytes());
}

/// A stored form: this fixture may only change with the chunk format (I-10).
#[test]
fn the_stored_form_stays() {
    let mut harness = Harness::new(None, None);
    harness.advance(3);
    harness.accept(&[row(-2, 5, Acts::Set(9)), row(-2, 4, Acts::SetWall(7)), row(1, 5, Acts::Forget)]);
    let mut writer = ChangeWriter::default();
    writer.stage("x");
    harness.stage.changes(&mut writer);
    let chunk = writer.finish().remove(0);
    let body: &[u8] = b"\x01\x06\
        \x02\x09\x01\x7f\xff\xff\xff\xff\xff\xff\xfe\x0a\x01\x02\x02\x00\x12\x01\x0e\
        \x03\x09\x01\x80\0\0\0\0\0\0\x01";
    assert_eq!(chunk[5..], [&b"\x01x"[..], &[body.len() as u8], body].concat());
}

#[test]
fn damaged_state_is_refused() {
    let key = b"\x09\x01\x80\0\0\0\0\0\0\x01";
    for (body, why) in [
        (vec![b"\x05".to_vec()], "an unknown change of a process"),
        (vec![b"\x02".to_vec(), key.to_vec(), b"\x0a\0\0".to_vec()], "a key that keeps nothing"),
        (vec![b"\x02".to_vec(), key.to_vec(), b"\x0a\0\x01\x02\x02".to_vec()], "a timer's clock"),
        (vec![b"\x03\x01\x02".to_vec()], "a key's null mark"),
    ] {
        let mut writer = ChangeWriter::default();
        writer.stage("x");
        writer.body().fixed(&body.concat());
        let chunk = writer.finish().remove(0);
        let (_, mut reader) = sections(&chunk).unwrap().remove(0);
        let refused = Harness::new(None, None).stage.restore(&mut reader);
        assert_eq!(refused, Err(StateError::Damaged(why)));
    }
}

#[test]
fn a_call_has_the_keys_the_times_and_what_time_it_is() {
    let mut stage = Harness::new(None, None).stage;
    let mut out = Outbox::default();
    stage.clock(WallTime(77), &mut out);
    stage.advance(Watermark(3), &mut out);
    stage.accept(
        0,
        harness::batch_of(&[row(8, 5, Acts::Nothing), row(7, 4, Acts::Nothing), row(8, 2, Acts::Nothing)]),
        &[Watermark(3)],
        &mut out,
    );
    let Some(Request::Take { grouped, times, keys, states, time }) = stage.next_call() else { panic!("no call") };
    assert_eq!((grouped.ends, times), (vec![1, 3], [4, 5, 2].map(EventTime).to_vec()));
    assert_eq!((keys.column(0).at(0), keys.column(0).at(1)), (crate::column::Value::Int(7), crate::column::Value::Int(8)));
    assert_eq!(states.iter().map(<[u8]>::len).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(time, TimeRead { watermark: Watermark(3), now: WallTime(77) });
}

#[test]
fn timers_of_many_keys_fire_in_the_order_of_their_times_in_few_calls() {
    let mut harness = Harness::new(None, None);
    let rows: Vec<Row> = (0..100).map(|key| row(key, 0, Acts::Set(7 * (100 - key) + 4))).collect();
    harness.accept(&rows);
    let n_calls = harness.n_calls;
    harness.advance(1000);
    assert_eq!(harness.n_calls - n_calls, 1);
    let fired: Vec<i64> = harness.emitted.iter().filter(|row| row.is_timer).map(|row| row.at).collect();
    assert_eq!(fired, (1..=100).map(|n| 7 * n + 4).collect::<Vec<_>>());
}

#[test]
fn a_timer_is_there_once() {
    let timer = Timer { clock: Clock::EventTime, at: 1 };
    let change = |is_set| TimerChange { origin: 0, is_set, timer };
    let keys = Keys::new(None);
    let key = (&b"k"[..]).into();
    assert_eq!(keys.changed(&key, &[change(true), change(true)]).unwrap().len(), 1);
    assert_eq!(keys.changed(&key, &[change(true), change(false)]).unwrap().len(), 0);
    assert_eq!(keys.changed(&key, &[change(false), change(true)]).unwrap().len(), 1);
}
