//! Steps of the solvers, and sums over windows: against scalar loops, and CUDA against the CPU to the bit.

mod oracle;

use ata_wmma::kernels::{self, Batch, RenderTiles};
use ata_wmma::{AtaBackend, AtaError, DevicePatterns, FrameLayout, Patterns, Transfer};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Error, Result, Tensor, twins};
use oracle::patterns::Scene;
use oracle::steps::Box_;
use oracle::value;

fn core<T>(result: ata_wmma::Result<T>) -> Result<T> {
    result.map_err(|e| match e {
        AtaError::Gpu(e) => e,
        other => Error::value("ata", other.to_string()),
    })
}

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
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let c = &finite(c);
        let (right, rho) = (upload(b, &c.vector(1))?, upload(b, &c.rho())?);
        let mut x = Tensor::<B, f32, 1>::scratch(b, [c.len()])?;
        kernels::start(b, c.batch(), c.bounds, right.flat(), rho.flat(), x.flat_mut())?;
        Ok(vec![Output::of(b, &x)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let c = &finite(c);
        let (b, rho) = (c.vector(1), c.rho());
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
        kernels::fista_step(b, c.batch(), c.bounds, c.lambda, views, x.flat_mut(), y.flat_mut(), t.flat_mut())?;
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
        kernels::sd_step(b, c.batch(), c.bounds, [c.lambda, 0.5], g.flat(), ag.flat(), x.flat_mut())?;
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

mod dots {
    use super::*;
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
        let [x, y, z] = [upload(b, &c.vector(1))?, upload(b, &c.vector(2))?, upload(b, &c.vector(3))?];
        let mut out = Tensor::<B, f64, 1>::scratch(b, [3 * c.batch().lines()])?;
        kernels::dots(b, c.batch(), [x.flat(), y.flat(), z.flat()], out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(c: &Lines) -> Outputs {
        let [x, y, z] = [1, 2, 3].map(|k| c.vector(k));
        let mut out = Vec::new();
        for l in 0..c.batch().lines() {
            let (x, y, z) = (c.line(&x, l), c.line(&y, l), c.line(&z, l));
            let mut sums = [0.0; 3];
            for i in 0..c.n {
                sums[0] += x[i] * y[i];
                sums[1] += y[i] * y[i];
                sums[2] += x[i] * (y[i] - z[i]);
            }
            out.extend(sums);
        }
        vec![wide(out)]
    }
}
twins! {
    kernels = ["ata_dots"];
    /// another order of up to 600 terms up to 2
    dots_line: lines(), Lines => |b, c| dots::run(b, c), oracle = dots::expected,
        tolerance = |c: &Lines| Tolerance::abs(4.0 * (c.n * c.n) as f64 * 2f64.powi(-53)), twins = Tolerance::EXACT;
}

mod quantise {
    use super::*;
    fn inverse(c: &Lines) -> Vec<u32> {
        let mut all: Vec<u32> = (0..c.n as u32).collect();
        all.sort_by_key(|&i| oracle::hash(c.seed ^ 0x15, i.into()));
        all
    }
    /// Values beyond both ends, and exact halves.
    fn x(c: &Lines) -> Vec<f64> {
        let of = |v: f64| if v > 0.5 { ((v * 255.0).floor() + 0.5) / 255.0 } else { 1.5 * v };
        c.vector(1).into_iter().map(|v| f64::from(of(v) as f32)).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, c: &Lines, wide: bool) -> Result<Outputs> {
        let x = upload(b, &x(c))?;
        let inverse = Tensor::from_slice(b, [c.n], &inverse(c))?;
        let interleaved = c.seed.is_multiple_of(2);
        if wide {
            let mut out = Tensor::<B, u16, 1>::scratch(b, [c.len()])?;
            kernels::quantise(b, c.batch(), x.flat(), inverse.flat(), interleaved, out.flat_mut())?;
            return Ok(vec![Output::U32(vec![c.len()], out.to_vec(b)?.into_iter().map(u32::from).collect())]);
        }
        let mut out = Tensor::<B, u8, 1>::scratch(b, [c.len()])?;
        kernels::quantise(b, c.batch(), x.flat(), inverse.flat(), interleaved, out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(c: &Lines, top: f64) -> Outputs {
        let (x, inverse) = (x(c), inverse(c));
        let mut out = vec![0.0; c.len()];
        for f in 0..c.frames {
            for channel in 0..c.channels {
                for place in 0..c.n {
                    let v = x[(f * c.channels + channel) * c.n + inverse[place] as usize];
                    let at =
                        if c.seed.is_multiple_of(2) { place * c.channels + channel } else { channel * c.n + place };
                    out[f * c.channels * c.n + at] = (top * v + 0.5).floor().max(0.0).min(top);
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

fn scenes() -> impl Strategy<Value = Scene> {
    // Sides that are multiples of four, as rows are, take the path of whole words.
    let side = prop_oneof![Just(4usize), Just(8), 1..11_usize];
    (1..36_usize, 1..4_usize, side, 0..20_usize, 0..20_usize, 0..11_usize, 0..1000_u64).prop_map(
        |(n, channels, side, width, height, frames, seed)| {
            let (width, height) = (side + width, side + height);
            let width = if seed % 2 == 0 { width.next_multiple_of(4) } else { width };
            Scene { n, channels, side, width, height, frames, seed }
        },
    )
}

fn patterns(s: &Scene) -> Result<Patterns> {
    core(Patterns::new([s.n, s.channels, s.side], s.patterns(), s.corners(), [s.width, s.height]))
}

mod gram {
    use super::*;
    fn list(s: &Scene) -> Vec<(u32, u32)> {
        let nb = s.n.div_ceil(16) as u32;
        (0..nb).flat_map(|i| (i..nb).map(move |j| (i, j))).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, s: &Scene) -> Result<Outputs> {
        let sums = core(kernels::gram_u8(b, &patterns(s)?, &list(s)))?;
        Ok(vec![Output::U32(vec![sums.len()], sums)])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let mut out = Vec::new();
        for c in 0..s.channels {
            for (i, j) in list(s) {
                for at in 0..256 {
                    let (l, m) = (16 * i as usize + at / 16, 16 * j as usize + at % 16);
                    out.push(if l < s.n && m < s.n { s.gram(c, l, m) as f64 } else { 0.0 });
                }
            }
        }
        vec![super::wide(out)]
    }
}
twins! {
    kernels = ["ata_gram_u8"];
    /// whole numbers
    gram_exact: scenes(), Scene => |b, c| gram::run(b, c), oracle = gram::expected, tolerance = Tolerance::EXACT;
}

mod atb {
    use super::*;
    fn transfer(s: &Scene) -> Transfer {
        let of = |c: usize, v: usize| (oracle::hash(s.seed ^ 31, (c * 256 + v) as u64) >> 48) as u16;
        match s.seed % 3 {
            0 => Transfer::Table((0..s.channels).map(|c| std::array::from_fn(|v| of(c, v))).collect()),
            _ => Transfer::Identity,
        }
    }
    pub(super) fn run<B: AtaBackend>(b: &B, s: &Scene) -> Result<Outputs> {
        let interleaved = s.seed.is_multiple_of(5);
        let layout = if interleaved { FrameLayout::Interleaved } else { FrameLayout::Planar };
        let device = core(DevicePatterns::new(b, &patterns(s)?))?;
        let frames = s.pictures(interleaved);
        let frames = Tensor::from_slice(b, [frames.len()], &frames)?;
        let mut out = Tensor::<B, u64, 1>::scratch(b, [s.frames * s.channels * s.n])?;
        kernels::atb_u8(b, &device, frames.flat(), layout, &transfer(s), out.flat_mut())?;
        // Below 2^53, so that f64 holds them.
        Ok(vec![super::wide(out.to_vec(b)?.into_iter().map(|v| v as f64).collect())])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let table = transfer(s);
        let of = |c: usize, v: u8| match &table {
            Transfer::Table(tables) => u64::from(tables[c][usize::from(v)]),
            Transfer::Identity => v.into(),
        };
        let mut out = Vec::new();
        for f in 0..s.frames {
            for c in 0..s.channels {
                for l in 0..s.n {
                    out.push(s.atb(f, c, l, of) as f64);
                }
            }
        }
        vec![super::wide(out)]
    }
}
twins! {
    kernels = ["ata_atb_u8"];
    /// whole numbers
    atb_exact: scenes(), Scene => |b, c| atb::run(b, c), oracle = atb::expected, tolerance = Tolerance::EXACT;
}

mod render {
    use super::*;
    fn x(s: &Scene) -> Vec<f64> {
        (0..(s.frames * s.channels * s.n) as u64).map(|i| value(s.seed, i, false)).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, s: &Scene) -> Result<Outputs> {
        let patterns = patterns(s)?;
        let device = core(DevicePatterns::new(b, &patterns))?;
        let tiles = core(RenderTiles::new(b, &patterns))?;
        let x = upload(b, &x(s))?;
        let mut out = Tensor::<B, f32, 1>::scratch(b, [s.frames * s.channels * s.width * s.height])?;
        kernels::render(b, &device, &tiles, x.flat(), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let x = x(s);
        let mut out = Vec::new();
        for line in 0..s.frames * s.channels {
            for row in 0..s.height {
                for column in 0..s.width {
                    let light = |l: usize| s.light(l, line % s.channels, row, column) as f64;
                    out.push((0..s.n).map(|l| light(l) * x[line * s.n + l]).sum::<f64>() / 255.0);
                }
            }
        }
        vec![super::wide(out)]
    }
}
twins! {
    kernels = ["ata_render"];
    /// a rounding for each of up to 36 terms up to 255, over 255
    render_close: scenes(), Scene => |b, c| render::run(b, c), oracle = render::expected,
        tolerance = |s: &Scene| Tolerance::abs(((s.n + 2) * s.n) as f64 * 2f64.powi(-24)), twins = Tolerance::EXACT;
}
