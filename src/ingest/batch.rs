//! What a writer hands over, and what it gets back.

use crossbeam::channel::Receiver;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Event, LinkChange, Outcome, Record};

/// Records to commit together: all of them or none, but for those refused one by one.
///
/// ```
/// use ofone::{Batch, Entity, Event, Link, Timestamp};
/// let mut batch = Batch::new();
/// batch.link(Link::new(Entity::customer("C1"), "uses", Entity::new("service", "C1/tv")));
/// batch.event(Event::new(Timestamp::from_secs(1_767_225_600), "stb", "stb.reboot").subject(Entity::new("service", "C1/tv")));
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) records: Vec<Record>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// An empty batch with room for `records`.
    pub fn with_capacity(records: usize) -> Batch {
        Batch { records: Vec::with_capacity(records) }
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) -> &mut Batch {
        self.records.push(Record::Event(event));
        self
    }

    /// Adds a statement about a link; a [`crate::Link`] is one that adds it.
    pub fn link(&mut self, change: impl Into<LinkChange>) -> &mut Batch {
        self.records.push(Record::Link(change.into()));
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: impl Into<Record>) -> &mut Batch {
        self.records.push(record.into());
        self
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl FromIterator<Record> for Batch {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Batch {
        Batch { records: records.into_iter().collect() }
    }
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Receipt {
    commit: u64,
    outcomes: Vec<Outcome>,
}

impl Receipt {
    pub(crate) fn new(commit: u64, outcomes: Vec<Outcome>) -> Receipt {
        Receipt { commit, outcomes }
    }

    /// The sequence number of the commit; commits of one store are numbered from 1 without gaps.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// One outcome a record, in the order of the batch.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Records stored.
    pub fn inserted(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Inserted))
    }

    /// Records known already.
    pub fn duplicates(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Duplicate))
    }

    /// Records whose identity is known with other content.
    pub fn conflicts(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Conflict))
    }

    /// Records that broke a rule.
    pub fn rejected(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Rejected(_)))
    }

    /// Links stored that are not followed.
    pub fn quarantined(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Quarantined))
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| wanted(outcome)).count()
    }
}

/// What the commit thread sends back: the receipt, and the records to free.
pub(crate) struct Answer {
    pub(crate) receipt: Result<Receipt>,
    pub(crate) records: Vec<Record>,
}

/// A batch on its way; see [`crate::Writer::submit`].
pub struct Pending(pub(crate) Receiver<Answer>);

impl Pending {
    /// Waits for the commit.
    ///
    /// # Errors
    /// Whatever made the commit fail; nothing of the batch is stored then, or, after a failed sync,
    /// it is stored or not and a reopened store tells.
    pub fn wait(self) -> Result<Receipt> {
        match self.0.recv() {
            Ok(Answer { receipt, records }) => {
                // Freed by the thread that made them: its allocator takes them back without a detour.
                drop(records);
                receipt
            }
            Err(_) => Err(Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store")),
        }
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
