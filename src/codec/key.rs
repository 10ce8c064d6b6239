//! Keys: big-endian and order-preserving, so that a scan meets things in number and time order.

use crate::error::{Error, Result};

/// `log`: segment, commit.
pub(crate) fn log(segment: u32, commit: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&segment.to_be_bytes());
    key[4..].copy_from_slice(&commit.to_be_bytes());
    key
}

pub(crate) fn parse_log(key: &[u8]) -> Result<(u32, u64)> {
    let key: &[u8; 12] = key.try_into().map_err(|_| wrong("log"))?;
    Ok((u32_at(key, 0), u64::from_be_bytes(key[4..].try_into().expect("eight bytes"))))
}

/// `rows`: segment, home.
pub(crate) fn row(segment: u32, home: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&segment.to_be_bytes());
    key[4..].copy_from_slice(&home.to_be_bytes());
    key
}

/// `rows`: segment, home, chunk, for homes whose row is a directory.
pub(crate) fn chunk(segment: u32, home: u32, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&row(segment, home));
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// Segment, home and, for a chunk of a directory, its number.
pub(crate) fn parse_row(key: &[u8]) -> Result<(u32, u32, Option<u32>)> {
    match key.len() {
        8 => Ok((u32_at(key, 0), u32_at(key, 4), None)),
        12 => Ok((u32_at(key, 0), u32_at(key, 4), Some(u32_at(key, 8)))),
        _ => Err(wrong("row")),
    }
}

/// The number that keys of `rows` and `dedupe` begin with.
pub(crate) fn leading_number(key: &[u8]) -> Result<u32> {
    key.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| wrong("numbered"))
}

/// `numbers`: the entity's number.
pub(crate) fn number(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

pub(crate) fn parse_number(key: &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(key.try_into().map_err(|_| wrong("number"))?))
}

/// `names`: word number of the entity's type, then the id.
pub(crate) fn name(kind: u32, id: &str, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(id.as_bytes());
}

/// `terms`: table, then one or two numbers.
pub(crate) fn term(table: u8, major: u32, minor: u32) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = table;
    key[1..5].copy_from_slice(&major.to_be_bytes());
    key[5..].copy_from_slice(&minor.to_be_bytes());
    key
}

pub(crate) fn parse_term(key: &[u8]) -> Result<(u8, u32, u32)> {
    let key: &[u8; 9] = key.try_into().map_err(|_| wrong("term"))?;
    Ok((key[0], u32_at(key, 1), u32_at(key, 5)))
}

/// `dedupe`: seal, table, part.
pub(crate) fn dedupe(seal: u32, table: u8, part: u32) -> [u8; 9] {
    let mut key = [0; 9];
    key[..4].copy_from_slice(&seal.to_be_bytes());
    key[4] = table;
    key[5..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Table and part of a key of `dedupe`.
pub(crate) fn parse_dedupe(key: &[u8]) -> Result<(u8, u32)> {
    match key {
        [_, _, _, _, table, part @ ..] => {
            Ok((*table, u32::from_be_bytes(part.try_into().map_err(|_| wrong("dedupe"))?)))
        }
        _ => Err(wrong("dedupe")),
    }
}

/// First bytes of the `meta` keys of suspects.
pub(crate) const SUSPECT: &[u8; 8] = b"suspect/";

/// `meta`: an entity whose events may not lie where its links say.
pub(crate) fn suspect(entity: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(SUSPECT);
    key[8..].copy_from_slice(&entity.to_be_bytes());
    key
}

/// The entity, if the key is of a suspect.
///
/// # Errors
/// `Corrupt` for a key that begins like one and names no entity.
pub(crate) fn parse_suspect(key: &[u8]) -> Result<Option<u32>> {
    let Some(number) = key.strip_prefix(SUSPECT) else { return Ok(None) };
    Ok(Some(u32::from_be_bytes(number.try_into().map_err(|_| wrong("suspect"))?)))
}

/// First bytes of the `meta` keys of links in quarantine; a key of `links` follows.
pub(crate) const QUARANTINE: &[u8; 11] = b"quarantine/";
/// `meta`: how many links are in quarantine.
pub(crate) const QUARANTINED: &[u8] = b"quarantined";

/// `meta`: a link in quarantine, seen from one of its ends.
pub(crate) fn quarantine(link: &LinkKey) -> [u8; QUARANTINE.len() + LinkKey::LEN] {
    let mut key = [0; QUARANTINE.len() + LinkKey::LEN];
    key[..QUARANTINE.len()].copy_from_slice(QUARANTINE);
    key[QUARANTINE.len()..].copy_from_slice(&link.encode());
    key
}

/// First bytes of the `meta` keys of counts of links.
pub(crate) const DEGREE: &[u8; 7] = b"degree/";

/// `meta`: how many links of a relation stand on one side of an entity.
pub(crate) fn degree(entity: u32, side: Side, relation: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..7].copy_from_slice(DEGREE);
    key[7..12].copy_from_slice(&LinkKey::prefix(entity, side));
    key[12..].copy_from_slice(&relation.to_be_bytes());
    key
}

/// Entity, side and relation, if the key is of a count of links.
///
/// # Errors
/// `Corrupt` for a key that begins like one and tells none of these.
pub(crate) fn parse_degree(key: &[u8]) -> Result<Option<(u32, Side, u32)>> {
    let Some(rest) = key.strip_prefix(DEGREE) else { return Ok(None) };
    let rest: &[u8; 9] = rest.try_into().map_err(|_| wrong("degree"))?;
    let side = match rest[4] {
        0 => Side::Outgoing,
        2 => Side::Incoming,
        _ => return Err(wrong("degree")),
    };
    Ok(Some((u32_at(rest, 0), side, u32_at(rest, 5))))
}

/// First bytes of the `meta` keys of saved cohorts.
pub(crate) const COHORT: &[u8; 7] = b"cohort/";
/// First bytes of the `meta` keys of erasures.
pub(crate) const ERASURE: &[u8; 8] = b"erasure/";
/// `meta`: what names of erased entities are hashed under.
pub(crate) const ERASURE_KEY: &[u8] = b"erasure-key";

/// `meta`: an erasure, numbered from 1.
pub(crate) fn erasure(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(ERASURE);
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The erasure, if the key is of one.
///
/// # Errors
/// `Corrupt` for a key that begins like one and tells no number.
pub(crate) fn parse_erasure(key: &[u8]) -> Result<Option<u64>> {
    let Some(number) = key.strip_prefix(ERASURE) else { return Ok(None) };
    Ok(Some(u64::from_be_bytes(number.try_into().map_err(|_| wrong("erasure"))?)))
}

/// `index` table of entity books.
pub(crate) const BOOK: u8 = b'b';
/// `index` table of pages.
pub(crate) const PAGE: u8 = b'p';
/// Bytes of a key of `index`.
pub(crate) const INDEX_LEN: usize = 4 + 2 + 1 + 4;

/// `index`: segment, upper half of the homes, table, then the first entity of a part of a book or the
/// word number of a page's kind.
pub(crate) fn index(segment: u32, slab: u16, table: u8, number: u32) -> [u8; INDEX_LEN] {
    let mut key = [0; INDEX_LEN];
    key[..4].copy_from_slice(&segment.to_be_bytes());
    key[4..6].copy_from_slice(&slab.to_be_bytes());
    key[6] = table;
    key[7..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Segment, slab, table, number.
pub(crate) fn parse_index(key: &[u8]) -> Result<(u32, u16, u8, u32)> {
    let key: &[u8; INDEX_LEN] = key.try_into().map_err(|_| wrong("index"))?;
    Ok((u32_at(key, 0), u16::from_be_bytes([key[4], key[5]]), key[6], u32_at(key, 7)))
}

/// What a row of the `links` family tells about its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Side {
    /// The entity is the link's `from`.
    Outgoing = 0,
    /// Events of the entity may lie at this home.
    Placement = 1,
    /// The entity is the link's `to`.
    Incoming = 2,
}

/// What a row of the `links` family states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Statement {
    /// The link held from `from` to `to`.
    Add = 0,
    /// The link ended at `from`.
    Close = 1,
    /// The validity that began at `from` never was.
    Retract = 2,
}

/// A row of the `links` family, all of which stands in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkKey {
    pub(crate) entity: u32,
    pub(crate) side: Side,
    /// Word number; 0 for a placement.
    pub(crate) relation: u32,
    /// The other end, or the home.
    pub(crate) other: u32,
    pub(crate) statement: Statement,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl LinkKey {
    pub(crate) const LEN: usize = 4 + 1 + 4 + 4 + 1 + 8 + 8;
    /// Entity and side.
    pub(crate) const PREFIX_LEN: usize = 5;
    /// Entity, side and relation.
    pub(crate) const RELATION_LEN: usize = LinkKey::PREFIX_LEN + 4;
    /// Those, the other end, the statement and where it begins.
    pub(crate) const BEGIN_LEN: usize = LinkKey::LEN - 8;

    pub(crate) fn encode(&self) -> [u8; LinkKey::LEN] {
        let mut key = [0; LinkKey::LEN];
        key[..5].copy_from_slice(&LinkKey::prefix(self.entity, self.side));
        key[5..9].copy_from_slice(&self.relation.to_be_bytes());
        key[9..13].copy_from_slice(&self.other.to_be_bytes());
        key[13] = self.statement as u8;
        key[14..22].copy_from_slice(&ordered(self.from));
        key[22..30].copy_from_slice(&ordered(self.to));
        key
    }

    /// The same seen from the other end.
    pub(crate) fn mirrored(&self) -> LinkKey {
        let side = if self.side == Side::Outgoing { Side::Incoming } else { Side::Outgoing };
        LinkKey { entity: self.other, side, other: self.entity, ..*self }
    }

    pub(crate) fn prefix(entity: u32, side: Side) -> [u8; LinkKey::PREFIX_LEN] {
        let mut key = [0; LinkKey::PREFIX_LEN];
        key[..4].copy_from_slice(&entity.to_be_bytes());
        key[4] = side as u8;
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<LinkKey> {
        let key: &[u8; LinkKey::LEN] = key.try_into().map_err(|_| wrong("link"))?;
        Ok(LinkKey {
            entity: u32_at(key, 0),
            side: match key[4] {
                0 => Side::Outgoing,
                1 => Side::Placement,
                2 => Side::Incoming,
                _ => return Err(wrong("link")),
            },
            relation: u32_at(key, 5),
            other: u32_at(key, 9),
            statement: match key[13] {
                0 => Statement::Add,
                1 => Statement::Close,
                2 => Statement::Retract,
                _ => return Err(wrong("link")),
            },
            from: unordered(key[14..22].try_into().expect("eight bytes")),
            to: unordered(key[22..30].try_into().expect("eight bytes")),
        })
    }
}

/// A signed number whose byte order is its order.
fn ordered(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63) as i64
}

fn u32_at(key: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(key[at..at + 4].try_into().expect("four bytes"))
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!("not a {what} key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_link() -> impl Strategy<Value = LinkKey> {
        let statements = prop_oneof![Just(Statement::Add), Just(Statement::Close), Just(Statement::Retract)];
        let sides = prop_oneof![Just(Side::Outgoing), Just(Side::Placement), Just(Side::Incoming)];
        (any::<u32>(), sides, any::<u32>(), any::<u32>(), statements, any::<i64>(), any::<i64>()).prop_map(
            |(entity, side, relation, other, statement, from, to)| LinkKey {
                entity,
                side,
                relation,
                other,
                statement,
                from,
                to,
            },
        )
    }

    proptest! {
        #[test]
        fn link_keys_survive_and_sort_as_their_fields(a in any_link(), b in any_link()) {
            prop_assert_eq!(LinkKey::decode(&a.encode()).unwrap(), a);
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        }

        #[test]
        fn arbitrary_keys_never_panic(key: Vec<u8>) {
            let _ = (LinkKey::decode(&key), parse_row(&key), parse_log(&key), parse_term(&key), parse_number(&key));
            let _ = (parse_index(&key), parse_suspect(&key), parse_erasure(&key), parse_dedupe(&key));
            let _ = parse_degree(&[&DEGREE[..], &key].concat());
        }
    }
}
