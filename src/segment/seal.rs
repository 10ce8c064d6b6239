//! Seals a frozen segment: rows by home, filter, identity index, all as files taken in whole.

use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::filter::{self, FilterPart};
use crate::codec::key;
use crate::codec::record::{self, SealMeta, SegmentMeta, Span};
use crate::dictionary::Terms;
use crate::error::Result;
use crate::fail;
use crate::segment::active::{Active, Inner};
use crate::segment::rows::RowWriter;
use crate::segment::sealed::{commits_key, put_homes};
use crate::store::{Batch, Family, Store, TableWriter};

/// `dedupe` table of filters.
pub(super) const FILTER: u8 = b'f';
/// `dedupe` table of identity indexes.
pub(super) const INDEX: u8 = b'i';

/// Rows fetched at once from all over the segment.
const TOUCH_AHEAD: usize = 64;

/// What a seal made: `batch` lists it, once the caller adds manifest and log trim.
pub(crate) struct Sealed {
    pub(crate) segment: Option<SegmentMeta>,
    pub(crate) seal: Option<SealMeta>,
    pub(crate) homes: RoaringBitmap,
    pub(crate) batch: Batch,
}

/// Writes a frozen segment. Nothing is listed yet, so a crash from here on leaves files that nobody
/// reads and that doing it again replaces key for key.
pub(crate) fn seal(store: &Store, terms: &Terms, active: &Active) -> Result<Sealed> {
    let number = active.number();
    let inner = active.read();
    let mut batch = Batch::default();
    let walls: Vec<i64> = inner.commits().iter().map(|mark| mark.wall).collect();
    let first_commit = inner.commits().first().map_or(0, |mark| mark.commit);
    let last_commit = inner.commits().last().map_or(0, |mark| mark.commit);
    batch.put(store, Family::Meta, &commits_key(number), &record::encode(&(first_commit, walls)));
    if inner.totals().events == 0 {
        return Ok(Sealed { segment: None, seal: None, homes: RoaringBitmap::new(), batch });
    }

    let mut entries = inner.entries();
    // Arrival order decides ties, so that the same segment always gives the same bytes.
    entries.sort_unstable();
    let span = span_of(&entries);
    let mut writer = RowWriter::new(store, terms, number, (inner.totals().first, first_commit), span)?;
    let mut events = Vec::new();
    let mut touched = 0;
    for (at, of_home) in chunks_with_offsets(&entries) {
        // Rows lie in order of arrival: those of the next homes are fetched while these are written.
        if at + of_home.len() > touched {
            let ahead = &entries[at..entries.len().min(at + of_home.len().max(TOUCH_AHEAD))];
            std::hint::black_box(inner.touch(ahead.iter().map(|entry| entry.2)));
            touched = at + ahead.len();
        }
        events.clear();
        {
            let tables = terms.read();
            for &(_, _, event) in of_home {
                events.push(inner.unpack(event, &*tables)?);
            }
        }
        writer.home(of_home[0].0, &events)?;
    }
    let mut written = writer.finish()?;
    fail::point("seal.after_files")?;
    written.ingest(store)?;
    fail::point("seal.after_ingest")?;
    let seal = write_dedupe(store, terms, number, &inner, &entries)?;
    put_homes(store, &mut batch, number, &written.homes);

    let segment = SegmentMeta {
        number,
        level: 0,
        rows: written.count,
        first: inner.totals().first,
        until: inner.until(),
        first_commit,
        last_commit,
        span,
    };
    Ok(Sealed { segment: Some(segment), seal: Some(seal), homes: written.homes, batch })
}

/// The span of time between whose ends all but one in a hundred of the events lie, about.
fn span_of(entries: &[(u32, i64, u32)]) -> Span {
    const SAMPLE: usize = 4096;
    let step = entries.len().div_ceil(SAMPLE).max(1);
    let mut times: Vec<i64> = entries.iter().step_by(step).map(|entry| entry.1).collect();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 200];
    Calendar::span(at(1), at(199))
}

/// Runs of one home, each with its offset.
fn chunks_with_offsets(entries: &[(u32, i64, u32)]) -> impl Iterator<Item = (usize, &[(u32, i64, u32)])> {
    let mut at = 0;
    entries.chunk_by(|a, b| a.0 == b.0).map(move |run| {
        at += run.len();
        (at - run.len(), run)
    })
}

fn write_dedupe(
    store: &Store,
    terms: &Terms,
    number: u32,
    inner: &Inner,
    entries: &[(u32, i64, u32)],
) -> Result<SealMeta> {
    let mut identities: Vec<(u64, u32)> = inner.identities().collect();
    identities.sort_unstable();
    let part_bits = filter::part_bits(identities.len());
    let mut table = store.table_writer(Family::Dedupe, &format!("dedupe-{number}"))?;
    put_filter(&mut table, number, &identities.iter().map(|(identity, _)| *identity).collect::<Vec<u64>>())?;
    let homes = homes_of_named(terms, inner, entries, &identities)?;
    for of_part in homes.chunk_by(|a, b| filter::part_of(a.0, part_bits) == filter::part_of(b.0, part_bits)) {
        let part = filter::part_of(of_part[0].0, part_bits);
        table.put(&key::dedupe(number, INDEX, part), &filter::encode_homes(of_part))?;
    }
    store.ingest(Family::Dedupe, table.finish()?)?;
    let totals = inner.totals();
    Ok(SealMeta { number, first: totals.first, last: totals.last, part_bits, has_index: !homes.is_empty() })
}

/// Puts the filter of a seal; `identities` ascend.
fn put_filter(table: &mut TableWriter, seal: u32, identities: &[u64]) -> Result<()> {
    let part_bits = filter::part_bits(identities.len());
    let part = |identity: u64| filter::part_of(identity, part_bits);
    for of_part in identities.chunk_by(|&a, &b| part(a) == part(b)) {
        let mut keys = of_part.to_vec();
        keys.dedup();
        table.put(&key::dedupe(seal, FILTER, part(keys[0])), FilterPart::build(&keys).as_bytes())?;
    }
    Ok(())
}

/// Writes the filter of events that a rewriting of segment `number` gave another identity: (identity, time).
pub(super) fn write_filter(store: &Store, number: u32, mut renamed: Vec<(u64, i64)>) -> Result<Option<SealMeta>> {
    renamed.sort_unstable();
    let times = || renamed.iter().map(|(_, time)| *time);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(None) };
    let mut table = store.table_writer(Family::Dedupe, &format!("dedupe-{number}"))?;
    put_filter(&mut table, number, &renamed.iter().map(|(identity, _)| *identity).collect::<Vec<u64>>())?;
    store.ingest(Family::Dedupe, table.finish()?)?;
    let part_bits = filter::part_bits(renamed.len());
    Ok(Some(SealMeta { number, first, last, part_bits, has_index: false }))
}

/// (identity, home) of every event with an id of its own, sorted: an event that claims a known id
/// may come with other subjects, so its home cannot be told from the claim.
fn homes_of_named(
    terms: &Terms,
    inner: &Inner,
    entries: &[(u32, i64, u32)],
    identities: &[(u64, u32)],
) -> Result<Vec<(u64, u32)>> {
    let tables = terms.read();
    let named_shapes: Vec<bool> = tables.shapes().iter().map(|entry| entry.shape.layout.has_id).collect();
    let shapes = &inner.totals().shapes;
    let some_named = shapes.iter().zip(&named_shapes).any(|(totals, &named)| named && totals.events > 0);
    if !some_named {
        return Ok(Vec::new());
    }
    let mut identity_of = vec![0u64; identities.len()];
    for &(identity, event) in identities {
        identity_of[event as usize] = identity;
    }
    let mut pairs = Vec::new();
    for &(home, _, event) in entries {
        let raw = inner.unpack(event, &*tables)?;
        if raw.id.is_some() {
            pairs.push((identity_of[event as usize], home));
        }
    }
    pairs.sort_unstable();
    Ok(pairs)
}
