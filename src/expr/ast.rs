//! What can be asked about sets of customers, as plain values.

use crate::model::{Entity, Severity, Text, Timestamp};

/// A set of customers: everything that can be asked about who lived through what.
///
/// Text form and exact meaning are in `docs/query.md`; [`std::str::FromStr`] reads it,
/// [`std::fmt::Display`] writes it, and the two are inverse.
///
/// ```
/// use ofone::{Expr, Period, Predicate, Severity};
/// let dropped = Predicate::kind("call.dropped").and(Predicate::severity_at_least(Severity::ERROR));
/// let churned = Predicate::kind("contract.cancelled");
/// let expr = Expr::did(dropped).at_least(3).during(Period::last_days(7)).minus(Expr::did(churned));
/// let text = "did(kind = call.dropped and severity >= 17, n >= 3, -7d) minus did(kind = contract.cancelled)";
/// assert_eq!(expr.to_string(), text);
/// assert_eq!(text.parse::<Expr>()?, expr);
/// # Ok::<(), ofone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Expr {
    /// Every customer that the store knows: `all`.
    All,
    /// Those with at least so many events: `did(P, n >= 3, -7d)`.
    Did(Did),
    /// Those with events one after the other: `seq(P1 -> P2, within 48h)`.
    Seq(Seq),
    /// Those with a path to an entity at some instant: `reach(olt:LON-7, -7d)`.
    Reach(Entity, Period),
    /// These customers, by id: `customers(C1, C2)`. Unknown ones are passed over.
    Customers(Vec<Text>),
    /// A set saved under a name: `cohort(name)`.
    Cohort(Text),
    /// Those in all of these; all customers when empty.
    And(Vec<Expr>),
    /// Those in any of these; none when empty.
    Or(Vec<Expr>),
    /// The customers of the store that are not in this.
    Not(Box<Expr>),
    /// Those in the first and not in the second.
    Minus(Box<Expr>, Box<Expr>),
}

/// At least `at_least` events of the customer's stream that each satisfy `what`, in the window.
///
/// An event counts when it is in the stream of that window: at its time, or for one that lasts while
/// it was felt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Did {
    /// What each event must satisfy.
    pub what: Predicate,
    /// How many at least; 1 or more.
    pub at_least: u32,
    /// When.
    pub window: Period,
}

/// Different events of one stream, each step not before the one before it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Seq {
    /// The steps, at least one.
    pub steps: Vec<Step>,
    /// Nanoseconds from the first step's event to the last one's, at most; inclusive.
    pub within: Option<i64>,
    /// The first step's event has its time in here; later steps are not bound by it.
    pub window: Period,
    /// How events at one instant are ordered.
    pub ties: Ties,
}

/// One step of a sequence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What its event must satisfy.
    pub what: Predicate,
    /// Nanoseconds from the event of the step before, at most; inclusive. Nothing on a first step.
    pub within: Option<i64>,
    /// Between the event of the step before and this one there is none that satisfies one of these.
    /// Nothing on a first step.
    pub without: Vec<Predicate>,
}

/// The order of events at one instant, in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ties {
    /// Unknown: either may come first.
    #[default]
    Any,
    /// The total order of streams decides.
    Seq,
    /// None: a later step is strictly later.
    None,
}

/// What one event is like.
///
/// A comparison with a field that the event does not have is false; `!=` is `not (... = ...)`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Predicate {
    /// Holds for every event: `any`.
    Any,
    /// `kind = call.dropped`, `kind ~ "call.*"`.
    Kind(TextTest),
    /// `layer = network`.
    Layer(TextTest),
    /// `source = crm`.
    Source(TextTest),
    /// `severity >= 17`; an event without severity satisfies none, `severity = 0` finds those.
    Severity(Comparison, Severity),
    /// `value < 0.5`.
    Value(Comparison, f64),
    /// `attr.cause = timeout`: the attribute reads so, numbers as they are written.
    Attribute(Text, TextTest),
    /// `attr.retries > 3`: the attribute is a number and compares so.
    AttributeNumber(Text, Comparison, f64),
    /// `has attr.cause`: the attribute is there.
    HasAttribute(Text),
    /// `on = olt:LON-7`: a subject is such an entity. The text is `type:id`.
    On(TextTest),
    /// `with = cell:LON-17`: a context entity is.
    With(TextTest),
    /// `about = cell:LON-17`: a subject or a context entity is.
    About(TextTest),
    /// All hold; true when empty.
    And(Vec<Predicate>),
    /// Any holds; false when empty.
    Or(Vec<Predicate>),
    /// Does not hold.
    Not(Box<Predicate>),
}

/// How a text must be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TextTest {
    /// Exactly this: `= x`.
    Is(Text),
    /// Fits the pattern, in which `*` stands for any run of characters: `~ "x*"`.
    Like(Text),
    /// One of these: `in (x, y)`.
    OneOf(Vec<Text>),
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

/// A window whose ends may be relative to the instant at which the question is asked; half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Period {
    /// Its first instant; open when absent.
    pub from: Option<Moment>,
    /// The first instant after it; open when absent.
    pub to: Option<Moment>,
}

/// An instant, or one relative to *now*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// This instant.
    At(Timestamp),
    /// So many nanoseconds before now; 0 is now.
    Ago(i64),
}
