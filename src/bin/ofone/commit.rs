//! Batches on their way into a store, a few at a time.

use std::collections::VecDeque;

use ofone::{Batch, Outcome, Pending, Receipt, Record, Result, Writer};

/// Batches that may wait for their commit, so that the next one is made meanwhile.
const MAX_PENDING: usize = 4;

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Stored.
    pub(crate) inserted: u64,
    /// Known already.
    pub(crate) duplicates: u64,
    /// Known with other content.
    pub(crate) conflicts: u64,
    /// Links that are not followed, for being too many.
    pub(crate) quarantined: u64,
    /// Against a rule.
    pub(crate) rejected: u64,
}

impl Totals {
    /// Adds the outcomes of a batch.
    pub(crate) fn add(&mut self, receipt: &Receipt) {
        for outcome in receipt.outcomes() {
            match outcome {
                Outcome::Inserted => self.inserted += 1,
                Outcome::Duplicate => self.duplicates += 1,
                Outcome::Conflict => self.conflicts += 1,
                Outcome::Quarantined => self.quarantined += 1,
                _ => self.rejected += 1,
            }
        }
    }
}

/// Submits batches and hands back their receipts in order, each with the note it was given.
pub(crate) struct Committer<T> {
    writer: Writer,
    pending: VecDeque<(Pending, T)>,
}

impl<T> Committer<T> {
    /// Commits through `writer`.
    pub(crate) fn new(writer: Writer) -> Committer<T> {
        Committer { writer, pending: VecDeque::new() }
    }

    /// Submits a batch; returns what is committed by now.
    pub(crate) fn submit(&mut self, records: impl IntoIterator<Item = Record>, note: T) -> Result<Vec<(Receipt, T)>> {
        let records = records.into_iter();
        let mut batch = Batch::with_capacity(records.size_hint().0);
        for record in records {
            batch.push(record);
        }
        self.pending.push_back((self.writer.submit(batch)?, note));
        self.wait_for(MAX_PENDING)
    }

    /// Waits for all that was submitted.
    pub(crate) fn finish(mut self) -> Result<Vec<(Receipt, T)>> {
        self.wait_for(0)
    }

    /// Waits until at most `left` batches are pending.
    fn wait_for(&mut self, left: usize) -> Result<Vec<(Receipt, T)>> {
        let mut done = Vec::new();
        while self.pending.len() > left {
            let (pending, note) = self.pending.pop_front().expect("more than none");
            done.push((pending.wait()?, note));
        }
        Ok(done)
    }
}
