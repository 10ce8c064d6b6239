//! What goes into a batch, and what became of it.

use std::fmt;

use crate::model::{Event, Link, LinkChange};

/// One record of a feed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// Something that happened.
    Event(Event),
    /// Something known about a link.
    Link(LinkChange),
}

impl From<Event> for Record {
    fn from(event: Event) -> Record {
        Record::Event(event)
    }
}

impl From<LinkChange> for Record {
    fn from(change: LinkChange) -> Record {
        Record::Link(change)
    }
}

impl From<Link> for Record {
    fn from(link: Link) -> Record {
        Record::Link(LinkChange::Add(link))
    }
}

/// What became of one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Stored.
    Inserted,
    /// Known already, with the same content; nothing stored.
    Duplicate,
    /// Its identity is known with other content; the first to arrive stays.
    Conflict,
    /// It breaks a rule; nothing stored.
    Rejected(Rejection),
    /// A link beyond [`crate::Limits::links_from`] or [`crate::Limits::links_to`]: stored and listed, but no
    /// question follows it until it is put in force, see [`crate::Db::promote`].
    Quarantined,
}

/// Why a record was refused; the rest of its batch is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(Box<str>);

impl Rejection {
    /// A rejection that says `reason` (lower case, no full stop).
    pub fn new(reason: impl Into<String>) -> Rejection {
        Rejection(reason.into().into_boxed_str())
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
