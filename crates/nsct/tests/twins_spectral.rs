//! The transforms of the spectral engine: CPU against their definitions, CUDA against the CPU.
//!
//! One entry has small planes of every size in both precisions (on a device: cuFFT), one large planes of `f32` whose
//! sides are powers of two (on a device: kernels of our own), with few points set so that the definition stays cheap.

mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, parts};
use gpu_core::{Result, Tensor, twins};
use nsct::kernels::{FourierPlan, dct2, idct2, irfft2, rfft2, tree_analysis, tree_synthesis};
use nsct::{NsctBackend, Real};
use num_complex::Complex;
use oracle::spectral;

/// Planes with gaps between them; `points` of each are set, all if there are more than it has elements.
#[derive(Clone, Debug)]
struct Case {
    count: usize,
    bands: usize,
    height: usize,
    width: usize,
    gap: usize,
    points: usize,
    fill: Fill,
}

fn small() -> BoxedStrategy<Case> {
    (0_usize..4, 1_usize..6, 1_usize..20, 1_usize..20, 0_usize..3, Fill::any())
        .prop_map(|(count, bands, height, width, gap, fill)| Case {
            count,
            bands,
            height,
            width,
            gap,
            points: usize::MAX,
            fill,
        })
        .boxed()
}

fn large() -> BoxedStrategy<Case> {
    // At most 2^18 elements: 512 x 512, 256 x 1024.
    (1_usize..4, 1_usize..6, 7_u32..11, 7_u32..11, 0_usize..4, 0_u32..1024)
        .prop_map(|(count, bands, height, width, gap, seed)| {
            let width = width.min(18 - height);
            let fill = Fill::of(FillKind::Noise(seed));
            Case { count, bands, height: 1 << height, width: 1 << width, gap, points: 4, fill }
        })
        .boxed()
}

impl Case {
    fn area(&self) -> usize {
        self.height * self.width
    }

    fn half(&self) -> usize {
        self.height * (self.width / 2 + 1)
    }

    fn stride(&self) -> usize {
        self.area() + self.gap
    }

    /// The points of plane `n`; values are those of `f32`.
    fn points(&self, n: usize) -> Vec<(usize, usize, f64)> {
        let area = self.area();
        (0..self.points.min(area))
            .map(|i| {
                let at = if self.points < area { (i * 7919 + n * 104_729 + 31) % area } else { i };
                let value: f32 = self.fill.at(n * area + at, area);
                (at / self.width, at % self.width, value.into())
            })
            .collect()
    }

    fn planes<T: Real>(&self, count: usize) -> Vec<T> {
        let mut x = vec![T::of(0.0); count * self.stride()];
        for n in 0..count {
            for (r, c, v) in self.points(n) {
                x[n * self.stride() + r * self.width + c] = T::of(v);
            }
        }
        x
    }

    /// Every plane of a tree has its own gain.
    fn filter(&self, band: usize) -> ([f64; 2], [usize; 2]) {
        ([0.5, 0.25 * (1 + band % 3) as f64], [(band + 1) % self.height, (2 * band + 1) % self.width])
    }

    fn tree_gains(&self) -> Vec<f64> {
        let half = self.width / 2 + 1;
        (0..self.bands)
            .flat_map(|s| {
                let (ab, uv) = self.filter(s);
                (0..self.half()).map(move |i| (ab, uv, i))
            })
            .map(|(ab, uv, i)| spectral::gain(ab, uv, i / half, i % half, self.height, self.width))
            .collect()
    }

    fn cosine_gain(i: usize) -> f64 {
        1.0 / (1.0 + (i % 5) as f64)
    }

    /// Every output is at most 4 Σ|x| over all planes that go into it, and each of the log2 steps of a fast transform
    /// loses a few units in the last place of that.
    fn tolerance(&self, epsilon: f64) -> Tolerance {
        let total: f64 = (0..self.bands.max(self.count)).flat_map(|n| self.points(n)).map(|(_, _, v)| v.abs()).sum();
        Tolerance::abs(16.0 * epsilon * ((self.area() + 2) as f64).log2() * total)
    }
}

/// Planes without the gaps between them.
fn dense<T: Copy>(values: &[T], stride: usize, each: usize) -> Vec<T> {
    values.chunks(stride).flat_map(|plane| plane[..each].to_vec()).collect()
}

fn run<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (height, width, area, half, stride) = (c.height, c.width, c.area(), c.half(), c.stride());
    let plan = FourierPlan::<B, T>::new(b, height, width)?;
    let mut work = Tensor::scratch(b, [plan.work_len(1).max(plan.work_len(c.bands))])?;
    let x = Tensor::from_slice(b, [c.count * stride], &c.planes::<T>(c.count))?;
    let gain: Vec<T> = (0..area).map(|i| T::of(Case::cosine_gain(i))).collect();
    let gain = Tensor::from_slice(b, [area], &gain)?;
    let mut outputs = Vec::new();
    let mut real = |values: Vec<T>| outputs.push(T::output(vec![values.len()], values));

    let mut y = Tensor::zeros(b, [c.count * stride])?;
    dct2(b, &plan, c.count, None, false, x.flat(), stride, y.flat_mut(), stride, work.flat_mut())?;
    real(dense(&y.to_vec(b)?, stride, area));
    dct2(b, &plan, c.count, Some(gain.flat()), true, x.flat(), stride, y.flat_mut(), stride, work.flat_mut())?;
    real(y.to_vec(b)?);
    let mut y = Tensor::zeros(b, [c.count * stride])?;
    idct2(b, &plan, c.count, Some(gain.flat()), x.flat(), stride, y.flat_mut(), stride, work.flat_mut())?;
    real(y.to_vec(b)?);
    idct2(b, &plan, c.count, None, x.flat(), stride, y.flat_mut(), stride, work.flat_mut())?;
    real(dense(&y.to_vec(b)?, stride, area));

    let zero = Complex::new(T::of(0.0), T::of(0.0));
    let mut z = Tensor::from_slice(b, [c.count * half], &vec![zero; c.count * half])?;
    rfft2(b, &plan, c.count, 0.5, x.flat(), stride, z.flat_mut(), half, work.flat_mut())?;
    real(parts(&z.to_vec(b)?));
    // Spectra from the definition, so that this does not depend on the operation before.
    let spectra: Vec<Complex<T>> = (0..c.count)
        .flat_map(|n| spectral::half_spectrum(&c.points(n), height, width))
        .map(|[re, im]| Complex::new(T::of(re / area as f64), T::of(im / area as f64)))
        .collect();
    let z = Tensor::from_slice(b, [c.count * half], &spectra)?;
    let mut y = Tensor::zeros(b, [c.count * stride])?;
    irfft2(b, &plan, c.count, 2.0, z.flat(), half, y.flat_mut(), stride, work.flat_mut())?;
    real(y.to_vec(b)?);

    let gains: Vec<T> = c.tree_gains().into_iter().map(T::of).collect();
    let gains = Tensor::from_slice(b, [c.bands * half], &gains)?;
    let image = c.bands * stride;
    let counts = [c.count, c.bands];
    let mut y = Tensor::zeros(b, [c.count * image])?;
    tree_analysis(b, &plan, counts, gains.flat(), z.flat(), half, y.flat_mut(), image, stride, work.flat_mut())?;
    real(y.to_vec(b)?);
    let one = c.planes::<T>(c.bands);
    let all: Vec<T> = one.iter().copied().cycle().take(c.count * image).collect();
    let planes = Tensor::from_slice(b, [c.count * image], &all)?;
    let mut z = Tensor::from_slice(b, [c.count * half], &vec![zero; c.count * half])?;
    tree_synthesis(b, &plan, counts, gains.flat(), planes.flat(), image, stride, z.flat_mut(), half, work.flat_mut())?;
    real(parts(&z.to_vec(b)?));
    Ok(outputs)
}

fn oracle(c: &Case) -> Outputs {
    let (h, w, area) = (c.height, c.width, c.area());
    let mut all: [Vec<f64>; 8] = Default::default();
    let gapped = |out: &mut Vec<f64>, plane: Vec<f64>| {
        out.extend(plane);
        out.extend(vec![0.0; c.gap]);
    };
    for n in 0..c.count {
        let points = c.points(n);
        let cosine = spectral::cosine(&points, h, w);
        gapped(&mut all[1], cosine.iter().enumerate().map(|(i, v)| v * (1.0 + Case::cosine_gain(i))).collect());
        all[0].extend(cosine);
        let weighted: Vec<_> = points.iter().map(|&(r, q, v)| (r, q, v * Case::cosine_gain(r * w + q))).collect();
        gapped(&mut all[2], spectral::inverse_cosine(&weighted, h, w));
        all[3].extend(spectral::inverse_cosine(&points, h, w));
        all[4].extend(spectral::half_spectrum(&points, h, w).iter().flatten().map(|v| 0.5 * v));
        let mut plane = vec![0.0; area];
        for &(r, q, v) in &points {
            plane[r * w + q] = 2.0 * v;
        }
        gapped(&mut all[5], plane);
        for s in 0..c.bands {
            let (ab, uv) = c.filter(s);
            gapped(&mut all[6], spectral::moved(ab, uv, &points, h, w));
        }
    }
    let gains = c.tree_gains();
    let mut sum = vec![[0.0; 2]; c.half()];
    for s in 0..c.bands {
        for (i, z) in spectral::half_spectrum(&c.points(s), h, w).iter().enumerate() {
            sum[i][0] += gains[s * c.half() + i] * z[0];
            sum[i][1] += gains[s * c.half() + i] * z[1];
        }
    }
    for _ in 0..c.count {
        all[7].extend(sum.iter().flatten());
    }
    all.into_iter().map(|values| Output::F64(vec![values.len()], values)).collect()
}

twins! {
    kernels = [
        "reorder_f32", "reorder_back_f32", "cosine_from_spectrum_f32", "spectrum_from_cosine_f32", "scale_spectrum_f32",
        "spread_spectrum_f32", "gather_spectrum_f32",
    ];
    /// sums of up to 400 values by fast transforms: see `Case::tolerance`
    small_f32: small(), Case => |b, c| run::<_, f32>(b, c), oracle = oracle,
        tolerance = |c: &Case| c.tolerance(f32::EPSILON.into());
}

twins! {
    kernels = [
        "reorder_f64", "reorder_back_f64", "cosine_from_spectrum_f64", "spectrum_from_cosine_f64", "scale_spectrum_f64",
        "spread_spectrum_f64", "gather_spectrum_f64",
    ];
    /// sums of up to 400 values by fast transforms: see `Case::tolerance`
    small_f64: small(), Case => |b, c| run::<_, f64>(b, c), oracle = oracle,
        tolerance = |c: &Case| c.tolerance(f64::EPSILON);
}

twins! {
    kernels = [
        "cosine_rows_128_f32", "cosine_columns_128_f32", "inverse_cosine_columns_128_f32",
        "inverse_cosine_rows_128_f32", "real_rows_128_f32", "spectrum_columns_128_f32",
        "inverse_spectrum_columns_128_f32", "inverse_real_rows_128_f32", "tree_columns_128_f32", "tree_rows_128_f32",
        "forward_tree_rows_128_f32", "forward_tree_columns_128_f32",
        "cosine_rows_256_f32", "cosine_columns_256_f32", "inverse_cosine_columns_256_f32",
        "inverse_cosine_rows_256_f32", "real_rows_256_f32", "spectrum_columns_256_f32",
        "inverse_spectrum_columns_256_f32", "inverse_real_rows_256_f32", "tree_columns_256_f32", "tree_rows_256_f32",
        "forward_tree_rows_256_f32", "forward_tree_columns_256_f32",
        "cosine_rows_512_f32", "cosine_columns_512_f32", "inverse_cosine_columns_512_f32",
        "inverse_cosine_rows_512_f32", "real_rows_512_f32", "spectrum_columns_512_f32",
        "inverse_spectrum_columns_512_f32", "inverse_real_rows_512_f32", "tree_columns_512_f32", "tree_rows_512_f32",
        "forward_tree_rows_512_f32", "forward_tree_columns_512_f32",
        "cosine_rows_1024_f32", "cosine_columns_1024_f32", "inverse_cosine_columns_1024_f32",
        "inverse_cosine_rows_1024_f32", "real_rows_1024_f32", "spectrum_columns_1024_f32",
        "inverse_spectrum_columns_1024_f32", "inverse_real_rows_1024_f32", "tree_columns_1024_f32",
        "tree_rows_1024_f32", "forward_tree_rows_1024_f32", "forward_tree_columns_1024_f32",
    ];
    /// four points in each plane by fast transforms of up to 2^18 elements: see `Case::tolerance`
    large_f32: large(), Case => |b, c| run::<_, f32>(b, c), oracle = oracle,
        tolerance = |c: &Case| c.tolerance(f32::EPSILON.into());
}
