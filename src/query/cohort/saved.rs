//! Cohorts under a name.

use roaring::RoaringBitmap;

use crate::codec::raw::FIRST_OTHER;
use crate::codec::{key, record};
use crate::error::{Error, ErrorKind, Result};
use crate::model::limits::COHORT_NAME_BYTES;
use crate::model::{Text, Timestamp};
use crate::query::cohort::set::Cohort;
use crate::query::snapshot::Snapshot;
use crate::store::{Batch, Family, Store};

/// A cohort that was saved under a name: [`crate::Db::save_cohort`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedCohort {
    /// Its name, as in `cohort(name)`.
    pub name: Text,
    /// The text of the expression it came from. The set does not follow it any more.
    pub expr: Text,
    /// The last commit that was visible when it was found.
    pub commit: u64,
    /// The instant from which relative moments were counted.
    pub now: Timestamp,
    /// How many customers there are.
    pub customers: u64,
}

fn key_of(name: &str) -> Vec<u8> {
    [&key::COHORT[..], name.as_bytes()].concat()
}

/// A cohort that is to have a name.
pub(crate) struct Draft {
    key: Vec<u8>,
    members: RoaringBitmap,
    expr: String,
    commit: u64,
    now: i64,
}

impl Draft {
    /// # Errors
    /// `Invalid` for a name that is empty or longer than 256 bytes.
    pub(crate) fn new(name: &str, cohort: &Cohort) -> Result<Draft> {
        if name.is_empty() || name.len() > COHORT_NAME_BYTES {
            return Err(Error::invalid(format!(
                "the name of a cohort has 1 to {COHORT_NAME_BYTES} bytes, not {}",
                name.len()
            )));
        }
        Ok(Draft {
            key: key_of(name),
            members: cohort.numbers().clone(),
            expr: cohort.expr().to_string(),
            commit: cohort.commit(),
            now: cohort.now().as_nanos(),
        })
    }

    /// Puts it in place of the one that has the name, without those `erased` since it was found, and with another
    /// text where its own may not be told.
    pub(crate) fn put(mut self, store: &Store, batch: &mut Batch, erased: &RoaringBitmap, instead: Option<&str>) {
        self.members -= erased;
        let mut numbers = Vec::with_capacity(self.members.serialized_size());
        self.members.serialize_into(&mut numbers).expect("memory takes any bitmap");
        let expr = instead.map_or(self.expr, str::to_owned);
        let record = record::SavedCohort { expr, commit: self.commit, now: self.now, numbers };
        batch.put(store, Family::Meta, &self.key, &record::encode(&record));
    }
}

/// Removes the cohort of a name; whether there is one.
pub(crate) fn remove(store: &Store, batch: &mut Batch, name: &str) -> Result<bool> {
    let key = key_of(name);
    let is_there = store.get(Family::Meta, &key)?.is_some();
    batch.delete(store, Family::Meta, &key);
    Ok(is_there)
}

/// The cohort of a name, as of the snapshot.
pub(crate) fn load(snapshot: &Snapshot, name: &str) -> Result<Option<(SavedCohort, RoaringBitmap)>> {
    let value = snapshot.view.snapshot.get(Family::Meta, &key_of(name))?;
    value.map(|value| parse(snapshot, name, &value)).transpose()
}

/// All cohorts, by name, as of the snapshot.
pub(crate) fn all(snapshot: &Snapshot) -> Result<Vec<SavedCohort>> {
    snapshot.view.snapshot.with_cursor(Family::Meta, |cursor| {
        let mut found = Vec::new();
        let mut entry = cursor.seek(key::COHORT)?;
        while let Some((key, value)) = entry {
            let Some(name) = key.strip_prefix(key::COHORT) else { break };
            let name = std::str::from_utf8(name)
                .map_err(|cause| Error::corrupt("name of a cohort is not UTF-8").because(cause))?;
            found.push(parse(snapshot, name, value)?.0);
            entry = cursor.advance()?;
        }
        Ok(found)
    })
}

/// Reads all cohorts, and tells of each that is no set of customers.
///
/// # Errors
/// Those of reading.
pub(crate) fn check(snapshot: &Snapshot, tell: &mut dyn FnMut(String)) -> Result<()> {
    snapshot.view.snapshot.with_cursor(Family::Meta, |cursor| {
        let mut entry = cursor.seek(key::COHORT)?;
        while let Some((key, value)) = entry {
            let Some(name) = key.strip_prefix(key::COHORT) else { break };
            match std::str::from_utf8(name).map(|name| parse(snapshot, name, value)) {
                Ok(Ok((_, numbers))) if numbers.max().is_some_and(|number| number >= FIRST_OTHER) => {
                    tell(format!("cohort `{}` has somebody who is no customer", String::from_utf8_lossy(name)));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tell(error.to_string()),
                Err(_) => tell("the name of a cohort is not UTF-8".to_owned()),
            }
            entry = cursor.advance()?;
        }
        Ok(())
    })
}

/// What there is not.
pub(crate) fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no cohort is saved as `{name}`"))
}

fn parse(snapshot: &Snapshot, name: &str, value: &[u8]) -> Result<(SavedCohort, RoaringBitmap)> {
    let place = || format!("cohort `{name}`");
    let record: record::SavedCohort = record::decode(value).map_err(|error| error.at(place()))?;
    let mut rest = &record.numbers[..];
    let mut numbers = RoaringBitmap::deserialize_from(&mut rest)
        .map_err(|cause| Error::corrupt("not a set of customers").because(cause).at(place()))?;
    if !rest.is_empty() {
        return Err(Error::corrupt(format!("{} bytes behind a set of customers", rest.len())).at(place()));
    }
    // It may have been saved while somebody of it was erased.
    numbers -= &*snapshot.view.erased;
    let saved = SavedCohort {
        name: Text::from(name),
        expr: Text::from(record.expr),
        commit: record.commit,
        now: Timestamp::from_nanos(record.now),
        customers: numbers.len(),
    };
    Ok((saved, numbers))
}
