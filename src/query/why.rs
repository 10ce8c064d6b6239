//! Why an event is in a stream, and why not.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::codec::key::{Side, Statement};
use crate::codec::raw::FIRST_OTHER;
use crate::error::{Error, ErrorKind, Result};
use crate::model::limits::{FAR_HOPS, HOPS};
use crate::model::{Event, EventName, Interval, IntervalSet, Link, Timestamp};
use crate::query::item::lasts;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::topology::{Edge, Facts, LinkView, NumberPath, load_quarantined};

/// A chain of links from a customer to a subject of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// The links, from the customer on, each with its effective validity. None when the customer is
    /// the subject.
    pub steps: Vec<Link>,
    /// The subject at its end.
    pub subject: crate::Entity,
    /// The first interval during which all links held together while the event was present.
    pub validity: Interval,
}

/// Why an event is in a customer's stream, or why not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Why {
    /// The event.
    pub event: Event,
    /// All minimal paths, shortest first; none when the event is not in the stream.
    pub paths: Vec<Path>,
    /// When there is no path: the first relaxation that would make one.
    pub why_not: Option<WhyNot>,
}

/// The first relaxation that would connect an event to a customer, tried in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNot {
    /// A path exists at other times: `blocking` is its first link that did not hold while the event
    /// was present, or, if each held at some time, the first that did not hold together with those before.
    OtherTime {
        /// The path; its validity is that of the blocking link.
        path: Path,
        /// The link that stands in the way.
        blocking: Link,
    },
    /// A path exists when links in quarantine are followed too.
    Quarantined {
        /// The path.
        path: Path,
        /// The first link of it that is in quarantine.
        blocking: Link,
    },
    /// A path exists, but it is longer than streams follow.
    MoreHops {
        /// Links on the path.
        hops: u32,
        /// The path.
        path: Path,
    },
    /// A path existed until a link of it was retracted.
    Retracted {
        /// The path, with the retracted link as it was added.
        path: Path,
        /// The link that was retracted.
        blocking: Link,
    },
    /// Nothing would connect them.
    NoPath,
}

/// All minimal paths to any of `subjects` during `during`.
pub(super) fn paths(
    snapshot: &Snapshot,
    customer: u32,
    subjects: &[u32],
    during: &IntervalSet,
    max_hops: u32,
) -> Result<Vec<Path>> {
    let links = snapshot.links_view();
    let resolver = Resolver::new(&snapshot.lookup);
    let mut found = Vec::new();
    for &subject in subjects {
        let paths = crate::topology::paths(&links, customer, subject, during, max_hops)?;
        found.extend(paths.into_iter().map(|path| (subject, path)));
    }
    crate::topology::minimal(found).iter().map(|(subject, path)| resolve(&resolver, path, *subject)).collect()
}

fn resolve(resolver: &Resolver<'_>, path: &NumberPath, subject: u32) -> Result<Path> {
    let steps = path.steps.iter().map(|(from, edge)| resolver.outgoing_link(*from, edge)).collect::<Result<_>>()?;
    Ok(Path { steps, subject: resolver.entity(subject)?, validity: path.validity })
}

/// Answers [`Snapshot::why`].
pub(super) fn why(snapshot: &Snapshot, customer: &str, name: &EventName) -> Result<Why> {
    let number = snapshot
        .number(&crate::Entity::new(&snapshot.lookup.customer_type, customer))?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no {} `{customer}`", snapshot.lookup.customer_type)))?;
    let raw =
        snapshot.find_event(name)?.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no event `{name}`")))?;
    let event = Resolver::new(&snapshot.lookup).event(&raw)?;
    let present = lasts(&raw);
    let found = paths(snapshot, number, &raw.subjects, &present.into(), HOPS)?;
    let why_not = if found.is_empty() { Some(why_not(snapshot, number, &raw.subjects, present)?) } else { None };
    Ok(Why { event, paths: found, why_not })
}

fn why_not(snapshot: &Snapshot, customer: u32, subjects: &[u32], present: Interval) -> Result<WhyNot> {
    let links = snapshot.links_view();
    let resolver = Resolver::new(&snapshot.lookup);
    let always = IntervalSet::all();
    let during = IntervalSet::from(present);

    if let Some((subject, path)) = shortest(&Timeless(&links), customer, subjects, &always, 1..=HOPS)? {
        let (path, blocking) = blocked(&links, path, present)?;
        let blocking = resolver.outgoing_link(blocking.0, &blocking.1)?;
        return Ok(WhyNot::OtherTime { path: resolve(&resolver, &path, subject)?, blocking });
    }
    if load_quarantined(&snapshot.view.snapshot)? > 0
        && let Some((subject, path)) = shortest(&Unguarded(&links), customer, subjects, &during, 1..=HOPS)?
    {
        let blocking = first_quarantined(&links, &path)?;
        let blocking = resolver.outgoing_link(blocking.0, &blocking.1)?;
        return Ok(WhyNot::Quarantined { path: resolve(&resolver, &path, subject)?, blocking });
    }
    if let Some((subject, path)) = shortest(&links, customer, subjects, &during, HOPS + 1..=FAR_HOPS)? {
        return Ok(WhyNot::MoreHops { hops: path.steps.len() as u32, path: resolve(&resolver, &path, subject)? });
    }
    if let Some((subject, path)) = shortest(&Withdrawn(&links), customer, subjects, &during, 1..=HOPS)? {
        // Without regard to time there was no path, so some step stands at no time at all.
        for (from, edge) in &path.steps {
            let mut stands = false;
            let link = (edge.relation, edge.other);
            links.outgoing(&[*from], &mut |_, known| stands |= (known.relation, known.other) == link)?;
            if !stands {
                let blocking = resolver.outgoing_link(*from, edge)?;
                return Ok(WhyNot::Retracted { path: resolve(&resolver, &path, subject)?, blocking });
            }
        }
    }
    Ok(WhyNot::NoPath)
}

/// The shortest path to any of `subjects`, of that many links. Of a mesh not all paths are listed, so
/// the shortest may be missing from a list of long ones: once there is some path, shorter ones are
/// asked for, the shortest first.
fn shortest<F: Facts>(
    facts: &F,
    customer: u32,
    subjects: &[u32],
    during: &IntervalSet,
    hops: RangeInclusive<u32>,
) -> Result<Option<(u32, NumberPath)>> {
    let mut best: Option<(u32, NumberPath)> = None;
    for &subject in subjects {
        let some = crate::topology::paths(facts, customer, subject, during, *hops.end())?;
        let enough = some.iter().map(|path| path.steps.len() as u32).min().unwrap_or(0);
        for most in *hops.start()..=enough {
            let found = crate::topology::paths(facts, customer, subject, during, most)?;
            if let Some(path) = found.into_iter().next() {
                if best.as_ref().is_none_or(|(_, known)| path.steps.len() < known.steps.len()) {
                    best = Some((subject, path));
                }
                break;
            }
        }
    }
    Ok(best)
}

/// Gives each step of a path found without regard to time the validity that is nearest to `present`,
/// and names the step that blocks.
fn blocked(links: &LinkView<'_>, mut path: NumberPath, present: Interval) -> Result<(NumberPath, (u32, Edge))> {
    let mut held = IntervalSet::from(present);
    let mut blocking: Option<(u32, Edge)> = None;
    for (from, step) in &mut path.steps {
        let mut nearest: Option<Edge> = None;
        let mut during = IntervalSet::new();
        links.outgoing(&[*from], &mut |_, edge| {
            if (edge.relation, edge.other) != (step.relation, step.other) {
                return;
            }
            during = during.union(&held.clip(&edge.validity));
            if nearest.is_none_or(|known| distance(&edge, present) < distance(&known, present)) {
                nearest = Some(edge);
            }
        })?;
        if let Some(edge) = nearest {
            *step = edge;
        }
        if during.is_empty() && blocking.is_none() {
            blocking = Some((*from, *step));
        }
        held = during;
    }
    let last = path.steps.last().copied().ok_or_else(|| Error::invalid("a path without links blocks nothing"))?;
    let blocking = blocking.unwrap_or(last);
    path.validity = blocking.1.validity;
    Ok((path, blocking))
}

/// How far a validity is from `present`, in nanoseconds.
fn distance(edge: &Edge, present: Interval) -> i128 {
    let nanos = |time: Timestamp| i128::from(time.as_nanos());
    let before = nanos(present.from) - nanos(edge.validity.to) + 1;
    let after = nanos(edge.validity.from) - nanos(present.to) + 1;
    before.max(after).max(0)
}

/// Links as if each held for ever.
struct Timeless<'a>(&'a LinkView<'a>);

impl Facts for Timeless<'_> {
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        self.0.outgoing(entities, &mut |index, edge| found(index, Edge { validity: Interval::ALL, ..edge }))
    }
}

/// Links as if none were in quarantine.
struct Unguarded<'a>(&'a LinkView<'a>);

impl Facts for Unguarded<'_> {
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        for (index, &entity) in entities.iter().enumerate() {
            let mut statements = self.0.quarantined(entity, Side::Outgoing)?;
            statements.extend(self.0.statements(entity, Side::Outgoing)?.into_iter().map(|(stated, _)| stated));
            statements.sort_unstable();
            crate::topology::effective(&statements, &mut |edge| found(index, edge));
        }
        Ok(())
    }
}

/// The first step of a path that those in force do not make.
fn first_quarantined(links: &LinkView<'_>, path: &NumberPath) -> Result<(u32, Edge)> {
    for (from, step) in &path.steps {
        let mut in_force = false;
        links.outgoing(&[*from], &mut |_, edge| {
            in_force |= (edge.relation, edge.other) == (step.relation, step.other)
                && edge.validity.intersect(&path.validity) == path.validity;
        })?;
        if !in_force {
            return Ok((*from, *step));
        }
    }
    path.steps.last().copied().ok_or_else(|| Error::invalid("a path without links has none in quarantine"))
}

/// Links as if none had been retracted.
struct Withdrawn<'a>(&'a LinkView<'a>);

impl Facts for Withdrawn<'_> {
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        for (index, &entity) in entities.iter().enumerate() {
            let mut statements: Vec<_> =
                self.0.statements(entity, Side::Outgoing)?.into_iter().map(|(stated, _)| stated).collect();
            statements.retain(|stated| stated.0.statement != Statement::Retract);
            crate::topology::effective(&statements, &mut |edge| found(index, edge));
        }
        Ok(())
    }
}

/// A stretch of time around `at` during which some customer other than `customer` depends on
/// `entity` over at most `max_hops` links; `None` if none does at `at`.
///
/// Depth first, a few dependents at a time: of a busy component nearly any dependent leads to another
/// customer, and a component can have millions.
pub(super) fn shared_during(
    snapshot: &Snapshot,
    entity: u32,
    customer: u32,
    at: Timestamp,
    max_hops: u32,
) -> Result<Option<Interval>> {
    /// Dependents read of an entity before what lies behind them is looked at.
    const FEW: usize = 16;
    struct Climb {
        entity: u32,
        hops_left: u32,
        /// When the links up to `entity` hold together.
        held: Interval,
        /// Whether the first dependents were looked at before.
        rest: bool,
    }
    let links = snapshot.links_view();
    // With how many hops to spare each entity was met: fewer find nothing that those did not.
    let mut met: HashMap<u32, u32> = HashMap::new();
    let mut stack = vec![Climb { entity, hops_left: max_hops, held: Interval::ALL, rest: false }];
    while let Some(Climb { entity, hops_left, held, rest }) = stack.pop() {
        if hops_left == 0 {
            continue;
        }
        let (mut passed, mut more) = (0, false);
        let mut dependents: Vec<Edge> = Vec::new();
        let mut other = None;
        links.edges(entity, Side::Incoming, &mut |edge| {
            if !edge.validity.contains(at) {
                return true;
            }
            passed += 1;
            if rest && passed <= FEW {
                return true;
            }
            more = !rest && passed > FEW;
            if more {
                return false;
            }
            if edge.other < FIRST_OTHER && edge.other != customer {
                other = Some(edge.validity);
            }
            dependents.push(edge);
            other.is_none()
        })?;
        if let Some(validity) = other {
            return Ok(Some(held.intersect(&validity)));
        }
        if more {
            stack.push(Climb { entity, hops_left, held, rest: true });
        }
        for edge in dependents {
            let spare = hops_left - 1;
            if met.get(&edge.other).is_none_or(|&known| known < spare) {
                met.insert(edge.other, spare);
                let held = held.intersect(&edge.validity);
                stack.push(Climb { entity: edge.other, hops_left: spare, held, rest: false });
            }
        }
    }
    Ok(None)
}
