//! Cosines of rational parts of a full turn.

use std::f64::consts::FRAC_PI_2;

/// `(cos, sin)` of `2π k / n`, within one unit in the last place at every k: the angle is reduced in integers.
///
/// `n` is positive and below 2^60.
pub(crate) fn turn(k: i64, n: i64) -> (f64, f64) {
    // In units of 2π/4n a quarter turn is n.
    let mut k = 4 * k.rem_euclid(n);
    let (mut cos_sign, mut sin_sign) = (1.0, 1.0);
    if k > 2 * n {
        (k, sin_sign) = (4 * n - k, -1.0);
    }
    if k > n {
        (k, cos_sign) = (2 * n - k, -1.0);
    }
    let (sin, cos) = if 2 * k > n {
        let (sin, cos) = (FRAC_PI_2 * ((n - k) as f64 / n as f64)).sin_cos();
        (cos, sin)
    } else {
        (FRAC_PI_2 * (k as f64 / n as f64)).sin_cos()
    };
    (cos_sign * cos, sin_sign * sin)
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn agrees_with_the_plain_functions() {
        for n in [1, 2, 3, 4, 5, 7, 8, 12, 360, 1021] {
            for k in -2 * n..=2 * n {
                let (sin, cos) = (std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
                let got = turn(k, n);
                assert!((got.0 - cos).abs() < 4e-15 && (got.1 - sin).abs() < 4e-15, "{k}/{n}: {got:?}");
            }
        }
    }

    #[test]
    fn symmetries_hold_exactly() {
        assert_eq!(turn(0, 7), (1.0, 0.0));
        assert_eq!(turn(3, 12), (0.0, 1.0));
        assert_eq!(turn(6, 12), (-1.0, 0.0));
        assert_eq!(turn(9, 12), (0.0, -1.0));
        for k in 0..100 {
            let (c, s) = turn(k, 100);
            assert_eq!(turn(-k, 100), (c, -s));
            assert_eq!(turn(k + 50, 100), (-c, -s));
            assert_eq!(turn(25 - k, 100), (s, c));
        }
    }
}
