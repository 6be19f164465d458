//! Pictures that look the same in several places: stripes and grids.
//!
//! The noise of a sensor makes such pairs uncertain by itself: nothing stands out. Without any, what a window leaves of a
//! pattern beyond its own frequencies counts as much as the pattern, and a wrong multiple of its period can stand out. So
//! where two pictures differ by less than any sensor's noise, other places are tried, too.

use crate::estimate::{Estimator, Store};
use crate::{AlignBackend, PairResult, Result, State};

/// Mean differences of proxies below this are no sensor's: ISO 100 has three times as much.
const NOISELESS: f32 = 1e-4;
/// How far other places are looked for, in pixels of the proxy; those up to 3 belong to the peak.
const REACH: i64 = 16;
/// Rows and columns that are compared.
const SAMPLE: [usize; 2] = [48, 512];

/// Marks confident pairs [`State::Doubtful`] whose pictures are as much alike in another place.
pub(crate) fn look<B: AlignBackend>(
    estimator: &Estimator<B>,
    store: &Store<B>,
    slots: &[(usize, usize)],
    results: &mut [PairResult],
) -> Result<()> {
    let block = estimator.geometry().block as f64;
    for (&(gt, noisy), result) in slots.iter().zip(results) {
        if result.state != State::Confident || result.mad[1] >= NOISELESS {
            continue;
        }
        let (size, gt) = estimator.proxy(store, gt)?;
        let (_, noisy) = estimator.proxy(store, noisy)?;
        let shift = result.shift.map(|d| (d / block).round() as i64);
        if elsewhere(&gt, &noisy, size, shift) {
            result.state = State::Doubtful;
        }
    }
    Ok(())
}

/// Whether another place makes two pictures as much alike as `shift` does.
fn elsewhere(gt: &[f32], noisy: &[f32], [height, width]: [usize; 2], shift: [i64; 2]) -> bool {
    // Rows and columns of the noisy picture that have a partner in every place that is tried.
    let axis = |n: usize, d: i64| {
        let (low, high) = ((REACH - d).max(0), (n as i64).min(n as i64 - d - REACH));
        (high > low).then_some((low as usize, (high - low) as usize))
    };
    let (Some((top, rows)), Some((left, columns))) = (axis(height, shift[0]), axis(width, shift[1])) else {
        return false;
    };
    let step = rows.div_ceil(SAMPLE[0]);
    let columns = columns.min(SAMPLE[1]);
    let difference = |dy: i64, dx: i64| -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for y in (top..top + rows).step_by(step) {
            let from = (y as i64 + shift[0] + dy) as usize * width + (left as i64 + shift[1] + dx) as usize;
            let (a, b) = (&gt[from..from + columns], &noisy[y * width + left..][..columns]);
            sum += a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            n += columns;
        }
        sum / n as f64
    };
    let limit = 2.0 * difference(0, 0) + f64::from(NOISELESS) / 2.0;
    (-REACH..=REACH).any(|dy| (-REACH..=REACH).any(|dx| dy.abs().max(dx.abs()) > 3 && difference(dy, dx) <= limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_alike_elsewhere_and_pictures_are_not() {
        let size = [96, 120];
        let of = |f: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..size[0] * size[1]).map(|i| f(i / size[1], i % size[1])).collect()
        };
        let stripes = of(&|_, x| if x % 6 < 3 { 0.2 } else { 0.8 });
        assert!(elsewhere(&stripes, &stripes, size, [0, 6]));
        let grid = of(&|y, x| (x % 7) as f32 * 0.1 + (y % 9) as f32 * 0.05);
        assert!(elsewhere(&grid, &grid, size, [0, 0]));
        let mut random = crate::testing::Random::new(3);
        let noise: Vec<f32> = (0..size[0] * size[1]).map(|_| random.uniform() as f32).collect();
        assert!(!elsewhere(&noise, &noise, size, [0, 0]));
        // Nothing is left to compare.
        assert!(!elsewhere(&stripes, &stripes, size, [90, 0]));
    }
}
