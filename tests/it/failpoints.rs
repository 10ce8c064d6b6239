//! The store fails or dies at every named place of `src/` that writing passes, and once more while it recovers.
//!
//! `make faults` builds with the features that this needs; see `src/fail.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::failpoints_copies;
use crate::ordeal::{DOOMED, Ordeal, Scope};
use crate::support::setting;

/// The places, and whether a life that follows another's crash is needed to pass one.
const POINTS: [(&str, bool); 31] = [
    ("bury.after_rows", false),
    ("bury.before_manifest", false),
    ("bury.before_rows", false),
    ("commit.after_publish", false),
    ("commit.after_write", false),
    ("commit.before_write", false),
    ("drop.after_files", false),
    ("erase.after_ledger", false),
    ("erase.after_publication", false),
    ("erase.before_end", false),
    ("erase.before_publication", false),
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
    ("retain.after_manifest", false),
    ("retain.before_manifest", false),
    ("seal.after_files", false),
    ("seal.after_ingest", false),
    ("seal.after_manifest", false),
    ("seal.before_files", false),
    ("seal.before_manifest", false),
];

/// Crashes that leave something for the next open to do.
const UNTIDY: [&str; 5] = [
    "ingest.between_families:1:abort",
    "merge.after_manifest:1:abort",
    "seal.after_ingest:2:abort",
    "bury.after_rows:1:abort",
    "erase.before_publication:1:abort",
];

/// What stands in quotation marks after `call` in the sources.
pub(crate) fn named_in_the_sources(call: &str) -> BTreeSet<String> {
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
    let copies = failpoints_copies::POINTS.iter().map(|(name, _)| *name);
    let listed: BTreeSet<String> = POINTS.iter().map(|(name, _)| *name).chain(copies).map(str::to_owned).collect();
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
            let told = ordeal.follow_script(generation, &[("OFONE_FAIL", fail), DOOMED]);
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

#[test]
fn a_panic_of_a_thread_of_the_store_is_told_and_loses_nothing() {
    let places = [
        "commit.before_write:7",
        "commit.after_write:5",
        "seal.before_files:1",
        "seal.after_ingest:2",
        "merge.before_manifest:1",
        "bury.after_rows:1",
    ];
    let mut ordeal = Ordeal::new();
    for (generation, place) in places.into_iter().enumerate() {
        let fail = format!("{place}:panic");
        let told = ordeal.follow_script(generation as u64, &[("OFONE_FAIL", &fail), DOOMED]);
        let error = told.error.unwrap_or_else(|| panic!("{fail} went unnoticed: {}", told.noise));
        assert!(error.starts_with("Poisoned"), "{fail}: {error}");
        ordeal.inspect(Scope::New);
    }
    ordeal.inspect(Scope::All);
}

#[test]
fn an_erasure_waits_for_rows_to_be_dropped_however_late_they_are() {
    let mut ordeal = Ordeal::new();
    let told = ordeal.follow_script(0, &[("OFONE_FAIL", "bury.before_rows:1:late"), DOOMED]);
    assert_eq!(told.error, None, "{}", told.noise);
    assert!(told.noise.contains("is passed"), "{}", told.noise);
    ordeal.inspect(Scope::All);
}

/// Counts of a long run.
#[derive(Default)]
struct Counts {
    lives: u64,
    acknowledged: u64,
    /// How many strikes followed upon none, one and two others, each while recovering from the one before.
    struck: [u64; 3],
    /// Strikes whose place was not passed.
    missed: u64,
}

impl Counts {
    /// A life of the store that does as told. Whether it was struck.
    fn live(&mut self, ordeal: &mut Ordeal, generation: u64, fail: &str, more: (&str, &str)) -> bool {
        self.lives += 1;
        let told = ordeal.follow_script(generation, &[("OFONE_FAIL", fail), more]);
        self.acknowledged += told.acknowledged;
        let is_struck = told.noise.contains("is passed");
        assert_eq!(told.aborted, is_struck && fail.ends_with("abort"), "{fail}: {}", told.noise);
        let place = fail.split(':').next().expect("a first part");
        match told.error {
            Some(error) => assert!(is_struck && error.contains(place), "{fail}: {error}"),
            None => assert!(told.aborted || !is_struck, "{fail} went unnoticed"),
        }
        is_struck
    }

    /// Has a twin of the store recover, and tells what it passed; what it came to is judged.
    fn passed(&mut self, ordeal: &Ordeal) -> Vec<String> {
        self.lives += 1;
        let mut twin = ordeal.twin();
        let told = twin.follow_script(RECOVERING, &[("OFONE_FAIL", "tell"), ONLY_RECOVERS]);
        assert_eq!(told.error, None, "{}", told.noise);
        twin.inspect(Scope::All);
        let passed = |line: &str| Some(line.strip_prefix("failpoint ")?.strip_suffix(" is met")?.to_owned());
        told.noise.lines().filter_map(passed).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Strikes a twin of the store while it recovers, if it passes the place.
    fn again(&mut self, ordeal: &Ordeal, place: &str, act: &str, depth: usize) -> Option<Ordeal> {
        let mut twin = ordeal.twin();
        let is_struck = self.live(&mut twin, RECOVERING, &format!("{place}:1:{act}"), ONLY_RECOVERS);
        self.struck[depth] += u64::from(is_struck);
        self.missed += u64::from(!is_struck);
        is_struck.then_some(twin)
    }
}

/// The life of processes that only recover. An even number: it syncs.
const RECOVERING: u64 = 1 << 20;
const ONLY_RECOVERS: (&str, &str) = ("OFONE_CHILD_ROUNDS", "0");

/// Every place; then, each on a copy of what that left, every place that recovery passes; and then the same
/// once more. After each a look. `OFONE_FAULTS_SHARE` of `OFONE_FAULTS_SHARES` has some of the places; shares
/// beyond those strike at later passes.
fn strike_thrice(act: &str) {
    let (share, shares): (usize, usize) = (setting("OFONE_FAULTS_SHARE", 0), setting("OFONE_FAULTS_SHARES", 1));
    let pass = 1 + share / shares;
    let mut counts = Counts::default();
    for (number, (place, after_a_crash)) in POINTS.into_iter().enumerate() {
        if number % shares != share % shares {
            continue;
        }
        let mut ordeal = Ordeal::new();
        let generation = (number + pass) as u64 % 2;
        counts.live(&mut ordeal, generation, "none", DOOMED);
        if after_a_crash {
            counts.live(&mut ordeal, generation + 1, UNTIDY[(number + pass) % UNTIDY.len()], DOOMED);
        }
        let is_struck = counts.live(&mut ordeal, generation + 2, &format!("{place}:{pass}:{act}"), DOOMED);
        counts.struck[0] += u64::from(is_struck);
        counts.missed += u64::from(!is_struck);
        // Some places are passed once in a life.
        if !is_struck {
            continue;
        }
        for second in counts.passed(&ordeal) {
            let Some(twice) = counts.again(&ordeal, &second, act, 1) else { continue };
            for third in counts.passed(&twice) {
                if let Some(mut thrice) = counts.again(&twice, &third, act, 2) {
                    thrice.inspect(Scope::All);
                }
            }
        }
    }
    let Counts { lives, acknowledged, struck: [once, twice, thrice], missed } = counts;
    eprintln!(
        "{once} struck with {act} once, {twice} twice, {thrice} thrice, {missed} not passed, in {lives} lives; \
         {acknowledged} batches acknowledged"
    );
    assert!(pass > 1 || once > 0, "some place is passed");
    assert!(twice >= once && thrice >= twice, "recovery passes places");
}

#[test]
#[ignore = "a quarter of an hour; make soak-faults"]
fn crashes_at_every_place_and_twice_while_recovering_lose_nothing() {
    strike_thrice("abort");
}

#[test]
#[ignore = "a quarter of an hour; make soak-faults"]
fn errors_at_every_place_and_twice_while_recovering_lose_nothing() {
    strike_thrice("error");
}

/// Bugs that show after a crash of the process; `planted.rs` has the others.
#[cfg(feature = "planted-bugs")]
pub(crate) const SHOWN_BY_A_CRASH: [&str; 6] =
    ["double-replay", "lose-chunk", "merge-loses-event", "skip-trim", "trim-apart", "trim-before-ingest"];

/// A few lives with a planted bug, each with a look after it.
#[cfg(feature = "planted-bugs")]
fn hunt(bug: &str) {
    let mut ordeal = Ordeal::new();
    let ends = [
        "seal.after_files:1:abort",
        "commit.after_write:9:abort",
        "seal.after_manifest:2:abort",
        "erase.before_publication:1:abort",
        "none",
    ];
    for (generation, end) in ends.into_iter().enumerate() {
        let told = ordeal.follow_script(generation as u64, &[("OFONE_FAIL", end), ("OFONE_BUG", bug), DOOMED]);
        assert_eq!(told.error, None);
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
