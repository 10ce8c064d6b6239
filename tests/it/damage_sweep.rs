//! Thousands of damages, one file at a time, to every kind of file of a store: flipped bits, cut ends,
//! files gone, garbage behind the end, zeros. The store is opened, checked and asked in a process with
//! little memory and little time.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ofone::{Db, Error, ErrorKind};

use crate::damage::{answers, told, write};
use crate::shim::skipped;
use crate::support::{options, scratch, setting};

/// Memory of the process that asks, in KiB.
const MEMORY_KIB: u64 = 1 << 20;
/// One damaged store is opened, checked and asked within this.
const PATIENCE: Duration = Duration::from_secs(20);
/// Cases that one process judges.
const CASES_PER_PROCESS: u64 = 250;

/// Answers in short.
type Digests = Vec<u64>;

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Makes the store at `place/store` and notes beside it what it answered after each batch.
fn prepare(place: &Path) {
    let store = place.join("store");
    let db = Db::open(&store, options(900)).expect("a store");
    let mut states = Vec::new();
    for batch in 0..100 {
        write(&db, batch..batch + 1);
        // Three segments stay apart, and what follows stays in the log.
        if batch == 50 {
            db.flush().and_then(|()| db.wait_until_quiet()).expect("quiet");
        }
        let told: Digests =
            told(&db).expect("answers").iter().map(|told| digest(told.as_ref().expect("whole"))).collect();
        states.push(told.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
    }
    drop(db);
    fs::write(place.join("states"), states.join("\n")).expect("noted");
}

/// Every file but what RocksDB tells people.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut folders = vec![store.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LOG")) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn scramble(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 8
}

/// What becomes of a file; `None`: it is gone.
fn damaged(bytes: &[u8], random: u64) -> (String, Option<Vec<u8>>) {
    let length = bytes.len();
    let within = |bound: usize| usize::try_from(scramble(random) % bound.max(1) as u64).expect("small");
    let mut damaged = bytes.to_vec();
    match random % 50 {
        0..=1 => ("it is gone".into(), None),
        2..=6 => {
            let to =
                [0, 1, length / 2, length.saturating_sub(1), within(length)][(random % 50) as usize - 2].min(length);
            damaged.truncate(to);
            (format!("cut to {to} of {length} bytes"), Some(damaged))
        }
        7..=8 => {
            let count = 1 + within(64);
            damaged.extend((0..count as u64).map(|at| scramble(random ^ at) as u8));
            (format!("{count} bytes behind the end"), Some(damaged))
        }
        9 => {
            let at = within(length) / 512 * 512;
            let to = length.min(at + 4096);
            damaged[at..to].fill(0);
            (format!("zeros from {at} to {to}"), Some(damaged))
        }
        _ if length == 0 => ("nothing".into(), Some(damaged)),
        _ => {
            let at = match random % 3 {
                0 => within(length.min(256)),
                1 => length - 1 - within(length.min(256)),
                _ => within(length),
            };
            let bit = (random >> 32) % 8;
            damaged[at] ^= 1 << bit;
            (format!("bit {bit} of byte {at} of {length}"), Some(damaged))
        }
    }
}

/// Damages a copy of `place/store`: what it says afterwards, or what is wrong.
fn judge(place: &Path, case: u64, states: &[Digests]) -> String {
    let (store, copy) = (place.join("store"), place.join("copy"));
    let _ = fs::remove_dir_all(&copy);
    let random = scramble(case);
    let all = files(&store);
    let chosen = &all[usize::try_from(scramble(random ^ 7) % all.len() as u64).expect("small")];
    fs::DirBuilder::new().recursive(true).mode(0o700).create(copy.join("db")).expect("a directory");
    for file in &all {
        let to = copy.join(file.strip_prefix(&store).expect("inside"));
        // RocksDB never changes a finished table.
        if file.extension().is_some_and(|extension| extension == "sst") && file != chosen {
            fs::hard_link(file, &to).expect("a second name");
        } else {
            fs::copy(file, &to).expect("a copy");
        }
    }
    let target = copy.join(chosen.strip_prefix(&store).expect("inside"));
    let (what, bytes) = damaged(&fs::read(chosen).expect("a file"), random);
    match bytes {
        Some(bytes) => fs::write(&target, bytes).expect("written"),
        None => fs::remove_file(&target).expect("removed"),
    }
    let name = chosen.strip_prefix(&store).expect("inside").display().to_string();
    report(&format!("begin {case} {name}: {what}"));
    let typed = |error: &Error| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Io if error.place().is_some() => None,
        // Without its lock file a directory is no store of ours.
        ErrorKind::Invalid if name == "ofone.lock" => None,
        _ => Some(format!("bad: {name}: {what}: {error:?}")),
    };
    let answers = match answers(&copy) {
        Ok(answers) => answers,
        Err(error) => return typed(&error).unwrap_or_else(|| "refused".into()),
    };
    let whole = states.last().expect("states");
    let right = |state: &Digests| {
        answers.told.iter().zip(state).all(|(told, &whole)| told.as_ref().map_or(true, |told| digest(told) == whole))
    };
    if let Some(bad) = answers.told.iter().filter_map(|told| told.as_ref().err()).find_map(typed) {
        return bad;
    }
    let noticed = match &answers.problems {
        Ok(problems) => !problems.is_empty(),
        Err(error) => match typed(error) {
            Some(bad) => return bad,
            None => true,
        },
    };
    if right(whole) {
        let failed = answers.told.iter().any(Result::is_err);
        return if failed || noticed { "noticed".into() } else { "the same".into() };
    }
    // The end of a log that is damaged or gone is taken for a torn write: what was known earlier is left.
    if name.ends_with(".log") && !noticed && answers.told.iter().all(Result::is_ok) && states.iter().any(right) {
        return "the end is lost".into();
    }
    format!("bad: {name}: {what}: another answer; noticed by a check: {noticed}: {:?}", answers.problems)
}

fn report(line: &str) {
    let _ = std::io::stdout().write_all(format!("\ndamage {line}\n").as_bytes());
}

/// Not a test of its own: judges some cases, when the environment says so.
#[test]
fn child_judges_damage() {
    let Ok(place) = std::env::var("OFONE_DAMAGE_CHILD") else { return };
    let states = fs::read_to_string(Path::new(&place).join("states")).expect("states");
    let state = |line: &str| line.split(' ').map(|digest| digest.parse().expect("a digest")).collect();
    let states: Vec<Digests> = states.lines().map(state).collect();
    for case in setting("OFONE_DAMAGE_FROM", 0)..setting("OFONE_DAMAGE_TO", 0) {
        let outcome = catch_unwind(|| judge(Path::new(&place), case, &states));
        report(&format!("end {}", outcome.unwrap_or_else(|_| "bad: a panic".into())));
    }
}

/// Judges `cases` in processes of their own: how many came to what, and what is bad.
fn judge_all(place: &Path, cases: std::ops::Range<u64>) -> (Vec<(String, u64)>, Vec<String>) {
    let mut outcomes: Vec<(String, u64)> = Vec::new();
    let mut bad = Vec::new();
    let mut from = cases.start;
    while from < cases.end {
        let to = cases.end.min(from + CASES_PER_PROCESS);
        let program = std::env::current_exe().expect("this binary has a path");
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"")])
            .arg(program)
            .args(["--exact", "damage_sweep::child_judges_damage", "--nocapture", "--test-threads", "1"])
            .env("OFONE_DAMAGE_CHILD", place)
            .env("OFONE_DAMAGE_FROM", from.to_string())
            .env("OFONE_DAMAGE_TO", to.to_string())
            .env("MALLOC_ARENA_MAX", "2")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, hear) = mpsc::channel();
        let reader = thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut begun = None;
        while let Ok(line) = hear.recv_timeout(PATIENCE) {
            let Some(line) = line.strip_prefix("damage ") else { continue };
            if let Some(case) = line.strip_prefix("begin ") {
                begun = Some(case.to_owned());
            } else if let Some(outcome) = line.strip_prefix("end ") {
                let case = begun.take().unwrap_or_default();
                from += 1;
                if outcome.starts_with("bad") {
                    bad.push(format!("case {case}: {outcome}"));
                } else {
                    match outcomes.iter_mut().find(|(known, _)| known == outcome) {
                        Some((_, count)) => *count += 1,
                        None => outcomes.push((outcome.to_owned(), 1)),
                    }
                }
            }
        }
        let _ = child.kill();
        let status = child.wait().expect("it is waited for");
        let _ = reader.join();
        if from < to {
            bad.push(format!("{}: hangs or dies: {status}", begun.unwrap_or_else(|| format!("before case {from}"))));
            from += 1;
        }
    }
    (outcomes, bad)
}

#[test]
fn no_damage_to_any_file_is_another_answer_or_a_panic_or_takes_for_ever() {
    if !cfg!(target_os = "linux") {
        return skipped("the sweep of damages", "this is not Linux");
    }
    let (from, count) = (setting("OFONE_DAMAGE_FIRST", 0), setting("OFONE_DAMAGE_CASES", 2500));
    let place = scratch();
    prepare(place.path());
    let before: Vec<u64> = files(&place.path().join("store")).iter().map(|file| file_digest(file)).collect();
    let bytes: u64 =
        files(&place.path().join("store")).iter().map(|file| file.metadata().map_or(0, |data| data.len())).sum();
    let (outcomes, bad) = judge_all(place.path(), from..from + count);
    let after: Vec<u64> = files(&place.path().join("store")).iter().map(|file| file_digest(file)).collect();
    assert_eq!(before, after, "the store itself stays as it is");
    eprintln!("cases {from} to {}, {} files of {bytes} bytes: {outcomes:?}", from + count, before.len());
    assert_eq!(bad, Vec::<String>::new());
}

fn file_digest(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    fs::read(file).expect("a file").hash(&mut hasher);
    hasher.finish()
}
