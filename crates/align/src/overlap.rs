//! What two pictures have in common.

use crate::{Error, Rect, Result};

/// The rectangles of the ground truth and of the noisy picture that show the same: equal sizes, the ground truth's
/// origin is the noisy one's plus the shift.
///
/// The noisy rectangle starts and ends on whole periods, so that it is still a mosaic of the same pattern; a mosaic is
/// never moved by less than its period. `period` is 1 for pictures with all colours.
///
/// ```
/// let (gt, noisy) = align::overlap::overlap([480, 640], [480, 640], [3, -5], 2)?;
/// assert_eq!((gt.top, gt.left), (3, 1));
/// assert_eq!((noisy.top, noisy.left, noisy.height, noisy.width), (0, 6, 476, 634));
/// # Ok::<(), align::Error>(())
/// ```
///
/// # Errors
/// When less than one period is common.
pub fn overlap(gt: [usize; 2], noisy: [usize; 2], shift: [i32; 2], period: usize) -> Result<(Rect, Rect)> {
    let period = period.max(1);
    let axis = |k: usize| {
        let (gt, noisy, d) = (gt[k] as i64, noisy[k] as i64, i64::from(shift[k]));
        let p = period as i64;
        let start = (-d).max(0).div_euclid(p) * p + if (-d).max(0) % p == 0 { 0 } else { p };
        let end = noisy.min(gt - d);
        let length = (end - start).max(0) / p * p;
        (length > 0).then_some(((start + d) as usize, start as usize, length as usize))
    };
    let (Some(rows), Some(columns)) = (axis(0), axis(1)) else {
        return Err(Error::value("shift", format!("{shift:?} leaves nothing that both pictures show")));
    };
    let rect = |top, left| Rect { top, left, height: rows.2, width: columns.2 };
    Ok((rect(rows.0, columns.0), rect(rows.1, columns.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row by row: which rows of the noisy picture have a partner, and which whole periods those are.
    fn by_counting(n: usize, d: i32, p: usize) -> (usize, usize, usize) {
        let has = |y: usize| (0..n as i64).contains(&(y as i64 + i64::from(d)));
        let whole: Vec<usize> = (0..n / p).filter(|k| (0..p).all(|i| has(k * p + i))).collect();
        let start = whole[0] * p;
        ((start as i64 + i64::from(d)) as usize, start, whole.len() * p)
    }

    #[test]
    fn every_small_shift_of_every_period() {
        for p in [1, 2, 6] {
            for dy in -7..=7 {
                for dx in -7..=7 {
                    let (gt, noisy) = overlap([36, 48], [36, 48], [dy, dx], p).unwrap();
                    let (rows, columns) = (by_counting(36, dy, p), by_counting(48, dx, p));
                    assert_eq!((gt.top, noisy.top, noisy.height), rows, "{dy} {p}");
                    assert_eq!((gt.left, noisy.left, noisy.width), columns, "{dx} {p}");
                    assert_eq!((gt.height, gt.width), (noisy.height, noisy.width));
                }
            }
        }
    }

    #[test]
    fn nothing_in_common_is_an_error() {
        assert!(overlap([36, 48], [36, 48], [36, 0], 1).is_err());
        assert!(overlap([36, 48], [36, 48], [0, -47], 2).is_err());
        assert!(overlap([36, 48], [36, 48], [i32::MIN, i32::MAX], 2).is_err());
    }
}
