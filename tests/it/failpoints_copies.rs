//! Backing up, dropping backups and restoring fail or die at every named place, and again while the next one
//! clears up what that left.
//!
//! `make faults` builds with the features that this needs; see `src/fail.rs`.

use std::path::Path;
use std::process::Stdio;

use ofone::backup::BackupFolder;
use ofone::{Db, Result};

use crate::backup::Copying;
use crate::support::{options, setting};

/// The places, and which pass of each is struck: one in the middle.
pub(crate) const POINTS: [(&str, u64); 13] = [
    ("backup.after_copy", 2),
    ("backup.after_list", 1),
    ("backup.before_trial", 1),
    ("backup.between_files", 3),
    ("backup.during_list", 1),
    ("backup.during_trial", 1),
    ("keep.before_sweep", 1),
    ("keep.between_lists", 1),
    ("restore.after_rename", 1),
    ("restore.before_lock_file", 1),
    ("restore.before_rename", 1),
    ("restore.between_files", 3),
    ("sweep.between_files", 2),
];

/// Not a test of its own: drops backups, takes one and restores it, when the environment says so.
#[test]
fn child_copies_once() {
    let Ok(place) = std::env::var("OFONE_BACKUP_CHILD") else { return };
    match copy(Path::new(&place)) {
        Ok(()) => eprintln!("finished"),
        Err(error) => eprintln!("failed {error:?}"),
    }
}

fn copy(place: &Path) -> Result<()> {
    let folder = BackupFolder::at(place.join("backups"));
    folder.add(place.join("store"))?;
    folder.keep(1)?;
    folder.restore(None, place.join("target"))?;
    Ok(())
}

/// Has a process copy and be struck at a place. Whether it passed that.
fn strike(copying: &mut Copying, (place, pass): (&str, u64), act: &str) -> bool {
    let mut command = copying.process("failpoints_copies::child_copies_once");
    command.env("OFONE_FAIL", format!("{place}:{pass}:{act}"));
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let struck = told.contains(&format!("failpoint {place} is passed"));
    let error = told.lines().find_map(|line| line.strip_prefix("failed "));
    match act {
        "error" if struck => assert!(error.is_some_and(|error| error.contains(place)), "{place}: {told}"),
        "error" => assert!(told.contains("finished"), "{place}: {told}"),
        _ => assert_eq!(!struck, told.contains("finished"), "{place}: {told}"),
    }
    if let Some(target) = copying.restored() {
        // Whatever has the name of a store is one.
        Db::open(&target, options(20).create(false)).expect("a whole store");
        std::fs::remove_dir_all(target).expect("it goes");
    }
    struck
}

/// Each place, then each of `more` on top of what that left, and again, `depth` deep.
fn strike_all(first: &[(&str, u64)], more: &[(&str, u64)], depth: usize, act: &str) {
    let mut counts = [0; 3];
    for &place in first {
        let mut copying = Copying::new();
        let mut rows: Vec<Vec<(&str, u64)>> = vec![vec![place]];
        while let Some(row) = rows.pop() {
            let struck = row.iter().filter(|&&place| strike(&mut copying, place, act)).count();
            copying.inspect();
            // One that clears up may find nothing to clear, and so not pass a place.
            assert!(struck > 0, "{row:?} was not passed");
            counts[struck - 1] += 1;
            if row.len() < depth {
                rows.extend(more.iter().map(|&next| [&row[..], &[next]].concat()));
            }
        }
        copying.end();
    }
    let [once, twice, thrice] = counts;
    eprintln!("{once} copies struck with {act} once, {twice} twice, {thrice} thrice in lives one after the other");
    assert!(once >= first.len(), "every place is passed");
}

#[test]
fn a_crash_at_every_place_of_backup_and_restore_leaves_whole_backups() {
    strike_all(&POINTS, &POINTS[..3], 2, "abort");
}

#[test]
fn an_error_at_every_place_of_backup_and_restore_leaves_whole_backups() {
    strike_all(&POINTS, &POINTS[5..7], 2, "error");
}

/// `OFONE_FAULTS_SHARE` of `OFONE_FAULTS_SHARES` has some of the places.
fn strike_thrice(act: &str) {
    let (share, shares) = (setting("OFONE_FAULTS_SHARE", 0), setting("OFONE_FAULTS_SHARES", 1));
    let mine: Vec<_> = POINTS.into_iter().enumerate().filter(|(at, _)| at % shares == share % shares).collect();
    strike_all(&mine.into_iter().map(|(_, place)| place).collect::<Vec<_>>(), &POINTS, 3, act);
}

#[test]
#[ignore = "a quarter of an hour; make soak-faults"]
fn crashes_at_every_place_and_at_two_more_while_clearing_up_leave_whole_backups() {
    strike_thrice("abort");
}

#[test]
#[ignore = "a quarter of an hour; make soak-faults"]
fn errors_at_every_place_and_at_two_more_while_clearing_up_leave_whole_backups() {
    strike_thrice("error");
}
