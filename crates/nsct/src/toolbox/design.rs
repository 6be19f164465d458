//! Filter design on the host.

use ndarray::{Array2, ArrayBase, Data, Ix2, s};

use crate::{Error, Real, Result};

/// Which coordinate [`modulate2`] alternates along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modulation {
    /// `'r'`: along the rows' index, `(-1)^(a - floor(H/2))`.
    Rows,
    /// `'c'`: along the columns' index, `(-1)^(b - floor(W/2))`.
    Columns,
    /// `'b'`: both.
    Both,
}

/// The shears of [`resampz`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resampling {
    /// Type 1: tap (a, b) to (a - b, b).
    R1,
    /// Type 2: to (a + b, b).
    R2,
    /// Type 3: to (a, b - a).
    R3,
    /// Type 4: to (a, b + a).
    R4,
}

/// Full two-dimensional convolution, `conv2` of MATLAB. Empty if either array is.
pub fn conv2_full<T: Real>(
    a: &ArrayBase<impl Data<Elem = T>, Ix2>,
    b: &ArrayBase<impl Data<Elem = T>, Ix2>,
) -> Array2<T> {
    if a.is_empty() || b.is_empty() {
        return Array2::from_elem((0, 0), T::of(0.0));
    }
    let (rows, columns) = b.dim();
    let mut out = Array2::from_elem((a.nrows() + rows - 1, a.ncols() + columns - 1), T::of(0.0));
    for ((r, c), &v) in a.indexed_iter() {
        if v != T::of(0.0) {
            out.slice_mut(s![r..r + rows, c..c + columns]).zip_mut_with(b, |o, &w| *o = *o + v * w);
        }
    }
    out
}

/// `h` with alternating signs, `+` at its centre `(floor(H/2), floor(W/2))`.
pub fn modulate2<T: Real>(h: &ArrayBase<impl Data<Elem = T>, Ix2>, along: Modulation) -> Array2<T> {
    let (rows, columns) = h.dim();
    Array2::from_shape_fn(h.dim(), |(a, b)| {
        let by_row = if along == Modulation::Columns { 0 } else { a + rows / 2 };
        let by_column = if along == Modulation::Rows { 0 } else { b + columns / 2 };
        if (by_row + by_column) % 2 == 0 { h[[a, b]] } else { -h[[a, b]] }
    })
}

/// Taps put where `place` says, then cut to the rows and columns that hold something.
fn rearranged<T: Real>(
    h: &ArrayBase<impl Data<Elem = T>, Ix2>,
    place: impl Fn(i64, i64) -> (i64, i64),
    cut_rows: bool,
    cut_columns: bool,
) -> Array2<T> {
    let zero = T::of(0.0);
    let empty = || Array2::from_elem((0, 0), zero);
    let placed: Vec<_> = h.indexed_iter().map(|((a, b), &v)| (place(a as i64, b as i64), v)).collect();
    // Bounds over all taps of the array, or over the nonzero ones alone where zeros are cut.
    let bounds = |coordinate: &dyn Fn((i64, i64)) -> i64, cut: bool| {
        let kept = placed.iter().filter(|&&(_, v)| !cut || v != zero).map(|&(at, _)| coordinate(at));
        kept.fold(None, |b: Option<(i64, i64)>, i| Some(b.map_or((i, i), |(low, high)| (low.min(i), high.max(i)))))
    };
    let Some((top, bottom)) = bounds(&|at| at.0, cut_rows) else { return empty() };
    let Some((left, right)) = bounds(&|at| at.1, cut_columns) else { return empty() };
    let mut out = Array2::from_elem(((bottom - top + 1) as usize, (right - left + 1) as usize), zero);
    for ((r, c), v) in placed {
        if v != zero {
            out[[(r - top) as usize, (c - left) as usize]] = v;
        }
    }
    out
}

/// `h` sheared, without the zero rows (types 1 and 2) or zero columns (types 3 and 4) at its borders.
///
/// An array of zeros gives an empty array.
pub fn resampz<T: Real>(h: &ArrayBase<impl Data<Elem = T>, Ix2>, by: Resampling) -> Array2<T> {
    match by {
        Resampling::R1 => rearranged(h, |a, b| (a - b, b), true, false),
        Resampling::R2 => rearranged(h, |a, b| (a + b, b), true, false),
        Resampling::R3 => rearranged(h, |a, b| (a, b - a), false, true),
        Resampling::R4 => rearranged(h, |a, b| (a, b + a), false, true),
    }
}

/// `h` upsampled by a quincunx matrix, without zero rows and columns at its borders.
///
/// `kind` 1 puts tap (a, b) at (a - b, a + b), `kind` 2 at (a + b, b - a). An array of zeros gives an empty array.
///
/// # Errors
/// For any other `kind`.
pub fn qupz<T: Real>(h: &ArrayBase<impl Data<Elem = T>, Ix2>, kind: u8) -> Result<Array2<T>> {
    match kind {
        1 => Ok(rearranged(h, |a, b| (a - b, a + b), true, true)),
        2 => Ok(rearranged(h, |a, b| (a + b, b - a), true, true)),
        _ => Err(Error::value("kind of qupz", format!("{kind} is neither 1 nor 2"))),
    }
}

/// `h` with `2^power - 1` zeros after every row and column, after the last ones too.
///
/// # Errors
/// When the result would have more than 2^28 elements.
pub fn upsample2df<T: Real>(h: &ArrayBase<impl Data<Elem = T>, Ix2>, power: u32) -> Result<Array2<T>> {
    let (rows, columns) = h.dim();
    let size = 1_usize
        .checked_shl(power)
        .and_then(|step| Some((step, rows.checked_mul(step)?, columns.checked_mul(step)?)))
        .filter(|&(step, r, c)| step > 0 && r.checked_mul(c).is_some_and(|elements| elements <= 1 << 28));
    let Some((step, out_rows, out_columns)) = size else {
        return Err(Error::value(
            "power of upsample2df",
            format!("a {rows} x {columns} filter upsampled by 2^{power} has more than 2^28 taps"),
        ));
    };
    let mut out = Array2::from_elem((out_rows, out_columns), T::of(0.0));
    out.slice_mut(s![..;step, ..;step]).assign(h);
    Ok(out)
}

/// The quincunx filters `h0`, `h1` of a ladder with the symmetric half-band filter `beta` of even length (Phoong, Kim,
/// Vaidyanathan, Ansari 1995): `h = qupz(beta betaᵀ, 1)`, `h0 = (h + δ)/2`, `h1 = δ - h * h0`.
///
/// # Errors
/// When `beta` is empty or of odd length.
pub fn ld2quin<T: Real>(beta: &[T]) -> Result<(Array2<T>, Array2<T>)> {
    if beta.is_empty() || beta.len() % 2 == 1 {
        return Err(Error::value("beta of ld2quin", format!("{} taps; the length must be even", beta.len())));
    }
    let n = beta.len();
    let outer = Array2::from_shape_fn((n, n), |(a, b)| beta[a] * beta[b]);
    // Not `qupz`: its trimming would move the centre when an outer tap is zero.
    let size = 2 * n - 1;
    let mut h = Array2::from_elem((size, size), T::of(0.0));
    for ((a, b), &v) in outer.indexed_iter() {
        h[[a + n - 1 - b, a + b]] = v;
    }
    let with_centre = |mut array: Array2<T>| {
        let centre = [array.nrows() / 2, array.ncols() / 2];
        array[centre] = array[centre] + T::of(1.0);
        array
    };
    let h0 = with_centre(h.clone()).mapv(|v| v * T::of(0.5));
    let h1 = with_centre(conv2_full(&h, &h0).mapv(|v| -v));
    Ok((h0, h1))
}

/// The McClellan transform: the symmetric one-dimensional filter `b` of odd length, written as a polynomial in cos ω,
/// with the two-dimensional filter `t` in place of cos ω.
///
/// `Σ_k a_k T_k(t)` with `a_0 = b[centre]`, `a_k = 2 b[centre + k]` and Chebyshev polynomials T_k by full convolutions.
///
/// # Errors
/// When `b` is empty or of even length, or `t` has a side that is empty or even.
pub fn mctrans<T: Real>(b: &[T], t: &ArrayBase<impl Data<Elem = T>, Ix2>) -> Result<Array2<T>> {
    if b.len().is_multiple_of(2) {
        return Err(Error::value("b of mctrans", format!("{} taps; the length must be odd", b.len())));
    }
    let (rows, columns) = t.dim();
    if rows % 2 == 0 || columns % 2 == 0 {
        return Err(Error::value("t of mctrans", format!("{rows} x {columns}; both sides must be odd")));
    }
    let n = b.len() / 2;
    let size = (n * (rows - 1) + 1, n * (columns - 1) + 1);
    let mut sum = Array2::from_elem(size, T::of(0.0));
    let centred = |array: &Array2<T>, v: &Array2<T>, factor: T| {
        let mut array = array.clone();
        let (top, left) = ((array.nrows() - v.nrows()) / 2, (array.ncols() - v.ncols()) / 2);
        array.slice_mut(s![top..top + v.nrows(), left..left + v.ncols()]).zip_mut_with(v, |o, &v| *o = *o + factor * v);
        array
    };
    let mut chebyshev = Array2::from_elem((1, 1), T::of(1.0));
    let mut before: Option<Array2<T>> = None;
    for k in 0..=n {
        let weight = if k == 0 { b[n] } else { T::of(2.0) * b[n + k] };
        sum = centred(&sum, &chebyshev, weight);
        // T_{k+1} = 2 t T_k - T_{k-1}, and T_1 = t.
        let next = conv2_full(&chebyshev, t);
        let next = match &before {
            None => next,
            Some(before) => centred(&next.mapv(|v| T::of(2.0) * v), before, T::of(-1.0)),
        };
        before = Some(std::mem::replace(&mut chebyshev, next));
    }
    Ok(sum)
}
