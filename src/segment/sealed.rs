//! A sealed segment: its description, its set of homes, and how a home's events are read.

use roaring::RoaringBitmap;

use crate::codec::chunk::{self, ChunkBase, Row, Scratch, Wanted};
use crate::codec::key;
use crate::codec::raw::{Layouts, RawEvent};
use crate::codec::record::{self, SegmentMeta};
use crate::error::{Error, Result};
use crate::model::Interval;
use crate::segment::hold::{Graveyard, Hold, Leftover};
use crate::store::{Batch, Family, Store, StoreSnapshot};

/// A handle on a sealed segment.
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    pub(crate) homes: RoaringBitmap,
    hold: Hold,
}

/// What reading needs besides the segment.
pub(crate) struct Reading<'a, L: Layouts + ?Sized, W: Wanted> {
    pub(crate) store: &'a Store,
    pub(crate) layouts: &'a L,
    /// Instants at which presences matter.
    pub(crate) during: Interval,
    pub(crate) wanted: &'a W,
}

impl Segment {
    pub(crate) fn new(meta: SegmentMeta, homes: RoaringBitmap, graveyard: Graveyard) -> Segment {
        Segment { hold: Hold::new(Leftover::Segment(meta.number), graveyard), meta, homes }
    }

    /// Opens a listed segment.
    pub(crate) fn open(store: &Store, meta: SegmentMeta, graveyard: Graveyard) -> Result<Segment> {
        let place = || format!("homes of segment {}", meta.number);
        let bytes = store.get(Family::Meta, &homes_key(meta.number))?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("missing").at(place()))?;
        let mut rest = &bytes[..];
        let homes = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|cause| Error::corrupt("not a set of homes").because(cause).at(place()))?;
        if !rest.is_empty() || homes.len() > meta.rows {
            return Err(Error::corrupt("set of homes does not fit its segment").at(place()));
        }
        Ok(Segment::new(meta, homes, graveyard))
    }

    /// Says that the rows may go once nobody reads them.
    pub(crate) fn retire(&self) {
        self.hold.retire();
    }

    /// Whether some presence in the segment may touch `during`.
    pub(crate) fn overlaps(&self, during: &Interval) -> bool {
        self.meta.first < during.to.as_nanos() && during.from.as_nanos() < self.meta.until
    }

    /// The slabs that have a home of the segment, ascending.
    pub(crate) fn slabs(&self) -> impl Iterator<Item = u16> + '_ {
        let mut next = Some(0u32);
        std::iter::from_fn(move || {
            let slab = (self.homes.range(next?..).next()? >> 16) as u16;
            next = slab.checked_add(1).map(|slab| u32::from(slab) << 16);
            Some(slab)
        })
    }

    /// Whether a home of the segment lies in the slab.
    pub(crate) fn has_slab(&self, slab: u16) -> bool {
        let first = u32::from(slab) << 16;
        self.homes.range(first..=first | 0xffff).next().is_some()
    }

    pub(crate) fn base(&self, home: u32) -> ChunkBase {
        ChunkBase { home, time: self.meta.first, commit: self.meta.first_commit }
    }

    /// Appends the wanted events of `home` to `events`, in ascending time. `value` is what stands
    /// under the home's key.
    pub(crate) fn read_home<L: Layouts + ?Sized, W: Wanted>(
        &self,
        home: u32,
        value: &[u8],
        reading: &Reading<'_, L, W>,
        scratch: &mut Scratch,
        events: &mut Vec<RawEvent>,
    ) -> Result<()> {
        let place = |error: Error| error.at(format!("row of home {home} in segment {}", self.meta.number));
        let base = self.base(home);
        match chunk::decode_row(value, base).map_err(place)? {
            Row::Chunk(bytes) => {
                chunk::decode(bytes, base, reading.layouts, reading.wanted, scratch, events).map_err(place)
            }
            Row::Directory(directory) => {
                for (number, span) in directory.0.iter().enumerate() {
                    let outside =
                        span.until <= reading.during.from.as_nanos() || span.first >= reading.during.to.as_nanos();
                    if outside {
                        continue;
                    }
                    let key = key::chunk(self.meta.number, home, number as u32);
                    let bytes = reading.store.get(Family::Rows, &key)?;
                    let bytes = bytes.ok_or_else(|| place(Error::corrupt(format!("chunk {number} is missing"))))?;
                    chunk::decode(&bytes, base, reading.layouts, reading.wanted, scratch, events).map_err(place)?;
                }
                Ok(())
            }
        }
    }
}

/// First bytes of the `meta` keys of wall times.
const COMMITS_PREFIX: &[u8; 6] = b"times/";

/// `meta` key of a segment's set of homes.
pub(crate) fn homes_key(segment: u32) -> [u8; 10] {
    numbered(b"homes/", segment)
}

/// `meta` key of the wall times of the commits of a seal.
pub(super) fn commits_key(seal: u32) -> [u8; 10] {
    numbered(COMMITS_PREFIX, seal)
}

fn numbered(prefix: &[u8; 6], number: u32) -> [u8; 10] {
    let mut key = [0; 10];
    key[..6].copy_from_slice(prefix);
    key[6..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Puts the set of homes of a new segment.
pub(super) fn put_homes(store: &Store, batch: &mut Batch, segment: u32, homes: &RoaringBitmap) {
    let mut bytes = Vec::with_capacity(homes.serialized_size());
    homes.serialize_into(&mut bytes).expect("memory takes any bitmap");
    batch.put(store, Family::Meta, &homes_key(segment), &bytes);
}

/// Reads the wall times of all sealed commits.
///
/// # Errors
/// `Corrupt` at the first that cannot be decoded.
pub(crate) fn check_commit_times(snapshot: &StoreSnapshot) -> Result<()> {
    snapshot.with_cursor(Family::Meta, |cursor| {
        let mut entry = cursor.seek(COMMITS_PREFIX)?;
        while let Some((_, value)) = entry.filter(|(key, _)| key.starts_with(COMMITS_PREFIX)) {
            record::decode::<(u64, Vec<i64>)>(value).map_err(|error| error.at("commit times"))?;
            entry = cursor.advance()?;
        }
        Ok(())
    })
}

/// The wall time of a sealed commit.
pub(crate) fn commit_wall(snapshot: &StoreSnapshot, commit: u64) -> Result<Option<i64>> {
    snapshot.with_cursor(Family::Meta, |cursor| {
        let mut entry = cursor.seek(COMMITS_PREFIX)?;
        while let Some((key, value)) = entry {
            if !key.starts_with(COMMITS_PREFIX) {
                break;
            }
            let (first, walls): (u64, Vec<i64>) = record::decode(value).map_err(|error| error.at("commit times"))?;
            let at = commit.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(&wall) = at.and_then(|at| walls.get(at)) {
                return Ok(Some(wall));
            }
            entry = cursor.advance()?;
        }
        Ok(None)
    })
}
