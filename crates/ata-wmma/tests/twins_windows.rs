//! Sums over windows: against scalar loops, and CUDA against the CPU to the bit.

mod oracle;

use ata_wmma::kernels::{self, RenderTiles};
use ata_wmma::{AtaBackend, AtaError, DevicePatterns, FrameLayout, Patterns, Transfer};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Error, Result, Tensor, twins};
use oracle::patterns::Scene;
use oracle::value;

fn core<T>(result: ata_wmma::Result<T>) -> Result<T> {
    result.map_err(|e| match e {
        AtaError::Gpu(e) => e,
        other => Error::value("ata", other.to_string()),
    })
}

fn upload<B: AtaBackend>(b: &B, values: &[f64]) -> Result<Tensor<B, f32, 1>> {
    let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_slice(b, [values.len()], &narrow)
}

fn wide(values: Vec<f64>) -> Output {
    Output::F64(vec![values.len()], values)
}

fn scenes() -> impl Strategy<Value = Scene> {
    // Sides that are multiples of four, as rows are, take the path of whole words.
    // In large ones a lane meets its window several times; that of walls has a path of its own.
    let side = prop_oneof![
        3 => Just(4_usize),
        3 => Just(8),
        3 => 1..11_usize,
        1 => prop::sample::select(vec![16_usize, 20, 24, 28]),
        1 => 11..24_usize,
        1 => Just(64),
    ];
    (1..36_usize, 1..4_usize, side, 0..20_usize, 0..20_usize, 0..11_usize, 0..1000_u64).prop_map(
        |(n, channels, side, width, height, frames, seed)| {
            let (width, height) = (side + width, side + height);
            let width = if seed % 2 == 0 { width.next_multiple_of(4) } else { width };
            Scene { n, channels, side, width, height, frames, seed }
        },
    )
}

/// Scenes of whole words, planar and without a table, which a block keeps in shared memory.
fn staged_scenes() -> impl Strategy<Value = Scene> {
    scenes().prop_map(|s| {
        let side = s.side.next_multiple_of(4);
        let (width, height) = (s.width.max(side).next_multiple_of(4), s.height.max(side));
        Scene { side, width, height, seed: 15 * s.seed + 1, ..s }
    })
}

/// Windows of walls that begin inside of words; more of them than a block has warps.
fn walls() -> Vec<Scene> {
    vec![Scene { n: 20, channels: 2, side: 64, width: 84, height: 67, frames: 9, seed: 16 }]
}

/// Scenes of single bytes, which no block keeps.
fn unstaged_scenes() -> impl Strategy<Value = Scene> {
    scenes().prop_map(|s| Scene { side: s.side | 1, width: s.width + 1, height: s.height + 1, ..s })
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
    kernels = ["ata_gram_u8", "ata_gram_u8_staged"];
    /// whole numbers
    gram_exact: scenes(), Scene => |b, c| gram::run(b, c), oracle = gram::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_gram_u8"];
    /// whole numbers
    gram_unstaged_exact: unstaged_scenes(), Scene => |b, c| gram::run(b, c), oracle = gram::expected,
        tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_gram_u8_staged"];
    /// whole numbers
    gram_staged_exact: starting_with(walls(), staged_scenes()), Scene => |b, c| gram::run(b, c), oracle = gram::expected,
        tolerance = Tolerance::EXACT;
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
    kernels = ["ata_atb_u8", "ata_atb_u8_staged"];
    /// whole numbers
    atb_exact: scenes(), Scene => |b, c| atb::run(b, c), oracle = atb::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_atb_u8_staged"];
    /// whole numbers
    atb_staged_exact: starting_with(walls(), staged_scenes()), Scene => |b, c| atb::run(b, c), oracle = atb::expected,
        tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["ata_atb_u8"];
    /// whole numbers
    atb_unstaged_exact: unstaged_scenes(), Scene => |b, c| atb::run(b, c), oracle = atb::expected,
        tolerance = Tolerance::EXACT;
}

mod scale {
    use super::*;
    fn sums(s: &Scene) -> Vec<u64> {
        // Below 2^53, as sums over windows are.
        (0..(s.frames * s.n) as u64).map(|i| oracle::hash(s.seed, i) >> (11 + i % 40)).collect()
    }
    const UNIT: f64 = 65025.0;
    pub(super) fn run<B: AtaBackend>(b: &B, s: &Scene) -> Result<Outputs> {
        let sums = Tensor::<B, u64, 1>::from_slice(b, [s.frames * s.n], &sums(s))?;
        let mut out = Tensor::<B, f32, 1>::scratch(b, [sums.len()])?;
        kernels::scale_sums(b, UNIT, sums.flat(), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }
    pub(super) fn expected(s: &Scene) -> Outputs {
        vec![super::wide(sums(s).into_iter().map(|v| v as f64 / UNIT).collect())]
    }
}
twins! {
    kernels = ["ata_scale_sums"];
    /// one rounding to f32 behind the division
    scale_sums: scenes(), Scene => |b, c| scale::run(b, c), oracle = scale::expected, tolerance = Tolerance::ulps(1),
        twins = Tolerance::EXACT;
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
