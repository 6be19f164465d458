//! The 3 x 3 layers of the network plan: the CPU twins against scalar f64 loops, and CUDA against the CPU.

mod net_cases;

use gpu_core::testing::{Output, Outputs, Tolerance, Twin, Value};
use gpu_core::{Result, Tensor, twins};
use half::f16;
use net_cases::oracle::{self, Images};
use net_cases::*;
use style::kernels::{
    BodyCall, Cut, NetBody, NetElem, NetRows, NetScratch, NetWeights, Norm, OutNorm, Scene, Tiles, Window, net_body,
    net_body_rows,
};

mod body {
    use super::*;

    fn x<T: Value>(c: &Case, cin: usize, which: u32) -> Vec<T> {
        values(c, which, c.n * c.h * c.w * cin)
    }

    /// Layers that reduce end no residual block.
    fn adds(c: &Case, window: Window) -> bool {
        c.add && window != Window::Down
    }

    /// `keep` belongs to layers of the same size.
    fn keeps(c: &Case, window: Window) -> bool {
        c.keep && window == Window::Same && c.look != Look::Statistics
    }

    fn clears<T: NetElem>(c: &Case) -> bool {
        is_half::<T>() && !c.strips
    }

    pub(super) fn run<B: NetBody<T> + NetRows<T>, T: NetElem + Twin>(
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
        let Normed { stats, gamma_beta, .. } = norm::<T>(c, cin);
        let (stats, in_gamma_beta) = (upload(b, &stats)?, upload(b, &gamma_beta)?);
        let gamma_beta = upload(b, &super::gamma_beta(cout))?;
        let mut old = upload(b, &old_sums::<T>(c.n))?;
        let mut keep = Tensor::<B, T, 1>::scratch(b, [from.len()])?;
        let mut y = Tensor::<B, T, 4>::scratch(b, [c.n, ho, wo, cout])?;
        let mut out_stats = Tensor::<B, T::Stat, 1>::zeros(b, [c.n * T::stats_len(cout)])?;
        let tiles = if c.strips { Tiles::Wide } else { c.tiles };
        let mut scratch = NetScratch::for_layer::<T>(b, window, from, cout, tiles)?;
        let cut = Cut::new::<T>(window, Scene { n: 1, ..from }, Scene { n: 1, h: ho, w: wo, c: cout })?;
        let strips = if c.strips { cut.count() } else { 1 };
        for i in 0..c.rounds() * strips {
            let i = i % strips;
            if i == 0 {
                out_stats = Tensor::zeros(b, [c.n * T::stats_len(cout)])?;
            }
            let strip = cut.strip(if c.strips { i..i + 1 } else { 0..cut.count() });
            let reads =
                if c.strips { strip.reads.start * c.w * cin..strip.reads.end * c.w * cin } else { 0..from.len() };
            let (kept, made) = (c.w * cin, wo * cout);
            let writes = |row: usize, all: usize| {
                if c.strips { strip.writes.start * row..strip.writes.end * row } else { 0..all }
            };
            let (all_y, all_kept) = (c.n * ho * made, from.len());
            let keep = if keeps(c, window) { Some(keep.flat_mut().slice(writes(kept, all_kept))?) } else { None };
            let call = BodyCall {
                x: x.flat().slice(reads.clone())?,
                norm: Norm { stats: stats.flat(), gamma_beta: in_gamma_beta.flat() },
                relu: !adds(c, window),
                add: if adds(c, window) { Some(add.flat().slice(reads)?) } else { None },
                keep,
                weights: &weights,
                y: y.flat_mut().slice(writes(made, all_y))?,
                out: OutNorm { stats: out_stats.flat_mut(), gamma_beta: gamma_beta.flat() },
                old: clears::<T>(c).then(|| old.flat_mut()),
                scratch: &mut scratch,
            };
            if c.strips { net_body_rows(b, &cut, &strip, call)? } else { net_body(b, from, c.tiles, call)? }
        }
        if c.look == Look::Statistics {
            return statistics::<B, T>(b, &out_stats, cout, ho * wo);
        }
        let mut out = vec![Output::of(b, &y)?];
        if keeps(c, window) {
            out.push(Output::of(b, &keep)?);
        }
        if clears::<T>(c) {
            out.push(left::<B, T>(b, &old)?);
        }
        Ok(out)
    }

    fn expected<T: NetElem + Twin>(c: &Case, window: Window, [cin, cout]: [usize; 2]) -> (Images, Images, Images) {
        let (x, add, norm) = (x::<T>(c, cin, 3), x::<T>(c, cin, 4), norm::<T>(c, cin).meant);
        let adds = adds(c, window);
        let mut i = 0;
        let finished = Images::new([c.n, c.h, c.w, cin], |[n, _, _, channel]| {
            let [scale, shift] = norm[n * cin + channel];
            let z = scale * x[i].to_f64() + shift + if adds { add[i].to_f64() } else { 0.0 };
            i += 1;
            held(c, if adds { z } else { z.max(0.0) })
        });
        let weights: Vec<f64> = weights(c, cout * cin * 9, cin * 9).into_iter().map(f64::from).collect();
        let enlarged = (window == Window::Up).then(|| finished.enlarged());
        let stride = if window == Window::Down { 2 } else { 1 };
        let (sums, magnitudes) = oracle::convolve(enlarged.as_ref().unwrap_or(&finished), &weights, cout, 3, stride);
        (finished, sums, magnitudes)
    }

    pub(super) fn oracle<T: NetElem + Twin>(c: &Case, window: Window, channels: [usize; 2]) -> Outputs {
        let (finished, sums, _) = expected::<T>(c, window, channels);
        let kept = keeps(c, window).then(|| Output::F64(vec![finished.values.len()], finished.values));
        looked_at(c, &sums, kept.into_iter().chain(clears::<T>(c).then(nothing_left)).collect())
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
    same_128: starting_with(around_both([8, 16]), cases([2..10, 2..18], 1)), Case => |b, c|
        half!(run b, c, Same, 128, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [128, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [128, 128]);
}
twins! {
    kernels = ["net_same_64_64_wide", "net_same_64_64_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    same_64: starting_with(around_both([8, 16]), around_tiles()), Case => |b, c| half!(run b, c, Same, 64, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [64, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [64, 64]);
}
twins! {
    kernels = ["net_down_64_128_wide", "net_down_64_128_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_64_128: starting_with(around_both([16, 32]), cases([2..20, 2..37], 1)), Case => |b, c|
        half!(run b, c, Down, 64, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [64, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [64, 128]);
}
twins! {
    kernels = ["net_down_32_64_wide", "net_down_32_64_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_32_64: starting_with(around_both([16, 32]), cases([2..20, 2..37], 2)), Case => |b, c|
        half!(run b, c, Down, 32, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [32, 64]);
}
twins! {
    kernels = ["net_down_16_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    down_16_32: starting_with(around([16, 32]), cases([2..20, 2..37], 2)), Case => |b, c| half!(run b, c, Down, 16, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [16, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [16, 32]);
    /// more tiles than copies of the sums
    large_down_16_32: cases([36..50, 130..140], 1), Case => |b, c| half!(run b, c, Down, 16, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [16, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [16, 32]);
}
twins! {
    kernels = ["net_up_128_64_wide", "net_up_128_64_small"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_128_64: starting_with(around_both([8, 16]), cases([2..7, 2..18], 1)), Case => |b, c|
        half!(run b, c, Up, 128, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [128, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [128, 64]);
}
twins! {
    kernels = ["net_up_64_32_wide", "net_up_64_32_small"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_64_32: starting_with(around_both([8, 16]), around_tiles()), Case => |b, c| half!(run b, c, Up, 64, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [64, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [64, 32]);
}
twins! {
    kernels = ["net_up_32_16_wide"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs
    up_32_16: starting_with(around([8, 16]), around_tiles()), Case => |b, c| half!(run b, c, Up, 32, 16),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [32, 16]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [32, 16]);
}
twins! {
    kernels = ["net_same_f32_64"];
    /// exact sums, or one rounding a term
    same_f32_64: starting_with(merged([8, 16], 1), around_tiles()), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Same, [32, 128]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 128]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 128]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 128]));
}
twins! {
    kernels = ["net_same_f32_32"];
    /// exact sums, or one rounding a term
    same_f32_32: starting_with(merged([16, 16], 1), cases([2..20, 2..20], 2)), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Same, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 32]));
}
twins! {
    kernels = ["net_down_f32_64"];
    /// exact sums, or one rounding a term
    down_f32_64: starting_with(merged([16, 32], 1), cases([2..20, 2..37], 2)), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Down, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 64]));
}
twins! {
    kernels = ["net_down_f32_32"];
    /// exact sums, or one rounding a term
    down_f32_32: starting_with(merged([32, 32], 1), cases([2..36, 2..37], 1)), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Down, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 32]));
}
twins! {
    kernels = ["net_up_f32_64"];
    /// exact sums, or one rounding a term
    up_f32_64: starting_with(merged([8, 16], 4), around_tiles()), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Up, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 64]));
}
twins! {
    kernels = ["net_up_f32_32"];
    /// exact sums, or one rounding a term
    up_f32_32: starting_with(merged_early([16, 16], 4), cases([2..20, 2..20], 1)), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Up, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 32]));
}
twins! {
    kernels = ["net_rows_same_128_128"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_same_128_128: starting_with(strips(around([8, 16]), [8, 16]), in_strips([9..26, 2..18])), Case => |b, c|
        half!(run b, c, Same, 128, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [128, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [128, 128]);
}
twins! {
    kernels = ["net_rows_same_64_64"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_same_64_64: starting_with(strips(around([8, 16]), [8, 16]), in_strips([9..26, 2..18])), Case => |b, c|
        half!(run b, c, Same, 64, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Same, [64, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Same, [64, 64]);
}
twins! {
    kernels = ["net_rows_down_64_128"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_down_64_128: starting_with(strips(around([16, 32]), [16, 32]), in_strips([9..30, 2..37])), Case => |b, c|
        half!(run b, c, Down, 64, 128),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [64, 128]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [64, 128]);
}
twins! {
    kernels = ["net_rows_down_32_64"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_down_32_64: starting_with(strips(around([16, 32]), [16, 32]), in_strips([17..50, 2..37])), Case => |b, c|
        half!(run b, c, Down, 32, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [32, 64]);
}
twins! {
    kernels = ["net_rows_down_16_32"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_down_16_32: starting_with(strips(around([16, 32]), [16, 32]), in_strips([17..50, 2..37])), Case => |b, c|
        half!(run b, c, Down, 16, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Down, [16, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Down, [16, 32]);
}
twins! {
    kernels = ["net_rows_up_128_64"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_up_128_64: starting_with(strips(around([8, 16]), [8, 16]), in_strips([5..14, 2..18])), Case => |b, c|
        half!(run b, c, Up, 128, 64),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [128, 64]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [128, 64]);
}
twins! {
    kernels = ["net_rows_up_64_32"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_up_64_32: starting_with(strips(around([8, 16]), [8, 16]), in_strips([9..26, 2..18])), Case => |b, c|
        half!(run b, c, Up, 64, 32),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [64, 32]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [64, 32]);
}
twins! {
    kernels = ["net_rows_up_32_16"];
    /// exact sums, or the roundings of operands, summed weights, sums and outputs, as of the whole image
    rows_up_32_16: starting_with(strips(around([8, 16]), [8, 16]), in_strips([9..26, 2..18])), Case => |b, c|
        half!(run b, c, Up, 32, 16),
        oracle = |c: &Case| body::oracle::<f16>(c, Window::Up, [32, 16]),
        tolerance = |c: &Case| body::bound::<f16>(c, Window::Up, [32, 16]);
}
twins! {
    kernels = ["net_rows_same_f32_64"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_same_f32_64: starting_with(strips(merged([8, 16], 1), [8, 16]), in_strips([9..26, 2..18])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Same, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 64]));
}
twins! {
    kernels = ["net_rows_same_f32_32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_same_f32_32: starting_with(strips(merged([16, 16], 1), [16, 16]), in_strips([17..40, 2..18])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Same, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Same, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Same, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Same, [32, 32]));
}
twins! {
    kernels = ["net_rows_down_f32_64"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_down_f32_64: starting_with(strips(merged([16, 32], 1), [16, 32]), in_strips([17..40, 2..37])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Down, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 64]));
}
twins! {
    kernels = ["net_rows_down_f32_32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_down_f32_32: starting_with(strips(merged([32, 32], 1), [32, 32]), in_strips([33..70, 2..37])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Down, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Down, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Down, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Down, [32, 32]));
}
twins! {
    kernels = ["net_rows_up_f32_64"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_up_f32_64: starting_with(strips(merged([8, 16], 4), [8, 16]), in_strips([9..20, 2..18])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Up, [32, 64]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 64]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 64]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 64]));
}
twins! {
    kernels = ["net_rows_up_f32_32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_up_f32_32: starting_with(strips(merged_early([16, 16], 4), [16, 16]), in_strips([17..40, 2..18])), Case => |b, c|
        body::run::<_, f32>(b, c, Window::Up, [32, 32]),
        oracle = |c: &Case| body::oracle::<f32>(c, Window::Up, [32, 32]),
        tolerance = |c: &Case| body::bound::<f32>(c, Window::Up, [32, 32]),
        twins = |c: &Case| between::<f32>(c, body::bound::<f32>(c, Window::Up, [32, 32]));
}
