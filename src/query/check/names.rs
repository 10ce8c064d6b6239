//! Names of entities, from their numbers and back.

use crate::codec::key;
use crate::codec::raw::FIRST_OTHER;
use crate::dictionary::parse_name;
use crate::error::Result;
use crate::query::check::{Check, add};
use crate::segment::load_counts;
use crate::store::Family;

impl Check<'_> {
    /// Names and numbers must tell the same, numbers without gaps.
    pub(super) fn names(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        let report = &mut self.report;
        let mut entities = 0;
        snapshot.view.snapshot.with_cursor(Family::Numbers, |cursor| {
            let mut expected = 0u32;
            let mut entry = cursor.seek(&[])?;
            let mut name = Vec::new();
            while let Some((key, value)) = entry {
                let number = key::parse_number(key)?;
                if number >= FIRST_OTHER && expected < FIRST_OTHER {
                    expected = FIRST_OTHER;
                }
                if number != expected {
                    add(report, format!("entity {expected} has no name, {number} comes next"));
                }
                expected = number.wrapping_add(1);
                match parse_name(value) {
                    // The number of somebody who was erased.
                    Ok((_, id)) if id.is_empty() => {
                        if !snapshot.view.erased.contains(number) {
                            add(report, format!("entity {number} has no name, and no erasure tells why"));
                        }
                        entry = cursor.advance()?;
                        continue;
                    }
                    Ok((kind, id)) => {
                        key::name(kind, &id, &mut name);
                        let back = snapshot.view.snapshot.get(Family::Names, &name)?;
                        if back.as_deref() != Some(&key::number(number)[..]) {
                            add(report, format!("the name of entity {number} leads elsewhere"));
                        }
                    }
                    Err(error) => add(report, format!("name of entity {number}: {error}")),
                }
                entities += 1;
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        let counts = load_counts(&snapshot.view.snapshot)?;
        if counts.entities.iter().sum::<u64>() != entities {
            add(report, format!("{entities} entities where {} are counted", counts.entities.iter().sum::<u64>()));
        }
        self.report.entities = entities;
        Ok(())
    }

    /// Every name must be that of the number to which it leads.
    pub(super) fn names_back(&mut self) -> Result<()> {
        let Check { snapshot, report, .. } = self;
        let snapshot = &snapshot.view.snapshot;
        snapshot.with_cursor(Family::Names, |cursor| {
            let mut entry = cursor.seek(&[])?;
            let mut name = Vec::new();
            while let Some((key, value)) = entry {
                let number = key::parse_number(value).map_err(|error| error.at("the number of a name"))?;
                let leads_back = snapshot.get(Family::Numbers, &key::number(number))?.is_some_and(|value| {
                    parse_name(&value).is_ok_and(|(kind, id)| {
                        key::name(kind, &id, &mut name);
                        name == key
                    })
                });
                if !leads_back {
                    add(report, format!("a name leads to entity {number}, which has another"));
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })
    }
}
