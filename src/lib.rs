//! The embedded database for the **experience of one**: every feed of a service provider, kept per
//! service instance and stitched through dated links into one stream per customer.
//!
//! [`Db`] is the store, [`Writer`] commits [`Batch`]es of [`Event`]s and [`Link`]s, [`Snapshot`]
//! answers: [`Snapshot::stream`] gives what one customer lived through, [`Snapshot::why`] the chain
//! of links by which an event is in it.

mod error;
mod model;

mod codec;
pub mod import;

mod store;

mod dictionary;
mod topology;

mod segment;

mod ingest;
mod query;

mod db;
pub mod export;

pub use db::{Db, Durability, Options, Writer};
pub use error::{Error, ErrorKind, Result};
pub use ingest::{Batch, Pending, Receipt};
pub use model::{
    Entity, Event, EventName, Interval, IntervalSet, Limits, Link, LinkChange, Outcome, Record, Rejection, Severity,
    Text, Timestamp, Value, Window,
};
pub use query::{
    CheckReport, Cursor, Customers, EntityInfo, Links, Path, Snapshot, SourceStats, Stats, Stream, StreamItem,
    StreamQuery, Why, WhyNot,
};
