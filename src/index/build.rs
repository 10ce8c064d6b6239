//! Makes the index of a segment in memory, home after home, slab after slab.

use std::cmp::Reverse;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::codec::book::{self, Place};
use crate::codec::calendar::Calendar;
use crate::codec::key;
use crate::codec::page::{
    self, ATTRIBUTE_TEXTS_MAX, Attribute, BlockEvents, Class, ENTITY_FIRST, ENTITY_HOME, ENTITY_NONE, ENTITY_OTHER,
};
use crate::codec::raw::{RawEvent, RawValue};
use crate::dictionary::Terms;
use crate::error::Result;
use crate::index::slab_of;
use crate::model::limits::TEXTS_OF_ATTRIBUTE;

/// What the index needs to know of a shape.
#[derive(Clone, Debug)]
pub(crate) struct ShapeFacts {
    /// Word number of its kind.
    pub(crate) kind: u32,
    /// Whether its events have an end.
    pub(crate) lasting: bool,
    /// The scope of each attribute.
    pub(crate) scopes: SmallVec<[u32; 2]>,
}

impl ShapeFacts {
    /// # Errors
    /// `Corrupt` for a shape that the store does not know.
    pub(crate) fn of(terms: &Terms, shape: u32) -> Result<ShapeFacts> {
        let tables = terms.read();
        let entry = tables.shape(shape)?;
        Ok(ShapeFacts {
            kind: entry.shape.kind,
            lasting: entry.shape.layout.has_end,
            scopes: entry.attributes.iter().map(|&(_, scope)| scope).collect(),
        })
    }
}

/// Takes what was made: keys in ascending order, each with its value.
pub(crate) type Sink<'a> = dyn FnMut(&[u8; key::INDEX_LEN], &[u8]) -> Result<()> + 'a;

/// No class was given.
const NONE: u16 = u16::MAX;
/// Severities, of which 0 is none given.
const SEVERITIES: usize = 25;

/// Classes of a page at most. Events of further ones are of none that is known: a question looks at their rows.
pub(crate) const CLASSES_MAX: usize = 1 << 15;

/// A shape as the writer knows it.
struct Known {
    facts: ShapeFacts,
    /// Place of the page of its kind.
    page: usize,
    /// Class in the current slab for each severity.
    classes: [u16; SEVERITIES],
    /// For each attribute, its column in the page.
    columns: SmallVec<[usize; 2]>,
}

/// A column of attribute texts, while it grows.
struct Column {
    scope: u32,
    texts: Vec<u32>,
    /// Code of each text number: its place among the texts plus one.
    codes: Vec<u8>,
    /// Whether there were more texts than a page numbers.
    full: bool,
}

/// The page of one kind in the current slab.
struct Growing {
    kind: u32,
    classes: Vec<Class>,
    columns: Vec<Column>,
    lasting: bool,
    blocks: Vec<BlockEvents>,
    /// Place of each block among them.
    places: HashMap<i64, usize, FixedState>,
    last: usize,
}

/// Takes homes in ascending order, and hands out each slab when the next one begins.
///
/// What is made depends on the events and their order alone, byte for byte: `check` rests on that.
/// Cost: the slab at hand is held in memory.
pub(crate) struct IndexBuilder {
    segment: u32,
    calendar: Calendar,
    shapes: Vec<Option<Box<Known>>>,
    pages: Vec<Growing>,
    page_of_kind: HashMap<u32, usize, FixedState>,
    slab: Option<u16>,
    book: Vec<Place>,
    mentions: Vec<u32>,
    /// Entities under the current home, ascending, each with its rank.
    named: Vec<(u32, u8)>,
    bytes: Vec<u8>,
}

impl IndexBuilder {
    pub(crate) fn new(segment: u32, calendar: Calendar) -> IndexBuilder {
        IndexBuilder {
            segment,
            calendar,
            shapes: Vec::new(),
            pages: Vec::new(),
            page_of_kind: HashMap::default(),
            slab: None,
            book: Vec::new(),
            mentions: Vec::new(),
            named: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Adds the events of `home`, in ascending time; homes must ascend. `facts` is asked once a shape.
    pub(crate) fn home(
        &mut self,
        home: u32,
        events: &[RawEvent],
        facts: &dyn Fn(u32) -> Result<ShapeFacts>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        if self.slab != Some(slab_of(home)) {
            self.flush(sink)?;
            self.slab = Some(slab_of(home));
        }
        let mut named = std::mem::take(&mut self.named);
        rank(home, events, &mut self.mentions, &mut named);
        for event in events {
            self.event(home, &named, event, facts)?;
        }
        self.book.extend(named.iter().map(|&(entity, rank)| Place { entity, home: home as u16, rank }));
        self.named = named;
        Ok(())
    }

    fn event(
        &mut self,
        home: u32,
        named: &[(u32, u8)],
        event: &RawEvent,
        facts: &dyn Fn(u32) -> Result<ShapeFacts>,
    ) -> Result<()> {
        let shape = event.shape as usize;
        if self.shapes.len() <= shape {
            self.shapes.resize_with(shape + 1, || None);
        }
        if self.shapes[shape].is_none() {
            let known = self.learn(facts(event.shape)?);
            self.shapes[shape] = Some(Box::new(known));
        }
        let known = self.shapes[shape].as_mut().expect("it was just learnt");
        let page = &mut self.pages[known.page];
        let severity = usize::from(event.severity).min(SEVERITIES - 1);
        if known.classes[severity] == NONE {
            known.classes[severity] = page.class(Class { shape: event.shape, severity: event.severity });
        }
        let class = known.classes[severity];
        page.lasting |= known.facts.lasting;
        let (number, tick) = self.calendar.place(event.time);
        let block = page.block(number);
        block.homes.push(home as u16);
        block.ticks.push(tick);
        block.classes.push(class);
        let mut entities = event.subjects.iter().chain(&event.context);
        for codes in &mut block.entities {
            codes.push(match entities.next() {
                None => ENTITY_NONE,
                Some(&entity) if entity == home => ENTITY_HOME,
                Some(entity) => {
                    let at = named.partition_point(|(known, _)| known < entity);
                    named.get(at).map_or(ENTITY_OTHER, |(_, rank)| rank.saturating_add(ENTITY_FIRST))
                }
            });
        }
        let length = event.end.map_or(0, |end| end.wrapping_sub(event.time) as u64 / self.calendar.tick as u64);
        if known.facts.lasting {
            // Those before it in the block lasted no time.
            block.lengths.resize(block.homes.len() - 1, 0);
            block.lengths.push(page::length_code(length));
            block.until = block.until.max((u64::from(tick) + 1).saturating_add(length).saturating_add(1));
        }
        for (value, &column) in event.values.iter().zip(&known.columns) {
            let RawValue::Term(text) = value else { continue };
            let code = page.columns[column].code(*text);
            if code > 0 {
                let block = &mut page.blocks[page.last];
                let codes = &mut block.attributes[column];
                codes.resize(block.homes.len() - 1, 0);
                codes.push(code);
            }
        }
        Ok(())
    }

    /// Finds or makes the page and the columns of a shape.
    fn learn(&mut self, facts: ShapeFacts) -> Known {
        let pages = &mut self.pages;
        let page = *self.page_of_kind.entry(facts.kind).or_insert_with(|| {
            pages.push(Growing {
                kind: facts.kind,
                classes: Vec::new(),
                columns: Vec::new(),
                lasting: false,
                blocks: Vec::new(),
                places: HashMap::default(),
                last: 0,
            });
            pages.len() - 1
        });
        let growing = &mut self.pages[page];
        let mut columns = SmallVec::new();
        for &scope in &facts.scopes {
            let known = growing.columns.iter().position(|column| column.scope == scope);
            columns.push(known.unwrap_or_else(|| {
                growing.columns.push(Column { scope, texts: Vec::new(), codes: Vec::new(), full: false });
                growing.blocks.iter_mut().for_each(|block| block.attributes.push(Vec::new()));
                growing.columns.len() - 1
            }));
        }
        Known { facts, page, classes: [NONE; SEVERITIES], columns }
    }

    /// Hands out the slab so far: the book, then the pages by kind.
    fn flush(&mut self, sink: &mut Sink<'_>) -> Result<()> {
        let Some(slab) = self.slab.take() else { return Ok(()) };
        self.book.sort_unstable();
        for (first, part) in book::parts(&self.book) {
            self.bytes.clear();
            book::encode(part, &mut self.bytes);
            sink(&key::index(self.segment, slab, key::BOOK, first), &self.bytes)?;
        }
        self.book.clear();
        let mut by_kind: Vec<usize> = (0..self.pages.len()).filter(|&at| !self.pages[at].blocks.is_empty()).collect();
        by_kind.sort_unstable_by_key(|&at| self.pages[at].kind);
        for at in by_kind {
            self.bytes.clear();
            let kind = self.pages[at].kind;
            self.pages[at].encode(&mut self.bytes);
            sink(&key::index(self.segment, slab, key::PAGE, kind), &self.bytes)?;
        }
        for known in self.shapes.iter_mut().flatten() {
            known.classes = [NONE; SEVERITIES];
        }
        Ok(())
    }

    /// Hands out the last slab.
    pub(crate) fn finish(mut self, sink: &mut Sink<'_>) -> Result<()> {
        self.flush(sink)
    }
}

impl Growing {
    /// The code of a class that has none yet.
    fn class(&mut self, class: Class) -> u16 {
        if self.classes.len() > CLASSES_MAX {
            return CLASSES_MAX as u16;
        }
        let unknown = Class { shape: u32::MAX, severity: 0 };
        self.classes.push(if self.classes.len() == CLASSES_MAX { unknown } else { class });
        self.classes.len() as u16 - 1
    }

    fn block(&mut self, number: i64) -> &mut BlockEvents {
        let known = self.blocks.get(self.last).is_some_and(|block| block.number == number);
        if !known {
            let (blocks, columns) = (&mut self.blocks, self.columns.len());
            self.last = *self.places.entry(number).or_insert_with(|| {
                blocks.push(BlockEvents { number, attributes: vec![Vec::new(); columns], ..BlockEvents::default() });
                blocks.len() - 1
            });
        }
        &mut self.blocks[self.last]
    }

    /// Appends the page, and forgets its events.
    fn encode(&mut self, out: &mut Vec<u8>) {
        self.blocks.sort_unstable_by_key(|block| block.number);
        let kept: Vec<usize> = (0..self.columns.len())
            .filter(|&at| !self.columns[at].full && !self.columns[at].texts.is_empty())
            .collect();
        for block in &mut self.blocks {
            let count = block.homes.len();
            if self.lasting {
                block.lengths.resize(count, 0);
            }
            let mut all = std::mem::take(&mut block.attributes);
            all.iter_mut().for_each(|codes| codes.resize(count, 0));
            block.attributes = kept.iter().map(|&at| std::mem::take(&mut all[at])).collect();
        }
        let attributes: Vec<Attribute> = kept
            .iter()
            .map(|&at| Attribute { scope: self.columns[at].scope, texts: self.columns[at].texts.clone() })
            .collect();
        page::encode(&self.classes, &attributes, &self.blocks, out);
        self.blocks.clear();
        self.places.clear();
        self.classes.clear();
        self.lasting = false;
        for column in &mut self.columns {
            column.texts.clear();
            column.codes.clear();
            column.full = false;
        }
    }
}

/// Puts the entities that events under `home` name into `named`, ascending, each with its rank: by number
/// where pages can tell all of them, otherwise those that most events name come first.
fn rank(home: u32, events: &[RawEvent], mentions: &mut Vec<u32>, named: &mut Vec<(u32, u8)>) {
    const TOLD: usize = (ENTITY_OTHER - ENTITY_FIRST) as usize;
    mentions.clear();
    for event in events {
        mentions.extend(event.subjects.iter().chain(&event.context).filter(|&&entity| entity != home));
    }
    mentions.sort_unstable();
    named.clear();
    let of_entity = mentions.chunk_by(|a, b| a == b);
    named.extend(of_entity.clone().zip(0usize..).map(|(same, rank)| (same[0], rank.min(255) as u8)));
    if named.len() > TOLD {
        let mut by_count: Vec<(Reverse<usize>, usize)> =
            of_entity.zip(0usize..).map(|(same, at)| (Reverse(same.len()), at)).collect();
        by_count.sort_unstable();
        for (rank, (_, at)) in by_count.into_iter().enumerate() {
            named[at].1 = rank.min(255) as u8;
        }
    }
}

impl Column {
    /// The code of a text; 0 when there are too many.
    fn code(&mut self, text: u32) -> u8 {
        let at = text as usize;
        if let Some(&code) = self.codes.get(at)
            && code > 0
        {
            return code;
        }
        // No scope has as many texts: a wrong number that `check` is to tell, not to make room for.
        self.full |= self.texts.len() >= ATTRIBUTE_TEXTS_MAX || at >= TEXTS_OF_ATTRIBUTE;
        if self.full {
            return 0;
        }
        if self.codes.len() <= at {
            self.codes.resize(at + 1, 0);
        }
        self.texts.push(text);
        self.codes[at] = self.texts.len() as u8;
        self.codes[at]
    }
}
