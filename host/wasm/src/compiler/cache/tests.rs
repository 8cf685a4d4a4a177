use std::{
    fs::{self, FileTimes, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    sync::Mutex,
    time::Duration,
};

use tempfile::TempDir;

use super::*;

/// What caches in tests have warned of. Each test looks for its own folder.
static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn warn(text: &str) {
    WARNED.lock().unwrap().push(text.to_owned());
}

/// The warnings about what lies in `folder`.
fn warned(folder: &TempDir) -> Vec<String> {
    let place = folder.path().display().to_string();
    WARNED.lock().unwrap().iter().filter(|text| text.contains(&place)).cloned().collect()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("reelflow-").tempdir().unwrap()
}

fn open(path: &Path) -> Result<Cache, Unusable> {
    Cache::open(path, 1 << 20, warn)
}

fn key(n: u8) -> Key {
    Key::new(&crate::engine::engine(), &format!("component {n}"))
}

fn put(cache: &Cache, n: u8, n_bytes: usize) {
    let key = key(n);
    cache.store(&key, &Sealed::new(&key, &vec![n; n_bytes])).unwrap();
}

/// The byte that was put for `n`, if all of it is there.
fn get(cache: &Cache, n: u8) -> Option<u8> {
    cache.load(&key(n))?.open(&key(n)).map(|code| code[0])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[track_caller]
fn refused(path: &Path, expected: &str) {
    let why = open(path).map(drop).unwrap_err();
    assert!(why.to_string().contains(expected) && !why.help().is_empty(), "{why}");
}

#[test]
fn what_is_put_is_found_by_another_process_of_this_user() {
    let folder = folder();
    let path = folder.path().join("a/b");
    put(&open(&path).unwrap(), 1, 10);
    assert_eq!((mode(&path), mode(&path.join(name(&key(1))))), (0o700, 0o600));
    let cache = open(&path).unwrap();
    assert_eq!((get(&cache, 1), get(&cache, 2)), (Some(1), None));
    put(&cache, 1, 20);
    assert_eq!(get(&cache, 1), Some(1), "put twice");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing unfinished is left");
    assert!(warned(&folder).is_empty());
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    let folder = folder();
    for mode in [0o777, 0o770, 0o702, 0o720, 0o1777] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        refused(folder.path(), "others may write");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(open(folder.path()).is_ok(), "others may read");
}

#[test]
fn a_link_or_a_file_is_no_folder() {
    let folder = folder();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for name in ["link", "link/", "dangling", "file"] {
        refused(&folder.path().join(name), "is a link, or no folder");
    }
    refused(&folder.path().join("file/inside"), "cannot be made");
}

#[test]
fn a_folder_of_another_user_is_not_used() {
    // Only root can give a folder away; for anybody else, a folder of root is another's.
    if geteuid().is_root() {
        let folder = folder();
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        refused(folder.path(), "belongs to another user");
    } else {
        refused(Path::new("/"), "belongs to another user");
    }
}

#[test]
fn a_file_that_others_could_have_written_is_not_used() {
    let folder = folder();
    let cache = open(folder.path()).unwrap();
    put(&cache, 1, 10);
    let path = folder.path().join(name(&key(1)));
    fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
    assert_eq!(get(&cache, 1), None);
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &path).unwrap();
    assert_eq!(get(&cache, 1), None);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(get(&cache, 1), None);
    fs::remove_dir(&path).unwrap();
    unistd::mkfifo(&path, Mode::S_IRUSR).unwrap();
    assert_eq!(get(&cache, 1), None, "nobody waits for a writer");
    let warned = warned(&folder);
    for (text, why) in warned.iter().zip(["others may write it", "it is a link", "it is no file", "it is no file"]) {
        assert!(text.ends_with(why) && text.contains("is not used, the plugin is compiled again"), "{text}");
    }
    assert_eq!(warned.len(), 4);
    put(&cache, 1, 10);
    assert_eq!(get(&cache, 1), Some(1), "written anew");
}

/// I-9: what was used last stays.
#[test]
fn the_files_are_bounded_and_the_oldest_go_first() {
    let folder = folder();
    let cache = Cache::open(folder.path(), 2_500, warn).unwrap();
    let foreign = folder.path().join("foreign.native");
    fs::write(&foreign, vec![0; 10_000]).unwrap();
    let unfinished = folder.path().join(format!("{}.1.0{SUFFIX_UNFINISHED}", key(9).to_hex()));
    fs::write(&unfinished, vec![0; 1_000]).unwrap();
    let age = |path: &Path, days: u64| {
        let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(days * 86_400));
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    };
    age(&unfinished, 9);
    for n in 1..=2 {
        put(&cache, n, 900);
        age(&folder.path().join(name(&key(n))), 5 - u64::from(n));
    }
    assert!(!unfinished.exists(), "a process died here long ago");
    assert_eq!(get(&cache, 1), Some(1), "the oldest was used just now");
    put(&cache, 3, 900);
    assert_eq!([1, 2, 3].map(|n| get(&cache, n)), [Some(1), None, Some(3)]);
    assert!(foreign.exists(), "it is not the cache's");
}
