//! Random numbers that are the same at every attempt: from a seed and a partition.

/// SplitMix64: one word of state, every 64-bit number once in its period.
#[derive(Debug)]
pub struct Random(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Random {
    /// The generator of one partition (or of the driver, which takes `usize::MAX`).
    pub(crate) fn of(seed: u64, part: usize) -> Random {
        Random(mix(seed ^ mix((part as u64).wrapping_add(0x9E37_79B9_7F4A_7C15))))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// At least 0 and below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `n`, which isn't 0, each number as likely as the others (Lemire 2019).
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        loop {
            let m = u128::from(self.word()) * u128::from(n);
            if m as u64 >= n.wrapping_neg() % n {
                return (m >> 64) as u64;
            }
        }
    }

    /// How often something happens that happens `mean` times on average.
    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        // A product of uniform numbers, by parts: exp of a large number would be 0.
        let (mut left, mut n) = (mean, 0);
        while left > 0.0 {
            let part = left.min(32.0);
            left -= part;
            let least = (-part).exp();
            let mut product = self.unit();
            while product > least {
                n += 1;
                product *= self.unit();
            }
        }
        n
    }

    /// How many of `n` trials succeed that each do so with probability `p`: by the gaps between successes,
    /// so in time of the result.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        if p <= 0.0 {
            return 0;
        }
        let (scale, mut at, mut hits) = ((-p).ln_1p(), 0u64, 0);
        loop {
            // 1 - unit is above 0, so its logarithm is finite.
            let gap = ((1.0 - self.unit()).ln() / scale).floor();
            if gap >= (n - at) as f64 {
                return hits;
            }
            at += gap as u64 + 1;
            hits += 1;
            if at >= n {
                return hits;
            }
        }
    }

    pub(crate) fn shuffle<T>(&mut self, v: &mut [T]) {
        for i in (1..v.len()).rev() {
            v.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of 20,000 draws.
    fn moments(mut draw: impl FnMut(&mut Random) -> f64) -> (f64, f64) {
        let mut r = Random::of(7, 3);
        let v: Vec<f64> = (0..20_000).map(|_| draw(&mut r)).collect();
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64)
    }

    #[test]
    fn draws_have_the_mean_and_variance_of_their_law() {
        let near = |(m, v): (f64, f64), mean: f64, var: f64| {
            assert!((m - mean).abs() < 5.0 * (var / 20_000.0).sqrt(), "{m} for {mean}");
            assert!((v / var - 1.0).abs() < 0.1, "{v} for {var}");
        };
        near(moments(Random::unit), 0.5, 1.0 / 12.0);
        near(moments(|r| r.below(6) as f64), 2.5, 35.0 / 12.0);
        for mean in [0.05, 1.5, 40.0, 500.0] {
            near(moments(|r| r.poisson(mean) as f64), mean, mean);
        }
        for (n, p) in [(1, 0.3), (10, 0.5), (50, 0.9), (1_000_000, 1e-5)] {
            let (np, q) = (n as f64 * p, 1.0 - p);
            near(moments(|r| r.binomial(n, p) as f64), np, np * q);
        }
    }

    #[test]
    fn partitions_and_seeds_have_numbers_of_their_own() {
        let first = |seed, part| Random::of(seed, part).word();
        let mut all: Vec<u64> = (0..50).flat_map(|s| (0..50).map(move |p| first(s, p))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2_500);
        assert_eq!(first(4, 9), first(4, 9));
    }
}
