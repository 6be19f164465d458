//! Two-dimensional transforms on the CPU, for every size.
//!
//! Each transform goes along columns first, then along rows. Columns are taken in strips of one vector register's
//! width (module [`lanes`]); a strip lies contiguous in a workspace that stays in the second-level cache, so no access
//! strides through memory. Rows are then read from all strips, transformed one at a time by `rustfft`, and written
//! once. Real rows travel in pairs, `x_r + i x_{r+1}`, through one complex transform.
//!
//! Strips and pairs of rows are independent tasks with a fixed order inside, so results do not depend on the number
//! of threads.

mod lanes;
mod simd;
mod strips;

use std::fmt;
use std::sync::Arc;

use num_complex::Complex;
use rayon::prelude::*;
use rustfft::{Fft, FftPlanner};

use crate::Real;
use lanes::LanePlan;
pub(crate) use simd::Strips;
use simd::row_len;
use strips::{Frequency, Rows};

/// `exp(-2 pi i numerator / denominator)`, rounded once.
fn unit<T: Real>(numerator: usize, denominator: usize) -> Complex<T> {
    let angle = -std::f64::consts::TAU * (numerator % denominator) as f64 / denominator as f64;
    Complex::new(T::of(angle.cos()), T::of(angle.sin()))
}

/// Strips or row pairs that one task takes at least, so that small planes are not cut into crumbs.
fn at_least(elements_each: usize) -> usize {
    (4096 / elements_each.max(1)).max(1)
}

/// Strips that are loaded together at most; more would leave the second-level cache.
const TOGETHER: usize = 4;

/// Transforms of planes of one size.
pub(crate) struct CpuTransforms<T: Real> {
    height: usize,
    width: usize,
    columns: Columns<T>,
    forward_row: Arc<dyn Fft<T>>,
    inverse_row: Arc<dyn Fft<T>>,
    /// `exp(-i pi k / 2H)`.
    quarter_column: Vec<Complex<T>>,
    /// `exp(-i pi k / 2W)`.
    quarter_row: Vec<Complex<T>>,
    /// Where frequency `k` of a column stands after its transform.
    position: Vec<usize>,
    /// Where row `r` of an inverse cosine transform stands.
    cosine_position: Vec<usize>,
    /// Row that a cosine transform takes `n`-th: even rows, then odd rows backwards.
    cosine_order: Vec<usize>,
    natural_order: Vec<usize>,
}

impl<T: Real> fmt::Debug for CpuTransforms<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuTransforms<{}>({} x {})", T::NAME, self.height, self.width)
    }
}

/// The transform of a strip's columns.
enum Columns<T: Real> {
    /// All lanes at once.
    Lanes(LanePlan<T>),
    /// One column at a time, for lengths with large prime factors.
    Single(Arc<dyn Fft<T>>),
}

/// Buffers of one task.
struct Lines<T> {
    line: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
    /// Rows collected from the strips, one behind the other.
    rows: Vec<T>,
    row_len: usize,
}

/// A line, the scratch of its transform, and buffers for rows.
type Parts<'a, T, const N: usize> = (&'a mut [Complex<T>], &'a mut [Complex<T>], [&'a mut [T]; N]);

impl<T> Lines<T> {
    fn parts<const N: usize>(&mut self) -> Parts<'_, T, N> {
        let mut rows = self.rows.chunks_exact_mut(self.row_len);
        (&mut self.line, &mut self.scratch, std::array::from_fn(|_| rows.next().unwrap_or_default()))
    }
}

/// The column of a forward cosine transform's row `n`.
fn cosine_source(n: usize, len: usize) -> usize {
    if 2 * n < len { 2 * n } else { 2 * (len - 1 - n) + 1 }
}

impl<T: Real> CpuTransforms<T> {
    pub(crate) fn new(height: usize, width: usize) -> Self {
        let mut planner = FftPlanner::new();
        let columns = match LanePlan::new(height) {
            Some(plan) => Columns::Lanes(plan),
            None => Columns::Single(planner.plan_fft_forward(height)),
        };
        let position: Vec<usize> = match &columns {
            Columns::Lanes(plan) => (0..height).map(|k| plan.position(k)).collect(),
            Columns::Single(_) => (0..height).collect(),
        };
        let cosine_order: Vec<usize> = (0..height).map(|n| cosine_source(n, height)).collect();
        let mut cosine_position = vec![0; height];
        for (n, &r) in cosine_order.iter().enumerate() {
            cosine_position[r] = position[n];
        }
        let quarter = |len: usize| (0..len).map(|k| unit(k, 4 * len)).collect();
        Self {
            height,
            width,
            columns,
            forward_row: planner.plan_fft_forward(width),
            inverse_row: planner.plan_fft_inverse(width),
            quarter_column: quarter(height),
            quarter_row: quarter(width),
            position,
            cosine_position,
            cosine_order,
            natural_order: (0..height).collect(),
        }
    }

    /// How long a transform takes, 1 for sides without large prime factors: 509 × 509 takes five times as long as
    /// 512 × 512.
    pub(crate) fn plane_cost(&self) -> f64 {
        let side = |fast: bool| if fast { 0.5 } else { 2.5 };
        side(matches!(self.columns, Columns::Lanes(_))) + side(LanePlan::<T>::serves(self.width))
    }

    /// Elements of a plane.
    pub(crate) fn area(&self) -> usize {
        self.height * self.width
    }

    fn strip_len(&self) -> usize {
        self.height * row_len::<T>()
    }

    /// Elements of all strips of a plane.
    pub(crate) fn strips_len(&self) -> usize {
        self.width.div_ceil(2).div_ceil(T::LANES) * self.strip_len()
    }

    /// Elements of a workspace that holds the strips of `planes` planes wherever it begins.
    pub(crate) fn workspace_len(&self, planes: usize) -> usize {
        planes * self.strips_len() + row_len::<T>()
    }

    /// The part of a workspace whose rows fill whole cache lines.
    pub(crate) fn aligned(work: &mut [T]) -> &mut [T] {
        let skip = work.as_ptr().align_offset(64).min(row_len::<T>());
        &mut work[skip..]
    }

    fn lines(&self, transform: &Arc<dyn Fft<T>>) -> Lines<T> {
        let zero = Complex::new(T::zero(), T::zero());
        // Whole strips hold up to a strip's columns more than the plane.
        let row_len = self.width + row_len::<T>();
        Lines {
            line: vec![zero; self.width],
            scratch: vec![zero; transform.get_inplace_scratch_len()],
            rows: vec![T::zero(); 6 * row_len],
            row_len,
        }
    }

    /// Loads strips and transforms their columns. `load` gets some strips and the first complex column of the first.
    ///
    /// A few strips are loaded together, so that memory is read in runs long enough to be fetched ahead.
    fn transform_columns(&self, strips: &mut [T], load: impl Fn(&mut [T], usize) + Sync) {
        let zero = Complex::new(T::zero(), T::zero());
        let each = self.strip_len();
        let threads = rayon::current_num_threads();
        let together = (strips.len() / each).div_ceil(threads).clamp(1, TOGETHER);
        strips.par_chunks_mut(together * each).enumerate().with_min_len(at_least(together * each)).for_each_init(
            || match &self.columns {
                Columns::Lanes(_) => Vec::new(),
                Columns::Single(fft) => vec![zero; self.height + fft.get_inplace_scratch_len()],
            },
            |buffer, (n, strips)| {
                load(strips, n * together * T::LANES);
                for strip in strips.chunks_exact_mut(each) {
                    match &self.columns {
                        Columns::Lanes(plan) => T::transform(strip, plan),
                        Columns::Single(fft) => self.transform_singly(strip, fft, buffer),
                    }
                }
            },
        );
    }

    fn transform_singly(&self, strip: &mut [T], fft: &Arc<dyn Fft<T>>, buffer: &mut [Complex<T>]) {
        let (column, scratch) = buffer.split_at_mut(self.height);
        for l in 0..T::LANES {
            for (z, row) in column.iter_mut().zip(strip.chunks_exact(row_len::<T>())) {
                *z = Complex::new(row[l], row[T::LANES + l]);
            }
            fft.process_with_scratch(column, scratch);
            for (z, row) in column.iter().zip(strip.chunks_exact_mut(row_len::<T>())) {
                row[l] = z.re;
                row[T::LANES + l] = z.im;
            }
        }
    }

    fn rows<'s>(&self, strips: &'s [T]) -> Rows<'s, T> {
        Rows { strips, height: self.height }
    }

    /// Columns of `HW` times the inverse transform of `gain * z`, or of `scale * z`.
    pub(crate) fn inverse_columns(&self, z: &[Complex<T>], gain: Option<&[T]>, scale: T, strips: &mut [T]) {
        self.transform_columns(strips, |strips, first| T::load_spectrum(strips, first, self.width, z, gain, scale));
    }

    /// Rows behind [`inverse_columns`](Self::inverse_columns), to a plane.
    pub(crate) fn inverse_rows(&self, strips: &[T], y: &mut [T]) {
        let (width, rows) = (self.width, self.rows(strips));
        y.par_chunks_mut(2 * width).enumerate().with_min_len(at_least(2 * width)).for_each_init(
            || self.lines(&self.inverse_row),
            |lines, (pair, y)| {
                let (line, scratch, buffers) = lines.parts();
                let (one, two) = y.split_at_mut(width);
                let r = 2 * pair;
                let second = (!two.is_empty()).then(|| self.position[r + 1]);
                T::line_from_half(line, buffers, rows, self.position[r], second);
                self.inverse_row.process_with_scratch(line, scratch);
                T::split_line(line, one, (!two.is_empty()).then_some(two));
            },
        );
    }

    /// Columns of the transform of a real plane.
    pub(crate) fn forward_columns(&self, x: &[T], strips: &mut [T]) {
        self.transform_columns(strips, |strips, first| {
            T::load_pairs(strips, first, self.width, x, &self.natural_order);
        });
    }

    /// Rows behind [`forward_columns`](Self::forward_columns) of one or several planes: the half spectra, summed with a
    /// gain each, times `scale`.
    pub(crate) fn forward_rows(&self, planes: &[(&[T], Option<&[T]>)], scale: T, keep: bool, z: &mut [Complex<T>]) {
        let (height, width) = (self.height, self.width);
        let z_width = width / 2 + 1;
        let half = T::of(0.5) * scale;
        // Frequency k and its opposite H - k come from the same line; 0 and H / 2 are their own opposites.
        let (front, back) = z.split_at_mut((height / 2 + 1) * z_width);
        let (first, front) = front.split_at_mut(z_width);
        let opposites = back.len() / z_width;
        let (front, middle) = front.split_at_mut(opposites * z_width);
        let one = |lines: &mut Lines<T>, k: usize, z: &mut [Complex<T>], opposite: Option<&mut [Complex<T>]>| {
            let minus_k = (height - k) % height;
            let mut opposite = opposite;
            for (n, &(strips, gain)) in planes.iter().enumerate() {
                let keep = keep || n > 0;
                let (line, scratch, buffers) = lines.parts();
                T::line_from_pairs(line, buffers, self.rows(strips), self.position[k], self.position[minus_k]);
                self.forward_row.process_with_scratch(line, scratch);
                let row = |k: usize| gain.map(|g| &g[k * z_width..][..z_width]);
                T::store_half(z, line, false, half, row(k), keep);
                if let Some(z) = &mut opposite {
                    T::store_half(z, line, true, half, row(minus_k), keep);
                }
            }
        };
        front
            .par_chunks_mut(z_width)
            .zip(back.par_chunks_mut(z_width).rev())
            .enumerate()
            .with_min_len(at_least(2 * z_width))
            .for_each_init(
                || self.lines(&self.forward_row),
                |lines, (k, (z, opposite))| one(lines, k + 1, z, Some(opposite)),
            );
        let mut lines = self.lines(&self.forward_row);
        one(&mut lines, 0, first, None);
        if !middle.is_empty() {
            one(&mut lines, height / 2, middle, None);
        }
    }

    /// Columns of the cosine transform of a plane.
    pub(crate) fn cosine_columns(&self, x: &[T], strips: &mut [T]) {
        self.transform_columns(strips, |strips, first| {
            T::load_pairs(strips, first, self.width, x, &self.cosine_order);
        });
    }

    fn frequency(&self, k: usize) -> Frequency<T> {
        (self.position[k], self.position[(self.height - k) % self.height], self.quarter_column[k])
    }

    /// Rows behind [`cosine_columns`](Self::cosine_columns), times `gain`, added to `y` with `keep`.
    pub(crate) fn cosine_rows(&self, strips: &[T], gain: Option<&[T]>, keep: bool, y: &mut [T]) {
        let (width, rows) = (self.width, self.rows(strips));
        // Each direction leaves a factor of 2.
        let quarter = T::of(0.25);
        y.par_chunks_mut(2 * width).enumerate().with_min_len(at_least(2 * width)).for_each_init(
            || self.lines(&self.forward_row),
            |lines, (pair, y)| {
                let (line, scratch, buffers) = lines.parts();
                let (one, two) = y.split_at_mut(width);
                let k = 2 * pair;
                let second = (!two.is_empty()).then(|| self.frequency(k + 1));
                T::line_from_cosines(line, buffers, rows, self.frequency(k), second);
                self.forward_row.process_with_scratch(line, scratch);
                let row = |k: usize| gain.map(|g| &g[k * width..][..width]);
                let second = (!two.is_empty()).then(|| (two, row(k + 1)));
                T::store_cosines(line, &self.quarter_row, quarter, keep, (one, row(k)), second);
            },
        );
    }

    /// Columns of the inverse cosine transform of `gain * x`.
    pub(crate) fn inverse_cosine_columns(&self, x: &[T], gain: Option<&[T]>, strips: &mut [T]) {
        self.transform_columns(strips, |strips, first| {
            T::load_cosines(strips, first, self.width, x, gain, &self.quarter_column);
        });
    }

    /// Rows behind [`inverse_cosine_columns`](Self::inverse_cosine_columns).
    pub(crate) fn inverse_cosine_rows(&self, strips: &[T], y: &mut [T]) {
        let (width, rows) = (self.width, self.rows(strips));
        y.par_chunks_mut(2 * width).enumerate().with_min_len(at_least(2 * width)).for_each_init(
            || self.lines(&self.inverse_row),
            |lines, (pair, y)| {
                let (line, scratch, buffers) = lines.parts();
                let (one, two) = y.split_at_mut(width);
                let r = 2 * pair;
                let second = (!two.is_empty()).then(|| self.cosine_position[r + 1]);
                T::line_to_cosines(line, buffers, &self.quarter_row, rows, self.cosine_position[r], second);
                self.inverse_row.process_with_scratch(line, scratch);
                T::split_reordered(line, one, (!two.is_empty()).then_some(two));
            },
        );
    }
}
