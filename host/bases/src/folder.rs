//! A store in a folder of this machine, or of one that all machines share.
//!
//! An object is written under a name of its own, made durable, and then gets its name in one step; then that is made durable as well. A crash leaves
//! a file that ends with `.part`, which the next object of the same folder removes: a task has one owner, who puts one object at a time. Where two
//! processes put something into one folder, one may take what the other has under way for such a file; the other then writes it again.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use reelflow_ports::bases::{BaseError, BaseStore};

const PART: &str = "part";
/// An object is written again at most so often because somebody has removed it before it had its name: each other put does so once at most.
const AGAIN_MAX: usize = 100;

/// The folder. It is made when something is put into it.
#[derive(Clone, Debug)]
pub struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    pub fn new(root: PathBuf) -> FolderStore {
        FolderStore { root }
    }
}

impl BaseStore for FolderStore {
    fn put(&self, name: &str, object: &[u8]) -> Result<(), BaseError> {
        let path = self.root.join(name);
        let folder = path.parent().expect("a name is below the root");
        make_folder(folder)?;
        for left in files(folder)?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == PART)) {
            remove(&left)?;
        }
        let mut put = write_and_name(&path, object);
        for _ in 0..AGAIN_MAX {
            if !matches!(&put, Err(why) if why.kind() == ErrorKind::NotFound) {
                break;
            }
            put = write_and_name(&path, object);
        }
        put.map_err(|why| failed(&path, &why))?;
        sync_folder(folder)
    }

    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, BaseError> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(object) => Ok(Some(object)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(failed(&path, &why)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, BaseError> {
        let mut names = Vec::new();
        let mut folders = vec![self.root.join(folder)];
        while let Some(folder) = folders.pop() {
            for path in files(&folder)? {
                match path.is_dir() {
                    true => folders.push(path),
                    false => names.extend(path.strip_prefix(&self.root).ok().and_then(Path::to_str).map(str::to_owned)),
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn forget(&self, name: &str) -> Result<(), BaseError> {
        remove(&self.root.join(name))
    }

    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

/// [`ErrorKind::NotFound`]: somebody has removed it before it had its name.
fn write_and_name(path: &Path, object: &[u8]) -> io::Result<()> {
    static N_PARTS: AtomicU64 = AtomicU64::new(0);
    let nth = N_PARTS.fetch_add(1, Ordering::Relaxed);
    let part = path.with_extension(format!("{}-{nth}.{PART}", process::id()));
    let written = File::create_new(&part).and_then(|mut file| {
        file.write_all(object)?;
        file.sync_all()
    });
    let named = written.and_then(|()| fs::rename(&part, path));
    if named.is_err() {
        // What is left of it would take room, and the disk may be full. Why it failed is told before why this does.
        drop(fs::remove_file(&part));
    }
    named
}

/// What is in `folder`; nothing if it does not exist.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BaseError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(failed(folder, &why)),
    };
    let path = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.path()).map_err(|why| failed(folder, &why));
    entries.map(path).collect()
}

/// Makes `folder` and what is above it, with names that are durable.
fn make_folder(folder: &Path) -> Result<(), BaseError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above != Path::new("") => above,
        Some(_) | None => Path::new("."),
    };
    if above != folder {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(why) if why.kind() != ErrorKind::AlreadyExists => Err(failed(folder, &why)),
        // Another process was faster, or it is no folder.
        Err(_) if !folder.is_dir() => Err(BaseError::BadAddress(format!("{} is not a folder", folder.display()))),
        Ok(()) | Err(_) => sync_folder(above),
    }
}

fn sync_folder(folder: &Path) -> Result<(), BaseError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|why| failed(folder, &why))
}

fn remove(file: &Path) -> Result<(), BaseError> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(failed(file, &why)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Who must act on an error of the file system.
fn failed(path: &Path, why: &io::Error) -> BaseError {
    let text = format!("{}: {why}", path.display());
    match why.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => BaseError::Denied(text),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BaseError::Full(text),
        ErrorKind::NotADirectory => BaseError::BadAddress(format!("{} would lie in what is not a folder", path.display())),
        _ => BaseError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_contract() {
        let root = tempfile::tempdir().expect("a folder");
        let at = root.path().join("below/bases");
        reelflow_ports::contract::bases(&FolderStore::new(at.clone()), &FolderStore::new(at));
    }

    #[test]
    fn what_a_crash_left_goes_with_the_next_object_of_the_task() {
        let root = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new(root.path().to_owned());
        fs::create_dir_all(root.path().join("p/f/0")).expect("a folder");
        fs::create_dir_all(root.path().join("p/f/1")).expect("a folder");
        let [left, other] = ["p/f/0/1.7-0.part", "p/f/1/1.7-1.part"].map(|name| root.path().join(name));
        [&left, &other].into_iter().for_each(|file| fs::write(file, b"half").expect("a file"));
        assert_eq!(store.put("p/f/0/2.base", b"whole"), Ok(()));
        assert_eq!((left.exists(), other.exists()), (false, true), "that of another task may be under way");
    }

    #[test]
    fn many_put_into_one_folder_at_once() {
        const N_AT_ONCE: usize = 8;
        let root = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new(root.path().to_owned());
        let all_are_there = std::sync::Barrier::new(N_AT_ONCE);
        let put_all = &|who: usize| {
            let put = |nth| {
                all_are_there.wait();
                store.put(&format!("p/{nth}-{who}"), b"whole")
            };
            (0..20).map(put).filter_map(Result::err).collect::<Vec<_>>()
        };
        let failed: Vec<BaseError> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..N_AT_ONCE).map(|who| scope.spawn(move || put_all(who))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
        });
        assert_eq!(failed, []);
        assert_eq!(store.list("p/").map(|names| names.len()), Ok(20 * N_AT_ONCE), "and nothing else is left");
    }

    #[test]
    fn what_is_no_folder_is_said() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("file");
        fs::write(&file, b"").expect("a file");
        let refused = FolderStore::new(file).put("p/f/0/1.base", b"");
        assert!(matches!(&refused, Err(BaseError::BadAddress(why)) if why.contains("file")), "{refused:?}");
    }
}
