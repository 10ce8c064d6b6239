//! Words, shapes and attribute texts.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use parking_lot::{RwLock, RwLockReadGuard};
use smallvec::SmallVec;

use crate::codec::key;
use crate::codec::raw::{Layout, Layouts, RawValue};
use crate::codec::record::{self, Shape};
use crate::error::{Error, Result};
use crate::model::{Event, Rejection, Text, Value, limits};
use crate::store::{Batch, Family, Store};

/// `terms` table of words: number -> text.
pub(crate) const WORDS: u8 = b'w';
/// `terms` table of shapes: number -> record.
pub(crate) const SHAPES: u8 = b's';
/// `terms` table of scopes: number -> (kind, attribute).
pub(crate) const SCOPES: u8 = b'c';
/// `terms` table of attribute texts: (scope, number) -> text.
pub(crate) const TEXTS: u8 = b't';

/// How many terms there may be: they are kept in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TermLimits {
    /// Words: sources, kinds, layers, relations, entity types, attribute names.
    pub(crate) words: usize,
    /// Shapes.
    pub(crate) shapes: usize,
    /// Texts of one attribute of one kind that get a number; further ones are stored with the event.
    pub(crate) texts_per_scope: usize,
    /// Texts in all.
    pub(crate) texts: usize,
    /// Longest text that gets a number.
    pub(crate) text_bytes: usize,
}

impl Default for TermLimits {
    fn default() -> TermLimits {
        TermLimits {
            words: limits::WORDS,
            shapes: limits::SHAPES,
            texts_per_scope: limits::TEXTS_OF_ATTRIBUTE,
            texts: limits::TEXTS,
            text_bytes: limits::NUMBERED_TEXT_BYTES,
        }
    }
}

/// A shape with what a reader needs of it, side by side: a stream meets many shapes, and each place
/// that had to be visited for a word would cost more than copying it.
#[derive(Clone, Debug)]
pub(crate) struct ShapeEntry {
    pub(crate) shape: Shape,
    pub(crate) source: Text,
    pub(crate) kind: Text,
    pub(crate) layer: Option<Text>,
    /// Name and scope of each attribute.
    pub(crate) attributes: SmallVec<[(Text, u32); 2]>,
}

/// Terms both ways: appended to by the writer, read by everyone.
#[derive(Default)]
pub(crate) struct TermTables {
    limits: TermLimits,
    hasher: FixedState,
    words: Vec<Text>,
    numbers: HashMap<Text, u32, FixedState>,
    shapes: Vec<ShapeEntry>,
    layouts: Vec<Layout>,
    /// Whether some shape has an end.
    some_last: bool,
    shape_numbers: HashTable<u32>,
    scopes: HashMap<(u32, u32), u32, FixedState>,
    texts: Vec<ScopeTexts>,
    text_count: usize,
}

/// The numbered texts of one attribute of one kind.
#[derive(Default)]
struct ScopeTexts {
    texts: Vec<Text>,
    numbers: HashMap<Text, u32, FixedState>,
}

impl TermTables {
    pub(crate) fn word(&self, number: u32) -> Result<&Text> {
        self.words.get(number as usize).ok_or_else(|| Error::corrupt(format!("unknown word {number}")))
    }

    /// The number of a word.
    pub(crate) fn number_of(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn shape(&self, number: u32) -> Result<&ShapeEntry> {
        self.shapes.get(number as usize).ok_or_else(|| Error::corrupt(format!("unknown shape {number}")))
    }

    /// Whether some events may last.
    pub(crate) fn some_last(&self) -> bool {
        self.some_last
    }

    pub(crate) fn shapes(&self) -> &[ShapeEntry] {
        &self.shapes
    }

    /// The numbered texts of a scope, by number.
    pub(crate) fn texts(&self, scope: u32) -> &[Text] {
        self.texts.get(scope as usize).map_or(&[], |scope| &scope.texts)
    }

    /// The value of attribute `index` of an event of `shape`.
    pub(crate) fn value(&self, shape: &ShapeEntry, index: usize, value: &RawValue) -> Result<Value> {
        Ok(match value {
            RawValue::Term(number) => {
                let text = shape
                    .attributes
                    .get(index)
                    .and_then(|&(_, scope)| self.texts.get(scope as usize))
                    .and_then(|scope| scope.texts.get(*number as usize));
                Value::Text(text.cloned().ok_or_else(|| Error::corrupt(format!("unknown attribute text {number}")))?)
            }
            RawValue::Text(text) => Value::Text(text.clone()),
            RawValue::Int(number) => Value::Int(*number),
            RawValue::Float(number) => Value::Float(*number),
            RawValue::Bool(flag) => Value::Bool(*flag),
        })
    }
}

impl TermTables {
    /// The numbers of the event's shape and of its source, if the shape is known. The event must be
    /// normal.
    pub(crate) fn find_shape(&self, event: &Event) -> Option<(u32, u32)> {
        let layout = layout_of(event);
        let hash = hash_event(&self.hasher, event, layout);
        let number = *self.shape_numbers.find(hash, |&number| {
            let shape = &self.shapes[number as usize].shape;
            let word = |number: u32, text: &Text| self.words[number as usize] == *text;
            shape.layout == layout
                && word(shape.kind, &event.kind)
                && word(shape.source, &event.source)
                && match (&event.layer, shape.layer.checked_sub(1)) {
                    (None, None) => true,
                    (Some(layer), Some(number)) => word(number, layer),
                    _ => false,
                }
                && shape.attributes.iter().zip(&event.attributes).all(|(&number, (name, _))| word(number, name))
        })?;
        Some((number, self.shapes[number as usize].shape.source))
    }

    /// Appends the values of the event's attributes; false when one is to get a number first.
    pub(crate) fn find_values(&self, shape: u32, event: &Event, values: &mut SmallVec<[RawValue; 2]>) -> bool {
        let attributes = &self.shapes[shape as usize].attributes;
        for ((_, value), &(_, scope)) in event.attributes.iter().zip(attributes) {
            values.push(match value {
                Value::Text(text) => {
                    let known = &self.texts[scope as usize];
                    match known.numbers.get(text) {
                        Some(&number) => RawValue::Term(number),
                        None if self.has_room(known, text) => return false,
                        None => RawValue::Text(text.clone()),
                    }
                }
                Value::Int(number) => RawValue::Int(*number),
                Value::Float(number) => RawValue::Float(*number),
                Value::Bool(flag) => RawValue::Bool(*flag),
            });
        }
        true
    }

    fn has_room(&self, known: &ScopeTexts, text: &Text) -> bool {
        known.texts.len() < self.limits.texts_per_scope
            && self.text_count < self.limits.texts
            && text.len() <= self.limits.text_bytes
    }

    fn add_word(&mut self, text: Text) -> u32 {
        let number = self.words.len() as u32;
        self.numbers.insert(text.clone(), number);
        self.words.push(text);
        number
    }

    fn add_scope(&mut self, scope: (u32, u32)) -> u32 {
        let number = self.texts.len() as u32;
        self.scopes.insert(scope, number);
        self.texts.push(ScopeTexts::default());
        number
    }

    fn add_text(&mut self, scope: u32, text: Text) -> u32 {
        let known = &mut self.texts[scope as usize];
        let number = known.texts.len() as u32;
        known.numbers.insert(text.clone(), number);
        known.texts.push(text);
        self.text_count += 1;
        number
    }

    fn add_shape(&mut self, shape: Shape) -> Result<u32> {
        let number = self.shapes.len() as u32;
        let attributes = shape.attributes.iter().map(|&name| {
            let scope = self.scopes.get(&(shape.kind, name)).copied();
            Ok((self.word(name)?.clone(), scope.ok_or_else(|| Error::corrupt("shape without its scopes"))?))
        });
        let attributes = attributes.collect::<Result<SmallVec<[(Text, u32); 2]>>>()?;
        let source = self.word(shape.source)?.clone();
        let kind = self.word(shape.kind)?.clone();
        let layer = shape.layer.checked_sub(1).map(|layer| self.word(layer).cloned()).transpose()?;
        self.layouts.push(shape.layout);
        self.some_last |= shape.layout.has_end;
        self.shapes.push(ShapeEntry { shape, source, kind, layer, attributes });
        let (hasher, words, shapes) = (&self.hasher, &self.words, &self.shapes);
        let hash = |number: u32| hash_entry(hasher, words, &shapes[number as usize].shape);
        self.shape_numbers.insert_unique(hash(number), number, |&number| hash(number));
        Ok(number)
    }
}

impl Layouts for TermTables {
    fn layout(&self, shape: u32) -> Option<Layout> {
        self.layouts.layout(shape)
    }
}

impl Layouts for Vec<Layout> {
    fn layout(&self, shape: u32) -> Option<Layout> {
        self.get(shape as usize).copied()
    }
}

/// The terms of a store, shared between its writer and its readers.
#[derive(Clone, Default)]
pub(crate) struct Terms(Arc<RwLock<TermTables>>);

impl Terms {
    /// Holds off new terms while the guard lives: keep it for a decode, not for a query.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, TermTables> {
        self.0.read()
    }
}

/// Gives numbers; one per store, on the commit thread.
pub(crate) struct TermWriter {
    terms: Terms,
}

impl TermWriter {
    /// Loads all terms of the store.
    pub(crate) fn open(store: &Store, limits: TermLimits) -> Result<TermWriter> {
        let mut tables = TermTables { limits, ..TermTables::default() };
        // Words and scopes come before the shapes that name them, whatever the key order.
        for table in [WORDS, SCOPES, SHAPES, TEXTS] {
            let mut cursor = store.cursor(Family::Terms, true);
            let mut entry = cursor.seek(&[table])?;
            while let Some((key, value)) = entry {
                let (found, major, minor) = key::parse_term(key)?;
                if found != table {
                    break;
                }
                tables.load(table, major, minor, value).map_err(|error| error.at("terms"))?;
                entry = cursor.advance()?;
            }
        }
        Ok(TermWriter { terms: Terms(Arc::new(RwLock::new(tables))) })
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms.clone()
    }

    /// The number of a word, given now if it is new.
    pub(crate) fn word(&mut self, text: &Text, store: &Store, batch: &mut Batch) -> Result<u32, Rejection> {
        if let Some(number) = self.terms.0.read().number_of(text) {
            return Ok(number);
        }
        let mut tables = self.terms.0.write();
        let most = tables.limits.words;
        if tables.words.len() >= most {
            return Err(Rejection::new(format!("more than {most} different names")));
        }
        let number = tables.add_word(text.clone());
        batch.put(store, Family::Terms, &key::term(WORDS, number, 0), text.as_bytes());
        Ok(number)
    }

    /// The number of the event's shape, given now if it is new, and that of its source. The event
    /// must be normal.
    pub(crate) fn shape(&mut self, event: &Event, store: &Store, batch: &mut Batch) -> Result<(u32, u32), Rejection> {
        {
            let tables = self.terms.0.read();
            if let Some(known) = tables.find_shape(event) {
                return Ok(known);
            }
            let most = tables.limits.shapes;
            if tables.shapes.len() >= most {
                return Err(Rejection::new(format!("more than {most} different shapes of events")));
            }
        }
        let source = self.word(&event.source, store, batch)?;
        let kind = self.word(&event.kind, store, batch)?;
        let layer = match &event.layer {
            Some(layer) => self.word(layer, store, batch)? + 1,
            None => 0,
        };
        let mut attributes = Vec::with_capacity(event.attributes.len());
        for (name, _) in &event.attributes {
            attributes.push(self.word(name, store, batch)?);
        }
        let mut tables = self.terms.0.write();
        for &name in &attributes {
            if !tables.scopes.contains_key(&(kind, name)) {
                let scope = tables.add_scope((kind, name));
                batch.put(store, Family::Terms, &key::term(SCOPES, scope, 0), &record::encode(&(kind, name)));
            }
        }
        let shape = Shape { source, kind, layer, attributes, layout: layout_of(event) };
        let bytes = record::encode(&shape);
        let number = tables.add_shape(shape).expect("the shape's words and scopes were just made");
        batch.put(store, Family::Terms, &key::term(SHAPES, number, 0), &bytes);
        Ok((number, source))
    }

    /// The number of a shape like `shape` for events with fewer entities, given now if it is new; `None` when
    /// there are too many shapes.
    pub(crate) fn narrower(
        &mut self,
        shape: u32,
        (subjects, context): (u16, u16),
        store: &Store,
        batch: &mut Batch,
    ) -> Result<Option<u32>> {
        let mut tables = self.terms.0.write();
        let mut wanted = tables.shape(shape)?.shape.clone();
        wanted.layout = Layout { subjects, context, ..wanted.layout };
        let hash = hash_entry(&tables.hasher, &tables.words, &wanted);
        let known = tables.shape_numbers.find(hash, |&number| tables.shapes[number as usize].shape == wanted);
        if let Some(&known) = known {
            return Ok(Some(known));
        }
        if tables.shapes.len() >= tables.limits.shapes {
            return Ok(None);
        }
        let bytes = record::encode(&wanted);
        let number = tables.add_shape(wanted)?;
        batch.put(store, Family::Terms, &key::term(SHAPES, number, 0), &bytes);
        Ok(Some(number))
    }

    /// The values of the event's attributes; texts get a number while there is room.
    pub(crate) fn values(
        &mut self,
        shape: u32,
        event: &Event,
        store: &Store,
        batch: &mut Batch,
        values: &mut SmallVec<[RawValue; 2]>,
    ) {
        if self.terms.0.read().find_values(shape, event, values) {
            return;
        }
        values.clear();
        let mut tables = self.terms.0.write();
        let attributes = &tables.shapes[shape as usize].attributes;
        let scopes: SmallVec<[u32; 8]> = attributes.iter().map(|&(_, scope)| scope).collect();
        for ((_, value), scope) in event.attributes.iter().zip(scopes) {
            if let Value::Text(text) = value {
                let known = &tables.texts[scope as usize];
                if !known.numbers.contains_key(text) && tables.has_room(known, text) {
                    let number = tables.add_text(scope, text.clone());
                    batch.put(store, Family::Terms, &key::term(TEXTS, scope, number), text.as_bytes());
                }
            }
        }
        // Every text now has a number or no room.
        tables.find_values(shape, event, values);
    }
}

impl TermTables {
    fn load(&mut self, table: u8, major: u32, minor: u32, value: &[u8]) -> Result<()> {
        let text = || {
            std::str::from_utf8(value)
                .map(Text::from)
                .map_err(|cause| Error::corrupt("term is not UTF-8").because(cause))
        };
        let (given, expected) = match table {
            WORDS => (major, self.words.len()),
            SCOPES => (major, self.texts.len()),
            SHAPES => (major, self.shapes.len()),
            _ => (minor, self.texts.get(major as usize).map_or(usize::MAX, |scope| scope.texts.len())),
        };
        if expected != given as usize {
            return Err(Error::corrupt(format!("term {given} where {expected} was due")));
        }
        match table {
            WORDS => self.add_word(text()?),
            SCOPES => self.add_scope(record::decode(value)?),
            SHAPES => self.add_shape(record::decode(value)?)?,
            _ => self.add_text(major, text()?),
        };
        Ok(())
    }
}

fn layout_of(event: &Event) -> Layout {
    Layout {
        has_end: event.end.is_some(),
        has_sequence: event.sequence.is_some(),
        has_value: event.value.is_some(),
        has_id: event.id.is_some(),
        subjects: event.subjects.len() as u16,
        context: event.context.len() as u16,
        attributes: event.attributes.len() as u16,
    }
}

fn hash_event(hasher: &FixedState, event: &Event, layout: Layout) -> u64 {
    hash_shape(hasher, &event.kind, &event.source, event.attributes.iter().map(|(name, _)| name), layout)
}

fn hash_entry(hasher: &FixedState, words: &[Text], shape: &Shape) -> u64 {
    let word = |number: u32| &words[number as usize];
    let attributes = shape.attributes.iter().map(|&name| word(name));
    hash_shape(hasher, word(shape.kind), word(shape.source), attributes, shape.layout)
}

fn hash_shape<'a>(
    hasher: &FixedState,
    kind: &str,
    source: &str,
    attributes: impl Iterator<Item = &'a Text>,
    layout: Layout,
) -> u64 {
    let mut hash = hasher.hash_one((kind, source, layout));
    for name in attributes {
        hash = hash.rotate_left(5) ^ hasher.hash_one(name.as_str());
    }
    hash
}
