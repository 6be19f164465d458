//! Loop closure: with several ground truths, shifts must agree around every loop, `d(a, n) − d(b, n) = d(a, b)`.

use std::collections::BTreeMap;

use crate::{PairResult, State};

/// By how many pixels a loop may be open, full resolution.
pub const OPEN: f64 = 0.75;

/// Marks the least confident member of every open loop [`State::Doubtful`], and returns the shifts of the pictures that
/// agree best with all confident pairs: weighted least squares with weights psr², relative to the first ground truth.
///
/// Pictures that no confident pair reaches are left out of the answer.
pub fn close(pairs: &[(usize, usize)], results: &mut [PairResult]) -> BTreeMap<usize, [f64; 2]> {
    let index: BTreeMap<(usize, usize), usize> = pairs.iter().enumerate().map(|(i, &p)| (p, i)).collect();
    let sure = |r: &PairResult| matches!(r.state, State::Confident | State::NotATranslation);
    let mut open = Vec::new();
    for (&(a, b), &ab) in index.iter().filter(|((a, b), _)| a < b) {
        for (&(other, n), &an) in &index {
            let Some(&bn) = index.get(&(b, n)) else { continue };
            if other != a || n == a || n == b {
                continue;
            }
            let members = [ab, an, bn];
            if !members.iter().all(|&i| sure(&results[i])) {
                continue;
            }
            let [ab, an, bn] = members.map(|i| results[i].shift);
            if (0..2).any(|k| (an[k] - bn[k] - ab[k]).abs() > OPEN) {
                let least = members.into_iter().min_by(|&i, &j| results[i].psr.total_cmp(&results[j].psr));
                open.extend(least);
            }
        }
    }
    for i in open {
        results[i].state = State::Doubtful;
    }
    fit(pairs, results)
}

/// Weighted least squares by relaxation: each picture in turn moves to the weighted mean of what its pairs say.
fn fit(pairs: &[(usize, usize)], results: &[PairResult]) -> BTreeMap<usize, [f64; 2]> {
    // `d(a, n)` is the place of picture a minus that of picture n.
    let mut edges: BTreeMap<usize, Vec<(usize, [f64; 2], f64)>> = BTreeMap::new();
    for (&(a, n), r) in pairs.iter().zip(results) {
        if a == n || r.state != State::Confident {
            continue;
        }
        let weight = f64::from(r.psr).powi(2);
        edges.entry(n).or_default().push((a, r.shift.map(|d| -d), weight));
        edges.entry(a).or_default().push((n, r.shift, weight));
    }
    let Some(&root) = pairs.iter().map(|(a, _)| a).min() else { return BTreeMap::new() };
    let mut places: BTreeMap<usize, [f64; 2]> = BTreeMap::from([(root, [0.0; 2])]);
    let mut rounds = 0;
    loop {
        let mut moved: f64 = 0.0;
        let mut grown = false;
        for (&picture, edges) in edges.iter().filter(|(p, _)| **p != root) {
            let (mut sum, mut weights) = ([0.0; 2], 0.0);
            for (other, d, weight) in edges {
                if let Some(place) = places.get(other) {
                    for k in 0..2 {
                        sum[k] += weight * (place[k] + d[k]);
                    }
                    weights += weight;
                }
            }
            if weights > 0.0 {
                let place = sum.map(|v| v / weights);
                match places.insert(picture, place) {
                    Some(old) => moved = moved.max((old[0] - place[0]).abs()).max((old[1] - place[1]).abs()),
                    None => grown = true,
                }
            }
        }
        rounds += 1;
        if (!grown && moved < 1e-9) || rounds == 2000 {
            return places;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_pairs;

    /// Pictures at these places, as a scene without errors sees them.
    fn scene(places: &[[f64; 2]], gts: usize) -> (Vec<(usize, usize)>, Vec<PairResult>) {
        let pairs = all_pairs(gts, places.len());
        let results = pairs.iter().map(|&(a, n)| PairResult {
            shift: [places[a][0] - places[n][0], places[a][1] - places[n][1]],
            psr: 30.0,
            ..PairResult::identity()
        });
        let results = results.collect();
        (pairs, results)
    }

    #[test]
    fn closed_loops_stay_and_give_the_places() {
        let places = [[0.0, 0.0], [2.0, -3.0], [5.5, 1.0], [-4.0, 8.0]];
        let (pairs, mut results) = scene(&places, 2);
        let fitted = close(&pairs, &mut results);
        assert!(results.iter().all(|r| r.state == State::Confident));
        for (i, place) in places.iter().enumerate() {
            assert!((0..2).all(|k| (fitted[&i][k] - place[k]).abs() < 1e-6), "{i}: {:?}", fitted[&i]);
        }
    }

    #[test]
    fn the_weakest_of_an_open_loop_is_doubted() {
        let (pairs, mut results) = scene(&[[0.0, 0.0], [2.0, -3.0], [5.5, 1.0]], 2);
        let wrong = pairs.iter().position(|&p| p == (1, 2)).unwrap();
        results[wrong].shift[0] += 2.0;
        results[wrong].psr = 10.0;
        let fitted = close(&pairs, &mut results);
        let doubted: Vec<_> = (0..pairs.len()).filter(|&i| results[i].state == State::Doubtful).collect();
        assert_eq!(doubted, [wrong]);
        assert!((fitted[&2][0] - 5.5).abs() < 1e-6, "the doubted pair no longer counts");
    }
}
