//! When the whole state is written, and where to ([`crate::task::bases`]).

use super::*;
use crate::checkpoint::BASE_AFTER_BYTES;

#[test]
fn a_base_is_written_when_changes_have_outgrown_the_state() {
    let mut task = task();
    let mut chunks = Vec::new();
    for first in (0..4000).step_by(1000) {
        handled(&mut task, plays(first, 1000));
        let (sealed, _) = sealed(&mut task);
        assert!(!sealed.is_base, "as long as all of it is still needed");
        chunks.extend(sealed.chunks);
    }
    assert!(chunks.iter().map(Vec::len).sum::<usize>() > BASE_AFTER_BYTES);
    handled(&mut task, Input::JobWatermark { watermark: Watermark(10_000) });
    handled(&mut task, plays(9000, 1));
    let (base, _) = sealed(&mut task);
    assert!(base.is_base);
    assert!(base.chunks.iter().map(Vec::len).sum::<usize>() < 300);
    handled(&mut task, plays(9001, 1));
    let (delta, _) = sealed(&mut task);
    assert!(!delta.is_base, "changes are counted from the base on");

    let mut restored = Task::new(plan(), 0, 3);
    for chunk in base.chunks.iter().chain(&delta.chunks) {
        restored.restore(chunk).unwrap();
    }
    assert_eq!((restored.counts(), restored.watermark()), (task.counts(), task.watermark()));
    assert_eq!(restored.state_bytes(), task.state_bytes());
    let effects = handled(&mut restored, plays(9000, 2));
    assert!(appended(effects).is_empty(), "both are known");
}

#[test]
fn a_base_that_is_asked_for_has_everything() {
    let mut task = task();
    handled(&mut task, plays(0, 3));
    assert!(!sealed(&mut task).0.is_base);
    assert!(handled(&mut task, Input::BaseDue).is_empty());
    let (base, _) = sealed(&mut task);
    assert!(base.is_base, "although nothing has changed");
    assert!(!sealed(&mut task).0.is_base, "once is enough");
    let mut restored = Task::new(plan(), 0, 3);
    base.chunks.iter().for_each(|chunk| restored.restore(chunk).unwrap());
    assert_eq!((restored.counts(), restored.watermark()), (task.counts(), task.watermark()));
    assert_eq!(restored.state_bytes(), task.state_bytes());
}

/// With a store the epoch has its changes as always, and the image beside them is the state at its end.
#[test]
fn a_base_for_the_store_stands_beside_the_changes() {
    let mut task = task();
    handled(&mut task, Input::BasesGo { to: BasePlace::Later });
    handled(&mut task, Input::BaseDue);
    handled(&mut task, plays(0, 50));
    let (first, _) = sealed(&mut task);
    assert_eq!((first.is_base, first.is_image_due), (false, false), "there is no room yet");
    handled(&mut task, Input::BasesGo { to: BasePlace::Store });
    handled(&mut task, plays(50, 1));
    let (second, _) = sealed(&mut task);
    assert!(second.is_image_due && !second.is_base && !second.chunks.is_empty(), "it was asked for, and there is room now");
    let image = task.store_image();
    assert!(image.iter().map(Vec::len).sum::<usize>() > second.chunks.iter().map(Vec::len).sum());
    handled(&mut task, plays(51, 1));
    let (third, _) = sealed(&mut task);
    assert!(!third.is_image_due, "once is enough");
    let restored = |chunks: &[&[Vec<u8>]]| {
        let mut restored = Task::new(plan(), 0, 3);
        chunks.iter().flat_map(|chunks| *chunks).for_each(|chunk| restored.restore(chunk).unwrap());
        restored.image()
    };
    let expected = task.image();
    assert_eq!(restored(&[&image, &third.chunks]), expected, "upon the image only what follows its epoch");
    assert_eq!(restored(&[&first.chunks, &second.chunks, &third.chunks]), expected, "and without it the same");
}
