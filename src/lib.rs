//! The embedded database for the **experience of one**.
//!
//! A service provider thinks in projects, products and epics; a customer lives one end-to-end
//! experience. ofone takes the feeds of both, development (releases, deploys, price changes) and
//! operations (orders, bills, calls, tickets, alarms, sessions), keeps every event with the service
//! instance it happened to, and stitches them through dated links into one stream per customer.
//!
//! ```
//! # fn main() -> ofone::Result<()> {
//! use ofone::{Batch, Db, Entity, Event, Link, Options, Timestamp};
//! # let directory = std::env::temp_dir().join(format!("ofone-front-{}", std::process::id()));
//! let db = Db::open(&directory, Options::new())?;
//! let (service, olt) = (Entity::new("service", "C42/broadband"), Entity::new("olt", "LON-7"));
//! let mut batch = Batch::new();
//! batch.link(Link::new(Entity::customer("C42"), "uses", service.clone()));
//! batch.link(Link::new(service, "fed_by", olt.clone()));
//! batch.event(Event::new("2026-01-05T09:13:00Z".parse::<Timestamp>()?, "nms", "alarm.raised").subject(olt));
//! db.writer().commit(batch)?; // atomic, and on the disk when this returns
//!
//! for item in db.snapshot().stream("C42").run()? {
//!     let item = item?;
//!     println!("{} {} through {:?}", item.event.time, item.event.kind, item.paths()?);
//! }
//! # drop(db);
//! # std::fs::remove_dir_all(directory).ok();
//! # Ok(())
//! # }
//! ```
//!
//! # The types
//!
//! * [`Db`] is an open store: [`Db::writer`], [`Db::snapshot`], [`Db::flush`], [`Db::check`],
//!   [`Db::retain`], [`Db::erase`], [`Db::promote`]. One process opens a store; any number of threads use it.
//!   [`Db::look`] reads beside it from others.
//! * [`Writer`] commits [`Batch`]es of [`Event`]s and link statements ([`Link`], [`LinkChange`]); a
//!   [`Receipt`] has one [`Outcome`] a record.
//! * [`Snapshot`] is the store as of one commit, owned and cheap. [`Snapshot::stream`] asks for what a
//!   customer lived through, [`Snapshot::why`] for the links by which an event is in it or for what
//!   stands in the way, [`Snapshot::links`] for what depends on what.
//! * [`Snapshot::who`] asks which customers an [`Expr`] means and gives a [`Cohort`]: an exact set, which
//!   can be counted, listed, combined and saved. [`Snapshot::witness`] tells why one customer is in it;
//!   [`Snapshot::timeline`], [`Snapshot::top`], [`Snapshot::top_customers`] and [`Snapshot::funnel`] count.
//! * [`Db::health`] tells whether all is well, [`Db::metrics`] what was done, [`Db::recovery`] what opening
//!   found; [`Db::reopen`] is the way back after a failed write.
//! * [`backup`] copies stores while they are written, and restores them; [`Db::restore_erased`] also erases whoever
//!   was erased since. [`salvage()`] makes a new store of what can still be read of a damaged one.
//! * [`import`] turns NDJSON, CSV and foreign logs into records; [`export`] writes answers.
//!
//! # What it does not do
//!
//! No server and no network.
//!
//! # Features
//!
//! * `cli` (default): the command line tool `ofone`. Switch it off to link the library alone.

// In reading order, floor above floor: a module uses those above it in this list.

mod error;
mod fail;
mod model;

mod codec;
mod expr;
pub mod import;

mod store;

mod dictionary;
mod topology;

mod index;

mod segment;

pub mod backup;
mod ingest;
mod query;

mod db;
pub mod export;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

mod salvage;

pub use db::{Db, Durability, Options, Writer};
pub use error::{Error, ErrorKind, Result};
pub use expr::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};
pub use ingest::{
    Batch, CacheMetrics, ErasureReceipt, Health, HealthState, Metrics, Pending, Receipt, Recovery, Retained, Retention,
};
pub use model::{
    Entity, Event, EventName, Interval, IntervalSet, Limit, Limits, Link, LinkChange, Outcome, Record, Rejection,
    Severity, Text, Timestamp, Value, Window,
};
pub use query::{
    AttributeStats, Bucket, CalendarUnit, CancelToken, CheckReport, Cohort, Cursor, Customers, EntityInfo, Explain,
    ExplainStep, Field, Funnel, FunnelQuery, FunnelStep, Ids, Indexed, Links, Path, SavedCohort, Score, Snapshot,
    SourceStats, Stats, Stream, StreamItem, StreamQuery, TimelineBucket, TimelineQuery, TopCustomer, TopCustomersQuery,
    TopQuery, TopRow, Traces, WhoQuery, Why, WhyNot, Witness, WitnessClause,
};
pub use salvage::{SalvageOptions, SalvageReport, Salvaged, salvage};
