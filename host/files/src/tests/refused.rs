//! Folders that a sink does not write into.

use std::{fs, path::Path, sync::Arc};

use reelflow_core::plan::{Divided, FileFormat, Plan};
use reelflow_ports::files::{FileSink, FilesError};

use super::harness::*;
use crate::{disk::LocalDisk, sink::LocalSink};

fn prepare(plan: &Plan, folder: &Path) -> Result<(), FilesError> {
    LocalSink::on(Arc::new(LocalDisk), plan, 0, folder).prepare()
}

#[test]
fn a_file_is_no_folder() {
    for at in ["out", "out/rows", "out/rows/_reel"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(at);
        fs::create_dir_all(file.parent().expect("a folder")).expect("make it");
        fs::write(&file, "").expect("write");
        let refused = local(folder.path()).prepare();
        assert!(matches!(&refused, Err(FilesError::NotAFolder(_))), "{at}: {refused:?}");
    }
}

#[test]
fn the_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mine = plan(FileFormat::Ndjson, Divided::Hourly);
    prepare(&mine, folder.path()).expect("it is empty");
    prepare(&mine, folder.path()).expect("it is its own");
    let mut other_pipeline = mine.clone();
    other_pipeline.name = "q".into();
    let mut other_sink = mine.clone();
    other_sink.sinks[0].name = "others".into();
    let other_format = plan(FileFormat::Parquet, Divided::Hourly);
    let other_division = plan(FileFormat::Ndjson, Divided::Daily);
    for other in [other_pipeline, other_sink, other_format, other_division] {
        let refused = prepare(&other, folder.path());
        assert!(matches!(&refused, Err(FilesError::Foreign { .. })), "{refused:?}");
    }
    let error = prepare(&plan(FileFormat::Parquet, Divided::Not), folder.path()).expect_err("another's").to_string();
    let said = "holds ndjson files of sink \"rows\" of pipeline \"p\", partitioned by hour, not parquet files of sink \"rows\"";
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_folder_with_files_of_nobody_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("out/rows");
    fs::create_dir_all(&root).expect("make it");
    fs::write(root.join(".gitignore"), "*").expect("write");
    local(folder.path()).prepare().expect("hidden files are nobody's business");
    fs::remove_dir_all(root.join("_reel")).expect("remove");
    fs::write(root.join("rows.ndjson"), "").expect("write");
    let refused = local(folder.path()).prepare();
    assert!(matches!(&refused, Err(FilesError::Foreign { .. })), "{refused:?}");
}

#[test]
fn damaged_notes_are_refused() {
    for (at, text) in [
        ("sink.json", "{"),
        ("sink.json", "{\"format\":2}"),
        ("rolls/p00000/000000000003.json", "{\"format\":1}"),
        ("rolls/p00000/000000000003.json", ""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        publish_all(&local(folder.path()), 5).expect("publish");
        fs::write(folder.path().join("out/rows/_reel").join(at), text).expect("write");
        let refused = publish_all(&local(folder.path()), 5);
        assert!(matches!(&refused, Err(FilesError::Damaged { .. })), "{at} {text:?}: {refused:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    publish_all(&local(folder.path()), 5).expect("publish");
    let rolls = folder.path().join("out/rows/_reel/rolls/p00000");
    fs::rename(rolls.join("000000000003.json"), rolls.join("000000000004.json")).expect("rename");
    let refused = publish_all(&local(folder.path()), 5);
    assert!(matches!(&refused, Err(FilesError::Damaged { .. })), "{refused:?}");
}
