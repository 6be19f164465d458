//! The layer that makes one.

use super::*;

/// Cases that come first, of values that stay in range, for pictures that are smaller than the scene except where they
/// are a whole tile.
pub(super) fn fixed(tile: [usize; 2], bytes: bool, tiles: Tiles) -> Vec<Case> {
    let of = |(i, c): (usize, Case)| {
        let [h, w] = [c.h.max(5), c.w.max(5)];
        let more = if i == 0 { [0, 0] } else { [1, 3] };
        Case { h: h + more[0], w: w + more[1], more, bytes, tiles, loud: false, flat: i == 2, ..c }
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
