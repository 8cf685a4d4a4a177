//! Which folders are complete.

use std::{path::Path, sync::Arc};

use reelflow_core::{
    plan::{Divided, FileFormat},
    time::Watermark,
    watermark::InputMark,
};
use reelflow_ports::files::FileSink;

use super::harness::*;
use crate::{disk::LocalDisk, sink::LocalSink};

/// The hours that are marked.
fn hours(folder: &Path) -> Vec<i64> {
    let day = folder.join("out/rows/dt=1970-01-01");
    (0..24).filter(|hour| day.join(format!("hr={hour:02}/_SUCCESS")).exists()).collect()
}

fn publish(sink: &LocalSink, partition: u32, ids: &[i64], mark: InputMark) {
    let mut files = sink.open(partition).expect("open");
    let at = files.next().unwrap_or(0);
    if !ids.is_empty() {
        files.write(at, &batch(ids)).expect("write");
    }
    files.publish(at + 1, mark).expect("publish");
}

#[test]
fn a_folder_is_complete_when_all_partitions_have_passed_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = local(folder.path());
    sink.prepare().expect("an empty folder");
    publish(&sink, 0, &[0, 1, 2, 3, 4], mark(3 * HOUR_MS));
    assert_eq!(sink.mark_complete(), Ok(0), "partition 1 has said nothing yet");
    publish(&sink, 1, &[], mark(HOUR_MS - 1));
    assert_eq!(sink.mark_complete(), Ok(0), "one ms is missing");
    publish(&sink, 1, &[1], mark(HOUR_MS));
    assert_eq!(sink.mark_complete(), Ok(1));
    assert_eq!(hours(folder.path()), [0]);
    publish(&sink, 1, &[], InputMark { is_idle: true, ..mark(HOUR_MS) });
    assert_eq!(sink.mark_complete(), Ok(2), "an idle partition holds nothing back");
    assert_eq!(hours(folder.path()), [0, 1, 2]);
    let ended = InputMark { watermark: Watermark::END, is_idle: false };
    publish(&sink, 0, &[], ended);
    assert_eq!(sink.mark_complete(), Ok(0), "an end is reached only together");
    publish(&sink, 1, &[], ended);
    assert_eq!(sink.mark_complete(), Ok(2));
    assert_eq!(local(folder.path()).mark_complete(), Ok(0), "another process sees the same");
    publish(&sink, 1, &[0], ended);
    assert_eq!((sink.mark_complete(), hours(folder.path())), (Ok(0), vec![0, 1, 2, 3, 4]), "a late row changes no marker");
}

/// A record whose files have not got their names yet is finished before it counts.
#[test]
fn a_marker_never_comes_before_the_files() {
    for step in 0..60 {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = local(folder.path());
        sink.prepare().expect("an empty folder");
        publish(&sink, 1, &[], mark(5 * HOUR_MS));
        let crashing = super::harness::sink(folder.path(), Arc::new(EventfulDisk::new(step, true, Event::Crash)));
        let crash = || {
            let mut files = crashing.open(0)?;
            files.write(0, &batch(&[0, 1, 2, 3, 4]))?;
            files.publish(1, mark(5 * HOUR_MS))
        };
        drop(crash());
        sink.mark_complete().expect("the disk is well");
        let marked = hours(folder.path());
        if !marked.is_empty() {
            assert_eq!((marked.len(), ids(folder.path()).len()), (5, 5), "step {step}");
        }
    }
}

#[test]
fn days_are_marked_too_and_a_single_folder_never() {
    for (divided, marker) in [(Divided::Daily, Some("dt=1970-01-01/_SUCCESS")), (Divided::Not, None)] {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = LocalSink::on(Arc::new(LocalDisk), &plan(FileFormat::Ndjson, divided), 0, folder.path());
        sink.prepare().expect("an empty folder");
        publish(&sink, 0, &[0, 1], mark(24 * HOUR_MS));
        publish(&sink, 1, &[2], mark(24 * HOUR_MS));
        assert_eq!(sink.mark_complete(), Ok(usize::from(marker.is_some())));
        assert!(marker.is_none_or(|marker| folder.path().join("out/rows").join(marker).exists()));
    }
}
