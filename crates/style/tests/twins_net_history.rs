//! Statistics of frames that follow one another: the CPU twin against scalar f64 loops, and CUDA against the CPU.

mod net_cases;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance};
use gpu_core::{Result, Tensor, twins};
use half::f16;
use net_cases::{gamma_beta, statistics, upload};
use style::kernels::{HistoryCall, NET_EPSILON, NetElem, NetHistory, Plane, Scene, net_history};

/// Frames of a case.
const FRAMES: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Case {
    channels: usize,
    h: usize,
    w: usize,
    own: f64,
    seed: u32,
}

fn cases(channels: [usize; 2]) -> impl Strategy<Value = Case> {
    let own = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64];
    let channels = prop_oneof![Just(channels[0]), Just(channels[1])];
    (channels, 2..40_usize, 2..40_usize, own, 0..1000_u32).prop_map(|(channels, h, w, own, seed)| Case {
        channels,
        h,
        w,
        own,
        seed,
    })
}

/// Mean and variance of a frame's planes: means of up to 3, variances of up to 2. Some are flat; in f16 nearly so, since a
/// reader takes the mean of a flat plane as f16 has it.
fn planes<T: NetElem>(c: &Case, frame: usize) -> Vec<[f64; 2]> {
    let least = if T::NAME == "f16" { 0.01 } else { 0.0 };
    let noise = Fill::of(FillKind::Noise(c.seed * 16 + frame as u32)).values::<f64>(2 * c.channels);
    let plane =
        |(i, two): (usize, &[f64])| [3.0 * two[0], if i % 7 == 6 { least } else { least + 1.9 * two[1] * two[1] }];
    noise.chunks_exact(2).enumerate().map(plane).collect()
}

fn run<B: NetHistory<T>, T: NetElem>(b: &B, c: &Case) -> Result<Outputs> {
    let norms = gamma_beta(c.channels);
    let gammas = upload(b, &norms)?;
    // What lies there before the first frame must not matter.
    let mut history = upload(b, &vec![7.0_f64; 2 * c.channels])?.reshape([c.channels, 2])?;
    let mut seen = Tensor::<B, u32, 1>::zeros(b, [1])?;
    let mut all = Vec::new();
    for frame in 0..FRAMES {
        let mut stats = vec![T::Stat::default(); T::stats_len(c.channels)];
        for (i, [mean, variance]) in planes::<T>(c, frame).into_iter().enumerate() {
            let plane = Plane { pixels: c.h * c.w, mean, variance };
            T::record(&mut stats, i, plane, [norms[2 * i], norms[2 * i + 1]]);
        }
        let mut stats = upload(b, &stats)?;
        let call = HistoryCall {
            stats: stats.flat_mut(),
            gamma_beta: gammas.flat(),
            history: history.flat_mut(),
            seen: seen.flat_mut(),
        };
        net_history(b, Scene { n: 1, h: c.h, w: c.w, c: c.channels }, c.own, call)?;
        all.extend(statistics::<B, T>(b, &stats, c.channels, c.h * c.w)?);
    }
    all.push(Output::of(b, &history)?);
    Ok(all)
}

fn oracle<T: NetElem>(c: &Case) -> Outputs {
    let mut before: Vec<[f64; 2]> = Vec::new();
    let mut all = Vec::new();
    for frame in 0..FRAMES {
        let mut now = planes::<T>(c, frame);
        for (now, before) in now.iter_mut().zip(&before) {
            for k in 0..2 {
                now[k] = (1.0 - c.own) * before[k] + c.own * now[k];
            }
        }
        let shape = vec![1, c.channels];
        all.push(Output::F64(shape.clone(), now.iter().map(|p| p[0]).collect()));
        all.push(Output::F64(shape, now.iter().map(|p| (p[1] + f64::from(NET_EPSILON)).sqrt()).collect()));
        before = now;
    }
    all.push(Output::F64(vec![c.channels, 2], before.concat()));
    all
}

/// Means of up to 3 and roots of up to 1.5 come through three roundings of `f32`; a variance from a scale has two.
const ROUNDED: f64 = 3e-6;

twins! {
    kernels = ["net_history_f16"];
    /// what is decoded is rounded to f32; sums are whole numbers of 2⁻³⁰ and less
    history_f16: cases([16, 128]), Case => |b, c| run::<_, f16>(b, c),
        oracle = |c: &Case| oracle::<f16>(c), tolerance = |_: &Case| Tolerance::abs(ROUNDED),
        twins = |_: &Case| Tolerance::EXACT;
}
twins! {
    kernels = ["net_history_f32"];
    /// statistics are f32
    history_f32: cases([32, 288]), Case => |b, c| run::<_, f32>(b, c),
        oracle = |c: &Case| oracle::<f32>(c), tolerance = |_: &Case| Tolerance::abs(ROUNDED),
        twins = |_: &Case| Tolerance::EXACT;
}
