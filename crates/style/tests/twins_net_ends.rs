//! The 9 x 9 layers of the network plan: the CPU twins against scalar f64 loops, and CUDA against the CPU.

mod net_cases;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, Value};
use gpu_core::{Result, Tensor, twins};
use half::f16;
use net_cases::oracle::{self, Images};
use net_cases::*;
use style::kernels::{
    Cut, FirstCall, LastCall, NetElem, NetFirst, NetLast, NetRows, NetScratch, NetWeights, Norm, OutNorm, Sample,
    Scene, Tiles, Window, net_first, net_first_rows, net_last, net_last_rows,
};
use style::mix::Rounding;

mod first {
    use super::*;

    /// Cases that come first, for scenes that are larger than the picture except where they are a whole tile.
    pub(super) fn fixed(cases: Vec<Case>, bytes: bool, tiles: Tiles) -> Vec<Case> {
        let of = |(i, c): (usize, Case)| {
            let more = if i == 0 { [0, 0] } else { [2, 3] };
            Case { h: c.h.max(5), w: c.w.max(5), more, bytes, tiles, faint: c.look == Look::Statistics, ..c }
        };
        cases.into_iter().enumerate().map(of).collect()
    }

    /// In `f32`, where blocks of channels are merged alone.
    pub(super) fn groups(bytes: bool) -> Vec<Case> {
        fixed(merged([16, 16], 1), bytes, Tiles::Wide)
    }

    /// Cases that one kernel serves.
    pub(super) fn kind(bytes: bool, tiles: Tiles) -> impl Strategy<Value = Case> {
        starting_with(fixed(around([32, 16]), bytes, tiles), of(cases([5..20, 5..20], 2), bytes, tiles))
    }

    /// Values of 0..255, whole where sums must be exact.
    fn picture(c: &Case) -> Vec<f32> {
        let values = Fill::of(FillKind::Noise(c.seed * 16 + 3)).values::<f32>(c.n * 3 * c.h * c.w);
        let whole = c.look == Look::Exact || c.bytes;
        let value = |v: f32| if c.faint { v + 128.0 } else { (v + 1.0) * 127.5 };
        let value = |v: f32| if whole { value(v).floor() } else { value(v) };
        let loud = c.loud && !c.bytes;
        values.into_iter().map(|v| if loud { (v * 12.0).round() * 8192.0 + 128.0 } else { value(v) }).collect()
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
        let mut stats = Tensor::<B, T::Stat, 1>::zeros(b, [c.n * T::stats_len(cout)])?;
        let from = Scene { c: 3, ..to };
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, from, cout, c.tiles)?;
        let mut old = upload(b, &old_sums::<T>(c.n))?;
        for _ in 0..c.rounds() {
            stats = Tensor::zeros(b, [c.n * T::stats_len(cout)])?;
            let call = FirstCall {
                x: x.flat(),
                weights: &weights,
                y: y.flat_mut(),
                out: OutNorm { stats: stats.flat_mut(), gamma_beta: gamma_beta.flat() },
                old: is_half::<T>().then(|| old.flat_mut()),
                scratch: &mut scratch,
            };
            net_first(b, [c.h, c.w], to, c.tiles, call)?;
        }
        if c.look == Look::Statistics {
            return statistics::<B, T>(b, &stats, cout, to.h * to.w);
        }
        let mut out = vec![Output::of(b, &y)?];
        if is_half::<T>() {
            out.push(left::<B, T>(b, &old)?);
        }
        Ok(out)
    }

    /// A row of tiles after the other, of a picture whose pixels lie together.
    fn run_rows<B: NetRows<T>, T: NetElem + Twin>(b: &B, c: &Case, cout: usize) -> Result<Outputs> {
        let picture = picture(c);
        let at = |i: usize| if c.bytes { i } else { i % 3 * c.h * c.w + i / 3 };
        let pixels: Vec<f32> = (0..picture.len()).map(|i| picture[at(i)]).collect();
        let to = Scene { n: 1, h: c.h + c.more[0], w: c.w + c.more[1], c: cout };
        let weights = weights(c, cout * 243, 243);
        let weights = NetWeights::<B, T>::new(b, Window::First, [cout, 3], [cout, 3], &weights)?;
        let (x, gamma_beta) = (upload(b, &pixels)?, upload(b, &gamma_beta(cout))?);
        let mut y = Tensor::<B, T, 4>::scratch(b, [1, to.h, to.w, cout])?;
        let mut stats = Tensor::<B, T::Stat, 1>::zeros(b, [T::stats_len(cout)])?;
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, Scene { c: 3, ..to }, cout, Tiles::Wide)?;
        let cut = Cut::new::<T>(Window::First, Scene { h: c.h, w: c.w, c: 3, ..to }, to)?;
        for i in 0..c.rounds() * cut.count() {
            let i = i % cut.count();
            if i == 0 {
                stats = Tensor::zeros(b, [T::stats_len(cout)])?;
            }
            let strip = cut.strip(i..i + 1);
            let (row, made) = (3 * c.w, to.w * cout);
            let call = FirstCall {
                x: x.flat().slice(strip.reads.start * row..strip.reads.end * row)?,
                weights: &weights,
                y: y.flat_mut().slice(strip.writes.start * made..strip.writes.end * made)?,
                out: OutNorm { stats: stats.flat_mut(), gamma_beta: gamma_beta.flat() },
                old: None,
                scratch: &mut scratch,
            };
            net_first_rows(b, &cut, &strip, call)?;
        }
        if c.look == Look::Statistics {
            return statistics::<B, T>(b, &stats, cout, to.h * to.w);
        }
        Ok(vec![Output::of(b, &y)?])
    }

    pub(super) fn run<B: NetFirst<f32, T> + NetFirst<u8, T> + NetRows<T>, T: NetElem + Twin>(
        b: &B,
        c: &Case,
        cout: usize,
    ) -> Result<Outputs> {
        if c.strips {
            return run_rows::<B, T>(b, c, cout);
        }
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
            held(c, f64::from(picture[at]) - 128.0)
        });
        let weights: Vec<f64> = weights(c, cout * 243, 243).into_iter().map(f64::from).collect();
        oracle::convolve(&scene, &weights, cout, 9, 1)
    }

    pub(super) fn oracle<T: NetElem>(c: &Case, cout: usize) -> Outputs {
        let left = (is_half::<T>() && !c.strips).then(nothing_left);
        looked_at(c, &expected(c, cout).0, left.into_iter().collect())
    }

    pub(super) fn bound<T: NetElem>(c: &Case, cout: usize) -> Tolerance {
        super::bound::<T>(c, &expected(c, cout).1, 243, true)
    }
}

twins! {
    kernels = ["net_first_planes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_32_wide: first::kind(false, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_planes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_32_small: first::kind(false, Tiles::Small), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_bytes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_32_wide: first::kind(true, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_bytes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_32_small: first::kind(true, Tiles::Small), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_planes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_16: first::kind(false, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_bytes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_16: first::kind(true, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_planes_16_wide", "net_first_bytes_16_wide"];
    /// more tiles than copies of the sums
    large_first_16: cases([33..50, 97..110], 1), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_planes_f32"];
    /// exact sums, or one rounding a term
    first_planes_f32:
        starting_with(first::groups(false), of(cases([5..20, 5..20], 2), false, Tiles::Wide)), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}
twins! {
    kernels = ["net_first_bytes_f32"];
    /// exact sums, or one rounding a term
    first_bytes_f32:
        starting_with(
            first::groups(true),
            of(cases([5..20, 5..20], 2), true, Tiles::Wide),
        ), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}

mod last {
    use super::*;

    /// Cases that come first, of values that stay in range, for pictures that are smaller than the scene except where they
    /// are a whole tile.
    pub(super) fn fixed(tile: [usize; 2], bytes: bool, tiles: Tiles) -> Vec<Case> {
        let of = |(i, c): (usize, Case)| {
            let [h, w] = [c.h.max(5), c.w.max(5)];
            let more = if i == 0 { [0, 0] } else { [1, 3] };
            Case { h: h + more[0], w: w + more[1], more, bytes, tiles, loud: false, ..c }
        };
        around(tile).into_iter().enumerate().map(of).collect()
    }

    /// Cases that one kernel serves.
    pub(super) fn kind(bytes: bool, tiles: Tiles) -> impl Strategy<Value = Case> {
        starting_with(fixed([8, 168], bytes, tiles), of(cases([5..20, 5..60], 2), bytes, tiles))
    }

    const BIAS: [f32; 3] = [0.5, 120.0, 300.0];

    fn x<T: Value>(c: &Case, cin: usize) -> Vec<T> {
        values(c, 3, c.n * c.h * c.w * cin)
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
        let Normed { stats, gamma_beta, .. } = norm::<T>(c, cin);
        let (stats, gamma_beta) = (upload(b, &stats)?, upload(b, &gamma_beta)?);
        let (x, bias) = (upload(b, &x::<T>(c, cin))?, upload(b, &BIAS)?);
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, Scene { c: 3, ..from }, cin, c.tiles)?;
        let [h, w] = size(c);
        let mut y = Tensor::<B, S, 1>::scratch(b, [c.n * 3 * h * w])?;
        let mut flag = Tensor::<B, u32, 1>::scratch(b, [1])?;
        let mut old = upload(b, &old_sums::<T>(c.n))?;
        let call = LastCall {
            x: x.flat(),
            norm: Norm { stats: stats.flat(), gamma_beta: gamma_beta.flat() },
            old: is_half::<T>().then(|| old.flat_mut()),
            weights: &weights,
            bias: bias.flat(),
            y: y.flat_mut(),
            rounding: rounding(c),
            flag: flag.flat_mut(),
            scratch: &mut scratch,
        };
        net_last(b, from, size(c), c.tiles, call)?;
        let mut out = vec![Output::of(b, &y)?, Output::of(b, &flag)?];
        if is_half::<T>() {
            out.push(left::<B, T>(b, &old)?);
        }
        Ok(out)
    }

    /// A row of tiles after the other, to pixels that lie together.
    fn run_rows<B: NetRows<T>, T: NetElem + Value>(b: &B, c: &Case, cin: usize) -> Result<Outputs> {
        let from = Scene { n: 1, h: c.h, w: c.w, c: cin };
        let weights = weights(c, 3 * cin * 81, cin * 81);
        let weights = NetWeights::<B, T>::new(b, Window::Last, [3, cin], [3, cin], &weights)?;
        let Normed { stats, gamma_beta, .. } = norm::<T>(c, cin);
        let (stats, gamma_beta) = (upload(b, &stats)?, upload(b, &gamma_beta)?);
        let (x, bias) = (upload(b, &x::<T>(c, cin))?, upload(b, &BIAS)?);
        let mut scratch = NetScratch::for_layer::<T>(b, Window::First, Scene { c: 3, ..from }, cin, Tiles::Wide)?;
        let [h, w] = size(c);
        let mut y = Tensor::<B, f32, 1>::scratch(b, [3 * h * w])?;
        let mut flag = Tensor::<B, u32, 1>::scratch(b, [1])?;
        let cut = Cut::new::<T>(Window::Last, from, Scene { n: 1, h, w, c: 3 })?;
        for i in 0..cut.count() {
            let strip = cut.strip(i..i + 1);
            let row = c.w * cin;
            let call = LastCall {
                x: x.flat().slice(strip.reads.start * row..strip.reads.end * row)?,
                norm: Norm { stats: stats.flat(), gamma_beta: gamma_beta.flat() },
                old: None,
                weights: &weights,
                bias: bias.flat(),
                y: y.flat_mut().slice(strip.writes.start * 3 * w..strip.writes.end * 3 * w)?,
                rounding: rounding(c),
                flag: flag.flat_mut(),
                scratch: &mut scratch,
            };
            net_last_rows(b, &cut, &strip, call)?;
        }
        let pixels = y.to_vec(b)?;
        let flag = Output::of(b, &flag)?;
        if c.bytes {
            let bytes: Vec<u8> = pixels.iter().map(|&v| u8::of(v, rounding(c))).collect();
            return Ok(vec![Output::of(b, &upload(b, &bytes)?)?, flag]);
        }
        let planes: Vec<f32> = (0..pixels.len()).map(|i| pixels[i % (h * w) * 3 + i / (h * w)]).collect();
        Ok(vec![Output::of(b, &upload(b, &planes)?)?, flag])
    }

    pub(super) fn run<B: NetLast<f32, T> + NetLast<u8, T> + NetRows<T>, T: NetElem + Value>(
        b: &B,
        c: &Case,
        cin: usize,
    ) -> Result<Outputs> {
        if c.strips {
            return run_rows::<B, T>(b, c, cin);
        }
        if c.bytes { run_as::<B, u8, T>(b, c, cin) } else { run_as::<B, f32, T>(b, c, cin) }
    }

    fn expected<T: NetElem + Value>(c: &Case, cin: usize) -> (Images, Images) {
        let (x, norm) = (x::<T>(c, cin), norm::<T>(c, cin).meant);
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
        let left = (is_half::<T>() && !c.strips).then(nothing_left);
        [Output::F64(vec![values.len()], values), Output::U32(vec![1], vec![0])].into_iter().chain(left).collect()
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
        if is_half::<T>() { bound::<T>(c, cin) } else { Tolerance::EXACT }
    }
}

twins! {
    kernels = ["net_last_planes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_32_wide: last::kind(false, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_planes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_32_small: last::kind(false, Tiles::Small), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_32_wide: last::kind(true, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_32_small: last::kind(true, Tiles::Small), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_planes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_16: last::kind(false, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_last_bytes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_16: last::kind(true, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_last_planes_f32"];
    /// exact sums, or one rounding a term
    last_planes_f32:
        starting_with(
            last::fixed([32, 32], false, Tiles::Wide),
            of(cases([5..36, 5..36], 2), false, Tiles::Wide),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_f32"];
    /// exact sums, or one rounding a term
    last_bytes_f32:
        starting_with(
            last::fixed([32, 32], true, Tiles::Wide),
            of(cases([5..36, 5..36], 2), true, Tiles::Wide),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
twins! {
    kernels = ["net_rows_first_32"];
    /// exact sums, or the roundings of operands, sums and outputs, as of the whole image
    rows_first_32:
        starting_with(
            strips(first::fixed(around([32, 16]), false, Tiles::Wide), [32, 16]),
            in_strips([33..70, 5..20]),
        ), Case => |b, c|
        first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_rows_first_16"];
    /// exact sums, or the roundings of operands, sums and outputs, as of the whole image
    rows_first_16:
        starting_with(
            strips(first::fixed(around([16, 16]), false, Tiles::Wide), [16, 16]),
            in_strips([17..50, 5..20]),
        ), Case => |b, c|
        first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_rows_first_f32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_first_f32: starting_with(strips(first::groups(false), [16, 16]), in_strips([17..50, 5..20])), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}
twins! {
    kernels = ["net_rows_last_32"];
    /// exact sums, or the roundings of operands and sums, as of the whole image
    rows_last_32:
        starting_with(
            strips(last::fixed([8, 56], false, Tiles::Wide), [8, 56]),
            in_strips([12..30, 5..60]),
        ), Case => |b, c|
        last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_rows_last_16"];
    /// exact sums, or the roundings of operands and sums, as of the whole image
    rows_last_16:
        starting_with(
            strips(last::fixed([8, 56], false, Tiles::Wide), [8, 56]),
            in_strips([12..30, 5..60]),
        ), Case => |b, c|
        last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_rows_last_f32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_last_f32:
        starting_with(
            strips(last::fixed([32, 32], false, Tiles::Wide), [32, 32]),
            in_strips([36..70, 5..36]),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
