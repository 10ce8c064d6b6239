//! Expressions written in Rust: the same power as the text.

use std::ops::Range;
use std::time::Duration;

use crate::expr::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};
use crate::model::{Entity, Severity, Text, Timestamp, Window};

impl Expr {
    /// Those with an event that satisfies `what`, at any time; [`Did::at_least`] and [`Did::during`]
    /// ask for more.
    pub fn did(what: Predicate) -> Did {
        Did { what, at_least: 1, window: Period::all() }
    }

    /// Those with events that satisfy these, one after the other; more steps by [`Seq::then`].
    pub fn seq<S: Into<Step>>(steps: impl IntoIterator<Item = S>) -> Seq {
        let steps = steps.into_iter().map(Into::into).collect();
        Seq { steps, within: None, window: Period::all(), ties: Ties::Any }
    }

    /// Those with a path to `entity` at some instant of the window.
    pub fn reach(entity: Entity, window: impl Into<Period>) -> Expr {
        Expr::Reach(entity, window.into())
    }

    /// These customers; ids that the store does not know are passed over.
    pub fn customers<T: Into<Text>>(ids: impl IntoIterator<Item = T>) -> Expr {
        Expr::Customers(ids.into_iter().map(Into::into).collect())
    }

    /// The set saved under this name.
    pub fn cohort(name: impl Into<Text>) -> Expr {
        Expr::Cohort(name.into())
    }

    /// Those in this and in `other`. Another member of the list, if this is one already.
    #[must_use]
    pub fn and(self, other: impl Into<Expr>) -> Expr {
        match self {
            Expr::And(mut members) => {
                members.push(other.into());
                Expr::And(members)
            }
            first => Expr::And(vec![first, other.into()]),
        }
    }

    /// Those in this or in `other`. Another member of the list, if this is one already.
    #[must_use]
    pub fn or(self, other: impl Into<Expr>) -> Expr {
        match self {
            Expr::Or(mut members) => {
                members.push(other.into());
                Expr::Or(members)
            }
            first => Expr::Or(vec![first, other.into()]),
        }
    }

    /// The customers of the store that are not in this.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "reads like the text, and needs no trait in scope")]
    pub fn not(self) -> Expr {
        Expr::Not(Box::new(self))
    }

    /// Those in this and not in `other`.
    #[must_use]
    pub fn minus(self, other: impl Into<Expr>) -> Expr {
        Expr::Minus(Box::new(self), Box::new(other.into()))
    }
}

/// The operators of [`Expr`], so that a chain can go on without a conversion.
macro_rules! operators {
    ($part:ident) => {
        impl From<$part> for Expr {
            fn from(part: $part) -> Expr {
                Expr::$part(part)
            }
        }

        impl $part {
            /// As [`Expr::and`].
            #[must_use]
            pub fn and(self, other: impl Into<Expr>) -> Expr {
                Expr::from(self).and(other)
            }

            /// As [`Expr::or`].
            #[must_use]
            pub fn or(self, other: impl Into<Expr>) -> Expr {
                Expr::from(self).or(other)
            }

            /// As [`Expr::not`].
            #[must_use]
            #[expect(clippy::should_implement_trait, reason = "reads like the text, and needs no trait in scope")]
            pub fn not(self) -> Expr {
                Expr::from(self).not()
            }

            /// As [`Expr::minus`].
            #[must_use]
            pub fn minus(self, other: impl Into<Expr>) -> Expr {
                Expr::from(self).minus(other)
            }
        }
    };
}

operators!(Did);
operators!(Seq);

impl Did {
    /// At least so many events; 1 or more.
    #[must_use]
    pub fn at_least(mut self, count: u32) -> Did {
        self.at_least = count;
        self
    }

    /// When.
    #[must_use]
    pub fn during(mut self, window: impl Into<Period>) -> Did {
        self.window = window.into();
        self
    }
}

impl Seq {
    /// One more step.
    #[must_use]
    pub fn then(mut self, step: impl Into<Step>) -> Seq {
        self.steps.push(step.into());
        self
    }

    /// The last step's event comes at most so long after the first one's.
    #[must_use]
    pub fn within(mut self, length: Duration) -> Seq {
        self.within = Some(nanos(length));
        self
    }

    /// When the first step's event is.
    #[must_use]
    pub fn during(mut self, window: impl Into<Period>) -> Seq {
        self.window = window.into();
        self
    }

    /// How events at one instant are ordered; [`Ties::Any`] if not said.
    #[must_use]
    pub fn ties(mut self, ties: Ties) -> Seq {
        self.ties = ties;
        self
    }
}

impl Step {
    /// A step whose event satisfies `what`.
    pub fn new(what: Predicate) -> Step {
        Step { what, within: None, without: Vec::new() }
    }

    /// Its event comes at most so long after that of the step before.
    #[must_use]
    pub fn within(mut self, length: Duration) -> Step {
        self.within = Some(nanos(length));
        self
    }

    /// Between the event of the step before and its own there is none that satisfies `what`.
    #[must_use]
    pub fn without(mut self, what: Predicate) -> Step {
        self.without.push(what);
        self
    }
}

impl From<Predicate> for Step {
    fn from(what: Predicate) -> Step {
        Step::new(what)
    }
}

impl Predicate {
    /// The kind is this, or as the test says.
    pub fn kind(test: impl Into<TextTest>) -> Predicate {
        Predicate::Kind(test.into())
    }

    /// The kind fits the pattern, in which `*` stands for any run of characters.
    pub fn kind_like(pattern: impl Into<Text>) -> Predicate {
        Predicate::Kind(TextTest::like(pattern))
    }

    /// The layer is this, or as the test says.
    pub fn layer(test: impl Into<TextTest>) -> Predicate {
        Predicate::Layer(test.into())
    }

    /// The source is this, or as the test says.
    pub fn source(test: impl Into<TextTest>) -> Predicate {
        Predicate::Source(test.into())
    }

    /// The severity compares so; none does for an event without one, but [`Severity::NONE`] as equal.
    pub fn severity(comparison: Comparison, severity: Severity) -> Predicate {
        Predicate::Severity(comparison, severity)
    }

    /// The severity is this or worse.
    pub fn severity_at_least(severity: Severity) -> Predicate {
        Predicate::Severity(Comparison::AtLeast, severity)
    }

    /// The value compares so.
    pub fn value(comparison: Comparison, number: f64) -> Predicate {
        Predicate::Value(comparison, number)
    }

    /// The text of the attribute is this, or as the test says.
    pub fn attribute(name: impl Into<Text>, test: impl Into<TextTest>) -> Predicate {
        Predicate::Attribute(name.into(), test.into())
    }

    /// The attribute is a number and compares so.
    pub fn attribute_number(name: impl Into<Text>, comparison: Comparison, number: f64) -> Predicate {
        Predicate::AttributeNumber(name.into(), comparison, number)
    }

    /// The attribute is there.
    pub fn has_attribute(name: impl Into<Text>) -> Predicate {
        Predicate::HasAttribute(name.into())
    }

    /// A subject is this entity (`type:id`, or an [`Entity`]), or as the test says.
    pub fn on(test: impl Into<TextTest>) -> Predicate {
        Predicate::On(test.into())
    }

    /// A context entity is this, or as the test says.
    pub fn with(test: impl Into<TextTest>) -> Predicate {
        Predicate::With(test.into())
    }

    /// A subject or a context entity is this, or as the test says.
    pub fn about(test: impl Into<TextTest>) -> Predicate {
        Predicate::About(test.into())
    }

    /// Both hold. Another member of the list, if this is one already.
    #[must_use]
    pub fn and(self, other: Predicate) -> Predicate {
        match self {
            Predicate::And(mut members) => {
                members.push(other);
                Predicate::And(members)
            }
            first => Predicate::And(vec![first, other]),
        }
    }

    /// One of them holds. Another member of the list, if this is one already.
    #[must_use]
    pub fn or(self, other: Predicate) -> Predicate {
        match self {
            Predicate::Or(mut members) => {
                members.push(other);
                Predicate::Or(members)
            }
            first => Predicate::Or(vec![first, other]),
        }
    }

    /// Does not hold.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "reads like the text, and needs no trait in scope")]
    pub fn not(self) -> Predicate {
        Predicate::Not(Box::new(self))
    }
}

impl TextTest {
    /// Fits the pattern, in which `*` stands for any run of characters.
    pub fn like(pattern: impl Into<Text>) -> TextTest {
        TextTest::Like(pattern.into())
    }

    /// Is one of these.
    pub fn one_of<T: Into<Text>>(texts: impl IntoIterator<Item = T>) -> TextTest {
        TextTest::OneOf(texts.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for TextTest {
    fn from(text: &str) -> TextTest {
        TextTest::Is(text.into())
    }
}

impl From<String> for TextTest {
    fn from(text: String) -> TextTest {
        TextTest::Is(text.into())
    }
}

impl From<Text> for TextTest {
    fn from(text: Text) -> TextTest {
        TextTest::Is(text)
    }
}

impl From<&Entity> for TextTest {
    fn from(entity: &Entity) -> TextTest {
        TextTest::Is(entity.to_string().into())
    }
}

impl Period {
    /// All of time.
    pub const fn all() -> Period {
        Period { from: None, to: None }
    }

    /// So long until now.
    pub fn last(length: Duration) -> Period {
        Period { from: Some(Moment::ago(length)), to: Some(Moment::NOW) }
    }

    /// So many times 24 hours until now.
    pub fn last_days(days: u32) -> Period {
        Period::last(Duration::from_secs(u64::from(days) * 86_400))
    }

    /// `[from, to)`.
    pub fn between(from: impl Into<Moment>, to: impl Into<Moment>) -> Period {
        Period { from: Some(from.into()), to: Some(to.into()) }
    }

    /// From this instant on.
    pub fn since(from: impl Into<Moment>) -> Period {
        Period { from: Some(from.into()), to: None }
    }

    /// All before this instant.
    pub fn until(to: impl Into<Moment>) -> Period {
        Period { from: None, to: Some(to.into()) }
    }

    /// The window it is when it is `now`; reversed ends stay reversed, and select nothing.
    pub fn window(&self, now: Timestamp) -> Window {
        let from = self.from.map_or(Timestamp::MIN, |moment| moment.instant(now));
        Window::new(from, self.to.map_or(Timestamp::MAX, |moment| moment.instant(now)))
    }
}

impl From<Window> for Period {
    fn from(window: Window) -> Period {
        let bound = |time, open| (time != open).then_some(Moment::At(time));
        Period { from: bound(window.from, Timestamp::MIN), to: bound(window.to, Timestamp::MAX) }
    }
}

impl From<Range<Timestamp>> for Period {
    fn from(range: Range<Timestamp>) -> Period {
        Window::from(range).into()
    }
}

impl Moment {
    /// The instant at which the question is asked.
    pub const NOW: Moment = Moment::Ago(0);

    /// So long before now.
    pub fn ago(length: Duration) -> Moment {
        Moment::Ago(nanos(length))
    }

    /// So long after now.
    pub fn ahead(length: Duration) -> Moment {
        Moment::Ago(-nanos(length))
    }

    /// The instant it is when it is `now`; saturates at the ends of time.
    pub fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(time) => time,
            Moment::Ago(nanos) => Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos)),
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Moment {
        Moment::At(time)
    }
}

/// Saturates at 292 years.
fn nanos(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}
