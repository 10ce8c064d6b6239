//! Half-open intervals and sets of them.

use smallvec::SmallVec;

use crate::model::Timestamp;

/// The half-open interval `[from, to)`; empty when `from >= to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant after; [`Timestamp::MAX`] means unbounded.
    pub to: Timestamp,
}

impl Interval {
    /// All of time.
    pub const ALL: Interval = Interval { from: Timestamp::MIN, to: Timestamp::MAX };

    /// The interval `[from, to)`.
    pub const fn new(from: Timestamp, to: Timestamp) -> Interval {
        Interval { from, to }
    }

    /// Whether no instant lies inside.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// Whether `time` lies inside.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }

    /// The part common to both, possibly empty.
    #[must_use]
    pub fn intersect(&self, other: &Interval) -> Interval {
        Interval { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// A set of instants: sorted, disjoint, non-adjacent, non-empty intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalSet(SmallVec<[Interval; 1]>);

impl IntervalSet {
    /// The empty set.
    pub fn new() -> IntervalSet {
        IntervalSet::default()
    }

    /// All of time.
    pub fn all() -> IntervalSet {
        IntervalSet::from(Interval::ALL)
    }

    /// The intervals, in order.
    pub fn intervals(&self) -> &[Interval] {
        &self.0
    }

    /// Whether no instant is inside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `time` is inside. O(log n).
    pub fn contains(&self, time: Timestamp) -> bool {
        match self.0.as_slice() {
            [] => false,
            [only] => only.contains(time),
            many => {
                let after = many.partition_point(|interval| interval.from <= time);
                after > 0 && many[after - 1].contains(time)
            }
        }
    }

    /// Whether some instant of `interval` is inside. O(log n).
    pub fn overlaps(&self, interval: &Interval) -> bool {
        if interval.is_empty() {
            return false;
        }
        let after = self.0.partition_point(|own| own.to <= interval.from);
        after < self.0.len() && self.0[after].from < interval.to
    }

    /// The instants in both. O(n + m).
    #[must_use]
    pub fn intersect(&self, other: &IntervalSet) -> IntervalSet {
        let mut common = SmallVec::new();
        let (mut i, mut j) = (0, 0);
        while i < self.0.len() && j < other.0.len() {
            let (a, b) = (self.0[i], other.0[j]);
            let part = a.intersect(&b);
            if !part.is_empty() {
                common.push(part);
            }
            if a.to <= b.to {
                i += 1;
            } else {
                j += 1;
            }
        }
        IntervalSet(common)
    }

    /// The part inside `interval`.
    #[must_use]
    pub fn clip(&self, interval: &Interval) -> IntervalSet {
        self.0.iter().map(|own| own.intersect(interval)).collect()
    }

    /// The instants in either.
    #[must_use]
    pub fn union(&self, other: &IntervalSet) -> IntervalSet {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// The instants of this set that are not in `other`. O(n + m).
    #[must_use]
    pub fn minus(&self, other: &IntervalSet) -> IntervalSet {
        let mut rest = SmallVec::new();
        let mut j = 0;
        for own in &self.0 {
            let mut from = own.from;
            while j < other.0.len() && other.0[j].to <= from {
                j += 1;
            }
            let mut k = j;
            while k < other.0.len() && other.0[k].from < own.to {
                if from < other.0[k].from {
                    rest.push(Interval::new(from, other.0[k].from));
                }
                from = from.max(other.0[k].to);
                k += 1;
            }
            if from < own.to {
                rest.push(Interval::new(from, own.to));
            }
        }
        IntervalSet(rest)
    }
}

impl From<Interval> for IntervalSet {
    fn from(interval: Interval) -> IntervalSet {
        std::iter::once(interval).collect()
    }
}

/// The union of any intervals, in any order, overlapping or empty.
impl FromIterator<Interval> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Interval>>(intervals: I) -> IntervalSet {
        let mut all: SmallVec<[Interval; 4]> = intervals.into_iter().filter(|interval| !interval.is_empty()).collect();
        all.sort_unstable();
        let mut merged: SmallVec<[Interval; 1]> = SmallVec::new();
        for interval in all {
            match merged.last_mut() {
                Some(last) if interval.from <= last.to => last.to = last.to.max(interval.to),
                _ => merged.push(interval),
            }
        }
        IntervalSet(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(parts: &[(i64, i64)]) -> IntervalSet {
        parts.iter().map(|&(from, to)| Interval::new(Timestamp::from_nanos(from), Timestamp::from_nanos(to))).collect()
    }

    fn members(set: &IntervalSet) -> Vec<bool> {
        (0..40).map(|t| set.contains(Timestamp::from_nanos(t))).collect()
    }

    proptest! {
        #[test]
        fn set_algebra_agrees_with_membership_of_every_instant(
            a in proptest::collection::vec((0i64..40, 0i64..40), 0..6),
            b in proptest::collection::vec((0i64..40, 0i64..40), 0..6),
        ) {
            let (a, b) = (set(&a), set(&b));
            let pairs: Vec<(bool, bool)> = members(&a).into_iter().zip(members(&b)).collect();
            prop_assert_eq!(members(&a.union(&b)), pairs.iter().map(|&(x, y)| x || y).collect::<Vec<_>>());
            prop_assert_eq!(members(&a.intersect(&b)), pairs.iter().map(|&(x, y)| x && y).collect::<Vec<_>>());
            prop_assert_eq!(members(&a.minus(&b)), pairs.iter().map(|&(x, y)| x && !y).collect::<Vec<_>>());
            for set in [a.union(&b), a.intersect(&b), a.minus(&b)] {
                prop_assert!(set.intervals().iter().all(|interval| !interval.is_empty()));
                prop_assert!(set.intervals().windows(2).all(|pair| pair[0].to < pair[1].from));
            }
        }
    }
}
