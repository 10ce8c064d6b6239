//! A chunk: up to [`CHUNK_EVENTS`] events of one home in one segment, in order.
//!
//! Times and shapes come first as columns, so that a window or a filter can pass over a chunk
//! without reading the rest; entities are indices into a small table, since the events of one
//! customer keep meeting the same few.

use crate::codec::raw::{self, FIRST_OTHER, Layouts, RawEvent};
use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};

/// Most events in one chunk: bounds what a narrow window must decode.
pub(crate) const CHUNK_EVENTS: usize = 256;

/// Units of time, coarsest first: a chunk counts in the coarsest that loses nothing.
const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

/// Events whose bodies are passed over at once.
const GROUP_EVENTS: usize = 32;

/// What is needed to read a chunk besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkBase {
    pub(crate) home: u32,
    /// Lowest time of the segment.
    pub(crate) time: i64,
    /// Lowest commit of the segment.
    pub(crate) commit: u64,
}

/// Which events a reader wants: decides before entities, attributes and ids are read.
pub(crate) trait Wanted {
    fn wants(&self, time: i64, shape: u32, severity: u8) -> bool;

    /// The times `[from, to)` outside of which nothing is wanted, whatever its shape.
    fn times(&self) -> (i64, i64) {
        (i64::MIN, i64::MAX)
    }

    /// Entities, ascending, one of which each wanted event names; `None` when that does not matter.
    fn named(&self) -> Option<&[u32]> {
        None
    }
}

/// Every event.
pub(crate) struct Everything;

impl Wanted for Everything {
    fn wants(&self, _time: i64, _shape: u32, _severity: u8) -> bool {
        true
    }
}

/// Appends the chunk of `events`: same home, ascending time, at most [`CHUNK_EVENTS`].
pub(crate) fn encode(events: &[RawEvent], base: ChunkBase, out: &mut Vec<u8>) {
    assert!(!events.is_empty() && events.len() <= CHUNK_EVENTS, "a chunk holds 1 to {CHUNK_EVENTS} events");
    let first = events[0].time.wrapping_sub(base.time);
    let unit = UNITS.iter().position(|unit| {
        let whole = |nanos: i64| (nanos as u64).is_multiple_of(*unit as u64);
        whole(first) && events.windows(2).all(|pair| whole(pair[1].time.wrapping_sub(pair[0].time)))
    });
    let unit = unit.expect("the finest unit divides everything");
    let nanos = UNITS[unit] as u64;
    let same_severity = events.iter().all(|event| event.severity == events[0].severity);
    varint::put(out, (events.len() as u64) << 3 | u64::from(same_severity) << 2 | unit as u64);

    varint::put(out, first as u64 / nanos);
    for pair in events.windows(2) {
        varint::put(out, pair[1].time.wrapping_sub(pair[0].time) as u64 / nanos);
    }
    for event in events {
        varint::put(out, u64::from(event.shape));
    }
    let severities = if same_severity { &events[..1] } else { events };
    out.extend(severities.iter().map(|event| event.severity));
    let mut commit = base.commit;
    for event in events {
        varint::put_signed(out, event.commit.wrapping_sub(commit) as i64);
        commit = event.commit;
    }

    let table = entity_table(events, base.home);
    varint::put(out, table.len() as u64);
    let mut previous = 0u32;
    for &entity in &table {
        varint::put(out, u64::from(entity.wrapping_sub(FIRST_OTHER).wrapping_sub(previous)));
        previous = entity.wrapping_sub(FIRST_OTHER);
    }
    let mut bodies = Vec::with_capacity(events.len() * 8);
    let mut group_ends = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if at > 0 && at % GROUP_EVENTS == 0 {
            group_ends.push(bodies.len());
        }
        for &entity in event.subjects.iter().chain(&event.context) {
            let index = if entity == base.home {
                0
            } else {
                1 + table
                    .binary_search_by_key(&entity.wrapping_sub(FIRST_OTHER), |other| other.wrapping_sub(FIRST_OTHER))
                    .expect("the table has every entity of the chunk")
            };
            varint::put(&mut bodies, index as u64);
        }
        event.put_rest(&mut bodies);
    }
    let mut from = 0;
    for end in group_ends {
        varint::put(out, (end - from) as u64);
        from = end;
    }
    out.extend_from_slice(&bodies);
}

/// Entities other than the home, ascending in the order "others first, then customers".
fn entity_table(events: &[RawEvent], home: u32) -> Vec<u32> {
    let mut table: Vec<u32> = events
        .iter()
        .flat_map(|event| event.subjects.iter().chain(&event.context))
        .copied()
        .filter(|&entity| entity != home)
        .collect();
    table.sort_unstable_by_key(|entity| entity.wrapping_sub(FIRST_OTHER));
    table.dedup();
    table
}

/// Reusable memory of [`decode`].
#[derive(Default)]
pub(crate) struct Scratch {
    heads: Vec<Head>,
    table: Vec<u32>,
    /// Which of the table are named by what is wanted.
    picked: Vec<bool>,
}

#[derive(Clone, Copy, Default)]
struct Head {
    time: i64,
    commit: u64,
    shape: u32,
    severity: u8,
    wanted: bool,
}

/// Appends the wanted events of a chunk to `events`, in order.
///
/// # Errors
/// `Corrupt` for bytes that [`encode`] cannot have written.
pub(crate) fn decode<L: Layouts + ?Sized>(
    bytes: &[u8],
    base: ChunkBase,
    layouts: &L,
    wanted: &impl Wanted,
    scratch: &mut Scratch,
    events: &mut Vec<RawEvent>,
) -> Result<()> {
    let mut reader = Reader::new(bytes);
    let head = reader.varint()?;
    let count = (head >> 3) as usize;
    if count == 0 || count > CHUNK_EVENTS || count > reader.remaining() {
        return Err(Error::corrupt(format!("chunk of {count} events")));
    }
    let nanos = UNITS[(head & 3) as usize] as u64;
    let heads = &mut scratch.heads;
    heads.clear();
    heads.reserve(count);
    let (mut time, mut ascend) = (base.time, true);
    for _ in 0..count {
        let next = time.wrapping_add(reader.varint()?.wrapping_mul(nanos) as i64);
        ascend &= next >= time;
        time = next;
        heads.push(Head { time, ..Head::default() });
    }
    // No window has the last instant, so no event does.
    if !ascend || time == i64::MAX {
        return Err(Error::corrupt("times that no chunk has"));
    }
    let (from, to) = wanted.times();
    let first = heads.partition_point(|head| head.time < from);
    let last = heads.partition_point(|head| head.time < to);
    if first >= last {
        return Ok(());
    }
    for head in heads.iter_mut() {
        head.shape = reader.varint_u32()?;
    }
    if head & 4 != 0 {
        let severity = raw::severity(reader.byte()?)?;
        heads.iter_mut().for_each(|head| head.severity = severity);
    } else {
        for (head, &severity) in heads.iter_mut().zip(reader.bytes(count)?) {
            head.severity = raw::severity(severity)?;
        }
    }
    let mut last_wanted = None;
    let mut wanted_count = 0;
    for (index, head) in heads.iter_mut().enumerate().take(last).skip(first) {
        head.wanted = wanted.wants(head.time, head.shape, head.severity);
        if head.wanted {
            last_wanted = Some(index);
            wanted_count += 1;
        }
    }
    let Some(last_wanted) = last_wanted else { return Ok(()) };
    let mut commit = base.commit;
    for head in heads.iter_mut() {
        commit = commit.wrapping_add(reader.signed()? as u64);
        head.commit = commit;
    }
    let table = &mut scratch.table;
    table.clear();
    table.push(base.home);
    let length = reader.length()?;
    table.reserve(length);
    let mut previous = 0u32;
    for _ in 0..length {
        previous = previous.wrapping_add(reader.varint_u32()?);
        table.push(previous.wrapping_add(FIRST_OTHER));
    }
    let named = wanted.named();
    let picked = &mut scratch.picked;
    if let Some(named) = named {
        picked.clear();
        picked.extend(table.iter().map(|entity| named.binary_search(entity).is_ok()));
        // Most chunks name none of a few entities.
        if !picked.contains(&true) {
            return Ok(());
        }
    } else {
        events.reserve(wanted_count);
    }
    // Groups of bodies before the first wanted event are passed over whole.
    let first_group = first / GROUP_EVENTS;
    let mut passed = 0usize;
    for group in 0..(count - 1) / GROUP_EVENTS {
        let length = reader.length()?;
        passed = passed.saturating_add(if group < first_group { length } else { 0 });
    }
    reader.bytes(passed)?;
    // What lies behind the last wanted event is checked by `check`, which wants everything.
    for &Head { time, shape, severity, commit, wanted } in &heads[first_group * GROUP_EVENTS..=last_wanted] {
        let layout = layouts.layout(shape).ok_or_else(|| raw::unknown_shape(shape))?;
        let entities = usize::from(layout.subjects) + usize::from(layout.context);
        if !(wanted && (named.is_none() || names_any(reader, entities, picked)?)) {
            for _ in 0..entities {
                reader.varint()?;
            }
            RawEvent::skip_rest(&mut reader, layout)?;
            continue;
        }
        // Filled where it stays: an event is too large to move about for nothing.
        events.push(RawEvent::default());
        let event = events.last_mut().expect("one was just pushed");
        (event.time, event.shape, event.severity, event.commit) = (time, shape, severity, commit);
        for _ in 0..layout.subjects {
            event.subjects.push(entity(table, reader.varint()?)?);
        }
        for _ in 0..layout.context {
            event.context.push(entity(table, reader.varint()?)?);
        }
        event.read_rest(&mut reader, layout)?;
    }
    if last_wanted + 1 == count { reader.finish() } else { Ok(()) }
}

/// Whether one of the next `count` entities is picked.
fn names_any(mut reader: Reader<'_>, count: usize, picked: &[bool]) -> Result<bool> {
    for _ in 0..count {
        if picked.get(reader.varint()? as usize) == Some(&true) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[inline]
fn entity(table: &[u32], index: u64) -> Result<u32> {
    table.get(index as usize).copied().ok_or_else(|| Error::corrupt(format!("entity {index} of {}", table.len())))
}

/// Where a home's events lie when they fill more than one chunk: the time span of each chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory(pub(crate) Vec<Span>);

/// The times of one chunk: earliest event, latest event, end of the last presence (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) until: i64,
}

impl Span {
    pub(crate) fn of(events: &[RawEvent]) -> Span {
        Span {
            first: events.iter().map(|event| event.time).min().unwrap_or(i64::MAX),
            until: events.iter().map(RawEvent::until).max().unwrap_or(i64::MIN),
        }
    }
}

/// Tag of a row that is one chunk.
const ROW_CHUNK: u8 = 0;
/// Tag of a row that is a directory, the chunks following under their own keys.
const ROW_DIRECTORY: u8 = 1;

/// What stands under a home's key.
pub(crate) enum Row<'a> {
    Chunk(&'a [u8]),
    Directory(Directory),
}

/// Appends the row of a home that fits one chunk.
pub(crate) fn encode_single(events: &[RawEvent], base: ChunkBase, out: &mut Vec<u8>) {
    out.push(ROW_CHUNK);
    encode(events, base, out);
}

impl Directory {
    pub(crate) fn encode(&self, base: ChunkBase, out: &mut Vec<u8>) {
        out.push(ROW_DIRECTORY);
        varint::put(out, self.0.len() as u64);
        let mut previous = base.time;
        for span in &self.0 {
            varint::put_signed(out, span.first.wrapping_sub(previous));
            varint::put_signed(out, span.until.wrapping_sub(span.first));
            previous = span.first;
        }
    }
}

/// Reads what stands under a home's key.
pub(crate) fn decode_row(bytes: &[u8], base: ChunkBase) -> Result<Row<'_>> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        ROW_CHUNK => Ok(Row::Chunk(&bytes[1..])),
        ROW_DIRECTORY => {
            let count = reader.length()?;
            let mut spans = Vec::with_capacity(count);
            let mut previous = base.time;
            for _ in 0..count {
                let first = previous.wrapping_add(reader.signed()?);
                let until = first.wrapping_add(reader.signed()?);
                spans.push(Span { first, until });
                previous = first;
            }
            reader.finish()?;
            Ok(Row::Directory(Directory(spans)))
        }
        tag => Err(Error::corrupt(format!("row of unknown form {tag}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raw::tests::{any_event, layouts};
    use proptest::prelude::*;

    struct After(i64);

    impl Wanted for After {
        fn wants(&self, time: i64, _shape: u32, _severity: u8) -> bool {
            time >= self.0
        }

        fn times(&self) -> (i64, i64) {
            (self.0, i64::MAX)
        }
    }

    struct Naming(Vec<u32>);

    impl Wanted for Naming {
        fn wants(&self, _time: i64, _shape: u32, _severity: u8) -> bool {
            true
        }

        fn named(&self) -> Option<&[u32]> {
            Some(&self.0)
        }
    }

    proptest! {
        #[test]
        fn chunks_survive_whole_and_filtered(
            mut events in proptest::collection::vec(any_event(), 1..90),
            home in prop_oneof![0u32..20, FIRST_OTHER..FIRST_OTHER + 20],
            pick: prop::sample::Index,
            unit in 0usize..4,
        ) {
            for event in &mut events {
                event.time = event.time / 4 / UNITS[unit] * UNITS[unit];
            }
            events.sort_by_key(|event| event.time);
            let base = ChunkBase { home, time: events[0].time / UNITS[unit] * UNITS[unit] - UNITS[unit], commit: 5 };
            let mut bytes = Vec::new();
            encode(&events, base, &mut bytes);
            let mut back = Vec::new();
            decode(&bytes, base, layouts().as_slice(), &Everything, &mut Scratch::default(), &mut back).unwrap();
            prop_assert_eq!(&back, &events);
            prop_assert!(back.iter().zip(&events).all(|(a, b)| a.commit == b.commit));

            let all = events.clone();
            let after = pick.get(&events).time;
            back.clear();
            decode(&bytes, base, layouts().as_slice(), &After(after), &mut Scratch::default(), &mut back).unwrap();
            events.retain(|event| event.time >= after);
            prop_assert_eq!(&back, &events);

            let named = pick.get(&events);
            let named = Naming(named.subjects.iter().chain(&named.context).copied().take(1).collect());
            back.clear();
            decode(&bytes, base, layouts().as_slice(), &named, &mut Scratch::default(), &mut back).unwrap();
            let mut naming = all;
            naming.retain(|event| event.subjects.iter().chain(&event.context).any(|entity| named.0.contains(entity)));
            prop_assert_eq!(&back, &naming);
        }

        #[test]
        fn directories_survive(spans in proptest::collection::vec((any::<i64>(), any::<i64>()), 0..20), time: i64) {
            let directory = Directory(spans.into_iter().map(|(first, until)| Span { first, until }).collect());
            let base = ChunkBase { home: 1, time, commit: 0 };
            let mut bytes = Vec::new();
            directory.encode(base, &mut bytes);
            match decode_row(&bytes, base).unwrap() {
                Row::Directory(back) => prop_assert_eq!(back, directory),
                Row::Chunk(_) => prop_assert!(false),
            }
        }

        #[test]
        fn arbitrary_chunks_never_panic(bytes: Vec<u8>) {
            let base = ChunkBase { home: 1, time: 0, commit: 0 };
            let _ = decode_row(&bytes, base);
            let mut events = Vec::new();
            let _ = decode(&bytes, base, layouts().as_slice(), &Everything, &mut Scratch::default(), &mut events);
        }
    }
}
