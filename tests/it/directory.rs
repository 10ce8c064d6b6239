//! The directory of a store: private to its owner, and open in one place at a time.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ofone::{Db, ErrorKind, Options};

use crate::support::{open, options, scratch};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
}

fn refusal(path: &Path, options: Options) -> Option<ErrorKind> {
    Db::open(path, options).err().map(|error| error.kind())
}

/// Every directory and file under `path`, and `path`.
fn all_under(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            let entries = fs::read_dir(&found[at]).expect("it can be listed");
            found.extend(entries.map(|entry| entry.expect("its entries too").path()).collect::<Vec<_>>());
        }
        at += 1;
    }
    found
}

#[test]
fn what_a_store_creates_is_private_even_below_missing_directories() {
    let place = scratch();
    let path = place.path().join("above/store");
    drop(open(&path, 8));
    for directory in [&place.path().join("above"), &path, &path.join("db"), &path.join("staging")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    assert_eq!(mode(&path.join("ofone.lock")), 0o600);
}

#[test]
fn an_empty_directory_of_ours_becomes_private_unless_that_was_allowed_otherwise() {
    let place = scratch();
    let path = place.path().join("store");
    fs::create_dir(&path).expect("a directory");
    chmod(&path, 0o755);
    drop(open(&path, 8));
    assert_eq!(mode(&path), 0o700);

    let shared = place.path().join("shared");
    fs::create_dir(&shared).expect("a directory");
    chmod(&shared, 0o750);
    drop(Db::open(&shared, options(8).allow_open_permissions(true)).expect("a store"));
    assert_eq!(mode(&shared), 0o750);
}

#[test]
fn a_directory_of_something_else_keeps_its_mode() {
    let place = scratch();
    let path = place.path().join("papers");
    fs::create_dir(&path).expect("a directory");
    fs::write(path.join("letter"), "dear").expect("a file");
    chmod(&path, 0o755);
    assert_eq!(refusal(&path, options(8)), Some(ErrorKind::Invalid));
    assert_eq!(mode(&path), 0o755);
}

#[test]
fn a_store_open_to_others_is_refused_until_that_is_allowed() {
    let place = scratch();
    let path = place.path().join("store");
    drop(open(&path, 8));
    for open_to_others in [0o755, 0o750, 0o701, 0o720, 0o2770] {
        chmod(&path, open_to_others);
        let error = Db::open(&path, options(8)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("chmod 700"), "{error}");
        drop(Db::open(&path, options(8).allow_open_permissions(true)).expect("it opens when allowed"));
        assert_eq!(mode(&path), open_to_others);
    }
    chmod(&path, 0o700);
    drop(open(&path, 8));
}

#[test]
fn a_store_of_another_user_is_refused_until_that_is_allowed() {
    let place = scratch();
    let (path, empty) = (place.path().join("store"), place.path().join("empty"));
    drop(open(&path, 8));
    fs::create_dir(&empty).expect("a directory");
    if chown(&path, Some(12_345), None).and_then(|()| chown(&empty, Some(12_345), None)).is_err() {
        eprintln!("skipped: only the superuser can give a directory away");
        return;
    }
    for path in [&path, &empty] {
        let error = Db::open(path, options(8)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("belongs to user 12345"), "{error}");
    }
    drop(Db::open(&path, options(8).allow_open_permissions(true)).expect("it opens when allowed"));
}

#[test]
fn no_link_is_followed_for_what_a_store_creates() {
    let place = scratch();
    let elsewhere = place.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::write(elsewhere.join("kept"), "kept").expect("a file");
    let fresh = |name: &str| {
        let path = place.path().join(name);
        drop(open(&path, 8));
        path
    };

    let path = fresh("lock");
    fs::remove_file(path.join("ofone.lock")).expect("it is removed");
    symlink(elsewhere.join("made"), path.join("ofone.lock")).expect("a symbolic link");
    assert_eq!(refusal(&path, options(8)), Some(ErrorKind::Invalid));
    assert!(!elsewhere.join("made").exists());

    let path = fresh("database");
    fs::rename(path.join("db"), elsewhere.join("db")).expect("it is moved");
    symlink(elsewhere.join("db"), path.join("db")).expect("a symbolic link");
    assert_eq!(refusal(&path, options(8)), Some(ErrorKind::Invalid));

    let path = fresh("staging");
    fs::remove_dir(path.join("staging")).expect("it is empty");
    symlink(&elsewhere, path.join("staging")).expect("a symbolic link");
    drop(open(&path, 8));
    assert!(fs::symlink_metadata(path.join("staging")).expect("it is there").is_dir());
    assert_eq!(fs::read_to_string(elsewhere.join("kept")).expect("it is there"), "kept");
}

/// Ways to write the path of the store `place/store`.
fn spellings(place: &Path) -> Vec<PathBuf> {
    let path = place.join("store");
    fs::create_dir_all(place.join("x")).expect("a directory");
    symlink(&path, place.join("alias")).expect("a symbolic link");
    symlink("alias", place.join("alias-of-alias")).expect("a symbolic link");
    let here = std::env::current_dir().expect("a working directory");
    let up = here.components().skip(1).map(|_| "..").collect::<PathBuf>();
    let relative = up.join(path.strip_prefix("/").expect("an absolute path"));
    let doubled = PathBuf::from(path.to_str().expect("plain names").replace('/', "//"));
    let spelt = ["store", "store/", "store/.", "x/../store", "alias", "alias/", "alias-of-alias", "alias/../store"];
    spelt.iter().map(|spelt| place.join(spelt)).chain([relative, doubled]).collect()
}

#[test]
fn a_second_open_is_busy_however_the_path_is_spelt() {
    let place = scratch();
    let db = open(&place.path().join("store"), 8);
    let spellings = spellings(place.path());
    for spelling in &spellings {
        assert_eq!(refusal(spelling, options(8)), Some(ErrorKind::Busy), "{}", spelling.display());
    }
    drop(db);
    for spelling in &spellings {
        assert_eq!(refusal(spelling, options(8)), None, "{} opens when nobody has it", spelling.display());
    }
}

/// A process that is being started holds copies of all open files for a moment, locks included.
#[test]
fn a_closed_store_opens_again_while_other_processes_are_started() {
    let place = scratch();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().ok();
            }
        });
        let kinds: Vec<_> =
            (0..60).map(|_| Db::open(place.path(), options(8)).err().map(|error| error.kind())).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(kinds, [None; 60]);
    });
}

#[cfg(feature = "cli")]
mod processes {
    use super::*;
    use crate::cli::{ofone, run, stderr, text};
    use std::process::Stdio;

    /// How a command ends that needs the lock.
    fn write(path: &Path) -> Option<i32> {
        run(&["ingest", "--db", text(path), "-"]).status.code()
    }

    #[test]
    fn another_process_is_refused_however_the_path_is_spelt() {
        let place = scratch();
        let path = place.path().join("store");
        let db = open(&path, 8);
        let spellings = spellings(place.path());
        for spelling in &spellings {
            assert_eq!(write(spelling), Some(5), "{}", spelling.display());
        }
        // The same directory under a mount of its own, where the system lets us make one.
        let mount = "mount --bind \"$1\" \"$2\" || exit 99; exec \"$3\" ingest --db \"$2\" -";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", mount, "sh"]).arg(&path).arg(place.path().join("x"));
        match command.arg(env!("CARGO_BIN_EXE_ofone")).output() {
            Ok(output) if output.status.code() == Some(5) => {}
            Ok(output) if matches!(output.status.code(), Some(1 | 99)) && !stderr(&output).contains("ofone") => {
                eprintln!("skipped: a bind mount, the system does not let us");
            }
            Ok(output) => panic!("through a bind mount: {}, {}", output.status, stderr(&output)),
            Err(_) => eprintln!("skipped: a bind mount, there is no unshare"),
        }
        drop(db);
        for spelling in &spellings {
            assert_eq!(write(spelling), Some(0), "{}", spelling.display());
        }
    }

    #[test]
    fn this_process_is_refused_while_another_has_the_store_open_and_not_after_its_death() {
        let place = scratch();
        let path = place.path().join("store");
        let mut holder = ofone(&["ingest", "--db", text(&path), "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut refused = None;
        for _ in 0..3000 {
            // Not there yet, or there and about to be locked.
            refused = refusal(&path, options(8).create(false));
            if refused == Some(ErrorKind::Busy) {
                break;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(refused, Some(ErrorKind::Busy));
        for spelling in spellings(place.path()) {
            assert_eq!(refusal(&spelling, options(8)), Some(ErrorKind::Busy), "{}", spelling.display());
        }
        holder.kill().expect("the kill is sent");
        holder.wait().expect("it is waited for");
        assert_eq!(refusal(&path, options(8)), None);
    }

    #[test]
    fn a_lock_file_put_in_the_place_of_ours_lets_nobody_in() {
        let place = scratch();
        let path = place.path().join("store");
        let _db = open(&path, 8);
        fs::remove_file(path.join("ofone.lock")).expect("it is removed");
        assert_eq!(write(&path), Some(1), "without its lock file it is no store");
        fs::File::create(path.join("ofone.lock")).and_then(|mut file| file.write_all(b"")).expect("another one");
        assert_eq!(write(&path), Some(5));
    }

    #[test]
    fn what_the_command_line_writes_is_private_whatever_the_umask() {
        let place = scratch();
        let (path, rejects) = (place.path().join("store"), place.path().join("rejects"));
        let line = r#"{"time":"2026-01-05T09:00:00Z","source":"nms","kind":"alarm.raised","customer":"A"}"#;
        let script = "umask 000; printf '%s\\nnonsense\\n' \"$4\" | \"$1\" ingest --db \"$2\" --rejects \"$3\" -";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_ofone"), text(&path), text(&rejects), line]);
        let output = command.output().expect("the shell starts");
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        let mut written = all_under(&path);
        assert!(written.len() > 8, "a database has files: {written:?}");
        written.push(rejects);
        for path in written {
            assert_eq!(mode(&path) & 0o077, 0, "{} has mode {:o}", path.display(), mode(&path));
        }
    }

    #[test]
    fn the_command_line_tells_what_to_do_about_an_open_directory() {
        let place = scratch();
        let path = place.path().join("store");
        drop(open(&path, 8));
        chmod(&path, 0o755);
        let output = run(&["stats", "--db", text(&path)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("mode 0755"), "{}", stderr(&output));
        let allowed = run(&["stats", "--db", text(&path), "--allow-open-permissions"]);
        assert_eq!(allowed.status.code(), Some(0), "{}", stderr(&allowed));
    }
}
