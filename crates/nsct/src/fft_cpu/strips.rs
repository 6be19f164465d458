//! Moving data between planes, strips and lines.
//!
//! A *strip* is what [`lanes`](super::lanes) transforms: `LANES` complex columns, each row `[re; LANES][im; LANES]`.
//! A *line* is one complex row of the plane's full width, for `rustfft`; it has a slack of one element.
//! An inverse transform is the forward one with real and imaginary parts exchanged, so strips of an inverse transform
//! hold `[im; LANES][re; LANES]`.
//!
//! Every function here is generic and inlined into wrappers compiled for several instruction sets (see [`super::simd`]).
//! `ROW` is `2 * LANES`.

use num_complex::Complex;

use crate::Real;

/// How the columns of a plane lie in strips, and the rows to read.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// All strips of a plane.
    pub(crate) strips: &'a [T],
    /// Rows of a strip.
    pub(crate) height: usize,
}

/// Row `r` of each of some strips that lie one behind the other.
#[inline(always)]
fn rows_at<T, const ROW: usize>(strips: &mut [T], r: usize, height: usize) -> impl Iterator<Item = &mut [T; ROW]> {
    let (rows, _) = strips.as_chunks_mut::<ROW>();
    rows.iter_mut().skip(r).step_by(height)
}

/// Half-spectrum columns `first..` of `z`, times `gain` or, without it, times `scale`, into inverse strips.
///
/// Column 0 and, for even widths, the last one are spectra of real columns: they share a lane, as `u + i v`.
#[inline(always)]
pub(super) fn load_spectrum<T: Real, const ROW: usize>(
    strips: &mut [T],
    first: usize,
    width: usize,
    z: &[Complex<T>],
    gain: Option<&[T]>,
    scale: T,
) {
    let lanes = ROW / 2;
    let z_width = width / 2 + 1;
    let columns = width.div_ceil(2);
    let height = z.len() / z_width;
    for (r, z) in z.chunks_exact(z_width).enumerate() {
        let gain = gain.map(|g| &g[r * z_width..][..z_width]);
        for (s, row) in rows_at::<T, ROW>(strips, r, height).enumerate() {
            let at = (first + s * lanes).min(columns);
            let used = (columns - at).min(lanes);
            let source = &z[at..at + used];
            let (im, re) = row.split_at_mut(lanes);
            match gain {
                Some(g) => {
                    for (((re, im), z), &g) in re.iter_mut().zip(im.iter_mut()).zip(source).zip(&g[at..at + used]) {
                        *re = z.re * g;
                        *im = z.im * g;
                    }
                }
                None => {
                    for ((re, im), z) in re.iter_mut().zip(im.iter_mut()).zip(source) {
                        *re = z.re * scale;
                        *im = z.im * scale;
                    }
                }
            }
            re[used..].fill(T::zero());
            im[used..].fill(T::zero());
            if at == 0 && width.is_multiple_of(2) {
                let last = z_width - 1;
                let g = gain.map_or(scale, |g| g[last]);
                re[0] = re[0] - z[last].im * g;
                im[0] = im[0] + z[last].re * g;
            }
        }
    }
}

/// Pairs of real columns, `x[c] + i x[c + 1]` for even `c`, into forward strips. Row `n` of a strip is row `order[n]` of
/// `x`.
#[inline(always)]
pub(super) fn load_pairs<T: Real, const ROW: usize>(
    strips: &mut [T],
    first: usize,
    width: usize,
    x: &[T],
    order: &[usize],
) {
    let lanes = ROW / 2;
    for (n, &from) in order.iter().enumerate() {
        let source = &x[from * width..][..width];
        for (s, row) in rows_at::<T, ROW>(strips, n, order.len()).enumerate() {
            let source = &source[(2 * first + s * ROW).min(width)..];
            let (re, im) = row.split_at_mut(lanes);
            if let Some(full) = source.first_chunk::<ROW>() {
                for l in 0..ROW / 2 {
                    re[l] = full[2 * l];
                    im[l] = full[2 * l + 1];
                }
            } else {
                for l in 0..ROW / 2 {
                    re[l] = source.get(2 * l).copied().unwrap_or_else(T::zero);
                    im[l] = source.get(2 * l + 1).copied().unwrap_or_else(T::zero);
                }
            }
        }
    }
}

/// Pairs of real columns of cosine coefficients, times `gain`, as the spectra whose inverse transform is the inverse
/// cosine transform: `V[k] = conj(w_k) (X[k] - i X[H - k])`, into inverse strips.
#[inline(always)]
pub(super) fn load_cosines<T: Real, const ROW: usize>(
    strips: &mut [T],
    first: usize,
    width: usize,
    x: &[T],
    gain: Option<&[T]>,
    quarter: &[Complex<T>],
) {
    #[inline(always)]
    fn gained<T: Real, const ROW: usize>(x: &[T], gain: Option<&[T]>, start: usize, end: usize) -> [T; ROW] {
        let mut out = [T::zero(); ROW];
        let full = x.get(start..end).and_then(|x| x.first_chunk::<ROW>());
        match (full, gain) {
            (Some(x), None) => out = *x,
            (Some(x), Some(gain)) => {
                let gain = &gain[start..start + ROW];
                for l in 0..ROW {
                    out[l] = x[l] * gain[l];
                }
            }
            (None, _) => {
                for (l, i) in (start..end).enumerate() {
                    out[l] = gain.map_or(x[i], |g| x[i] * g[i]);
                }
            }
        }
        out
    }
    let lanes = ROW / 2;
    let height = quarter.len();
    for (k, w) in quarter.iter().enumerate() {
        for (s, row) in rows_at::<T, ROW>(strips, k, height).enumerate() {
            let start = (2 * first + s * ROW).min(width);
            let end = (start + ROW).min(width);
            let a: [T; ROW] = gained(x, gain, k * width + start, k * width + end);
            let b: [T; ROW] = match k {
                0 => [T::zero(); ROW],
                _ => gained(x, gain, (height - k) * width + start, (height - k) * width + end),
            };
            let (im, re) = row.split_at_mut(lanes);
            for l in 0..ROW / 2 {
                let (q_re, q_im) = (a[2 * l] + b[2 * l + 1], a[2 * l + 1] - b[2 * l]);
                re[l] = w.re * q_re + w.im * q_im;
                im[l] = w.re * q_im - w.im * q_re;
            }
        }
    }
}

/// One row of all strips, both halves contiguous. The loops behind it are long, which the compiler vectorises; a loop over
/// a single strip's lanes it would unroll into scalars.
#[inline(always)]
fn collect<T: Real, const ROW: usize>(rows: Rows<'_, T>, position: usize, one: &mut [T], two: &mut [T]) {
    let (strips, _) = rows.strips.as_chunks::<ROW>();
    let lanes = strips.iter().skip(position).step_by(rows.height);
    for ((row, one), two) in lanes.zip(one.chunks_exact_mut(ROW / 2)).zip(two.chunks_exact_mut(ROW / 2)) {
        one.copy_from_slice(&row[..ROW / 2]);
        two.copy_from_slice(&row[ROW / 2..]);
    }
}

/// The line `u + i v` of two rows of an inverse half-spectrum transform, extended to the full width. A missing `v` is 0.
#[inline(always)]
pub(super) fn line_from_half<T: Real, const ROW: usize>(
    line: &mut [Complex<T>],
    [u_im, u_re, v_im, v_re]: [&mut [T]; 4],
    rows: Rows<'_, T>,
    u: usize,
    v: Option<usize>,
) {
    let width = line.len();
    collect::<T, ROW>(rows, u, u_im, u_re);
    if let Some(v) = v {
        collect::<T, ROW>(rows, v, v_im, v_re);
    } else {
        v_im.fill(T::zero());
        v_re.fill(T::zero());
    }
    let columns = width.div_ceil(2);
    let (ahead, behind) = line.split_at_mut(columns);
    let inputs = u_re.iter().zip(u_im.iter()).zip(v_re.iter().zip(v_im.iter()));
    for (z, ((u_re, u_im), (v_re, v_im))) in ahead.iter_mut().zip(inputs) {
        *z = Complex { re: *u_re - *v_im, im: *u_im + *v_re };
    }
    // An even width's middle column came in the lane of column 0.
    let behind = match behind.split_first_mut() {
        Some((middle, behind)) if width.is_multiple_of(2) => {
            *middle = Complex { re: u_im[0], im: v_im[0] };
            behind
        }
        _ => &mut line[columns..],
    };
    let inputs = u_re[1..columns].iter().zip(&u_im[1..columns]).zip(v_re[1..columns].iter().zip(&v_im[1..columns]));
    for (z, ((u_re, u_im), (v_re, v_im))) in behind.iter_mut().zip(inputs.rev()) {
        *z = Complex { re: *u_re + *v_im, im: *v_re - *u_im };
    }
    line[0] = Complex { re: u_re[0], im: v_re[0] };
}

/// Writes `value(c)` to every element. Results go to memory that is in no cache, where a store across two cache lines
/// costs several times as much as two: the long part begins at a line, wherever the row does.
#[inline(always)]
fn fill_row<T: Real>(row: &mut [T], mut value: impl FnMut(usize) -> T) {
    let (head, body) = row.split_at_mut(row.as_ptr().align_offset(64).min(row.len()));
    for (c, y) in head.iter_mut().enumerate() {
        *y = value(c);
    }
    for (c, y) in body.iter_mut().enumerate() {
        *y = value(head.len() + c);
    }
}

/// Real parts of a line to one row, imaginary parts to the next.
#[inline(always)]
pub(super) fn split_line<T: Real>(line: &[Complex<T>], re: &mut [T], im: Option<&mut [T]>) {
    let line = &line[..re.len()];
    fill_row(re, |c| line[c].re);
    if let Some(im) = im {
        let line = &line[..im.len()];
        fill_row(im, |c| line[c].im);
    }
}

/// Twice the line of frequency `k` of a forward transform of paired real columns; `k` and `minus_k` are positions.
#[inline(always)]
pub(super) fn line_from_pairs<T: Real, const ROW: usize>(
    line: &mut [Complex<T>],
    [a_re, a_im, b_re, b_im]: [&mut [T]; 4],
    rows: Rows<'_, T>,
    k: usize,
    minus_k: usize,
) {
    collect::<T, ROW>(rows, k, a_re, a_im);
    collect::<T, ROW>(rows, minus_k, b_re, b_im);
    let (pairs, last) = line.as_chunks_mut::<2>();
    let inputs = a_re.iter().zip(a_im.iter()).zip(b_re.iter().zip(b_im.iter()));
    for (pair, ((a_re, a_im), (b_re, b_im))) in pairs.iter_mut().zip(inputs) {
        pair[0] = Complex { re: *a_re + *b_re, im: *a_im - *b_im };
        pair[1] = Complex { re: *a_im + *b_im, im: *b_re - *a_re };
    }
    if let Some(last) = last.first_mut() {
        let l = pairs.len();
        *last = Complex { re: a_re[l] + b_re[l], im: a_im[l] - b_im[l] };
    }
}

/// The half spectrum of a line, or with `mirrored` that of the line of the opposite frequency:
/// `z = scale * gain * line`, added to what `z` holds with `keep`.
#[inline(always)]
pub(super) fn store_half<T: Real>(
    z: &mut [Complex<T>],
    line: &[Complex<T>],
    mirrored: bool,
    scale: T,
    gain: Option<&[T]>,
    keep: bool,
) {
    // Every combination gets a loop without branches.
    #[inline(always)]
    fn put<'a, T: Real, const KEEP: bool>(
        z: &mut [Complex<T>],
        line: impl ExactSizeIterator<Item = &'a Complex<T>>,
        [re, im]: [T; 2],
        gain: Option<&[T]>,
    ) {
        let sum = |z: &mut Complex<T>, v_re: T, v_im: T| {
            *z = if KEEP { Complex { re: z.re + v_re, im: z.im + v_im } } else { Complex { re: v_re, im: v_im } };
        };
        match gain {
            Some(gain) => {
                for ((z, l), &g) in z.iter_mut().zip(line).zip(gain) {
                    sum(z, l.re * (re * g), l.im * (im * g));
                }
            }
            None => {
                for (z, l) in z.iter_mut().zip(line) {
                    sum(z, l.re * re, l.im * im);
                }
            }
        }
    }
    #[inline(always)]
    fn ordered<T: Real, const KEEP: bool>(
        z: &mut [Complex<T>],
        line: &[Complex<T>],
        mirrored: bool,
        scale: T,
        gain: Option<&[T]>,
    ) {
        if mirrored {
            let conjugate = [scale, -scale];
            let (first, rest) = z.split_at_mut(1);
            put::<T, KEEP>(first, line.iter(), conjugate, gain);
            put::<T, KEEP>(rest, line.iter().rev(), conjugate, gain.map(|g| &g[1..]));
        } else {
            put::<T, KEEP>(z, line.iter(), [scale, scale], gain);
        }
    }
    if keep {
        ordered::<T, true>(z, line, mirrored, scale, gain);
    } else {
        ordered::<T, false>(z, line, mirrored, scale, gain);
    }
}

/// One frequency of the cosine transform along columns: its position, that of the opposite frequency, and `w_k`.
pub(crate) type Frequency<T> = (usize, usize, Complex<T>);

/// `w V[k] + conj(w) V[-k]`: twice a row of cosine coefficients, its even columns and its odd ones, written over the first
/// two buffers.
#[inline(always)]
fn cosine_row<T: Real, const ROW: usize>(
    [a_re, a_im, b_re, b_im]: [&mut [T]; 4],
    rows: Rows<'_, T>,
    (k, minus_k, w): Frequency<T>,
) {
    collect::<T, ROW>(rows, k, a_re, a_im);
    collect::<T, ROW>(rows, minus_k, b_re, b_im);
    for ((a_re, a_im), (b_re, b_im)) in a_re.iter_mut().zip(a_im.iter_mut()).zip(b_re.iter().zip(b_im.iter())) {
        let even = w.re * (*a_re + *b_re) - w.im * (*a_im - *b_im);
        let odd = w.re * (*a_im + *b_im) + w.im * (*a_re - *b_re);
        *a_re = even;
        *a_im = odd;
    }
}

/// Twice the line of two rows of cosine coefficients, reordered for the transform along rows: even columns ahead, odd
/// columns backwards behind them. A missing second row is 0.
#[inline(always)]
pub(super) fn line_from_cosines<T: Real, const ROW: usize>(
    line: &mut [Complex<T>],
    [even1, odd1, even2, odd2, spare1, spare2]: [&mut [T]; 6],
    rows: Rows<'_, T>,
    one: Frequency<T>,
    two: Option<Frequency<T>>,
) {
    cosine_row::<T, ROW>([even1, odd1, spare1, spare2], rows, one);
    if let Some(two) = two {
        cosine_row::<T, ROW>([even2, odd2, spare1, spare2], rows, two);
    } else {
        even2.fill(T::zero());
        odd2.fill(T::zero());
    }
    let odd_columns = line.len() / 2;
    let (ahead, behind) = line.split_at_mut(line.len() - odd_columns);
    for (z, (re, im)) in ahead.iter_mut().zip(even1.iter().zip(even2.iter())) {
        *z = Complex { re: *re, im: *im };
    }
    let odd = odd1[..odd_columns].iter().zip(&odd2[..odd_columns]);
    for (z, (re, im)) in behind.iter_mut().zip(odd.rev()) {
        *z = Complex { re: *re, im: *im };
    }
}

/// Two rows of cosine coefficients from a transformed line: `w V[c] + conj(w) V[W - c]`, real part to the first row,
/// imaginary part to the second, times `scale` and the rows' gains, added to what they hold with `keep`.
#[inline(always)]
pub(super) fn store_cosines<T: Real>(
    line: &[Complex<T>],
    quarter: &[Complex<T>],
    scale: T,
    keep: bool,
    first: (&mut [T], Option<&[T]>),
    second: Option<(&mut [T], Option<&[T]>)>,
) {
    #[inline(always)]
    fn put<T: Real>(
        (out, gain): (&mut [T], Option<&[T]>),
        scale: T,
        keep: bool,
        (line, quarter): (&[Complex<T>], &[Complex<T>]),
        value: impl Fn(Complex<T>, Complex<T>, Complex<T>) -> T,
    ) {
        let Some((&first, rest)) = line.split_first() else { return };
        let whole = |g: T, v: T, y: T| if keep { y + scale * g * v } else { scale * g * v };
        let gains = gain.unwrap_or(&[]);
        out[0] = whole(gains.first().copied().unwrap_or_else(T::one), value(first, first, quarter[0]), out[0]);
        let inputs = rest.iter().zip(rest.iter().rev()).zip(&quarter[1..]);
        match gain {
            Some(gain) => {
                for ((y, &g), ((&a, &b), &w)) in out[1..].iter_mut().zip(&gain[1..]).zip(inputs) {
                    *y = whole(g, value(a, b, w), *y);
                }
            }
            None => {
                for (y, ((&a, &b), &w)) in out[1..].iter_mut().zip(inputs) {
                    *y = whole(T::one(), value(a, b, w), *y);
                }
            }
        }
    }
    let sources = (line, quarter);
    put(first, scale, keep, sources, |a, b, w| w.re * (a.re + b.re) - w.im * (a.im - b.im));
    if let Some(second) = second {
        put(second, scale, keep, sources, |a, b, w| w.re * (a.im + b.im) + w.im * (a.re - b.re));
    }
}

/// One row of all strips of an inverse transform in natural order: even columns from the second half, odd ones from the
/// first.
#[inline(always)]
fn collect_natural<T: Real, const ROW: usize>(
    rows: Rows<'_, T>,
    position: usize,
    one: &mut [T],
    two: &mut [T],
    natural: &mut [T],
) {
    collect::<T, ROW>(rows, position, one, two);
    let (pairs, last) = natural.as_chunks_mut::<2>();
    for (pair, (odd, even)) in pairs.iter_mut().zip(one.iter().zip(two.iter())) {
        *pair = [*even, *odd];
    }
    if let Some(last) = last.first_mut() {
        *last = two[pairs.len()];
    }
}

/// The line `u + i v` of two rows after the inverse transform along columns, in their natural order, as the spectrum
/// whose inverse transform is the inverse cosine transform. A missing `v` is 0.
#[inline(always)]
pub(super) fn line_to_cosines<T: Real, const ROW: usize>(
    line: &mut [Complex<T>],
    [half1, half2, u_row, v_row]: [&mut [T]; 4],
    quarter: &[Complex<T>],
    rows: Rows<'_, T>,
    u: usize,
    v: Option<usize>,
) {
    let width = line.len();
    let (u_row, v_row) = (&mut u_row[..width], &mut v_row[..width]);
    collect_natural::<T, ROW>(rows, u, half1, half2, u_row);
    match v {
        Some(v) => collect_natural::<T, ROW>(rows, v, half1, half2, v_row),
        None => v_row.fill(T::zero()),
    }
    let Some((first, rest)) = line.split_first_mut() else { return };
    *first = Complex { re: u_row[0], im: v_row[0] };
    let (u_row, v_row) = (&u_row[1..], &v_row[1..]);
    let ahead = u_row.iter().zip(v_row);
    let behind = u_row.iter().rev().zip(v_row.iter().rev());
    for ((z, w), ((a_re, a_im), (b_re, b_im))) in rest.iter_mut().zip(&quarter[1..]).zip(ahead.zip(behind)) {
        let (q_re, q_im) = (*a_re + *b_im, *a_im - *b_re);
        *z = Complex { re: w.re * q_re + w.im * q_im, im: w.re * q_im - w.im * q_re };
    }
}

/// Two rows from an inversely transformed line, in natural order: the first half are the even columns, the second half
/// backwards the odd ones.
#[inline(always)]
pub(super) fn split_reordered<T: Real>(line: &[Complex<T>], re: &mut [T], im: Option<&mut [T]>) {
    #[inline(always)]
    fn put<T: Real>(out: &mut [T], value: impl Fn(usize) -> T) {
        let width = out.len();
        let (pairs, rest) = out.as_chunks_mut::<2>();
        for (n, pair) in pairs.iter_mut().enumerate() {
            pair[0] = value(n);
            pair[1] = value(width - 1 - n);
        }
        if let Some(last) = rest.first_mut() {
            *last = value(width / 2);
        }
    }
    let line = &line[..re.len()];
    put(re, |n| line[n].re);
    if let Some(im) = im {
        put(im, |n| line[n].im);
    }
}
