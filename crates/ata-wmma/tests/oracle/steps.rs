//! Steps of the solvers for one line, as they are printed.

/// Bounds and λ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Box_ {
    pub lower: f64,
    pub upper: f64,
    pub lambda: f64,
}

impl Box_ {
    fn clip(&self, v: f64) -> f64 {
        v.max(self.lower).min(self.upper)
    }

    pub fn start(&self, b: &[f64], rho: &[f64]) -> Vec<f64> {
        (0..b.len()).map(|i| if rho[i] == 0.0 { self.lower } else { self.clip(b[i] / rho[i]) }).collect()
    }

    /// `x`, `y` and `t` after a step.
    pub fn fista(&self, ay: &[f64], b: &[f64], rho: &[f64], x: &[f64], y: &[f64], t: f64) -> (Vec<f64>, Vec<f64>, f64) {
        let n = x.len();
        let mut next = vec![self.lower; n];
        for i in 0..n {
            if rho[i] != 0.0 {
                next[i] = self.clip(y[i] - (ay[i] + self.lambda * y[i] - b[i]) / rho[i]);
            }
        }
        let mut test = 0.0;
        for i in 0..n {
            test += rho[i] * (y[i] - next[i]) * (next[i] - x[i]);
        }
        let (t, beta) = if test > 0.0 {
            ((1.0 + 5f64.sqrt()) / 2.0, 0.0)
        } else {
            let after = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
            (after, (t - 1.0) / after)
        };
        let y = (0..n).map(|i| next[i] + beta * (next[i] - x[i])).collect();
        (next, y, t)
    }

    pub fn descend(&self, g: &[f64], ag: &[f64], x: &[f64], factor: f64) -> Vec<f64> {
        let gg: f64 = g.iter().map(|v| v * v).sum();
        let gag: f64 = g.iter().zip(ag).map(|(a, b)| a * (b + self.lambda * a)).sum();
        let alpha = if gag > 0.0 { factor * gg / gag } else { 0.0 };
        (0..x.len()).map(|i| self.clip(x[i] - alpha * g[i])).collect()
    }

    /// A step behind others: `x` and the best `x` after it, and the lowest objective. `before` are `x` and `g` of the step
    /// before, `best` the best `x` and its objective; none in the first step.
    pub fn borwein(
        &self,
        [ax, b, rho, x]: [&[f64]; 4],
        before: Option<[&[f64]; 2]>,
        best: Option<(&[f64], f64)>,
        odd: bool,
    ) -> (Vec<f64>, Vec<f64>, f64) {
        let n = x.len();
        let g: Vec<f64> = (0..n).map(|i| ax[i] + self.lambda * x[i] - b[i]).collect();
        let objective = (0..n).map(|i| x[i] * (g[i] - b[i])).sum::<f64>() / 2.0;
        let mut alpha = 1.0;
        if let Some([x_before, g_before]) = before {
            let (mut ss, mut sd, mut dd) = (0.0, 0.0, 0.0);
            for i in 0..n {
                let (s, d) = (x[i] - x_before[i], g[i] - g_before[i]);
                // In the variables scaled by the root of rho.
                ss += (s * rho[i].sqrt()).powi(2);
                sd += s * d;
                dd += if rho[i] == 0.0 { 0.0 } else { (d / rho[i].sqrt()).powi(2) };
            }
            if sd > 0.0 {
                let length = if odd { ss / sd } else { sd / dd };
                alpha = length.clamp(1e-3, 1e4);
            }
        }
        let next = (0..n).map(|i| if rho[i] == 0.0 { self.lower } else { self.clip(x[i] - alpha * g[i] / rho[i]) });
        match best {
            Some((kept, lowest)) if lowest <= objective => (next.collect(), kept.to_vec(), lowest),
            _ => (next.collect(), x.to_vec(), objective),
        }
    }

    pub fn kkt(&self, ax: &[f64], b: &[f64], rho: &[f64], x: &[f64]) -> [f64; 2] {
        let (mut largest, mut sum) = (0.0f64, 0.0);
        for i in 0..x.len() {
            let g = ax[i] + self.lambda * x[i] - b[i];
            if rho[i] != 0.0 {
                largest = largest.max((x[i] - self.clip(x[i] - g / rho[i])).abs());
            }
            sum += x[i] * (g - b[i]) / 2.0;
        }
        [largest, sum]
    }
}

/// The iterate and the direction of conjugate gradients after some steps with a diagonal matrix; `inputs` are `A x`, `b`,
/// `ρ` and `x` at the start. Directions are rounded to f32, as what is multiplied is.
pub fn conjugate(weights: &[f64], inputs: [&[f64]; 4], lambda: f64, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let [ax, b, rho, x] = inputs;
    let n = x.len();
    let near = |v: f64| f64::from(v as f32);
    let over = |i: usize, v: f64| if rho[i] == 0.0 { 0.0 } else { v / rho[i] };
    let mut x = x.to_vec();
    let mut r: Vec<f64> = (0..n).map(|i| b[i] - ax[i] - lambda * x[i]).collect();
    let mut p: Vec<f64> = (0..n).map(|i| near(over(i, r[i]))).collect();
    for _ in 0..steps {
        let ap: Vec<f64> = (0..n).map(|i| (weights[i] + lambda) * p[i]).collect();
        let curve: f64 = (0..n).map(|i| p[i] * ap[i]).sum();
        let before: f64 = (0..n).map(|i| over(i, r[i] * r[i])).sum();
        let alpha = if curve > 0.0 && before > 0.0 { before / curve } else { 0.0 };
        for i in 0..n {
            x[i] += alpha * p[i];
            r[i] -= alpha * ap[i];
        }
        let after: f64 = (0..n).map(|i| over(i, r[i] * r[i])).sum();
        let beta = if alpha > 0.0 { after / before } else { 0.0 };
        for i in 0..n {
            p[i] = near(over(i, r[i]) + beta * p[i]);
        }
    }
    (x, p)
}
