//! I-13: stopped before and after each step of publishing, alone and beside a rival.

use std::sync::{Arc, Mutex};

use reelflow_ports::files::{FileSink, FilesError};

use super::harness::*;
use crate::sink::LocalSink;

#[test]
fn i_12_a_crash_at_any_step_leaves_each_row_in_one_file() {
    let mut n_crashes = 0;
    for step in 0.. {
        let mut has_crashed = false;
        for after in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let disk = Arc::new(EventfulDisk::new(step, after, Event::Crash));
            let outcome = publish_all(&sink(folder.path(), disk.clone()), 5);
            let case = format!("step {step}, after it: {after}");
            if disk.has_happened() {
                assert!(outcome.is_err(), "{case}");
                has_crashed = true;
                n_crashes += 1;
            }
            let so_far = ids(folder.path());
            assert!(so_far.values().all(|n| *n == 1), "{case}: {so_far:?}");
            publish_all(&local(folder.path()), 7).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_whole(folder.path(), &case);
        }
        if !has_crashed {
            break;
        }
    }
    assert!(n_crashes > 100, "{n_crashes}");
}

/// The second life crashes too, at every step of its own.
#[test]
fn i_12_two_crashes_leave_each_row_in_one_file() {
    for first in (20..80).step_by(13) {
        for second in (0..60).step_by(3) {
            let folder = tempfile::tempdir().expect("a folder");
            for (step, roll_len) in [(first, 5), (second, 4)] {
                let disk = Arc::new(EventfulDisk::new(step, true, Event::Crash));
                drop(publish_all(&sink(folder.path(), disk), roll_len));
            }
            publish_all(&local(folder.path()), 7).expect("the third life is well");
            assert_whole(folder.path(), &format!("steps {first} and {second}"));
        }
    }
}

/// Publishes everything, and at each step, before and after it, has a rival do something.
fn beside(rival: impl Fn(&LocalSink) + Clone + Send + 'static) {
    let mut n_rivals = 0;
    for step in 0.. {
        let mut has_happened = false;
        for after in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let (path, rival) = (folder.path().to_owned(), rival.clone());
            let event = Event::Meanwhile(Mutex::new(Some(Box::new(move || rival(&local(&path))))));
            let disk = Arc::new(EventfulDisk::new(step, after, event));
            let case = format!("step {step}, after it: {after}");
            publish_all(&sink(folder.path(), disk.clone()), 5).unwrap_or_else(|error| panic!("{case}: {error}"));
            has_happened |= disk.has_happened();
            n_rivals += 1;
            assert_whole(folder.path(), &case);
        }
        if !has_happened {
            break;
        }
    }
    assert!(n_rivals > 100, "{n_rivals}");
}

#[test]
fn i_12_a_rival_at_any_step_publishes_no_row_twice() {
    beside(|rival| publish_all(rival, 4).expect("the rival is well"));
}

/// Whoever looks at a partition must not take away what another one is about to publish.
#[test]
fn i_12_one_that_only_opens_the_partition_takes_no_row_away() {
    beside(|rival| {
        rival.prepare().expect("the rival is well");
        drop(rival.open(0).expect("the rival is well"));
    });
}

#[test]
fn of_two_that_stand_at_one_offset_the_slower_one_is_overtaken() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = local(folder.path());
    sink.prepare().expect("an empty folder");
    let (mut one, mut other) = (sink.open(0).expect("open"), sink.open(0).expect("open"));
    one.write(0, &batch(&[0, 1])).expect("write");
    other.write(0, &batch(&[0, 1])).expect("write");
    other.write(1, &batch(&[2])).expect("write");
    one.publish(1, mark(0)).expect("it is the first");
    assert_eq!(other.publish(2, mark(0)), Err(FilesError::Overtaken { partition: 0 }));
    assert_eq!(ids(folder.path()).into_iter().collect::<Vec<_>>(), [(0, 1), (1, 1)]);
    let other = sink.open(0).expect("open");
    assert_eq!(other.next(), Some(1));
}

/// Records are removed after a hundred rolls, so the number that a sleeper wants may be free again.
#[test]
fn one_that_slept_for_hundreds_of_rolls_is_overtaken() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = local(folder.path());
    sink.prepare().expect("an empty folder");
    let mut sleeper = sink.open(0).expect("open");
    sleeper.write(0, &batch(&[0])).expect("write");
    let mut busy = sink.open(0).expect("open");
    for at in 0..250 {
        busy.write(at, &batch(&[at])).expect("write");
        busy.publish(at + 1, mark(at)).expect("nobody else is awake");
    }
    let records = folder.path().join("out/rows/_reel/rolls/p00000");
    assert_eq!(entries(&records).len(), 100);
    assert_eq!(sleeper.publish(1, mark(0)), Err(FilesError::Overtaken { partition: 0 }));
    assert_eq!(entries(&records).len(), 100);
    assert!(ids(folder.path()).values().all(|n| *n == 1));
    assert_eq!(sink.open(0).expect("open").next(), Some(250));
}

#[test]
fn published_files_that_were_removed_stay_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    publish_all(&local(folder.path()), 5).expect("publish");
    let gone = published(folder.path());
    gone.iter().for_each(|path| std::fs::remove_file(path).expect("remove"));
    publish_all(&local(folder.path()), 5).expect("nothing is left to do");
    assert!(published(folder.path()).is_empty());
}

#[test]
fn files_are_named_after_the_offsets_of_their_roll() {
    let folder = tempfile::tempdir().expect("a folder");
    publish_all(&local(folder.path()), 5).expect("publish");
    let files = published(folder.path());
    assert!(files.iter().all(|path| [(0, 4), (5, 9), (10, 11)].contains(&offsets(path))), "{files:?}");
    assert_eq!(files.len(), 15, "a file for each roll and hour");
}
