//! Attention in windows, and the way from pictures to tokens and back: the CPU against plain f64 loops, CUDA against the CPU.

#[path = "oracle/vit.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]
mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin};
use gpu_core::{Result, Tensor, ViewMut, twins};
use half::f16;
use oracle::Rows;
use style::kernels::Sample as Colour;
use style::mix::Rounding;
use style::ops::{
    Attention, FEATURES, Frame, Linear, Pixels, Product, Sample, WindowAttention, decoded, fused_attention, patches,
    repaint,
};

#[derive(Clone, Debug)]
struct Case {
    images: usize,
    /// Windows in each direction.
    windows: [usize; 2],
    window: usize,
    heads: usize,
    /// Channels of a head.
    width: usize,
    shifted: bool,
    seed: u32,
    /// What is added to every logit by a bias of the queries.
    large: f32,
}

impl Case {
    fn dim(&self) -> usize {
        self.heads * self.width
    }
    fn grid(&self) -> [usize; 2] {
        self.windows.map(|n| n * self.window)
    }
    fn tokens(&self) -> usize {
        self.grid().iter().product()
    }
    fn scale(&self) -> f32 {
        (self.width as f32).sqrt().recip()
    }
    fn noise<T: Sample>(&self, which: u32, n: usize, gain: f32) -> Vec<T> {
        let values: Vec<f32> = Fill::of(FillKind::Noise(self.seed * 8 + which)).values(n);
        values.into_iter().map(|v| T::nearest(gain * v)).collect()
    }
    fn x<T: Sample>(&self) -> Vec<T> {
        self.noise(0, self.images * self.tokens() * self.dim(), 2.0)
    }
    fn global<T: Sample>(&self) -> Vec<T> {
        self.noise(1, self.images * self.dim(), 2.0)
    }
    fn qkv<T: Sample>(&self) -> (Vec<T>, Vec<f32>) {
        let dim = self.dim();
        let mut bias: Vec<f32> = (0..3 * dim).map(|i| (i % 5) as f32 * 0.25 - 0.5).collect();
        bias[..2 * dim].iter_mut().for_each(|b| *b += self.large);
        (self.noise(2, 3 * dim * dim, (dim as f32).sqrt().recip()), bias)
    }
    fn out<T: Sample>(&self) -> (Vec<T>, Vec<f32>) {
        let dim = self.dim();
        (self.noise(3, dim * dim, (dim as f32).sqrt().recip()), (0..dim).map(|i| (i % 3) as f32).collect())
    }
}

/// The maps, tokens and global token of a case.
struct Parts<T> {
    qkv: (Vec<T>, Vec<f32>),
    out: (Vec<T>, Vec<f32>),
    x: Vec<T>,
    global: Vec<T>,
    scale: f32,
}

fn noisy<T: Sample>(c: &Case) -> Parts<T> {
    Parts { qkv: c.qkv(), out: c.out(), x: c.x(), global: c.global(), scale: c.scale() }
}

/// Every token has a code of eight signs, and asks for the token beside it, or for the global one, so loudly that no other
/// has a part in the sum: whole numbers move, and nothing rounds.
fn pointed<T: Sample>(c: &Case) -> Parts<T> {
    let (dim, to_global) = (c.dim(), c.large > 0.0);
    let code = |token: usize, channel: usize| if token >> (channel % 8) & 1 == 1 { 1.0 } else { -1.0 };
    let mut qkv = vec![T::nearest(0.0); 3 * dim * dim];
    let mut bias = vec![0.0; 3 * dim];
    for o in 0..dim {
        if to_global {
            bias[o] = 1024.0;
        } else {
            qkv[o * dim + o] = T::nearest(if o % 8 == 0 { -1024.0 } else { 1024.0 });
        }
        qkv[(dim + o) * dim + o] = T::nearest(1.0);
        qkv[(2 * dim + o) * dim + (o + 3) % dim] = T::nearest(2.0 + (o % 3) as f32);
    }
    let mut out = vec![T::nearest(0.0); dim * dim];
    for o in 0..dim {
        out[o * dim + (o + 5) % dim] = T::nearest(1.0);
    }
    let x = (0..c.images * c.tokens() * dim).map(|i| T::nearest(code(i / dim % c.tokens(), i % dim))).collect();
    let global = vec![T::nearest(if to_global { 1.0 } else { 0.0 }); c.images * dim];
    Parts { qkv: (qkv, bias), out: (out, (0..dim).map(|i| (i % 4) as f32).collect()), x, global, scale: 1.0 }
}

fn run<B: Product<T> + WindowAttention<T>, T: Sample + Twin>(b: &B, c: &Case, parts: Parts<T>) -> Result<Outputs> {
    let (dim, [rows, cols]) = (c.dim(), c.grid());
    let attention = Attention {
        qkv: Linear::new(b, [3 * dim, dim], &parts.qkv.0, &parts.qkv.1)?,
        out: Linear::new(b, [dim, dim], &parts.out.0, &parts.out.1)?,
        heads: c.heads,
        window: c.window,
        scale: parts.scale,
    };
    let x = Tensor::from_slice(b, [c.images, rows, cols, dim], &parts.x)?;
    let global = Tensor::from_slice(b, [c.images, dim], &parts.global)?;
    let y = fused_attention(b, x.view(), global.view(), &attention, c.shifted, Some(x.view()))?;
    Ok(vec![Output::of(b, &y)?])
}

fn rows<T: Sample>(values: &[T], width: usize) -> Rows {
    values.chunks_exact(width).map(|row| row.iter().map(|v| f64::from(v.widened())).collect()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

fn oracle_of<T: Sample>(c: &Case, parts: Parts<T>) -> Outputs {
    let dim = c.dim();
    let (w, bias) = (rows(&parts.qkv.0, dim), wide(&parts.qkv.1));
    let (back, back_bias) = (rows(&parts.out.0, dim), wide(&parts.out.1));
    let (x, global) = (rows(&parts.x, dim), rows(&parts.global, dim));
    let mut all = Vec::new();
    for (x, global) in x.chunks_exact(c.tokens()).zip(&global) {
        let qkv = oracle::linear(&x.to_vec(), &w, &bias, false);
        let global = oracle::linear(&vec![global.clone()], &w, &bias, false);
        let heads = oracle::windows(&qkv, &global[0], c.grid(), c.heads, c.window, f64::from(parts.scale), c.shifted);
        let mut y = oracle::linear(&heads, &back, &back_bias, false);
        y.iter_mut().flatten().zip(x.concat()).for_each(|(y, x)| *y += x);
        all.extend(y.concat());
    }
    let [rows, cols] = c.grid();
    vec![Output::F64(vec![c.images, rows, cols, dim], all)]
}

/// Q, K and V (at most `m`) are off by `e`: the roundings of their sums, and in f16 their own. A logit is off by
/// `scale · d · (2 m e + d m² 2⁻²⁴)`, the weights by twice that of themselves and so the heads by that of `m`, by the error of
/// V, and in f16 by the rounding of weights and heads; and the result by that times the sum of absolute weights.
fn bound<T: Sample>(c: &Case) -> Tolerance {
    let (dim, width, one, half) = (c.dim() as f64, c.width as f64, 2.0_f64.powi(-24), 2.0_f64.powi(-11));
    let half = if T::ROUNDS { half } else { 0.0 };
    let parts = noisy::<T>(c);
    let (w, bias) = (rows(&parts.qkv.0, c.dim()), wide(&parts.qkv.1));
    let m = oracle::linear(&rows(&parts.x, c.dim()), &w, &bias, true).concat().into_iter().fold(0.0, f64::max);
    let e = (dim + 4.0) * one * m + half * m;
    let logit = f64::from(c.scale()) * width * (2.0 * m * e + width * m * m * one);
    let heads = e + m * ((2.0 * logit).exp_m1() + 2.0 * half + 64.0 * one);
    let back = rows(&parts.out.0, c.dim());
    let weights = back.iter().map(|row| row.iter().map(|w| w.abs()).sum::<f64>()).fold(0.0, f64::max);
    let error = weights * (heads + (dim + 4.0) * one * m) + 8.0 * one;
    Tolerance { ulps: 0, rel: 2.0 * half, abs: 2.0 * error }
}

fn case(window: BoxedStrategy<usize>, large: &'static [f32]) -> BoxedStrategy<Case> {
    let width = prop_oneof![Just(8_usize), Just(16), Just(24), Just(64)];
    (1..3_usize, [1..3_usize, 1..3_usize], window, 1..3_usize, width, any::<bool>(), 0..1000_u32, 0..large.len())
        .prop_map(|(images, windows, window, heads, width, shifted, seed, i)| Case {
            images,
            windows,
            window,
            heads: if heads * width < 16 { 2 } else { heads },
            width,
            shifted,
            seed,
            large: large[i],
        })
        .boxed()
}

/// One window of more tokens than a block takes queries, with keys in several tiles.
fn wide_window() -> BoxedStrategy<Case> {
    case(Just(14).boxed(), &[0.0])
        .prop_map(|c| Case { images: 1, windows: [1, 1], heads: 1, width: c.width.max(16), ..c })
        .boxed()
}

fn small() -> BoxedStrategy<usize> {
    prop_oneof![Just(2_usize), Just(4), Just(6)].boxed()
}

twins! {
    kernels = ["window_attention_f32", "linear_f32"];
    /// one key has all the weight: values are copied
    attention_f32_exact: case(Just(4).boxed(), &[0.0, 1.0]), Case => |b, c| run::<_, f32>(b, c, pointed(c)),
        oracle = |c| oracle_of::<f32>(c, pointed(c)), tolerance = Tolerance::EXACT;
    /// roundings of sums, through softmax
    attention_f32_close: case(small(), &[0.0]), Case => |b, c| run::<_, f32>(b, c, noisy(c)),
        oracle = |c| oracle_of::<f32>(c, noisy(c)), tolerance = bound::<f32>;
    /// as above, with more keys than a tile and more queries than a block
    attention_f32_wide: wide_window(), Case => |b, c| run::<_, f32>(b, c, noisy(c)),
        oracle = |c| oracle_of::<f32>(c, noisy(c)), tolerance = bound::<f32>;
}
twins! {
    kernels = ["window_attention_f16", "linear_f16"];
    /// one key has all the weight: values are copied
    attention_f16_exact: case(Just(4).boxed(), &[0.0, 1.0]), Case => |b, c| run::<_, f16>(b, c, pointed(c)),
        oracle = |c| oracle_of::<f16>(c, pointed(c)), tolerance = Tolerance::EXACT;
    /// as in f32, with Q, K, V, weights and heads rounded to f16
    attention_f16_close: case(small(), &[0.0]), Case => |b, c| run::<_, f16>(b, c, noisy(c)),
        oracle = |c| oracle_of::<f16>(c, noisy(c)), tolerance = bound::<f16>;
    /// as above, with more keys than a tile and more queries than a block
    attention_f16_wide: wide_window(), Case => |b, c| run::<_, f16>(b, c, noisy(c)),
        oracle = |c| oracle_of::<f16>(c, noisy(c)), tolerance = bound::<f16>;
}

#[test]
fn large_logits_overflow_nothing() {
    let cpu = gpu_core::Cpu::new();
    // Queries and keys of 350 and more: logits of 10⁵ and more.
    let c = Case { images: 1, windows: [2, 1], window: 4, heads: 2, width: 8, shifted: true, seed: 5, large: 350.0 };
    let Output::F32(_, y) = &run::<_, f32>(&cpu, &c, noisy(&c)).unwrap()[0] else { panic!("f32 gives f32") };
    assert!(y.iter().all(|v| v.is_finite() && v.abs() < 20.0), "{y:?}");
}

/// The tokens of a grid with its windows in another order.
fn reordered<T: Copy>(c: &Case, order: &[usize], tokens: &[T]) -> Vec<T> {
    let (dim, [rows, cols]) = (c.dim(), c.grid());
    let at = |window: usize, token: usize| {
        let row = window / c.windows[1] * c.window + token / c.window;
        row * cols + window % c.windows[1] * c.window + token % c.window
    };
    let mut out = tokens.to_vec();
    for (image, to) in tokens.chunks_exact(rows * cols * dim).zip(out.chunks_exact_mut(rows * cols * dim)) {
        for (window, &from) in order.iter().enumerate() {
            for token in 0..c.window * c.window {
                to[at(window, token) * dim..][..dim].copy_from_slice(&image[at(from, token) * dim..][..dim]);
            }
        }
    }
    out
}

/// Windows that are not shifted know nothing of each other: in another order they give the same bits in that order.
fn windows_are_independent<B: Product<T> + WindowAttention<T>, T: Sample + Twin>(b: &B, c: &Case) {
    let (c, count) = (&Case { shifted: false, ..c.clone() }, c.windows[0] * c.windows[1]);
    let order: Vec<usize> = (0..count).map(|i| (i + 1 + c.seed as usize % count) % count).rev().collect();
    let parts = noisy::<T>(c);
    let x = reordered(c, &order, &parts.x);
    let of = |parts| wide_output(&run::<B, T>(b, c, parts).unwrap()[0]);
    let (first, second) = (of(noisy::<T>(c)), of(Parts { x, ..parts }));
    assert!(reordered(c, &order, &first) == second, "{c:?}");
}

/// Values of every token alike: shares that sum to 1 give back that value, whatever the logits.
fn shares_sum_to_one<B: Product<T> + WindowAttention<T>, T: Sample + Twin>(b: &B, c: &Case) {
    let dim = c.dim();
    let mut parts = noisy::<T>(c);
    let value = |o: usize| 1.0 + (o % 7) as f32;
    parts.qkv.0[2 * dim * dim..].fill(T::nearest(0.0));
    (0..dim).for_each(|o| parts.qkv.1[2 * dim + o] = value(o));
    parts.out = ((0..dim * dim).map(|i| T::nearest(f32::from(i / dim == i % dim))).collect(), vec![0.0; dim]);
    let x: Vec<f64> = parts.x.iter().map(|v| f64::from(v.widened())).collect();
    let got = wide_output(&run::<B, T>(b, c, parts).unwrap()[0]);
    // Sums of `keys` shares with a rounding each, above and below the line; in f16 each share is rounded, and so are the
    // heads and the result with its residual of 2 at most.
    let keys = (c.window * c.window + 1) as f64;
    let bound = if T::ROUNDS { 4.0 * 2.0_f64.powi(-11) } else { 2.0 * (keys + 4.0) * 2.0_f64.powi(-24) };
    for (i, (got, x)) in got.iter().zip(&x).enumerate() {
        let wanted = f64::from(value(i % dim)) + x;
        assert!((got - wanted).abs() <= bound * 9.0, "{c:?}: {got} for {wanted}");
    }
}

fn wide_output(output: &Output) -> Vec<f64> {
    match output {
        Output::F32(_, values) => wide(values),
        Output::F16(_, values) => values.iter().map(|v| f64::from(f32::from(*v))).collect(),
        other => panic!("{other:?}"),
    }
}

/// Logits as they come, and ones so far apart that most shares are nothing.
fn any_logits() -> BoxedStrategy<Case> {
    case(small(), &[0.0, 3.0])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_in_another_order(c in any_logits()) {
        windows_are_independent::<_, f32>(&gpu_core::Cpu::new(), &c);
        windows_are_independent::<_, f16>(&gpu_core::Cpu::new(), &c);
    }

    #[test]
    fn rows_of_the_softmax_sum_to_one(c in any_logits()) {
        shares_sum_to_one::<_, f32>(&gpu_core::Cpu::new(), &c);
        shares_sum_to_one::<_, f16>(&gpu_core::Cpu::new(), &c);
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn windows_and_shares_on_cuda() {
    let cuda = gpu_core::Cuda::open(0).unwrap();
    for (seed, window, large) in [(1, 4, 0.0), (2, 6, 3.0), (3, 14, 0.0)] {
        let c = Case { images: 2, windows: [2, 2], window, heads: 2, width: 16, shifted: seed == 2, seed, large };
        windows_are_independent::<_, f32>(&cuda, &c);
        windows_are_independent::<_, f16>(&cuda, &c);
        shares_sum_to_one::<_, f32>(&cuda, &c);
        shares_sum_to_one::<_, f16>(&cuda, &c);
    }
}

#[derive(Clone, Debug)]
struct View {
    images: usize,
    size: [usize; 2],
    multiple: usize,
    seed: u32,
    round: bool,
}

impl View {
    fn frame(&self) -> Frame {
        Frame::new(self.images, self.size, self.multiple)
    }
    /// Bytes of every value.
    fn bytes(&self) -> Vec<u8> {
        let n = self.images * 3 * self.size[0] * self.size[1];
        let values: Vec<f32> = Fill::of(FillKind::Noise(self.seed)).values(n);
        values.into_iter().map(|v| ((v + 1.0) * 128.0) as u8).collect()
    }
    fn features<T: Sample>(&self, n: usize) -> Vec<T> {
        let values: Vec<f32> = Fill::of(FillKind::Noise(self.seed ^ 0x4d)).values(n);
        values.into_iter().map(|v| T::nearest(3.0 * v)).collect()
    }
    fn rounding(&self) -> Rounding {
        if self.round { Rounding::Nearest } else { Rounding::Truncate }
    }
}

fn pixels<B: Pixels<S, T>, S: Colour + Twin, T: Sample + Twin>(b: &B, c: &View, of: fn(u8) -> S) -> Result<Outputs> {
    let (frame, [rows, cols]) = (c.frame(), c.frame().tokens());
    let picture: Vec<S> = c.bytes().into_iter().map(of).collect();
    let x = Tensor::from_slice(b, [picture.len()], &picture)?;
    let all = c.images * rows * cols;
    let mut cut = Tensor::<B, T, 2>::scratch(b, [all, 192])?;
    patches(b, &frame, x.flat(), cut.view_mut())?;
    let tokens = Tensor::from_slice(b, [all, 1024], &c.features::<T>(all * 1024))?;
    let mut spread = Tensor::<B, T, 4>::scratch(b, [c.images, frame.padded[0], frame.padded[1], FEATURES])?;
    decoded(b, &frame, tokens.view(), x.flat(), spread.view_mut())?;
    let shape = [c.images, frame.padded[0], frame.padded[1], 3];
    let done = Tensor::from_slice(b, shape, &c.features::<T>(shape.iter().product()))?;
    let mut y = b.scratch::<S>(picture.len())?;
    repaint(b, &frame, done.view(), c.size, c.rounding(), ViewMut::of(&mut y))?;
    let mut painted = vec![S::default(); picture.len()];
    b.download(gpu_core::View::of(&y), &mut painted)?;
    Ok(vec![Output::of(b, &cut)?, Output::of(b, &spread)?, S::output(vec![picture.len()], painted)])
}

/// Walks from pixel to pixel, turning at the ends.
fn mirror(i: usize, n: usize) -> usize {
    let (mut at, mut step) = (0_isize, 1_isize);
    for _ in 0..i {
        if n == 1 {
            return 0;
        }
        if at + step < 0 || at + step >= n as isize {
            step = -step;
        }
        at += step;
    }
    at as usize
}

/// Values of planes: 0..255, and some that f16 does not hold.
fn any_light(v: u8) -> f32 {
    match v {
        3 => -1e7,
        250 => 1e7,
        v => v.into(),
    }
}

fn pixels_oracle<S: Colour, T: Sample>(c: &View, of: fn(u8) -> S) -> Outputs {
    let (frame, [h, w], bytes) = (c.frame(), c.size, c.bytes());
    let [hp, wp] = frame.padded;
    let scaled = |n: usize, y: usize, x: usize, k: usize| {
        let v = (f64::from(of(bytes[S::at(h, w, [n, mirror(y, h), mirror(x, w), k])]).value()) - 128.0) / 64.0;
        if T::ROUNDS { v.clamp(-65504.0, 65504.0) } else { v }
    };
    let (mut cut, mut spread) = (Vec::new(), Vec::new());
    let mut painted = vec![0.0; bytes.len()];
    let tokens = c.features::<T>(c.images * hp * wp * 16);
    let done = c.features::<T>(c.images * hp * wp * 3);
    for n in 0..c.images {
        for (r, t) in (0..hp / 8).flat_map(|r| (0..wp / 8).map(move |t| (r, t))) {
            for k in 0..3 {
                for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
                    cut.push(scaled(n, r * 8 + y, t * 8 + x, k));
                }
            }
        }
        for (y, x) in (0..hp).flat_map(|y| (0..wp).map(move |x| (y, x))) {
            let token = (n * (hp / 8) + y / 8) * (wp / 8) + x / 8;
            let first = token * 1024 + (y % 8 * 8 + x % 8) * 16;
            spread.extend(tokens[first..first + 16].iter().map(|v| f64::from(v.widened())));
            spread.extend((0..3).map(|k| scaled(n, y, x, k)));
            spread.extend([0.0; FEATURES - 19]);
            if y < h && x < w {
                for k in 0..3 {
                    // Rounded to f32 once, as the operation says.
                    let v = 128.0 + 64.0 * f64::from(done[((n * hp + y) * wp + x) * 3 + k].widened());
                    painted[S::at(h, w, [n, y, x, k])] = f64::from(S::of(v as f32, c.rounding()).value());
                }
            }
        }
    }
    [cut, spread, painted].into_iter().map(|values| Output::F64(vec![values.len()], values)).collect()
}

fn view() -> BoxedStrategy<View> {
    let multiple = prop_oneof![Just(8_usize), Just(16), Just(32)];
    // Pictures of one row, column or pixel, and as many values as whole blocks have threads.
    let size = prop_oneof![
        2 => [1..20_usize, 1..20_usize],
        1 => (1..20_usize).prop_map(|n| [1, n]),
        1 => (1..20_usize).prop_map(|n| [n, 1]),
        1 => Just([1_usize, 1]),
        1 => Just([16_usize, 16]),
    ];
    (1..3_usize, size, multiple, 0..1000_u32, any::<bool>())
        .prop_map(|(images, size, multiple, seed, round)| View { images, size, multiple, seed, round })
        .boxed()
}

twins! {
    kernels = ["patches_planes_f32", "decoded_planes_f32", "repaint_planes_f32"];
    /// whole numbers scaled by powers of two are exact, and the last step rounds once
    pixels_planes_f32_exact: view(), View => |b, c| pixels::<_, f32, f32>(b, c, any_light),
        oracle = |c: &View| pixels_oracle::<f32, f32>(c, any_light), tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["patches_planes_f16", "decoded_planes_f16", "repaint_planes_f16"];
    /// as above: f16 holds eight bits, and what is larger becomes its end
    pixels_planes_f16_exact: view(), View => |b, c| pixels::<_, f32, f16>(b, c, any_light),
        oracle = |c: &View| pixels_oracle::<f32, f16>(c, any_light), tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["patches_bytes_f32", "decoded_bytes_f32", "repaint_bytes_f32"];
    /// as above
    pixels_bytes_f32_exact: view(), View => |b, c| pixels::<_, u8, f32>(b, c, |v| v),
        oracle = |c: &View| pixels_oracle::<u8, f32>(c, |v| v), tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["patches_bytes_f16", "decoded_bytes_f16", "repaint_bytes_f16"];
    /// as above
    pixels_bytes_f16_exact: view(), View => |b, c| pixels::<_, u8, f16>(b, c, |v| v),
        oracle = |c: &View| pixels_oracle::<u8, f16>(c, |v| v), tolerance = Tolerance::EXACT;
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let cpu = gpu_core::Cpu::new();
    let c = Case { images: 1, windows: [2, 2], window: 4, heads: 2, width: 8, shifted: false, seed: 1, large: 0.0 };
    let refused = |c: &Case, parts: Parts<f32>| run(&cpu, c, parts).unwrap_err().to_string();
    for window in [3, 0, 6] {
        let parts = noisy::<f32>(&c);
        let dim = c.dim();
        let attention = Attention {
            qkv: Linear::new(&cpu, [3 * dim, dim], &parts.qkv.0, &parts.qkv.1).unwrap(),
            out: Linear::new(&cpu, [dim, dim], &parts.out.0, &parts.out.1).unwrap(),
            heads: 2,
            window,
            scale: 1.0,
        };
        let x = Tensor::from_slice(&cpu, [1, 8, 8, dim], &parts.x).unwrap();
        let global = Tensor::from_slice(&cpu, [1, dim], &parts.global).unwrap();
        let error = fused_attention(&cpu, x.view(), global.view(), &attention, false, None).unwrap_err();
        assert!(error.to_string().contains("window"), "{error}");
    }
    let heads = Case { heads: 1, width: 72, ..c.clone() };
    assert!(refused(&heads, noisy(&heads)).contains("heads"));
    let frame = Frame { images: 1, size: [0, 4], padded: [8, 8] };
    let mut y = Tensor::<_, f32, 2>::zeros(&cpu, [1, 192]).unwrap();
    let none = Tensor::<_, f32, 1>::zeros(&cpu, [0]).unwrap();
    assert!(patches(&cpu, &frame, none.flat(), y.view_mut()).unwrap_err().to_string().contains("pixels"));
}
