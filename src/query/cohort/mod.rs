//! Sets of customers: who lived through this.
//!
//! A question is bound to a snapshot once ([`question`]): entities and words become numbers, moments
//! instants, predicates [`judge`]s that know what each shape of event can be. [`person`] then decides
//! one customer by reading what that needs, and [`scan`] decides many on several threads. That is the
//! plan that is always there and always exact; any other must give the same answers.
//!
//! Counting questions (timeline, top) look at events and at customers apart: [`walk`] meets each event
//! of the store once, [`tally`] joins the two counts.

mod effort;
mod explain;
mod judge;
mod needs;
mod person;
mod question;
mod reader;
mod saved;
mod scan;
mod sequence;
mod set;
mod who;

pub use effort::CancelToken;
pub use explain::{Explain, ExplainStep};
pub use saved::SavedCohort;
pub(crate) use saved::{put as put_cohort, remove as remove_cohort, unknown as unknown_cohort};
pub use set::{Cohort, Ids};
pub use who::WhoQuery;

use crate::error::Result;
use crate::expr::Expr;
use crate::query::snapshot::Snapshot;

impl Snapshot {
    /// Asks which customers an expression means.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Db, Entity, Event, Expr, Link, Options, Predicate, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-who-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let olt = Entity::new("olt", "LON-7");
    /// let mut batch = Batch::new();
    /// batch.link(Link::new(Entity::customer("C1"), "fed_by", olt.clone()));
    /// batch.link(Link::new(Entity::customer("C2"), "fed_by", Entity::new("olt", "LON-8")));
    /// batch.event(Event::new(Timestamp::from_secs(60), "nms", "alarm.raised").subject(olt));
    /// db.writer().commit(batch)?;
    ///
    /// let snapshot = db.snapshot();
    /// let felt = snapshot.who(Expr::did(Predicate::kind("alarm.raised"))).run()?;
    /// assert_eq!(felt.ids().collect::<ofone::Result<Vec<_>>>()?, ["C1"]);
    /// # drop((db, snapshot, felt));
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn who(&self, expr: impl Into<Expr>) -> WhoQuery {
        WhoQuery::new(self.clone(), expr.into())
    }

    /// The cohorts that are saved, by name.
    pub fn cohorts(&self) -> Result<Vec<SavedCohort>> {
        saved::all(self)
    }
}
