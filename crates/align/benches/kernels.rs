//! Single operations on one 24-megapixel Bayer picture, or one pair of them, and sets of nine of 24 and 60 megapixels, on the backend named by
//! `LOCKSTEP_BENCH_BACKEND` (`cpu`, or `cuda`). Time is what the device sees between two events; bytes are the floor of
//! the operation's page. Rows named `cold` are measured with other data in the caches.

use std::time::Duration;

use align::estimate::{Estimator, Store};
use align::kernels::{
    ColourTable, FourierPlan, FrequencyWeight, MadTask, MosaicTable, PeakFigures, PlaneKind, REFINE_SIDE, RefineTask,
    Window, cross_weight, demosaic, demosaic_edges, despike_block, difference, fft_c2r, fft_r2c, keep_below, mad_pair,
    open_cross, peak_window, rank_counts, rect_sums, refine_grid, whiten, window_apply, window_sums,
};
use align::testing::Random;
use align::{AlignBackend, BlackLevel, Cfa, Meta, Options, Planes, RawFrame, Rect};
use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::timing::{Flush, warm};
use gpu_core::{AnyBackend, Result, Tensor, with_backend};
use ndarray::Array2;
use num_complex::Complex32;

/// Rows and columns of the mosaic, of its proxy, and of a half spectrum.
const MOSAIC: [usize; 2] = [4000, 6000];
const PROXY: [usize; 2] = [2000, 3000];
const HALF: usize = PROXY[1] / 2 + 1;
const PIXELS: usize = MOSAIC[0] * MOSAIC[1];
const CELLS: usize = PROXY[0] * PROXY[1];
const ELEMENTS: usize = PROXY[0] * HALF;
const LIMIT: usize = 64;

/// What measures on one backend.
struct Bench<'a, B: AlignBackend> {
    b: &'a B,
    criterion: &'a mut Criterion,
    flush: Flush<B>,
}

impl<B: AlignBackend> Bench<'_, B> {
    /// Measures one operation that moves this many bytes, with warm and with cold caches.
    fn moving(&mut self, name: &str, bytes: usize, run: impl FnMut() -> Result<()>) {
        self.moving_of("24MP", name, bytes, run);
    }

    fn moving_of(&mut self, size: &str, name: &str, bytes: usize, mut run: impl FnMut() -> Result<()>) {
        let Self { b, criterion, flush } = self;
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
        group.throughput(Throughput::Bytes(bytes as u64));
        let taken = |time: Result<Duration>| time.unwrap_or_else(|e| panic!("{name}: {e}"));
        group.bench_function(BenchmarkId::new(B::NAME, size), |timer| {
            timer.iter_custom(|times| taken(warm(*b, times, &mut run)));
        });
        group.bench_function(BenchmarkId::new(format!("{}_cold", B::NAME), size), |timer| {
            timer.iter_custom(|times| taken(flush.cold(b, times, &mut run)));
        });
        group.finish();
    }
}

fn of_a_picture<B: AlignBackend>(bench: &mut Bench<'_, B>) -> Result<()> {
    let b = bench.b;
    let [height, width] = MOSAIC;
    let values: Vec<u16> = (0..PIXELS).map(|i| 512 + (i * 7919 % 12007) as u16).collect();
    let mosaic = Tensor::<B, u16, 1>::from_slice(b, [PIXELS], &values)?;
    let black = BlackLevel::uniform(2, 512.0);
    let table = MosaicTable::new(b, &Cfa::RGGB, &black, 16383, 8, PlaneKind::Luma)?;
    let mut proxy = Tensor::<B, f32, 1>::zeros(b, [CELLS])?;
    bench.moving("despike_block", 2 * PIXELS + 4 * CELLS, || {
        despike_block(b, &table, height, width, mosaic.flat(), proxy.flat_mut())
    });
    let window = Window::new(b, PROXY, PROXY, 0.25)?;
    let mut mean = Tensor::<B, f64, 1>::zeros(b, [1])?;
    bench.moving("window_sums", 4 * CELLS, || window_sums(b, &window, 1, proxy.flat(), mean.flat_mut()));
    let mut windowed = Tensor::<B, f32, 1>::zeros(b, [CELLS])?;
    bench.moving("window_apply", 8 * CELLS, || {
        window_apply(b, &window, 1, proxy.flat(), mean.flat(), windowed.flat_mut())
    });
    let mut spectrum = Tensor::<B, Complex32, 1>::zeros(b, [ELEMENTS])?;
    for (name, plan) in [
        ("fft_r2c", FourierPlan::new(b, PROXY[0], PROXY[1])?),
        ("fft_r2c_own", FourierPlan::without_library(b, PROXY[0], PROXY[1])?),
    ] {
        let mut work = Tensor::<B, Complex32, 1>::zeros(b, [plan.work_len()])?;
        bench.moving(name, 16 * ELEMENTS, || {
            fft_r2c(b, &plan, 1, windowed.flat(), spectrum.flat_mut(), work.flat_mut())
        });
    }
    bench.moving("whiten", 16 * ELEMENTS, || whiten(b, spectrum.flat_mut()));
    let colours = ColourTable::new(b, &Cfa::RGGB, &black, 16383)?;
    let mut rgb = Tensor::<B, f32, 1>::zeros(b, [3 * PIXELS])?;
    bench.moving("demosaic", 14 * PIXELS, || demosaic(b, &colours, height, width, mosaic.flat(), rgb.flat_mut()));
    bench.moving("demosaic_edges", 14 * PIXELS, || {
        demosaic_edges(b, &colours, height, width, mosaic.flat(), rgb.flat_mut())
    });
    let whole = Rect { top: 0, left: 0, height, width };
    let mut differences = Tensor::<B, f32, 1>::zeros(b, [PIXELS])?;
    let mut losses = Tensor::<B, f64, 1>::zeros(b, [height])?;
    bench.moving("difference", 28 * PIXELS, || {
        let (a, c) = ((rgb.flat(), whole), (rgb.flat(), whole));
        difference(b, MOSAIC, a, c, [1.25, 1.5], differences.flat_mut(), losses.flat_mut())
    });
    bench.moving("rect_sums", 12 * PIXELS, || rect_sums(b, MOSAIC, (rgb.flat(), whole), losses.flat_mut()));
    let mut counts = Tensor::<B, u32, 1>::zeros(b, [1 << 16])?;
    bench.moving("rank_counts", 4 * PIXELS, || rank_counts(b, differences.flat(), None, counts.flat_mut()));
    let mut kept = Tensor::<B, u8, 1>::from_slice(b, [PIXELS], &vec![1; PIXELS])?;
    bench.moving("keep_below", 5 * PIXELS, || keep_below(b, differences.flat(), 0.5, kept.flat_mut()));
    let (mut opened, mut work) = (Tensor::<B, u8, 1>::zeros(b, [PIXELS])?, Tensor::<B, u8, 1>::zeros(b, [PIXELS])?);
    bench.moving("open_cross", 2 * PIXELS, || open_cross(b, MOSAIC, kept.flat(), opened.flat_mut(), work.flat_mut()));
    Ok(())
}

fn of_a_pair<B: AlignBackend>(bench: &mut Bench<'_, B>) -> Result<()> {
    let b = bench.b;
    let values: Vec<Complex32> = (0..2 * ELEMENTS)
        .map(|i| {
            let angle = (i * 7919 % 6007) as f32;
            Complex32::new(angle.cos(), angle.sin())
        })
        .collect();
    let spectra = Tensor::<B, Complex32, 1>::from_slice(b, [2 * ELEMENTS], &values)?;
    let weight = FrequencyWeight::new(b, PROXY[0], PROXY[1], 0.15)?;
    let pairs = Tensor::<B, u32, 1>::from_slice(b, [2], &[0, 1])?;
    let mut product = Tensor::<B, Complex32, 1>::zeros(b, [ELEMENTS])?;
    bench.moving("cross_weight", 24 * ELEMENTS, || {
        cross_weight(b, &weight, [2, 1], true, pairs.flat(), spectra.flat(), product.flat_mut())
    });
    let mut correlation = Tensor::<B, f32, 1>::zeros(b, [CELLS])?;
    for (name, plan) in [
        ("fft_c2r", FourierPlan::new(b, PROXY[0], PROXY[1])?),
        ("fft_c2r_own", FourierPlan::without_library(b, PROXY[0], PROXY[1])?),
    ] {
        let mut work = Tensor::<B, Complex32, 1>::zeros(b, [plan.work_len()])?;
        bench.moving(name, 8 * ELEMENTS + 4 * CELLS, || {
            fft_c2r(b, &plan, 1, product.flat(), correlation.flat_mut(), work.flat_mut())
        });
    }
    let mut figures = Tensor::<B, PeakFigures, 1>::from_slice(b, [1], &[PeakFigures::default()])?;
    let [rows, columns] = PROXY;
    bench.moving("peak_window", 4 * (2 * LIMIT + 1).pow(2), || {
        peak_window(b, [1, rows, columns], LIMIT, correlation.flat(), figures.flat_mut())
    });
    let tasks = Tensor::<B, RefineTask, 1>::from_slice(b, [1], &[RefineTask { y: 3.25, x: -7.5 }])?;
    let mut grid = Tensor::<B, f64, 1>::zeros(b, [REFINE_SIDE * REFINE_SIDE])?;
    bench.moving("refine_grid", 8 * ELEMENTS, || {
        refine_grid(b, PROXY, 1.0, tasks.flat(), product.flat(), grid.flat_mut())
    });
    let proxies = Tensor::<B, f32, 1>::zeros(b, [2 * CELLS])?;
    let tasks = [MadTask { a: 0, b: 1, dy: 3, dx: -7, gain: 1.25 }];
    let tasks = Tensor::<B, MadTask, 1>::from_slice(b, [1], &tasks)?;
    let mut mad = Tensor::<B, f64, 1>::zeros(b, [1])?;
    bench.moving("mad_pair", 8 * CELLS, || {
        mad_pair(b, [2, rows, columns], tasks.flat(), proxies.flat(), mad.flat_mut())
    });
    Ok(())
}

/// One ground truth and eight pictures: mosaics in device memory, or in the host's, to shifts on the host.
fn of_a_set<B: AlignBackend>(bench: &mut Bench<'_, B>, label: &str, size: [usize; 2]) -> align::Result<()> {
    const PICTURES: usize = 9;
    let b = bench.b;
    let black = BlackLevel::uniform(2, 512.0);
    let frames: Vec<RawFrame> = (0..PICTURES as u64)
        .map(|seed| {
            let mut random = Random::new(seed);
            let mosaic = Array2::from_shape_fn((size[0], size[1]), |_| 512 + random.below(15_000) as u16);
            RawFrame::cropped(&mosaic, None, Cfa::RGGB, &black, 16383, Meta::default())
        })
        .collect::<align::Result<_>>()?;
    let mosaics: Vec<Tensor<B, u16, 2>> =
        frames.iter().map(|f| Tensor::from_array(b, f.mosaic.view())).collect::<Result<_>>()?;
    let pairs: Vec<(usize, usize)> = (1..PICTURES).map(|i| (0, i)).collect();
    for planes in [Planes::Luma, Planes::Channels] {
        let o = Options { planes, ..Options::default() };
        let mut estimator = Estimator::new(b, &Cfa::RGGB, size, &o, pairs.len())?;
        let mut store = estimator.store(PICTURES)?;
        let from_device = |estimator: &mut Estimator<B>, store: &mut Store<B>| -> align::Result<()> {
            for (slot, mosaic) in mosaics.iter().enumerate() {
                estimator.prepare_mosaic(store, slot, (&black, 16383), mosaic.flat())?;
            }
            estimator.align(store, &pairs).map(drop)
        };
        let from_host = |estimator: &mut Estimator<B>, store: &mut Store<B>| -> align::Result<()> {
            for (slot, frame) in frames.iter().enumerate() {
                estimator.prepare(store, slot, frame)?;
            }
            estimator.align(store, &pairs).map(drop)
        };
        let inside = |done: align::Result<()>| done.map_err(|e| gpu_core::Error::value("set", e.to_string()));
        let bytes = PICTURES * 2 * size[0] * size[1];
        let name = format!("{planes:?}").to_lowercase();
        let on_device = format!("set_{name}_on_device");
        bench.moving_of(label, &on_device, bytes, || inside(from_device(&mut estimator, &mut store)));
        let from = format!("set_{name}_from_host");
        bench.moving_of(label, &from, bytes, || inside(from_host(&mut estimator, &mut store)));
    }
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let any = AnyBackend::open(&name).unwrap_or_else(|e| panic!("LOCKSTEP_BENCH_BACKEND={name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&any, |b| {
        let flush = Flush::new(b).unwrap_or_else(|e| panic!("{e}"));
        let mut bench = Bench { b, criterion: &mut criterion, flush };
        of_a_picture(&mut bench).and_then(|()| of_a_pair(&mut bench)).unwrap_or_else(|e| panic!("{e}"));
        for (label, size) in [("24MP", MOSAIC), ("60MP", [6336, 9504])] {
            of_a_set(&mut bench, label, size).unwrap_or_else(|e| panic!("{e}"));
        }
    });
    criterion.final_summary();
}
