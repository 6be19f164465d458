//! The power that pictures are compared in, for loops that are vectors.

/// `v^(1/2.2)` for `v > 0`, else `v`: right to a hair more than half a unit of the last place, and without a branch or a
/// call, so that rows are vectors. In `f64`: `log2` by the series of the inverse hyperbolic tangent, `2^y` by Taylor's.
#[inline(always)]
pub(super) fn gamma(v: f32) -> f32 {
    /// Added to a number, its nearest integer is in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let bits = f64::from(v).to_bits();
    let exponent = f64::from_bits((bits >> 52 & 0x7FF) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    let upper = mantissa > std::f64::consts::SQRT_2;
    let m = if upper { 0.5 * mantissa } else { mantissa };
    let e = if upper { exponent + 1.0 } else { exponent };
    let t = (m - 1.0) / (m + 1.0);
    let s = t * t;
    let series = 1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s * (1.0 / 11.0)))));
    let y = (e + 2.0 * std::f64::consts::LOG2_E * t * series) * (1.0 / 2.2);
    let shifted = y + ROUND;
    let z = (y - (shifted - ROUND)) * std::f64::consts::LN_2;
    let high = 1.0 / 120.0 + z * (1.0 / 720.0 + z * (1.0 / 5040.0 + z * (1.0 / 40320.0 + z * (1.0 / 362_880.0))));
    let power = 1.0 + z * (1.0 + z * (0.5 + z * (1.0 / 6.0 + z * (1.0 / 24.0 + z * high))));
    let scaled = f64::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 52));
    if v > 0.0 { scaled as f32 } else { v }
}

#[cfg(test)]
mod tests {
    use super::gamma;

    #[test]
    fn the_power_is_right_to_a_unit_of_the_last_place() {
        let mut v = 1e-38f32;
        while v < 1e30 {
            let exact = f64::from(v).powf(1.0 / 2.2);
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            assert!((f64::from(gamma(v)) - exact).abs() <= 0.51 * unit, "{v}: {} is not {exact}", gamma(v));
            v *= 1.000_37;
        }
        for v in [0.0, -0.0, -1.5, f32::NEG_INFINITY, f32::INFINITY] {
            assert_eq!(gamma(v), v);
        }
        assert!(gamma(f32::NAN).is_nan());
        assert_eq!(gamma(1.0), 1.0);
        assert!((gamma(f32::from_bits(1)) / 4.1e-21 - 1.0).abs() < 0.1);
    }
}
