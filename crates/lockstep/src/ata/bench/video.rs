//! Frames to bytes for LEDs.

use ata_wmma::kernels::{self, AtaBackend, Control, Ring};
use ata_wmma::{
    BYTE_SQUARED, BlockDiag, DevicePatterns, FrameLayout, Layout, Patterns, Plan, PlanOptions, Precision, Transfer,
};
use gpu_core::Tensor;

use super::clock::Caches;
use super::{Row, Runner, core, percentiles};
use crate::exit::Result;

const FRAMES: usize = 8;
const ITERATIONS: usize = 100;

/// What the recorded sequence works on.
struct Video<B: AtaBackend> {
    patterns: DevicePatterns<B>,
    pixels: Tensor<B, u8, 1>,
    sums: Tensor<B, u64, 1>,
    right: Tensor<B, f32, 1>,
    plan: Plan<B>,
    work: ata_wmma::Work<B>,
    rho: Tensor<B, f32, 1>,
    one: Tensor<B, f64, 1>,
    t: Tensor<B, f64, 1>,
    x: Tensor<B, f32, 3>,
    y: Tensor<B, f32, 3>,
    ax: Tensor<B, f32, 3>,
    ring: Ring<B>,
    stop: Control<B>,
    inverse: Tensor<B, u32, 1>,
    table: Tensor<B, u8, 1>,
    levels: Tensor<B, u8, 1>,
    persistent: bool,
}

impl<B: AtaBackend> Video<B> {
    fn run(&mut self, b: &B) -> gpu_core::Result<()> {
        let batch = self.plan.batch(FRAMES);
        let (bounds, transfer) = ([0.0, 1.0], Transfer::Identity);
        kernels::atb_u8(b, &self.patterns, self.pixels.flat(), FrameLayout::Planar, &transfer, self.sums.flat_mut())?;
        kernels::scale_sums(b, BYTE_SQUARED, self.sums.flat(), self.right.flat_mut())?;
        kernels::start(b, batch, bounds, self.right.flat(), self.rho.flat(), self.x.flat_mut())?;
        b.copy(self.x.flat(), self.y.flat_mut())?;
        b.copy(self.one.flat(), self.t.flat_mut())?;
        if self.persistent {
            let (inputs, xy) = ([self.right.flat(), self.rho.flat()], [self.x.flat_mut(), self.y.flat_mut()]);
            let (matrix, t, ring) = (self.plan.matrix(), self.t.flat_mut(), &mut self.ring);
            kernels::fista_persistent(b, &self.stop, batch, matrix, bounds, 0.0, ITERATIONS, inputs, xy, t, ring)?;
        } else {
            for _ in 0..ITERATIONS {
                self.plan.apply(b, &mut self.work, self.y.view(), self.ax.view_mut()).map_err(core)?;
                let inputs = [self.ax.flat(), self.right.flat(), self.rho.flat()];
                let (x, y, t) = (self.x.flat_mut(), self.y.flat_mut(), self.t.flat_mut());
                kernels::fista_step(b, &self.stop, batch, bounds, 0.0, inputs, x, y, t)?;
            }
        }
        let (x, inverse, table) = (self.x.flat(), self.inverse.flat(), self.table.flat());
        kernels::quantise(b, batch, x, inverse, table, true, self.levels.flat_mut())
    }
}

impl Runner<'_> {
    /// From eight frames on the device to the levels of all LEDs.
    pub(super) fn video<B: AtaBackend>(&mut self, b: &B, a: &BlockDiag, patterns: &Patterns) -> Result<()> {
        let precision = Precision::F16;
        let plan = Plan::new(b, a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() })?;
        let batch = plan.batch(FRAMES);
        let persistent = kernels::persists(b, batch, plan.matrix(), true)?;
        let [width, height] = patterns.size();
        let pixels: Vec<u8> =
            (0..FRAMES * a.channels() * width * height).map(|i| (i * 31 + i / 800 * 7) as u8).collect();
        let rho: Vec<f32> = plan.row_sums().iter().map(|&v| v as f32).collect();
        let order: Vec<u32> = (0..a.n() as u32).collect();
        let shape = [FRAMES, a.channels(), a.n()];
        let mut state = Video {
            patterns: DevicePatterns::new(b, patterns)?,
            pixels: Tensor::from_slice(b, [pixels.len()], &pixels)?,
            sums: Tensor::zeros(b, [batch.len()])?,
            right: Tensor::zeros(b, [batch.len()])?,
            work: plan.work(b, FRAMES)?,
            rho: Tensor::from_slice(b, [rho.len()], &rho)?,
            one: Tensor::from_slice(b, [batch.lines()], &vec![1.0; batch.lines()])?,
            t: Tensor::zeros(b, [batch.lines()])?,
            x: Tensor::zeros(b, shape)?,
            y: Tensor::zeros(b, shape)?,
            ax: Tensor::zeros(b, shape)?,
            ring: Ring::scratch(b, batch, plan.matrix())?,
            stop: Control::new(b, batch, 0)?,
            inverse: Tensor::from_slice(b, [order.len()], &order)?,
            table: Tensor::zeros(b, [0])?,
            levels: Tensor::zeros(b, [batch.len()])?,
            plan,
            persistent,
        };
        state.run(b)?;
        b.synchronize()?;
        let mut recorded = b.capture(state, |b, state| state.run(b))?;
        let samples = (self.args.samples as usize).min(if B::NAME == "cpu" { 3 } else { 100 });
        let times = percentiles(self.measure(b, samples, 1, Caches::Warm, |b| recorded.replay(b))?);
        let each = a.memory_bytes(precision, Layout::Upper) + 36 * batch.len();
        let bytes = (patterns.data().len() + pixels.len() + ITERATIONS * each) as f64;
        let variant = if persistent { "persistent" } else { "launches" }.to_owned();
        let (case, what, precision) = ("video", "frames to levels".to_owned(), precision.name());
        self.row(&Row { case, what, precision, frames: FRAMES, variant, times, bytes, flop: 0.0 });
        Ok(())
    }
}
