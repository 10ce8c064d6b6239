//! The total order of events: time, the source's own sequence number (none first), source, id.

use std::cmp::Ordering;

use crate::codec::raw::RawEvent;
use crate::error::Result;
use crate::model::Text;
use crate::query::lookup::Resolver;

/// Sorts hits into the total order and drops the further copies of an event with several homes.
///
/// Most instants have one event; only within ties are source, id or content looked up.
pub(super) fn sort(hits: &mut Vec<RawEvent>, resolver: &Resolver<'_>) -> Result<()> {
    let key = |hit: &RawEvent| (hit.time, hit.sequence);
    if !hits.is_sorted_by_key(key) {
        hits.sort_by_key(key);
    }
    if hits.is_sorted_by(|a, b| key(a) < key(b)) {
        return Ok(());
    }
    let mut sorted = Vec::with_capacity(hits.len());
    let mut rest = std::mem::take(hits).into_iter().peekable();
    while let Some(first) = rest.next() {
        let tie_of = key(&first);
        let from = sorted.len();
        sorted.push(first);
        while let Some(next) = rest.next_if(|next| key(next) == tie_of) {
            sorted.push(next);
        }
        if sorted.len() - from > 1 {
            let tie = sorted.split_off(from);
            sorted.extend(sort_tie(tie, resolver)?);
        }
    }
    *hits = sorted;
    Ok(())
}

/// Sorts hits that tie, and drops further copies.
fn sort_tie(hits: Vec<RawEvent>, resolver: &Resolver<'_>) -> Result<Vec<RawEvent>> {
    // Copies are equal in every number: identities are unique, so equal content is the same event.
    // Few are compared with each other; of many, the names tell below.
    const FEW: usize = 16;
    let few = hits.len() <= FEW;
    let mut distinct: Vec<RawEvent> = Vec::with_capacity(hits.len());
    for hit in hits {
        if !few || !distinct.contains(&hit) {
            distinct.push(hit);
        }
    }
    if distinct.len() > 1 {
        let mut keyed = distinct
            .into_iter()
            .map(|hit| Ok((tie_key(&hit, resolver)?, hit)))
            .collect::<Result<Vec<((Text, Text), RawEvent)>>>()?;
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        keyed.dedup_by(|a, b| a.0 == b.0);
        distinct = keyed.into_iter().map(|(_, hit)| hit).collect();
    }
    Ok(distinct)
}

/// Source and id of a hit.
fn tie_key(hit: &RawEvent, resolver: &Resolver<'_>) -> Result<(Text, Text)> {
    let name = resolver.event(hit)?.name();
    Ok((name.source, name.id))
}

/// A place in the total order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) time: i64,
    pub(crate) sequence: Option<u64>,
    pub(crate) source: Text,
    pub(crate) id: Text,
}

impl Place {
    /// Compares a hit with this place, looking up source and id only if they decide.
    pub(super) fn compare(&self, hit: &RawEvent, resolver: &Resolver<'_>) -> Result<Ordering> {
        let coarse = (hit.time, hit.sequence).cmp(&(self.time, self.sequence));
        if coarse != Ordering::Equal {
            return Ok(coarse);
        }
        let (source, id) = tie_key(hit, resolver)?;
        Ok((source, id).cmp(&(self.source.clone(), self.id.clone())))
    }
}
