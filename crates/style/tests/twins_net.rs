//! The layers of the network plan: the CPU twins against scalar f64 loops, and CUDA against the CPU.

#[path = "oracle/net.rs"]
mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, Value};
use gpu_core::{Backend, Result, Tensor, twins};
use half::f16;
use oracle::Images;
use style::kernels::{
    BodyCall, FirstCall, LastCall, NET_EPSILON, NetBody, NetElem, NetFirst, NetLast, NetScratch, NetWeights, Sample,
    Scene, Tiles, Window, net_body, net_first, net_last,
};
use style::mix::Rounding;

/// What a case looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Look {
    /// Values whose sums are exact in every order.
    Exact,
    /// Values that are not.
    Values,
    /// The statistics of such values, in the unit of the output: mean, and root of the variance plus ε.
    Statistics,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    look: Look,
    n: usize,
    h: usize,
    w: usize,
    /// Rows and columns that the scene has more than the picture, or the result fewer.
    more: [usize; 2],
    seed: u32,
    add: bool,
    keep: bool,
    bytes: bool,
    nearest: bool,
    tiles: Tiles,
}

fn cases(sides: [std::ops::Range<usize>; 2], most: usize) -> impl Strategy<Value = Case> {
    let [h, w] = sides;
    let look = prop_oneof![Just(Look::Exact), Just(Look::Values), Just(Look::Statistics)];
    let tiles = prop_oneof![Just(Tiles::Wide), Just(Tiles::Small)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (look, 1..=most, h, w, [0..4_usize, 0..4_usize], 0..1000_u32, flags, tiles).prop_map(
        |(look, n, h, w, more, seed, (add, keep, bytes, nearest), tiles)| {
            // The first layer's scene is at most a reflection larger, and the result of the last one is a picture.
            let more = [more[0].min(h.saturating_sub(5)), more[1].min(w.saturating_sub(5))];
            Case { look, n, h, w, more, seed, add, keep, bytes, nearest, tiles }
        },
    )
}

/// Sizes around the tiles of the 3 × 3 layers, which have 2 to 8 rows and 16 columns.
fn around_tiles() -> impl Strategy<Value = Case> {
    cases([2..12, 2..20], 2)
}

/// Whole numbers for exact sums, else noise; `which` makes arrays of one case differ.
fn fill(c: &Case, which: u32) -> Fill {
    let seed = c.seed * 16 + which;
    Fill::of(if c.look == Look::Exact { FillKind::Ints(seed) } else { FillKind::Noise(seed) })
}

/// Weights of unit gain; quarters for exact sums. Both are numbers of `f16`.
fn weights(c: &Case, count: usize, products: usize) -> Vec<f32> {
    let gain = if c.look == Look::Exact { 0.25 } else { 1.0 / (products as f64).sqrt() };
    let round = |v: f64| f16::from_f64(v * gain).to_f32();
    fill(c, 1).values::<f64>(count).into_iter().map(round).collect()
}

/// `γ, β` by channels.
fn gamma_beta(cout: usize) -> Vec<f32> {
    (0..cout).flat_map(|c| [1.0 + (c % 5) as f32 * 0.25, (c % 3) as f32 - 1.0]).collect()
}

/// Coefficients of the input's norm: `x * scale + shift` of every image and channel, as the element type has them.
fn norm<T: NetElem>(c: &Case, cin: usize) -> (Vec<f32>, Vec<[f64; 2]>) {
    let exact = c.look == Look::Exact;
    let values = fill(c, 2).values::<f32>(2 * c.n * cin);
    let (mut stored, mut meant) = (Vec::new(), Vec::new());
    for (i, two) in values.chunks_exact(2).enumerate() {
        let (scale, shift) = if exact { ([1.0, -1.0, 2.0][i % 3], (i % 4) as f32) } else { (two[0] + 1.5, two[1]) };
        if T::COEFFICIENTS == 3 {
            let mean = if exact { 1.0 } else { two[1] * 0.5 };
            stored.extend([mean, scale, shift]);
            meant.push([f64::from(scale), f64::from(shift) - f64::from(scale) * f64::from(mean)]);
        } else {
            stored.extend([scale, shift]);
            meant.push([f64::from(scale), f64::from(shift)]);
        }
    }
    (stored, meant)
}

fn upload<B: Backend, T: gpu_core::Elem>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}

/// Mean and root of the variance plus ε from coefficients.
fn statistics<B: Backend, T: NetElem>(b: &B, norm: &Tensor<B, f32, 1>, cout: usize) -> Result<Outputs> {
    let gamma_beta = gamma_beta(cout);
    let (mut means, mut roots) = (Vec::new(), Vec::new());
    for (i, c) in norm.to_vec(b)?.chunks_exact(T::COEFFICIENTS).enumerate() {
        let (gamma, beta) = (f64::from(gamma_beta[i % cout * 2]), f64::from(gamma_beta[i % cout * 2 + 1]));
        let [first, second] = [c[0], c[1]].map(f64::from);
        let (mean, scale) = if T::COEFFICIENTS == 3 { (first, second) } else { ((beta - second) / first, first) };
        means.push(mean as f32);
        roots.push((gamma / scale) as f32);
    }
    let shape = vec![means.len() / cout, cout];
    Ok(vec![Output::F32(shape.clone(), means), Output::F32(shape, roots)])
}

fn numbers(y: &Images) -> Output {
    Output::F64(vec![y.n, y.h, y.w, y.c], y.values.clone())
}

/// What an oracle's result becomes for a case.
fn looked_at(c: &Case, y: &Images, more: Option<Output>) -> Outputs {
    if c.look != Look::Statistics {
        return std::iter::once(numbers(y)).chain(more).collect();
    }
    let (means, roots) = oracle::statistics(y, f64::from(NET_EPSILON));
    let shape = vec![y.n, y.c];
    vec![Output::F64(shape.clone(), means), Output::F64(shape, roots)]
}

/// What roundings can make of sums whose terms have these magnitudes together, for `terms` terms: in `f32` every term and
/// the norm of its operand; in `f16` also the rounding of both operands, of the output, and of the mean of a flat plane.
/// Tensor cores may cut where they should round, and align the terms of one step: two units a term.
fn bound<T: NetElem>(c: &Case, magnitudes: &Images, terms: usize, rounded: bool) -> Tolerance {
    if c.look == Look::Exact {
        return Tolerance::EXACT;
    }
    let most = magnitudes.values.iter().copied().fold(0.0, f64::max);
    let half = if T::COEFFICIENTS == 2 { 2.0 + f64::from(u8::from(rounded)) } else { 0.0 };
    let sums = (2 * terms + 8) as f64 * 2f64.powi(-24) * if half > 0.0 { 2.0 } else { 1.0 };
    Tolerance::abs(most * (sums + half * 2f64.powi(-11)))
}

/// In `f32` both twins add in one order; statistics are merged in others.
fn between<T: NetElem>(c: &Case, bound: Tolerance) -> Tolerance {
    if T::COEFFICIENTS == 3 && c.look == Look::Values { Tolerance::EXACT } else { bound }
}

mod body {
    use super::*;

    fn x<T: Value>(c: &Case, cin: usize, which: u32) -> Vec<T> {
        fill(c, which).values(c.n * c.h * c.w * cin)
    }

    /// `keep` belongs to layers of the same size.
    fn keeps(c: &Case, window: Window) -> bool {
        c.keep && window == Window::Same && c.look != Look::Statistics
    }

    pub(super) fn run<B: NetBody<T>, T: NetElem + Twin>(
        b: &B,
        c: &Case,
        window: Window,
        [cin, cout]: [usize; 2],
    ) -> Result<Outputs> {
        let from = Scene { n: c.n, h: c.h, w: c.w, c: cin };
        let [ho, wo] = match window {
            Window::Down => [c.h.div_ceil(2), c.w.div_ceil(2)],
            Window::Up => [2 * c.h, 2 * c.w],
            _ => [c.h, c.w],
        };
        let dense = weights(c, cout * cin * 9, cin * 9);
        let weights = NetWeights::<B, T>::new(b, window, [cout, cin], [cout, cin], &dense)?;
        let (x, add) = (upload(b, &x::<T>(c, cin, 3))?, upload(b, &x::<T>(c, cin, 4))?);
        let (norm, gamma_beta) = (upload(b, &norm::<T>(c, cin).0)?, upload(b, &gamma_beta(cout))?);
        let mut keep = Tensor::<B, T, 1>::scratch(b, [from.len()])?;
        let mut y = Tensor::<B, T, 4>::scratch(b, [c.n, ho, wo, cout])?;
        let mut out_norm = Tensor::scratch(b, [c.n * cout * T::COEFFICIENTS])?;
        let mut scratch = NetScratch::for_layer::<T>(b, window, from, cout, c.tiles)?;
        let call = BodyCall {
            x: x.flat(),
            norm: norm.flat(),
            relu: !c.add,
            add: c.add.then(|| add.flat()),
            keep: keeps(c, window).then(|| keep.flat_mut()),
            weights: &weights,
            gamma_beta: gamma_beta.flat(),
            y: y.flat_mut(),
            out_norm: out_norm.flat_mut(),
            scratch: &mut scratch,
        };
        net_body(b, from, c.tiles, call)?;
        if c.look == Look::Statistics {
            return statistics::<B, T>(b, &out_norm, cout);
        }
        let mut out = vec![Output::of(b, &y)?];
        if keeps(c, window) {
            out.push(Output::of(b, &keep)?);
        }
        Ok(out)
    }

    fn expected<T: NetElem + Twin>(c: &Case, window: Window, [cin, cout]: [usize; 2]) -> (Images, Images, Images) {
        let (x, add, norm) = (x::<T>(c, cin, 3), x::<T>(c, cin, 4), norm::<T>(c, cin).1);
        let mut i = 0;
        let finished = Images::new([c.n, c.h, c.w, cin], |[n, _, _, channel]| {
            let [scale, shift] = norm[n * cin + channel];
            let z = scale * x[i].to_f64() + shift + if c.add { add[i].to_f64() } else { 0.0 };
            i += 1;
            if c.add { z } else { z.max(0.0) }
        });
        let weights: Vec<f64> = weights(c, cout * cin * 9, cin * 9).into_iter().map(f64::from).collect();
        let enlarged = (window == Window::Up).then(|| finished.enlarged());
        let stride = if window == Window::Down { 2 } else { 1 };
        let (sums, magnitudes) = oracle::convolve(enlarged.as_ref().unwrap_or(&finished), &weights, cout, 3, stride);
        (finished, sums, magnitudes)
    }

    pub(super) fn oracle<T: NetElem + Twin>(c: &Case, window: Window, channels: [usize; 2]) -> Outputs {
        let (finished, sums, _) = expected::<T>(c, window, channels);
        looked_at(c, &sums, keeps(c, window).then(|| Output::F64(vec![finished.values.len()], finished.values)))
    }

    pub(super) fn bound<T: NetElem + Twin>(c: &Case, window: Window, channels: [usize; 2]) -> Tolerance {
        if c.look == Look::Exact {
            return Tolerance::EXACT;
        }
        super::bound::<T>(c, &expected::<T>(c, window, channels).2, channels[0] * 9, true)
    }
}

/// One layer of the body in f16: operands exact in f16 where sums must be, otherwise the bound of its roundings.
macro_rules! half {
    (run $b:ident, $c:ident, $w:ident, $i:literal, $o:literal) => {
        body::run::<_, f16>($b, $c, Window::$w, [$i, $o])
    };
}

twins! {
    kernels = ["net_same_128_128_wide", "net_same_128_128_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    same_128: cases([2..10, 2..18], 1), Case => |b, c| half!(run b, c, Same, 128, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [128, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [128, 128]);
}
twins! {
    kernels = ["net_same_64_64_wide", "net_same_64_64_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    same_64: around_tiles(), Case => |b, c| half!(run b, c, Same, 64, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [64, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [64, 64]);
}
twins! {
    kernels = ["net_down_64_128_wide", "net_down_64_128_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_64_128: cases([2..20, 2..37], 1), Case => |b, c| half!(run b, c, Down, 64, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [64, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [64, 128]);
}
twins! {
    kernels = ["net_down_32_64_wide", "net_down_32_64_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_32_64: cases([2..20, 2..37], 2), Case => |b, c| half!(run b, c, Down, 32, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [32, 64]);
}
twins! {
    kernels = ["net_down_16_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_16_32: cases([2..20, 2..37], 2), Case => |b, c| half!(run b, c, Down, 16, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [16, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [16, 32]);
    /// more than 64 tiles, whose statistics are merged in groups
    large_down_16_32: cases([140..150, 250..270], 1), Case => |b, c| half!(run b, c, Down, 16, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [16, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [16, 32]);
}
twins! {
    kernels = ["net_up_128_64_wide", "net_up_128_64_small"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_128_64: cases([2..7, 2..18], 1), Case => |b, c| half!(run b, c, Up, 128, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [128, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [128, 64]);
}
twins! {
    kernels = ["net_up_64_32_wide", "net_up_64_32_small"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_64_32: around_tiles(), Case => |b, c| half!(run b, c, Up, 64, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [64, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [64, 32]);
}
twins! {
    kernels = ["net_up_32_16_wide"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_32_16: around_tiles(), Case => |b, c| half!(run b, c, Up, 32, 16),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [32, 16]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [32, 16]);
}
twins! {
    kernels = ["net_same_f32_64"];
    /// exact sums, or one rounding a term
    same_f32_64: around_tiles(), Case => |b, c| body::run::<_, f32>(b, c, Window::Same, [32, 128]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 128]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 128]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 128]));
}
twins! {
    kernels = ["net_same_f32_32"];
    /// exact sums, or one rounding a term
    same_f32_32: cases([2..20, 2..20], 2), Case => |b, c| body::run::<_, f32>(b, c, Window::Same, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 32]));
}
twins! {
    kernels = ["net_down_f32_64"];
    /// exact sums, or one rounding a term
    down_f32_64: cases([2..20, 2..37], 2), Case => |b, c| body::run::<_, f32>(b, c, Window::Down, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 64]));
}
twins! {
    kernels = ["net_down_f32_32"];
    /// exact sums, or one rounding a term
    down_f32_32: cases([2..36, 2..37], 1), Case => |b, c| body::run::<_, f32>(b, c, Window::Down, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 32]));
}
twins! {
    kernels = ["net_up_f32_64"];
    /// exact sums, or one rounding a term
    up_f32_64: around_tiles(), Case => |b, c| body::run::<_, f32>(b, c, Window::Up, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 64]));
}
twins! {
    kernels = ["net_up_f32_32"];
    /// exact sums, or one rounding a term
    up_f32_32: cases([2..20, 2..20], 1), Case => |b, c| body::run::<_, f32>(b, c, Window::Up, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 32]));
    /// more than 64 parts, whose statistics are merged in groups
    large_up_f32_32: cases([60..70, 80..90], 1), Case => |b, c| body::run::<_, f32>(b, c, Window::Up, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 32]));
}

mod first {
    use super::*;

    /// Values of 0..255, whole where sums must be exact.
    fn picture(c: &Case) -> Vec<f32> {
        let values = Fill::of(FillKind::Noise(c.seed * 16 + 3)).values::<f32>(c.n * 3 * c.h * c.w);
        let whole = c.look == Look::Exact || c.bytes;
        let value = |v: f32| (v + 1.0) * 127.5;
        values.into_iter().map(|v| if whole { value(v).floor() } else { value(v) }).collect()
    }

    fn run_as<B: NetFirst<S, T>, S: Sample, T: NetElem + Twin>(
        b: &B,
        c: &Case,
        cout: usize,
        x: &[S],
    ) -> Result<Outputs> {
        let to = Scene { n: c.n, h: c.h + c.more[0], w: c.w + c.more[1], c: cout };
        let dense = weights(c, cout * 243, 243);
        let weights = NetWeights::<B, T>::new(b, Window::First, [cout, 3], [cout, 3], &dense)?;
        let (x, gamma_beta) = (upload(b, x)?, upload(b, &gamma_beta(cout))?);
        let mut y = Tensor::<B, T, 4>::scratch(b, [c.n, to.h, to.w, cout])?;
        let mut norm = Tensor::scratch(b, [c.n * cout * T::COEFFICIENTS])?;
        let from = Scene { c: 3, ..to };
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, from, cout, c.tiles)?;
        let call = FirstCall {
            x: x.flat(),
            weights: &weights,
            gamma_beta: gamma_beta.flat(),
            y: y.flat_mut(),
            norm: norm.flat_mut(),
            scratch: &mut scratch,
        };
        net_first(b, [c.h, c.w], to, c.tiles, call)?;
        if c.look == Look::Statistics { statistics::<B, T>(b, &norm, cout) } else { Ok(vec![Output::of(b, &y)?]) }
    }

    pub(super) fn run<B: NetFirst<f32, T> + NetFirst<u8, T>, T: NetElem + Twin>(
        b: &B,
        c: &Case,
        cout: usize,
    ) -> Result<Outputs> {
        let picture = picture(c);
        if c.bytes {
            return run_as::<B, u8, T>(b, c, cout, &picture.iter().map(|&v| v as u8).collect::<Vec<_>>());
        }
        run_as::<B, f32, T>(b, c, cout, &picture)
    }

    fn expected(c: &Case, cout: usize) -> (Images, Images) {
        let picture = picture(c);
        let mirror = |i: usize, n: usize| if i < n { i } else { 2 * n - 2 - i };
        let size = [c.n, c.h + c.more[0], c.w + c.more[1], 3];
        let scene = Images::new(size, |[n, y, x, k]| {
            let (y, x) = (mirror(y, c.h), mirror(x, c.w));
            let at = if c.bytes { ((n * c.h + y) * c.w + x) * 3 + k } else { ((n * 3 + k) * c.h + y) * c.w + x };
            f64::from(picture[at]) - 128.0
        });
        let weights: Vec<f64> = weights(c, cout * 243, 243).into_iter().map(f64::from).collect();
        oracle::convolve(&scene, &weights, cout, 9, 1)
    }

    pub(super) fn oracle(c: &Case, cout: usize) -> Outputs {
        looked_at(c, &expected(c, cout).0, None)
    }

    pub(super) fn bound<T: NetElem>(c: &Case, cout: usize) -> Tolerance {
        super::bound::<T>(c, &expected(c, cout).1, 243, true)
    }
}

twins! {
    kernels = ["net_first_planes_32_wide", "net_first_bytes_32_wide", "net_first_planes_32_small", "net_first_bytes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_32: cases([5..20, 5..20], 2), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_planes_16_wide", "net_first_bytes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_16: cases([5..20, 5..20], 2), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
    /// more than 64 tiles, whose statistics are merged in groups
    large_first_16: cases([120..130, 140..150], 1), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_planes_f32", "net_first_bytes_f32"];
    /// exact sums, or one rounding a term
    first_f32: cases([5..20, 5..20], 2), Case => |b, c| first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}

mod last {
    use super::*;

    const BIAS: [f32; 3] = [0.5, 120.0, 300.0];

    fn x<T: Value>(c: &Case, cin: usize) -> Vec<T> {
        fill(c, 3).values(c.n * c.h * c.w * cin)
    }

    /// Rows and columns of the result.
    fn size(c: &Case) -> [usize; 2] {
        [c.h - c.more[0], c.w - c.more[1]]
    }

    fn rounding(c: &Case) -> Rounding {
        if c.nearest { Rounding::Nearest } else { Rounding::Truncate }
    }

    fn run_as<B: NetLast<S, T>, S: Sample + Twin, T: NetElem + Value>(b: &B, c: &Case, cin: usize) -> Result<Outputs> {
        let from = Scene { n: c.n, h: c.h, w: c.w, c: cin };
        let dense = weights(c, 3 * cin * 81, cin * 81);
        let weights = NetWeights::<B, T>::new(b, Window::Last, [3, cin], [3, cin], &dense)?;
        let (x, norm, bias) = (upload(b, &x::<T>(c, cin))?, upload(b, &norm::<T>(c, cin).0)?, upload(b, &BIAS)?);
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, Scene { c: 3, ..from }, cin, c.tiles)?;
        let [h, w] = size(c);
        let mut y = Tensor::<B, S, 1>::scratch(b, [c.n * 3 * h * w])?;
        let mut flag = Tensor::<B, u32, 1>::scratch(b, [1])?;
        let call = LastCall {
            x: x.flat(),
            norm: norm.flat(),
            weights: &weights,
            bias: bias.flat(),
            y: y.flat_mut(),
            rounding: rounding(c),
            flag: flag.flat_mut(),
            scratch: &mut scratch,
        };
        net_last(b, from, size(c), c.tiles, call)?;
        Ok(vec![Output::of(b, &y)?, Output::of(b, &flag)?])
    }

    pub(super) fn run<B: NetLast<f32, T> + NetLast<u8, T>, T: NetElem + Value>(
        b: &B,
        c: &Case,
        cin: usize,
    ) -> Result<Outputs> {
        if c.bytes { run_as::<B, u8, T>(b, c, cin) } else { run_as::<B, f32, T>(b, c, cin) }
    }

    fn expected<T: NetElem + Value>(c: &Case, cin: usize) -> (Images, Images) {
        let (x, norm) = (x::<T>(c, cin), norm::<T>(c, cin).1);
        let mut i = 0;
        let finished = Images::new([c.n, c.h, c.w, cin], |[n, _, _, channel]| {
            let [scale, shift] = norm[n * cin + channel];
            i += 1;
            (scale * x[i - 1].to_f64() + shift).max(0.0)
        });
        let weights: Vec<f64> = weights(c, 3 * cin * 81, cin * 81).into_iter().map(f64::from).collect();
        oracle::convolve(&finished, &weights, 3, 9, 1)
    }

    pub(super) fn oracle<T: NetElem + Value>(c: &Case, cin: usize) -> Outputs {
        let (sums, [h, w]) = (expected::<T>(c, cin).0, size(c));
        let mut values = vec![0.0; c.n * 3 * h * w];
        for (n, y, x, k) in (0..values.len()).map(|i| (i / (3 * h * w), i / w % h, i % w, i / (h * w) % 3)) {
            let v = sums.at([n, y, x, k]) + f64::from(BIAS[k]);
            if c.bytes {
                let v = v.clamp(0.0, 255.0);
                values[((n * h + y) * w + x) * 3 + k] = if c.nearest { v.round() } else { v.floor() };
            } else {
                values[((n * 3 + k) * h + y) * w + x] = v;
            }
        }
        vec![Output::F64(vec![values.len()], values), Output::U32(vec![1], vec![0])]
    }

    /// The bias is one term more; a byte may fall to the other side of a whole number.
    pub(super) fn bound<T: NetElem + Value>(c: &Case, cin: usize) -> Tolerance {
        if c.look == Look::Exact {
            return Tolerance::EXACT;
        }
        let mut magnitudes = expected::<T>(c, cin).1;
        magnitudes.values.iter_mut().for_each(|m| *m += 300.0);
        let bound = super::bound::<T>(c, &magnitudes, cin * 81, false);
        if c.bytes { Tolerance::abs(bound.abs.ceil()) } else { bound }
    }

    /// In `f32` both twins add in one order.
    pub(super) fn between<T: NetElem + Value>(c: &Case, cin: usize) -> Tolerance {
        if T::COEFFICIENTS == 3 { Tolerance::EXACT } else { bound::<T>(c, cin) }
    }
}

twins! {
    kernels = ["net_last_planes_32_wide", "net_last_bytes_32_wide", "net_last_planes_32_small", "net_last_bytes_32_small"];
    /// exact sums, or the roundings of operands and sums
    last_32: cases([5..20, 5..60], 2), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_planes_16_wide", "net_last_bytes_16_wide"];
    /// exact sums, or the roundings of operands and sums
    last_16: cases([5..20, 5..60], 2), Case => |b, c| last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_last_planes_f32", "net_last_bytes_f32"];
    /// exact sums, or one rounding a term
    last_f32: cases([5..36, 5..36], 2), Case => |b, c| last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
