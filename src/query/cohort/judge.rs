//! What one event is like: a predicate bound to the numbers of a store.
//!
//! Most of a predicate depends on the shape alone, so for each shape it is folded once: to false, to
//! true, or to a test of what is left. Shapes made after that belong to no event of the snapshot.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use smallvec::SmallVec;

use crate::codec::raw::{self, Layout, RawEvent, RawValue};
use crate::dictionary::{ShapeEntry, TermTables};
use crate::error::Result;
use crate::expr::{Comparison, Predicate, TextTest};
use crate::model::{Entity, Text};
use crate::query::filter::matches;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;

/// What a shape alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No event of the shape satisfies it.
    False,
    /// Every event of the shape does.
    True,
    /// It depends on the event.
    Depends,
}

/// What is left of a predicate for the events of one shape.
#[derive(Clone, Debug)]
enum Test {
    Severity(Comparison, u8),
    Value(Comparison, f64),
    /// The attribute at this place reads so.
    Text {
        at: usize,
        test: Arc<TextTest>,
        terms: Arc<[u32]>,
    },
    Number {
        at: usize,
        comparison: Comparison,
        than: f64,
    },
    Entity {
        among: Among,
        which: Arc<Which>,
    },
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
}

/// Which entities of an event are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Among {
    Subjects,
    Context,
    Both,
}

impl Among {
    /// Their places among the entities of an event, subjects before context.
    pub(crate) fn places(self, layout: &Layout) -> Range<usize> {
        let subjects = usize::from(layout.subjects);
        let entities = subjects + usize::from(layout.context);
        match self {
            Among::Subjects => 0..subjects,
            Among::Context => subjects..entities,
            Among::Both => 0..entities,
        }
    }
}

/// Which entities are meant.
#[derive(Debug)]
enum Which {
    /// By number, ascending.
    Numbers(Vec<u32>),
    /// By pattern of `type:id`.
    Like(Text),
}

enum Folded {
    Known(bool),
    Open(Test),
}

#[derive(Clone, Debug)]
enum Judgement {
    False,
    True,
    /// What is left, and the severities with which it may hold: bit s.
    Depends(Box<(Test, u32)>),
}

/// Severities, of which 0 is none given.
pub(crate) const SEVERITIES: u32 = 25;
/// Every severity.
pub(crate) const ALL_SEVERITIES: u32 = (1 << SEVERITIES) - 1;

/// A predicate bound to the shapes, words and entities of a snapshot. Shared between threads.
#[derive(Debug)]
pub(crate) struct Judge {
    by_shape: Vec<Judgement>,
}

impl Judge {
    /// Cost: a look at each shape of the store.
    pub(crate) fn bind(predicate: &Predicate, snapshot: &Snapshot) -> Result<Judge> {
        // Names are looked up before terms are held.
        let mut entities: Vec<(&TextTest, Arc<Which>)> = Vec::new();
        name_entities(predicate, snapshot, &mut entities)?;
        let tables = snapshot.lookup.terms.read();
        let mut binding = Binding { tables: &tables, entities, terms: HashMap::default() };
        let kinds = named_kinds(predicate, &tables);
        let by_shape = tables.shapes().iter().map(|entry| {
            // Most shapes are of other kinds: a number tells that without a look at texts.
            if kinds.as_ref().is_some_and(|kinds| !kinds.contains(&entry.shape.kind)) {
                return Judgement::False;
            }
            match binding.fold(predicate, entry) {
                Folded::Known(false) => Judgement::False,
                Folded::Known(true) => Judgement::True,
                Folded::Open(test) => match test.severities() {
                    0 => Judgement::False,
                    severities => Judgement::Depends(Box::new((test, severities))),
                },
            }
        });
        Ok(Judge { by_shape: by_shape.collect() })
    }

    /// What the shape alone tells.
    pub(crate) fn verdict(&self, shape: u32) -> Verdict {
        match self.by_shape.get(shape as usize) {
            Some(Judgement::False) => Verdict::False,
            Some(Judgement::True) => Verdict::True,
            Some(Judgement::Depends(_)) | None => Verdict::Depends,
        }
    }

    /// The severities with which an event of the shape may satisfy it, as bits.
    pub(crate) fn severities(&self, shape: u32) -> u32 {
        match self.by_shape.get(shape as usize) {
            Some(Judgement::False) => 0,
            Some(Judgement::Depends(left)) => left.1,
            Some(Judgement::True) | None => ALL_SEVERITIES,
        }
    }

    /// Whether the event satisfies it.
    ///
    /// # Errors
    /// `Corrupt` for an event that no snapshot can hold; errors of the store where a pattern needs names.
    pub(crate) fn holds(&self, event: &RawEvent, eyes: &Eyes<'_>) -> Result<bool> {
        match self.by_shape.get(event.shape as usize) {
            Some(Judgement::False) => Ok(false),
            Some(Judgement::True) => Ok(true),
            Some(Judgement::Depends(left)) => left.0.holds(event, eyes),
            None => Err(raw::unknown_shape(event.shape)),
        }
    }

    /// What the shape and what is `seen` of an event tell. `None` when it must be read.
    pub(crate) fn glance(&self, shape: u32, seen: &Seen<'_>) -> Option<bool> {
        match self.by_shape.get(shape as usize)? {
            Judgement::False => Some(false),
            Judgement::True => Some(true),
            Judgement::Depends(left) => left.0.with(seen),
        }
    }

    /// Whether shape and severity tell everything about events of the shape.
    pub(crate) fn is_told_by_class(&self, shape: u32) -> bool {
        match self.by_shape.get(shape as usize) {
            Some(Judgement::Depends(left)) => left.0.is_of_severity(),
            Some(_) => true,
            None => false,
        }
    }

    /// Calls `seen` with the place of each attribute whose text decides about events of the shape.
    pub(crate) fn attributes(&self, shape: u32, seen: &mut dyn FnMut(usize)) {
        if let Some(Judgement::Depends(left)) = self.by_shape.get(shape as usize) {
            left.0.attributes(seen);
        }
    }

    /// Entities, ascending, one of which every event that satisfies it names, where there are such.
    pub(crate) fn named(&self) -> Option<Vec<u32>> {
        let mut all = Vec::new();
        for judgement in &self.by_shape {
            match judgement {
                Judgement::False => {}
                Judgement::True => return None,
                Judgement::Depends(left) => all.extend(left.0.named()?),
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let open = self.by_shape.iter().filter(|judgement| matches!(judgement, Judgement::Depends(_))).count();
        self.by_shape.len() * size_of::<Judgement>() + open * 2 * size_of::<(Test, u32)>()
    }
}

/// What of an event is known without reading it.
pub(crate) struct Seen<'a> {
    pub(crate) severity: u8,
    /// The number of the text of the attribute at a place of the shape.
    pub(crate) term: &'a dyn Fn(usize) -> Option<u32>,
    /// Whether one of these entities (ascending) is among its subjects, its context, or either.
    pub(crate) names: &'a dyn Fn(Among, &[u32]) -> Option<bool>,
}

impl Seen<'_> {
    /// Nothing but the severity.
    pub(crate) fn severity(severity: u8) -> Seen<'static> {
        Seen { severity, term: &|_| None, names: &|_, _| None }
    }
}

/// What judging needs besides the judge.
pub(crate) struct Eyes<'a> {
    pub(crate) resolver: &'a Resolver<'a>,
    pub(crate) likes: &'a Likes,
}

/// Entities that were held against a pattern, and the outcome: one a thread.
#[derive(Debug, Default)]
pub(crate) struct Likes(RefCell<HashMap<Text, HashMap<u32, bool, FixedState>, FixedState>>);

/// Entities remembered for each pattern.
const LIKES_MAX: usize = 1 << 16;

impl Likes {
    fn fits(&self, pattern: &Text, entity: u32, resolver: &Resolver<'_>) -> Result<bool> {
        let mut known = self.0.borrow_mut();
        let of_pattern = match known.get_mut(pattern.as_str()) {
            Some(of_pattern) => of_pattern,
            None => known.entry(pattern.clone()).or_default(),
        };
        if let Some(&fits) = of_pattern.get(&entity) {
            return Ok(fits);
        }
        let fits = matches(pattern, &resolver.entity(entity)?.to_string());
        if of_pattern.len() >= LIKES_MAX {
            of_pattern.clear();
        }
        of_pattern.insert(entity, fits);
        Ok(fits)
    }
}

struct Binding<'a> {
    tables: &'a TermTables,
    entities: Vec<(&'a TextTest, Arc<Which>)>,
    /// The numbered texts of a scope that fit a test, ascending.
    terms: HashMap<(*const TextTest, u32), Fitting, FixedState>,
}

#[derive(Clone)]
struct Fitting {
    test: Arc<TextTest>,
    terms: Arc<[u32]>,
}

impl Binding<'_> {
    fn fold(&mut self, predicate: &Predicate, entry: &ShapeEntry) -> Folded {
        let layout = entry.shape.layout;
        let place = |name: &Text| entry.attributes.iter().position(|(known, _)| known == name);
        match predicate {
            Predicate::Any => Folded::Known(true),
            Predicate::Kind(test) => Folded::Known(fits(test, &entry.kind)),
            Predicate::Source(test) => Folded::Known(fits(test, &entry.source)),
            Predicate::Layer(test) => Folded::Known(entry.layer.as_ref().is_some_and(|layer| fits(test, layer))),
            Predicate::Severity(comparison, than) => Folded::Open(Test::Severity(*comparison, than.number())),
            Predicate::Value(comparison, than) if layout.has_value => Folded::Open(Test::Value(*comparison, *than)),
            Predicate::Value(..) => Folded::Known(false),
            Predicate::HasAttribute(name) => Folded::Known(place(name).is_some()),
            Predicate::Attribute(name, test) => match place(name) {
                Some(at) => {
                    let Fitting { test, terms } = self.fitting(test, entry.attributes[at].1);
                    Folded::Open(Test::Text { at, test, terms })
                }
                None => Folded::Known(false),
            },
            Predicate::AttributeNumber(name, comparison, than) => match place(name) {
                Some(at) => Folded::Open(Test::Number { at, comparison: *comparison, than: *than }),
                None => Folded::Known(false),
            },
            Predicate::On(test) => self.entity(test, Among::Subjects, layout.subjects > 0),
            Predicate::With(test) => self.entity(test, Among::Context, layout.context > 0),
            Predicate::About(test) => self.entity(test, Among::Both, layout.subjects > 0 || layout.context > 0),
            Predicate::And(all) => self.gather(all, entry, false, Test::All),
            Predicate::Or(any) => self.gather(any, entry, true, Test::Any),
            Predicate::Not(inner) => match self.fold(inner, entry) {
                Folded::Known(known) => Folded::Known(!known),
                Folded::Open(test) => Folded::Open(Test::Not(Box::new(test))),
            },
        }
    }

    /// Folds several; one that is known to be `decisive` decides, and the opposite adds nothing.
    fn gather(
        &mut self,
        parts: &[Predicate],
        entry: &ShapeEntry,
        decisive: bool,
        make: fn(Vec<Test>) -> Test,
    ) -> Folded {
        let mut open = Vec::new();
        for part in parts {
            match self.fold(part, entry) {
                Folded::Known(known) if known == decisive => return Folded::Known(decisive),
                Folded::Known(_) => {}
                Folded::Open(test) => open.push(test),
            }
        }
        match open.len() {
            0 => Folded::Known(!decisive),
            1 => Folded::Open(open.swap_remove(0)),
            _ => Folded::Open(make(open)),
        }
    }

    fn entity(&self, test: &TextTest, among: Among, some: bool) -> Folded {
        let which = self.entities.iter().find(|(known, _)| *known == test).map(|(_, which)| which);
        match which {
            Some(which) if some && !matches!(&**which, Which::Numbers(numbers) if numbers.is_empty()) => {
                Folded::Open(Test::Entity { among, which: which.clone() })
            }
            _ => Folded::Known(false),
        }
    }

    fn fitting(&mut self, test: &TextTest, scope: u32) -> Fitting {
        let tables = self.tables;
        let make = || {
            let texts = tables.texts(scope).iter().zip(0u32..);
            let terms = texts.filter(|(text, _)| fits(test, text)).map(|(_, number)| number).collect();
            Fitting { test: Arc::new(test.clone()), terms }
        };
        self.terms.entry((std::ptr::from_ref(test), scope)).or_insert_with(make).clone()
    }
}

/// The kinds (word numbers) of all events that may satisfy `predicate`, where it names them.
fn named_kinds(predicate: &Predicate, tables: &TermTables) -> Option<SmallVec<[u32; 4]>> {
    let numbers = |texts: &[Text]| texts.iter().filter_map(|text| tables.number_of(text)).collect();
    match predicate {
        Predicate::Kind(TextTest::Is(kind)) => Some(numbers(std::slice::from_ref(kind))),
        Predicate::Kind(TextTest::OneOf(kinds)) => Some(numbers(kinds)),
        Predicate::And(parts) => parts.iter().find_map(|part| named_kinds(part, tables)),
        _ => None,
    }
}

/// Finds the numbers of all entities that `predicate` names.
fn name_entities<'a>(
    predicate: &'a Predicate,
    snapshot: &Snapshot,
    found: &mut Vec<(&'a TextTest, Arc<Which>)>,
) -> Result<()> {
    match predicate {
        Predicate::On(test) | Predicate::With(test) | Predicate::About(test) => {
            if found.iter().any(|(known, _)| *known == test) {
                return Ok(());
            }
            let texts = match test {
                TextTest::Is(text) => std::slice::from_ref(text),
                TextTest::OneOf(texts) => texts,
                TextTest::Like(pattern) => {
                    found.push((test, Arc::new(Which::Like(pattern.clone()))));
                    return Ok(());
                }
            };
            let mut numbers = Vec::new();
            for entity in texts.iter().filter_map(|text| text.parse::<Entity>().ok()) {
                numbers.extend(snapshot.number(&entity)?);
            }
            numbers.sort_unstable();
            numbers.dedup();
            found.push((test, Arc::new(Which::Numbers(numbers))));
        }
        Predicate::And(parts) | Predicate::Or(parts) => {
            parts.iter().try_for_each(|part| name_entities(part, snapshot, found))?;
        }
        Predicate::Not(inner) => name_entities(inner, snapshot, found)?,
        _ => {}
    }
    Ok(())
}

impl Test {
    fn holds(&self, event: &RawEvent, eyes: &Eyes<'_>) -> Result<bool> {
        Ok(match self {
            Test::Severity(comparison, than) => severity_fits(*comparison, event.severity, *than),
            Test::Value(comparison, than) => {
                event.value.is_some_and(|value| comparison_fits(*comparison, value.partial_cmp(than)))
            }
            Test::Text { at, test, terms } => match event.values.get(*at) {
                Some(RawValue::Term(term)) => terms.binary_search(term).is_ok(),
                Some(RawValue::Text(text)) => fits(test, text),
                Some(RawValue::Int(number)) => fits(test, &number.to_string()),
                Some(RawValue::Float(number)) => fits(test, &number.to_string()),
                Some(RawValue::Bool(flag)) => fits(test, if *flag { "true" } else { "false" }),
                None => false,
            },
            Test::Number { at, comparison, than } => match event.values.get(*at) {
                Some(RawValue::Int(number)) => comparison_fits(*comparison, compare_whole(*number, *than)),
                Some(RawValue::Float(number)) => comparison_fits(*comparison, number.partial_cmp(than)),
                _ => false,
            },
            Test::Entity { among, which } => {
                let subjects: &[u32] = if *among == Among::Context { &[] } else { &event.subjects };
                let context: &[u32] = if *among == Among::Subjects { &[] } else { &event.context };
                for &entity in subjects.iter().chain(context) {
                    let meant = match &**which {
                        Which::Numbers(numbers) => numbers.binary_search(&entity).is_ok(),
                        Which::Like(pattern) => eyes.likes.fits(pattern, entity, eyes.resolver)?,
                    };
                    if meant {
                        return Ok(true);
                    }
                }
                false
            }
            Test::All(all) => {
                for test in all {
                    if !test.holds(event, eyes)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Any(any) => {
                for test in any {
                    if test.holds(event, eyes)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Not(inner) => !inner.holds(event, eyes)?,
        })
    }

    /// The severities with which it may hold, as bits.
    fn severities(&self) -> u32 {
        let may = |severity: u32| self.with(&Seen::severity(severity as u8)) != Some(false);
        (0..SEVERITIES).filter(|&severity| may(severity)).fold(0, |all, bit| all | 1 << bit)
    }

    /// What is seen of an event tells.
    fn with(&self, seen: &Seen<'_>) -> Option<bool> {
        match self {
            Test::Severity(comparison, than) => Some(severity_fits(*comparison, seen.severity, *than)),
            Test::Text { at, terms, .. } => (seen.term)(*at).map(|term| terms.binary_search(&term).is_ok()),
            Test::Entity { among, which } => match &**which {
                Which::Numbers(numbers) => (seen.names)(*among, numbers),
                Which::Like(_) => None,
            },
            Test::All(all) => known(all, seen, false),
            Test::Any(any) => known(any, seen, true),
            Test::Not(inner) => inner.with(seen).map(|holds| !holds),
            Test::Value(..) | Test::Number { .. } => None,
        }
    }

    fn is_of_severity(&self) -> bool {
        match self {
            Test::Severity(..) => true,
            Test::All(parts) | Test::Any(parts) => parts.iter().all(Test::is_of_severity),
            Test::Not(inner) => inner.is_of_severity(),
            _ => false,
        }
    }

    fn attributes(&self, seen: &mut dyn FnMut(usize)) {
        match self {
            Test::Text { at, .. } => seen(*at),
            Test::All(parts) | Test::Any(parts) => parts.iter().for_each(|part| part.attributes(seen)),
            Test::Not(inner) => inner.attributes(seen),
            _ => {}
        }
    }

    /// Entities one of which an event names if it holds; `None` when there are none to tell.
    fn named(&self) -> Option<Vec<u32>> {
        match self {
            Test::Entity { which, .. } => match &**which {
                Which::Numbers(numbers) => Some(numbers.clone()),
                Which::Like(_) => None,
            },
            Test::All(all) => all.iter().filter_map(Test::named).min_by_key(Vec::len),
            Test::Any(any) => any.iter().map(Test::named).try_fold(Vec::new(), |mut all, part| {
                all.extend(part?);
                Some(all)
            }),
            _ => None,
        }
    }
}

fn known(tests: &[Test], seen: &Seen<'_>, decisive: bool) -> Option<bool> {
    let mut all_known = true;
    for test in tests {
        match test.with(seen) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}

/// Whether the text is as the test says.
pub(super) fn fits(test: &TextTest, text: &str) -> bool {
    match test {
        TextTest::Is(wanted) => wanted.as_str() == text,
        TextTest::Like(pattern) => matches(pattern, text),
        TextTest::OneOf(texts) => texts.iter().any(|wanted| wanted.as_str() == text),
    }
}

/// An event without severity has 0, which only `= 0` finds.
fn severity_fits(comparison: Comparison, severity: u8, than: u8) -> bool {
    if severity == 0 {
        return comparison == Comparison::Equal && than == 0;
    }
    comparison_fits(comparison, Some(severity.cmp(&than)))
}

fn comparison_fits(comparison: Comparison, order: Option<Ordering>) -> bool {
    order.is_some_and(|order| match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::Equal => order.is_eq(),
        Comparison::AtLeast => order.is_ge(),
        Comparison::Greater => order.is_gt(),
    })
}

/// Compares exactly: not every whole number of 64 bits is a float.
fn compare_whole(whole: i64, float: f64) -> Option<Ordering> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= END {
        return Some(Ordering::Less);
    }
    if float < -END {
        return Some(Ordering::Greater);
    }
    Some(whole.cmp(&(float.trunc() as i64)).then_with(|| 0.0f64.total_cmp(&(float.fract() + 0.0))))
}

#[cfg(test)]
mod tests;
