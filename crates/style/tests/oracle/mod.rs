//! The operations in plain f64 loops, straight from their formulas. They share no code with the library.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

/// `[B, C, H, W]` in f64.
#[derive(Clone, Debug)]
pub struct Images {
    pub shape: [usize; 4],
    pub data: Vec<f64>,
}

impl Images {
    pub fn at(&self, b: usize, c: usize, y: usize, x: usize) -> f64 {
        let [_, channels, h, w] = self.shape;
        self.data[((b * channels + c) * h + y) * w + x]
    }

    /// Every value through `f`, which gets the channel too.
    pub fn map(&self, f: impl Fn(usize, f64) -> f64) -> Self {
        let [_, channels, h, w] = self.shape;
        let data = self.data.iter().enumerate().map(|(i, &v)| f(i / (h * w) % channels, v)).collect();
        Self { shape: self.shape, data }
    }

    /// The same with channels last.
    pub fn channels_last(&self) -> Vec<f64> {
        let [batch, channels, h, w] = self.shape;
        let mut out = Vec::new();
        for b in 0..batch {
            for y in 0..h {
                for x in 0..w {
                    for c in 0..channels {
                        out.push(self.at(b, c, y, x));
                    }
                }
            }
        }
        out
    }
}

/// Weights `[out, in, kh, kw]` with their bias.
#[derive(Clone, Debug)]
pub struct Filter {
    pub shape: [usize; 4],
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub padding: usize,
    pub stride: [usize; 2],
    pub upsample: bool,
}

/// Mirrors an index at the ends without repeating them.
fn reflected(i: i64, n: i64) -> i64 {
    if i < 0 {
        -i
    } else if i >= n {
        2 * (n - 1) - i
    } else {
        i
    }
}

/// Nearest × 2 if asked for, reflection, cross-correlation, bias. With `absolute` of absolute values, for bounds.
pub fn conv(x: &Images, f: &Filter, absolute: bool) -> Images {
    let [batch, _, h, w] = x.shape;
    let [out, input, kh, kw] = f.shape;
    let times = if f.upsample { 2 } else { 1 };
    let (h, w) = (h * times, w * times);
    let size = |n: usize, k: usize, s: usize| (n + 2 * f.padding - k) / s + 1;
    let (ho, wo) = (size(h, kh, f.stride[0]), size(w, kw, f.stride[1]));
    let mut data = Vec::with_capacity(batch * out * ho * wo);
    for b in 0..batch {
        for o in 0..out {
            for i in 0..ho {
                for j in 0..wo {
                    let mut sum = if absolute { f.bias[o].abs() } else { f.bias[o] };
                    for c in 0..input {
                        for u in 0..kh {
                            for v in 0..kw {
                                let y = reflected((i * f.stride[0] + u) as i64 - f.padding as i64, h as i64);
                                let z = reflected((j * f.stride[1] + v) as i64 - f.padding as i64, w as i64);
                                let weight = f.weight[((o * input + c) * kh + u) * kw + v];
                                let product = weight * x.at(b, c, y as usize / times, z as usize / times);
                                sum += if absolute { product.abs() } else { product };
                            }
                        }
                    }
                    data.push(sum);
                }
            }
        }
    }
    Images { shape: [batch, out, ho, wo], data }
}

/// Mean and biased variance of every plane.
pub fn statistics(x: &Images) -> Vec<(f64, f64)> {
    let [_, _, h, w] = x.shape;
    let n = (h * w) as f64;
    let of_plane = |plane: &[f64]| {
        let mean = plane.iter().sum::<f64>() / n;
        (mean, plane.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n)
    };
    x.data.chunks_exact(h * w).map(of_plane).collect()
}

/// Instance norm, ReLU, sum with the residual.
pub fn norm(x: &Images, gamma: &[f64], beta: &[f64], eps: f64, relu: bool, residual: Option<&Images>) -> Images {
    let [_, channels, h, w] = x.shape;
    let statistics = statistics(x);
    let mut data = Vec::with_capacity(x.data.len());
    for (i, &v) in x.data.iter().enumerate() {
        let plane = i / (h * w);
        let (mean, variance) = statistics[plane];
        let mut y = (v - mean) / (variance + eps).sqrt() * gamma[plane % channels] + beta[plane % channels];
        if relu && y < 0.0 {
            y = 0.0;
        }
        data.push(y + residual.map_or(0.0, |r| r.data[i]));
    }
    Images { shape: x.shape, data }
}
