//! The store fails or dies at every named place of `src/`, and once more while it recovers.
//!
//! `make faults` builds with the features that this needs; see `src/fail.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::ordeal::{Ordeal, Scope};
use crate::support::setting;

/// The places, and whether a life that follows another's crash is needed to pass one.
const POINTS: [(&str, bool); 25] = [
    ("bury.after_rows", false),
    ("bury.before_manifest", false),
    ("bury.before_rows", false),
    ("commit.after_publish", false),
    ("commit.after_write", false),
    ("commit.before_write", false),
    ("drop.after_files", false),
    ("ingest.before_unstaging", false),
    ("ingest.between_families", false),
    ("merge.after_files", false),
    ("merge.after_manifest", false),
    ("merge.before_files", false),
    ("merge.before_manifest", false),
    ("open.after_drop", true),
    ("open.after_header", true),
    ("open.after_replay", true),
    ("open.before_garbage", true),
    ("open.before_header", true),
    ("open.during_drop", true),
    ("reclaim.before_compaction", false),
    ("seal.after_files", false),
    ("seal.after_ingest", false),
    ("seal.after_manifest", false),
    ("seal.before_files", false),
    ("seal.before_manifest", false),
];

/// Crashes that leave something for the next open to do.
const UNTIDY: [&str; 4] = [
    "ingest.between_families:1:abort",
    "merge.after_manifest:1:abort",
    "seal.after_ingest:2:abort",
    "bury.after_rows:1:abort",
];

/// What stands in quotation marks after `call` in the sources.
fn named_in_the_sources(call: &str) -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a source");
                let after = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(after.map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn the_list_names_every_failpoint() {
    let listed: BTreeSet<String> = POINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, named_in_the_sources("fail::point(\""));
}

/// Every place, each of its first passes, `act`; after it either a look, or a crash while recovering
/// and then a look.
fn strike_everywhere(act: &str) {
    let passes: u64 = setting("OFONE_FAIL_PASSES", 2);
    let mut struck: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut lives, mut acknowledged, mut twice) = (0, 0, 0);
    for (number, (name, after_a_crash)) in POINTS.into_iter().enumerate() {
        let mut ordeal = Ordeal::new();
        let mut generation = number as u64 % 2;
        let mut live = |ordeal: &mut Ordeal, fail: &str| {
            // Every generation has another durability: steps of one and of two alternate them.
            generation += 1;
            lives += 1;
            let told = ordeal.follow_script(generation, &[("OFONE_FAIL", fail)]);
            acknowledged += told.acknowledged;
            told
        };
        for pass in 1..=passes {
            for again in [false, true] {
                if after_a_crash {
                    live(&mut ordeal, UNTIDY[(pass as usize + usize::from(again)) % UNTIDY.len()]);
                }
                let told = live(&mut ordeal, &format!("{name}:{pass}:{act}"));
                let is_struck = told.noise.contains(&format!("failpoint {name} is passed"));
                assert_eq!(told.aborted, is_struck && act == "abort", "{name}:{pass}: {}", told.noise);
                if is_struck && act == "error" {
                    let error = told.error.unwrap_or_else(|| panic!("{name}:{pass}:error went unnoticed"));
                    assert!(error.contains(name), "the first cause is told: {error}");
                }
                *struck.entry(name).or_default() += u64::from(is_struck);
                if again {
                    let recovering: Vec<&str> =
                        POINTS.iter().map(|(name, _)| *name).filter(|name| name.starts_with("open.")).collect();
                    let name = recovering[(number + pass as usize) % recovering.len()];
                    let told = live(&mut ordeal, &format!("{name}:1:{act}"));
                    twice += u64::from(is_struck && told.noise.contains("failpoint"));
                }
                ordeal.inspect(Scope::New);
            }
        }
        ordeal.inspect(Scope::All);
    }
    let cases: u64 = struck.values().sum();
    eprintln!("{cases} struck with {act}, {twice} twice, in {lives} lives; {acknowledged} batches acknowledged");
    assert_eq!(struck.iter().filter(|(_, times)| **times == 0).count(), 0, "every place is passed: {struck:?}");
}

#[test]
fn a_crash_at_every_named_place_and_one_while_recovering_lose_nothing() {
    strike_everywhere("abort");
}

#[test]
fn an_error_at_every_named_place_is_told_and_loses_nothing() {
    strike_everywhere("error");
}

/// Bugs that show after a crash of the process; those that only a power cut or damage shows are hunted
/// in `power.rs` and `src/db.rs`.
#[cfg(feature = "planted-bugs")]
const SHOWN_BY_A_CRASH: [&str; 4] = ["double-replay", "lose-chunk", "skip-trim", "trim-before-ingest"];

/// A few lives with a planted bug, each with a look after it.
#[cfg(feature = "planted-bugs")]
fn hunt(bug: &str) {
    let mut ordeal = Ordeal::new();
    let ends = ["seal.after_files:1:abort", "commit.after_write:9:abort", "seal.after_manifest:2:abort", "none"];
    for (generation, end) in ends.into_iter().enumerate() {
        ordeal.follow_script(generation as u64, &[("OFONE_FAIL", end), ("OFONE_BUG", bug)]);
        ordeal.inspect(Scope::All);
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_that_a_crash_shows_are_caught() {
    hunt("none");
    for bug in SHOWN_BY_A_CRASH {
        assert!(std::panic::catch_unwind(|| hunt(bug)).is_err(), "`{bug}` went unnoticed");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_hunted() {
    let hunted = SHOWN_BY_A_CRASH.iter().chain(&["skip-sync", "late-sync", "ignore-gap"]);
    let hunted: BTreeSet<String> = hunted.map(|name| (*name).to_owned()).collect();
    assert_eq!(hunted, named_in_the_sources("fail::bug(\""));
}
