//! Sums over windows of real patterns: against scalar loops, and CUDA against the CPU to the bit.

mod oracle;

use ata_wmma::kernels::{self, RenderTiles};
use ata_wmma::{AtaBackend, AtaError, DevicePatterns, FrameLayout, Patterns, Transfer};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Error, Result, Tensor, twins};
use oracle::patterns::Scene;
use oracle::value;

fn core<T>(result: ata_wmma::Result<T>) -> Result<T> {
    result.map_err(|e: AtaError| Error::from(e))
}

fn wide(values: Vec<f64>) -> Output {
    Output::F64(vec![values.len()], values)
}

fn scenes() -> impl Strategy<Value = Scene> {
    (1..36_usize, 1..4_usize, 1..20_usize, 0..20_usize, 0..20_usize, 0..11_usize, 0..1000_u64).prop_map(
        |(n, channels, side, width, height, frames, seed)| {
            let (width, height) = (side + width, side + height);
            Scene { n, channels, side, width, height, frames, seed }
        },
    )
}

fn patterns(s: &Scene) -> Result<Patterns<f32>> {
    core(Patterns::new([s.n, s.channels, s.side], s.reals(), s.corners(), [s.width, s.height]))
}

mod gram {
    use super::*;
    pub(super) fn list(s: &Scene) -> Vec<(u32, u32)> {
        let nb = s.n.div_ceil(16) as u32;
        (0..nb).flat_map(|i| (i..nb).map(move |j| (i, j))).collect()
    }
    pub(super) fn run<B: AtaBackend>(b: &B, s: &Scene) -> Result<Outputs> {
        let sums = core(kernels::gram_f32(b, &patterns(s)?, &list(s)))?;
        Ok(vec![Output::F32(vec![sums.len()], sums)])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let (mut out, corners) = (Vec::new(), s.corners());
        for c in 0..s.channels {
            for (i, j) in list(s) {
                for at in 0..256 {
                    let (l, m) = (16 * i as usize + at / 16, 16 * j as usize + at % 16);
                    let mut sum = 0.0;
                    if l < s.n && m < s.n {
                        let [top, left] = corners[l].map(|v| v as usize);
                        for (row, column) in (0..s.side).flat_map(|u| (0..s.side).map(move |v| (top + u, left + v))) {
                            sum += s.real_light(corners[l], [l, c], row, column)
                                * s.real_light(corners[m], [m, c], row, column);
                        }
                    }
                    out.push(sum);
                }
            }
        }
        vec![wide(out)]
    }
}
twins! {
    kernels = ["ata_gram_f32"];
    /// up to 361 products up to 85² in f64, in another order, and one rounding to f32
    gram_real: scenes(), Scene => |b, c| gram::run(b, c), oracle = gram::expected,
        tolerance = Tolerance { ulps: 1, rel: 0.0, abs: 361.0 * 361.0 * 85.0 * 85.0 * 2f64.powi(-53) },
        twins = Tolerance::EXACT;
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
        let mut out = Tensor::<B, f32, 1>::scratch(b, [s.frames * s.channels * s.n])?;
        kernels::atb_f32(b, &device, frames.flat(), layout, &transfer(s), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let table = transfer(s);
        let of = |c: usize, v: u8| match &table {
            Transfer::Table(tables) => f64::from(tables[c][usize::from(v)]) / 65535.0,
            Transfer::Identity => f64::from(v) / 255.0,
        };
        let (mut out, corners) = (Vec::new(), s.corners());
        for f in 0..s.frames {
            for c in 0..s.channels {
                for l in 0..s.n {
                    let [top, left] = corners[l].map(|v| v as usize);
                    let mut sum = 0.0;
                    for (row, column) in (0..s.side).flat_map(|u| (0..s.side).map(move |v| (top + u, left + v))) {
                        sum += s.real_light(corners[l], [l, c], row, column) * of(c, s.pixel(f, c, row, column));
                    }
                    out.push(sum);
                }
            }
        }
        vec![wide(out)]
    }
}
twins! {
    kernels = ["ata_atb_f32"];
    /// up to 361 products up to 85 with a table's light, which is rounded to f32, and one rounding
    atb_real: scenes(), Scene => |b, c| atb::run(b, c), oracle = atb::expected,
        tolerance = Tolerance { ulps: 1, rel: 0.0, abs: 361.0 * 85.0 * 2f64.powi(-24) }, twins = Tolerance::EXACT;
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
        let narrow: Vec<f32> = x(s).iter().map(|&v| v as f32).collect();
        let x = Tensor::<B, f32, 1>::from_slice(b, [narrow.len()], &narrow)?;
        let mut out = Tensor::<B, f32, 1>::scratch(b, [s.frames * s.channels * s.width * s.height])?;
        kernels::render_f32(b, &device, &tiles, x.flat(), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        let (x, corners) = (x(s), s.corners());
        let mut out = Vec::new();
        for line in 0..s.frames * s.channels {
            for row in 0..s.height {
                for column in 0..s.width {
                    let light = |l: usize| s.real_light(corners[l], [l, line % s.channels], row, column);
                    out.push((0..s.n).map(|l| light(l) * x[line * s.n + l]).sum::<f64>());
                }
            }
        }
        vec![wide(out)]
    }
}
twins! {
    kernels = ["ata_render_f32"];
    /// a rounding for each of up to 36 terms up to 85
    render_real: scenes(), Scene => |b, c| render::run(b, c), oracle = render::expected,
        tolerance = |s: &Scene| Tolerance::abs(85.0 * ((s.n + 2) * s.n) as f64 * 2f64.powi(-24)),
        twins = Tolerance::EXACT;
}
