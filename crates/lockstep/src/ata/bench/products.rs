//! Products and solvers.

use ata_wmma::kernels::{self, AtaBackend, Control, Ring, fista_persistent, fista_step};
use ata_wmma::{BLOCK, BlockDiag, Engine, Layout, Plan, PlanOptions, Precision, SymmetryPolicy};
use gpu_core::Tensor;
use ndarray::Array5;

use super::clock::Caches;
use super::{Row, Runner, core, percentiles, values};
use crate::exit::Result;

/// Input sets that take turns, so that no vector is in a register's reach from the run before.
const SETS: usize = 4;
/// Products of one recorded sequence.
const RUNS: usize = 20;
/// Iterations of a solver.
const ITERATIONS: usize = 100;

/// What a recorded sequence of products works on.
struct Products<B: AtaBackend> {
    plan: Plan<B>,
    work: ata_wmma::Work<B>,
    x: Vec<Tensor<B, f32, 3>>,
    y: Vec<Tensor<B, f32, 3>>,
}

impl<B: AtaBackend> Products<B> {
    fn new(b: &B, a: &BlockDiag, options: PlanOptions, frames: usize) -> Result<Self> {
        let plan = Plan::new(b, a, options)?;
        let work = plan.work(b, frames)?;
        let shape = [frames, a.channels(), a.n()];
        let len = shape.iter().product();
        let x = (0..SETS as u64)
            .map(|set| Tensor::from_slice(b, shape, &values(len, set)))
            .collect::<gpu_core::Result<_>>()?;
        let y = (0..SETS).map(|_| Tensor::zeros(b, shape)).collect::<gpu_core::Result<_>>()?;
        Ok(Self { plan, work, x, y })
    }

    fn run(&mut self, b: &B, runs: usize, sequential: bool) -> gpu_core::Result<()> {
        for run in 0..runs {
            let (x, y) = (&self.x[run % SETS], &mut self.y[run % SETS]);
            let done = if sequential {
                self.plan.apply_sequential(b, &mut self.work, x, y)
            } else {
                self.plan.apply(b, &mut self.work, x.view(), y.view_mut())
            };
            done.map_err(core)?;
        }
        Ok(())
    }
}

/// What a recorded sequence of iterations works on: products, ρ, t, and what one launch exchanges.
type Iterations<B> = (Products<B>, Tensor<B, f32, 1>, Tensor<B, f64, 1>, Ring<B>, Control<B>);

/// What a product is called, and how it is done.
struct Product {
    case: &'static str,
    options: PlanOptions,
    frames: usize,
    sequential: bool,
}

impl Product {
    fn new(case: &'static str, precision: Precision, frames: usize) -> Self {
        let options = PlanOptions { precision, unit_range: true, ..PlanOptions::default() };
        Self { case, options, frames, sequential: false }
    }

    fn variant(&self) -> String {
        let mut words = Vec::new();
        if self.sequential {
            words.push("one by one");
        }
        if self.options.engine == Engine::Wmma32 {
            words.push("wmma32");
        }
        if self.options.layout == Layout::Full {
            words.push("both triangles");
        }
        if self.options.precision.is_scaled() && !self.options.unit_range {
            words.push("scaled");
        }
        words.join(", ")
    }
}

fn on_cpu(backend: &str) -> bool {
    backend == "cpu"
}

impl Runner<'_> {
    /// Replays of a recorded sequence of products: caches warm, and cleared before each product.
    fn product<B: AtaBackend>(&mut self, b: &B, a: &BlockDiag, product: &Product) -> Result<()> {
        let Product { case, options, frames, sequential } = *product;
        let elements = (a.channels() * a.n() * frames) as f64;
        let bytes = a.memory_bytes(options.precision, Layout::Upper) as f64 + 8.0 * elements;
        let diagonal = (0..a.block_rows()).filter(|&i| a.offsets()[0] == 0 && a.is_stored(0, i)).count();
        let both = 2 * a.nnz_blocks() - diagonal;
        let flop = 2.0 * (both * BLOCK * BLOCK * a.channels() * frames * options.precision.products().len()) as f64;
        for &caches in Caches::of(B::NAME) {
            let runs = if caches == Caches::Cold { 1 } else { RUNS };
            let mut state = Products::new(b, a, options, frames)?;
            // What is captured must have been loaded.
            state.run(b, 1, sequential)?;
            b.synchronize()?;
            let mut recorded = b.capture(state, move |b, state| state.run(b, runs, sequential))?;
            let samples = self.args.samples as usize;
            let times = self.measure(b, samples, runs, caches, |b| recorded.replay(b))?;
            let variant = [product.variant(), caches.name().to_owned()];
            let variant = variant.iter().filter(|v| !v.is_empty()).cloned().collect::<Vec<_>>().join(", ");
            let (what, precision) = ("product".to_owned(), options.precision.name());
            self.row(&Row { case, what, precision, frames, variant, times: percentiles(times), bytes, flop });
        }
        Ok(())
    }

    /// Products of the wall.
    pub(super) fn small<B: AtaBackend>(
        &mut self,
        b: &B,
        a: &BlockDiag,
        wants: &dyn Fn(&'static str) -> bool,
    ) -> Result<()> {
        let mut all = Vec::new();
        if wants("cpu") {
            for precision in [Precision::F32, Precision::F16, Precision::Tf32x3] {
                all.extend([8, 16].map(|frames| Product::new("cpu", precision, frames)));
            }
            all.push(Product { sequential: true, ..Product::new("cpu", Precision::F32, 8) });
        }
        for (case, precision, frames) in
            [("G1", Precision::F16, 8), ("G2", Precision::F16, 16), ("G3", Precision::Tf32x3, 8)]
        {
            if wants(case) {
                let product = Product::new(case, precision, frames);
                let full = PlanOptions { layout: Layout::Full, ..product.options };
                all.push(Product { options: full, ..Product::new(case, precision, frames) });
                if precision == Precision::F16 {
                    let scaled = PlanOptions { unit_range: false, ..product.options };
                    all.push(Product { options: scaled, ..Product::new(case, precision, frames) });
                    let engine = if on_cpu(B::NAME) { Engine::Auto } else { Engine::Wmma32 };
                    let wmma = PlanOptions { engine, ..product.options };
                    all.push(Product { options: wmma, ..Product::new(case, precision, frames) });
                }
                all.push(product);
            }
        }
        if wants("G4") {
            for precision in [Precision::F16, Precision::Tf32x3] {
                all.push(Product { sequential: true, ..Product::new("G4", precision, 8) });
            }
        }
        if wants("G5") {
            for precision in Precision::ALL {
                all.extend([8, 16].map(|frames| Product::new("G5", precision, frames)));
            }
        }
        all.iter().try_for_each(|product| self.product(b, a, product))
    }

    /// 100 iterations in one recorded sequence, as launches and as one.
    pub(super) fn fista<B: AtaBackend>(&mut self, b: &B, a: &BlockDiag) -> Result<()> {
        for precision in [Precision::F16, Precision::Tf32x3, Precision::F32] {
            for persistent in [false, true] {
                self.iterations(b, a, precision, persistent)?;
            }
        }
        Ok(())
    }

    fn iterations<B: AtaBackend>(
        &mut self,
        b: &B,
        a: &BlockDiag,
        precision: Precision,
        persistent: bool,
    ) -> Result<()> {
        let frames = 8;
        let options = PlanOptions { precision, unit_range: true, ..PlanOptions::default() };
        let products = Products::new(b, a, options, frames)?;
        let batch = products.plan.batch(frames);
        if persistent && !kernels::persists(b, batch, products.plan.matrix(), true)? {
            self.session.say(format!("G9   {precision} does not stay in this device's shared memory"));
            return Ok(());
        }
        let rho: Vec<f32> = products.plan.row_sums().iter().map(|&v| v as f32).collect();
        let rho = Tensor::<B, f32, 1>::from_slice(b, [rho.len()], &rho)?;
        let t = Tensor::<B, f64, 1>::from_slice(b, [batch.lines()], &vec![1.0; batch.lines()])?;
        let ring = Ring::scratch(b, batch, products.plan.matrix())?;
        let stop = Control::new(b, batch, 0)?;
        let iterate = move |b: &B, (s, rho, t, ring, stop): &mut Iterations<B>, count: usize| {
            let [right, y] = &mut s.x[..2] else { return Ok(()) };
            let [ax, x] = &mut s.y[..2] else { return Ok(()) };
            if persistent {
                let (inputs, xy) = ([right.flat(), rho.flat()], [x.flat_mut(), y.flat_mut()]);
                let (matrix, t) = (s.plan.matrix(), t.flat_mut());
                return fista_persistent(b, stop, batch, matrix, [0.0, 1.0], 0.0, count, inputs, xy, t, ring);
            }
            for _ in 0..count {
                s.plan.apply(b, &mut s.work, y.view(), ax.view_mut()).map_err(core)?;
                let inputs = [ax.flat(), right.flat(), rho.flat()];
                fista_step(b, stop, batch, [0.0, 1.0], 0.0, inputs, x.flat_mut(), y.flat_mut(), t.flat_mut())?;
            }
            Ok(())
        };
        let mut state = (products, rho, t, ring, stop);
        iterate(b, &mut state, 1)?;
        b.synchronize()?;
        let mut recorded = b.capture(state, move |b, state| iterate(b, state, ITERATIONS))?;
        let samples = (self.args.samples as usize).min(if on_cpu(B::NAME) { 5 } else { 100 });
        let times = percentiles(self.measure(b, samples, 1, Caches::Warm, |b| recorded.replay(b))?);
        let each = a.memory_bytes(precision, Layout::Upper) as f64 + 36.0 * batch.len() as f64;
        let (case, what, precision) = ("G9", format!("fista {ITERATIONS} iterations"), precision.name());
        let variant = if persistent { "persistent" } else { "launches" }.to_owned();
        let bytes = ITERATIONS as f64 * each;
        self.row(&Row { case, what, precision, frames, variant, times, bytes, flop: 0.0 });
        Ok(())
    }

    /// Unknowns on 28 contiguous block diagonals.
    pub(super) fn large<B: AtaBackend>(&mut self, b: &B) -> Result<()> {
        let n = self.args.large;
        let diagonals = 28.min(n.div_ceil(BLOCK));
        let offsets: Vec<u32> = (0..diagonals as u32).collect();
        let shape = (3, offsets.len(), n.div_ceil(BLOCK), BLOCK, BLOCK);
        let mut seed = 0u32;
        let blocks = Array5::from_shape_simple_fn(shape, || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let a = BlockDiag::from_blocks(blocks.view(), &offsets, n, SymmetryPolicy::UpperWins)?;
        drop(blocks);
        let all = [Precision::F32, Precision::Tf32, Precision::Tf32x3].map(|precision| ("G7", precision));
        for (case, precision) in [("G6", Precision::F16)].into_iter().chain(all) {
            if self.args.wants(case, B::NAME) {
                self.product(b, &a, &Product::new(case, precision, 8))?;
            }
        }
        Ok(())
    }
}
