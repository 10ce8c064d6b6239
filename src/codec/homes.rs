//! The homes of a block of a page, ascending, one an event, in the shortest of three forms.

use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};

/// Homes of one page: those whose numbers share their upper half.
pub(crate) const PAGE_HOMES: usize = 1 << 16;
/// Words of a set of the homes of one page.
pub(crate) const HOME_WORDS: usize = PAGE_HOMES / 64;

/// Homes as u16, one an event.
const HOMES_RAW: u8 = 0;
/// Homes as differences of a byte each; 255 adds 255 and goes on.
const HOMES_GAPS: u8 = 1;
/// Homes as a set of bits, and a bit an event that is set where a home begins.
const HOMES_SET: u8 = 2;

/// For each byte the places of its bits that are set, ascending.
static PLACES: [[u8; 8]; 256] = places();
/// For each byte how many of its bits are set up to and including each.
static SET_UP_TO: [[u8; 8]; 256] = set_up_to();

const fn places() -> [[u8; 8]; 256] {
    let mut all = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut at) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 != 0 {
                all[byte][at] = bit;
                at += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    all
}

const fn set_up_to() -> [[u8; 8]; 256] {
    let mut all = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut set) = (0, 0);
        while bit < 8 {
            set += (byte >> bit & 1) as u8;
            all[byte][bit] = set;
            bit += 1;
        }
        byte += 1;
    }
    all
}

/// Appends the homes, at least one.
pub(crate) fn encode(homes: &[u16], out: &mut Vec<u8>) {
    let escapes: usize = homes.windows(2).map(|pair| usize::from(pair[1] - pair[0]) / 255).sum();
    let gaps = homes.len() + escapes + usize::from(homes[0]) / 255;
    let set = PAGE_HOMES / 8 + homes.len().div_ceil(8);
    if 2 * homes.len() <= gaps.min(set) {
        out.push(HOMES_RAW);
        homes.iter().for_each(|home| out.extend_from_slice(&home.to_le_bytes()));
    } else if gaps <= set {
        out.push(HOMES_GAPS);
        varint::put(out, gaps as u64);
        let mut previous = 0;
        for &home in homes {
            let gap = home - previous;
            out.extend(std::iter::repeat_n(255, usize::from(gap / 255)));
            out.push((gap % 255) as u8);
            previous = home;
        }
    } else {
        out.push(HOMES_SET);
        let from = out.len();
        out.resize(from + set, 0);
        let (bits, begins) = out[from..].split_at_mut(PAGE_HOMES / 8);
        let mut previous = None;
        for (at, &home) in homes.iter().enumerate() {
            bits[usize::from(home) / 8] |= 1 << (home % 8);
            begins[at / 8] |= u8::from(previous != Some(home)) << (at % 8);
            previous = Some(home);
        }
    }
}

/// The homes of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Homes<'a> {
    Raw(&'a [u8]),
    Gaps(&'a [u8]),
    Set { bits: &'a [u8], begins: &'a [u8] },
}

/// Differences from which on homes are gathered in bytes.
const MANY: usize = 2048;

impl<'a> Homes<'a> {
    /// Those of `count` events, at least one.
    pub(crate) fn read(reader: &mut Reader<'a>, count: usize) -> Result<Homes<'a>> {
        Ok(match reader.byte()? {
            HOMES_RAW => Homes::Raw(reader.bytes(count.saturating_mul(2))?),
            HOMES_GAPS => {
                let length = reader.length()?;
                Homes::Gaps(reader.bytes(length)?)
            }
            HOMES_SET => Homes::Set { bits: reader.bytes(PAGE_HOMES / 8)?, begins: reader.bytes(count.div_ceil(8))? },
            form => return Err(Error::corrupt(format!("homes of unknown form {form}"))),
        })
    }

    /// Appends the home of each event, in order.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn unpack(&self, count: usize, out: &mut Vec<u16>) -> Result<()> {
        let from = out.len();
        match *self {
            Homes::Raw(bytes) => {
                out.extend(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
            }
            Homes::Gaps(gaps) => {
                // One place more than there are homes, where a wrong count shows.
                out.resize(from + count + 1, 0);
                let homes = sum_gaps(gaps, &mut out[from..]);
                if homes != Some(count) {
                    return Err(Error::corrupt("block with other homes than events"));
                }
                out.truncate(from + count);
            }
            Homes::Set { bits, begins } => {
                let begun = begins.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
                let set = bits.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
                if set != begun || begun > count || begins[0] & 1 == 0 {
                    return Err(Error::corrupt("block with other homes than bits"));
                }
                unpack_set(bits, begins, begun, count, out);
            }
        }
        Ok(())
    }

    /// Appends place and home of each event whose home is in `wanted`, in order. Cheap where few are.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn find(&self, count: usize, wanted: &[u64; HOME_WORDS], found: &mut Vec<(u32, u16)>) -> Result<()> {
        let has = |home: u16| wanted[usize::from(home) / 64] >> (home % 64) & 1 != 0;
        match *self {
            Homes::Raw(bytes) => {
                let homes = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                found.extend((0u32..).zip(homes).filter(|(_, home)| has(*home)));
                Ok(())
            }
            Homes::Gaps(gaps) => find_in_gaps(gaps, count, wanted, found),
            Homes::Set { bits, begins } => find_in_set(bits, begins, count, wanted, found),
        }
    }

    /// How many different homes there are.
    pub(crate) fn different(&self) -> u64 {
        match *self {
            Homes::Raw(bytes) => {
                let homes = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                1 + homes().zip(homes().skip(1)).map(|(a, b)| u64::from(a != b)).sum::<u64>()
            }
            // A gap of nothing stays with its home, unless it ends a longer one; the first begins.
            Homes::Gaps(gaps) => {
                let begins =
                    |gap: u8, before: u8| u8::from(gap != 255) & (u8::from(gap != 0) | u8::from(before == 255));
                let first = gaps.first().map_or(0, |&gap| begins(gap, 255));
                let rest = gaps.get(1..).unwrap_or_default();
                // So many that they fit a byte, which is what makes it quick.
                let runs = gaps.chunks(128).zip(rest.chunks(128));
                let count = |(before, gaps): (&[u8], &[u8])| -> u8 {
                    before.iter().zip(gaps).map(|(&before, &gap)| begins(gap, before)).sum()
                };
                u64::from(first) + runs.map(|run| u64::from(count(run))).sum::<u64>()
            }
            Homes::Set { bits, begins } => {
                let shorter = if begins.len() < bits.len() { begins } else { bits };
                shorter.iter().map(|byte| u64::from(byte.count_ones())).sum()
            }
        }
    }

    /// Adds every home to `set`.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn add_to(&self, count: usize, set: &mut [u64; HOME_WORDS]) -> Result<()> {
        match *self {
            Homes::Set { bits, .. } => {
                for (word, bits) in set.iter_mut().zip(bits.chunks_exact(8)) {
                    *word |= u64::from_le_bytes(bits.try_into().expect("eight bytes"));
                }
                Ok(())
            }
            Homes::Raw(bytes) => {
                for pair in bytes.chunks_exact(2) {
                    let home = u16::from_le_bytes([pair[0], pair[1]]);
                    set[usize::from(home) / 64] |= 1 << (home % 64);
                }
                Ok(())
            }
            // A home of 255 further on is followed by its rest, never by the end.
            Homes::Gaps(gaps) => {
                let (mut home, mut met) = (0u16, 0);
                if gaps.len() < MANY {
                    for &gap in gaps {
                        home = home.wrapping_add(u16::from(gap));
                        set[usize::from(home) / 64] |= u64::from(gap != 255) << (home % 64);
                        met += usize::from(gap != 255);
                    }
                } else {
                    // Neighbours share a word, and each would wait for the one before; fewer share a byte.
                    let mut bytes = [0u8; PAGE_HOMES / 8];
                    for &gap in gaps {
                        home = home.wrapping_add(u16::from(gap));
                        bytes[usize::from(home) / 8] |= u8::from(gap != 255) << (home % 8);
                        met += usize::from(gap != 255);
                    }
                    for (word, bits) in set.iter_mut().zip(bytes.chunks_exact(8)) {
                        *word |= u64::from_le_bytes(bits.try_into().expect("eight bytes"));
                    }
                }
                if met != count {
                    return Err(Error::corrupt("block with other homes than events"));
                }
                Ok(())
            }
        }
    }
}

/// Appends the homes of `count` events that begin `begun` times, as often as `bits` are set; the first event begins.
fn unpack_set(bits: &[u8], begins: &[u8], begun: usize, count: usize, out: &mut Vec<u16>) {
    let from = out.len();
    // Eight are written at once, whether all are needed or not; one more place stands before the first home.
    out.resize(from + count + 9, 0);
    let homes = &mut out[from..];
    // Each home once, at the end to begin with: none is written over before the last of its events is met.
    let mut at = count - begun + 1;
    for (&byte, base) in bits.iter().zip((0..).step_by(8)) {
        let byte = usize::from(byte);
        for (home, &place) in homes[at..at + 8].iter_mut().zip(&PLACES[byte]) {
            *home = (base + u32::from(place)) as u16;
        }
        at += usize::from(SET_UP_TO[byte][7]);
    }
    let mut last = count - begun;
    for (at, &byte) in (0..count).step_by(8).zip(begins) {
        let mut near = [0; 16];
        near[..9].copy_from_slice(&homes[last..last + 9]);
        let steps = &SET_UP_TO[usize::from(byte)];
        for (home, &step) in homes[at..at + 8].iter_mut().zip(steps) {
            *home = near[usize::from(step) & 15];
        }
        last += usize::from(steps[7]);
    }
    out.truncate(from + count);
}

/// Writes the home of each event from differences to the next; returns how many there are, `None` if `out` is
/// too short.
fn sum_gaps(gaps: &[u8], out: &mut [u16]) -> Option<usize> {
    const LANES: u64 = 0x0001_0001_0001_0001;
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Four bytes as lanes of 16 bits; times LANES, each lane is the sum of those up to it.
    let sums = |four: u32| {
        let pairs = (u64::from(four) | u64::from(four) << 16) & 0x0000_ffff_0000_ffff;
        ((pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff).wrapping_mul(LANES)
    };
    let (mut at, mut home) = (0usize, 0u16);
    for run in gaps.chunks(8) {
        let eight = run.try_into().map_or(u64::MAX, u64::from_le_bytes);
        // No byte is 255: the complement has no byte 0.
        if (!eight).wrapping_sub(LOW) & eight & HIGH == 0 {
            let places: &mut [u16; 8] = out.get_mut(at..at + 8)?.try_into().ok()?;
            let low = sums(eight as u32).wrapping_add(LANES.wrapping_mul(home.into()));
            let high = sums((eight >> 32) as u32).wrapping_add(LANES.wrapping_mul(low >> 48));
            for (lane, place) in places.iter_mut().enumerate() {
                *place = (if lane < 4 { low >> (16 * lane) } else { high >> (16 * (lane - 4)) }) as u16;
            }
            home = (high >> 48) as u16;
            at += 8;
            continue;
        }
        for &gap in run {
            home = home.wrapping_add(u16::from(gap));
            *out.get_mut(at)? = home;
            at += usize::from(gap != 255);
        }
    }
    Some(at)
}

/// [`Homes::find`] in differences: runs of them that end before the next wanted home are only added up.
fn find_in_gaps(gaps: &[u8], count: usize, wanted: &[u64; HOME_WORDS], found: &mut Vec<(u32, u16)>) -> Result<()> {
    const RUN: usize = 32;
    /// The sum of a run, and how many of its differences go on.
    fn tally(run: &[u8; RUN]) -> (u32, usize) {
        let longer = run.iter().fold(0u8, |longer, &gap| longer + u8::from(gap == 255));
        (run.iter().map(|&gap| u32::from(gap)).sum(), longer.into())
    }
    let (mut at, mut home) = (0usize, 0u32);
    let mut next = next_home(wanted, 0);
    for run in gaps.chunks(RUN) {
        if let Some((sum, longer)) = run.first_chunk().map(tally)
            && home + sum < next
        {
            home += sum;
            at += RUN - longer;
            continue;
        }
        for &gap in run {
            home += u32::from(gap);
            if gap != 255 {
                let word = wanted.get(home as usize / 64).copied().unwrap_or(0);
                if word >> (home % 64) & 1 != 0 {
                    found.push((at as u32, home as u16));
                }
                at += 1;
            }
        }
        next = next_home(wanted, home);
    }
    if at == count { Ok(()) } else { Err(Error::corrupt("block with other homes than events")) }
}

/// The first of `wanted` from `home` on; 65,536 or more when there is none.
fn next_home(wanted: &[u64; HOME_WORDS], home: u32) -> u32 {
    let Some(&first) = wanted.get(home as usize / 64) else { return u32::MAX };
    let first = first >> (home % 64) << (home % 64);
    if first != 0 {
        return home / 64 * 64 + first.trailing_zeros();
    }
    let behind = wanted.iter().zip((0u32..).step_by(64)).skip(home as usize / 64 + 1);
    behind.filter(|(word, _)| **word != 0).map(|(word, base)| base + word.trailing_zeros()).next().unwrap_or(u32::MAX)
}

/// Words that are counted at once where nothing is wanted of them.
const RUN_WORDS: usize = 8;

/// How many bits are set.
fn ones(run: &[u8]) -> u32 {
    run.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")).count_ones()).sum()
}

/// [`Homes::find`] in bits: the rank of a home among the bits is that of its first event among
/// the beginnings.
fn find_in_set(
    bits: &[u8],
    begins: &[u8],
    count: usize,
    wanted: &[u64; HOME_WORDS],
    found: &mut Vec<(u32, u16)>,
) -> Result<()> {
    let mut begins = Beginnings { bytes: begins, word: 0, left: beginnings_at(begins, 0), before: 0 };
    // Homes before the run of words at hand.
    let mut rank = 0u32;
    let runs = bits.chunks_exact(8 * RUN_WORDS).zip(wanted.chunks_exact(RUN_WORDS));
    for (base, (run, wanted)) in (0u32..).step_by(64 * RUN_WORDS).zip(runs) {
        let words = || run.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        if words().zip(wanted).fold(0, |any, (bits, wanted)| any | bits & wanted) == 0 {
            rank += ones(run);
            continue;
        }
        for (base, (bits, wanted)) in (base..).step_by(64).zip(words().zip(wanted)) {
            let mut both = bits & wanted;
            while both != 0 {
                let bit = both.trailing_zeros();
                both &= both - 1;
                let first = begins.find(rank + (bits & ((1 << bit) - 1)).count_ones());
                let Some(first) = first.filter(|&first| first < count) else {
                    return Err(Error::corrupt("block with other homes than bits"));
                };
                let home = (base + bit) as u16;
                let follows = |at: usize| at < count && begins.bytes[at / 8] >> (at % 8) & 1 == 0;
                found.push((first as u32, home));
                found.extend((first + 1..).take_while(|&at| follows(at)).map(|at| (at as u32, home)));
            }
            rank += bits.count_ones();
        }
    }
    Ok(())
}

/// The bits of events that begin a home, walked over from rank to higher rank.
struct Beginnings<'a> {
    bytes: &'a [u8],
    /// The word at hand, what is left of it, and how many beginnings are before that.
    word: usize,
    left: u64,
    before: u32,
}

/// A word of beginnings; those behind the end are empty.
fn beginnings_at(bytes: &[u8], word: usize) -> u64 {
    let bytes = bytes.get(word * 8..).unwrap_or_default();
    match bytes.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

impl Beginnings<'_> {
    /// Where the beginning of this rank stands, none of those asked for before being higher.
    fn find(&mut self, rank: u32) -> Option<usize> {
        let mut ones_left = self.left.count_ones();
        if self.before + ones_left <= rank {
            self.before += ones_left;
            self.word += 1;
            while let Some(run) = self.bytes.get(self.word * 8..(self.word + RUN_WORDS) * 8) {
                let ones = ones(run);
                if self.before + ones > rank {
                    break;
                }
                self.before += ones;
                self.word += RUN_WORDS;
            }
            loop {
                if self.word * 8 >= self.bytes.len() {
                    self.left = 0;
                    return None;
                }
                self.left = beginnings_at(self.bytes, self.word);
                ones_left = self.left.count_ones();
                if self.before + ones_left > rank {
                    break;
                }
                self.before += ones_left;
                self.word += 1;
            }
        }
        (self.before..rank).for_each(|_| self.left &= self.left.wrapping_sub(1));
        self.before = rank;
        Some(self.word * 64 + self.left.trailing_zeros() as usize)
    }
}
