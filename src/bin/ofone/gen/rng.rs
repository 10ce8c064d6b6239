//! Repeatable randomness: the same key gives the same numbers on every machine.
//!
//! Only additions, multiplications and shifts are used, because `exp` and `ln` of a platform may
//! differ in the last bit.

/// A SplitMix64 generator.
pub(crate) struct Rng(u64);

impl Rng {
    /// The generator of one thing, independent of all others: `key` says which.
    pub(crate) fn new(seed: u64, key: [u64; 3]) -> Rng {
        let mut rng = Rng(seed);
        for part in key {
            rng.0 = rng.next() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        rng
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `from..to`.
    pub(crate) fn range(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from) as u64) as i64
    }

    /// A number below `limit`, which must not be zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below zero");
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A heavy-tailed factor around 1: log-normal with mean 1.
    pub(crate) fn log_normal(&mut self, sigma: f64) -> f64 {
        exp(self.normal() * sigma - sigma * sigma / 2.0)
    }

    /// How often something with this mean happens: Poisson, approximated by a normal when large.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return (mean + self.normal() * mean.sqrt()).round().max(0.0) as u64;
        }
        let limit = exp(-mean);
        let (mut count, mut product) = (0, self.unit());
        while product > limit {
            count += 1;
            product *= self.unit();
        }
        count
    }

    /// Close enough to a standard normal: twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// `(1 + x/1024)^1024`, accurate to a percent or two in the range used here.
fn exp(x: f64) -> f64 {
    let mut power = 1.0 + x / 1024.0;
    for _ in 0..10 {
        power *= power;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_give_equal_numbers_and_others_do_not() {
        let first = |key| Rng::new(7, key).next();
        assert_eq!(first([1, 2, 3]), first([1, 2, 3]));
        assert_ne!(first([1, 2, 3]), first([1, 3, 2]));
        assert_ne!(first([1, 2, 3]), Rng::new(8, [1, 2, 3]).next());
    }

    #[test]
    fn distributions_have_the_mean_they_promise() {
        let mut rng = Rng::new(1, [0; 3]);
        let mean = |sample: &mut dyn FnMut() -> f64| (0..20_000).map(|_| sample()).sum::<f64>() / 20_000.0;
        assert!((mean(&mut || rng.unit()) - 0.5).abs() < 0.02);
        assert!((mean(&mut || rng.poisson(3.0) as f64) - 3.0).abs() < 0.1);
        assert!((mean(&mut || rng.poisson(80.0) as f64) - 80.0).abs() < 0.5);
        assert!((mean(&mut || rng.log_normal(0.8)) - 1.0).abs() < 0.05);
    }
}
