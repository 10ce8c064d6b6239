//! Words, shapes and texts of a damaged store: those that can be read.

use std::collections::HashMap;

use crate::codec::key;
use crate::codec::raw::{Layout, Layouts};
use crate::codec::record::{self, Shape};
use crate::dictionary::{SCOPES, SHAPES, TEXTS, WORDS};
use crate::error::{Error, Result};
use crate::model::Text;
use crate::salvage::report::{SalvageReport, Salvaged};
use crate::store::{Family, Wreck};

/// Terms by their numbers, of which some may be missing.
#[derive(Default)]
pub(super) struct Terms {
    words: HashMap<u32, Text>,
    shapes: HashMap<u32, Shape>,
    /// Kind and attribute, by number.
    scopes: HashMap<u32, (u32, u32)>,
    scope_numbers: HashMap<(u32, u32), u32>,
    texts: HashMap<(u32, u32), Text>,
}

impl Layouts for Terms {
    fn layout(&self, shape: u32) -> Option<Layout> {
        self.shapes.get(&shape).map(|shape| shape.layout)
    }
}

impl Terms {
    pub(super) fn read(wreck: &Wreck, report: &mut SalvageReport) -> Result<Terms> {
        let mut terms = Terms::default();
        let mut gaps = Vec::new();
        let mut odd = 0u64;
        let mut each = |key: &[u8], value: &[u8]| {
            odd += u64::from(terms.take(key, value).is_err());
            Ok(())
        };
        wreck.scan(Family::Terms, (&[], None), &mut each, &mut |gap| gaps.push(gap.0))?;
        gaps.into_iter().for_each(|gap| report.place(gap));
        if odd > 0 {
            report.place(format!("terms: {odd} rows do not decode"));
        }
        report.words = terms.fill(wreck, report, WORDS, "word");
        report.shapes = terms.fill(wreck, report, SHAPES, "shape");
        report.scopes = terms.fill(wreck, report, SCOPES, "scope");
        report.texts = terms.fill_texts(wreck, report);
        terms.scope_numbers = terms.scopes.iter().map(|(number, scope)| (*scope, *number)).collect();
        Ok(terms)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (table, major, minor) = key::parse_term(key)?;
        let text = || {
            let text = std::str::from_utf8(value);
            text.map(Text::from).map_err(|cause| Error::corrupt("term is not UTF-8").because(cause))
        };
        match table {
            WORDS => drop(self.words.insert(major, text()?)),
            SHAPES => drop(self.shapes.insert(major, record::decode(value)?)),
            SCOPES => drop(self.scopes.insert(major, record::decode(value)?)),
            TEXTS => drop(self.texts.insert((major, minor), text()?)),
            _ => return Err(Error::corrupt("term of an unknown table")),
        }
        Ok(())
    }

    /// Numbers are given from 0 without gaps, so what is missing below the highest is known and asked for alone.
    fn fill(&mut self, wreck: &Wreck, report: &mut SalvageReport, table: u8, what: &str) -> Salvaged {
        let known: Vec<u32> = match table {
            WORDS => self.words.keys().copied().collect(),
            SHAPES => self.shapes.keys().copied().collect(),
            _ => self.scopes.keys().copied().collect(),
        };
        let mut lost = 0;
        for number in missing(&known) {
            if !self.ask(wreck, &key::term(table, number, 0)) {
                lost += 1;
                report.place(format!("terms, {what} {number}"));
            }
        }
        let end = known.iter().max().map_or(0, |last| u64::from(*last) + 1);
        Salvaged { copied: end - lost, lost }
    }

    fn fill_texts(&mut self, wreck: &Wreck, report: &mut SalvageReport) -> Salvaged {
        let mut known: HashMap<u32, Vec<u32>> = HashMap::new();
        for &(scope, number) in self.texts.keys() {
            known.entry(scope).or_default().push(number);
        }
        let mut lost = 0;
        for (scope, numbers) in known {
            for number in missing(&numbers) {
                if !self.ask(wreck, &key::term(TEXTS, scope, number)) {
                    lost += 1;
                    report.place(format!("terms, text {number} of scope {scope}"));
                }
            }
        }
        Salvaged { copied: self.texts.len() as u64, lost }
    }

    fn ask(&mut self, wreck: &Wreck, key: &[u8]) -> bool {
        let value = wreck.get(Family::Terms, key).ok().flatten();
        value.is_some_and(|value| self.take(key, &value).is_ok())
    }

    pub(super) fn word(&self, number: u32) -> Option<&Text> {
        self.words.get(&number)
    }

    pub(super) fn shape(&self, number: u32) -> Option<&Shape> {
        self.shapes.get(&number)
    }

    /// The numbered text of an attribute of a kind.
    pub(super) fn text(&self, kind: u32, attribute: u32, number: u32) -> Option<&Text> {
        self.texts.get(&(*self.scope_numbers.get(&(kind, attribute))?, number))
    }
}

/// The numbers below the highest that are not there.
fn missing(known: &[u32]) -> Vec<u32> {
    let mut known = known.to_vec();
    known.sort_unstable();
    let mut next = 0;
    let mut missing = Vec::new();
    for number in known {
        missing.extend(next..number);
        next = number.saturating_add(1);
    }
    missing
}
