//! The direct kernels: against scalar f64 loops, against loops with the promised roundings, and CUDA against the CPU
//! to the bit.

mod oracle;
#[path = "oracle/rounded.rs"]
mod rounded;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, Output, Outputs, Tolerance, Twin, Value};
use gpu_core::{Backend, Result, Tensor, twins};
use nsct::Real;
use nsct::kernels::{self, Planes, TapTable};
use oracle::{mirror, modulo};
use rounded::Rounded;

/// Planes with gaps between them.
#[derive(Clone, Copy, Debug)]
struct Layout {
    count: usize,
    h: usize,
    w: usize,
    x_gap: usize,
    pair_gap: usize,
    y_gap: usize,
}

impl Layout {
    fn planes(self) -> Planes {
        Planes { count: self.count, height: self.h, width: self.w }
    }
    fn area(self) -> usize {
        self.h * self.w
    }
    fn x_stride(self) -> usize {
        self.area() + self.x_gap
    }
    fn y_stride(self) -> usize {
        self.area() + self.y_gap
    }
    fn pair_stride(self) -> usize {
        self.area() + self.pair_gap
    }
    /// Elements from one pair to the next.
    fn pairs_stride(self) -> usize {
        self.pair_stride() + self.area() + self.y_gap
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    let gap = || prop_oneof![Just(0_usize), 1..9_usize];
    // Sizes 1 to 40, and some rows that are longer than a block of the CPU's inner loop.
    let width = prop_oneof![9 => 1..41_usize, 1 => 60..150_usize];
    // Some planes end where a block of a GPU's threads ends.
    let whole = (1..5_usize, 1..3_usize).prop_map(|(h, w)| (8 * h, 32 * w));
    let size = prop_oneof![4 => (1..41_usize, width), 1 => whole];
    (0..4_usize, size, gap(), gap(), gap()).prop_map(|(count, (h, w), x_gap, pair_gap, y_gap)| Layout {
        count,
        h,
        w,
        x_gap,
        pair_gap,
        y_gap,
    })
}

/// Eighths up to 1, so that sums of integers are exact; with `noise`, any numbers.
fn coefficient(noise: bool) -> BoxedStrategy<f64> {
    if noise { (-1.0..1.0_f64).boxed() } else { (-8..=8_i32).prop_map(|v| f64::from(v) / 8.0).boxed() }
}

/// What an output holds before the call; gaps must keep it.
fn before<T: Value>(len: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64((i % 7) as f64 - 3.0)).collect()
}

fn upload<B: Backend, T: Value>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}

fn widened<T: Value>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

/// Writes `plane(n)` at every multiple of `stride` into what the output held before.
fn placed<T: Value>(len: usize, count: usize, stride: usize, plane: impl Fn(usize) -> Vec<T>) -> Vec<T> {
    let mut all = before(len);
    for n in 0..count {
        let plane = plane(n);
        all[n * stride..n * stride + plane.len()].copy_from_slice(&plane);
    }
    all
}

/// The largest magnitude of a tame fill.
const LARGEST: f64 = 15.0;

/// Error of `terms` roundings on a sum of products whose factors have these magnitudes, in the result and in an oracle
/// of the same precision.
fn sum_bound<T: Rounded>(terms: usize, magnitude: f64) -> Tolerance {
    Tolerance::abs(2.0 * (terms + 2) as f64 * T::UNIT * magnitude * LARGEST)
}

mod filter {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Case {
        layout: Layout,
        taps: Vec<(i64, i64, f64)>,
        fill: Fill,
    }

    pub(super) fn cases(fill: BoxedStrategy<Fill>, noise: bool) -> impl Strategy<Value = Case> {
        let tap = (-60..60_i64, -60..60_i64, coefficient(noise));
        (layout(), vec(tap, 1..24), fill).prop_map(|(layout, taps, fill)| Case { layout, taps, fill })
    }

    fn x<T: Value>(c: &Case) -> Vec<T> {
        c.fill.values(c.layout.count * c.layout.x_stride())
    }

    fn y_len(c: &Case) -> usize {
        c.layout.count * c.layout.y_stride()
    }

    pub(super) fn run<B: kernels::Taps<T>, T: Real + Twin>(b: &B, c: &Case) -> Result<Outputs> {
        let Layout { h, w, .. } = c.layout;
        let table = TapTable::new(b, h, w, &c.taps)?;
        let (x, mut y) = (upload(b, &x::<T>(c))?, upload(b, &before::<T>(y_len(c)))?);
        let (from, to) = (c.layout.x_stride(), c.layout.y_stride());
        kernels::taps(b, c.layout.planes(), &table, x.flat(), from, y.flat_mut(), to)?;
        Ok(vec![Output::of(b, &y)?])
    }

    fn expected<T: Twin, U: Twin>(c: &Case, filter: impl Fn(&[T]) -> Vec<U>) -> Outputs {
        let (l, x) = (c.layout, x::<T>(c));
        let plane = |n: usize| filter(&x[n * l.x_stride()..][..l.area()]);
        vec![U::output(vec![y_len(c)], placed(y_len(c), l.count, l.y_stride(), plane))]
    }

    pub(super) fn oracle<T: Twin>(c: &Case) -> Outputs {
        expected::<T, f64>(c, |x| oracle::taps::taps(&widened(x), c.layout.h, c.layout.w, &c.taps))
    }

    pub(super) fn rounded<T: Rounded + Twin>(c: &Case) -> Outputs {
        expected::<T, T>(c, |x| rounded::taps(x, c.layout.h, c.layout.w, &c.taps))
    }

    pub(super) fn bound<T: Rounded>(c: &Case) -> Tolerance {
        sum_bound::<T>(c.taps.len(), c.taps.iter().map(|t| t.2.abs()).sum())
    }
}

twins! {
    kernels = ["taps_f32"];
    /// eighths times small integers: every sum is exact
    taps_f32_exact: filter::cases(Fill::exact(), false), filter::Case => |b, c| filter::run::<_, f32>(b, c),
        oracle = filter::oracle::<f32>, tolerance = Tolerance::EXACT;
    /// one rounding a tap
    taps_f32_close: filter::cases(Fill::any(), true), filter::Case => |b, c| filter::run::<_, f32>(b, c),
        oracle = filter::oracle::<f32>, tolerance = filter::bound::<f32>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    taps_f32_rounding: filter::cases(Fill::nasty(), true), filter::Case => |b, c| filter::run::<_, f32>(b, c),
        oracle = filter::rounded::<f32>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["taps_f64"];
    /// eighths times small integers: every sum is exact
    taps_f64_exact: filter::cases(Fill::exact(), false), filter::Case => |b, c| filter::run::<_, f64>(b, c),
        oracle = filter::oracle::<f64>, tolerance = Tolerance::EXACT;
    /// one rounding a tap
    taps_f64_close: filter::cases(Fill::any(), true), filter::Case => |b, c| filter::run::<_, f64>(b, c),
        oracle = filter::oracle::<f64>, tolerance = filter::bound::<f64>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    taps_f64_rounding: filter::cases(Fill::nasty(), true), filter::Case => |b, c| filter::run::<_, f64>(b, c),
        oracle = filter::rounded::<f64>, tolerance = Tolerance::EXACT;
}

mod pyramid {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Case {
        layout: Layout,
        half: Vec<f64>,
        step: u64,
        fill: Fill,
    }

    pub(super) fn cases(fill: BoxedStrategy<Fill>, noise: bool) -> impl Strategy<Value = Case> {
        let half =
            prop_oneof![Just(vec![0.5, 0.28125, 0.0, -0.03125]), Just(vec![0.5, 0.25]), vec(coefficient(noise), 1..5),];
        let step = prop_oneof![4 => (0..6_u32).prop_map(|i| 1 << i), 1 => 0..200_u64, 1 => 0..1_u64 << 60];
        (layout(), half, step, fill).prop_map(|(layout, half, step, fill)| Case { layout, half, step, fill })
    }

    fn x<T: Value>(c: &Case) -> Vec<T> {
        c.fill.values(c.layout.count * c.layout.x_stride())
    }

    fn y_len(c: &Case) -> usize {
        c.layout.count * c.layout.y_stride()
    }

    pub(super) fn run<B: kernels::MirrorMap<T>, T: Real + Twin>(b: &B, c: &Case) -> Result<Outputs> {
        let (x, mut y) = (upload(b, &x::<T>(c))?, upload(b, &before::<T>(y_len(c)))?);
        let (from, to) = (c.layout.x_stride(), c.layout.y_stride());
        kernels::mirror_map(b, c.layout.planes(), &c.half, c.step, x.flat(), from, y.flat_mut(), to)?;
        Ok(vec![Output::of(b, &y)?])
    }

    fn expected<T: Twin, U: Twin>(c: &Case, map: impl Fn(&[T]) -> Vec<U>) -> Outputs {
        let (l, x) = (c.layout, x::<T>(c));
        let plane = |n: usize| map(&x[n * l.x_stride()..][..l.area()]);
        vec![U::output(vec![y_len(c)], placed(y_len(c), l.count, l.y_stride(), plane))]
    }

    pub(super) fn oracle<T: Twin>(c: &Case) -> Outputs {
        let step = c.step as i64;
        expected::<T, f64>(c, |x| oracle::pyramid_map::pyramid_map(&widened(x), c.layout.h, c.layout.w, &c.half, step))
    }

    pub(super) fn rounded<T: Rounded + Twin>(c: &Case) -> Outputs {
        expected::<T, T>(c, |x| rounded::mirror_map(x, c.layout.h, c.layout.w, &c.half, c.step))
    }

    pub(super) fn bound<T: Rounded>(c: &Case) -> Tolerance {
        let sum = c.half.iter().enumerate().map(|(k, v)| if k == 0 { v.abs() } else { 2.0 * v.abs() }).sum::<f64>();
        sum_bound::<T>(4 * c.half.len(), 2.0 * sum * sum + 1.0)
    }
}

twins! {
    kernels = ["mirror_map_f32"];
    /// dyadic taps, small integers: every sum is exact
    mirror_map_f32_exact: pyramid::cases(Fill::exact(), false), pyramid::Case => |b, c| pyramid::run::<_, f32>(b, c),
        oracle = pyramid::oracle::<f32>, tolerance = Tolerance::EXACT;
    /// one rounding a tap on each axis, one at the end
    mirror_map_f32_close: pyramid::cases(Fill::any(), true), pyramid::Case => |b, c| pyramid::run::<_, f32>(b, c),
        oracle = pyramid::oracle::<f32>, tolerance = pyramid::bound::<f32>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    mirror_map_f32_rounding: pyramid::cases(Fill::nasty(), true), pyramid::Case => |b, c| pyramid::run::<_, f32>(b, c),
        oracle = pyramid::rounded::<f32>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["mirror_map_f64"];
    /// dyadic taps, small integers: every sum is exact
    mirror_map_f64_exact: pyramid::cases(Fill::exact(), false), pyramid::Case => |b, c| pyramid::run::<_, f64>(b, c),
        oracle = pyramid::oracle::<f64>, tolerance = Tolerance::EXACT;
    /// one rounding a tap on each axis, one at the end
    mirror_map_f64_close: pyramid::cases(Fill::any(), true), pyramid::Case => |b, c| pyramid::run::<_, f64>(b, c),
        oracle = pyramid::oracle::<f64>, tolerance = pyramid::bound::<f64>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    mirror_map_f64_rounding: pyramid::cases(Fill::nasty(), true), pyramid::Case => |b, c| pyramid::run::<_, f64>(b, c),
        oracle = pyramid::rounded::<f64>, tolerance = Tolerance::EXACT;
}

mod pair {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Case {
        layout: Layout,
        polynomials: [Vec<f64>; 2],
        fill: Fill,
    }

    pub(super) fn cases(fill: BoxedStrategy<Fill>, noise: bool) -> impl Strategy<Value = Case> {
        let polynomial = move || vec(coefficient(noise), 1..6);
        (layout(), [polynomial(), polynomial()], fill).prop_map(|(layout, polynomials, fill)| Case {
            layout,
            polynomials,
            fill,
        })
    }

    /// `t_0` and the powers, which here are any numbers.
    fn terms<T: Value>(c: &Case) -> Vec<Vec<T>> {
        let degree = c.polynomials.iter().map(Vec::len).max().unwrap_or(1) - 1;
        let l = c.layout;
        let mut terms = vec![c.fill.values(l.count * l.x_stride())];
        for d in 1..=degree {
            let values: Vec<T> = c.fill.other().values((d + 1) * l.count * l.area());
            terms.push(values[d * l.count * l.area()..].to_vec());
        }
        terms
    }

    fn y_len(c: &Case) -> usize {
        c.layout.count * c.layout.pairs_stride()
    }

    pub(super) fn run<B: kernels::PolyPair<T>, T: Real + Twin>(b: &B, c: &Case) -> Result<Outputs> {
        let l = c.layout;
        let terms: Vec<_> = terms::<T>(c).iter().map(|t| upload(b, t)).collect::<Result<_>>()?;
        let powers: Vec<_> = terms[1..].iter().map(Tensor::flat).collect();
        let mut y = upload(b, &before::<T>(y_len(c)))?;
        let polynomials = [&c.polynomials[0][..], &c.polynomials[1][..]];
        let (x, out) = (terms[0].flat(), y.flat_mut());
        let strides = (l.x_stride(), l.pairs_stride(), l.pair_stride());
        kernels::poly_pair(b, l.planes(), polynomials, x, strides.0, &powers, out, strides.1, strides.2)?;
        Ok(vec![Output::of(b, &y)?])
    }

    fn expected<T: Twin, U: Twin>(c: &Case, polynomial: impl Fn(&[&[T]], &[f64]) -> Vec<U>) -> Outputs {
        let (l, terms) = (c.layout, terms::<T>(c));
        let mut y = before::<U>(y_len(c));
        for n in 0..l.count {
            let strides = std::iter::once(l.x_stride()).chain(std::iter::repeat(l.area()));
            let planes: Vec<&[T]> = terms.iter().zip(strides).map(|(t, s)| &t[n * s..][..l.area()]).collect();
            for (i, p) in c.polynomials.iter().enumerate() {
                let at = n * l.pairs_stride() + i * l.pair_stride();
                y[at..at + l.area()].copy_from_slice(&polynomial(&planes, p));
            }
        }
        vec![U::output(vec![y.len()], y)]
    }

    pub(super) fn oracle<T: Twin>(c: &Case) -> Outputs {
        expected::<T, f64>(c, |terms, p| {
            (0..terms[0].len()).map(|i| p.iter().zip(terms).map(|(c, t)| c * t[i].to_f64()).sum()).collect()
        })
    }

    pub(super) fn rounded<T: Rounded + Twin>(c: &Case) -> Outputs {
        expected::<T, T>(c, rounded::polynomial)
    }

    pub(super) fn bound<T: Rounded>(c: &Case) -> Tolerance {
        sum_bound::<T>(5, c.polynomials.iter().map(|p| p.iter().map(|v| v.abs()).sum()).fold(0.0, f64::max))
    }
}

twins! {
    kernels = ["poly_pair_f32"];
    /// eighths times small integers: every sum is exact
    poly_pair_f32_exact: pair::cases(Fill::exact(), false), pair::Case => |b, c| pair::run::<_, f32>(b, c),
        oracle = pair::oracle::<f32>, tolerance = Tolerance::EXACT;
    /// one rounding a term
    poly_pair_f32_close: pair::cases(Fill::any(), true), pair::Case => |b, c| pair::run::<_, f32>(b, c),
        oracle = pair::oracle::<f32>, tolerance = pair::bound::<f32>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    poly_pair_f32_rounding: pair::cases(Fill::nasty(), true), pair::Case => |b, c| pair::run::<_, f32>(b, c),
        oracle = pair::rounded::<f32>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["poly_pair_f64"];
    /// eighths times small integers: every sum is exact
    poly_pair_f64_exact: pair::cases(Fill::exact(), false), pair::Case => |b, c| pair::run::<_, f64>(b, c),
        oracle = pair::oracle::<f64>, tolerance = Tolerance::EXACT;
    /// one rounding a term
    poly_pair_f64_close: pair::cases(Fill::any(), true), pair::Case => |b, c| pair::run::<_, f64>(b, c),
        oracle = pair::oracle::<f64>, tolerance = pair::bound::<f64>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    poly_pair_f64_rounding: pair::cases(Fill::nasty(), true), pair::Case => |b, c| pair::run::<_, f64>(b, c),
        oracle = pair::rounded::<f64>, tolerance = Tolerance::EXACT;
}

mod mixture {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Case {
        layout: Layout,
        factors: [f64; 2],
        add: bool,
        fill: Fill,
    }

    pub(super) fn cases(fill: BoxedStrategy<Fill>, noise: bool) -> impl Strategy<Value = Case> {
        (layout(), [coefficient(noise), coefficient(noise)], any::<bool>(), fill)
            .prop_map(|(layout, factors, add, fill)| Case { layout, factors, add, fill })
    }

    fn x<T: Value>(c: &Case) -> Vec<T> {
        c.fill.values(c.layout.count * c.layout.pairs_stride())
    }

    fn y_len(c: &Case) -> usize {
        c.layout.count * c.layout.y_stride()
    }

    pub(super) fn run<B: kernels::PairMix<T>, T: Real + Twin>(b: &B, c: &Case) -> Result<Outputs> {
        let l = c.layout;
        let (x, mut y) = (upload(b, &x::<T>(c))?, upload(b, &before::<T>(y_len(c)))?);
        let strides = (l.pairs_stride(), l.pair_stride(), l.y_stride());
        let (from, to) = (x.flat(), y.flat_mut());
        kernels::pair_mix(b, l.planes(), c.factors, c.add, from, strides.0, strides.1, to, strides.2)?;
        Ok(vec![Output::of(b, &y)?])
    }

    fn expected<T: Twin, U: Twin>(c: &Case, mix: impl Fn(Option<&[U]>, &[T], &[T]) -> Vec<U>) -> Outputs {
        let (l, x, y) = (c.layout, x::<T>(c), before::<U>(y_len(c)));
        let plane = |n: usize| {
            let x0 = &x[n * l.pairs_stride()..][..l.area()];
            let x1 = &x[n * l.pairs_stride() + l.pair_stride()..][..l.area()];
            mix(c.add.then(|| &y[n * l.y_stride()..][..l.area()]), x0, x1)
        };
        vec![U::output(vec![y_len(c)], placed(y_len(c), l.count, l.y_stride(), plane))]
    }

    pub(super) fn oracle<T: Twin>(c: &Case) -> Outputs {
        let [a, b] = c.factors;
        expected::<T, f64>(c, |y, x0, x1| {
            let sum = |i: usize| a * x0[i].to_f64() + b * x1[i].to_f64() + y.map_or(0.0, |y| y[i]);
            (0..x0.len()).map(sum).collect()
        })
    }

    pub(super) fn rounded<T: Rounded + Twin>(c: &Case) -> Outputs {
        expected::<T, T>(c, |y, x0, x1| rounded::mix(y, c.factors, x0, x1))
    }

    pub(super) fn bound<T: Rounded>(_: &Case) -> Tolerance {
        sum_bound::<T>(3, 3.0)
    }
}

twins! {
    kernels = ["pair_mix_f32"];
    /// eighths times small integers: every sum is exact
    pair_mix_f32_exact: mixture::cases(Fill::exact(), false), mixture::Case => |b, c| mixture::run::<_, f32>(b, c),
        oracle = mixture::oracle::<f32>, tolerance = Tolerance::EXACT;
    /// two or three roundings
    pair_mix_f32_close: mixture::cases(Fill::any(), true), mixture::Case => |b, c| mixture::run::<_, f32>(b, c),
        oracle = mixture::oracle::<f32>, tolerance = mixture::bound::<f32>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    pair_mix_f32_rounding: mixture::cases(Fill::nasty(), true), mixture::Case => |b, c| mixture::run::<_, f32>(b, c),
        oracle = mixture::rounded::<f32>, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["pair_mix_f64"];
    /// eighths times small integers: every sum is exact
    pair_mix_f64_exact: mixture::cases(Fill::exact(), false), mixture::Case => |b, c| mixture::run::<_, f64>(b, c),
        oracle = mixture::oracle::<f64>, tolerance = Tolerance::EXACT;
    /// two or three roundings
    pair_mix_f64_close: mixture::cases(Fill::any(), true), mixture::Case => |b, c| mixture::run::<_, f64>(b, c),
        oracle = mixture::oracle::<f64>, tolerance = mixture::bound::<f64>, twins = Tolerance::EXACT;
    /// the promised roundings, also of values that are no numbers
    pair_mix_f64_rounding: mixture::cases(Fill::nasty(), true), mixture::Case => |b, c| mixture::run::<_, f64>(b, c),
        oracle = mixture::rounded::<f64>, tolerance = Tolerance::EXACT;
}
