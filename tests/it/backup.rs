//! Backups of a store that is being written, restored and compared; and what no backup may do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ofone::backup::{Backup, BackupFolder};
use ofone::{Db, ErrorKind, Snapshot, StreamItem};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

use crate::live::{CUSTOMERS, batch};
use crate::live_view::{WritingProcess, check};
use crate::ordeal::scramble;
use crate::support::{contents, open, options, scratch, setting};

const SEGMENT: usize = 500;

/// What customers lived through, as of a commit.
fn streams(snapshot: &Snapshot, commit: u64) -> Vec<Vec<(String, u64)>> {
    let told = |item: StreamItem| (format!("{:?}", item.event), item.commit());
    let stream = |customer: usize| {
        let items = snapshot.stream(customer.to_string()).run().expect("a stream");
        items.map(|item| told(item.expect("an item"))).filter(|(_, at)| *at <= commit).collect()
    };
    (0..CUSTOMERS).map(stream).collect()
}

/// Restores the backup and compares its answers with those of a snapshot taken later.
fn hold_against(folder: &BackupFolder, backup: &Backup, later: &Snapshot, place: &Path) {
    let store = place.join(format!("restored-{}", backup.id));
    assert_eq!(&folder.restore(Some(backup.id), &store).expect("a restore"), backup);
    let db = open(&store, SEGMENT);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.commit(), backup.commit);
    assert_eq!(snapshot.commit_time(backup.commit).expect("a read"), backup.committed);
    // Every batch says other things and nothing about what was said, so a later look tells an earlier one.
    assert_eq!(streams(&snapshot, u64::MAX), streams(later, backup.commit));
    check(&snapshot);
    db.writer().commit(batch(backup.commit)).expect("a restored store goes on");
    db.wait_until_quiet().expect("quiet");
    check(&db.snapshot());
    drop((snapshot, db));
    fs::remove_dir_all(store).expect("it goes");
}

#[test]
fn backups_taken_while_writers_go_on_restore_to_what_the_store_was_at_their_commit() {
    let place = scratch();
    let folder = BackupFolder::at(place.path().join("backups"));
    let db = open(&place.path().join("store"), SEGMENT);
    let stop = AtomicBool::new(false);
    let backups = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                db.writer().commit(batch(number)).expect("a commit");
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let backups: Vec<Backup> = (0..setting("OFONE_BACKUPS", 12))
            .map(|_| {
                thread::sleep(Duration::from_millis(60));
                let before = db.snapshot().commit();
                let backup = db.backup(&folder).expect("a backup");
                // One more may be in the log already and not yet to be seen.
                assert!((before..=db.snapshot().commit() + 1).contains(&backup.commit));
                backup
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        backups
    });
    assert_eq!(folder.list().expect("a list").backups, backups);
    // Only the log is copied anew.
    assert!(backups.iter().skip(1).all(|backup| backup.added < backup.bytes), "{backups:?}");
    for backup in &backups {
        folder.verify(backup.id).expect("whole");
        hold_against(&folder, backup, &db.snapshot(), place.path());
    }
    // Older ones go, what the others share stays.
    let last = backups.len() as u64;
    assert_eq!(folder.keep(2).expect("room"), (1..=last - 2).collect::<Vec<u64>>());
    for backup in &backups[backups.len() - 2..] {
        hold_against(&folder, backup, &db.snapshot(), place.path());
    }
    let stored = fs::read_dir(place.path().join("backups/files")).expect("files").count() as u64;
    assert!(stored <= backups.iter().rev().take(2).map(|backup| backup.files).sum(), "{stored} files");
    let idle = db.backup(&folder).expect("one more");
    let again = db.backup(&folder).expect("the same again");
    assert_eq!((again.id, again.added), (idle.id + 1, 0), "nothing changed");
}

#[test]
fn a_process_backs_up_a_store_that_another_writes() {
    let place = scratch();
    let (store, folder) = (place.path().join("store"), BackupFolder::at(place.path().join("backups")));
    let mut writer = WritingProcess::start(&store);
    let mut backups = Vec::new();
    for round in 1..=8 {
        writer.wait_for(round * 60);
        let acknowledged = writer.acknowledged.load(Ordering::Acquire);
        let backup = folder.add(&store).expect("a backup");
        assert!(backup.commit >= acknowledged, "{backup:?}, {acknowledged}");
        backups.push(backup);
    }
    assert!(writer.lives());
    drop(writer);
    let db = open(&store, SEGMENT);
    check(&db.snapshot());
    for backup in &backups {
        hold_against(&folder, backup, &db.snapshot(), place.path());
    }
}

/// A folder with one backup of a small store, and the way to the list of it.
fn one_backup(place: &Path) -> (BackupFolder, PathBuf) {
    let db = open(&place.join("store"), 20);
    for number in 0..6 {
        db.writer().commit(batch(number)).expect("a commit");
    }
    db.flush().expect("a flush");
    let path = place.join("backups");
    let folder = BackupFolder::at(&path);
    db.backup(&folder).expect("a backup");
    (folder, path.join("000001.backup"))
}

fn refusal(folder: &BackupFolder, place: &Path) -> (ErrorKind, String) {
    let target = place.join("target");
    let error = folder.restore(None, &target).expect_err("a refusal");
    assert!(!target.exists() && !place.join("target.restoring").exists(), "nothing is left of it");
    assert_eq!(folder.verify(1).err().map(|error| error.kind()), Some(error.kind()), "{error}");
    (error.kind(), error.to_string())
}

/// Writes a list again with the hash that fits it.
fn rewrite(list: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(list).expect("a list");
    let body = change(&text[..text.rfind("end ").expect("an end")]);
    let hash = xxh3_128(body.as_bytes());
    fs::write(list, format!("{body}end {hash:032x}\n")).expect("written");
}

#[test]
fn a_damaged_backup_is_refused_with_its_place() {
    let place = scratch();
    let (folder, list) = one_backup(place.path());
    let files: Vec<PathBuf> = contents(&place.path().join("backups/files")).into_keys().collect();
    assert!(files.len() > 5, "{files:?}");
    for path in files.iter().chain([&list]) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let bytes = fs::read(path).expect("bytes");
        let mut cases = vec![Some([&bytes[..], b"x"].concat())];
        if !bytes.is_empty() {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 4;
            cases.extend([Some(flipped), Some(bytes[..bytes.len() - 1].to_vec()), Some(Vec::new())]);
        }
        if path != &list {
            cases.push(None);
        }
        for case in cases {
            match &case {
                Some(changed) => fs::write(path, changed).expect("written"),
                None => fs::remove_file(path).expect("removed"),
            }
            let (kind, told) = refusal(&folder, place.path());
            assert_eq!(kind, ErrorKind::Corrupt, "{name}: {told}");
            assert!(told.contains(name), "{told} names {name}");
            fs::write(path, &bytes).expect("written");
        }
        // The right bytes behind a link are not taken either.
        let aside = place.path().join("aside");
        fs::rename(path, &aside).expect("renamed");
        std::os::unix::fs::symlink(&aside, path).expect("a link");
        let (kind, told) = refusal(&folder, place.path());
        assert_eq!(kind, ErrorKind::Invalid, "{told}");
        fs::rename(&aside, path).expect("renamed back");
    }
    folder.restore(None, place.path().join("target")).expect("it was whole all along");
}

#[test]
fn a_list_that_leads_elsewhere_is_refused_however_well_it_is_hashed() {
    let place = scratch();
    let (folder, list) = one_backup(place.path());
    let text = fs::read_to_string(&list).expect("a list");
    for name in ["../CURRENT", "/tmp/CURRENT", "sub/CURRENT", "..", ".CURRENT", "CUR\\RENT", ""] {
        rewrite(&list, |body| body.replace("file CURRENT ", &format!("file {name} ")));
        let (kind, told) = refusal(&folder, place.path());
        assert!(kind == ErrorKind::Corrupt && told.contains("000001.backup:"), "{name}: {told}");
        fs::write(&list, &text).expect("written");
    }
    // Another commit than the bytes have; a store that lacks a file.
    rewrite(&list, |body| body.replace("\ncommit 6\n", "\ncommit 7\n"));
    let told = folder.restore(None, place.path().join("target")).expect_err("a refusal").to_string();
    assert!(told.contains("the last commit is 6"), "{told}");
    fs::write(&list, &text).expect("written");
    let without = |kind: &str| {
        rewrite(&list, |body| {
            body.lines().filter(|line| !line.contains(kind)).map(|line| format!("{line}\n")).collect()
        });
        let error = folder.restore(None, place.path().join("target")).err();
        // Nobody works at these files: there is nothing to wait for.
        assert!(error.is_some_and(|error| error.kind() != ErrorKind::Busy), "a store without {kind}");
        fs::write(&list, &text).expect("written");
    };
    ["file CURRENT", "file MANIFEST", ".sst "].into_iter().for_each(without);
    assert!(!place.path().join("target").exists());
    // A list that cannot be read keeps the bytes of all.
    fs::write(place.path().join("backups/000002.backup"), "x").expect("written");
    assert_eq!(folder.keep(1).expect_err("a refusal").kind(), ErrorKind::Corrupt);
    let listed = folder.list().expect("a list");
    assert_eq!((listed.backups.len(), listed.damaged.len()), (1, 1));
    // A copy that was cut off is in the way of none.
    let half_done = place.path().join("backups/files/MANIFEST-000005.tmp");
    fs::write(&half_done, "half").expect("written");
    folder.add(place.path().join("store")).expect("one more");
    assert!(!half_done.exists());
    folder.restore(Some(1), place.path().join("target")).expect("the first is still there");
}

#[test]
fn nothing_is_restored_over_anything_and_no_foreign_folder_is_taken() {
    let place = scratch();
    let (folder, _) = one_backup(place.path());
    let kind = |target: &Path| folder.restore(None, target).err().map(|error| error.kind());
    let target = place.path().join("target");
    fs::create_dir(&target).expect("a directory");
    assert_eq!(kind(&target), Some(ErrorKind::Invalid), "even an empty directory");
    assert_eq!(kind(&place.path().join("store")), Some(ErrorKind::Invalid));
    let link = place.path().join("link");
    std::os::unix::fs::symlink(place.path().join("nowhere"), &link).expect("a link");
    assert_eq!(kind(&link), Some(ErrorKind::Invalid), "nor through a link");
    fs::create_dir(place.path().join("taken.restoring")).expect("a directory");
    fs::write(place.path().join("taken.restoring/mine"), "x").expect("a file");
    assert_eq!(kind(&place.path().join("taken")), Some(ErrorKind::Invalid), "somebody's directory stays");
    assert_eq!(folder.restore(Some(9), place.path().join("x")).err().map(|e| e.kind()), Some(ErrorKind::NotFound));
    let store = place.path().join("store");
    let before = contents(&store);
    let foreign = BackupFolder::at(&store);
    assert_eq!(foreign.add(&store).err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    assert_eq!(foreign.list().err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    assert_eq!(contents(&store), before);
    let absent = BackupFolder::at(place.path().join("absent"));
    assert_eq!(absent.list().err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let backups = place.path().join("backups");
    assert_eq!((mode(&backups), mode(&backups.join("files"))), (0o700, 0o700));
    assert!(contents(&backups).keys().all(|path| mode(path) == 0o600));
    fs::set_permissions(&backups, fs::Permissions::from_mode(0o755)).expect("its owner may");
    assert_eq!(folder.add(&store).err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    folder.clone().allow_open_permissions(true).add(&store).expect("allowed");
}

/// Not a test of its own: backs up and restores until it is killed, when the environment says so.
#[test]
fn child_copies_until_killed() {
    let Ok(place) = std::env::var("OFONE_BACKUP_CHILD") else { return };
    let place = Path::new(&place);
    let folder = BackupFolder::at(place.join("backups"));
    for _ in 0..1000 {
        if std::env::var("OFONE_BACKUP_RESTORES").is_ok() {
            folder.restore(None, place.join("target")).expect("a restore");
            fs::remove_dir_all(place.join("target")).expect("it goes");
        } else {
            folder.add(place.join("store")).expect("a backup");
            folder.keep(3).expect("room");
        }
    }
}

/// A store, a folder of its backups, and those who copy between them and are cut off.
pub(crate) struct Copying {
    place: TempDir,
    folder: BackupFolder,
    db: Db,
    commits: u64,
    /// How often a look found something half done.
    pub(crate) half_done: u64,
}

impl Copying {
    pub(crate) fn new() -> Copying {
        let place = scratch();
        let (folder, _) = one_backup(place.path());
        let db = open(&place.path().join("store"), 20);
        let commits = db.snapshot().commit();
        Copying { place, folder, db, commits, half_done: 0 }
    }

    /// The test `of` of this binary, in a process of its own that is to copy; before it the store changes.
    pub(crate) fn process(&mut self, of: &str) -> Command {
        self.db.writer().commit(batch(self.commits)).expect("a commit");
        self.commits += 1;
        let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
        command.args(["--exact", of, "--nocapture", "--test-threads", "1"]);
        command.env("OFONE_BACKUP_CHILD", self.place.path());
        command
    }

    /// All backups that are listed are whole, and nothing but a whole store has the name of one.
    pub(crate) fn inspect(&mut self) {
        let (target, left) = (self.place.path().join("target"), self.place.path().join("target.restoring"));
        self.half_done += u64::from(left.exists() || self.place.path().join("backups/trial").exists());
        assert!(Db::open(&left, options(20).create(false)).is_err(), "no store by that name");
        let list = self.folder.list().expect("a list");
        assert!(list.damaged.is_empty() && !list.backups.is_empty(), "{list:?}");
        for backup in &list.backups {
            assert_eq!(&self.folder.verify(backup.id).expect("whole"), backup);
        }
        let last = list.backups.last().expect("one").clone();
        hold_against(&self.folder, &last, &self.db.snapshot(), self.place.path());
        self.folder.restore(Some(last.id), &target).expect("the next restore clears up");
        assert!(!left.exists());
        fs::remove_dir_all(target).expect("it goes");
    }

    /// What is left half done goes with the next backup.
    pub(crate) fn end(self) {
        let last = self.folder.add(self.place.path().join("store")).expect("the next backup clears up");
        self.folder.keep(1).expect("room");
        let files = fs::read_dir(self.place.path().join("backups/files")).expect("files").count() as u64;
        let names = fs::read_dir(self.place.path().join("backups")).expect("names").count();
        assert!(files <= last.files && names == 3, "{files} files, {names} names");
    }

    /// The place of what is restored, if anything has its name.
    pub(crate) fn restored(&self) -> Option<PathBuf> {
        Some(self.place.path().join("target")).filter(|target| target.exists())
    }
}

#[test]
fn a_kill_during_backup_or_restore_leaves_whole_backups_and_no_half_store() {
    let mut copying = Copying::new();
    let (kills, seed) = (setting("OFONE_BACKUP_KILLS", 40u64), setting("OFONE_CRASH_SEED", 1u64));
    for kill in 0..kills {
        let mut command = copying.process("backup::child_copies_until_killed");
        if kill % 2 == 1 {
            command.env("OFONE_BACKUP_RESTORES", "1");
        }
        let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
        thread::sleep(Duration::from_millis(10 + scramble(&[seed, kill]) % 90));
        child.kill().expect("the kill is sent");
        child.wait().expect("it is waited for");
        if let Some(target) = copying.restored() {
            // Cut off after the rename: a store, unless it was being removed.
            let _ = fs::remove_dir_all(target);
        }
        copying.inspect();
    }
    eprintln!("{kills} kills of who backs up or restores: {} left something half done", copying.half_done);
    copying.end();
}

/// A process that is being started has copies of all descriptors, locked ones too.
#[test]
fn a_folder_is_free_at_once_however_many_processes_are_being_started() {
    let place = scratch();
    let (folder, _) = one_backup(place.path());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                Command::new("true").status().expect("it runs");
            }
        });
        for _ in 0..1000 {
            let kept = folder.keep(1);
            if kept.is_err() {
                done.store(true, Ordering::Release);
            }
            assert_eq!(kept.expect("free"), Vec::<u64>::new());
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn what_verifying_finds_spoilt_is_copied_anew_by_the_next_backup_and_the_older_ones_are_whole_again() {
    let place = scratch();
    let folder = BackupFolder::at(place.path().join("backups"));
    let db = open(&place.path().join("store"), SEGMENT);
    (0..40).for_each(|number| drop(db.writer().commit(batch(number)).expect("a commit")));
    db.flush().and_then(|()| db.wait_until_quiet()).expect("quiet");
    let first = db.backup(&folder).expect("a backup");
    let of_store = contents(&place.path().join("store/db"));
    let tables = of_store.iter().filter(|(name, _)| name.extension().is_some_and(|extension| extension == "sst"));
    let (_, table) = tables.max_by_key(|(_, bytes)| bytes.len()).expect("a table");
    let files = place.path().join("backups/files");
    let stored = contents(&files);
    let (name, _) = stored.iter().find(|(_, bytes)| *bytes == table).expect("its copy");
    let mut spoilt = table.clone();
    spoilt[table.len() / 2] ^= 1;
    fs::write(name, spoilt).expect("written");
    assert_eq!(folder.verify(first.id).expect_err("a byte is wrong").kind(), ErrorKind::Corrupt);
    let second = db.backup(&folder).expect("a backup");
    folder.verify(second.id).expect("it is whole");
    folder.verify(first.id).expect("and so is the one before");
    assert_eq!(contents(&files).get(name), Some(table));
    assert!(!contents(&files).keys().any(|name| name.to_string_lossy().contains("spoilt")));
}

#[test]
fn a_file_that_is_none_of_the_database_is_no_part_of_a_backup() {
    let place = scratch();
    let folder = BackupFolder::at(place.path().join("backups"));
    let db = open(&place.path().join("store"), SEGMENT);
    db.writer().commit(batch(0)).expect("a commit");
    for name in ["000012 copy.sst", ".x.log", "notes.log"] {
        fs::write(place.path().join("store/db").join(name), "what is this").expect("written");
    }
    let backup = db.backup(&folder).expect("a backup");
    assert!(folder.list().expect("a list").damaged.is_empty());
    folder.restore(Some(backup.id), place.path().join("copy")).expect("a restore");
}
