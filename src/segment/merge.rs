//! Merges neighbouring sealed segments into one.

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::SegmentMeta;
use crate::dictionary::Terms;
use crate::error::{Error, Result};
use crate::fail;
use crate::model::Interval;
use crate::segment::rows::RowWriter;
use crate::segment::sealed::{Reading, Segment, put_homes};
use crate::store::{Batch, Cursor, Family, Store};

/// Segments of one level that make one of the next.
const FAN_IN: usize = 4;
/// Rows that are rewritten at most for the sake of fewer segments alone.
const TIDIED_ROWS_MAX: u64 = 1 << 26;
/// Rows beyond which segments are left as they are.
const MERGED_ROWS_MAX: u64 = 1 << 30;

/// The neighbouring segments to merge next, as a range of `segments` (in order of sealing).
///
/// First the oldest run of [`FAN_IN`] of one level: a tiered policy, by which each event is rewritten
/// once a level. When there is none, the longest tail that is at least half as large again as its
/// first segment, up to [`TIDIED_ROWS_MAX`]: what is left over between two tiers is brought
/// together in a quiet moment, and a small addition never makes a large segment be rewritten.
pub(crate) fn pick(segments: &[Arc<Segment>]) -> Option<Range<usize>> {
    let rows = |run: &[Arc<Segment>]| run.iter().map(|segment| segment.meta.rows).sum::<u64>();
    let tier = (0..segments.len().saturating_sub(FAN_IN - 1)).map(|from| from..from + FAN_IN).find(|run| {
        let run = &segments[run.clone()];
        run.iter().all(|segment| segment.meta.level == run[0].meta.level) && rows(run) <= MERGED_ROWS_MAX
    });
    tier.or_else(|| {
        (0..segments.len().saturating_sub(1)).map(|from| from..segments.len()).find(|tail| {
            let (first, rest) = (segments[tail.start].meta.rows, rows(&segments[tail.start + 1..]));
            first <= 2 * rest && first + rest <= TIDIED_ROWS_MAX
        })
    })
}

/// Writes segment `number` out of `inputs`, which stay. `go_on` is asked between homes and may wait;
/// when it says no, `None` is returned and nothing was taken in.
pub(crate) fn merge(
    store: &Store,
    terms: &Terms,
    inputs: &[Arc<Segment>],
    number: u32,
    batch: &mut Batch,
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<(SegmentMeta, RoaringBitmap)>> {
    const ASK_EVERY: u32 = 1024;
    let first = inputs.iter().map(|segment| segment.meta.first).min().expect("a merge has inputs");
    let first_commit = inputs.iter().map(|segment| segment.meta.first_commit).min().expect("a merge has inputs");
    let low = inputs.iter().map(|segment| segment.meta.span.low).min().expect("a merge has inputs");
    let high = inputs.iter().map(|segment| segment.meta.span.high).max().expect("a merge has inputs");
    let span = Calendar::span(low, high);
    fail::point("merge.before_files")?;
    let mut writer = RowWriter::new(store, terms, number, (first, first_commit), span)?;
    let mut sources = inputs.iter().map(|segment| Source::open(store, segment)).collect::<Result<Vec<_>>>()?;
    let mut events: Vec<RawEvent> = Vec::new();
    let mut scratch = Scratch::default();
    let mut asked = 0u32;
    while let Some(home) = sources.iter().filter_map(|source| source.home).min() {
        asked = asked.wrapping_add(1);
        if asked.is_multiple_of(ASK_EVERY) && !go_on() {
            return Ok(None);
        }
        events.clear();
        for source in sources.iter_mut().filter(|source| source.home == Some(home)) {
            source.take(store, terms, &mut scratch, &mut events)?;
        }
        if events.len() > 1 && fail::bug("merge-loses-event") {
            events.pop();
        }
        if !events.is_sorted_by_key(|event| event.time) {
            events.sort_by_key(|event| event.time);
        }
        writer.home(home, &events)?;
    }
    drop(sources);
    let mut written = writer.finish()?;
    let expected: u64 = inputs.iter().map(|segment| segment.meta.rows).sum();
    if written.count != expected {
        return Err(Error::corrupt(format!("segments of {expected} rows held {}", written.count)).at("merge"));
    }
    fail::point("merge.after_files")?;
    written.ingest(store)?;
    put_homes(store, batch, number, &written.homes);
    let segment = SegmentMeta {
        number,
        level: inputs.iter().map(|segment| segment.meta.level).max().expect("a merge has inputs") + 1,
        rows: written.count,
        first,
        until: inputs.iter().map(|segment| segment.meta.until).max().expect("a merge has inputs"),
        first_commit,
        last_commit: inputs.iter().map(|segment| segment.meta.last_commit).max().expect("a merge has inputs"),
        span,
    };
    Ok(Some((segment, written.homes)))
}

/// One input, walked home by home.
pub(super) struct Source<'a> {
    segment: &'a Segment,
    cursor: Cursor<'a>,
    pub(super) home: Option<u32>,
}

impl<'a> Source<'a> {
    pub(super) fn open(store: &'a Store, segment: &'a Segment) -> Result<Source<'a>> {
        let mut cursor = store.cursor(Family::Rows, true);
        cursor.seek(&key::row(segment.meta.number, 0))?;
        let mut source = Source { segment, cursor, home: None };
        source.look()?;
        Ok(source)
    }

    /// Sets `home` from the row under the cursor.
    fn look(&mut self) -> Result<()> {
        self.home = match self.cursor.entry()? {
            Some((key, _)) => match key::parse_row(key)? {
                (segment, home, None) if segment == self.segment.meta.number => Some(home),
                (segment, _, Some(_)) if segment == self.segment.meta.number => {
                    return Err(Error::corrupt("chunk without its directory").at(format!("segment {segment}")));
                }
                _ => None,
            },
            None => None,
        };
        Ok(())
    }

    /// Appends the events of the current home and goes to the next.
    pub(super) fn take(
        &mut self,
        store: &Store,
        terms: &Terms,
        scratch: &mut Scratch,
        events: &mut Vec<RawEvent>,
    ) -> Result<()> {
        let Some(home) = self.home else { return Ok(()) };
        if let Some((_, value)) = self.cursor.entry()? {
            let tables = terms.read();
            let reading = Reading { store, layouts: &*tables, during: Interval::ALL, wanted: &Everything };
            self.segment.read_home(home, value, &reading, scratch, events)?;
        }
        // Chunks of a directory lie behind it; they were read through it.
        loop {
            match self.cursor.advance()? {
                Some((key, _)) if key.len() > 8 && key::parse_row(key)?.1 == home => {}
                _ => break,
            }
        }
        self.look()
    }
}
