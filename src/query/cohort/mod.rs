//! Sets of customers: who lived through this.
//!
//! A question is bound to a snapshot once ([`question`]): entities and words become numbers, moments
//! instants, predicates [`judge`]s that know what each shape of event can be. [`person`] then decides
//! one customer by reading what that needs, and [`scan`] decides many on several threads. That is the
//! plan that is always there and always exact; any other must give the same answers.
//!
//! Counting questions (timeline, top) look at events and at customers apart: [`walk`] meets each event
//! of the store once, [`tally`] joins the two counts.

mod bucket;
mod effort;
mod explain;
mod funnel;
mod judge;
mod needs;
mod person;
mod plan;
mod question;
mod reader;
mod saved;
mod scan;
mod scope;
mod sequence;
mod set;
mod tally;
mod timeline;
mod top;
mod walk;
mod who;
mod witness;

pub use bucket::{Bucket, CalendarUnit};
pub use effort::CancelToken;
pub use explain::{Explain, ExplainStep};
pub use funnel::{Funnel, FunnelQuery, FunnelStep};
pub use saved::SavedCohort;
pub(crate) use saved::{Draft, check as check_saved, remove as remove_cohort, unknown as unknown_cohort};
pub use set::{Cohort, Ids};
pub use timeline::{TimelineBucket, TimelineQuery};
pub use top::{Field, Score, TopCustomer, TopCustomersQuery, TopQuery, TopRow};
pub use who::WhoQuery;
pub use witness::{Witness, WitnessClause};

use crate::error::Result;
use crate::expr::{Expr, Predicate};
use crate::model::{Text, Timestamp};
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

    /// Why the customer of this id is in the set of an expression: the events that make it so, clause by
    /// clause, or else the clause that fails. Relative moments count from the wall clock.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Db, Entity, Event, Expr, Options, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-witness-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let mut batch = Batch::new();
    /// batch.event(Event::new(Timestamp::from_secs(60), "crm", "order.placed").subject(Entity::customer("C1")));
    /// db.writer().commit(batch)?;
    ///
    /// let ordered: Expr = "did(kind = order.placed) and not did(kind = order.cancelled)".parse()?;
    /// let witness = db.snapshot().witness("C1", &ordered)?;
    /// assert!(witness.member);
    /// assert_eq!(witness.clauses[0].events[0].event.kind, "order.placed");
    /// assert_eq!(witness.clauses[1].clause, "not did(kind = order.cancelled)");
    /// # drop((db, witness));
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the store knows no such customer, or no cohort that the expression names;
    /// `Invalid` as [`WhoQuery::run`]; errors of the store.
    pub fn witness(&self, customer: impl Into<Text>, expr: &Expr) -> Result<Witness> {
        self.witness_at(customer, expr, who::wall_clock())
    }

    /// As [`Snapshot::witness`], with relative moments counted from `now`.
    pub fn witness_at(&self, customer: impl Into<Text>, expr: &Expr, now: Timestamp) -> Result<Witness> {
        witness::witness(self, &customer.into(), expr, now)
    }

    /// Asks how many events satisfy `what`, and how many customers lived through one, over time.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Bucket, Db, Entity, Event, Options, Predicate, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-timeline-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let mut batch = Batch::new();
    /// for (second, id) in [(1, "C1"), (2, "C1"), (130, "C2")] {
    ///     batch.event(Event::new(Timestamp::from_secs(second), "ran", "call.dropped").subject(Entity::customer(id)));
    /// }
    /// db.writer().commit(batch)?;
    ///
    /// let minutes = Bucket::Length(60_000_000_000);
    /// let rows = db.snapshot().timeline(Predicate::kind("call.dropped")).every(minutes).run()?;
    /// let counts: Vec<(u64, u64)> = rows.iter().map(|row| (row.events, row.customers)).collect();
    /// assert_eq!(counts, [(2, 1), (0, 0), (1, 1)]);
    /// # drop(db);
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeline(&self, what: Predicate) -> TimelineQuery {
        TimelineQuery::new(self.clone(), what)
    }

    /// Asks for the most frequent values of a field among the events that satisfy `what`.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Db, Entity, Event, Field, Options, Predicate, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-top-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let mut batch = Batch::new();
    /// for (second, kind) in [(1, "call.dropped"), (2, "call.dropped"), (3, "call.ended")] {
    ///     batch.event(Event::new(Timestamp::from_secs(second), "ran", kind).subject(Entity::customer("C1")));
    /// }
    /// db.writer().commit(batch)?;
    ///
    /// let rows = db.snapshot().top(Field::Kind, Predicate::Any).limit(1).run()?;
    /// assert_eq!((rows[0].value.as_str(), rows[0].events, rows[0].customers), ("call.dropped", 2, 1));
    /// # drop(db);
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn top(&self, field: Field, what: Predicate) -> TopQuery {
        TopQuery::new(self.clone(), field, what)
    }

    /// Asks for all values of a field among the events that satisfy `what`, in their order.
    pub fn group_by(&self, field: Field, what: Predicate) -> TopQuery {
        self.top(field, what).all()
    }

    /// Asks for the customers whose events that satisfy `what` add up to the highest score.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Db, Entity, Event, Options, Predicate, Score, Severity, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-worst-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let event = |second, id| Event::new(Timestamp::from_secs(second), "ran", "call").subject(Entity::customer(id));
    /// let mut batch = Batch::new();
    /// batch.event(event(1, "C1").severity(Severity::INFO));
    /// batch.event(event(2, "C1").severity(Severity::INFO));
    /// batch.event(event(3, "C2").severity(Severity::ERROR));
    /// db.writer().commit(batch)?;
    ///
    /// let rows = db.snapshot().top_customers(Predicate::Any, Score::SeveritySquared).run()?;
    /// assert_eq!((rows[0].customer.as_str(), rows[0].score), ("C2", 17 * 17));
    /// # drop(db);
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn top_customers(&self, what: Predicate, score: Score) -> TopCustomersQuery {
        TopCustomersQuery::new(self.clone(), what, score)
    }

    /// Asks how far customers get in a row of steps.
    ///
    /// ```
    /// # fn main() -> ofone::Result<()> {
    /// use ofone::{Batch, Db, Entity, Event, Options, Predicate, Timestamp};
    /// # let directory = std::env::temp_dir().join(format!("ofone-funnel-{}", std::process::id()));
    /// let db = Db::open(&directory, Options::new())?;
    /// let mut batch = Batch::new();
    /// for (second, kind, id) in [(1, "order", "C1"), (5, "install", "C1"), (2, "order", "C2")] {
    ///     batch.event(Event::new(Timestamp::from_secs(second), "crm", kind).subject(Entity::customer(id)));
    /// }
    /// db.writer().commit(batch)?;
    ///
    /// let steps = vec![Predicate::kind("order"), Predicate::kind("install")];
    /// let funnel = db.snapshot().funnel(steps).within(10_000_000_000).run()?;
    /// assert_eq!((funnel.steps[0].customers, funnel.steps[1].customers), (2, 1));
    /// assert_eq!(funnel.steps[1].p50_nanos, Some(4_000_000_000));
    /// assert_eq!(funnel.customers(1).ids().collect::<ofone::Result<Vec<_>>>()?, ["C1"]);
    /// # drop((db, funnel));
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn funnel(&self, steps: Vec<Predicate>) -> FunnelQuery {
        FunnelQuery::new(self.clone(), steps)
    }

    /// The cohorts that are saved, by name.
    pub fn cohorts(&self) -> Result<Vec<SavedCohort>> {
        saved::all(self)
    }
}
