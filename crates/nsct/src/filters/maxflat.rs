//! The maximally flat diamond mapping of any order (`dmaxflat` of the toolbox).
//!
//! With `s = sin²(ω_r/2)`, `t = sin²(ω_c/2)` and Bernstein polynomials `B_i(s) = C(N,i) s^i (1-s)^{N-i}`:
//!
//! `D_N = Σ_{i,j} θ(i+j-N) B_i(s) B_j(t)`, θ = 0 below 0, ½ at 0, 1 above;  `F_N = 1 - 2 D_N`.
//!
//! The sum over j alone is `C_i(t) = Σ_{j > N-i} B_j(t) + ½ B_{N-i}(t)`, so `D_N = Σ_i B_i(s) C_i(t)`.

use super::Tap;

/// The greatest order whose taps fit 128-bit integers: numerators over 16^N stay below 2^(6N+1).
const EXACT: usize = 20;

/// Taps of `F_order`: offsets with `n1 + n2` odd, `|n1|, |n2| <= order`, in increasing `(n1, n2)`.
///
/// Up to order 20 they are exact (they are multiples of 16^-order); above, to about 1e-15.
pub fn diamond_maxflat(order: u8) -> Vec<Tap> {
    let n = usize::from(order);
    let size = 2 * n + 1;
    let grid = if n <= EXACT { exact(n) } else { sampled(n) };
    let mut taps = Vec::with_capacity(2 * n * (n + 1));
    for a in 0..size {
        for b in 0..size {
            // Even offsets vanish by the symmetry F(ω + (π, π)) = -F(ω).
            if (a + b) % 2 == 1 {
                taps.push(Tap { n1: a as i64 - n as i64, n2: b as i64 - n as i64, v: grid[a * size + b] });
            }
        }
    }
    taps
}

/// Binomial coefficients C(n, 0) … C(n, n).
fn binomials<T: Copy + std::ops::Add<Output = T> + From<u8>>(n: usize) -> Vec<T> {
    let mut row: Vec<T> = vec![1.into()];
    for _ in 0..n {
        let inner = row.windows(2).map(|w| w[0] + w[1]);
        row = std::iter::once(1.into()).chain(inner).chain([1.into()]).collect();
    }
    row
}

/// Coefficients of F_n, `(2n+1)²` row-major, in integers over 16^n.
fn exact(n: usize) -> Vec<f64> {
    let size = 2 * n + 1;
    let convolve = |a: &[i128], b: [i128; 3]| {
        let mut out = vec![0; a.len() + 2];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                out[i + j] += x * y;
            }
        }
        out
    };
    // 4^n B_i as 1-D taps: s is [-1, 2, -1]/4, 1 - s is [1, 2, 1]/4.
    let bernstein: Vec<Vec<i128>> = binomials::<i128>(n)
        .into_iter()
        .enumerate()
        .map(|(i, binomial)| {
            let factors = (0..n).map(|k| if k < i { [-1, 2, -1] } else { [1, 2, 1] });
            factors.fold(vec![binomial], |taps, f| convolve(&taps, f))
        })
        .collect();
    // 2 * 16^n D_n.
    let mut doubled = vec![0_i128; size * size];
    for i in 0..=n {
        let c: Vec<i128> = (0..size)
            .map(|b| bernstein[n - i][b] + 2 * bernstein[n - i + 1..].iter().map(|taps| taps[b]).sum::<i128>())
            .collect();
        for (row, &a) in doubled.chunks_mut(size).zip(&bernstein[i]) {
            row.iter_mut().zip(&c).for_each(|(d, c)| *d += a * c);
        }
    }
    // A power of two: the division is exact.
    let scale = 16_f64.powi(n as i32);
    let mut taps: Vec<f64> = doubled.into_iter().map(|d| -(d as f64) / scale).collect();
    taps[n * size + n] += 1.0;
    taps
}

/// Coefficients of F_n from its values at `2n + 1` frequencies an axis: a sum of positive terms at each, then two
/// orthogonal transforms, so that nothing cancels at any order.
fn sampled(n: usize) -> Vec<f64> {
    let size = 2 * n + 1;
    let cosine: Vec<f64> = (0..size).map(|k| crate::angle::turn(k as i64, size as i64).0).collect();
    let bernstein = Bernstein::new(n as u8);
    let mut powers = bernstein.scratch();
    let mut grid: Vec<f64> = Vec::with_capacity(size * size);
    for &cos_a in &cosine {
        grid.extend(cosine.iter().map(|&cos_b| bernstein.eval(&mut powers, [cos_a], [cos_b])[0]));
    }
    // Even in both axes: the inverse transform is a cosine sum.
    let transform = |grid: &[f64]| {
        let mut out = vec![0.0; size * size];
        for (row, values) in grid.chunks(size).enumerate() {
            for k in 0..size {
                let sum: f64 = values.iter().enumerate().map(|(j, v)| v * cosine[j * k % size]).sum();
                // Transposed, so that a second pass takes the other axis.
                out[(k + n) % size * size + row] = sum / size as f64;
            }
        }
        out
    };
    transform(&transform(&grid))
}

/// Evaluates `F_N` from the cosines of its two frequencies, for several pairs of frequencies at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bernstein {
    order: usize,
    binomials: Vec<f64>,
}

impl Bernstein {
    pub(crate) fn new(order: u8) -> Self {
        Self { order: order.into(), binomials: binomials(order.into()) }
    }

    /// Working memory of [`Self::eval`].
    pub(crate) fn scratch<const L: usize>(&self) -> Vec<[f64; L]> {
        vec![[0.0; L]; self.order + 1]
    }

    /// `F_N` at `L` pairs of frequencies, with an error of a few 1e-16: all terms are positive.
    #[inline(always)]
    pub(crate) fn eval<const L: usize>(&self, powers: &mut [[f64; L]], cos_a: [f64; L], cos_b: [f64; L]) -> [f64; L] {
        let n = self.order;
        let half = |cos: [f64; L], sign: f64| cos.map(|c| 0.5 + sign * 0.5 * c);
        let (s, not_s) = (half(cos_a, -1.0), half(cos_a, 1.0));
        let (t, not_t) = (half(cos_b, -1.0), half(cos_b, 1.0));
        // powers[k] = t^k
        powers[0] = [1.0; L];
        for k in 1..=n {
            for l in 0..L {
                powers[k][l] = powers[k - 1][l] * t[l];
            }
        }
        // 2 C_i(t) = 2 C_{i-1}(t) + B_{N-i+1}(t) + B_{N-i}(t), and Σ_i B_i(s) 2 C_i(t) by Horner's rule in 1 - s.
        let mut s_power = [1.0; L];
        let mut not_t_power = [1.0; L];
        let mut previous = [0.0; L];
        let mut c = [0.0; L];
        let mut sum = [0.0; L];
        for i in 0..=n {
            let binomial = self.binomials[i];
            for l in 0..L {
                let b = binomial * powers[n - i][l] * not_t_power[l];
                c[l] += previous[l] + b;
                previous[l] = b;
                sum[l] = sum[l] * not_s[l] + binomial * s_power[l] * c[l];
                s_power[l] *= s[l];
                not_t_power[l] *= not_t[l];
            }
        }
        sum.map(|d| 1.0 - d)
    }
}
