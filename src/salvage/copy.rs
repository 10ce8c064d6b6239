//! Links, events and saved cohorts, from the damaged store into the new one.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::codec::chunk::{self, ChunkBase, Everything, Row, Scratch};
use crate::codec::key::{self, Side, Statement};
use crate::codec::raw::{RawEvent, RawValue};
use crate::codec::record::{self, LogRow, Manifest, SavedCohort, SegmentMeta};
use crate::codec::varint::Reader;
use crate::db::{Db, Writer};
use crate::error::{Error, Result};
use crate::ingest::{Batch, ERASED, EXPR_ERASED, Ledger, tells};
use crate::model::{Entity, Event, Link, LinkChange, Outcome, Severity, Text, Timestamp, Value};
use crate::salvage::names::{Named, Names};
use crate::salvage::one;
use crate::salvage::report::SalvageReport;
use crate::salvage::terms::Terms;
use crate::segment::{MANIFEST, homes_key};
use crate::store::{Family, Wreck};
use crate::topology::decode_row;

/// Records committed together.
const AT_ONCE: usize = 4096;
/// Bytes of texts committed together, about.
const BYTES_AT_ONCE: usize = 8 << 20;

/// What a record of the damaged store is in words.
enum Told<T> {
    Record(T),
    /// It names somebody erased, and goes with them.
    Erased,
    /// Something that it needs is lost.
    Lost(String),
}

/// Reads one store and writes the other.
pub(super) struct Copier<'a> {
    wreck: &'a Wreck,
    db: &'a Db,
    writer: Writer,
    terms: Terms,
    names: Names<'a>,
    pub(super) report: SalvageReport,
    batch: Batch,
    batch_bytes: usize,
    /// Records that the new store did not have and has now.
    inserted: u64,
    scratch: Scratch,
}

/// What was found of one segment.
struct Found<'m> {
    meta: &'m SegmentMeta,
    /// Homes whose key was read.
    homes: RoaringBitmap,
    /// Of homes with more than one chunk: how many there are, if that was read, and which were read.
    chunks: HashMap<u32, (Option<u32>, RoaringBitmap)>,
    /// Rows in words.
    rows: u64,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        wreck: &'a Wreck,
        db: &'a Db,
        terms: Terms,
        names: Names<'a>,
        report: SalvageReport,
    ) -> Copier<'a> {
        let (writer, batch, scratch) = (db.writer(), Batch::new(), Scratch::default());
        Copier { wreck, db, writer, terms, names, report, batch, batch_bytes: 0, inserted: 0, scratch }
    }

    pub(super) fn report(self) -> SalvageReport {
        self.report
    }

    fn has_lost_table(&self, family: Family) -> bool {
        self.wreck.lost_tables().iter().any(|table| table.family == family)
    }

    fn commit(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        let receipt = self.writer.commit(std::mem::take(&mut self.batch))?;
        self.inserted += receipt.inserted() as u64;
        for outcome in receipt.outcomes() {
            match outcome {
                Outcome::Inserted | Outcome::Duplicate => {}
                Outcome::Rejected(rejection) if rejection.reason() == ERASED => self.report.erased += 1,
                Outcome::Rejected(rejection) => self.report.place(format!("refused: {}", rejection.reason())),
                _ => self.report.place("refused: its name is taken by something else"),
            }
        }
        Ok(())
    }

    fn commit_if_full(&mut self, bytes: usize) -> Result<()> {
        self.batch_bytes += bytes;
        if self.batch.len() >= AT_ONCE || self.batch_bytes >= BYTES_AT_ONCE { self.commit() } else { Ok(()) }
    }

    /// Copies the statements about links, of which there are `total`, if that can be read. Each stands under both
    /// its ends; the second is looked at when something of the family is lost.
    pub(super) fn links(&mut self, total: Option<u64>) -> Result<()> {
        let gaps = self.links_of(Side::Outgoing, true)?;
        if gaps || self.has_lost_table(Family::Links) {
            self.links_of(Side::Incoming, false)?;
        }
        let copied = std::mem::take(&mut self.inserted);
        self.report.links.copied = copied;
        if let Some(total) = total {
            self.report.links.lost = total.saturating_sub(copied + self.report.erased);
        }
        Ok(())
    }

    /// Copies the links in quarantine, of which there are `total`, if that can be read: into quarantine.
    pub(super) fn quarantine(&mut self, total: Option<u64>) -> Result<()> {
        let (before, lost) = (self.report.erased, self.report.links.lost);
        for (side, first) in [(Side::Outgoing, true), (Side::Incoming, false)] {
            self.quarantine_of(side, first)?;
        }
        let copied = std::mem::take(&mut self.inserted);
        self.report.links.copied += copied;
        if let Some(total) = total {
            // What was told on the way is among these, or was found under the other end.
            self.report.links.lost = lost + total.saturating_sub(copied + self.report.erased - before);
        }
        Ok(())
    }

    fn quarantine_of(&mut self, side: Side, first: bool) -> Result<()> {
        let wreck = self.wreck;
        let (mut gaps, mut batch) = (Vec::new(), Batch::new());
        let mut copied = 0;
        let mut send = |batch: Batch, db: &Db| -> Result<()> {
            copied += db.adopt_quarantined(batch)?.quarantined() as u64;
            Ok(())
        };
        let mut each = |key: &[u8], value: &[u8]| {
            match self.link(&key[key::QUARANTINE.len()..], value, side) {
                None => {}
                Some(Told::Record(change)) => {
                    batch.link(change);
                    if batch.len() >= AT_ONCE {
                        send(std::mem::take(&mut batch), self.db)?;
                    }
                }
                // Of both ends, one tells.
                Some(_) if !first => {}
                Some(Told::Erased) => self.report.erased += 1,
                Some(Told::Lost(why)) => {
                    self.report.links.lost += 1;
                    self.report.place(format!("quarantine: {why}"));
                }
            }
            Ok(())
        };
        let mut end = key::QUARANTINE.to_vec();
        *end.last_mut().expect("it is not empty") += 1;
        let range = (&key::QUARANTINE[..], Some(&end[..]));
        wreck.scan(Family::Meta, range, &mut each, &mut |gap| gaps.push(gap.0))?;
        send(batch, self.db)?;
        self.inserted += copied;
        if first {
            gaps.into_iter().for_each(|gap| self.report.place(format!("quarantine: {gap}")));
        }
        Ok(())
    }

    /// Copies the statements of one side, and tells whether there were gaps.
    fn links_of(&mut self, side: Side, first: bool) -> Result<bool> {
        let wreck = self.wreck;
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            match self.link(key, value, side) {
                None => {}
                Some(Told::Record(change)) => {
                    self.batch.link(change);
                    self.commit_if_full(0)?;
                }
                // Of both ends, one tells.
                Some(_) if !first => {}
                Some(Told::Erased) => self.report.erased += 1,
                Some(Told::Lost(why)) => {
                    self.report.links.lost += 1;
                    self.report.place(format!("links: {why}"));
                }
            }
            Ok(())
        };
        wreck.scan(Family::Links, (&[], None), &mut each, &mut |gap| gaps.push(gap.0))?;
        self.commit()?;
        let some = !gaps.is_empty();
        if first {
            gaps.into_iter().for_each(|gap| self.report.place(gap));
        }
        Ok(some)
    }

    fn link(&mut self, key: &[u8], value: &[u8], side: Side) -> Option<Told<LinkChange>> {
        let Ok(((key, source), _)) = decode_row(key, value) else {
            return Some(Told::Lost("a row does not decode".to_owned()));
        };
        if key.side != side {
            return None;
        }
        let (from, to) = if side == Side::Outgoing { (key.entity, key.other) } else { (key.other, key.entity) };
        let mut ends = Vec::new();
        for number in [from, to] {
            match self.names.named(number, &self.terms) {
                Named::Entity(entity) => ends.push(entity),
                Named::Erased => return Some(Told::Erased),
                Named::Lost => return Some(Told::Lost(format!("the name of entity {number} is lost"))),
            }
        }
        let word = |number| self.terms.word(number).cloned().ok_or(number);
        let (relation, source) = match (word(key.relation), word(source)) {
            (Ok(relation), Ok(source)) => (relation, source),
            (Err(word), _) | (_, Err(word)) => return Some(Told::Lost(format!("word {word} is lost"))),
        };
        let (to, from) = (ends.pop()?, ends.pop()?);
        let bounded = |nanos: i64, unbounded: Timestamp| {
            Some(Timestamp::from_nanos(nanos)).filter(|instant| *instant != unbounded)
        };
        let valid_from = bounded(key.from, Timestamp::MIN);
        Some(Told::Record(match key.statement {
            Statement::Add => {
                let mut link = Link::new(from, relation, to).source(source);
                (link.valid_from, link.valid_to) = (valid_from, bounded(key.to, Timestamp::MAX));
                LinkChange::Add(link)
            }
            Statement::Close => LinkChange::Close { from, relation, to, at: Timestamp::from_nanos(key.from), source },
            Statement::Retract => LinkChange::Retract { from, relation, to, valid_from, source },
        }))
    }

    /// Copies the events of sealed segments and of the log.
    pub(super) fn events(&mut self) -> Result<()> {
        let erased_before = self.report.erased;
        let manifest = one(self.wreck, (MANIFEST, "manifest"), record::decode, &mut self.report);
        let manifest: Option<Manifest> = manifest.or_else(|| self.without_manifest());
        let mut expected = 0;
        if let Some(manifest) = &manifest {
            expected = manifest.totals.events;
            for meta in &manifest.segments {
                self.segment(meta)?;
            }
        } else {
            self.unlisted()?;
        }
        expected += self.log(manifest.map_or(0, |manifest| manifest.trimmed))?;
        self.commit()?;
        let copied = std::mem::take(&mut self.inserted);
        self.report.events.copied = copied;
        self.report.events.lost = expected.saturating_sub(copied + self.report.erased - erased_before);
        Ok(())
    }

    /// A store that never sealed has no list of segments.
    fn without_manifest(&self) -> Option<Manifest> {
        let whole = matches!(self.wreck.get(Family::Meta, MANIFEST), Ok(None));
        (whole && !self.has_lost_table(Family::Meta)).then(Manifest::default)
    }

    /// Counts what lies in segments of which no list tells at what time they begin.
    fn unlisted(&mut self) -> Result<()> {
        let wreck = self.wreck;
        let mut chunks: HashMap<u32, u64> = HashMap::new();
        let mut each = |key: &[u8], _: &[u8]| {
            *chunks.entry(key::leading_number(key).unwrap_or(u32::MAX)).or_default() += 1;
            Ok(())
        };
        wreck.scan(Family::Rows, (&[], None), &mut each, &mut |_| {})?;
        let mut chunks: Vec<(u32, u64)> = chunks.into_iter().collect();
        chunks.sort_unstable();
        for (segment, count) in chunks {
            self.report.chunks.lost += count;
            self.report.place(format!("segment {segment}: {count} chunks without the manifest that tells their times"));
        }
        Ok(())
    }

    fn segment(&mut self, meta: &SegmentMeta) -> Result<()> {
        let wreck = self.wreck;
        let mut found = Found { meta, homes: RoaringBitmap::new(), chunks: HashMap::new(), rows: 0 };
        let from = key::row(meta.number, 0);
        let to = meta.number.checked_add(1).map(|next| key::row(next, 0));
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| self.row(&mut found, key, value);
        wreck.scan(Family::Rows, (&from, to.as_ref().map(|to| &to[..])), &mut each, &mut |gap| gaps.push(gap.0))?;
        gaps.into_iter().for_each(|gap| self.report.place(gap));
        if found.rows != meta.rows {
            self.ask_for_missing(&mut found)?;
        }
        self.report.rows.copied += found.rows;
        self.report.rows.lost += meta.rows.saturating_sub(found.rows);
        Ok(())
    }

    /// Asks for what was not met on the way, one by one, and tells what is not there.
    fn ask_for_missing(&mut self, found: &mut Found<'_>) -> Result<()> {
        let (wreck, segment) = (self.wreck, found.meta.number);
        let homes = wreck.get(Family::Meta, &homes_key(segment)).ok().flatten();
        let homes = homes.and_then(|bytes| RoaringBitmap::deserialize_from(&bytes[..]).ok());
        if homes.is_none() {
            self.report.place(format!("segment {segment}: the set of homes cannot be read"));
        }
        for home in homes.unwrap_or_default() - &found.homes {
            let key = key::row(segment, home);
            match wreck.get(Family::Rows, &key) {
                Ok(Some(value)) => self.row(found, &key, &value)?,
                _ => {
                    self.report.chunks.lost += u64::from(!found.chunks.contains_key(&home));
                    self.report.place(format!("segment {segment}, home {home}: its row cannot be read"));
                }
            }
        }
        let several: Vec<(u32, RoaringBitmap)> = found
            .chunks
            .iter()
            .map(|(home, (count, read))| (*home, (0..count.unwrap_or(0)).filter(|at| !read.contains(*at)).collect()))
            .collect();
        for (home, missing) in several {
            for number in missing {
                let key = key::chunk(segment, home, number);
                match wreck.get(Family::Rows, &key) {
                    Ok(Some(value)) => self.row(found, &key, &value)?,
                    _ => {
                        self.report.chunks.lost += 1;
                        self.report.place(format!("segment {segment}, home {home}: chunk {number} cannot be read"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what stands under one key of a segment.
    fn row(&mut self, found: &mut Found<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let segment = found.meta.number;
        let Ok((_, home, number)) = key::parse_row(key) else {
            self.report.place(format!("segment {segment}: a key of no row"));
            return Ok(());
        };
        let base = ChunkBase { home, time: found.meta.first, commit: found.meta.first_commit };
        let row = match number {
            Some(number) => {
                found.chunks.entry(home).or_default().1.insert(number);
                Ok(Row::Chunk(value))
            }
            None => {
                found.homes.insert(home);
                chunk::decode_row(value, base)
            }
        };
        let mut events = Vec::new();
        let decoded = row.and_then(|row| match row {
            Row::Directory(directory) => {
                found.chunks.entry(home).or_default().0 = Some(directory.0.len() as u32);
                Ok(false)
            }
            Row::Chunk(bytes) => {
                chunk::decode(bytes, base, &self.terms, &Everything, &mut self.scratch, &mut events).map(|()| true)
            }
        });
        match decoded {
            Ok(has_events) => self.report.chunks.copied += u64::from(has_events),
            Err(error) => {
                self.report.chunks.lost += 1;
                self.report.place(format!("segment {segment}, home {home}: {}", error.message()));
            }
        }
        for event in events {
            let place = || format!("segment {segment}, home {home}");
            found.rows += u64::from(self.take(event, &place)?);
        }
        Ok(())
    }

    /// Copies the events of the log, and tells how many those are that no segment has.
    fn log(&mut self, trimmed: u64) -> Result<u64> {
        let wreck = self.wreck;
        let (mut next, mut events) = (trimmed + 1, 0);
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            let Ok((_, commit)) = key::parse_log(key) else { return Ok(()) };
            if commit > next {
                self.report.log_rows.lost += commit - next;
                self.report.place(format!("log: commits {next} to {}", commit - 1));
            }
            next = next.max(commit + 1);
            match record::decode::<LogRow>(value) {
                Ok(row) => {
                    events += if commit > trimmed { u64::from(row.events) } else { 0 };
                    self.report.log_rows.copied += 1;
                    self.log_row(commit, &row)
                }
                Err(error) => {
                    self.report.log_rows.lost += 1;
                    self.report.place(format!("log, commit {commit}: {}", error.message()));
                    Ok(())
                }
            }
        };
        wreck.scan(Family::Log, (&[], None), &mut each, &mut |gap| gaps.push(gap.0))?;
        gaps.into_iter().for_each(|gap| self.report.place(gap));
        Ok(events)
    }

    fn log_row(&mut self, commit: u64, row: &LogRow) -> Result<()> {
        let mut lengths = Reader::new(&row.lengths);
        let mut rest = &row.packed[..];
        for _ in 0..row.events {
            let Some((packed, behind)) =
                lengths.varint_u32().ok().and_then(|length| rest.split_at_checked(length as usize))
            else {
                self.report.place(format!("log, commit {commit}: lengths do not fit the rows"));
                return Ok(());
            };
            rest = behind;
            let mut reader = Reader::new(packed);
            let event = RawEvent::unpack(&mut reader, &self.terms);
            match event.and_then(|event| reader.finish().map(|()| event)) {
                Ok(event) => drop(self.take(event, &|| format!("log, commit {commit}"))?),
                Err(error) => self.report.place(format!("log, commit {commit}: {}", error.message())),
            }
        }
        Ok(())
    }

    /// Has the new store take an event, if it can be told.
    fn take(&mut self, raw: RawEvent, place: &dyn Fn() -> String) -> Result<bool> {
        match self.event(raw) {
            Told::Record(event) => {
                let bytes = event.text_bytes();
                self.batch.event(event);
                self.commit_if_full(bytes)?;
                Ok(true)
            }
            Told::Erased => {
                self.report.erased += 1;
                Ok(true)
            }
            Told::Lost(why) => {
                self.report.place(format!("{}: {why}", place()));
                Ok(false)
            }
        }
    }

    /// An event in words. As an erasure leaves it: without whom it does not happen to any more, and not at all when
    /// it happened to nobody else.
    fn event(&mut self, raw: RawEvent) -> Told<Event> {
        let mut entities: [Vec<Entity>; 2] = Default::default();
        for (numbers, named) in [&raw.subjects[..], &raw.context[..]].into_iter().zip(&mut entities) {
            for &number in numbers {
                match self.names.named(number, &self.terms) {
                    Named::Entity(entity) => named.push(entity),
                    Named::Erased => {}
                    Named::Lost => return Told::Lost(format!("the name of entity {number} is lost")),
                }
            }
        }
        let [subjects, context] = entities;
        if subjects.is_empty() && !raw.subjects.is_empty() {
            return Told::Erased;
        }
        match self.in_words(raw) {
            Ok(mut event) => {
                (event.subjects, event.context) = (subjects.into(), context.into());
                Told::Record(event)
            }
            Err(why) => Told::Lost(why),
        }
    }

    /// An event without its entities.
    fn in_words(&self, raw: RawEvent) -> Result<Event, String> {
        let shape = self.terms.shape(raw.shape).ok_or_else(|| format!("shape {} is lost", raw.shape))?;
        let word = |number: u32| self.terms.word(number).ok_or_else(|| format!("word {number} is lost"));
        let mut event = Event::new(Timestamp::from_nanos(raw.time), word(shape.source)?, word(shape.kind)?);
        event.layer = shape.layer.checked_sub(1).map(word).transpose()?.cloned();
        event.severity = Severity::new(raw.severity).map_err(|error| error.message().to_owned())?;
        event.end = raw.end.map(Timestamp::from_nanos);
        (event.sequence, event.value, event.id) = (raw.sequence, raw.value, raw.id);
        for (&attribute, value) in shape.attributes.iter().zip(raw.values) {
            let value = match value {
                RawValue::Term(number) => {
                    let text = self.terms.text(shape.kind, attribute, number);
                    Value::Text(text.cloned().ok_or_else(|| format!("text {number} of an attribute is lost"))?)
                }
                RawValue::Text(text) => Value::Text(text),
                RawValue::Int(number) => Value::Int(number),
                RawValue::Float(number) => Value::Float(number),
                RawValue::Bool(flag) => Value::Bool(flag),
            };
            event.attributes.push((word(attribute)?.clone(), value));
        }
        Ok(event)
    }

    /// Copies saved cohorts, in numbers of the new store.
    pub(super) fn cohorts(&mut self, ledger: &Ledger) -> Result<()> {
        let unfinished = ledger.rows.iter().filter(|row| !row.done).flat_map(|row| &row.numbers);
        let ids: Vec<Text> = unfinished.filter_map(|number| self.names.id_of_gone(*number)).collect();
        let mut found = Vec::new();
        let mut gaps = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        let mut end = key::COHORT.to_vec();
        *end.last_mut().expect("it is not empty") += 1;
        let range = (&key::COHORT[..], Some(&end[..]));
        self.wreck.scan(Family::Meta, range, &mut each, &mut |gap| gaps.push(gap.0))?;
        for gap in gaps {
            self.report.cohorts.lost += 1;
            self.report.place(format!("saved cohorts: {gap}"));
        }
        for (at, (key, value)) in found.iter().enumerate() {
            match self.cohort(key, value, &ids) {
                Ok(0) => self.report.cohorts.copied += 1,
                Ok(lost) => {
                    self.report.cohorts.copied += 1;
                    self.report.place(format!(
                        "saved cohort {} of {}: {lost} members have no name",
                        at + 1,
                        found.len()
                    ));
                }
                Err(error) if error.kind() == crate::ErrorKind::Corrupt => {
                    self.report.cohorts.lost += 1;
                    self.report.place(format!("saved cohort {} of {}: {}", at + 1, found.len(), error.message()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copies one cohort, and tells how many members it lost.
    fn cohort(&self, key: &[u8], value: &[u8], erased_ids: &[Text]) -> Result<u64> {
        let name = key.strip_prefix(key::COHORT).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| Error::corrupt("its name is not UTF-8"))?;
        let mut saved: SavedCohort = record::decode(value)?;
        let (members, lost) = self.names.translate(&saved.numbers)?;
        saved.numbers.clear();
        members.serialize_into(&mut saved.numbers).expect("memory takes any bitmap");
        if erased_ids.iter().any(|id| tells(&saved.expr, id)) {
            EXPR_ERASED.clone_into(&mut saved.expr);
        }
        self.db.adopt_cohort(name, saved)?;
        Ok(lost)
    }
}
