//! Names of a damaged store's entities.

use std::collections::{BTreeMap, HashMap};

use roaring::RoaringBitmap;

use crate::codec::key;
use crate::codec::raw::FIRST_OTHER;
use crate::db::Db;
use crate::dictionary::parse_name;
use crate::error::{Error, Result};
use crate::model::{Entity, Text};
use crate::salvage::report::SalvageReport;
use crate::salvage::terms::Terms;
use crate::store::{Family, Wreck};

/// Entities that are given numbers together.
const AT_ONCE: usize = 1 << 14;
/// Names remembered.
const REMEMBERED: usize = 1 << 18;

/// Whom a number stands for.
#[derive(Clone)]
pub(super) enum Named {
    Entity(Entity),
    Erased,
    Lost,
}

/// From the numbers of the damaged store to names.
pub(super) struct Names<'a> {
    wreck: &'a Wreck,
    /// Numbers that the ledger names: nobody.
    gone: RoaringBitmap,
    /// Names of numbers that are damaged, found under the names: type and id.
    found: BTreeMap<u32, (u32, Text)>,
    remembered: HashMap<u32, Named>,
    /// Customers of the damaged store that the new one has. It numbers them in their order, from 0.
    customers: RoaringBitmap,
    /// The word of the customers' type.
    customer_type: Option<u32>,
}

impl<'a> Names<'a> {
    /// Looks through the names. `entities` is how many there are, if that can be read.
    pub(super) fn read(
        wreck: &'a Wreck,
        gone: RoaringBitmap,
        entities: Option<u64>,
        report: &mut SalvageReport,
    ) -> Result<Names<'a>> {
        let (mut named, mut given, mut customer_type) = (0u64, [0, FIRST_OTHER], None);
        let mut taken_away = 0u64;
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            let (Ok(number), Ok((kind, id))) = (key::parse_number(key), parse_name(value)) else { return Ok(()) };
            given[usize::from(number >= FIRST_OTHER)] = number + 1;
            named += u64::from(!id.is_empty());
            taken_away += u64::from(id.is_empty());
            if number < FIRST_OTHER && customer_type.is_none() {
                customer_type = Some(kind);
            }
            Ok(())
        };
        wreck.scan(Family::Numbers, (&[], None), &mut each, &mut |gap| gaps.push(gap.0))?;
        gaps.into_iter().for_each(|gap| report.place(gap));
        let dense = u64::from(given[0]) + u64::from(given[1] - FIRST_OTHER);
        let mut names = Names {
            wreck,
            gone,
            found: BTreeMap::new(),
            remembered: HashMap::new(),
            customers: RoaringBitmap::new(),
            customer_type,
        };
        let lost_table = wreck.lost_tables().iter().any(|table| table.family == Family::Numbers);
        if lost_table || entities.is_none_or(|entities| entities != named) || dense != named + taken_away {
            names.look_under_names(report)?;
        }
        report.names.copied = named + names.found.len() as u64;
        let expected = entities.unwrap_or(dense - taken_away);
        report.names.lost = expected.saturating_sub(report.names.copied);
        Ok(names)
    }

    /// Finds the names of numbers that cannot be read.
    fn look_under_names(&mut self, report: &mut SalvageReport) -> Result<()> {
        let (wreck, found) = (self.wreck, &mut self.found);
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            let Some((kind, id)) = key.split_first_chunk::<4>() else { return Ok(()) };
            let (Ok(number), Ok(id)) = (key::parse_number(value), std::str::from_utf8(id)) else { return Ok(()) };
            if !matches!(wreck.get(Family::Numbers, &key::number(number)), Ok(Some(_))) {
                found.insert(number, (u32::from_be_bytes(*kind), Text::from(id)));
            }
            Ok(())
        };
        wreck.scan(Family::Names, (&[], None), &mut each, &mut |gap| gaps.push(gap.0))?;
        gaps.into_iter().for_each(|gap| report.place(gap));
        if self.customer_type.is_none() {
            self.customer_type = self.found.range(..FIRST_OTHER).next().map(|(_, (kind, _))| *kind);
        }
        Ok(())
    }

    /// The word of the type of the customers, as far as there are some.
    pub(super) fn customer_type(&self) -> Option<u32> {
        self.customer_type
    }

    /// Gives everybody who has a name a number in the new store, in the order of the old ones.
    pub(super) fn adopt(&mut self, db: &Db, terms: &Terms) -> Result<()> {
        let wreck = self.wreck;
        let mut found: Vec<(u32, (u32, Text))> =
            self.found.iter().map(|(number, name)| (*number, name.clone())).collect();
        found.reverse();
        let mut waiting = Vec::new();
        let (gone, customers) = (&self.gone, &mut self.customers);
        let mut one = |number: u32, (kind, id): (u32, Text)| {
            if let Some(kind) = terms.word(kind).filter(|_| !id.is_empty() && !gone.contains(number)) {
                waiting.push((number, Entity { kind: kind.clone(), id }));
            }
            if waiting.len() >= AT_ONCE { give(db, &mut waiting, customers) } else { Ok(()) }
        };
        let mut each = |key: &[u8], value: &[u8]| {
            let (Ok(number), Ok(name)) = (key::parse_number(key), parse_name(value)) else { return Ok(()) };
            while found.last().is_some_and(|(before, _)| *before < number) {
                found.pop().into_iter().try_for_each(|(before, name)| one(before, name))?;
            }
            one(number, name)
        };
        // Where it is damaged was told before.
        wreck.scan(Family::Numbers, (&[], None), &mut each, &mut |_| {})?;
        while let Some((number, name)) = found.pop() {
            one(number, name)?;
        }
        give(db, &mut waiting, customers)
    }

    /// Whom a number of the damaged store stands for.
    pub(super) fn named(&mut self, number: u32, terms: &Terms) -> Named {
        if let Some(known) = self.remembered.get(&number) {
            return known.clone();
        }
        let stored = self.wreck.get(Family::Numbers, &key::number(number)).ok().flatten();
        let name = stored.and_then(|value| parse_name(&value).ok()).or_else(|| self.found.get(&number).cloned());
        let named = match name {
            _ if self.gone.contains(number) => Named::Erased,
            Some((_, id)) if id.is_empty() => Named::Erased,
            Some((kind, id)) => match terms.word(kind) {
                Some(kind) => Named::Entity(Entity { kind: kind.clone(), id }),
                None => Named::Lost,
            },
            None => Named::Lost,
        };
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(number, named.clone());
        named
    }

    /// The id of a number that the ledger names, if it can still be read.
    pub(super) fn id_of_gone(&self, number: u32) -> Option<Text> {
        let value = self.wreck.get(Family::Numbers, &key::number(number)).ok().flatten()?;
        parse_name(&value).ok().map(|(_, id)| id).filter(|id| !id.is_empty())
    }

    /// A set of customers in numbers of the new store, and how many were left out who should be in it.
    pub(super) fn translate(&self, numbers: &[u8]) -> Result<(RoaringBitmap, u64)> {
        let mut rest = numbers;
        let old = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|cause| Error::corrupt("not a set of customers").because(cause))?;
        if !rest.is_empty() {
            return Err(Error::corrupt("bytes behind a set of customers"));
        }
        let kept = &old & &self.customers;
        let lost = old.len() - (&old & &(&self.customers | &self.gone)).len();
        let new = kept.iter().map(|number| (self.customers.rank(number) - 1) as u32);
        Ok((new.collect(), lost))
    }
}

/// Gives numbers to those who wait, and notes which customers have one now.
fn give(db: &Db, waiting: &mut Vec<(u32, Entity)>, customers: &mut RoaringBitmap) -> Result<()> {
    let (numbers, entities): (Vec<u32>, Vec<Entity>) = waiting.drain(..).unzip();
    let named = db.adopt_names(entities)?;
    let kept = numbers.into_iter().zip(named).filter(|(number, named)| *named && *number < FIRST_OTHER);
    customers.extend(kept.map(|(number, _)| number));
    Ok(())
}
