//! The exponential and what follows from it, computed alike by both twins: fused multiply-adds in one order.

/// `log2(e)`.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln 2` in two parts; products of the first with whole numbers up to 2⁹ are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Adding and subtracting it rounds to a whole number, which then stands in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// `1 / k!` from `k = 7` down: the rest of the series is below 2⁻²⁷ for `|r| ≤ ln 2 / 2`.
const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `eˣ` within 2⁻²² of itself; `x` is held inside −87..88, so that nothing overflows.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let t = x.mul_add(LOG2_E, ROUND);
    let n = t - ROUND;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
    let mut sum = SERIES[0];
    for c in &SERIES[1..] {
        sum = sum.mul_add(r, *c);
    }
    sum * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

/// `z/2 · (1 + tanh(√(2/π) (z + 0.044715 z³)))`, as `z / (1 + e⁻²ᵘ)`.
#[inline(always)]
pub(crate) fn gelu(z: f32) -> f32 {
    const A: f32 = 0.797_884_6;
    const B: f32 = 0.797_884_6 * 0.044_715;
    let u = z * (z * z).mul_add(B, A);
    z / (1.0 + exp(-2.0 * u))
}

/// [`gelu`] of every element.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
pub(crate) fn gelu_all(values: &mut [f32]) {
    for v in values {
        *v = gelu(*v);
    }
}

/// `e^{scale · x − largest}` of every element, where `largest` is the largest product, and their sum. Sixteen sums run side
/// by side and are added in one order.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
pub(crate) fn softmax(values: &mut [f32], scale: f32) -> f32 {
    let mut most = [f32::NEG_INFINITY; 16];
    let mut largest = f32::NEG_INFINITY;
    {
        let (whole, rest) = values.as_chunks_mut::<16>();
        for lane in whole {
            for j in 0..16 {
                lane[j] *= scale;
                most[j] = if lane[j] > most[j] { lane[j] } else { most[j] };
            }
        }
        for v in rest {
            *v *= scale;
            largest = largest.max(*v);
        }
    }
    for v in most {
        largest = largest.max(v);
    }
    let mut sums = [0.0f32; 16];
    let mut sum = 0.0;
    let (whole, rest) = values.as_chunks_mut::<16>();
    for lane in whole {
        for j in 0..16 {
            lane[j] = exp(lane[j] - largest);
            sums[j] += lane[j];
        }
    }
    for v in rest {
        *v = exp(*v - largest);
        sum += *v;
    }
    for v in sums {
        sum += v;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_close() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x.clamp(-87.0, 88.0)).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0_f64.powi(-22), "{x}: {error}");
        }
        assert_eq!((exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)), (1.0, exp(-87.0), exp(-87.0)));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_close() {
        for i in -2000..=2000 {
            let z = f64::from(i) / 100.0;
            let exact = z / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z * z * z)).tanh());
            assert!((f64::from(gelu(z as f32)) - exact).abs() < 1e-6 * (1.0 + z.abs()), "{z}");
        }
    }

    #[test]
    fn softmax_neither_overflows_nor_loses_a_value() {
        let mut values: Vec<f32> = (0..35).map(|i| 1e4 + (i % 7) as f32).collect();
        let sum = softmax(&mut values, 1.0);
        assert!((values.iter().sum::<f32>() - sum).abs() < 1e-4 && values.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!((values[0] - (-6.0_f32).exp()).abs() < 1e-7 && values[34] == 1.0, "{values:?}");
    }
}
