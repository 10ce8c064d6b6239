//! Reads and writes the header and the manifest.

use crate::codec::record::{self, Counts, Header, Manifest};
use crate::error::{Error, Result};
use crate::store::{Batch, Family, Store, StoreSnapshot};

pub(crate) const HEADER: &[u8] = b"header";
pub(crate) const MANIFEST: &[u8] = b"manifest";
pub(crate) const COUNTS: &[u8] = b"counts";

/// What the store was created with; `None` for a new one.
pub(crate) fn load_header(store: &Store) -> Result<Option<Header>> {
    let bytes = store.get(Family::Meta, HEADER)?;
    bytes.map(|bytes| record::decode(&bytes).map_err(|error| error.at("header"))).transpose()
}

pub(crate) fn put_header(store: &Store, batch: &mut Batch, header: &Header) {
    batch.put(store, Family::Meta, HEADER, &record::encode(header));
}

/// The manifest; a store that never sealed has an empty one.
pub(crate) fn load_manifest(store: &Store) -> Result<Manifest> {
    match store.get(Family::Meta, MANIFEST)? {
        Some(bytes) => {
            let manifest: Manifest = record::decode(&bytes).map_err(|error| error.at("manifest"))?;
            match manifest.seals.iter().find(|seal| seal.part_bits > u32::BITS) {
                Some(seal) => Err(Error::corrupt(format!("seal {} has too many parts", seal.number)).at("manifest")),
                None => Ok(manifest),
            }
        }
        None => Ok(Manifest::default()),
    }
}

pub(crate) fn put_manifest(store: &Store, batch: &mut Batch, manifest: &Manifest) {
    batch.put(store, Family::Meta, MANIFEST, &record::encode(manifest));
}

/// The counts of entities and links at the snapshot's moment.
pub(crate) fn load_counts(snapshot: &StoreSnapshot) -> Result<Counts> {
    match snapshot.get(Family::Meta, COUNTS)? {
        Some(bytes) => record::decode(&bytes).map_err(|error| error.at("counts")),
        None => Ok(Counts::default()),
    }
}

pub(crate) fn put_counts(store: &Store, batch: &mut Batch, counts: &Counts) {
    batch.put(store, Family::Meta, COUNTS, &record::encode(counts));
}
