//! Products, sums and steps on synthetic walls of 160, 320 and 2624 LEDs, on the backend named by
//! `LOCKSTEP_BENCH_BACKEND` (`cpu`, or `cuda`). Time is what the device sees between two events; bytes are the matrix, x
//! and y once. On a device also products of 28 block diagonals of 131072 unknowns, more than its caches hold. Rows named `cold` are measured with other data in the caches.

use std::time::Duration;

use ata_wmma::kernels::{self, AtaBackend};
use ata_wmma::wall::Wall;
use ata_wmma::{
    BLOCK, BlockDiag, DevicePatterns, FrameLayout, Graph, Layout, Method, Patterns, Plan, PlanOptions, Precision,
    Scale, SolveOptions, Solver, SymmetryPolicy, Transfer, ordering,
};
use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::timing::{Flush, warm};
use gpu_core::{AnyBackend, Error, Result, Tensor, with_backend};
use ndarray::Array5;

const FRAMES: usize = 8;

fn core(error: ata_wmma::AtaError) -> Error {
    Error::value("ata", error.to_string())
}

struct Bench<'a, B: AtaBackend> {
    b: &'a B,
    criterion: &'a mut Criterion,
    flush: Flush<B>,
    leds: usize,
}

impl<B: AtaBackend> Bench<'_, B> {
    fn moving(&mut self, name: &str, bytes: usize, mut run: impl FnMut() -> Result<()>) {
        let Self { b, criterion, flush, leds } = self;
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
        group.throughput(Throughput::Bytes(bytes as u64));
        let taken = |time: Result<Duration>| time.unwrap_or_else(|e| panic!("{name}: {e}"));
        group.bench_function(BenchmarkId::new(B::NAME, *leds), |timer| {
            timer.iter_custom(|times| taken(warm(*b, times, &mut run)));
        });
        group.bench_function(BenchmarkId::new(format!("{}_cold", B::NAME), *leds), |timer| {
            timer.iter_custom(|times| taken(flush.cold(b, times, &mut run)));
        });
        group.finish();
    }

    fn wall(&mut self) -> ata_wmma::Result<()> {
        let (width, height, block) =
            if self.leds < 1000 { (16 * self.leds.isqrt(), 12 * self.leds.isqrt(), 32) } else { (800, 480, 64) };
        let wall = Wall { leds: self.leds, width, height, block, margin: 10, seed: 1, scale: block as f64 / 64.0 };
        let positions = wall.positions();
        let (order, ..) =
            ordering::best_snake(&positions, &Graph::of_windows(&wall.corners(&positions), block), block)?;
        let patterns = wall.patterns(&order)?;
        let b = self.b;
        let (a, _) = patterns.gram(b, Scale::Unit)?;
        let shape = [FRAMES, a.channels(), a.n()];
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 251) as f32 / 251.0).collect();
        let x = Tensor::from_slice(b, shape, &values)?;
        let mut y = Tensor::zeros(b, shape)?;
        for precision in Precision::ALL {
            let plan = Plan::new(b, &a, PlanOptions { precision, ..PlanOptions::default() })?;
            let mut work = plan.work(b, FRAMES)?;
            let bytes = a.memory_bytes(precision, Layout::Upper) + 8 * len;
            self.moving(&format!("apply_{precision}"), bytes, || {
                plan.apply(b, &mut work, x.view(), y.view_mut()).map_err(core)
            });
        }
        let plan = Plan::new(b, &a, PlanOptions::default())?;
        for (method, name) in [(Method::Fista, "solve_10_iterations"), (Method::ProjectedBb, "solve_bb_10_iterations")]
        {
            let options = SolveOptions { method, max_iterations: 10, ..SolveOptions::default() };
            let bytes = 10 * (a.memory_bytes(Precision::Tf32x3, Layout::Upper) + 36 * len);
            let solver = Solver::new(&plan, options)?;
            let mut work = solver.work(b, FRAMES)?;
            self.moving(name, bytes, || solver.solve_into(b, &mut work, &x, &mut y).map_err(core));
        }
        let device = DevicePatterns::new(b, &patterns)?;
        let pixels: Vec<u8> = (0..FRAMES * 3 * width * height).map(|i| (i * 31 % 253) as u8).collect();
        let frames = Tensor::from_slice(b, [pixels.len()], &pixels)?;
        let mut sums = Tensor::<B, u64, 1>::zeros(b, [len])?;
        self.moving("atb_u8", patterns.data().len() + pixels.len(), || {
            kernels::atb_u8(b, &device, frames.flat(), FrameLayout::Planar, &Transfer::Identity, sums.flat_mut())
        });
        let list = patterns.block_list();
        let blocks = kernels::BlockList::new(b, patterns.n(), &list).map_err(core)?;
        let mut gram = Tensor::<B, u32, 1>::zeros(b, [patterns.channels() * list.len() * ata_wmma::AREA])?;
        self.moving("gram_u8", patterns.data().len() + 4 * gram.len(), || {
            kernels::gram_u8_into(b, &device, &blocks, gram.flat_mut())
        });
        let tiles = kernels::RenderTiles::new(b, &patterns)?;
        let mut pictures = Tensor::<B, f32, 1>::zeros(b, [pixels.len()])?;
        self.moving("render", patterns.data().len() + 4 * pixels.len(), || {
            kernels::render(b, &device, &tiles, x.flat(), pictures.flat_mut())
        });
        let light = patterns.data().iter().map(|&v| f32::from(v) / 255.0).collect();
        let real =
            Patterns::new([patterns.n(), 3, patterns.window()], light, patterns.corners().to_vec(), patterns.size())?;
        let device = DevicePatterns::new(b, &real)?;
        let mut gram = Tensor::<B, f32, 1>::zeros(b, [gram.len()])?;
        self.moving("gram_f32", 4 * (real.data().len() + gram.len()), || {
            kernels::gram_f32_into(b, &device, &blocks, gram.flat_mut())
        });
        self.moving("atb_f32", 4 * real.data().len() + pixels.len(), || {
            let layout = FrameLayout::Planar;
            kernels::atb_f32(b, &device, frames.flat(), layout, &Transfer::Identity, y.flat_mut())
        });
        self.moving("render_f32", 4 * (real.data().len() + pixels.len()), || {
            kernels::render_f32(b, &device, &tiles, x.flat(), pictures.flat_mut())
        });
        Ok(())
    }
}

impl<B: AtaBackend> Bench<'_, B> {
    fn large(&mut self) -> ata_wmma::Result<()> {
        let offsets: Vec<u32> = (0..28).collect();
        let shape = (3, offsets.len(), self.leds / BLOCK, BLOCK, BLOCK);
        let mut seed = 0u32;
        let blocks = Array5::from_shape_simple_fn(shape, || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let a = BlockDiag::from_blocks(blocks.view(), &offsets, self.leds, SymmetryPolicy::UpperWins)?;
        drop(blocks);
        let shape = [FRAMES, 3, self.leds];
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 251) as f32 / 251.0).collect();
        let x = Tensor::from_slice(self.b, shape, &values)?;
        let mut y = Tensor::zeros(self.b, shape)?;
        for precision in [Precision::F16, Precision::F32, Precision::Tf32, Precision::Tf32x3] {
            let plan = Plan::new(self.b, &a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() })?;
            let mut work = plan.work(self.b, FRAMES)?;
            let bytes = a.memory_bytes(precision, Layout::Upper) + 8 * len;
            let b = self.b;
            self.moving(&format!("apply_{precision}"), bytes, || {
                plan.apply(b, &mut work, x.view(), y.view_mut()).map_err(core)
            });
        }
        Ok(())
    }
}

fn all<B: AtaBackend>(b: &B, criterion: &mut Criterion) -> ata_wmma::Result<()> {
    let mut bench = Bench { b, criterion, flush: Flush::new(b)?, leds: 160 };
    for leds in [160, 320, 2624] {
        bench.leds = leds;
        bench.wall()?;
    }
    if B::NAME != "cpu" {
        bench.leds = 131_072;
        bench.large()?;
    }
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let backend = AnyBackend::open(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&backend, |b| all(b, &mut criterion)).unwrap_or_else(|e| panic!("{e}"));
    criterion.final_summary();
}
