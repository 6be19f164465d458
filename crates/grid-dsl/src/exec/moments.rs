//! Samples that are done, over time.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Moments at which progress is told, at most.
const MOMENTS: usize = 60;

/// When samples were done, and how many then.
#[derive(Debug, Default)]
pub(crate) struct Moments(Mutex<Vec<(Instant, u64)>>);

impl Moments {
    /// So many are done now.
    pub(crate) fn done(&self, samples: usize) {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((now, samples as u64));
    }

    /// All of them.
    pub(crate) fn all(self) -> Vec<(Instant, u64)> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When how many were done on both sides, for samples of which each side does a part: at any time the lesser count.
pub(crate) fn lesser(one: &[(Instant, u64)], other: &[(Instant, u64)]) -> Vec<(Instant, u64)> {
    let sides = one.iter().map(|&(at, n)| (at, [n, 0])).chain(other.iter().map(|&(at, n)| (at, [0, n])));
    let mut all: Vec<(Instant, [u64; 2])> = sides.collect();
    all.sort_unstable();
    let (mut done, mut told, mut found) = ([0, 0], 0, Vec::new());
    for (at, [a, b]) in all {
        done = [done[0] + a, done[1] + b];
        let both = done[0].min(done[1]);
        if both > told {
            found.push((at, both - told));
            told = both;
        }
    }
    found
}

/// Seconds since the beginning, and how many were done until then, at equal steps to the end.
pub(crate) fn curve(mut done: Vec<(f64, u64)>, elapsed: f64) -> Vec<(f64, u64)> {
    done.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Few samples at few moments: each step should have some.
    let moments = (done.len() / 4).clamp(4, MOMENTS);
    let (mut next, mut sum) = (done.iter().peekable(), 0);
    let mut at = |k: usize| {
        let moment = elapsed * k as f64 / moments as f64;
        while let Some((_, n)) = next.next_if(|(t, _)| *t <= moment) {
            sum += n;
        }
        (moment, sum)
    };
    if done.is_empty() { Vec::new() } else { (0..=moments).map(&mut at).collect() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn curves_count_what_is_done() {
        assert_eq!(curve(vec![(3.0, 2), (0.5, 1)], 4.0), [(0.0, 0), (1.0, 1), (2.0, 1), (3.0, 3), (4.0, 3)]);
        assert!(curve(Vec::new(), 1.0).is_empty());
        assert_eq!(curve((0..1000).map(|k| (f64::from(k) / 1000.0, 1)).collect(), 1.0).len(), MOMENTS + 1);
    }

    #[test]
    fn both_sides_have_done_what_the_slower_one_has() {
        let start = Instant::now();
        let at = |seconds: u64, n: u64| (start + Duration::from_secs(seconds), n);
        let found = lesser(&[at(1, 5), at(4, 5)], &[at(2, 3), at(3, 4), at(5, 3)]);
        assert_eq!(found, [at(2, 3), at(3, 2), at(4, 2), at(5, 3)]);
    }
}
