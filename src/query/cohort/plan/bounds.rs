//! What an index tells of a set: some who are certainly in it, and all who may be.

use roaring::RoaringBitmap;

/// `sure` ⊆ the set ⊆ `maybe`, among the customers of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) sure: RoaringBitmap,
    pub(crate) maybe: RoaringBitmap,
}

impl Bounds {
    /// A set that is known.
    pub(crate) fn exact(set: RoaringBitmap) -> Bounds {
        Bounds { maybe: set.clone(), sure: set }
    }

    /// Nothing is known but that the set lies within `all`.
    pub(crate) fn unknown(all: &RoaringBitmap) -> Bounds {
        Bounds { sure: RoaringBitmap::new(), maybe: all.clone() }
    }

    pub(crate) fn and(&mut self, other: &Bounds) {
        self.sure &= &other.sure;
        self.maybe &= &other.maybe;
    }

    pub(crate) fn or(&mut self, other: Bounds) {
        self.sure |= other.sure;
        self.maybe |= other.maybe;
    }

    /// Those of `all` that are not in the set.
    pub(crate) fn not(self, all: &RoaringBitmap) -> Bounds {
        Bounds { sure: all - self.maybe, maybe: all - self.sure }
    }

    pub(crate) fn minus(&mut self, other: &Bounds) {
        self.sure -= &other.maybe;
        self.maybe -= &other.sure;
    }

    /// Says that nothing is known about `doubted`.
    pub(crate) fn doubt(&mut self, doubted: &RoaringBitmap) {
        self.sure -= doubted;
        self.maybe |= doubted;
    }

    /// Those that must be decided one by one.
    pub(crate) fn open(&self) -> RoaringBitmap {
        &self.maybe - &self.sure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_set() -> impl Strategy<Value = RoaringBitmap> {
        proptest::collection::vec(0u32..20, 0..20).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        /// Whatever the bounds leave open, the operations keep the truth between them.
        #[test]
        fn operations_keep_the_truth_inside(a in any_set(), b in any_set(), vague in any_set()) {
            let all: RoaringBitmap = (0..20).collect();
            let around = |set: &RoaringBitmap| Bounds { sure: set - &vague, maybe: set | &vague };
            let holds = |bounds: &Bounds, truth: &RoaringBitmap| {
                bounds.sure.is_subset(truth) && truth.is_subset(&bounds.maybe)
            };
            let mut both = around(&a);
            both.and(&around(&b));
            prop_assert!(holds(&both, &(&a & &b)));
            let mut either = around(&a);
            either.or(around(&b));
            prop_assert!(holds(&either, &(&a | &b)));
            let mut rest = around(&a);
            rest.minus(&around(&b));
            prop_assert!(holds(&rest, &(&a - &b)));
            prop_assert!(holds(&around(&a).not(&all), &(&all - &a)));
            let mut doubted = Bounds::exact(a.clone());
            doubted.doubt(&vague);
            prop_assert!(holds(&doubted, &a));
        }
    }
}
