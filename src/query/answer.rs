//! Answers that are plain values.

use std::collections::BTreeMap;

use crate::model::{Entity, Link, Text, Timestamp};

/// An entity that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntityInfo {
    /// The entity.
    pub entity: Entity,
    /// Its number within this store; customers are dense from 0.
    pub number: u32,
    /// Whether it roots a stream.
    pub is_customer: bool,
}

/// The links of one entity, each with its effective validity: what was added, less what was
/// retracted, cut where it was closed. Validities of one link that overlap or adjoin are told as one,
/// with the feed of the earliest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Links {
    /// Links to what the entity depends on, by relation, other end and validity.
    pub outgoing: Vec<Link>,
    /// Links from what depends on the entity.
    pub incoming: Vec<Link>,
}

/// What is known of one feed: its watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStats {
    /// Events stored.
    pub events: u64,
    /// Latest event time.
    pub last_event: Timestamp,
    /// Latest commit that brought one of its events.
    pub last_commit: u64,
}

/// What is known of one attribute of the events of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttributeStats {
    /// Events that have it.
    pub events: u64,
    /// Different texts that were given a number so far: at most 4,096, none longer than 256 bytes.
    pub texts: u64,
    /// Whether questions about sets of customers find it in the index.
    pub indexed: Indexed,
}

/// Whether the index of a sealed segment tells an attribute, so that no row is read for its sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Indexed {
    /// Its numbered texts, everywhere: there are at most 255.
    Yes,
    /// Where at most 255 of its texts meet: among the events of its kind of 65,536 neighbouring homes in
    /// one segment.
    Partly,
    /// Nowhere: it has no numbered text. Numbers, truth values and long texts have none.
    No,
}

/// Counts of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events stored.
    pub events: u64,
    /// Earliest event time.
    pub first: Option<Timestamp>,
    /// Latest event time.
    pub last: Option<Timestamp>,
    /// Events by kind.
    pub kinds: BTreeMap<Text, u64>,
    /// Attributes by kind of event and name.
    pub attributes: BTreeMap<Text, BTreeMap<Text, AttributeStats>>,
    /// Events by layer; those without one are not counted here.
    pub layers: BTreeMap<Text, u64>,
    /// What is known of each feed.
    pub sources: BTreeMap<Text, SourceStats>,
    /// Events by severity number; 0 is not given.
    pub severities: BTreeMap<u8, u64>,
    /// Distinct entities by type.
    pub entities: BTreeMap<Text, u64>,
    /// Distinct customers.
    pub customers: u64,
    /// Statements about links, those in quarantine left out.
    pub links: u64,
    /// Links in quarantine.
    pub links_quarantined: u64,
    /// Events none of whose subjects is a customer.
    pub events_without_customer_subject: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Events in memory and in the log only.
    pub unsealed_events: u64,
    /// Bytes on disk, log included.
    pub disk_bytes: u64,
    /// Commits so far.
    pub commits: u64,
}

/// What [`crate::Db::check`] read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// One sentence a problem, with its place; empty when all is well.
    pub problems: Vec<String>,
    /// Problems beyond those listed.
    pub problems_unlisted: u64,
    /// Event rows read: an event with several homes counts for each.
    pub rows: u64,
    /// Rows of links read, both directions.
    pub links: u64,
    /// Entities read.
    pub entities: u64,
    /// Sealed segments read.
    pub segments: u64,
}
