//! What every test needs: a place, options that make seals and merges frequent, short names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ofone::{Db, Durability, Entity, Event, Link, Options, Timestamp};
use tempfile::TempDir;

/// A fresh directory, in memory where the system offers that much: these tests open thousands of stores.
pub(crate) fn scratch() -> TempDir {
    const ROOM: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize >= ROOM);
    let made = if has_room { TempDir::new_in(memory).or_else(|_| TempDir::new()) } else { TempDir::new() };
    made.expect("a temporary directory can be made")
}

/// Options under which `segment_events` events fill a segment.
pub(crate) fn options(segment_events: usize) -> Options {
    Options::new()
        .durability(Durability::Os)
        .segment_events(segment_events)
        .cache_bytes(1 << 20)
        .name_cache_bytes(64 << 10)
        .reserve_bytes(64 << 10)
        .preallocate(false)
}

/// The store at `path`, made if absent.
pub(crate) fn open(path: &Path, segment_events: usize) -> Db {
    Db::open(path, options(segment_events)).expect("the store opens")
}

/// The instant `nanos` after 1970.
pub(crate) fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// The entity written `type:id`.
pub(crate) fn entity(text: &str) -> Entity {
    text.parse().expect("written type:id")
}

/// An event named `id` of the feed `feed` that happened to `subject`.
pub(crate) fn event(time: i64, id: &str, subject: &str) -> Event {
    Event::new(at(time), "feed", "thing.happened").id(id).subject(entity(subject))
}

/// A link valid for all of time.
pub(crate) fn link(from: &str, relation: &str, to: &str) -> Link {
    Link::new(entity(from), relation, entity(to))
}

/// The environment variable `name`, or `default`.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Every file below `directory` with its bytes.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a listing") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("its bytes"));
            }
        }
    }
    found
}
