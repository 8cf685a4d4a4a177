//! Which files a history consists of, in order.
//!
//! A folder means every file below it, so that what file sinks publish (`dt=…/hr=…`) can be read as it lies. Names that begin with `_` or
//! `.` are passed over, as readers of such folders do; any other file that is not of the format by its name is an error: it would be
//! left out without a word. A pattern says itself which files are meant. Files are read in the order of their paths.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use reelflow_core::plan::FileFormat;
use reelflow_ports::history::HistoryError;

/// Folders in folders; a link to a folder above would never end.
const DEPTH_MAX: usize = 32;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    /// Without the folder of the manifest.
    pub name: String,
    pub n_bytes: u64,
}

/// The files that `path`, relative to `base`, means.
pub(super) fn list(base: &Path, path: &str, format: FileFormat) -> Result<Vec<Found>, HistoryError> {
    let whole = base.join(path);
    let mut paths = Vec::new();
    if path.contains(['*', '?', '[']) {
        matching(base, &whole, format, &mut paths)?;
    } else {
        let what = fs::metadata(&whole).map_err(|why| failed(&whole, &why))?;
        if what.is_dir() { below(&whole, format, 0, &mut paths)? } else { paths.push(whole) }
    }
    paths.sort();
    paths.into_iter().map(|path| found(base, path)).collect()
}

fn matching(base: &Path, pattern: &Path, format: FileFormat, to: &mut Vec<PathBuf>) -> Result<(), HistoryError> {
    // What stands in the path of the manifest itself is no pattern.
    let own = glob::Pattern::escape(&base.to_string_lossy());
    let relative = pattern.strip_prefix(base).unwrap_or(pattern);
    let text = Path::new(&own).join(relative).to_string_lossy().into_owned();
    let matches = glob::glob(&text).map_err(|why| HistoryError::Pattern(text.clone(), why.to_string()))?;
    let n_before = to.len();
    for found in matches {
        let path = found.map_err(|why| failed(why.path(), why.error()))?;
        if fs::metadata(&path).map_err(|why| failed(&path, &why))?.is_dir() {
            below(&path, format, 0, to)?
        } else {
            to.push(path)
        }
    }
    if to.len() == n_before { Err(HistoryError::NothingFound(pattern.to_owned())) } else { Ok(()) }
}

fn below(folder: &Path, format: FileFormat, depth: usize, to: &mut Vec<PathBuf>) -> Result<(), HistoryError> {
    if depth > DEPTH_MAX {
        return Err(HistoryError::TooDeep(folder.to_owned()));
    }
    for entry in fs::read_dir(folder).map_err(|why| failed(folder, &why))? {
        let path = entry.map_err(|why| failed(folder, &why))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(['_', '.']) {
            continue;
        }
        if fs::metadata(&path).map_err(|why| failed(&path, &why))?.is_dir() {
            below(&path, format, depth + 1, to)?;
        } else if endings(format).iter().any(|ending| name.ends_with(ending)) {
            to.push(path);
        } else {
            return Err(HistoryError::Foreign { path, wanted: format.name() });
        }
    }
    Ok(())
}

fn endings(format: FileFormat) -> &'static [&'static str] {
    match format {
        FileFormat::Ndjson => &[".ndjson", ".jsonl", ".json"],
        FileFormat::Parquet => &[".parquet"],
    }
}

fn found(base: &Path, path: PathBuf) -> Result<Found, HistoryError> {
    let n_bytes = fs::metadata(&path).map_err(|why| failed(&path, &why))?.len();
    let name = path.strip_prefix(base).unwrap_or(&path).display().to_string();
    Ok(Found { path, name, n_bytes })
}

/// A file of the user's that cannot be read.
pub(super) fn failed(path: &Path, why: &std::io::Error) -> HistoryError {
    match why.kind() {
        ErrorKind::NotFound => HistoryError::Missing(path.to_owned()),
        _ => HistoryError::Unreadable { path: path.to_owned(), why: why.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let base = tempfile::Builder::new().prefix("a[b]").tempdir().unwrap();
        for file in files {
            fs::create_dir_all(base.path().join(file).parent().unwrap()).unwrap();
            fs::write(base.path().join(file), "{}").unwrap();
        }
        base
    }

    fn check(files: &[&str], path: &str, format: FileFormat, expected: &[&str]) {
        let base = folder(files);
        let found = list(base.path(), path, format).unwrap();
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), expected, "{path}");
    }

    #[test]
    fn folders_are_read_whole_and_patterns_as_they_say() {
        let files = ["h/dt=2/b.ndjson", "h/dt=2/a.ndjson", "h/dt=10/c.json", "h/_SUCCESS", "h/_reel/x.json", "h/dt=2/.a.crc"];
        check(&files, "h", FileFormat::Ndjson, &["h/dt=10/c.json", "h/dt=2/a.ndjson", "h/dt=2/b.ndjson"]);
        check(&files, "h/dt=2", FileFormat::Ndjson, &["h/dt=2/a.ndjson", "h/dt=2/b.ndjson"]);
        check(&files, "h/dt=*/[ab].ndjson", FileFormat::Ndjson, &["h/dt=2/a.ndjson", "h/dt=2/b.ndjson"]);
        check(&files, "h/dt=1*", FileFormat::Ndjson, &["h/dt=10/c.json"]);
        check(&files, "h/dt=2/a.ndjson", FileFormat::Parquet, &["h/dt=2/a.ndjson"]);
    }

    #[test]
    fn what_would_be_left_out_is_told() {
        let base = folder(&["h/a.ndjson", "h/b.ndjson.gz"]);
        let error = |path: &str| list(base.path(), path, FileFormat::Ndjson).unwrap_err();
        assert!(matches!(error("h"), HistoryError::Foreign { path, .. } if path.ends_with("h/b.ndjson.gz")));
        assert!(matches!(error("g"), HistoryError::Missing(_)));
        assert!(matches!(error("h/*.parquet"), HistoryError::NothingFound(_)));
        assert!(matches!(error("h/[.ndjson"), HistoryError::Pattern(..)));
    }

    #[test]
    fn a_link_that_leads_back_is_no_endless_folder() {
        let base = folder(&["h/a.ndjson"]);
        std::os::unix::fs::symlink(base.path().join("h"), base.path().join("h/again")).unwrap();
        assert!(matches!(
            list(base.path(), "h", FileFormat::Ndjson),
            Err(HistoryError::TooDeep(_) | HistoryError::Unreadable { .. })
        ));
    }
}
