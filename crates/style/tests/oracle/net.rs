//! The layers of the network plan in plain `f64` loops: enlarge, pad, convolve, and the statistics of the result.

/// Channels-last images.
pub(crate) struct Images {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) values: Vec<f64>,
}

impl Images {
    pub(crate) fn new([n, h, w, c]: [usize; 4], mut at: impl FnMut([usize; 4]) -> f64) -> Self {
        let mut values = Vec::with_capacity(n * h * w * c);
        for image in 0..n {
            for y in 0..h {
                for x in 0..w {
                    values.extend((0..c).map(|c| at([image, y, x, c])));
                }
            }
        }
        Self { n, h, w, c, values }
    }

    pub(crate) fn at(&self, [n, y, x, c]: [usize; 4]) -> f64 {
        self.values[((n * self.h + y) * self.w + x) * self.c + c]
    }

    /// Nearest × 2.
    pub(crate) fn enlarged(&self) -> Self {
        Self::new([self.n, 2 * self.h, 2 * self.w, self.c], |[n, y, x, c]| self.at([n, y / 2, x / 2, c]))
    }

    /// With `pad` rows and columns more on every side, mirrored.
    fn padded(&self, pad: usize) -> Self {
        let mirror = |i: usize, n: usize| {
            let i = i as i64 - pad as i64;
            let last = n as i64 - 1;
            (if i < 0 {
                -i
            } else if i > last {
                2 * last - i
            } else {
                i
            }) as usize
        };
        let size = [self.n, self.h + 2 * pad, self.w + 2 * pad, self.c];
        Self::new(size, |[n, y, x, c]| self.at([n, mirror(y, self.h), mirror(x, self.w), c]))
    }
}

/// Sums of products, and sums of their magnitudes. Weights are `[out][in][k][k]`.
pub(crate) fn convolve(x: &Images, weights: &[f64], out: usize, k: usize, stride: usize) -> (Images, Images) {
    let padded = x.padded(k / 2);
    let size = [x.n, (x.h - 1) / stride + 1, (x.w - 1) / stride + 1, out];
    let mut magnitudes = Vec::new();
    let sums = Images::new(size, |[n, y, z, o]| {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for c in 0..x.c {
            for u in 0..k {
                for v in 0..k {
                    let product =
                        weights[((o * x.c + c) * k + u) * k + v] * padded.at([n, y * stride + u, z * stride + v, c]);
                    sum += product;
                    magnitude += product.abs();
                }
            }
        }
        magnitudes.push(magnitude);
        sum
    });
    let [n, h, w, c] = size;
    (sums, Images { n, h, w, c, values: magnitudes })
}

/// Mean, and root of the variance plus `eps`, of each image and channel.
pub(crate) fn statistics(y: &Images, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let plane = |n: usize, c: usize| (0..y.h * y.w).map(move |i| y.at([n, i / y.w, i % y.w, c]));
    let count = (y.h * y.w) as f64;
    let of = |n: usize, c: usize| {
        let mean = plane(n, c).sum::<f64>() / count;
        (mean, (plane(n, c).map(|v| (v - mean) * (v - mean)).sum::<f64>() / count + eps).sqrt())
    };
    (0..y.n * y.c).map(|i| of(i / y.c, i % y.c)).unzip()
}
