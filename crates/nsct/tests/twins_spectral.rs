//! The transforms of the spectral engine: CPU against their definitions, CUDA against the CPU.
//!
//! Entries for small planes have every size, in both precisions (on a device: cuFFT). Entries for large planes of `f32`
//! have sides that are powers of two (on a device: kernels of our own): for each length N one, whose cases hold planes
//! of N rows and planes of N columns. They are sums of two outer products: all of their elements are set, and what a
//! transform makes of them is still cheap to say.

mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, parts};
use gpu_core::{Result, Tensor, twins};
use nsct::kernels::{FourierPlan, dct2, idct2, irfft2, rfft2, tree_analysis, tree_synthesis};
use nsct::{NsctBackend, Real};
use num_complex::Complex;
use oracle::spectral;

/// Planes with gaps between them; large ones are sums of two outer products.
#[derive(Clone, Debug)]
struct Case {
    count: usize,
    bands: usize,
    height: usize,
    width: usize,
    gap: usize,
    large: bool,
    fill: Fill,
}

fn small() -> BoxedStrategy<Case> {
    // Some planes and half spectra of as many elements as whole blocks have threads.
    let whole = (0..5_usize).prop_map(|i| [(16, 16), (32, 16), (16, 30), (32, 15), (16, 31)][i]);
    let size = prop_oneof![3 => (1_usize..20, 1_usize..20), 1 => whole];
    (0_usize..4, 1_usize..6, size, 0_usize..3, Fill::any())
        .prop_map(|(count, bands, (height, width), gap, fill)| Case {
            count,
            bands,
            height,
            width,
            gap,
            large: false,
            fill,
        })
        .boxed()
}

/// Cases that belong together.
#[derive(Clone, Debug)]
struct Cases(Vec<Case>);

/// Planes of `n` rows, planes of `n` columns, or both where that takes little time.
fn large(n: usize) -> BoxedStrategy<Cases> {
    let bands = if n > 512 { 1_usize..3 } else { 1..5 };
    let one = || (1_usize..3, bands.clone(), 1_usize..3, 0_usize..4, 0_u32..1024);
    (one(), one(), any::<bool>())
        .prop_map(move |(first, second, which)| {
            let case = |(count, bands, times, gap, seed), tall: bool| {
                let other = if n > 128 { 128 } else { 128 * times };
                let (height, width) = if tall { (n, other) } else { (other, n) };
                Case { count, bands, height, width, gap, large: true, fill: Fill::of(FillKind::Ints(seed)) }
            };
            Cases(if n > 128 { vec![case(first, which)] } else { vec![case(first, true), case(second, false)] })
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

    /// Plane `n`; values are those of `f32`.
    fn terms(&self, n: usize) -> Vec<(Vec<f64>, Vec<f64>)> {
        let (h, w, area) = (self.height, self.width, self.area());
        let value = |i: usize| f64::from(self.fill.at::<f32>(i, area));
        if self.large {
            // Columns and rows of small integers.
            let line = |start: usize, len: usize| (start..start + len).map(value).collect();
            return (2 * n..2 * n + 2).map(|i| (line(i * (h + w), h), line(i * (h + w) + h, w))).collect();
        }
        let unit = |r: usize| (0..h).map(|i| f64::from(u8::from(i == r))).collect();
        (0..h).map(|r| (unit(r), (0..w).map(|c| value(n * area + r * w + c)).collect())).collect()
    }

    fn plane(&self, n: usize) -> Vec<f64> {
        spectral::plane(&self.terms(n), self.height, self.width)
    }

    fn planes<T: Real>(&self, count: usize) -> Vec<T> {
        let mut x = vec![T::of(0.0); count * self.stride()];
        for n in 0..count {
            for (to, v) in x[n * self.stride()..].iter_mut().zip(self.plane(n)) {
                *to = T::of(v);
            }
        }
        x
    }

    /// What spectra are divided by, so that a transform back has results of the same size as one forth.
    fn norm(&self) -> f64 {
        if self.large { (self.area() as f64).sqrt() } else { self.area() as f64 }
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

    /// Factors of rows and columns.
    fn cosine_gain(&self) -> (Vec<f64>, Vec<f64>) {
        let factors = |len: usize, period: usize| (0..len).map(|i| 1.0 / (1 + i % period) as f64).collect();
        (factors(self.height, 5), factors(self.width, 3))
    }

    /// Each of the log2 steps of a fast transform loses a few units in the last place of what may come out. For small
    /// planes that is at most 4 Σ|x| over all planes that go into an output. For large ones this would allow anything:
    /// outputs are typically as large as the root of Σx², and roundings, which do not conspire, sum up likewise.
    fn error(&self, epsilon: f64) -> f64 {
        let values = || (0..self.bands.max(self.count)).flat_map(|n| self.plane(n));
        let size = if self.large { values().map(|v| v * v).sum::<f64>().sqrt() } else { values().map(f64::abs).sum() };
        16.0 * epsilon * ((self.area() + 2) as f64).log2() * size
    }

    fn tolerance(&self, epsilon: f64) -> Tolerance {
        Tolerance::abs(self.error(epsilon))
    }
}

/// Of all cases together.
fn tolerance(cases: &Cases) -> Tolerance {
    Tolerance::abs(cases.0.iter().map(|c| c.error(f32::EPSILON.into())).fold(0.0, f64::max))
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
    let gain: Vec<T> = spectral::plane(&[c.cosine_gain()], height, width).into_iter().map(T::of).collect();
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
        .flat_map(|n| spectral::half_spectrum(&c.terms(n), height, width))
        .map(|[re, im]| Complex::new(T::of(re / c.norm()), T::of(im / c.norm())))
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
    let back = area as f64 / c.norm();
    let (down, across) = c.cosine_gain();
    let gains = spectral::plane(&[(down.clone(), across.clone())], h, w);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f64>>();
    for n in 0..c.count {
        let terms = c.terms(n);
        let cosine = spectral::cosine(&terms, h, w);
        gapped(&mut all[1], cosine.iter().zip(&gains).map(|(v, g)| v * (1.0 + g)).collect());
        all[0].extend(cosine);
        let weighted: Vec<_> = terms.iter().map(|(d, a)| (product(d, &down), product(a, &across))).collect();
        gapped(&mut all[2], spectral::inverse_cosine(&weighted, h, w));
        all[3].extend(spectral::inverse_cosine(&terms, h, w));
        all[4].extend(spectral::half_spectrum(&terms, h, w).iter().flatten().map(|v| 0.5 * v));
        let plane: Vec<f64> = c.plane(n).into_iter().map(|v| v * back).collect();
        for s in 0..c.bands {
            let (ab, uv) = c.filter(s);
            gapped(&mut all[6], spectral::moved(ab, uv, &plane, h, w));
        }
        gapped(&mut all[5], plane.into_iter().map(|v| 2.0 * v).collect());
    }
    let gains = c.tree_gains();
    let mut sum = vec![[0.0; 2]; c.half()];
    for s in 0..c.bands {
        for (i, z) in spectral::half_spectrum(&c.terms(s), h, w).iter().enumerate() {
            sum[i][0] += gains[s * c.half() + i] * z[0];
            sum[i][1] += gains[s * c.half() + i] * z[1];
        }
    }
    for _ in 0..c.count {
        all[7].extend(sum.iter().flatten());
    }
    all.into_iter().map(|values| Output::F64(vec![values.len()], values)).collect()
}

fn run_all<B: NsctBackend<f32>>(b: &B, cases: &Cases) -> Result<Outputs> {
    let outputs: Result<Vec<Outputs>> = cases.0.iter().map(|c| run::<_, f32>(b, c)).collect();
    Ok(outputs?.concat())
}

fn oracle_of_all(cases: &Cases) -> Outputs {
    cases.0.iter().flat_map(oracle).collect()
}

twins! {
    kernels = [
        "reorder_f32", "reorder_back_f32", "cosine_from_spectrum_f32", "spectrum_from_cosine_f32", "scale_spectrum_f32",
        "spread_spectrum_f32", "gather_spectrum_f32",
    ];
    /// sums of up to 512 values by fast transforms: see `Case::error`
    small_f32: small(), Case => |b, c| run::<_, f32>(b, c), oracle = oracle,
        tolerance = |c: &Case| c.tolerance(f32::EPSILON.into());
}

twins! {
    kernels = [
        "reorder_f64", "reorder_back_f64", "cosine_from_spectrum_f64", "spectrum_from_cosine_f64", "scale_spectrum_f64",
        "spread_spectrum_f64", "gather_spectrum_f64",
    ];
    /// sums of up to 512 values by fast transforms: see `Case::error`
    small_f64: small(), Case => |b, c| run::<_, f64>(b, c), oracle = oracle,
        tolerance = |c: &Case| c.tolerance(f64::EPSILON);
}

twins! {
    kernels = [
        "cosine_rows_128_f32", "cosine_columns_128_f32", "inverse_cosine_columns_128_f32",
        "inverse_cosine_rows_128_f32", "real_rows_128_f32", "spectrum_columns_128_f32",
        "inverse_spectrum_columns_128_f32", "inverse_real_rows_128_f32", "tree_columns_128_f32", "tree_rows_128_f32",
        "forward_tree_rows_128_f32", "forward_tree_columns_128_f32",
    ];
    /// sums of up to 2^17 values by fast transforms: see `Case::error`
    large_128_f32: large(128), Cases => |b, c| run_all(b, c), oracle = oracle_of_all, tolerance = tolerance;
}

twins! {
    kernels = [
        "cosine_rows_256_f32", "cosine_columns_256_f32", "inverse_cosine_columns_256_f32",
        "inverse_cosine_rows_256_f32", "real_rows_256_f32", "spectrum_columns_256_f32",
        "inverse_spectrum_columns_256_f32", "inverse_real_rows_256_f32", "tree_columns_256_f32", "tree_rows_256_f32",
        "forward_tree_rows_256_f32", "forward_tree_columns_256_f32",
    ];
    /// the same
    large_256_f32: large(256), Cases => |b, c| run_all(b, c), oracle = oracle_of_all, tolerance = tolerance;
}

twins! {
    kernels = [
        "cosine_rows_512_f32", "cosine_columns_512_f32", "inverse_cosine_columns_512_f32",
        "inverse_cosine_rows_512_f32", "real_rows_512_f32", "spectrum_columns_512_f32",
        "inverse_spectrum_columns_512_f32", "inverse_real_rows_512_f32", "tree_columns_512_f32", "tree_rows_512_f32",
        "forward_tree_rows_512_f32", "forward_tree_columns_512_f32",
    ];
    /// the same
    large_512_f32: large(512), Cases => |b, c| run_all(b, c), oracle = oracle_of_all, tolerance = tolerance;
}

twins! {
    kernels = [
        "cosine_rows_1024_f32", "cosine_columns_1024_f32", "inverse_cosine_columns_1024_f32",
        "inverse_cosine_rows_1024_f32", "real_rows_1024_f32", "spectrum_columns_1024_f32",
        "inverse_spectrum_columns_1024_f32", "inverse_real_rows_1024_f32", "tree_columns_1024_f32",
        "tree_rows_1024_f32", "forward_tree_rows_1024_f32", "forward_tree_columns_1024_f32",
    ];
    /// the same
    large_1024_f32: large(1024), Cases => |b, c| run_all(b, c), oracle = oracle_of_all, tolerance = tolerance;
}
