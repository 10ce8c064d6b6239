//! The read path: what did this customer live through, and why is this event there.
//!
//! Everything starts from a [`Snapshot`], which is owned and cheap. A stream is gathered in four
//! steps: follow the links (`topology`), list the homes where events may lie, read those homes in
//! the segments whose times matter, keep what a path held for and put it in order.

mod answer;
mod check;
mod cohort;
mod filter;
mod gather;
mod item;
mod lookup;
mod order;
mod snapshot;
mod stream;
mod traces;
mod why;

pub use answer::{AttributeStats, CheckReport, EntityInfo, Indexed, Links, SourceStats, Stats};
pub use cohort::{
    Bucket, CalendarUnit, CancelToken, Cohort, Explain, ExplainStep, Field, Funnel, FunnelQuery, FunnelStep, Ids,
    SavedCohort, Score, TimelineBucket, TimelineQuery, TopCustomer, TopCustomersQuery, TopQuery, TopRow, WhoQuery,
    Witness, WitnessClause,
};
pub(crate) use cohort::{Draft, remove_cohort, unknown_cohort};
pub use item::{Cursor, StreamItem};
pub use snapshot::{Customers, Snapshot};
pub use stream::{Stream, StreamQuery};
pub use traces::Traces;
pub(crate) use traces::traces;
pub use why::{Path, Why, WhyNot};
