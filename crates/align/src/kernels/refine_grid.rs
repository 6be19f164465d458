//! `s[t, j, i] = 1/(H W) Σ_k Σ_l m_l Re(X[t, k, l] exp(2πi (f_k y_j + f_l x_i)))`: the exact band-limited correlation on a
//! grid of 17 × 17 places around a centre.
//!
//! `y_j = y + radius (j − 8) / 8`, likewise `x_i`; `f` are the signed frequencies `k / H` and `l / W`. `m_l` is 2, and 1
//! for the columns 0 and `W / 2`, which have no mirror image. Phases are made in `f64`; the sums over rows are `f32` in
//! the order of the rows, those over columns `f64`. Promised to 1e-5 of the peak.
//!
//! Floor: `17 · 8` flop an element of the half spectrum, 8 bytes: arithmetic decides.

use std::f64::consts::TAU;

use bytemuck::{Pod, Zeroable};
use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use multiversion::multiversion;
use num_complex::Complex32;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, product, size32};

/// Places along each side of the grid.
pub const REFINE_SIDE: usize = 17;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct RefineParams {
    /// Grids.
    pub count: u32,
    /// Rows of a spectrum.
    pub height: u32,
    /// Columns of the plane that it belongs to.
    pub width: u32,
    /// Keeps the following field at a multiple of 8 bytes.
    pub reserved: u32,
    /// Distance from the centre to the first and last places, in pixels.
    pub radius: f64,
}

/// Where one grid lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RefineTask {
    /// Row of the centre.
    pub y: f64,
    /// Column of the centre.
    pub x: f64,
}

/// The operation on one backend.
pub trait RefineGrid: Backend {
    #[doc(hidden)]
    fn refine_grid_unchecked(
        &self,
        p: RefineParams,
        tasks: View<'_, Self, RefineTask>,
        spectra: View<'_, Self, Complex32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Evaluates the correlation of each of `tasks.len()` products of spectra around its own centre; `out` is
/// `[tasks, 17, 17]`.
///
/// # Errors
/// When a view is too short.
pub fn refine_grid<B: RefineGrid>(
    b: &B,
    [height, width]: [usize; 2],
    radius: f64,
    tasks: View<'_, B, RefineTask>,
    spectra: View<'_, B, Complex32>,
    out: ViewMut<'_, B, f64>,
) -> Result<()> {
    let count = tasks.len();
    holds("products", product(&[count, height, width / 2 + 1]), spectra.len())?;
    holds("grid", product(&[count, REFINE_SIDE, REFINE_SIDE]), out.len())?;
    let p = RefineParams {
        count: size32("count", count)?,
        height: size32("height", height)?,
        width: size32("width", width)?,
        reserved: 0,
        radius,
    };
    b.refine_grid_unchecked(p, tasks, spectra, out)
}

/// Columns that one task sums over all rows: its sums stay in the first cache.
const CHUNK: usize = 64;

/// `exp(2πi k d / n)`, with the product reduced before it meets π.
fn phase(k: i64, d: f64, n: usize) -> (f64, f64) {
    let turns = k as f64 / n as f64 * d;
    let (sin, cos) = (TAU * (turns - turns.round())).sin_cos();
    (cos, sin)
}

/// Places along one axis.
fn places(centre: f64, radius: f64) -> [f64; REFINE_SIDE] {
    std::array::from_fn(|j| centre + radius * (j as f64 - 8.0) / 8.0)
}

/// Sums of one chunk of columns, real and imaginary parts apart so that they are vectors.
struct Sums {
    re: [[f32; CHUNK]; REFINE_SIDE],
    im: [[f32; CHUNK]; REFINE_SIDE],
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
fn add_row(sums: &mut Sums, re: &[f32; CHUNK], im: &[f32; CHUNK], turn: &[[f32; 2]; REFINE_SIDE]) {
    for (j, &[cos, sin]) in turn.iter().enumerate() {
        let (to_re, to_im) = (&mut sums.re[j], &mut sums.im[j]);
        for c in 0..CHUNK {
            to_re[c] += re[c] * cos - im[c] * sin;
            to_im[c] += re[c] * sin + im[c] * cos;
        }
    }
}

impl RefineGrid for Cpu {
    fn refine_grid_unchecked(
        &self,
        p: RefineParams,
        tasks: View<'_, Self, RefineTask>,
        spectra: View<'_, Self, Complex32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (tasks, spectra, out) = (self.read(tasks)?, self.read(spectra)?, self.write(out)?);
        let (height, width) = (p.height as usize, p.width as usize);
        let half = width / 2 + 1;
        let scale = 1.0 / (height as f64 * width as f64);
        let grids = out.chunks_exact_mut(REFINE_SIDE * REFINE_SIDE);
        for ((task, z), out) in tasks.iter().zip(spectra.chunks_exact(height * half)).zip(grids) {
            let (ys, xs) = (places(task.y, p.radius), places(task.x, p.radius));
            let turns: Vec<[[f32; 2]; REFINE_SIDE]> = (0..height)
                .into_par_iter()
                .with_min_len(64)
                .map(|k| {
                    let signed = if 2 * k > height { k as i64 - height as i64 } else { k as i64 };
                    ys.map(|y| {
                        let (cos, sin) = phase(signed, y, height);
                        [cos as f32, sin as f32]
                    })
                })
                .collect();
            let chunks: Vec<Box<Sums>> = (0..half.div_ceil(CHUNK))
                .into_par_iter()
                .map(|chunk| {
                    let first = chunk * CHUNK;
                    let count = CHUNK.min(half - first);
                    let mut sums = Box::new(Sums { re: [[0.0; CHUNK]; REFINE_SIDE], im: [[0.0; CHUNK]; REFINE_SIDE] });
                    let (mut re, mut im) = ([0.0; CHUNK], [0.0; CHUNK]);
                    for (k, turn) in turns.iter().enumerate() {
                        for (c, v) in z[k * half + first..][..count].iter().enumerate() {
                            (re[c], im[c]) = (v.re, v.im);
                        }
                        add_row(&mut sums, &re, &im, turn);
                    }
                    sums
                })
                .collect();
            out.par_chunks_exact_mut(REFINE_SIDE).enumerate().for_each(|(j, row)| {
                row.fill(0.0);
                for l in 0..half {
                    let sums = &chunks[l / CHUNK];
                    let (re, im) = (f64::from(sums.re[j][l % CHUNK]), f64::from(sums.im[j][l % CHUNK]));
                    let twice = if l == 0 || 2 * l == width { 1.0 } else { 2.0 };
                    for (out, &x) in row.iter_mut().zip(&xs) {
                        let (cos, sin) = phase(l as i64, x, width);
                        *out += twice * (re * cos - im * sin);
                    }
                }
                for v in row {
                    *v *= scale;
                }
            });
        }
        Ok(())
    }
}
