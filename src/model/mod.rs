//! Plain values: what a caller hands in and gets back.
//!
//! Nothing here knows bytes, files or RocksDB. Times are nanoseconds since 1970 UTC, windows and
//! validities are half-open `[from, to)`.

mod entity;
mod event;
mod interval;
pub(crate) mod limits;
mod link;
mod outcome;
mod severity;
mod suggest;
mod text;
mod time;
mod value;

pub use entity::Entity;
pub(crate) use event::is_content_hash;
pub use event::{Event, EventName};
pub use interval::{Interval, IntervalSet};
pub use limits::{Limit, Limits};
pub use link::{Link, LinkChange};
pub use outcome::{Outcome, Record, Rejection};
pub use severity::Severity;
pub(crate) use suggest::did_you_mean;
pub use text::Text;
pub use time::{Timestamp, Window};
pub use value::Value;
