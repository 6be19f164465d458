//! The operations of denoising, fusion and features: CPU against scalar loops, CUDA against the CPU.

mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, Output, Outputs, Tolerance, Twin};
use gpu_core::{Backend, Cpu, Error, Result, Tensor, twins};
use nsct::kernels::{self, Digit, Planes, Scored};
use nsct::{NsctBackend, Real};
use oracle::apps;

const EPSILON_F32: f64 = f32::EPSILON as f64;

/// A batch of planes with gaps between them.
#[derive(Clone, Debug)]
struct Case {
    count: usize,
    height: usize,
    width: usize,
    gap: usize,
    /// Half window, rank of a digit, and the like.
    choice: usize,
    fill: Fill,
}

fn cases(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Case> {
    // Some planes end where a block of threads ends.
    let whole = (1_usize..6, 1_usize..3).prop_map(|(h, w)| (8 * h, 32 * w));
    let size = prop_oneof![3 => (1_usize..60, 1_usize..80), 1 => whole];
    (0_usize..4, size, 0_usize..3, 0_usize..9, fill)
        .prop_map(|(count, (height, width), gap, choice, fill)| Case { count, height, width, gap, choice, fill })
        .boxed()
}

/// Some planes longer than a chunk of the sums, and some that end with one.
fn long_cases(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Case> {
    let long = |c: Case| Case { height: c.height + 200, width: c.width + 200, ..c };
    let chunks = |c: Case| Case { height: 128 * (1 + c.choice % 2), width: 128, ..c };
    prop_oneof![6 => cases(fill.clone()), 2 => cases(fill.clone()).prop_map(long), 1 => cases(fill).prop_map(chunks)]
        .boxed()
}

/// Some of them with more planes than a simulated grid has blocks for (`xtask/src/simulated.rs`), so that these go on to
/// a second plane.
fn many_cases(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Case> {
    let many = |c: Case| Case { count: 1025 + c.choice, height: 1 + c.height % 8, width: 1 + c.width % 8, ..c };
    prop_oneof![19 => long_cases(fill.clone()), 1 => cases(fill).prop_map(many)].boxed()
}

impl Case {
    fn planes(&self) -> Planes {
        Planes { count: self.count, height: self.height, width: self.width }
    }

    fn area(&self) -> usize {
        self.height * self.width
    }

    fn stride(&self) -> usize {
        self.area() + self.gap
    }

    fn image<T: Twin>(&self) -> Vec<T> {
        self.fill.values(self.count * self.stride())
    }

    fn second<T: Twin>(&self) -> Vec<T> {
        self.fill.other().values(self.count * self.stride())
    }

    /// A few different numbers from 0 to 2, one a plane.
    fn per_plane<T: Real>(&self) -> Vec<T> {
        (0..self.count).map(|n| T::of((n * 5 + self.choice) as f64 % 9.0 / 4.0)).collect()
    }

    /// An element of each plane.
    fn members<T: Twin + Real>(&self) -> Vec<f64> {
        self.wide(self.image::<T>()).iter().map(|x| x[self.choice % x.len()]).collect()
    }

    /// Numbers from 0 to 2, and for every second plane the magnitude of one of its own elements.
    fn thresholds<T: Twin + Real>(&self) -> Vec<f64> {
        let own = self.members::<T>().into_iter().map(f64::abs);
        own.zip(self.per_plane()).enumerate().map(|(n, (own, other))| if n % 2 == 0 { own } else { other }).collect()
    }

    /// Numbers from 0 to 2, and for every second plane such that one of its elements lies where the last bin ends or
    /// the second begins.
    fn bounds<T: Twin + Real>(&self) -> Vec<f64> {
        let times = if self.choice.is_multiple_of(2) { 1.0 } else { 256.0 };
        self.thresholds::<T>().into_iter().enumerate().map(|(n, v)| if n % 2 == 0 { v * times } else { v }).collect()
    }

    /// Planes without the gaps, as an output.
    fn packed<B: Backend, T: Twin + Real>(&self, b: &B, y: &Tensor<B, T, 1>) -> Result<Output> {
        let y = y.to_vec(b)?;
        let planes = y.chunks(self.stride()).flat_map(|plane| &plane[..self.area()]).copied().collect();
        Ok(T::output(vec![self.count, self.height, self.width], planes))
    }

    fn wide<T: Twin + Real>(&self, values: Vec<T>) -> Vec<Vec<f64>> {
        let values: Vec<f64> = values.into_iter().map(Real::to_f64).collect();
        values.chunks(self.stride()).take(self.count).map(|plane| plane[..self.area()].to_vec()).collect()
    }

    fn output(&self, planes: Vec<Vec<f64>>) -> Output {
        Output::F64(vec![self.count, self.height, self.width], planes.concat())
    }
}

fn upload<B: Backend, T: Real>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}

fn hard_threshold<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let thresholds: Vec<T> = c.thresholds::<T>().into_iter().map(T::of).collect();
    let thresholds = upload(b, &thresholds)?;
    let mut y = upload(b, &c.image::<T>())?;
    kernels::hard_threshold(b, c.planes(), thresholds.flat(), y.flat_mut(), c.stride())?;
    Ok(vec![c.packed(b, &y)?])
}

fn hard_threshold_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let planes = c.wide(c.image::<T>()).into_iter().zip(c.thresholds::<T>());
    vec![c.output(planes.map(|(y, t)| apps::hard_threshold(&y, t)).collect())]
}

fn box_square<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let x = upload(b, &c.image::<T>())?;
    let mut y = Tensor::scratch(b, [x.len()])?;
    kernels::box_square(b, c.planes(), c.choice, x.flat(), c.stride(), y.flat_mut(), c.stride())?;
    Ok(vec![c.packed(b, &y)?])
}

fn box_square_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let planes = c.wide(c.image::<T>());
    vec![c.output(planes.iter().map(|x| apps::box_square(x, c.height, c.width, c.choice)).collect())]
}

/// Images are `[parent, child]`, or `[child]` alone when `choice` is 0.
fn bivariate<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (area, parents, children) = (c.area(), c.image::<T>(), c.second::<T>());
    let (parent, child) = if c.choice == 0 { (None, area) } else { (Some(0), area + c.gap) };
    let stride = child + area + c.gap;
    let mut both = vec![T::of(7.0); c.count * stride];
    for n in 0..c.count {
        both[n * stride..][..area].copy_from_slice(&parents[n * c.stride()..][..area]);
        both[n * stride + child..][..area].copy_from_slice(&children[n * c.stride()..][..area]);
    }
    let energies: Vec<T> = c.energies::<T>().concat();
    let (energies, variances) = (upload(b, &energies)?, upload(b, &c.per_plane::<T>())?);
    let mut y = upload(b, &both)?;
    let planes = c.planes();
    kernels::bivariate(b, planes, variances.flat(), energies.flat(), area, y.flat_mut(), stride, child, parent)?;
    let y = y.to_vec(b)?;
    let shrunk = y.chunks(stride).flat_map(|image| &image[child..][..area]).copied().collect();
    Ok(vec![T::output(vec![c.count, c.height, c.width], shrunk)])
}

impl Case {
    /// Local energies, dense planes: multiples of a quarter, so that they may equal a variance.
    fn energies<T: Twin + Real>(&self) -> Vec<Vec<T>> {
        let at = |n: usize, i: usize| T::of(((n * 31 + i * 7) % 40) as f64 / 4.0);
        (0..self.count).map(|n| (0..self.area()).map(|i| at(n, i)).collect()).collect()
    }
}

fn bivariate_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let (parents, children) = (c.wide(c.image::<T>()), c.wide(c.second::<T>()));
    let shrunk = (0..c.count).map(|n| {
        (0..c.area())
            .map(|i| {
                let parent = if c.choice == 0 { 0.0 } else { parents[n][i] };
                let energy = c.energies::<f64>()[n][i];
                apps::bivariate(children[n][i], parent, energy, c.per_plane::<f64>()[n])
            })
            .collect()
    });
    vec![c.output(shrunk.collect())]
}

fn fuse_select<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (x, mut y) = (upload(b, &c.second::<T>())?, upload(b, &c.image::<T>())?);
    kernels::fuse_select(b, c.planes(), x.flat(), c.stride(), y.flat_mut(), c.stride())?;
    Ok(vec![c.packed(b, &y)?])
}

/// Element by element, from both images.
fn pairwise<T: Twin + Real>(c: &Case, f: impl Fn(f64, f64) -> f64) -> Outputs {
    let planes = c.wide(c.image::<T>()).into_iter().zip(c.wide(c.second::<T>()));
    vec![c.output(planes.map(|(y, x)| y.into_iter().zip(x).map(|(y, x)| f(y, x)).collect()).collect())]
}

fn fuse_mean<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (x, mut y) = (upload(b, &c.second::<T>())?, upload(b, &c.image::<T>())?);
    let divisor = c.choice as u32 + 1;
    kernels::fuse_mean(b, c.planes(), divisor, x.flat(), c.stride(), y.flat_mut(), c.stride())?;
    Ok(vec![c.packed(b, &y)?])
}

/// Scores are the images' own neighbours: of any sign here, which the operation does not mind.
fn fuse_scored<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case, how: Scored) -> Result<Outputs> {
    let (x, mut y) = (upload(b, &c.second::<T>())?, upload(b, &c.image::<T>())?);
    let [f, e] = c.scores::<T>();
    let (f, mut e) = (upload(b, &f)?, upload(b, &e)?);
    let (planes, stride) = (c.planes(), c.stride());
    kernels::fuse_scored(b, planes, how, x.flat(), stride, f.flat(), y.flat_mut(), stride, e.flat_mut(), stride)?;
    Ok(vec![c.packed(b, &y)?, c.packed(b, &e)?])
}

impl Case {
    /// Scores of the second image and of the first: from 0 to 3, often equal, often both 0; with nasty images sometimes
    /// NaN.
    fn scores<T: Twin + Real>(&self) -> [Vec<T>; 2] {
        // An infinity has no remainder: NaN.
        let score = |v: f64| (v.abs() * 7.0).floor() % 4.0;
        let scores = |values: Vec<T>| values.into_iter().rev().map(|v| T::of(score(Real::to_f64(v)))).collect();
        [scores(self.image::<T>()), scores(self.second::<T>())]
    }
}

fn fuse_scored_oracle<T: Twin + Real>(c: &Case, how: Scored) -> Outputs {
    let (y, x) = (c.wide(c.image::<T>()), c.wide(c.second::<T>()));
    let [f, e] = c.scores::<T>().map(|scores| c.wide(scores));
    let fused = |n: usize, i: usize| {
        let (y, e, x, f) = (y[n][i], e[n][i], x[n][i], f[n][i]);
        match how {
            Scored::Select => apps::better((y, e), (x, f)),
            // The weighted mean.
            Scored::Blend if e + f == 0.0 => (y, 0.0),
            Scored::Blend => ((e * y + f * x) / (e + f), e + f),
        }
    };
    let all: Vec<Vec<(f64, f64)>> = (0..c.count).map(|n| (0..c.area()).map(|i| fused(n, i)).collect()).collect();
    let part = |f: fn(&(f64, f64)) -> f64| c.output(all.iter().map(|plane| plane.iter().map(f).collect()).collect());
    vec![part(|v| v.0), part(|v| v.1)]
}

fn plane_sums<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (x, shifts) = (upload(b, &c.image::<T>())?, upload(b, &c.per_plane::<f64>())?);
    let chunks = c.area().div_ceil(kernels::SUM_CHUNK);
    let mut partial = Tensor::scratch(b, [c.count, chunks, kernels::SUM_FIGURES])?;
    let mut sums = Tensor::scratch(b, [c.count, kernels::SUM_FIGURES])?;
    kernels::plane_sums(b, c.planes(), shifts.flat(), x.flat(), c.stride(), partial.flat_mut())?;
    kernels::fold_sums(b, c.count, partial.flat(), sums.flat_mut())?;
    Ok(vec![Output::of(b, &sums)?])
}

fn plane_sums_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let planes = c.wide(c.image::<T>()).into_iter().zip(c.per_plane::<f64>());
    vec![Output::F64(vec![c.count, 4], planes.flat_map(|(x, shift)| apps::sums(&x, shift)).collect())]
}

/// `n eps Σ v²` for n terms, with `|v| <= 17`.
fn sums_rounding(c: &Case) -> Tolerance {
    let n = c.area() as f64;
    Tolerance::abs(n * f64::EPSILON * n * 289.0)
}

/// The figures of chunks.
#[derive(Clone, Debug)]
struct Chunks {
    count: usize,
    /// Of each plane.
    each: usize,
    fill: Fill,
}

fn chunks(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Chunks> {
    // More than a block has lanes, and less.
    (0_usize..4, 0_usize..700, fill).prop_map(|(count, each, fill)| Chunks { count, each, fill }).boxed()
}

impl Chunks {
    fn figures(&self) -> Vec<f64> {
        self.fill.values(self.count * self.each * kernels::SUM_FIGURES)
    }
}

fn fold_sums<B: NsctBackend<f64>>(b: &B, c: &Chunks) -> Result<Outputs> {
    let partial = upload(b, &c.figures())?;
    let mut sums = Tensor::scratch(b, [c.count, kernels::SUM_FIGURES])?;
    kernels::fold_sums(b, c.count, partial.flat(), sums.flat_mut())?;
    Ok(vec![Output::of(b, &sums)?])
}

fn fold_sums_oracle(c: &Chunks) -> Outputs {
    let figures = c.figures();
    let folded = |n| apps::fold(&figures[4 * n * c.each..4 * (n + 1) * c.each]);
    vec![Output::F64(vec![c.count, 4], (0..c.count).flat_map(folded).collect())]
}

fn counted<B: Backend>(b: &B, c: &Case, counts: &Tensor<B, u64, 2>) -> Result<Outputs> {
    let [_, values] = counts.shape();
    let counts = counts.to_vec(b)?.into_iter().map(|n| n as f64).collect();
    Ok(vec![Output::F64(vec![c.count, values], counts)])
}

fn plane_histogram<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let (x, bounds) = (upload(b, &c.image::<T>())?, upload(b, &c.bounds::<T>())?);
    let mut counts = Tensor::zeros(b, [c.count, kernels::HISTOGRAM_BINS])?;
    kernels::plane_histogram(b, c.planes(), bounds.flat(), x.flat(), c.stride(), counts.flat_mut())?;
    counted(b, c, &counts)
}

fn plane_histogram_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let planes = c.wide(c.image::<T>()).into_iter().zip(c.bounds::<T>());
    let counts = planes.flat_map(|(x, bound)| apps::histogram(&x, bound)).collect();
    vec![Output::F64(vec![c.count, 256], counts)]
}

impl Case {
    /// A digit, and for each plane the prefix of one of its own elements, so that something is counted.
    fn digit(&self) -> Digit {
        let [shift, width] =
            [[52, 12], [40, 12], [28, 12], [16, 12], [4, 12], [0, 4], [51, 1], [3, 5], [60, 4]][self.choice];
        Digit { shift, width }
    }

    fn prefixes<T: Twin + Real>(&self) -> Vec<u64> {
        let Digit { shift, width } = self.digit();
        self.members::<T>().into_iter().map(|x| (x.abs().to_bits() >> shift) >> width).collect()
    }
}

fn digit_counts<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let prefixes = Tensor::from_slice(b, [c.count], &c.prefixes::<T>())?;
    let x = upload(b, &c.image::<T>())?;
    let mut counts = Tensor::zeros(b, [c.count, kernels::DIGIT_VALUES])?;
    kernels::digit_counts(b, c.planes(), c.digit(), 1, c.stride(), prefixes.flat(), x.flat(), counts.flat_mut())?;
    counted(b, c, &counts)
}

fn digit_counts_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let Digit { shift, width } = c.digit();
    let planes = c.wide(c.image::<T>()).into_iter().zip(c.prefixes::<T>());
    let counts = planes.flat_map(|(x, prefix)| apps::digits(&x, prefix, shift, width)).collect();
    vec![Output::F64(vec![c.count, 4096], counts)]
}

twins! {
    kernels = ["hard_threshold_f32", "hard_threshold_f64"];
    /// a choice, NaN and infinities included
    hard_threshold_nasty: cases(Fill::nasty()), Case => |b, c| hard_threshold::<_, f32>(b, c),
        oracle = hard_threshold_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// the same in f64
    hard_threshold_nasty_f64: cases(Fill::nasty()), Case => |b, c| hard_threshold::<_, f64>(b, c),
        oracle = hard_threshold_oracle::<f64>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["box_square_f32", "box_square_f64"];
    /// sums of squares of integers are exact; one rounding by the division
    box_square_exact: cases(Fill::exact()), Case => |b, c| box_square::<_, f32>(b, c),
        oracle = box_square_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// a rounding of each square, of 2 (2h + 1) additions, and of the division: all terms are positive
    box_square_close: cases(Fill::any()), Case => |b, c| box_square::<_, f32>(b, c),
        oracle = box_square_oracle::<f32>, tolerance = Tolerance::rel(36.0 * EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    box_square_close_f64: cases(Fill::any()), Case => |b, c| box_square::<_, f64>(b, c),
        oracle = box_square_oracle::<f64>, tolerance = Tolerance::rel(400.0 * f64::EPSILON), twins = Tolerance::EXACT;
    /// NaN and infinities spread over the window; squares of the largest values overflow, of the smallest vanish
    box_square_nasty: cases(Fill::nasty()), Case => |b, c| box_square::<_, f32>(b, c),
        oracle = box_square_oracle::<f32>,
        tolerance = Tolerance { rel: 36.0 * EPSILON_F32, ..Tolerance::abs(1e-37) }, twins = Tolerance::EXACT;
}

twins! {
    kernels = ["bivariate_f32", "bivariate_f64"];
    /// cancellation in `m - t` leaves a few roundings of `m`, which is at most `15 √2` with these images
    bivariate_close: cases(Fill::any()), Case => |b, c| bivariate::<_, f32>(b, c), oracle = bivariate_oracle::<f32>,
        tolerance = Tolerance::abs(8.0 * 22.0 * EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    bivariate_close_f64: cases(Fill::any()), Case => |b, c| bivariate::<_, f64>(b, c),
        oracle = bivariate_oracle::<f64>, tolerance = Tolerance::abs(8.0 * 22.0 * f64::EPSILON), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["fuse_select_f32", "fuse_select_f64"];
    /// a choice, NaN and infinities included
    fuse_select_nasty: cases(Fill::nasty()), Case => |b, c| fuse_select::<_, f32>(b, c),
        oracle = |c: &Case| pairwise::<f32>(c, apps::larger), tolerance = Tolerance::EXACT;
    /// the same in f64
    fuse_select_nasty_f64: cases(Fill::nasty()), Case => |b, c| fuse_select::<_, f64>(b, c),
        oracle = |c: &Case| pairwise::<f64>(c, apps::larger), tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["fuse_mean_f32", "fuse_mean_f64"];
    /// sums of integers are exact; one rounding by the division
    fuse_mean_exact: cases(Fill::exact()), Case => |b, c| fuse_mean::<_, f32>(b, c),
        oracle = |c: &Case| pairwise::<f32>(c, |y, x| (y + x) / (c.choice + 1) as f64), tolerance = Tolerance::EXACT;
    /// a rounding of the sum, of magnitude 2 at most, and of the quotient
    fuse_mean_close: cases(Fill::any()), Case => |b, c| fuse_mean::<_, f32>(b, c),
        oracle = |c: &Case| pairwise::<f32>(c, |y, x| (y + x) / (c.choice + 1) as f64),
        tolerance = Tolerance { rel: EPSILON_F32, ..Tolerance::abs(2.0 * EPSILON_F32) }, twins = Tolerance::EXACT;
    /// the same operations in f64
    fuse_mean_f64: cases(Fill::nasty()), Case => |b, c| fuse_mean::<_, f64>(b, c),
        oracle = |c: &Case| pairwise::<f64>(c, |y, x| (y + x) / (c.choice + 1) as f64), tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["fuse_scored_f32", "fuse_scored_f64"];
    /// a choice, NaN and infinities included
    fuse_scored_nasty: cases(Fill::nasty()), Case => |b, c| fuse_scored::<_, f32>(b, c, Scored::Select),
        oracle = |c: &Case| fuse_scored_oracle::<f32>(c, Scored::Select), tolerance = Tolerance::EXACT;
    /// the same in f64
    fuse_scored_nasty_f64: cases(Fill::nasty()), Case => |b, c| fuse_scored::<_, f64>(b, c, Scored::Select),
        oracle = |c: &Case| fuse_scored_oracle::<f64>(c, Scored::Select), tolerance = Tolerance::EXACT;
    /// four roundings of values of magnitude 23 at most
    fuse_blend_close: cases(Fill::any()), Case => |b, c| fuse_scored::<_, f32>(b, c, Scored::Blend),
        oracle = |c: &Case| fuse_scored_oracle::<f32>(c, Scored::Blend),
        tolerance = Tolerance::abs(4.0 * 23.0 * EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    fuse_blend_close_f64: cases(Fill::any()), Case => |b, c| fuse_scored::<_, f64>(b, c, Scored::Blend),
        oracle = |c: &Case| fuse_scored_oracle::<f64>(c, Scored::Blend),
        tolerance = Tolerance::abs(8.0 * 23.0 * f64::EPSILON), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["plane_sums_f32", "plane_sums_f64", "fold_sums"];
    /// integers and quarters: every sum is exact
    plane_sums_exact: many_cases(Fill::exact()), Case => |b, c| plane_sums::<_, f32>(b, c),
        oracle = plane_sums_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// n roundings of sums in f64
    plane_sums_close: many_cases(Fill::any()), Case => |b, c| plane_sums::<_, f32>(b, c),
        oracle = plane_sums_oracle::<f32>, tolerance = sums_rounding, twins = Tolerance::EXACT;
    /// the same from f64
    plane_sums_close_f64: many_cases(Fill::any()), Case => |b, c| plane_sums::<_, f64>(b, c),
        oracle = plane_sums_oracle::<f64>, tolerance = sums_rounding, twins = Tolerance::EXACT;
}

twins! {
    kernels = ["fold_sums"];
    /// sums of integers are exact
    fold_sums_exact: chunks(Fill::exact()), Chunks => |b, c| fold_sums(b, c), oracle = fold_sums_oracle,
        tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["plane_histogram_f32", "plane_histogram_f64"];
    /// integers, NaN and infinities included
    plane_histogram_nasty: many_cases(Fill::nasty()), Case => |b, c| plane_histogram::<_, f32>(b, c),
        oracle = plane_histogram_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// the same from f64
    plane_histogram_nasty_f64: many_cases(Fill::nasty()), Case => |b, c| plane_histogram::<_, f64>(b, c),
        oracle = plane_histogram_oracle::<f64>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["digit_counts_f32", "digit_counts_f64"];
    /// integers, NaN and infinities included
    digit_counts_nasty: long_cases(Fill::nasty()), Case => |b, c| digit_counts::<_, f32>(b, c),
        oracle = digit_counts_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// the same from f64
    digit_counts_nasty_f64: long_cases(Fill::nasty()), Case => |b, c| digit_counts::<_, f64>(b, c),
        oracle = digit_counts_oracle::<f64>, tolerance = Tolerance::EXACT;
}

/// What the checked entries refuse.
#[test]
fn arguments_that_do_not_fit() {
    let cpu = Cpu::new();
    let x = Tensor::<_, f32, 1>::zeros(&cpu, [128]).unwrap();
    let mut y = Tensor::<_, f32, 1>::zeros(&cpu, [128]).unwrap();
    let two = Planes { count: 2, height: 8, width: 8 };
    let numbers = Tensor::<_, f32, 1>::zeros(&cpu, [3]).unwrap();
    let short = kernels::hard_threshold(&cpu, two, numbers.flat(), y.flat_mut(), 64);
    assert!(matches!(short, Err(Error::Shape { .. })));
    let wide = kernels::box_square(&cpu, two, kernels::MAX_HALF_WINDOW + 1, x.flat(), 64, y.flat_mut(), 64);
    assert!(matches!(wide, Err(Error::Value { .. })));
    let long = kernels::fuse_select(&cpu, two, x.flat(), 65, y.flat_mut(), 64);
    assert!(matches!(long, Err(Error::Shape { .. })));

    let one = Planes { count: 1, height: 8, width: 8 };
    let variance = Tensor::<_, f32, 1>::zeros(&cpu, [1]).unwrap();
    let mut bivariate =
        |child, parent| kernels::bivariate(&cpu, one, variance.flat(), x.flat(), 64, y.flat_mut(), 128, child, parent);
    assert!(bivariate(64, Some(0)).is_ok());
    assert!(matches!(bivariate(0, Some(64)), Err(Error::Value { .. })));
    assert!(matches!(bivariate(64, Some(1)), Err(Error::Value { .. })));
    assert!(matches!(bivariate(65, None), Err(Error::Shape { .. })));
    assert!(matches!(bivariate(usize::MAX, None), Err(Error::Shape { .. })));

    let prefixes = Tensor::<_, u64, 1>::zeros(&cpu, [2]).unwrap();
    let mut counts = Tensor::<_, u64, 1>::zeros(&cpu, [2 * kernels::DIGIT_VALUES]).unwrap();
    let mut digits = |shift, width, per_group| {
        let digit = Digit { shift, width };
        kernels::digit_counts(&cpu, two, digit, per_group, 128, prefixes.flat(), x.flat(), counts.flat_mut())
    };
    assert!(digits(52, 12, 2).is_ok());
    for (shift, width, per_group) in [(53, 12, 2), (0, 0, 2), (0, 13, 2), (u32::MAX, 1, 2), (0, 4, 0), (0, 4, 3)] {
        assert!(matches!(digits(shift, width, per_group), Err(Error::Value { .. })), "{shift} {width} {per_group}");
    }
}
