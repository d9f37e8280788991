//! How long requests took: counts on a logarithmic scale, without an allocation, so that they can live in shared memory.

/// Steps for each doubling: a percentile is right to about 5 %.
const STEPS: u32 = 8;
/// 2^6 µs and less is the first class, 2^27 µs (134 s) and more the last.
const FIRST_POWER: u32 = 6;
const LAST_POWER: u32 = 27;
const CLASSES: usize = ((LAST_POWER - FIRST_POWER) * STEPS) as usize;

/// How many requests took how long: one count for each class of durations.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Latencies([u32; CLASSES]);

impl Latencies {
    /// No request was counted.
    pub const NONE: Latencies = Latencies([0; CLASSES]);

    /// Counts a request that took so many microseconds.
    pub fn add(&mut self, microseconds: u64) {
        let class = &mut self.0[class(microseconds)];
        *class = class.saturating_add(1);
    }

    /// In milliseconds; `None` without any. `share` is from 0 to 1.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.0.iter().map(|n| u64::from(*n)).sum();
        let rank = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let class = self.0.iter().position(|n| {
            seen += u64::from(*n);
            seen >= rank
        })?;
        // The middle of the class.
        let power = f64::from(FIRST_POWER) + (class as f64 + 0.5) / f64::from(STEPS);
        Some((power.exp2() / 10.0).round() / 100.0)
    }
}

fn class(microseconds: u64) -> usize {
    let power = (microseconds.max(1) as f64).log2() - f64::from(FIRST_POWER);
    ((power * f64::from(STEPS)) as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::NONE;
        assert_eq!(latencies.percentile(0.5), None);
        for millisecond in 1..=1_000 {
            latencies.add(millisecond * 1_000);
        }
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (0.0, 1.0), (1.0, 1_000.0)] {
            let found = latencies.percentile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.06, "{share}: {found}");
        }
    }

    proptest! {
        #[test]
        fn one_request_is_every_percentile(microseconds in 64..100_000_000_u64) {
            let mut latencies = Latencies::NONE;
            latencies.add(microseconds);
            let found = latencies.percentile(0.95).unwrap() * 1_000.0;
            prop_assert!((found / microseconds as f64 - 1.0).abs() < 0.12, "{}", found);
        }

        #[test]
        fn anything_can_be_added(microseconds: u64) {
            let mut latencies = Latencies::NONE;
            latencies.add(microseconds);
            prop_assert!(latencies.percentile(1.0).is_some());
        }
    }
}
