//! Writes and syncs of a store's files that fail, one after the other, once or from then on.

use crate::ordeal::{DOOMED, Ordeal, Scope};
use crate::shim::{library, skipped};
use crate::support::setting;

const EIO: u32 = 5;
const ENOSPC: u32 = 28;
/// Failures that one store goes through.
const LIVES_PER_STORE: u64 = 20;

fn fail_each(what: &str) {
    let Some(library) = library() else {
        return skipped("failing writes and syncs", "there is no C compiler, or this is not Linux");
    };
    let (from, to): (u64, u64) = (setting("OFONE_IO_FROM", 1), setting("OFONE_IO_TO", 50));
    let library = library.to_str().expect("a plain path");
    let mut ordeal = Ordeal::new();
    let (mut lives, mut failed, mut told, mut acknowledged, mut put_back) = (0u64, 0, 0, 0, 0);
    for nth in from..=to {
        let whens = if nth % 2 == 0 { ["once", "on"] } else { ["on", "once"] };
        for (cause, when) in [EIO, ENOSPC].into_iter().zip(whens) {
            lives += 1;
            let fail = format!("{what}:{nth}:{cause}:{when}");
            let store = ordeal.directory().to_str().expect("a plain path").to_owned();
            // Long enough that the n-th is met. One writer: what it reports after a failure was acknowledged after it.
            let batches = (6 + nth / 12).to_string();
            let life = ordeal.follow_script(
                lives,
                &[
                    ("LD_PRELOAD", library),
                    ("OFONE_SHIM_DIR", &store),
                    ("OFONE_SHIM_FAIL", &fail),
                    ("OFONE_CHILD_WRITERS", "1"),
                    ("OFONE_CHILD_BATCHES", &batches),
                    DOOMED,
                ],
            );
            acknowledged += life.acknowledged;
            failed += u64::from(life.noise.contains("shim: fails"));
            told += u64::from(life.error.is_some());
            // A sync for the sake of a seal may fail between a commit and its report; where commits do not sync,
            // another may follow before RocksDB knows.
            let late = life.noise.matches("shim: acknowledged after a failure").count();
            let syncs = lives % 2 == 0;
            assert!(late <= 1 || !syncs, "{fail}: acknowledged after a failed log: {}", life.noise);
            let of_the_log = life.noise.lines().any(|line| line.starts_with("shim: fails") && line.ends_with(".log"));
            assert!(life.error.is_some() || !of_the_log, "{fail} of the log is not told: {}", life.noise);
            if let Some(error) = life.error.filter(|_| cause == ENOSPC && when == "on") {
                assert!(error.starts_with("DiskFull") || error.starts_with("Poisoned"), "{fail}: {error}");
                assert!(error.contains("disk full"), "{fail}: another cause is told: {error}");
            }
            let problems = ordeal.problems(Scope::New);
            assert_eq!(problems, Vec::<String>::new(), "after {fail}: {}", life.noise);
            if lives.is_multiple_of(LIVES_PER_STORE) {
                ordeal.inspect(Scope::All);
                put_back += ordeal.put_back;
                ordeal = Ordeal::new();
            }
        }
    }
    ordeal.inspect(Scope::All);
    put_back += ordeal.put_back;
    eprintln!("{what}: {failed} of {lives} lives had a failure, {told} told it; {acknowledged} batches acknowledged");
    eprintln!("files put back that RocksDB had removed: {put_back}");
    assert!(failed * 2 > lives, "most lives are long enough");
}

#[test]
fn a_failed_write_is_never_acknowledged_and_loses_nothing() {
    fail_each("write");
}

#[test]
fn a_failed_sync_is_never_acknowledged_and_loses_nothing() {
    fail_each("sync");
}
