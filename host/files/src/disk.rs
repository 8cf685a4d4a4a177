//! The few things that publishing does to a file system, each of them one step that a crash comes before or after.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use reelflow_ports::files::FilesError;

/// A file system. Tests have one that fails at any step.
pub(crate) trait Disk: Send + Sync {
    /// Makes `folder` and what is above it. Durable.
    fn make_folder(&self, folder: &Path) -> Result<(), FilesError>;

    /// A new file; there must be none of this name.
    fn create(&self, file: &Path) -> Result<File, FilesError>;

    /// Makes the contents of a file durable, but not its name.
    fn sync(&self, file: &File, at: &Path) -> Result<(), FilesError>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> Result<(), FilesError>;

    /// Gives the file `from` the further name `to`. `false`, and nothing changed, if there is a file of this name already, or none at
    /// `from`: it is removed by whoever has seen that the name is taken.
    fn claim(&self, from: &Path, to: &Path) -> Result<bool, FilesError>;

    /// Moves a file. `false`, and nothing changed, if there is none at `from`.
    fn rename(&self, from: &Path, to: &Path) -> Result<bool, FilesError>;

    /// Removes a file, if it is there.
    fn remove(&self, file: &Path) -> Result<(), FilesError>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn make_folder(&self, folder: &Path) -> Result<(), FilesError> {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(FilesError::NotAFolder(folder.to_owned())),
            // What is no folder is then found above.
            Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(why) => return Err(failed(folder, &why)),
        }
        let above = match folder.parent() {
            Some(above) if above != Path::new("") => above,
            Some(_) | None => Path::new("."),
        };
        self.make_folder(above)?;
        match fs::create_dir(folder) {
            Ok(()) => self.sync_folder(above),
            // Another process was faster; its name may not be durable yet.
            Err(why) if why.kind() == ErrorKind::AlreadyExists => self.sync_folder(above),
            Err(why) => Err(failed(folder, &why)),
        }
    }

    fn create(&self, file: &Path) -> Result<File, FilesError> {
        OpenOptions::new().write(true).create_new(true).open(file).map_err(|why| failed(file, &why))
    }

    fn sync(&self, file: &File, at: &Path) -> Result<(), FilesError> {
        file.sync_all().map_err(|why| failed(at, &why))
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), FilesError> {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|why| failed(folder, &why))
    }

    fn claim(&self, from: &Path, to: &Path) -> Result<bool, FilesError> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(why) if why.kind() == ErrorKind::NotFound && !from.exists() => Ok(false),
            Err(why) if matches!(why.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                let why = format!("a file cannot be given a second name: {why}");
                Err(FilesError::Unfit { path: to.to_owned(), why })
            }
            Err(why) => Err(failed(to, &why)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<bool, FilesError> {
        match fs::rename(from, to) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == ErrorKind::NotFound && !from.exists() => Ok(false),
            Err(why) => Err(failed(to, &why)),
        }
    }

    fn remove(&self, file: &Path) -> Result<(), FilesError> {
        match fs::remove_file(file) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(failed(file, &why)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The names in a folder, in order; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, FilesError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(failed(folder, &why)),
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(|why| failed(folder, &why))
    };
    let mut names = entries.map(name).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}

/// The bytes of a file; `None` if it does not exist.
pub(crate) fn read(file: &Path) -> Result<Option<Vec<u8>>, FilesError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(failed(file, &why)),
    }
}

/// Who must act on an error of the file system.
pub(crate) fn failed(path: &Path, why: &io::Error) -> FilesError {
    let path: PathBuf = path.to_owned();
    match why.kind() {
        ErrorKind::NotADirectory => FilesError::NotAFolder(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => FilesError::Denied { path, why: why.to_string() },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FilesError::DiskFull(path),
        _ => FilesError::Unavailable { path, why: why.to_string() },
    }
}
