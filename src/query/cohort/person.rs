//! Decides whether one customer is in a set, by reading what that needs and no more.

use smallvec::SmallVec;

use crate::codec::raw::RawEvent;
use crate::error::Result;
use crate::model::{Interval, Window};
use crate::query::cohort::effort::Budget;
use crate::query::cohort::judge::{Eyes, Judge, Likes, Verdict};
use crate::query::cohort::question::{Clause, Question, Sequence};
use crate::query::cohort::reader::{Actuals, Order, Reader};
use crate::query::cohort::sequence::{self, Mark};
use crate::query::gather;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::topology::Reach;

/// Decides for one thread, customer after customer. Links are followed and the stream is read when a
/// clause first needs it: once for each customer, for all clauses together.
pub(crate) struct Person<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question,
    reader: Reader<'a>,
    likes: Likes,
    marks: Vec<Mark>,
    /// For each mark the place of its event.
    marked: Vec<usize>,
    customer: u32,
    followed: bool,
    read: bool,
}

impl<'a> Person<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, question: &'a Question, budget: &'a Budget) -> Person<'a> {
        Person::with_order(snapshot, question, budget, question.order)
    }

    /// As [`Person::new`], with the events of each stream in `order` or better.
    pub(crate) fn with_order(
        snapshot: &'a Snapshot,
        question: &'a Question,
        budget: &'a Budget,
        order: Order,
    ) -> Person<'a> {
        let order = order.max(question.order);
        Person {
            snapshot,
            question,
            reader: Reader::new(snapshot, &question.needs, order, budget).max_hops(question.max_hops),
            likes: Likes::default(),
            marks: Vec::new(),
            marked: Vec::new(),
            customer: 0,
            followed: false,
            read: false,
        }
    }

    /// Whether `customer` is in the set. It must be one that the snapshot knows.
    ///
    /// Cost: at most one walk over its links and one read of its stream in the windows of the question.
    pub(crate) fn is_member(&mut self, customer: u32) -> Result<bool> {
        self.meet(customer);
        self.holds(&self.question.root)
    }

    /// Turns to another customer.
    pub(crate) fn meet(&mut self, customer: u32) {
        self.customer = customer;
        self.followed = false;
        self.read = false;
    }

    /// Whether the customer met last is in `clause` of the question.
    pub(crate) fn holds(&mut self, clause: &Clause) -> Result<bool> {
        Ok(match clause {
            Clause::All => true,
            Clause::Among(numbers) => numbers.contains(self.customer),
            Clause::Reach { entity, window } => match entity {
                Some(entity) => self.reaches(*entity, &window.interval())?,
                None => false,
            },
            Clause::Did { judge, at_least, window } => {
                let found = self.did(*judge, *window, *at_least as usize)?;
                found.len() >= *at_least as usize
            }
            Clause::Seq(sequence) => {
                self.mark(sequence)?;
                sequence::occurs(&self.marks, &sequence.rules)
            }
            Clause::And(parts) => {
                for part in parts.cheap_first() {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                true
            }
            Clause::Or(parts) => {
                for part in parts.cheap_first() {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                false
            }
            Clause::Not(inner) => !self.holds(inner)?,
            Clause::Minus(both) => self.holds(&both[0])? && !self.holds(&both[1])?,
        })
    }

    /// The first events, `most` at most, that count for a `did`: places in [`Person::events`].
    pub(crate) fn did(&mut self, judge: usize, window: Window, most: usize) -> Result<SmallVec<[usize; 4]>> {
        let mut found = SmallVec::new();
        if window.interval().is_empty() || most == 0 {
            return Ok(found);
        }
        self.read()?;
        let resolver = Resolver::new(&self.snapshot.lookup);
        let eyes = Eyes { resolver: &resolver, likes: &self.likes };
        let judge = &self.question.judges[judge];
        for (at, event) in self.reader.events().iter().enumerate() {
            if is_inside(event, self.reader.reach(), &window.interval()) && judge.holds(event, &eyes)? {
                found.push(at);
                if found.len() == most {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The winning events of a sequence: places in [`Person::events`].
    pub(crate) fn winners(&mut self, sequence: &Sequence) -> Result<Option<Vec<usize>>> {
        self.mark(sequence)?;
        let winners = sequence::winners(&self.marks, &sequence.rules);
        Ok(winners.map(|marks| marks.into_iter().map(|mark| self.marked[mark]).collect()))
    }

    /// The events read of the customer met last.
    pub(crate) fn events(&self) -> &[RawEvent] {
        self.reader.events()
    }

    /// What the customer met last reaches, once something needed it.
    pub(crate) fn reach(&self) -> &Reach {
        self.reader.reach()
    }

    /// What was read so far.
    pub(crate) fn actuals(&self) -> Actuals {
        self.reader.actuals
    }

    /// Follows the links of the customer met last, unless that is done.
    pub(crate) fn follow(&mut self) -> Result<()> {
        if !self.followed {
            self.reader.follow(self.customer)?;
            self.followed = true;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        self.follow()?;
        if !self.read {
            self.reader.read()?;
            self.read = true;
        }
        Ok(())
    }

    fn reaches(&mut self, entity: u32, window: &Interval) -> Result<bool> {
        if window.is_empty() {
            return Ok(false);
        }
        if entity == self.customer {
            return Ok(true);
        }
        self.follow()?;
        Ok(self.reader.reach().get(entity).is_some_and(|reached| reached.when.overlaps(window)))
    }

    /// Where the events of the customer met last may lie, once something needed them.
    pub(crate) fn homes(&self) -> &[u32] {
        self.reader.homes()
    }

    /// What the sequence marked last sees of the stream.
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The event of each mark: places in [`Person::events`].
    pub(crate) fn marked(&self) -> &[usize] {
        &self.marked
    }

    /// Turns the stream of the customer met last into what a sequence sees of it.
    pub(crate) fn mark(&mut self, sequence: &Sequence) -> Result<()> {
        self.marks.clear();
        self.marked.clear();
        if sequence.span.interval().is_empty() {
            return Ok(());
        }
        self.read()?;
        let resolver = Resolver::new(&self.snapshot.lookup);
        let eyes = Eyes { resolver: &resolver, likes: &self.likes };
        let judges = &self.question.judges;
        for (at, event) in self.reader.events().iter().enumerate() {
            let time = event.time;
            if time < sequence.span.from.as_nanos() || time >= sequence.span.to.as_nanos() {
                continue;
            }
            let mut mark = Mark { time, fits: 0, breaks: 0 };
            for (number, step) in sequence.steps.iter().enumerate() {
                mark.fits |= u64::from(accepts(&judges[step.judge], event, &eyes)?) << number;
                for &judge in &step.without {
                    mark.breaks |= u64::from(accepts(&judges[judge], event, &eyes)?) << number;
                }
            }
            if mark.fits | mark.breaks != 0 {
                self.marks.push(mark);
                self.marked.push(at);
            }
        }
        Ok(())
    }
}

fn accepts(judge: &Judge, event: &RawEvent, eyes: &Eyes<'_>) -> Result<bool> {
    match judge.verdict(event.shape) {
        Verdict::False => Ok(false),
        Verdict::True => Ok(true),
        Verdict::Depends => judge.holds(event, eyes),
    }
}

/// Whether an event of the stream of all of time is in that of `window`.
fn is_inside(event: &RawEvent, reach: &Reach, window: &Interval) -> bool {
    match event.end {
        None => window.from.as_nanos() <= event.time && event.time < window.to.as_nanos(),
        Some(_) => gather::is_present(event, reach, window),
    }
}
