//! What the right answers are: scalar `f64` loops straight from the formulas, sharing no code with the crate.

use std::f64::consts::TAU;

/// Which colour a pixel of the test patterns has, by letters of one period.
pub(crate) fn letter(pattern: &str, y: i64, x: i64) -> char {
    let p = (pattern.len() as f64).sqrt() as i64;
    pattern.chars().nth((y.rem_euclid(p) * p + x.rem_euclid(p)) as usize).unwrap()
}

/// A pixel after its brightest neighbours of the same colour were looked at: the `k` nearest, with all at the distance of
/// the last of them.
fn despiked(v: &[u16], h: usize, w: usize, pattern: &str, k: usize, y: usize, x: usize) -> f64 {
    let own = letter(pattern, y as i64, x as i64);
    let mut distances = Vec::new();
    for dy in -8_i64..=8 {
        for dx in -8_i64..=8 {
            if (dy, dx) != (0, 0) && letter(pattern, y as i64 + dy, x as i64 + dx) == own {
                distances.push(dy * dy + dx * dx);
            }
        }
    }
    distances.sort_unstable();
    let reach = distances[k - 1];
    let mut most = 0;
    for dy in -8_i64..=8 {
        for dx in -8_i64..=8 {
            let (ny, nx) = (y as i64 + dy, x as i64 + dx);
            let inside = ny >= 0 && nx >= 0 && ny < h as i64 && nx < w as i64;
            let near = (dy, dx) != (0, 0) && dy * dy + dx * dx <= reach;
            if inside && near && letter(pattern, ny, nx) == own {
                most = most.max(v[ny as usize * w + nx as usize]);
            }
        }
    }
    f64::from(v[y * w + x].min(most))
}

/// Proxy planes: `plane(y, x)` says to which plane a pixel belongs.
pub(crate) fn despike_block(
    v: &[u16],
    [h, w]: [usize; 2],
    pattern: &str,
    [k, s, planes]: [usize; 3],
    plane: impl Fn(usize, usize) -> usize,
    black: impl Fn(usize, usize) -> f64,
    white: f64,
) -> Vec<f64> {
    let (rows, columns) = (h / s, w / s);
    let mut out = vec![0.0; planes * rows * columns];
    for p in 0..planes {
        for r in 0..rows {
            for c in 0..columns {
                let (mut sum, mut n) = (0.0, 0.0);
                for y in s * r..s * (r + 1) {
                    for x in s * c..s * (c + 1) {
                        if plane(y, x) == p {
                            let light = (despiked(v, h, w, pattern, k, y, x) - black(y, x)).max(0.0);
                            sum += (light / (white - black(y, x)) + 0.001).sqrt();
                            n += 1.0;
                        }
                    }
                }
                out[(p * rows + r) * columns + c] = sum / n;
            }
        }
    }
    out
}

/// The Tukey window at `i` of `n`.
pub(crate) fn tukey(i: usize, [start, length]: [f64; 2], alpha: f64) -> f64 {
    let e = alpha * length / 2.0;
    let (before, behind) = (i as f64 + 0.5 - start, start + length - i as f64 - 0.5);
    let t = before.min(behind);
    match (t > 0.0, t < e) {
        (false, _) => 0.0,
        (true, true) => (1.0 - (TAU / 2.0 * t / e).cos()) / 2.0,
        (true, false) => 1.0,
    }
}

/// Where a window lies: the plane, the piece cut from its middle, and first and number of rows and columns in that.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) plane: [usize; 2],
    pub(crate) piece: [usize; 2],
    pub(crate) part: [[f64; 2]; 2],
    pub(crate) alpha: f64,
}

/// Window-weighted mean of a piece of `rows * columns` from the middle of a plane.
pub(crate) fn window_mean(v: &[f64], p: Place) -> f64 {
    let ([h, w], [rows, columns]) = (p.plane, p.piece);
    let (top, left) = ((h - rows) / 2, (w - columns) / 2);
    let (mut sum, mut total) = (0.0, 0.0);
    for r in 0..rows {
        for c in 0..columns {
            let weight = tukey(r, p.part[0], p.alpha) * tukey(c, p.part[1], p.alpha);
            sum += weight * v[(top + r) * w + left + c];
            total += weight;
        }
    }
    sum / total
}

/// The piece, levelled and windowed.
pub(crate) fn window_apply(v: &[f64], p: Place) -> Vec<f64> {
    let mean = window_mean(v, p);
    let ([h, w], [rows, columns]) = (p.plane, p.piece);
    let (top, left) = ((h - rows) / 2, (w - columns) / 2);
    let mut out = vec![0.0; rows * columns];
    for r in 0..rows {
        for c in 0..columns {
            let weight = tukey(r, p.part[0], p.alpha) * tukey(c, p.part[1], p.alpha);
            out[r * columns + c] = (v[(top + r) * w + left + c] - mean) * weight;
        }
    }
    out
}

/// Half spectrum of a plane, real and imaginary parts in turn.
pub(crate) fn fft_r2c(x: &[f64], h: usize, w: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for k in 0..h {
        for l in 0..=w / 2 {
            let (mut re, mut im) = (0.0, 0.0);
            for r in 0..h {
                for c in 0..w {
                    let angle = -TAU * ((k * r % h) as f64 / h as f64 + (l * c % w) as f64 / w as f64);
                    re += x[r * w + c] * angle.cos();
                    im += x[r * w + c] * angle.sin();
                }
            }
            out.extend([re, im]);
        }
    }
    out
}

/// The plane of a half spectrum at any place, divided by the number of pixels.
pub(crate) fn correlation_at(z: &[[f64; 2]], h: usize, w: usize, y: f64, x: f64) -> f64 {
    let half = w / 2 + 1;
    let mut sum = 0.0;
    for k in 0..h {
        let fk = if 2 * k > h { k as f64 - h as f64 } else { k as f64 } / h as f64;
        for l in 0..half {
            let m = if l == 0 || 2 * l == w { 1.0 } else { 2.0 };
            let angle = TAU * (fk * y + l as f64 / w as f64 * x);
            let [re, im] = z[k * half + l];
            sum += m * (re * angle.cos() - im * angle.sin());
        }
    }
    sum / (h * w) as f64
}

/// Elements of magnitude 1, or 0.
pub(crate) fn whiten([re, im]: [f64; 2]) -> [f64; 2] {
    let n = re.hypot(im);
    if n > 0.0 && n.is_finite() { [re / n, im / n] } else { [0.0, 0.0] }
}

/// The weight of a frequency.
pub(crate) fn weight(k: usize, l: usize, h: usize, w: usize, sigma: f64) -> f64 {
    let fk = k.min(h - k) as f64 / h as f64;
    let fl = l as f64 / w as f64;
    if (k, l) == (0, 0) { 0.0 } else { (-(fk * fk + fl * fl) / (2.0 * sigma * sigma)).exp() }
}

/// `[dy, dx]`, peak and the largest value elsewhere.
pub(crate) fn peak(c: &[f64], h: usize, w: usize, limit: i64) -> ([i64; 2], f64, f64) {
    let at = |dy: i64, dx: i64| c[(dy.rem_euclid(h as i64) * w as i64 + dx.rem_euclid(w as i64)) as usize];
    let mut all = Vec::new();
    for dy in -limit..=limit {
        for dx in -limit..=limit {
            all.push((dy, dx));
        }
    }
    all.sort_by(|&a, &b| {
        let rank = |(dy, dx): (i64, i64)| (dy.abs() + dx.abs(), dy, dx);
        at(b.0, b.1).total_cmp(&at(a.0, a.1)).then(rank(a).cmp(&rank(b)))
    });
    let (dy, dx) = all[0];
    let far = all.iter().find(|p| (p.0 - dy).abs() > 3 || (p.1 - dx).abs() > 3).unwrap();
    ([dy, dx], at(dy, dx), at(far.0, far.1))
}

/// Mean and standard deviation over the search range.
pub(crate) fn spread(c: &[f64], h: usize, w: usize, limit: i64) -> [f64; 2] {
    let mut values = Vec::new();
    for dy in -limit..=limit {
        for dx in -limit..=limit {
            values.push(c[(dy.rem_euclid(h as i64) * w as i64 + dx.rem_euclid(w as i64)) as usize]);
        }
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    [mean, variance.sqrt()]
}

/// Mean of `|a(y + dy, x + dx) − gain b(y, x)|` where both are.
pub(crate) fn mad(a: &[f64], b: &[f64], h: usize, w: usize, [dy, dx]: [i64; 2], gain: f64) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for y in 0..h as i64 {
        for x in 0..w as i64 {
            let (ay, ax) = (y + dy, x + dx);
            if ay >= 0 && ax >= 0 && ay < h as i64 && ax < w as i64 {
                sum += (a[(ay * w as i64 + ax) as usize] - gain * b[(y * w as i64 + x) as usize]).abs();
                n += 1.0;
            }
        }
    }
    if n > 0.0 { sum / n } else { 0.0 }
}

/// All colours by normalised convolution, `[3, h, w]`.
pub(crate) fn demosaic(v: &[f64], h: usize, w: usize, pattern: &str, radius: i64) -> Vec<f64> {
    let binomial = |d: i64| match (radius, d.abs()) {
        (1, 0) => 2.0,
        (2, 0) => 6.0,
        (2, 1) => 4.0,
        _ => 1.0,
    };
    let mut out = vec![0.0; 3 * h * w];
    for (c, colour) in ['R', 'G', 'B'].into_iter().enumerate() {
        for y in 0..h as i64 {
            for x in 0..w as i64 {
                let here = (y * w as i64 + x) as usize;
                let (mut sum, mut weights) = (0.0, 0.0);
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let (ny, nx) = (y + dy, x + dx);
                        let inside = ny >= 0 && nx >= 0 && ny < h as i64 && nx < w as i64;
                        if inside && letter(pattern, ny, nx) == colour {
                            sum += binomial(dy) * binomial(dx) * v[(ny * w as i64 + nx) as usize];
                            weights += binomial(dy) * binomial(dx);
                        }
                    }
                }
                let own = letter(pattern, y, x) == colour;
                out[c * h * w + here] = match (own, weights > 0.0) {
                    (true, _) => v[here],
                    (false, true) => sum / weights,
                    _ => 0.0,
                };
            }
        }
    }
    out
}

/// All colours of a Bayer mosaic `[3, h, w]`, green along the smaller difference.
pub(crate) fn demosaic_edges(
    raw: &[u16],
    h: usize,
    w: usize,
    pattern: &str,
    level: impl Fn(usize, usize) -> [f64; 2],
) -> Vec<f64> {
    // Differences times the scale of the pixels that they are of.
    let value = |y: usize, x: usize| {
        let [black, scale] = level(y, x);
        (f64::from(raw[y * w + x]) - black) * scale
    };
    let apart = |a: (usize, usize), b: (usize, usize)| {
        f64::from(raw[a.0 * w + a.1].abs_diff(raw[b.0 * w + b.1])) * level(a.0, a.1)[1]
    };
    let mut out = vec![0.0; 3 * h * w];
    for (c, colour) in ['R', 'G', 'B'].into_iter().enumerate() {
        for i in 0..h * w {
            let (y, x) = ((i / w).clamp(1, h - 2), (i % w).clamp(1, w - 2));
            let here = |y: usize, x: usize| letter(pattern, y as i64, x as i64);
            let across = f64::midpoint(value(y, x - 1), value(y, x + 1));
            let along = f64::midpoint(value(y - 1, x), value(y + 1, x));
            out[c * h * w + i] = if here(y, x) == colour {
                value(y, x)
            } else if colour == 'G' {
                let turned = apart((y, x - 1), (y, x + 1)) > apart((y - 1, x), (y + 1, x));
                if turned { along } else { across }
            } else if here(y, x - 1) == colour {
                across
            } else if here(y - 1, x) == colour {
                along
            } else {
                let corners = [(y - 1, x - 1), (y - 1, x + 1), (y + 1, x - 1), (y + 1, x + 1)];
                corners.into_iter().map(|(y, x)| value(y, x)).sum::<f64>() / 4.0
            };
        }
    }
    out
}

/// Opening by the cross: pixels that lie in a cross of ones, zero outside.
pub(crate) fn open_cross(x: &[u8], h: usize, w: usize) -> Vec<u8> {
    let one =
        |y: i64, x_: i64| y >= 0 && x_ >= 0 && y < h as i64 && x_ < w as i64 && x[(y * w as i64 + x_) as usize] == 1;
    let cross = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)];
    let whole = |y: i64, x: i64| cross.iter().all(|(dy, dx)| one(y + dy, x + dx));
    let mut out = vec![0; h * w];
    for y in 0..h as i64 {
        for x in 0..w as i64 {
            out[(y * w as i64 + x) as usize] = u8::from(cross.iter().any(|(dy, dx)| whole(y + dy, x + dx)));
        }
    }
    out
}

/// A quantile with linear interpolation, by sorting.
pub(crate) fn quantile(values: &[f32], q: f64) -> f32 {
    let mut sorted: Vec<f64> = values.iter().map(|&v| f64::from(v.max(0.0))).collect();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    (below + (above - below) * place.fract()) as f32
}
