//! Tests of the database through its public interface.
//!
//! `model.rs` is the naive database that everything is compared with; `model_test.rs` does so over
//! random histories; `crash.rs` kills a writing process again and again; `damage.rs` flips bytes on
//! disk; `live.rs` reads while others write; `api.rs` tells the single promises by example, `cli.rs`
//! those of the command line; `tidy.rs` reads the source. Set `OFONE_MODEL_CASES`,
//! `PROPTEST_RNG_SEED`, `OFONE_CRASH_KILLS`, `OFONE_CRASH_SEED`, `OFONE_DAMAGE_ROUNDS` or
//! `OFONE_LIVE_SECONDS` to look harder or to repeat a run.

mod support;

mod model;

mod model_test;

mod api;

mod cohort;

#[cfg(unix)]
mod crash;

mod damage;

mod live;

#[cfg(feature = "cli")]
mod cli;

mod tidy;

mod corpus;
