//! Tests of the database through its public interface.
//!
//! * `model.rs` is the naive database that everything is compared with; `model_test.rs` does so over random
//!   histories. `cohort_model.rs`, `cohort_counts.rs` and `cohort_witness.rs` answer naively about sets of
//!   customers, `cohort_test.rs` and `cohort_count_test.rs` compare that over the questions of
//!   `cohort_exprs.rs`; `clickhouse_cases.rs` asks what others tested.
//! * `isolation.rs` asks about each of a thousand customers whose records are mixed.
//! * `index_plan.rs` holds the index against reading, over the world of `index_world.rs`.
//! * `ordeal.rs` has a process that writes and an oracle: `crash.rs` kills it again and again, `power.rs` cuts
//!   its power and `io_errors.rs` has its writes fail, both through `shim.rs`; `full_disk.rs` fills its disk,
//!   `failpoints.rs` and `failpoints_copies.rs` strike at every named place (with the features of `make faults`).
//! * `damage.rs` flips bytes on disk, `damage_sweep.rs` does worse to every file.
//! * `directory.rs` is about whose a store is and who has it open, `write_errors.rs` about full disks and other
//!   failed writes, `fixture.rs` about a store of an earlier build.
//! * `erase.rs` erases and trims; `backup.rs` copies, `salvage.rs` makes new stores of damaged ones.
//! * `live.rs` reads while others write, `live_view.rs` from another process.
//! * `mixed.rs` does everything at once.
//! * `limits.rs` holds what `Limits::list` tells against what is kept, `fanout.rs` is about links beyond them;
//!   `observe.rs` is about numbers and spans; `api.rs` and `cohort.rs` tell the single promises by example,
//!   `cli.rs` and `cli_cohorts.rs` those of the command line, `cli_escapes.rs` with hostile texts.
//! * `tidy.rs` reads the source.
//!
//! To look harder or to repeat a run set `OFONE_MODEL_CASES`, `OFONE_FANOUT_CASES`, `PROPTEST_RNG_SEED`,
//! `OFONE_CRASH_KILLS`, `OFONE_CRASH_SEED`, `OFONE_LARGE_BATCH`, `OFONE_ERASE_KILLS`, `OFONE_BACKUP_KILLS`,
//! `OFONE_ERASURES`, `OFONE_ERASE_SEED`, `OFONE_SALVAGE_ROUNDS`, `OFONE_POWER_STATES`, `OFONE_POWER_SEED`,
//! `OFONE_IO_FROM`, `OFONE_IO_TO`, `OFONE_FULL_CYCLES`, `OFONE_FULL_SEED`, `OFONE_FAIL_PASSES`,
//! `OFONE_DAMAGE_ROUNDS`, `OFONE_DAMAGE_FIRST`, `OFONE_DAMAGE_CASES`, `OFONE_LIVE_SECONDS`, `OFONE_MIXED_SECONDS`
//! or `OFONE_MIXED_SEED`, and `OFONE_VECTORS` to say where the cases of others lie.

mod support;

mod model;

mod model_test;

mod cohort_model;

mod cohort_counts;

mod cohort_witness;

mod cohort_exprs;

mod cohort_test;

mod cohort_count_test;

mod clickhouse_cases;

mod api;

mod cohort;

mod isolation;

mod index_plan;

mod index_world;

mod ordeal;

mod crash;

mod shim;

mod power;

mod io_errors;

#[cfg(target_os = "linux")]
mod full_disk;

#[cfg(feature = "failpoints")]
mod failpoints;

#[cfg(feature = "failpoints")]
mod failpoints_copies;

#[cfg(all(feature = "failpoints", feature = "planted-bugs"))]
mod planted;

mod damage;

mod damage_sweep;

mod directory;

mod limits;

mod fanout;

mod erase;
mod salvage;
mod write_errors;

mod backup;

mod live;

mod mixed;

mod fixture;
mod live_view;

mod observe;

#[cfg(feature = "cli")]
mod cli;

#[cfg(feature = "cli")]
mod cli_cohorts;

#[cfg(feature = "cli")]
mod cli_escapes;

mod tidy;

mod corpus;
