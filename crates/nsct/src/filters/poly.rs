/// A polynomial in one variable, constant term first.
///
/// ```
/// use nsct::filters::Poly;
/// let p = Poly::new([1.0, 0.0, 2.0]);
/// assert_eq!(p.eval(3.0), 19.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Poly(Vec<f64>);

impl Poly {
    /// From coefficients, constant term first; none at all is the polynomial 0.
    pub fn new(coefficients: impl Into<Vec<f64>>) -> Self {
        let mut coefficients = coefficients.into();
        if coefficients.is_empty() {
            coefficients.push(0.0);
        }
        Self(coefficients)
    }

    /// The coefficients, constant term first; at least one.
    pub fn coefficients(&self) -> &[f64] {
        &self.0
    }

    /// Number of coefficients less one.
    pub fn degree(&self) -> usize {
        self.0.len() - 1
    }

    /// `p(x)` by Horner's rule.
    pub fn eval(&self, x: f64) -> f64 {
        self.0.iter().rev().fold(0.0, |sum, &c| sum * x + c)
    }

    /// `alt(p)(x) = p(-x)`.
    pub fn alt(&self) -> Self {
        Self(self.0.iter().enumerate().map(|(k, &c)| if k % 2 == 1 { -c } else { c }).collect())
    }

    /// `factor * p`.
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|c| c * factor).collect())
    }

    /// `p + q`.
    pub fn plus(&self, other: &Self) -> Self {
        let at = |p: &Self, k: usize| p.0.get(k).copied().unwrap_or(0.0);
        Self((0..self.0.len().max(other.0.len())).map(|k| at(self, k) + at(other, k)).collect())
    }

    /// `p * q`.
    pub fn times(&self, other: &Self) -> Self {
        let mut product = vec![0.0; self.0.len() + other.0.len() - 1];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                product[i + j] += a * b;
            }
        }
        Self(product)
    }
}

/// Smallest and largest value of `p0² + p1²` on `[-1, 1]`, the range of a mapping.
///
/// One filter bank step scales the energy of any image by a factor between these two.
pub fn energy_bounds(p0: &Poly, p1: &Poly) -> (f64, f64) {
    let energy = p0.times(p0).plus(&p1.times(p1));
    // A grid finer than any wiggle of a polynomial of degree 8, then ternary search around its best point.
    let grid = |i: i32| f64::from(i) / 512.0;
    let refine = |sign: f64| {
        let value = |x: f64| sign * energy.eval(x);
        let best = (-512..=512).max_by(|&a, &b| value(grid(a)).total_cmp(&value(grid(b)))).unwrap_or(0);
        let (mut low, mut high) = (grid((best - 1).max(-512)), grid((best + 1).min(512)));
        for _ in 0..80 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if value(a) < value(b) { low = a } else { high = b }
        }
        value(grid(best)).max(value(f64::midpoint(low, high))) * sign
    };
    (refine(-1.0), refine(1.0))
}
