//! A cohort: an exact set of customers, which can be listed.

use std::fmt;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::codec::key;
use crate::codec::raw::FIRST_OTHER;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use crate::model::{Entity, Text, Timestamp};
use crate::query::cohort::explain::Explain;
use crate::query::snapshot::Snapshot;
use crate::store::Family;

/// An exact set of customers of one store, with the expression that it came from.
///
/// It holds on to the snapshot that it was asked of; its customers stay the same whatever is written
/// later.
///
/// ```
/// # fn main() -> ofone::Result<()> {
/// use ofone::{Batch, Db, Entity, Event, Expr, Options, Timestamp};
/// # let directory = std::env::temp_dir().join(format!("ofone-cohort-{}", std::process::id()));
/// let db = Db::open(&directory, Options::new())?;
/// let mut batch = Batch::new();
/// for id in ["C1", "C2", "C3"] {
///     batch.event(Event::new(Timestamp::from_secs(1), "crm", "order.placed").subject(Entity::customer(id)));
/// }
/// db.writer().commit(batch)?;
/// let snapshot = db.snapshot();
/// let all = snapshot.who(Expr::All).run()?;
/// let two = snapshot.who(Expr::Customers(vec!["C3".into(), "C1".into()])).run()?;
/// assert_eq!(two.ids().collect::<ofone::Result<Vec<_>>>()?, ["C1", "C3"]);
/// let other = all.minus(&two)?;
/// assert!(other.len() == 1 && other.contains("C2")?);
/// # drop((db, snapshot, all, two, other));
/// # std::fs::remove_dir_all(directory).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cohort {
    snapshot: Snapshot,
    expr: Expr,
    now: Timestamp,
    numbers: RoaringBitmap,
    explain: Explain,
}

impl Cohort {
    /// `numbers` must be customers that the snapshot knows.
    pub(crate) fn new(
        snapshot: Snapshot,
        expr: Expr,
        now: Timestamp,
        numbers: RoaringBitmap,
        explain: Explain,
    ) -> Cohort {
        Cohort { snapshot, expr, now, numbers, explain }
    }

    /// How many customers there are.
    pub fn len(&self) -> u64 {
        self.numbers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether the customer of this id (without its type) is one; false for an unknown one.
    pub fn contains(&self, customer: &str) -> Result<bool> {
        Ok(self.number(customer)?.is_some_and(|number| self.numbers.contains(number)))
    }

    /// The ids of the customers, in the order in which the store first met them.
    pub fn ids(&self) -> Ids {
        Ids { snapshot: self.snapshot.clone(), numbers: self.numbers.clone().into_iter(), page: Vec::new().into_iter() }
    }

    /// The next `limit` ids behind that of `after`, in the order of [`Cohort::ids`]; from the start if
    /// there is none. `after` need not be in the cohort.
    ///
    /// # Errors
    /// `NotFound` when the store knows no customer `after`.
    pub fn ids_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<Text>> {
        let from = match after {
            Some(customer) => 1 + self.number(customer)?.ok_or_else(|| self.unknown(customer))?,
            None => 0,
        };
        let page: Vec<u32> = self.numbers.range(from..).take(limit).collect();
        names(&self.snapshot, &page)
    }

    /// `count` customers drawn without repetition, all if there are fewer, in the order of
    /// [`Cohort::ids`]. The same seed draws the same ones of the same set in every copy of a store; one that was
    /// loaded in another order may draw others.
    pub fn sample(&self, count: usize, seed: u64) -> Result<Vec<Text>> {
        let drawn: Vec<u32> =
            draw(self.len(), count as u64, seed).iter().filter_map(|rank| self.numbers.select(rank)).collect();
        names(&self.snapshot, &drawn)
    }

    /// The customers in both.
    ///
    /// # Errors
    /// `Invalid` for a cohort of another store; here and for the other operations.
    pub fn and(&self, other: &Cohort) -> Result<Cohort> {
        let expr = self.expr.clone().and(other.expr.clone());
        self.combined(other, expr, &self.numbers & &other.numbers)
    }

    /// The customers in either.
    pub fn or(&self, other: &Cohort) -> Result<Cohort> {
        let expr = self.expr.clone().or(other.expr.clone());
        self.combined(other, expr, &self.numbers | &other.numbers)
    }

    /// The customers of this one that are not in the other.
    pub fn minus(&self, other: &Cohort) -> Result<Cohort> {
        // One level, however many are taken away one after the other.
        let expr = match self.expr.clone() {
            Expr::Minus(from, less) => from.minus((*less).or(other.expr.clone())),
            from => from.minus(other.expr.clone()),
        };
        self.combined(other, expr, &self.numbers - &other.numbers)
    }

    /// What was asked for.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The instant from which relative moments were counted.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The number of the last commit that was visible.
    pub fn commit(&self) -> u64 {
        self.snapshot.commit()
    }

    /// How it was found.
    pub fn explain(&self) -> &Explain {
        &self.explain
    }

    pub(crate) fn numbers(&self) -> &RoaringBitmap {
        &self.numbers
    }

    /// Fails unless the cohort is of the store of `snapshot`.
    pub(crate) fn check_store(&self, snapshot: &Snapshot) -> Result<()> {
        if Arc::ptr_eq(&self.snapshot.lookup, &snapshot.lookup) {
            return Ok(());
        }
        Err(Error::invalid("the cohort is of another store, or of one since reopened; save it and load it there"))
    }

    /// The operands may be as of different commits; the result is as of the later one, which knows all.
    fn combined(&self, other: &Cohort, expr: Expr, numbers: RoaringBitmap) -> Result<Cohort> {
        self.check_store(&other.snapshot)?;
        let later = if other.commit() > self.commit() { other } else { self };
        let mut explain = Explain::default();
        explain.plan(format!("{} and {} customers combined", self.len(), other.len()));
        let numbers = numbers - &*later.snapshot.view.erased;
        Ok(Cohort::new(later.snapshot.clone(), expr, later.now, numbers, explain))
    }

    fn number(&self, customer: &str) -> Result<Option<u32>> {
        self.snapshot.number(&Entity::new(&self.snapshot.lookup.customer_type, customer))
    }

    fn unknown(&self, customer: &str) -> Error {
        Error::new(ErrorKind::NotFound, format!("no {} `{customer}`", self.snapshot.lookup.customer_type))
    }
}

impl fmt::Debug for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cohort").field("len", &self.len()).field("expr", &self.expr).finish_non_exhaustive()
    }
}

/// The ids of a cohort; see [`Cohort::ids`]. After an error it yields nothing more.
pub struct Ids {
    snapshot: Snapshot,
    numbers: roaring::bitmap::IntoIter,
    page: std::vec::IntoIter<Text>,
}

impl Iterator for Ids {
    type Item = Result<Text>;

    fn next(&mut self) -> Option<Result<Text>> {
        /// Ids read at once.
        const PAGE: usize = 1024;
        if let Some(id) = self.page.next() {
            return Some(Ok(id));
        }
        let numbers: Vec<u32> = self.numbers.by_ref().take(PAGE).collect();
        match names(&self.snapshot, &numbers) {
            Ok(page) => {
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.numbers = RoaringBitmap::new().into_iter();
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.numbers.size_hint();
        (least.saturating_add(self.page.len()), most.map(|most| most.saturating_add(self.page.len())))
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

/// The ids of customers, `numbers` ascending. Cost: a look into memory each; those not there are read.
pub(crate) fn names(snapshot: &Snapshot, numbers: &[u32]) -> Result<Vec<Text>> {
    /// Numbers passed over one by one rather than by a seek.
    const STEPS: u32 = 8;
    let reader = &snapshot.lookup.names;
    let mut ids: Vec<Text> = Vec::with_capacity(numbers.len());
    let mut missing: Vec<usize> = Vec::new();
    for (place, &number) in numbers.iter().enumerate() {
        ids.push(reader.remembered(number).unwrap_or_else(|| {
            missing.push(place);
            Text::default()
        }));
    }
    if missing.is_empty() {
        return Ok(ids);
    }
    snapshot.view.snapshot.with_cursor(Family::Numbers, |cursor| {
        let mut at: Option<u32> = None;
        for place in missing {
            let number = numbers[place];
            match at {
                Some(before) if number - before <= STEPS => {
                    for _ in before..number {
                        cursor.advance()?;
                    }
                }
                _ => {
                    cursor.seek(&key::number(number))?;
                }
            }
            at = Some(number);
            let entry = cursor.entry()?.filter(|(found, _)| *found == &key::number(number)[..]);
            let (_, name) = entry.ok_or_else(|| Error::corrupt(format!("customer {number} has no name")))?;
            ids[place] = reader.remember(number, name)?;
        }
        Ok(ids)
    })
}

impl Snapshot {
    /// The customers that the snapshot knows.
    pub(crate) fn all_customers(&self) -> Result<RoaringBitmap> {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.customer_count()?);
        Ok(all - &*self.view.erased)
    }

    /// One more than the highest number that a customer ever had: theirs are the numbers from 0 up to this.
    pub(crate) fn customer_count(&self) -> Result<u32> {
        self.view.snapshot.with_cursor(Family::Numbers, |cursor| {
            match cursor.seek_back(&key::number(FIRST_OTHER - 1))? {
                Some((last, _)) => Ok(key::parse_number(last)? + 1),
                None => Ok(0),
            }
        })
    }
}

/// `count` different numbers below `of`, all if there are fewer: Floyd's way, which draws each set as
/// likely as any other.
fn draw(of: u64, count: u64, seed: u64) -> RoaringBitmap {
    let mut drawn = RoaringBitmap::new();
    if count >= of {
        drawn.insert_range(0..u32::try_from(of).unwrap_or(u32::MAX));
        return drawn;
    }
    let mut state = seed;
    for last in of - count..of {
        let candidate = below(&mut state, last + 1) as u32;
        if !drawn.insert(candidate) {
            drawn.insert(last as u32);
        }
    }
    drawn
}

/// A random number below `end`, each as likely: SplitMix64, drawing again what would favour some.
fn below(state: &mut u64, end: u64) -> u64 {
    let unfair = end.wrapping_neg() % end;
    loop {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        if z >= unfair {
            return z % end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_has_no_repetition_and_follows_its_seed() {
        for (of, count) in [(0, 0), (0, 5), (1, 1), (10, 3), (10, 10), (10, 20), (1000, 999)] {
            let drawn = draw(of, count, 7);
            assert_eq!(drawn.len(), count.min(of), "{count} of {of}");
            assert!(drawn.max().is_none_or(|last| u64::from(last) < of));
            assert_eq!(drawn, draw(of, count, 7));
        }
        assert_ne!(draw(1000, 10, 1), draw(1000, 10, 2));
    }

    #[test]
    fn every_number_is_drawn_about_as_often() {
        let mut counts = [0; 5];
        (0..5000).for_each(|seed| draw(5, 2, seed).iter().for_each(|number| counts[number as usize] += 1));
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }
}
