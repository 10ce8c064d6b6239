//! Links: who depends on what, and when.

use crate::model::{Entity, Interval, Text, Timestamp};

/// `from -relation-> to` during `[valid_from, valid_to)`: *from depends on to*, so whoever
/// experiences `from` experiences what happens to `to`.
///
/// ```
/// use ofone::{Entity, Link};
/// let link = Link::new(Entity::customer("C42"), "uses", Entity::new("service", "C42/broadband"))
///     .valid_from("2025-06-01T00:00:00Z".parse().unwrap());
/// assert_eq!(link.valid_to, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Link {
    /// The one who depends.
    pub from: Entity,
    /// How: `uses`, `runs_on`, `fed_by`, `identified_by` or any word.
    pub relation: Text,
    /// What it depends on.
    pub to: Entity,
    /// First instant of validity; `None` is unbounded.
    pub valid_from: Option<Timestamp>,
    /// First instant after; `None` is unbounded.
    pub valid_to: Option<Timestamp>,
    /// The feed that said so.
    pub source: Text,
}

impl Link {
    /// A link valid for all of time, from an unnamed source.
    pub fn new(from: Entity, relation: impl Into<Text>, to: Entity) -> Link {
        Link { from, relation: relation.into(), to, valid_from: None, valid_to: None, source: Text::default() }
    }

    /// With the first instant of validity.
    #[must_use]
    pub fn valid_from(mut self, time: Timestamp) -> Link {
        self.valid_from = Some(time);
        self
    }

    /// With the first instant after validity.
    #[must_use]
    pub fn valid_to(mut self, time: Timestamp) -> Link {
        self.valid_to = Some(time);
        self
    }

    /// With the feed that said so.
    #[must_use]
    pub fn source(mut self, source: impl Into<Text>) -> Link {
        self.source = source.into();
        self
    }

    /// When it is valid.
    pub fn validity(&self) -> Interval {
        Interval::new(self.valid_from.unwrap_or(Timestamp::MIN), self.valid_to.unwrap_or(Timestamp::MAX))
    }
}

/// One statement about a link. Statements are facts: they may arrive in any order and more than
/// once, and the links known are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkChange {
    /// The link held during its validity.
    Add(Link),
    /// The link ceased at an instant: each added validity of the same `from`, `relation`, `to` that
    /// begins before `at` and would go on after it ends there. One that begins later is untouched.
    Close {
        /// The one who depended.
        from: Entity,
        /// How.
        relation: Text,
        /// What it depended on.
        to: Entity,
        /// First instant at which the link no longer holds.
        at: Timestamp,
        /// The feed that said so.
        source: Text,
    },
    /// The link never was: each added validity of the same `from`, `relation`, `to` that begins at
    /// exactly `valid_from` is withdrawn for good, also one that arrives after the retraction.
    Retract {
        /// The one who never depended.
        from: Entity,
        /// How.
        relation: Text,
        /// On what.
        to: Entity,
        /// The start of the withdrawn validity; `None` is the one that was unbounded.
        valid_from: Option<Timestamp>,
        /// The feed that said so.
        source: Text,
    },
}

impl LinkChange {
    /// The one who depends, how, and on what.
    pub fn triple(&self) -> (&Entity, &Text, &Entity) {
        match self {
            LinkChange::Add(link) => (&link.from, &link.relation, &link.to),
            LinkChange::Close { from, relation, to, .. } | LinkChange::Retract { from, relation, to, .. } => {
                (from, relation, to)
            }
        }
    }

    /// The feed that said so.
    pub fn source(&self) -> &Text {
        match self {
            LinkChange::Add(link) => &link.source,
            LinkChange::Close { source, .. } | LinkChange::Retract { source, .. } => source,
        }
    }
}

impl From<Link> for LinkChange {
    fn from(link: Link) -> LinkChange {
        LinkChange::Add(link)
    }
}
