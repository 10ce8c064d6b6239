//! LEB128 integers, zigzag, and a checked reader over bytes.

use crate::error::{Error, Result};

/// Appends `value` in groups of seven bits, least significant first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed `value`, small magnitudes short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// Maps signed to unsigned, small magnitudes to small numbers.
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads fields off the front of a byte slice; every read is bounds checked.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8> {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                Ok(byte)
            }
            None => Err(short()),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64> {
        // One byte is by far the commonest width.
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.varint_long()
    }

    fn varint_long(&mut self) -> Result<u64> {
        // Up to eight bytes at once: the first byte without its top bit ends the number, and the
        // groups of seven bits are pushed together in pairs, then fours, then eights.
        if let Some(eight) = self.rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                let groups = word & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
                let pairs = groups & 0x007f_007f_007f_007f | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
                let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
                self.rest = &self.rest[bits as usize / 8..];
                return Ok(fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4);
            }
        }
        self.varint_bytewise()
    }

    /// The same byte by byte: near the end, and for numbers of nine and ten bytes.
    fn varint_bytewise(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { short() } else { Error::corrupt("number wider than 64 bits") })
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64> {
        self.varint().map(unzigzag)
    }

    /// Passes over `count` integers, whatever their width.
    pub(crate) fn skip_varints(&mut self, mut count: usize) -> Result<()> {
        // As many end in eight bytes as there are bytes without a top bit.
        while count >= 8
            && let Some((eight, rest)) = self.rest.split_first_chunk::<8>()
        {
            count -= (!u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080).count_ones() as usize;
            self.rest = rest;
        }
        while count > 0 {
            count -= usize::from(self.byte()? < 0x80);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn varint_u32(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Error::corrupt("number wider than 32 bits"))
    }

    /// A length that the remaining bytes can still hold, one byte an element at least.
    #[inline]
    pub(crate) fn length(&mut self) -> Result<usize> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(length),
            _ => Err(short()),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.rest.len() {
            return Err(short());
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.bytes(N)?;
        Ok(taken.try_into().expect("bytes() returned N bytes"))
    }

    pub(crate) fn text(&mut self, length: usize) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(length)?).map_err(|cause| Error::corrupt("text is not UTF-8").because(cause))
    }

    pub(crate) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::corrupt(format!("{} bytes left over", self.rest.len()))) }
    }
}

fn short() -> Error {
    Error::corrupt("bytes end too early")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive(value: u64, signed: i64, width in 0u32..64) {
            let value = value >> width;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            put_signed(&mut bytes, signed);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint().unwrap(), value);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn eight_bytes_at_once_read_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let (mut fast, mut slow) = (Reader::new(&bytes), Reader::new(&bytes));
            prop_assert_eq!(fast.varint().ok(), slow.varint_bytewise().ok());
            prop_assert_eq!(fast.remaining(), slow.remaining());
        }

        #[test]
        fn passing_over_numbers_ends_where_reading_them_does(
            numbers in proptest::collection::vec((any::<u64>(), 0u32..64), 0..40),
            count in 0usize..42,
        ) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|(number, shift)| put(&mut bytes, number >> shift));
            let (mut fast, mut slow) = (Reader::new(&bytes), Reader::new(&bytes));
            let read: Result<Vec<u64>> = (0..count).map(|_| slow.varint()).collect();
            prop_assert_eq!(fast.skip_varints(count).is_ok(), read.is_ok());
            if read.is_ok() {
                prop_assert_eq!(fast.remaining(), slow.remaining());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() {}
        }
    }
}
