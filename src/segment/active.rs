//! The growing segment: packed rows in arrival order, with an index by home and one by identity.

use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;

use crate::codec::raw::{FIRST_OTHER, Head, Layouts, RawEvent};
use crate::codec::record::Totals;
use crate::codec::varint::Reader;
use crate::error::Result;

/// Bytes of one block of packed rows; a longer row has a block of its own.
const BLOCK_BYTES: usize = 1 << 20;
/// Bits of a row's address that tell the place within its block.
const BLOCK_BITS: u32 = 20;
/// No earlier entry.
const NONE: u32 = u32::MAX;

/// One event to append.
pub(crate) struct Appended<'a> {
    pub(crate) identity: u64,
    pub(crate) homes: &'a [u32],
    pub(crate) packed: &'a [u8],
    pub(crate) counted: Counted,
}

/// What of an event goes into the counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) time: i64,
    pub(crate) until: i64,
    pub(crate) shape: u32,
    pub(crate) severity: u8,
    /// Whether a subject is a customer.
    pub(crate) of_customer: bool,
}

impl Counted {
    pub(crate) fn of(event: &RawEvent) -> Counted {
        Counted {
            time: event.time,
            until: event.until(),
            shape: event.shape,
            severity: event.severity,
            of_customer: event.subjects.iter().any(|&subject| subject < FIRST_OTHER),
        }
    }
}

/// Reads a whole row.
pub(crate) type ReadRow<'a> = &'a dyn Fn() -> Result<RawEvent>;

/// A commit in a segment: the ordinal of its first event, its number, its wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitMark {
    pub(crate) first_event: u32,
    pub(crate) commit: u64,
    pub(crate) wall: i64,
}

/// An event stands under each of its homes.
#[derive(Clone, Copy)]
struct Entry {
    home: u32,
    event: u32,
    /// The entry before this one of the same home.
    previous: u32,
}

/// The segment that takes commits, or one that waits to be sealed.
///
/// Readers see the entries below a bound that their view carries; the writer only adds behind it.
pub(crate) struct Active {
    number: u32,
    inner: RwLock<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    blocks: Vec<Vec<u8>>,
    /// Address of each event's packed row: block, then place in it.
    rows: Vec<u32>,
    entries: Vec<Entry>,
    /// The last entry of each home.
    homes: HashMap<u32, u32, FixedState>,
    identities: HashTable<(u64, u32)>,
    commits: Vec<CommitMark>,
    totals: Totals,
    /// End of the last presence, exclusive.
    until: i64,
}

impl Active {
    pub(crate) fn new(number: u32) -> Active {
        Active { number, inner: RwLock::new(Inner { until: i64::MIN, ..Inner::default() }) }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Appends the events of one commit. Readers may look in between, so the lock is given up now
    /// and then; what is behind their bound they do not see.
    pub(crate) fn append<'a>(&self, commit: u64, wall: i64, events: impl Iterator<Item = Appended<'a>>) {
        const AT_ONCE: usize = 1024;
        let mut events = events.peekable();
        let mut inner = self.inner.write();
        let mark = CommitMark { first_event: inner.rows.len() as u32, commit, wall };
        inner.commits.push(mark);
        while events.peek().is_some() {
            for event in events.by_ref().take(AT_ONCE) {
                inner.push(commit, &event);
            }
            parking_lot::RwLockWriteGuard::bump(&mut inner);
        }
    }

    /// Entries so far: the bound of a view made now.
    pub(crate) fn entry_count(&self) -> u32 {
        self.inner.read().entries.len() as u32
    }

    pub(crate) fn event_count(&self) -> usize {
        self.inner.read().rows.len()
    }

    pub(crate) fn commit_count(&self) -> usize {
        self.inner.read().commits.len()
    }

    /// Bytes of packed rows, about.
    pub(crate) fn packed_bytes(&self) -> usize {
        self.inner.read().blocks.iter().map(Vec::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.read().commits.is_empty()
    }

    /// The wall time of a commit appended.
    pub(crate) fn wall_of(&self, commit: u64) -> Option<i64> {
        let inner = self.inner.read();
        let at = inner.commits.binary_search_by_key(&commit, |mark| mark.commit).ok()?;
        Some(inner.commits[at].wall)
    }

    /// The last commit appended.
    pub(crate) fn last_commit(&self) -> Option<u64> {
        self.inner.read().commits.last().map(|mark| mark.commit)
    }

    pub(super) fn read(&self) -> parking_lot::RwLockReadGuard<'_, Inner> {
        self.inner.read()
    }

    /// Appends to `events` those of `home` below the entry `bound` that `wanted` accepts by time and
    /// end of presence, the latest arrived first.
    pub(crate) fn read_home<L: Layouts + ?Sized>(
        &self,
        home: u32,
        bound: u32,
        layouts: &L,
        wanted: impl Fn(&RawEvent) -> bool,
        events: &mut Vec<RawEvent>,
    ) -> Result<()> {
        let inner = self.inner.read();
        let mut at = inner.homes.get(&home).copied().unwrap_or(NONE);
        while at != NONE {
            let entry = inner.entries[at as usize];
            if at < bound {
                let event = inner.unpack(entry.event, layouts)?;
                if wanted(&event) {
                    events.push(event);
                }
            }
            at = entry.previous;
        }
        Ok(())
    }

    /// Counts of the events appended so far.
    pub(crate) fn totals(&self) -> Totals {
        self.inner.read().totals.clone()
    }

    /// Counts of the events below the entry `bound`.
    pub(crate) fn totals_at<L: Layouts + ?Sized>(&self, bound: u32, layouts: &L) -> Result<Totals> {
        let inner = self.inner.read();
        if inner.entries.len() as u32 == bound {
            return Ok(inner.totals.clone());
        }
        let mut totals = Totals::default();
        for event in 0..inner.event_bound(bound) {
            let raw = inner.unpack(event, layouts)?;
            count(&mut totals, Counted::of(&raw), raw.commit);
        }
        Ok(totals)
    }

    /// Appends the events at `time` below the entry `bound`. Reads every row.
    pub(crate) fn read_instant<L: Layouts + ?Sized>(
        &self,
        time: i64,
        bound: u32,
        layouts: &L,
        events: &mut Vec<RawEvent>,
    ) -> Result<()> {
        let inner = self.inner.read();
        for event in 0..inner.event_bound(bound) {
            if RawEvent::packed_time(inner.packed(event)) == time {
                events.push(inner.unpack(event, layouts)?);
            }
        }
        Ok(())
    }

    /// The number of events whose entries all lie below the entry `bound`.
    pub(crate) fn events_below(&self, bound: u32) -> u32 {
        self.inner.read().event_bound(bound)
    }

    /// Appends those of `events`, told by their order of arrival, that `wanted` accepts.
    pub(crate) fn read_events<L: Layouts + ?Sized>(
        &self,
        events: Range<u32>,
        layouts: &L,
        wanted: impl Fn(&RawEvent) -> bool,
        found: &mut Vec<RawEvent>,
    ) -> Result<()> {
        let inner = self.inner.read();
        for event in events {
            let event = inner.unpack(event, layouts)?;
            if wanted(&event) {
                found.push(event);
            }
        }
        Ok(())
    }

    /// Calls `seen` with each entry below `bound`: its home, the head of its row, and a way to read
    /// the whole row. In order of arrival.
    pub(crate) fn visit<L: Layouts + ?Sized>(
        &self,
        bound: u32,
        layouts: &L,
        seen: &mut dyn FnMut(u32, Head, ReadRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let inner = self.inner.read();
        for entry in inner.entries.iter().take(bound as usize) {
            let head = RawEvent::unpack_head(inner.packed(entry.event))?;
            seen(entry.home, head, &|| inner.unpack(entry.event, layouts))?;
        }
        Ok(())
    }

    /// Appends every entry below `bound`: home and event.
    pub(crate) fn read_all<L: Layouts + ?Sized>(
        &self,
        bound: u32,
        layouts: &L,
        events: &mut Vec<(u32, RawEvent)>,
    ) -> Result<()> {
        let inner = self.inner.read();
        for (home, _, event) in inner.entries().into_iter().take(bound as usize) {
            events.push((home, inner.unpack(event, layouts)?));
        }
        Ok(())
    }

    /// As [`Active::find_identity`], below the entry `bound` only.
    pub(crate) fn find_identity_below<L: Layouts + ?Sized>(
        &self,
        identity: u64,
        bound: u32,
        layouts: &L,
        mut same: impl FnMut(&RawEvent) -> bool,
    ) -> Result<()> {
        let events = self.inner.read().event_bound(bound);
        self.find_where(identity, layouts, |ordinal, event| ordinal < events && same(event))
    }

    /// Marks in `known` which of `identities` some event has. Nothing but loads, so that they overlap.
    pub(crate) fn mark_known(&self, identities: impl Iterator<Item = u64>, known: &mut [bool]) {
        let inner = self.inner.read();
        for (identity, known) in identities.zip(known) {
            *known |= inner.identities.find(identity, |&(other, _)| other == identity).is_some();
        }
    }

    /// Calls `same` with each event whose identity is `identity` until it returns true.
    pub(crate) fn find_identity<L: Layouts + ?Sized>(
        &self,
        identity: u64,
        layouts: &L,
        mut same: impl FnMut(&RawEvent) -> bool,
    ) -> Result<()> {
        self.find_where(identity, layouts, |_, event| same(event))
    }

    fn find_where<L: Layouts + ?Sized>(
        &self,
        identity: u64,
        layouts: &L,
        mut same: impl FnMut(u32, &RawEvent) -> bool,
    ) -> Result<()> {
        let inner = self.inner.read();
        let mut failure = None;
        inner.identities.find(identity, |&(known, event)| {
            known == identity
                && match inner.unpack(event, layouts) {
                    Ok(raw) => same(event, &raw),
                    Err(error) => {
                        failure = Some(error);
                        true
                    }
                }
        });
        failure.map_or(Ok(()), Err)
    }
}

impl Inner {
    fn push(&mut self, commit: u64, event: &Appended<'_>) {
        let ordinal = self.rows.len() as u32;
        let needs_block = self.blocks.last().is_none_or(|block| block.len() + event.packed.len() > BLOCK_BYTES);
        if needs_block {
            self.blocks.push(Vec::with_capacity(BLOCK_BYTES.max(event.packed.len())));
        }
        let block = self.blocks.len() - 1;
        let bytes = &mut self.blocks[block];
        self.rows.push((block as u32) << BLOCK_BITS | bytes.len() as u32);
        bytes.extend_from_slice(event.packed);
        for &home in event.homes {
            let entry = self.entries.len() as u32;
            let previous = self.homes.insert(home, entry).unwrap_or(NONE);
            self.entries.push(Entry { home, event: ordinal, previous });
        }
        self.identities.insert_unique(event.identity, (event.identity, ordinal), |&(identity, _)| identity);
        self.until = self.until.max(event.counted.until);
        count(&mut self.totals, event.counted, commit);
    }

    pub(super) fn unpack<L: Layouts + ?Sized>(&self, event: u32, layouts: &L) -> Result<RawEvent> {
        let mut raw = RawEvent::unpack(&mut Reader::new(self.packed(event)), layouts)?;
        raw.commit = self.commit_of(event);
        Ok(raw)
    }

    /// The number of events whose entries all lie below the entry `bound`; a bound lies between events.
    fn event_bound(&self, bound: u32) -> u32 {
        match self.entries.get(bound as usize) {
            Some(entry) => entry.event,
            None => self.rows.len() as u32,
        }
    }

    /// The bytes from the event's packed row to the end of its block.
    fn packed(&self, event: u32) -> &[u8] {
        let address = self.rows[event as usize];
        &self.blocks[(address >> BLOCK_BITS) as usize][(address & ((1 << BLOCK_BITS) - 1)) as usize..]
    }

    fn commit_of(&self, event: u32) -> u64 {
        let after = self.commits.partition_point(|mark| mark.first_event <= event);
        self.commits[after - 1].commit
    }

    pub(super) fn commits(&self) -> &[CommitMark] {
        &self.commits
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn until(&self) -> i64 {
        self.until
    }

    /// (home, time, event) of every entry, in order of arrival.
    pub(super) fn entries(&self) -> Vec<(u32, i64, u32)> {
        let time = |event: u32| RawEvent::packed_time(self.packed(event));
        self.entries.iter().map(|entry| (entry.home, time(entry.event), entry.event)).collect()
    }

    /// Touches the rows of events that are about to be unpacked: loads that do not wait for each
    /// other overlap, where those of one unpacking after the other would not.
    pub(super) fn touch(&self, events: impl Iterator<Item = u32>) -> u8 {
        events.fold(0, |sum, event| sum ^ self.packed(event).first().copied().unwrap_or(0))
    }

    /// Identity of each event, in no order.
    pub(super) fn identities(&self) -> impl ExactSizeIterator<Item = (u64, u32)> + '_ {
        self.identities.iter().copied()
    }
}

/// Counts an event in.
pub(crate) fn count(totals: &mut Totals, event: Counted, commit: u64) {
    if totals.events == 0 {
        totals.first = event.time;
        totals.last = event.time;
        totals.severities = vec![0; 25];
    }
    totals.events += 1;
    totals.first = totals.first.min(event.time);
    totals.last = totals.last.max(event.time);
    totals.severities[usize::from(event.severity)] += 1;
    totals.without_customer += u64::from(!event.of_customer);
    let shape = event.shape as usize;
    if totals.shapes.len() <= shape {
        totals.shapes.resize_with(shape + 1, Default::default);
    }
    let shape = &mut totals.shapes[shape];
    shape.last = if shape.events == 0 { event.time } else { shape.last.max(event.time) };
    shape.events += 1;
    shape.last_commit = shape.last_commit.max(commit);
}

/// Adds the counts of `more` to `totals`.
pub(crate) fn add_totals(totals: &mut Totals, more: &Totals) {
    if more.events == 0 {
        return;
    }
    if totals.events == 0 {
        *totals = more.clone();
        return;
    }
    totals.events += more.events;
    totals.first = totals.first.min(more.first);
    totals.last = totals.last.max(more.last);
    totals.without_customer += more.without_customer;
    for (sum, add) in totals.severities.iter_mut().zip(&more.severities) {
        *sum += add;
    }
    if totals.shapes.len() < more.shapes.len() {
        totals.shapes.resize_with(more.shapes.len(), Default::default);
    }
    for (sum, add) in totals.shapes.iter_mut().zip(&more.shapes).filter(|(_, add)| add.events > 0) {
        sum.last = if sum.events == 0 { add.last } else { sum.last.max(add.last) };
        sum.events += add.events;
        sum.last_commit = sum.last_commit.max(add.last_commit);
    }
}
