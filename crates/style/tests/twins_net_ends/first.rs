//! The layer that reads a picture.

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

fn run_as<B: NetFirst<S, T>, S: Sample, T: NetElem + Twin>(b: &B, c: &Case, cout: usize, x: &[S]) -> Result<Outputs> {
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
