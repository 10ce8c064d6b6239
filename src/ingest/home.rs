//! Where an event's row is to lie.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::codec::key::{LinkKey, Side, Statement};
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::model::{Interval, Timestamp};
use crate::segment::NOWHERE;
use crate::store::{Batch, Family, Store};
use crate::topology::{Edge, LinkView, encode_value};

/// Links followed upwards to find the customer that a subject belongs to.
const HOPS_MAX: usize = 4;
/// Subjects whose home is remembered, in each of two generations.
const GENERATION_MAX: usize = (1 << 20) / 8 * 7;

#[derive(Clone, Copy)]
struct Home {
    home: u32,
    /// The presences that may lie there.
    during: Interval,
    /// Whether somebody depends on the home, a customer, and so on the subject too.
    felt_by_others: bool,
}

/// What [`Homes::of`] wrote down, for whoever keeps account of it.
#[derive(Default)]
pub(super) struct Placed {
    /// Subjects of new placements.
    pub(super) subjects: Vec<u32>,
    /// Those among them that others than their home feel.
    pub(super) suspects: Vec<u32>,
}

type Generation = HashMap<u32, Home, FixedState>;

/// Chooses homes; one per store, on the commit thread.
///
/// An event lies with the customer to whom its subject is private at the time, as far as is known
/// now: then one range serves a customer's stream. That is a choice of place only. Each (subject,
/// home) pair is written down as a *placement*, with the interval whose events lie there, so a
/// reader finds the event whatever is said about links later; hence a stale memory here is harmless.
#[derive(Default)]
pub(super) struct Homes {
    young: Generation,
    old: Generation,
}

impl Homes {
    /// The homes of an event with these subjects and this presence, ascending: at least one.
    #[expect(clippy::too_many_arguments, reason = "what one caller has at hand, no concept of its own")]
    pub(super) fn of(
        &mut self,
        subjects: &[u32],
        presence: Interval,
        links: &LinkView<'_>,
        commit: u64,
        store: &Store,
        batch: &mut Batch,
        placed: &mut Placed,
    ) -> Result<SmallVec<[u32; 2]>> {
        let mut homes = SmallVec::new();
        for &subject in subjects {
            let home = if subject < FIRST_OTHER {
                subject
            } else {
                self.of_other(subject, presence, links, commit, store, batch, placed)?
            };
            homes.push(home);
        }
        if homes.is_empty() {
            homes.push(NOWHERE);
        }
        if homes.len() > 1 {
            homes.sort_unstable();
            homes.dedup();
        }
        Ok(homes)
    }

    #[expect(clippy::too_many_arguments, reason = "the one caller is above; a struct would only rename them")]
    fn of_other(
        &mut self,
        subject: u32,
        presence: Interval,
        links: &LinkView<'_>,
        commit: u64,
        store: &Store,
        batch: &mut Batch,
        placed: &mut Placed,
    ) -> Result<u32> {
        let known = self.young.get(&subject).copied().or_else(|| {
            let home = self.old.remove(&subject)?;
            self.remember(subject, home);
            Some(home)
        });
        if let Some(known) = known
            && covers(&known.during, &presence)
        {
            return Ok(known.home);
        }
        let home = find(subject, presence.from, links)?;
        if home.home == subject {
            self.remember(subject, home);
        } else if covers(&home.during, &presence) {
            // Remembered only once it is written down: a home that no placement names is lost.
            self.remember(subject, home);
            let key = LinkKey {
                entity: subject,
                side: Side::Placement,
                relation: 0,
                other: home.home,
                statement: Statement::Add,
                from: home.during.from.as_nanos(),
                to: home.during.to.as_nanos(),
            };
            batch.put(store, Family::Links, &key.encode(), &encode_value(0, commit));
            placed.subjects.push(subject);
            if home.felt_by_others {
                placed.suspects.push(subject);
            }
            return Ok(home.home);
        }
        Ok(subject)
    }

    fn remember(&mut self, subject: u32, home: Home) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(subject, home);
    }

    /// Forgets the subjects whose home is `home`.
    pub(super) fn forget_home(&mut self, home: u32) {
        self.young.retain(|_, known| known.home != home);
        self.old.retain(|_, known| known.home != home);
    }

    /// Forgets a subject whose links change.
    pub(super) fn forget(&mut self, subject: u32) {
        self.young.remove(&subject);
        self.old.remove(&subject);
    }
}

fn covers(during: &Interval, presence: &Interval) -> bool {
    during.from <= presence.from && presence.to <= during.to
}

/// Climbs from the subject while exactly one entity depends on it; a customer at the top is its home,
/// for as long as nobody else depends on anything on the way.
fn find(subject: u32, at: Timestamp, links: &LinkView<'_>) -> Result<Home> {
    let itself = Home { home: subject, during: Interval::ALL, felt_by_others: false };
    let mut entity = subject;
    let mut during = Interval::ALL;
    for _ in 0..HOPS_MAX {
        let mut only: Option<Edge> = None;
        let mut shared = false;
        let mut others: SmallVec<[Edge; 4]> = SmallVec::new();
        links.edges(entity, Side::Incoming, &mut |edge| {
            if edge.validity.contains(at) {
                shared = only.is_some_and(|known| known.other != edge.other);
                only = Some(only.map_or(edge, |known| longer(known, edge)));
            } else {
                others.push(edge);
            }
            !shared
        })?;
        let Some(edge) = only.filter(|_| !shared) else { return Ok(itself) };
        during = during.intersect(&edge.validity);
        for other in others.iter().filter(|other| other.other != edge.other) {
            if other.validity.to <= at {
                during.from = during.from.max(other.validity.to);
            } else {
                during.to = during.to.min(other.validity.from);
            }
        }
        if edge.other < FIRST_OTHER {
            let mut felt_by_others = false;
            links.edges(edge.other, Side::Incoming, &mut |_| {
                felt_by_others = true;
                false
            })?;
            return Ok(Home { home: edge.other, during, felt_by_others });
        }
        entity = edge.other;
    }
    Ok(itself)
}

fn longer(a: Edge, b: Edge) -> Edge {
    if a.validity.to >= b.validity.to { a } else { b }
}
