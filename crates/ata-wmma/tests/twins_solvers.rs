//! Steps of the solvers: against scalar loops, and CUDA against the CPU to the bit.

mod oracle;

use ata_wmma::AtaBackend;
use ata_wmma::kernels::{self, Batch, CgState, Control};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Result, Tensor, twins};
use oracle::steps::Box_;
use oracle::value;

/// Lines of numbers for the steps.
#[derive(Clone, Debug)]
struct Lines {
    frames: usize,
    channels: usize,
    n: usize,
    seed: u64,
    bounds: [f32; 2],
    lambda: f32,
}

fn lines() -> impl Strategy<Value = Lines> {
    let n = prop_oneof![3 => 1..40_usize, 1 => 250..600_usize];
    let bounds =
        prop_oneof![3 => Just([0.0f32, 1.0]), 1 => Just([-0.25, 0.5]), 1 => Just([f32::NEG_INFINITY, f32::INFINITY])];
    (0..5_usize, 1..4_usize, n, 0..1000_u64, bounds, prop_oneof![Just(0.0f32), Just(0.125)])
        .prop_map(|(frames, channels, n, seed, bounds, lambda)| Lines { frames, channels, n, seed, bounds, lambda })
}

impl Lines {
    fn batch(&self) -> Batch {
        Batch { frames: self.frames, channels: self.channels, n: self.n }
    }
    fn len(&self) -> usize {
        self.frames * self.channels * self.n
    }
    /// One of several independent vectors.
    fn vector(&self, which: u64) -> Vec<f64> {
        (0..self.len() as u64).map(|i| value(self.seed ^ (which << 20), i, false)).collect()
    }
    /// Positive, with some dead rows.
    fn rho(&self) -> Vec<f64> {
        let of = |i: u64| {
            if oracle::hash(self.seed ^ 5, i).is_multiple_of(7) { 0.0 } else { 1.0 + value(self.seed, i, false).abs() }
        };
        (0..(self.channels * self.n) as u64).map(|i| f64::from(of(i) as f32)).collect()
    }
    fn limits(&self) -> Box_ {
        let [lower, upper] = self.bounds.map(f64::from);
        Box_ {
            lower: if lower.is_finite() { lower } else { -1e300 },
            upper: upper.min(1e300),
            lambda: self.lambda.into(),
        }
    }
    fn line<'a>(&self, v: &'a [f64], line: usize) -> &'a [f64] {
        &v[line * self.n..(line + 1) * self.n]
    }
    fn rho_of<'a>(&self, rho: &'a [f64], line: usize) -> &'a [f64] {
        self.line(rho, line % self.channels)
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn upload<B: AtaBackend>(b: &B, values: &[f64]) -> Result<Tensor<B, f32, 1>> {
    Tensor::from_slice(b, [values.len()], &narrow(values))
}

fn wide(values: Vec<f64>) -> Output {
    Output::F64(vec![values.len()], values)
}

/// Lower bounds of dead rows must be finite to be compared.
fn finite(c: &Lines) -> Lines {
    let mut c = c.clone();
    if !c.bounds[0].is_finite() {
        c.bounds = [-1e3, 1e3];
    }
    c
}

mod start {
    use super::*;
    /// Below 1.
    fn rho(c: &Lines) -> Vec<f64> {
        c.rho().into_iter().map(|v| v / 4.0).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let c = &finite(c);
        let (right, rho) = (upload(b, &c.vector(1))?, upload(b, &rho(c))?);
        let mut x = Tensor::<B, f32, 1>::scratch(b, [c.len()])?;
        kernels::start(b, c.batch(), c.bounds, right.flat(), rho.flat(), x.flat_mut())?;
        Ok(vec![Output::of(b, &x)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let c = &finite(c);
        let (b, rho) = (c.vector(1), rho(c));
        let all = (0..c.batch().lines()).flat_map(|l| c.limits().start(c.line(&b, l), c.rho_of(&rho, l)));
        vec![wide(all.collect())]
    }
}
twins! {
    kernels = ["ata_start"];
    /// one division
    start_line: lines(), Lines => |b, c| start::run(b, c), oracle = start::expected, tolerance = Tolerance::ulps(1),
        twins = Tolerance::EXACT;
}

mod fista {
    use super::*;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let c = &finite(c);
        let inputs = [upload(b, &c.vector(1))?, upload(b, &c.vector(2))?, upload(b, &c.rho())?];
        let (mut x, mut y) = (upload(b, &c.vector(3))?, upload(b, &c.vector(4))?);
        let before: Vec<f64> = (0..c.batch().lines()).map(|l| 1.0 + l as f64 / 4.0).collect();
        let mut t = Tensor::<B, f64, 1>::from_slice(b, [before.len()], &before)?;
        let [ay, right, rho] = &inputs;
        let views = [ay.flat(), right.flat(), rho.flat()];
        let stop = Control::new(b, c.batch(), 0)?;
        kernels::fista_step(b, &stop, c.batch(), c.bounds, c.lambda, views, x.flat_mut(), y.flat_mut(), t.flat_mut())?;
        Ok(vec![Output::of(b, &x)?, Output::of(b, &y)?, Output::of(b, &t)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let c = &finite(c);
        let [ay, b, x, y] = [1, 2, 3, 4].map(|k| c.vector(k));
        let rho = c.rho();
        let (mut all_x, mut all_y, mut all_t) = (Vec::new(), Vec::new(), Vec::new());
        for l in 0..c.batch().lines() {
            let (t, rho) = (1.0 + l as f64 / 4.0, c.rho_of(&rho, l));
            let (x, y, t) = c.limits().fista(c.line(&ay, l), c.line(&b, l), rho, c.line(&x, l), c.line(&y, l), t);
            all_x.extend(x);
            all_y.extend(y);
            all_t.push(t);
        }
        vec![wide(all_x), wide(all_y), wide(all_t)]
    }
}
twins! {
    kernels = ["ata_fista_step"];
    /// six roundings of values up to 8, or up to 1000 in dead rows
    fista_line: lines(), Lines => |b, c| fista::run(b, c), oracle = fista::expected,
        tolerance = Tolerance { ulps: 0, rel: 2f64.powi(-22), abs: 48.0 * 2f64.powi(-24) }, twins = Tolerance::EXACT;
}

mod descend {
    use super::*;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let (g, ag) = (upload(b, &c.vector(1))?, upload(b, &products(c))?);
        let mut x = upload(b, &c.vector(3))?;
        let stop = Control::new(b, c.batch(), 0)?;
        kernels::sd_step(b, &stop, c.batch(), c.bounds, [c.lambda, 0.5], g.flat(), ag.flat(), x.flat_mut())?;
        Ok(vec![Output::of(b, &x)?])
    }
    /// A positive multiple of the gradient and something: lengths of steps stay below 2. Every third case climbs.
    fn products(c: &Lines) -> Vec<f64> {
        let sign = if c.seed.is_multiple_of(3) { -1.0 } else { 1.0 };
        let all = c.vector(1).into_iter().zip(c.vector(2));
        all.map(|(g, v)| f64::from((sign * (g + 0.125 * v * g)) as f32)).collect()
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let (g, ag, x) = (c.vector(1), products(c), c.vector(3));
        let each = c.channels * c.n;
        let frame = |v: &[f64], f: usize| v[f * each..(f + 1) * each].to_vec();
        let all = (0..c.frames).flat_map(|f| c.limits().descend(&frame(&g, f), &frame(&ag, f), &frame(&x, f), 0.5));
        vec![wide(all.collect())]
    }
}
twins! {
    kernels = ["ata_sd_step"];
    /// the length's rounding and that of the sum, of values up to 2
    descend_frame: lines(), Lines => |b, c| descend::run(b, c), oracle = descend::expected,
        tolerance = Tolerance::abs(4.0 * 2f64.powi(-23)), twins = Tolerance::EXACT;
}

mod kkt {
    use super::*;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let [ax, right, x] = [1, 2, 3].map(|k| c.vector(k));
        let tensors = [upload(b, &ax)?, upload(b, &right)?, upload(b, &c.rho())?, upload(b, &x)?];
        let [ax, right, rho, x] = &tensors;
        let mut out = Tensor::<B, f64, 1>::scratch(b, [2 * c.batch().lines()])?;
        let views = [ax.flat(), right.flat(), rho.flat(), x.flat()];
        kernels::kkt(b, c.batch(), c.bounds, c.lambda, views, out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let [ax, b, x] = [1, 2, 3].map(|k| c.vector(k));
        let rho = c.rho();
        let of = |l: usize| c.limits().kkt(c.line(&ax, l), c.line(&b, l), c.rho_of(&rho, l), c.line(&x, l));
        vec![wide((0..c.batch().lines()).flat_map(of).collect())]
    }
}
twins! {
    kernels = ["ata_kkt"];
    /// four roundings of values up to 4 in each of up to 600 terms
    kkt_line: lines(), Lines => |b, c| kkt::run(b, c), oracle = kkt::expected,
        tolerance = |c: &Lines| Tolerance::abs(4.0 * 4.0 * 2f64.powi(-24) * (c.n + 1) as f64), twins = Tolerance::EXACT;
}

mod sums {
    use super::*;
    /// As many strips as there are unknowns.
    fn partials(c: &Lines) -> Vec<f64> {
        c.vector(1).into_iter().chain(c.vector(2)).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let partials = Tensor::<B, f64, 1>::from_slice(b, [2 * c.len()], &partials(c))?;
        let mut out = Tensor::<B, f64, 1>::scratch(b, [2 * c.batch().lines()])?;
        kernels::sums(b, c.batch(), c.n, partials.flat(), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let partials = partials(c);
        let of = |line: usize, k: usize| (0..c.n).map(|s| partials[(line * c.n + s) * 2 + k]).sum::<f64>();
        vec![wide((0..c.batch().lines()).flat_map(|line| [of(line, 0), of(line, 1)]).collect())]
    }
}
twins! {
    kernels = ["ata_sums"];
    /// another order of up to 600 terms up to 1
    sums_line: lines(), Lines => |b, c| sums::run(b, c), oracle = sums::expected,
        tolerance = |c: &Lines| Tolerance::abs(2.0 * (c.n * c.n) as f64 * 2f64.powi(-53)), twins = Tolerance::EXACT;
}

mod gradient {
    use super::*;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let inputs = [upload(b, &c.vector(1))?, upload(b, &c.vector(2))?, upload(b, &c.vector(3))?];
        let mut g = Tensor::<B, f32, 1>::scratch(b, [c.len()])?;
        kernels::gradient(b, c.batch(), c.lambda, inputs.each_ref().map(Tensor::flat), g.flat_mut())?;
        Ok(vec![Output::of(b, &g)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let [ax, b, x] = [1, 2, 3].map(|k| c.vector(k));
        vec![wide((0..c.len()).map(|i| ax[i] + f64::from(c.lambda) * x[i] - b[i]).collect())]
    }
}
twins! {
    kernels = ["ata_gradient"];
    /// two roundings of values up to 2
    gradient_line: lines(), Lines => |b, c| gradient::run(b, c), oracle = gradient::expected,
        tolerance = Tolerance::abs(4.0 * 2f64.powi(-24)), twins = Tolerance::EXACT;
}

mod cg {
    use super::*;
    /// A start, and steps whose products are those of a diagonal matrix.
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines, steps: usize) -> Result<Outputs> {
        let [ax, right, x] = [upload(b, &c.vector(1))?, upload(b, &c.vector(2))?, upload(b, &c.vector(3))?];
        let rho = upload(b, &c.rho())?;
        let mut state = CgState::scratch(b, c.batch())?;
        let inputs = [ax.flat(), right.flat(), rho.flat(), x.flat()];
        kernels::cg_start(b, c.batch(), c.lambda, inputs, &mut state)?;
        let stop = Control::new(b, c.batch(), 0)?;
        let mut shown = upload(b, &c.vector(3))?;
        for _ in 0..steps {
            let direction = state.direction().to_vec(b)?;
            let ap: Vec<f32> = direction.iter().enumerate().map(|(i, d)| weight(c, i) * d).collect();
            let ap = Tensor::<B, f32, 1>::from_slice(b, [ap.len()], &ap)?;
            let (bounds, views) = (c.bounds, [ap.flat(), rho.flat()]);
            kernels::cg_step(b, &stop, c.batch(), bounds, c.lambda, views, &mut state, shown.flat_mut())?;
        }
        let outputs = [Output::of(b, &shown)?, Output::of(b, state.iterate())?];
        Ok(outputs.into_iter().chain([Output::of(b, state.direction())?]).collect())
    }
    /// Powers of two: products are exact.
    fn weight(c: &Lines, i: usize) -> f32 {
        [0.5, 1.0, 2.0][oracle::hash(c.seed ^ 0x4d, i as u64) as usize % 3]
    }
    pub(super) fn expected(c: &Lines, steps: usize) -> Outputs {
        let [ax, b, x] = [1, 2, 3].map(|k| c.vector(k));
        let rho = c.rho();
        let (mut shown, mut at, mut directions) = (Vec::new(), Vec::new(), Vec::new());
        for l in 0..c.batch().lines() {
            let weights: Vec<f64> = (0..c.n).map(|i| weight(c, l * c.n + i).into()).collect();
            let (all, direction) = oracle::steps::conjugate(
                &weights,
                [c.line(&ax, l), c.line(&b, l), c.rho_of(&rho, l), c.line(&x, l)],
                f64::from(c.lambda),
                steps,
            );
            let [lower, upper] = c.bounds.map(f64::from);
            let clipped = |v: &f64| if steps == 0 { *v } else { v.max(lower).min(upper) };
            shown.extend(all.iter().map(clipped));
            at.extend(all);
            directions.extend(direction);
        }
        vec![wide(shown), wide(at), wide(directions)]
    }
}
twins! {
    kernels = ["ata_cg_start"];
    /// the direction, up to 4, is rounded once
    cg_start_line: lines(), Lines => |b, c| cg::run(b, c, 0), oracle = |c: &Lines| cg::expected(c, 0),
        tolerance = Tolerance::abs(4.0 * 2f64.powi(-24)), twins = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_cg_start", "ata_cg_step"];
    /// directions up to 4 are rounded to f32, and lengths up to 8 carry that on
    cg_step_line: lines(), Lines => |b, c| cg::run(b, c, 2), oracle = |c: &Lines| cg::expected(c, 2),
        tolerance = Tolerance { ulps: 0, rel: 2f64.powi(-20), abs: 64.0 * 2f64.powi(-24) }, twins = Tolerance::EXACT;
}

mod stop {
    use super::*;
    /// Also so many lines that every thread has some.
    pub(super) fn cases() -> impl Strategy<Value = Lines> {
        let many = prop_oneof![Just(32_usize), Just(64), 5..400_usize];
        prop_oneof![2 => lines(), 1 => (lines(), many, 1..3_usize).prop_map(|(c, frames, n)| Lines { frames, n, ..c })]
    }
    fn figures(c: &Lines, look: u64) -> Vec<f64> {
        // Sometimes no line is within the tolerance at first.
        let more = if look == 0 && c.seed.is_multiple_of(2) { 1.0 } else { 0.0 };
        let of = |i| value(c.seed ^ look, i, false).abs() / (look + 1) as f64 + more;
        (0..2 * c.batch().lines() as u64).map(of).collect()
    }
    const TOLERANCE: f64 = 0.45;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let batch = c.batch();
        let mut control = Control::new(b, batch, 4)?;
        let mut x = upload(b, &c.vector(3))?;
        let (g, ag) = (upload(b, &c.vector(1))?, upload(b, &c.vector(1))?);
        for look in 0..4 {
            let figures = figures(c, look as u64);
            let figures = Tensor::<B, f64, 1>::from_slice(b, [figures.len()], &figures)?;
            kernels::stop(b, batch, &mut control, TOLERANCE, [10 * look + 10, look], figures.flat())?;
            // A step behind the look that settled it does nothing.
            kernels::sd_step(b, &control, batch, [-9.0, 9.0], [0.0, 0.5], g.flat(), ag.flat(), x.flat_mut())?;
        }
        let seen = control.seen(b, batch)?;
        let told = [u32::from(seen.stopped), seen.iteration as u32, seen.looks as u32];
        Ok(vec![Output::U32(vec![3], told.to_vec()), wide(seen.history), Output::of(b, &x)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let (mut told, mut history, mut x) = ([0.0, 0.0, 0.0], Vec::new(), c.vector(3));
        for look in 0..4 {
            if told[0] == 1.0 {
                continue;
            }
            let figures = figures(c, look);
            let settled = figures.iter().step_by(2).all(|&v| v <= TOLERANCE);
            told = [f64::from(u8::from(settled)), 10.0 * look as f64 + 10.0, look as f64 + 1.0];
            history.extend(figures);
            if !settled {
                // The gradient's product is itself: a step of half its length.
                x.iter_mut().zip(c.vector(1)).for_each(|(x, g)| *x -= 0.5 * g);
            }
        }
        vec![wide(told.to_vec()), wide(history), wide(x)]
    }
}
twins! {
    kernels = ["ata_stop", "ata_sd_step"];
    /// counts and copies are exact, four steps are rounded once each
    stop_lines: stop::cases(), Lines => |b, c| stop::run(b, c), oracle = stop::expected,
        tolerance = Tolerance::abs(16.0 * 2f64.powi(-24)), twins = Tolerance::EXACT;
}

mod quantise {
    use super::*;
    fn inverse(c: &Lines) -> Vec<u32> {
        let mut all: Vec<u32> = (0..c.n as u32).collect();
        all.sort_by_key(|&i| oracle::hash(c.seed ^ 0x15, i.into()));
        if c.seed.is_multiple_of(7) {
            // What lies behind the last unknown counts as the last.
            all[c.n / 2] += c.n as u32;
        }
        all
    }
    fn has_table(c: &Lines) -> bool {
        c.seed.is_multiple_of(3)
    }
    /// Any table: the lowest 16 bits of a multiple, and of those what fits.
    fn through(v: u32) -> u32 {
        v * 181 + 7
    }
    /// Values beyond both ends, and exact halves.
    fn x(c: &Lines) -> Vec<f64> {
        let of = |v: f64| match v {
            v if v > 0.5 => ((v * 255.0).floor() + 0.5) / 255.0,
            v if v > 0.25 => 4.0 * v,
            v => 1.5 * v,
        };
        c.vector(1).into_iter().map(|v| f64::from(of(v) as f32)).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines, wide: bool) -> Result<Outputs> {
        let x = upload(b, &x(c))?;
        let inverse = Tensor::from_slice(b, [c.n], &inverse(c))?;
        let interleaved = c.seed.is_multiple_of(2);
        let (views, batch) = ((x.flat(), inverse.flat()), c.batch());
        if wide {
            let mut out = Tensor::<B, u16, 1>::scratch(b, [c.len()])?;
            let table: Vec<u16> =
                if has_table(c) { (0..=65535).map(|v| through(v) as u16).collect() } else { Vec::new() };
            let table = Tensor::from_slice(b, [table.len()], &table)?;
            kernels::quantise(b, batch, views.0, views.1, table.flat(), interleaved, out.flat_mut())?;
            return Ok(vec![Output::U32(vec![c.len()], out.to_vec(b)?.into_iter().map(u32::from).collect())]);
        }
        let mut out = Tensor::<B, u8, 1>::scratch(b, [c.len()])?;
        let table: Vec<u8> = if has_table(c) { (0..=255).map(|v| through(v) as u8).collect() } else { Vec::new() };
        let table = Tensor::from_slice(b, [table.len()], &table)?;
        kernels::quantise(b, batch, views.0, views.1, table.flat(), interleaved, out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(c: &Lines, top: f64) -> Outputs {
        let (x, inverse) = (x(c), inverse(c));
        let mut out = vec![0.0; c.len()];
        for f in 0..c.frames {
            for channel in 0..c.channels {
                for place in 0..c.n {
                    let v = x[(f * c.channels + channel) * c.n + (inverse[place] as usize).min(c.n - 1)];
                    let at =
                        if c.seed.is_multiple_of(2) { place * c.channels + channel } else { channel * c.n + place };
                    let level = (top * v + 0.5).floor().max(0.0).min(top);
                    let bits = u32::from(has_table(c)) * (top as u32);
                    out[f * c.channels * c.n + at] =
                        if bits > 0 { f64::from(through(level as u32) & bits) } else { level };
                }
            }
        }
        vec![super::wide(out)]
    }
}
twins! {
    kernels = ["ata_quantise_u8"];
    /// whole numbers
    quantise_u8: lines(), Lines => |b, c| quantise::run(b, c, false), oracle = |c: &Lines| quantise::expected(c, 255.0),
        tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_quantise_u16"];
    /// whole numbers
    quantise_u16: lines(), Lines => |b, c| quantise::run(b, c, true), oracle = |c: &Lines| quantise::expected(c, 65535.0),
        tolerance = Tolerance::EXACT;
}
