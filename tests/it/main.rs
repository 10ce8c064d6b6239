//! Tests of the database through its public interface.
//!
//! `model.rs` is the naive database that everything is compared with; `model_test.rs` does so over
//! random histories; `crash.rs` kills a writing process again and again; `api.rs` tells the single
//! promises by example. Set `OFONE_MODEL_CASES`, `PROPTEST_RNG_SEED`, `OFONE_CRASH_KILLS` or
//! `OFONE_CRASH_SEED` to look harder or to repeat a run.

mod support;

mod model;

mod model_test;

mod api;

#[cfg(unix)]
mod crash;
