//! Words, shapes and attribute texts.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::codec::key;
use crate::codec::raw::{Layout, Layouts, RawValue};
use crate::codec::record::{self, Shape};
use crate::error::{Error, Result};
use crate::model::{Event, Rejection, Text, Value};
use crate::store::{Batch, Family, Store};

/// `terms` table of words: number -> text.
const WORDS: u8 = b'w';
/// `terms` table of shapes: number -> record.
const SHAPES: u8 = b's';
/// `terms` table of scopes: number -> (kind, attribute).
const SCOPES: u8 = b'c';
/// `terms` table of attribute texts: (scope, number) -> text.
const TEXTS: u8 = b't';

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
        TermLimits { words: 1 << 16, shapes: 1 << 18, texts_per_scope: 4096, texts: 1 << 20, text_bytes: 256 }
    }
}

/// A shape with what a reader needs of it.
#[derive(Clone, Debug)]
pub(crate) struct ShapeEntry {
    pub(crate) shape: Shape,
    /// Scope of each attribute.
    scopes: Vec<u32>,
}

/// From numbers to text: appended to by the writer, read by everyone.
#[derive(Default)]
pub(crate) struct TermTables {
    words: Vec<Text>,
    numbers: HashMap<Text, u32, FixedState>,
    shapes: Vec<ShapeEntry>,
    layouts: Vec<Layout>,
    texts: Vec<Vec<Text>>,
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

    pub(crate) fn shapes(&self) -> &[ShapeEntry] {
        &self.shapes
    }

    /// The value of attribute `index` of an event of `shape`.
    pub(crate) fn value(&self, shape: &ShapeEntry, index: usize, value: &RawValue) -> Result<Value> {
        Ok(match value {
            RawValue::Term(number) => {
                let text = shape
                    .scopes
                    .get(index)
                    .and_then(|&scope| self.texts.get(scope as usize))
                    .and_then(|texts| texts.get(*number as usize));
                Value::Text(text.cloned().ok_or_else(|| Error::corrupt(format!("unknown attribute text {number}")))?)
            }
            RawValue::Text(text) => Value::Text(text.clone()),
            RawValue::Int(number) => Value::Int(*number),
            RawValue::Float(number) => Value::Float(*number),
            RawValue::Bool(flag) => Value::Bool(*flag),
        })
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

/// From text to numbers; one per store, on the commit thread.
pub(crate) struct TermWriter {
    terms: Terms,
    limits: TermLimits,
    /// Forward maps that only the writer needs; that of words is shared.
    shapes: HashTable<u32>,
    scopes: HashMap<(u32, u32), u32, FixedState>,
    texts: Vec<HashMap<Text, u32, FixedState>>,
    text_count: usize,
    hasher: FixedState,
}

impl TermWriter {
    /// Loads all terms of the store.
    pub(crate) fn open(store: &Store, limits: TermLimits) -> Result<TermWriter> {
        let mut writer = TermWriter {
            terms: Terms::default(),
            limits,
            shapes: HashTable::new(),
            scopes: HashMap::default(),
            texts: Vec::new(),
            text_count: 0,
            hasher: FixedState::default(),
        };
        // Words and scopes come before the shapes that name them, whatever the key order.
        for table in [WORDS, SCOPES, SHAPES, TEXTS] {
            let mut cursor = store.cursor(Family::Terms, true);
            let mut entry = cursor.seek(&[table])?;
            while let Some((key, value)) = entry {
                let (found, major, minor) = key::parse_term(key)?;
                if found != table {
                    break;
                }
                writer.load(table, major, minor, value).map_err(|error| error.at("terms"))?;
                entry = cursor.advance()?;
            }
        }
        Ok(writer)
    }

    fn load(&mut self, table: u8, major: u32, minor: u32, value: &[u8]) -> Result<()> {
        let terms = self.terms.clone();
        let mut tables = terms.0.write();
        let text = || {
            std::str::from_utf8(value)
                .map(Text::from)
                .map_err(|cause| Error::corrupt("term is not UTF-8").because(cause))
        };
        let expected = match table {
            WORDS => tables.words.len(),
            SCOPES => self.texts.len(),
            SHAPES => tables.shapes.len(),
            _ => tables.texts.get(major as usize).map_or(usize::MAX, Vec::len),
        };
        let given = if table == TEXTS { minor } else { major };
        if expected != given as usize {
            return Err(Error::corrupt(format!("term {given} where {expected} was due")));
        }
        match table {
            WORDS => {
                tables.numbers.insert(text()?, major);
                tables.words.push(text()?);
            }
            SCOPES => {
                let scope: (u32, u32) = record::decode(value)?;
                self.scopes.insert(scope, major);
                self.texts.push(HashMap::default());
                tables.texts.push(Vec::new());
            }
            SHAPES => {
                let shape: Shape = record::decode(value)?;
                self.add_shape(&mut tables, shape)?;
            }
            _ => {
                self.texts[major as usize].insert(text()?, minor);
                tables.texts[major as usize].push(text()?);
                self.text_count += 1;
            }
        }
        Ok(())
    }

    fn add_shape(&mut self, tables: &mut TermTables, shape: Shape) -> Result<()> {
        let number = tables.shapes.len() as u32;
        let words = [shape.source, shape.kind].into_iter().chain(shape.attributes.iter().copied());
        for word in words.chain(shape.layer.checked_sub(1)) {
            tables.word(word)?;
        }
        let scopes: Option<Vec<u32>> =
            shape.attributes.iter().map(|&name| self.scopes.get(&(shape.kind, name)).copied()).collect();
        let scopes = scopes.ok_or_else(|| Error::corrupt("shape without its scopes"))?;
        tables.layouts.push(shape.layout);
        tables.shapes.push(ShapeEntry { shape, scopes });
        let hasher = &self.hasher;
        let hash = |number: u32| hash_entry(hasher, tables, number);
        self.shapes.insert_unique(hash(number), number, |&number| hash(number));
        Ok(())
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
        if tables.words.len() >= self.limits.words {
            return Err(Rejection::new(format!("more than {} different names", self.limits.words)));
        }
        let number = tables.words.len() as u32;
        tables.words.push(text.clone());
        tables.numbers.insert(text.clone(), number);
        batch.put(store, Family::Terms, &key::term(WORDS, number, 0), text.as_bytes());
        Ok(number)
    }

    /// The number of the event's shape, given now if it is new. The event must be normal.
    pub(crate) fn shape(&mut self, event: &Event, store: &Store, batch: &mut Batch) -> Result<u32, Rejection> {
        let layout = layout_of(event);
        let hash = hash_event(&self.hasher, event, layout);
        {
            let tables = self.terms.0.read();
            let known = self.shapes.find(hash, |&number| {
                let shape = &tables.shapes[number as usize].shape;
                let word = |number: u32, text: &Text| tables.words[number as usize] == *text;
                shape.layout == layout
                    && word(shape.kind, &event.kind)
                    && word(shape.source, &event.source)
                    && match (&event.layer, shape.layer.checked_sub(1)) {
                        (None, None) => true,
                        (Some(layer), Some(number)) => word(number, layer),
                        _ => false,
                    }
                    && shape.attributes.iter().zip(&event.attributes).all(|(&number, (name, _))| word(number, name))
            });
            if let Some(&number) = known {
                return Ok(number);
            }
            if tables.shapes.len() >= self.limits.shapes {
                return Err(Rejection::new(format!("more than {} different shapes of events", self.limits.shapes)));
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
            let name = self.word(name, store, batch)?;
            self.scope(kind, name, store, batch);
            attributes.push(name);
        }
        let terms = self.terms.clone();
        let mut tables = terms.0.write();
        let number = tables.shapes.len() as u32;
        let shape = Shape { source, kind, layer, attributes, layout };
        batch.put(store, Family::Terms, &key::term(SHAPES, number, 0), &record::encode(&shape));
        self.add_shape(&mut tables, shape).expect("the shape's words and scopes were just made");
        Ok(number)
    }

    fn scope(&mut self, kind: u32, name: u32, store: &Store, batch: &mut Batch) {
        let next = self.texts.len() as u32;
        if *self.scopes.entry((kind, name)).or_insert(next) == next {
            self.texts.push(HashMap::default());
            self.terms.0.write().texts.push(Vec::new());
            batch.put(store, Family::Terms, &key::term(SCOPES, next, 0), &record::encode(&(kind, name)));
        }
    }

    /// The number of the source of a shape that this writer gave.
    pub(crate) fn source_of(&self, shape: u32) -> u32 {
        self.terms.0.read().shapes[shape as usize].shape.source
    }

    /// The values of the event's attributes; texts get a number while there is room.
    pub(crate) fn values(
        &mut self,
        shape: u32,
        event: &Event,
        store: &Store,
        batch: &mut Batch,
        values: &mut smallvec::SmallVec<[RawValue; 2]>,
    ) {
        if event.attributes.is_empty() {
            return;
        }
        let scopes: smallvec::SmallVec<[u32; 8]> =
            self.terms.0.read().shapes[shape as usize].scopes.as_slice().into();
        for ((_, value), scope) in event.attributes.iter().zip(scopes) {
            values.push(match value {
                Value::Text(text) => self.text(scope, text, store, batch),
                Value::Int(number) => RawValue::Int(*number),
                Value::Float(number) => RawValue::Float(*number),
                Value::Bool(flag) => RawValue::Bool(*flag),
            });
        }
    }

    fn text(&mut self, scope: u32, text: &Text, store: &Store, batch: &mut Batch) -> RawValue {
        let known = &mut self.texts[scope as usize];
        if let Some(&number) = known.get(text) {
            return RawValue::Term(number);
        }
        let full = known.len() >= self.limits.texts_per_scope || self.text_count >= self.limits.texts;
        if full || text.len() > self.limits.text_bytes {
            return RawValue::Text(text.clone());
        }
        let number = known.len() as u32;
        known.insert(text.clone(), number);
        self.text_count += 1;
        self.terms.0.write().texts[scope as usize].push(text.clone());
        batch.put(store, Family::Terms, &key::term(TEXTS, scope, number), text.as_bytes());
        RawValue::Term(number)
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

fn hash_entry(hasher: &FixedState, tables: &TermTables, number: u32) -> u64 {
    let shape = &tables.shapes[number as usize].shape;
    let word = |number: u32| &tables.words[number as usize];
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
