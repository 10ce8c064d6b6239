//! How an index divides time: into blocks of one length, and those into ticks that fit 16 bits.

use crate::codec::record::Span;
use crate::error::{Error, Result};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Length of a block and of a tick, in nanoseconds, shortest first. Ticks divide the lengths that
/// people ask for, so that most windows end between two ticks.
const LEVELS: [(i64, i64); 9] = [
    (SECOND, SECOND / 50_000),
    (60 * SECOND, SECOND / 1_000),
    (3_600 * SECOND, SECOND / 10),
    (DAY, 2 * SECOND),
    (7 * DAY, 10 * SECOND),
    (28 * DAY, 60 * SECOND),
    (364 * DAY, 600 * SECOND),
    (3_640 * DAY, 7_200 * SECOND),
    (36_400 * DAY, 72_000 * SECOND),
];

/// Blocks that most of a segment's events fill, at most.
const BLOCKS_MAX: i64 = 32;

/// One way to divide time. Blocks are numbered from 1970 on, so those of one level fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// Nanoseconds of a block.
    pub(crate) block: i64,
    /// Nanoseconds of a tick.
    pub(crate) tick: i64,
}

impl Calendar {
    /// The calendar of a level.
    pub(crate) fn of_level(level: u8) -> Result<Calendar> {
        let (block, tick) =
            *LEVELS.get(usize::from(level)).ok_or_else(|| Error::corrupt(format!("calendar of level {level}")))?;
        Ok(Calendar { block, tick })
    }

    /// The level for events most of which lie between `low` and `high`: the shortest blocks that are
    /// not too many. A few wild times then make a few blocks more, and no long ones.
    pub(crate) fn span(low: i64, high: i64) -> Span {
        // All of time is longer than 64 bits can tell.
        let length = i128::from(high) - i128::from(low);
        let fits = |&(block, _): &(i64, i64)| length / i128::from(block) < i128::from(BLOCKS_MAX);
        let level = LEVELS.iter().position(fits).unwrap_or(LEVELS.len() - 1) as u8;
        Span { low, high, level }
    }

    /// The block of an instant, and the tick within it.
    #[inline]
    pub(crate) fn place(&self, time: i64) -> (i64, u16) {
        let number = time.div_euclid(self.block);
        (number, (time.rem_euclid(self.block) / self.tick) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_fit_and_divide_blocks() {
        for (block, tick) in LEVELS {
            assert!(block % tick == 0 && block / tick <= 1 << 16, "{block} {tick}");
        }
    }

    proptest! {
        #[test]
        fn an_instant_lies_in_its_tick(time: i64, level in 0u8..9) {
            let calendar = Calendar::of_level(level).unwrap();
            let (number, tick) = calendar.place(time);
            let from = i128::from(number) * i128::from(calendar.block) + i128::from(tick) * i128::from(calendar.tick);
            prop_assert!(from <= i128::from(time) && i128::from(time) < from + i128::from(calendar.tick));
        }

        #[test]
        fn spans_have_few_blocks(a: i64, b: i64) {
            let span = Calendar::span(a.min(b), a.max(b));
            let calendar = Calendar::of_level(span.level).unwrap();
            prop_assert!(calendar.place(span.high).0 - calendar.place(span.low).0 <= BLOCKS_MAX);
        }
    }
}
