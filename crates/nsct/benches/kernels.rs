//! Single operations, four planes of 512 × 512 in `f32`, on the backend named by `LOCKSTEP_BENCH_BACKEND` (`cpu`, or
//! `cuda`). Time is what the device sees between two events; bytes are the floor of the operation's page: each plane that
//! goes in or out, once. Rows named `cold` are measured with other data in the caches.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::timing::{Flush, warm};
use gpu_core::{AnyBackend, Backend, Result, Tensor, with_backend};
use ndarray::Array2;
use nsct::NsctBackend;
use nsct::filters::directional;
use nsct::kernels::{
    DIGIT_BITS, DIGIT_VALUES, DenseFilter, Digit, FourierPlan, HISTOGRAM_BINS, Planes, SUM_CHUNK, SUM_FIGURES, Scored,
    TapTable, atrousc, atrousc_size, bivariate, box_square, dct2, digit_counts, efilter2, fold_sums, fuse_mean,
    fuse_scored, fuse_select, hard_threshold, idct2, irfft2, mirror_map, pair_mix, plane_histogram, plane_sums,
    poly_pair, rfft2, symext, symext_size, taps, tree_analysis, tree_synthesis, zconv2,
};
use num_complex::Complex;

const SIDE: usize = 512;
const AREA: usize = SIDE * SIDE;
const COUNT: usize = 4;
const PLANES: Planes = Planes { count: COUNT, height: SIDE, width: SIDE };

/// What measures on one backend.
struct Bench<'a, B: Backend> {
    b: &'a B,
    criterion: &'a mut Criterion,
    flush: Flush<B>,
}

impl<B: Backend> Bench<'_, B> {
    /// Measures one operation that moves this many planes for each of the four.
    fn measure(&mut self, name: &str, planes: usize, run: impl FnMut() -> Result<()>) {
        self.moving(name, planes * COUNT * AREA * size_of::<f32>(), run);
    }

    /// Measures one operation that moves this many bytes, with warm and with cold caches.
    fn moving(&mut self, name: &str, bytes: usize, mut run: impl FnMut() -> Result<()>) {
        let Self { b, criterion, flush } = self;
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
        group.throughput(Throughput::Bytes(bytes as u64));
        let shape = format!("{COUNT}x{SIDE}x{SIDE}");
        let taken = |time: Result<Duration>| time.unwrap_or_else(|e| panic!("{name}: {e}"));
        group.bench_function(BenchmarkId::new(format!("{}_f32", B::NAME), &shape), |timer| {
            timer.iter_custom(|times| taken(warm(*b, times, &mut run)));
        });
        group.bench_function(BenchmarkId::new(format!("{}_f32_cold", B::NAME), &shape), |timer| {
            timer.iter_custom(|times| taken(flush.cold(b, times, &mut run)));
        });
        group.finish();
    }
}

fn in_the_image_domain<B: NsctBackend<f32>>(bench: &mut Bench<'_, B>) -> nsct::Result<()> {
    let b = bench.b;
    let pixels: Vec<f32> = (0..COUNT * AREA).map(|i| (i * 7919 % 251) as f32).collect();
    let x = Tensor::from_slice(b, [COUNT * AREA], &pixels)?;
    let mut y = Tensor::<B, f32, 1>::zeros(b, [2 * COUNT * AREA])?;
    let filters = directional("dmaxflat7".parse()?)?;
    let mapping: Vec<_> = filters.mapping.iter().map(|tap| (tap.n1, tap.n2, tap.v)).collect();
    let table = TapTable::new(b, SIDE, SIDE, &mapping)?;
    bench.measure("taps", 2, || taps(b, PLANES, &table, x.flat(), AREA, y.flat_mut(), AREA));
    let half = [0.5, 0.28125, -0.03125];
    bench.measure("mirror_map", 2, || mirror_map(b, PLANES, &half, 1, x.flat(), AREA, y.flat_mut(), AREA));
    let pair = [&[0.7, 0.5, -0.2][..], &[0.7, -0.6, -0.2, 0.1][..]];
    bench.measure("poly_pair", 5, || {
        let powers = [x.flat(), x.flat()];
        poly_pair(b, PLANES, pair, x.flat(), AREA, &[powers[0], powers[1], x.flat()], y.flat_mut(), 2 * AREA, AREA)
    });
    let two = Tensor::from_slice(b, [2 * COUNT * AREA], &[pixels.as_slice(), &pixels].concat())?;
    bench.measure("pair_mix", 3, || {
        pair_mix(b, PLANES, [0.5, 0.5], false, two.flat(), 2 * AREA, AREA, y.flat_mut(), AREA)
    });
    let dense = DenseFilter::new(b, Array2::<f64>::from_elem((13, 13), 1.0 / 169.0).view())?;
    let quincunx = [[1, -1], [1, 1]];
    bench.measure("zconv2", 2, || zconv2(b, PLANES, &dense, quincunx, x.flat(), AREA, y.flat_mut(), AREA));
    bench.measure("efilter2", 2, || efilter2(b, PLANES, &dense, x.flat(), AREA, y.flat_mut(), AREA));
    // These two have outputs of another size, whose pixels count.
    let valid = atrousc_size(PLANES, (13, 13), 2)?.area();
    bench.moving("atrousc", 2 * COUNT * valid * size_of::<f32>(), || {
        atrousc(b, PLANES, &dense, 2, x.flat(), AREA, y.flat_mut(), valid)
    });
    let extended = symext_size(PLANES, (13, 13))?.area();
    bench.moving("symext", 2 * COUNT * extended * size_of::<f32>(), || {
        symext(b, PLANES, (13, 13), (1, 1), x.flat(), AREA, y.flat_mut(), extended)
    });
    Ok(())
}

fn of_the_applications<B: NsctBackend<f32>>(bench: &mut Bench<'_, B>) -> nsct::Result<()> {
    let b = bench.b;
    let values: Vec<f32> = (0..COUNT * AREA).map(|i| (i * 7919 % 251) as f32 - 125.0).collect();
    let x = Tensor::from_slice(b, [COUNT * AREA], &values)?;
    let mut y = Tensor::from_slice(b, [COUNT * AREA], &values)?;
    let mut energy = Tensor::from_slice(b, [COUNT * AREA], &vec![20.0f32; COUNT * AREA])?;
    let scores = Tensor::from_slice(b, [COUNT * AREA], &vec![10.0f32; COUNT * AREA])?;
    let each = Tensor::from_slice(b, [COUNT], &[20.0f32; COUNT])?;
    bench.measure("hard_threshold", 2, || hard_threshold(b, PLANES, each.flat(), y.flat_mut(), AREA));
    bench.measure("box_square", 2, || box_square(b, PLANES, 2, x.flat(), AREA, y.flat_mut(), AREA));
    bench.measure("bivariate", 3, || {
        bivariate(b, PLANES, each.flat(), energy.flat(), AREA, y.flat_mut(), AREA, 0, None)
    });
    bench.measure("fuse_select", 3, || fuse_select(b, PLANES, x.flat(), AREA, y.flat_mut(), AREA));
    bench.measure("fuse_mean", 3, || fuse_mean(b, PLANES, 2, x.flat(), AREA, y.flat_mut(), AREA));
    bench.measure("fuse_scored", 6, || {
        let (x, y, e) = (x.flat(), y.flat_mut(), energy.flat_mut());
        fuse_scored(b, PLANES, Scored::Select, x, AREA, scores.flat(), y, AREA, e, AREA)
    });
    let shifts = Tensor::from_slice(b, [COUNT], &[0.0f64; COUNT])?;
    let mut sums = Tensor::<B, f64, 1>::zeros(b, [COUNT * AREA.div_ceil(SUM_CHUNK) * SUM_FIGURES])?;
    bench.measure("plane_sums", 1, || plane_sums(b, PLANES, shifts.flat(), x.flat(), AREA, sums.flat_mut()));
    let mut whole = Tensor::<B, f64, 1>::zeros(b, [COUNT * SUM_FIGURES])?;
    bench.moving("fold_sums", sums.len() * size_of::<f64>(), || fold_sums(b, COUNT, sums.flat(), whole.flat_mut()));
    let bounds = Tensor::from_slice(b, [COUNT], &[125.0f64; COUNT])?;
    let mut counts = Tensor::<B, u64, 1>::zeros(b, [COUNT * HISTOGRAM_BINS])?;
    bench
        .measure("plane_histogram", 1, || plane_histogram(b, PLANES, bounds.flat(), x.flat(), AREA, counts.flat_mut()));
    let prefixes = Tensor::<B, u64, 1>::zeros(b, [COUNT])?;
    let mut counts = Tensor::<B, u64, 1>::zeros(b, [COUNT * DIGIT_VALUES])?;
    // No bits lie above the first digit, so that every element counts.
    let first = Digit { shift: u64::BITS - DIGIT_BITS, width: DIGIT_BITS };
    bench.measure("digit_counts", 1, || {
        digit_counts(b, PLANES, first, COUNT, COUNT * AREA, prefixes.flat(), x.flat(), counts.flat_mut())
    });
    Ok(())
}

fn of_the_spectral_engine<B: NsctBackend<f32>>(bench: &mut Bench<'_, B>) -> nsct::Result<()> {
    let b = bench.b;
    let pixels: Vec<f32> = (0..COUNT * AREA).map(|i| (i * 7919 % 251) as f32).collect();
    let x = Tensor::from_slice(b, [COUNT * AREA], &pixels)?;
    let mut y = Tensor::<B, f32, 1>::zeros(b, [COUNT * AREA])?;
    let plan = FourierPlan::<B, f32>::new(b, SIDE, SIDE)?;
    let bands = COUNT;
    let mut work = Tensor::<B, f32, 1>::zeros(b, [plan.work_len(1).max(plan.work_len(bands))])?;
    let half = SIDE * plan.half_width();
    let zero = Complex::new(0.0f32, 0.0);
    let mut z = Tensor::from_slice(b, [COUNT * half], &vec![zero; COUNT * half])?;
    let gains = Tensor::from_slice(b, [bands * half], &vec![0.5f32; bands * half])?;
    bench
        .measure("dct2", 2, || dct2(b, &plan, COUNT, None, false, x.flat(), AREA, y.flat_mut(), AREA, work.flat_mut()));
    bench.measure("idct2", 2, || idct2(b, &plan, COUNT, None, x.flat(), AREA, y.flat_mut(), AREA, work.flat_mut()));
    bench.measure("rfft2", 2, || rfft2(b, &plan, COUNT, 1.0, x.flat(), AREA, z.flat_mut(), half, work.flat_mut()));
    bench.measure("irfft2", 2, || irfft2(b, &plan, COUNT, 1.0, z.flat(), half, y.flat_mut(), AREA, work.flat_mut()));
    let (one, image) = ([1, bands], bands * AREA);
    bench.measure("tree_analysis", 1, || {
        let (z, y, work) = (z.flat(), y.flat_mut(), work.flat_mut());
        tree_analysis(b, &plan, one, gains.flat(), z, half, y, image, AREA, work)
    });
    bench.measure("tree_synthesis", 1, || {
        let (y, z, work) = (x.flat(), z.flat_mut(), work.flat_mut());
        tree_synthesis(b, &plan, one, gains.flat(), y, image, AREA, z, half, work)
    });
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let any = AnyBackend::open(&name).unwrap_or_else(|e| panic!("LOCKSTEP_BENCH_BACKEND={name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&any, |b| {
        let flush = Flush::new(b).unwrap_or_else(|e| panic!("{e}"));
        let mut bench = Bench { b, criterion: &mut criterion, flush };
        in_the_image_domain(&mut bench)
            .and_then(|()| of_the_applications(&mut bench))
            .and_then(|()| of_the_spectral_engine(&mut bench))
    })
    .unwrap_or_else(|e| panic!("{e}"));
    criterion.final_summary();
}
