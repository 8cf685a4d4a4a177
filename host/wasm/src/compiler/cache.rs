//! Native code of components that were compiled before, in files.
//!
//! What lies there runs in this process, so the folder and each file must belong to the user who runs it, and nobody else may be able to write
//! them. That is asked of what was opened, not of a name, and links are not followed: names can be given to something else meanwhile.
//! Whoever can write there as this user could do anything else as well.
//!
//! A file is complete when it has its name: it is written under another and renamed, so processes may fill the cache at once. It is not synced:
//! what a machine's crash leaves of it fails its checksum, and is compiled again. When all of them are too many bytes, those that were not
//! used for the longest time go.

use std::{
    ffi::CStr,
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{self, Mode, SFlag},
    unistd::{self, UnlinkatFlags, geteuid},
};

use super::sealed::{Key, Sealed};

/// Bytes of all files. A component of 100 KB has about 1 MB of code.
pub const BYTES_MAX: u64 = 512 << 20;
const SUFFIX: &str = ".native";
const SUFFIX_UNFINISHED: &str = ".unfinished";
/// Bits of a mode with which others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// A folder that was found to be safe.
#[derive(Debug)]
pub struct Cache {
    folder: File,
    path: PathBuf,
    bytes_max: u64,
    warn: fn(&str),
}

/// Why a folder cannot be a cache.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("\"{}\" cannot be made: {why}", .path.display())]
    Unmade { path: PathBuf, why: io::Error },
    #[error("\"{}\" cannot be opened: {why}", .path.display())]
    Unopened { path: PathBuf, why: io::Error },
    #[error("\"{}\" is a link, or no folder", .path.display())]
    NoFolder { path: PathBuf },
    #[error("\"{}\" belongs to another user", .path.display())]
    Foreign { path: PathBuf },
    #[error("others may write in \"{}\"", .path.display())]
    Open { path: PathBuf },
}

impl Unusable {
    /// What would be right.
    pub fn help(&self) -> String {
        match self {
            Unusable::Unmade { .. } | Unusable::Unopened { .. } => "name a folder that this user can make and read".to_owned(),
            Unusable::NoFolder { .. } => "name the folder itself, or one that does not exist yet".to_owned(),
            Unusable::Foreign { .. } => "name a folder of the user who runs this".to_owned(),
            Unusable::Open { path } => format!("chmod 700 \"{}\", once you know what lies in it", path.display()),
        }
    }
}

impl Cache {
    /// Opens the folder at `path`, and makes it if it is not there. `warn` is told when a file in it cannot be used.
    pub fn open(path: &Path, bytes_max: u64, warn: fn(&str)) -> Result<Cache, Unusable> {
        // Without a slash at the end, which would follow a link.
        let path: PathBuf = path.components().collect();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        // What is there and no folder cannot be made one; it is found out below.
        if let Err(why) = made.or_else(|why| path.symlink_metadata().map(drop).map_err(|_| why)) {
            return Err(Unusable::Unmade { path, why });
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let folder = match fcntl::open(&path, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(Errno::ELOOP | Errno::ENOTDIR) => return Err(Unusable::NoFolder { path }),
            Err(why) => return Err(Unusable::Unopened { path, why: why.into() }),
        };
        match folder.metadata() {
            Err(why) => Err(Unusable::Unopened { path, why }),
            Ok(found) if found.uid() != geteuid().as_raw() => Err(Unusable::Foreign { path }),
            Ok(found) if found.mode() & OTHERS_WRITE != 0 => Err(Unusable::Open { path }),
            Ok(_) => Ok(Cache { folder, path, bytes_max, warn }),
        }
    }

    /// What lies there for `key`, and may be used. It was used now.
    pub(super) fn load(&self, key: &Key) -> Option<Sealed> {
        // Without waiting, should it be a pipe.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let name = name(key);
        let why = match fcntl::openat(&self.folder, name.as_str(), flags, Mode::empty()) {
            Ok(file) => match checked(File::from(file)) {
                Ok(sealed) => return Some(sealed),
                Err(why) => why,
            },
            Err(Errno::ENOENT) => return None,
            Err(Errno::ELOOP) => "it is a link".to_owned(),
            Err(why) => why.to_string(),
        };
        self.warn(&name, &why);
        None
    }

    /// Says that what lies there for `key` is not what was written. It is written anew, once the component is compiled.
    pub(super) fn say_damaged(&self, key: &Key) {
        self.warn(&name(key), "it is damaged");
    }

    fn warn(&self, name: &str, why: &str) {
        (self.warn)(&format!("\"{}\" is not used, the plugin is compiled again: {why}", self.path.join(name).display()));
    }

    pub(super) fn store(&self, key: &Key, sealed: &Sealed) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = name(key);
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{name}.{}.{n}{SUFFIX_UNFINISHED}", process::id());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(fcntl::openat(&self.folder, unfinished.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = file
            .write_all(sealed.as_bytes())
            .and_then(|()| Ok(fcntl::renameat(&self.folder, unfinished.as_str(), &self.folder, name.as_str())?));
        if written.is_err() {
            // The first error is the one to tell.
            unistd::unlinkat(&self.folder, unfinished.as_str(), UnlinkatFlags::NoRemoveDir).ok();
        }
        written?;
        self.trim()
    }

    /// Removes those files of the cache that were not used for the longest time, until the rest is not too much.
    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        for entry in Dir::openat(&self.folder, ".", flags, Mode::empty())?.iter() {
            let name = entry?.file_name().to_owned();
            // Another process may have removed it meanwhile.
            if is_ours(&name)
                && let Ok(found) = stat::fstatat(&self.folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            {
                files.push(((found.st_mtime, found.st_mtime_nsec), found.st_size.unsigned_abs(), name));
            }
        }
        files.sort();
        let mut n_bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, name) in files {
            if n_bytes <= self.bytes_max {
                break;
            }
            match unistd::unlinkat(&self.folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => n_bytes -= len,
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }
}

fn name(key: &Key) -> String {
    format!("{}{SUFFIX}", key.to_hex())
}

/// Whether the cache has made a file of that name. A user may have named a folder in which others lie.
fn is_ours(name: &CStr) -> bool {
    let name = name.to_string_lossy();
    let is_key = name.split('.').next().is_some_and(|key| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_key && (name.ends_with(SUFFIX) || name.ends_with(SUFFIX_UNFINISHED))
}

/// What an open file holds, if nobody else can have written it.
fn checked(mut file: File) -> Result<Sealed, String> {
    let text = |why: io::Error| why.to_string();
    let found = file.metadata().map_err(text)?;
    if SFlag::from_bits_truncate(found.mode()) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err("it is no file".to_owned());
    }
    if found.uid() != geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err("others may write it".to_owned());
    }
    if found.len() > Sealed::BYTES_MAX as u64 {
        return Err("it is damaged".to_owned());
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    (&mut file).take(Sealed::BYTES_MAX as u64).read_to_end(&mut bytes).map_err(text)?;
    // When it was used is only for who tidies up.
    drop(file.set_modified(SystemTime::now()));
    Ok(Sealed::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
