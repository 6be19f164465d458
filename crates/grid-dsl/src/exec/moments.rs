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
    use super::*;

    #[test]
    fn curves_count_what_is_done() {
        assert_eq!(curve(vec![(3.0, 2), (0.5, 1)], 4.0), [(0.0, 0), (1.0, 1), (2.0, 1), (3.0, 3), (4.0, 3)]);
        assert!(curve(Vec::new(), 1.0).is_empty());
        assert_eq!(curve((0..1000).map(|k| (f64::from(k) / 1000.0, 1)).collect(), 1.0).len(), MOMENTS + 1);
    }
}
