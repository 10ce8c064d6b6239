//! Links over time: from statements to validities, from a customer to everything it depends on,
//! and from there the paths that tell why.
//!
//! Works on entity numbers and on whatever [`Facts`] answers; knows neither RocksDB nor events.
//!
//! Invariant: statements commute. The links known depend on the set of statements alone, never on
//! the order of their arrival.

mod dependents;
mod facts;
mod fanout;
mod links;
mod paths;
mod reach;

pub(crate) use dependents::{Dependents, DependentsCache, dependents, private, put_suspect, suspects};
pub(crate) use facts::{Edge, Facts, effective};
pub(crate) use fanout::{
    Degrees, Slot, count_links, decode_degree, delete_degrees, delete_quarantined, load_quarantined, put_quarantined,
    put_quarantined_count, quarantined,
};
pub(crate) use links::{LinkCache, LinkView, Outgoing, Placement, decode_row, encode_value};
pub(crate) use paths::{NumberPath, minimal, paths};
pub(crate) use reach::{Reach, reach};
