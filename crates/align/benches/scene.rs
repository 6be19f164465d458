//! A 24-megapixel picture from its mosaic to its shift, whole and operation by operation, on one thread and on all. The
//! rows of the CPU alone: those of a device come from its own clock.
//!
//! Bytes are the floor of each operation's page: what must go in and out, once. `LOCKSTEP_DATA` adds the reading of
//! files.

use std::time::Duration;

use align::estimate::{Estimator, Geometry};
use align::kernels::{
    ColourTable, FourierPlan, FrequencyWeight, MadTask, MosaicTable, PeakFigures, PlaneKind, RefineTask, Window,
    cross_weight, demosaic, demosaic_edges, despike_block, difference, fft_c2r, fft_r2c, mad_pair, open_cross,
    peak_window, quantile, refine_grid, whiten, window_apply, window_sums,
};
use align::raw::RawlerReader;
use align::testing::{Scenery, Shot, xtrans};
use align::{Cfa, Limits, Options, RawFrame, RawReader, Rect, Refine};
use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::{Cpu, Tensor};
use ndarray::Array2;
use num_complex::Complex32;

const REPEATS: [usize; 2] = [8, 10];

/// A picture of `8 * 10` copies of a drawn one: 4000 × 6000 and, with X-Trans' period, 3984 × 6000 pixels. What is in it
/// does not change how long anything takes.
fn picture(cfa: Cfa, seed: u64, shift: [f64; 2]) -> RawFrame {
    let side = if cfa.period() == 6 { [498, 600] } else { [500, 600] };
    let shot = Shot { cfa, seed, iso: 3200.0, shift, ..Shot::default() };
    let small = Scenery::new(5, side[0], side[1]).shoot(&shot);
    let [h, w] = small.size();
    let mosaic = Array2::from_shape_fn((REPEATS[0] * h, REPEATS[1] * w), |(y, x)| small.mosaic[[y % h, x % w]]);
    RawFrame { mosaic, ..small }
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    one: rayon::ThreadPool,
    shape: String,
}

impl Bench<'_> {
    /// Measures on one thread and on all.
    fn measure(&mut self, name: &str, bytes: usize, mut run: impl FnMut() + Send) {
        let mut group = self.criterion.benchmark_group(name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(1500))
            .throughput(Throughput::Bytes(bytes as u64));
        let one = &self.one;
        group.bench_function(BenchmarkId::new("cpu_f32_one thread", &self.shape), |timer| {
            one.install(|| timer.iter(&mut run));
        });
        group.bench_function(BenchmarkId::new("cpu_f32_all threads", &self.shape), |timer| timer.iter(&mut run));
        group.finish();
    }
}

fn whole(bench: &mut Bench<'_>, b: &Cpu, frames: &[RawFrame; 2]) -> align::Result<()> {
    let size = frames[0].size();
    let bytes = 2 * size[0] * size[1];
    for (name, options) in [
        ("align_further", Options::default()),
        ("align_further_gn", Options { refine: Refine::Gn, ..Options::default() }),
    ] {
        let mut estimator = Estimator::new(b, &frames[0].cfa, size, &options, 1)?;
        let mut store = estimator.store(2)?;
        estimator.prepare(&mut store, 0, &frames[0])?;
        bench.measure(name, bytes, || {
            let done = estimator.prepare(&mut store, 1, &frames[1]).and_then(|()| estimator.align(&store, &[(0, 1)]));
            assert!(done.is_ok(), "{done:?}");
        });
        if name == "align_further" {
            bench.measure("align_pair", 2 * bytes, || {
                let done = estimator.prepare(&mut store, 0, &frames[0]);
                let done = done.and_then(|()| estimator.prepare(&mut store, 1, &frames[1]));
                assert!(done.and_then(|()| estimator.align(&store, &[(0, 1)])).is_ok());
            });
        }
    }
    Ok(())
}

fn operations(bench: &mut Bench<'_>, b: &Cpu, frame: &RawFrame) -> align::Result<()> {
    let o = Options::default();
    let [height, width] = frame.size();
    let g = Geometry::new(&frame.cfa, frame.size(), &o)?;
    let (pixels, proxy_bytes, spectrum_bytes) = (height * width, 4 * g.proxy[0] * g.proxy[1], 8 * g.area());
    let real_bytes = 4 * g.fft[0] * g.fft[1];
    let table = MosaicTable::new(b, &frame.cfa, &frame.black, frame.white, o.neighbours, PlaneKind::Luma)?;
    let mosaic = Tensor::from_array(b, frame.mosaic.view())?;
    let mut proxy = Tensor::<Cpu, f32, 3>::scratch(b, [1, g.proxy[0], g.proxy[1]])?;
    bench.measure("despike_block", 2 * pixels + proxy_bytes, || {
        assert!(despike_block(b, &table, height, width, mosaic.flat(), proxy.flat_mut()).is_ok());
    });
    let window = Window::new(b, g.proxy, g.fft, f64::from(o.alpha))?;
    let mut mean = Tensor::<Cpu, f64, 1>::zeros(b, [1])?;
    bench.measure("window_sums", real_bytes, || {
        assert!(window_sums(b, &window, 1, proxy.flat(), mean.flat_mut()).is_ok());
    });
    let mut windowed = Tensor::<Cpu, f32, 1>::scratch(b, [g.fft[0] * g.fft[1]])?;
    bench.measure("window_apply", 2 * real_bytes, || {
        assert!(window_apply(b, &window, 1, proxy.flat(), mean.flat(), windowed.flat_mut()).is_ok());
    });
    let plan = FourierPlan::new(b, g.fft[0], g.fft[1])?;
    let mut work = Tensor::<Cpu, Complex32, 1>::scratch(b, [plan.work_len()])?;
    let mut spectra = Tensor::<Cpu, Complex32, 2>::scratch(b, [2, g.area()])?;
    for slot in 0..2 {
        let z = spectra.slab_mut(slot..slot + 1)?.flat();
        fft_r2c(b, &plan, 1, windowed.flat(), z, work.flat_mut())?;
    }
    bench.measure("fft_r2c", real_bytes + spectrum_bytes, || {
        let done =
            spectra.slab_mut(0..1).and_then(|z| fft_r2c(b, &plan, 1, windowed.flat(), z.flat(), work.flat_mut()));
        assert!(done.is_ok());
    });
    bench.measure("whiten", 2 * spectrum_bytes, || {
        assert!(spectra.slab_mut(0..1).and_then(|z| whiten(b, z.flat())).is_ok());
    });
    let weight = FrequencyWeight::new(b, g.fft[0], g.fft[1], f64::from(o.sigma))?;
    let pairs = Tensor::<Cpu, u32, 1>::from_slice(b, [2], &[0, 1])?;
    let mut products = Tensor::<Cpu, Complex32, 1>::scratch(b, [g.area()])?;
    bench.measure("cross_weight", 3 * spectrum_bytes, || {
        let done = cross_weight(b, &weight, [2, 1], true, pairs.flat(), spectra.flat(), products.flat_mut());
        assert!(done.is_ok());
    });
    let mut c = Tensor::<Cpu, f32, 3>::scratch(b, [1, g.fft[0], g.fft[1]])?;
    bench.measure("fft_c2r", real_bytes + spectrum_bytes, || {
        assert!(fft_c2r(b, &plan, 1, products.flat(), c.flat_mut(), work.flat_mut()).is_ok());
    });
    let mut figures = Tensor::<Cpu, PeakFigures, 1>::from_slice(b, [1], &[PeakFigures::default()])?;
    let side = 2 * g.limit + 1;
    bench.measure("peak_window", 4 * side * side, || {
        assert!(peak_window(b, [1, g.fft[0], g.fft[1]], g.limit, c.flat(), figures.flat_mut()).is_ok());
    });
    let tasks = Tensor::<Cpu, RefineTask, 1>::from_slice(b, [1], &[RefineTask { y: 3.0, x: -5.0 }])?;
    let mut grid = Tensor::<Cpu, f64, 1>::scratch(b, [17 * 17])?;
    bench.measure("refine_grid", spectrum_bytes, || {
        assert!(refine_grid(b, g.fft, 1.0, tasks.flat(), products.flat(), grid.flat_mut()).is_ok());
    });
    let task = MadTask { a: 0, b: 0, dy: 3, dx: -5, gain: 1.0 };
    let tasks = Tensor::<Cpu, MadTask, 1>::from_slice(b, [1], &[task])?;
    let mut out = Tensor::<Cpu, f64, 1>::scratch(b, [1])?;
    bench.measure("mad_pair", 2 * proxy_bytes, || {
        let done = mad_pair(b, [1, g.proxy[0], g.proxy[1]], tasks.flat(), proxy.flat(), out.flat_mut());
        assert!(done.is_ok());
    });
    let colours = ColourTable::new(b, &frame.cfa, &frame.black, frame.white)?;
    let mut rgb = Tensor::<Cpu, f32, 1>::scratch(b, [3 * pixels])?;
    if frame.cfa.period() == 2 {
        bench.measure("demosaic_edges", 14 * pixels, || {
            assert!(demosaic_edges(b, &colours, height, width, mosaic.flat(), rgb.flat_mut()).is_ok());
        });
    } else {
        bench.measure("demosaic", 14 * pixels, || {
            assert!(demosaic(b, &colours, height, width, mosaic.flat(), rgb.flat_mut()).is_ok());
        });
    }
    let all = Rect { top: 0, left: 0, height, width };
    let mut differences = Tensor::<Cpu, f32, 1>::scratch(b, [pixels])?;
    let mut losses = Tensor::<Cpu, f64, 1>::scratch(b, [height])?;
    bench.measure("difference", 28 * pixels, || {
        let (one, other) = ((rgb.flat(), all), (rgb.flat(), all));
        let done = difference(b, [height, width], one, other, [1.1, 1.1], differences.flat_mut(), losses.flat_mut());
        assert!(done.is_ok());
    });
    bench.measure("quantile", 4 * pixels, || assert!(quantile(b, differences.flat(), 0.9999).is_ok()));
    let kept = Tensor::<Cpu, u8, 1>::from_slice(b, [pixels], &vec![1; pixels])?;
    let mut opened = Tensor::<Cpu, u8, 1>::scratch(b, [pixels])?;
    let mut between = Tensor::<Cpu, u8, 1>::scratch(b, [pixels])?;
    bench.measure("open_cross", 2 * pixels, || {
        assert!(open_cross(b, [height, width], kept.flat(), opened.flat_mut(), between.flat_mut()).is_ok());
    });
    Ok(())
}

/// Reads stored photographs from the file cache.
fn reading(criterion: &mut Criterion) {
    let Some(folder) = std::env::var_os("LOCKSTEP_DATA") else { return };
    for name in ["canon_eos_d30.crw", "gopro_hero6_12mp.dng", "xtrans_3mp_from_hero6.dng"] {
        let path = std::path::Path::new(&folder).join("align/raw").join(name);
        let Ok(frame) = RawlerReader.read(&path, &Limits::default()) else { continue };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap_or_else(|e| panic!("{e}"));
        let mut group = criterion.benchmark_group("read");
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(1500))
            .throughput(Throughput::Bytes(2 * frame.mosaic.len() as u64));
        group.bench_function(BenchmarkId::new("cpu_u16_one thread", name), |timer| {
            one.install(|| timer.iter(|| RawlerReader.read(&path, &Limits::default()).is_ok()));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if std::env::var("LOCKSTEP_BENCH_BACKEND").is_ok_and(|name| name != "cpu") {
        return;
    }
    let b = Cpu::new();
    for (name, cfa) in [("Bayer", Cfa::RGGB), ("X-Trans", xtrans())] {
        let frames = [picture(cfa, 1, [0.0, 0.0]), picture(cfa, 2, [6.0, -11.0])];
        let [h, w] = frames[0].size();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap_or_else(|e| panic!("{e}"));
        let mut bench = Bench { criterion: &mut criterion, one, shape: format!("{name} {h}x{w}") };
        let done = whole(&mut bench, &b, &frames).and_then(|()| operations(&mut bench, &b, &frames[0]));
        done.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    reading(&mut criterion);
    criterion.final_summary();
}
