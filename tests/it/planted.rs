//! Bugs that are planted, to see whether the tests notice. Each must be caught by a test that was there for what it
//! breaks: by name here, and in `failpoints.rs` those that a crash shows, in `power.rs` those that a power cut
//! shows. `make faults` builds with what this needs.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use crate::failpoints::{SHOWN_BY_A_CRASH, named_in_the_sources};
use crate::power::SHOWN_BY_A_POWER_CUT;

/// A bug, and the test that fails with it.
const SHOWN: [(&str, &str); 9] = [
    ("admit-erased", "erase::who_was_erased_does_not_come_back_and_what_was_theirs_only_with_something_new"),
    ("ignore-status", "damage::a_flipped_byte_in_a_sealed_file_is_never_another_answer"),
    ("leave-rows", "erase::a_snapshot_of_before_a_merge_finds_by_name_what_retention_removed_after_it"),
    ("list-in-place", "failpoints_copies::a_crash_at_every_place_of_backup_and_restore_leaves_whole_backups"),
    ("retry-sync", "io_errors::a_failed_sync_is_never_acknowledged_and_loses_nothing"),
    ("run-past-prefix", "isolation::no_question_about_one_of_a_thousand_customers_tells_anything_of_another"),
    ("spare-files", "erase::erasures_leave_no_byte_in_any_row_or_file"),
    ("stop-at-damage", "salvage::links_behind_a_damaged_block_come_over"),
    ("trust-backup", "backup::a_damaged_backup_is_refused_with_its_place"),
];

/// Caught by tests of `src/db/tests.rs`.
const SHOWN_FROM_INSIDE: [&str; 2] = ["forget-erasure", "ignore-gap"];

fn run(test: &str, bug: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", test, "--test-threads", "1"]).env("OFONE_BUG", bug);
    // A dozen failing syncs may all miss the log, and three score of flipped bytes the blocks that matter.
    command.env("OFONE_IO_TO", "40").env("OFONE_DAMAGE_ROUNDS", "200");
    command.output().expect("it runs")
}

#[test]
fn planted_bugs_that_a_test_of_what_they_break_shows_are_caught() {
    for (bug, test) in SHOWN {
        let whole = run(test, "none");
        let told = String::from_utf8_lossy(&whole.stdout);
        assert!(whole.status.success() && told.contains("1 passed"), "{test} fails without a bug: {told}");
        assert!(!run(test, bug).status.success(), "`{bug}` went unnoticed by {test}");
    }
}

#[test]
fn every_planted_bug_is_hunted() {
    let shown = SHOWN.iter().map(|(bug, _)| *bug);
    let hunted = shown.chain(SHOWN_BY_A_CRASH).chain(SHOWN_BY_A_POWER_CUT).chain(SHOWN_FROM_INSIDE);
    let hunted: BTreeSet<String> = hunted.map(str::to_owned).collect();
    assert_eq!(hunted, named_in_the_sources("fail::bug(\""));
}
