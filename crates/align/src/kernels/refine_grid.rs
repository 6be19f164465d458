//! `s[t, j, i] = 1/(H W) Σ_k Σ_l m_l Re(X[t, k, l] exp(2πi (f_k y_j + f_l x_i)))`: the exact band-limited correlation on a
//! grid of 17 × 17 places around a centre.
//!
//! `y_j = y + radius (j − 8) / 8`, likewise `x_i`; `f` are the signed frequencies `k / H` and `l / W`. `m_l` is 2, and 1
//! for the columns 0 and `W / 2`, which have no mirror image. Phases are made in `f64`; the sums over rows are `f32` in
//! the order of the rows (on a device 128 at a time), those over columns `f64`. Promised to 1e-5 of the peak.
//!
//! Both sides of the centre share the products of a distance: a row is turned to the centre, then multiplied by cosine and
//! sine of eight distances.
//!
//! Floor: 76 flop an element of the half spectrum, 8 bytes: on a GPU both take about as long.

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

/// Rows that a kernel sums by themselves.
const CHUNK_ROWS: usize = 128;

/// Phases of a row that a device keeps: at the centre, at each distance from it, and one that makes them whole vectors.
const TURNS: usize = REFINE_SIDE / 2 + 2;

/// Bytes that a device needs beside spectra and grids for each task: phases, and sums of every 128 rows.
pub(crate) fn refine_bytes(height: usize, width: usize) -> usize {
    let half = width / 2 + 1;
    8 * TURNS * height + REFINE_SIDE * (16 * half + 8 * half * height.div_ceil(CHUNK_ROWS))
}

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

/// Sums of one chunk of columns, real and imaginary parts apart so that they are vectors: at the centre, and with cosine
/// and sine of each distance from it.
struct Sums {
    middle: [[f32; CHUNK]; 2],
    cosine: [[[f32; CHUNK]; 2]; STEPS],
    sine: [[[f32; CHUNK]; 2]; STEPS],
}

/// Places on each side of the centre.
const STEPS: usize = REFINE_SIDE / 2;

/// Phases of one row of the spectrum: at the centre, and at each distance from it.
type Turns = ([f32; 2], [[f32; 2]; STEPS]);

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
fn add_row(sums: &mut Sums, re: &mut [f32; CHUNK], im: &mut [f32; CHUNK], turns: &Turns) {
    let ([cos, sin], steps) = *turns;
    for c in 0..CHUNK {
        let (a, b) = (re[c] * cos - im[c] * sin, re[c] * sin + im[c] * cos);
        (re[c], im[c]) = (a, b);
        sums.middle[0][c] += a;
        sums.middle[1][c] += b;
    }
    // Two places at one distance share their products.
    for (j, [cos, sin]) in steps.into_iter().enumerate() {
        for (part, values) in [&*re, &*im].into_iter().enumerate() {
            let (along, across) = (&mut sums.cosine[j][part], &mut sums.sine[j][part]);
            for c in 0..CHUNK {
                along[c] += values[c] * cos;
                across[c] += values[c] * sin;
            }
        }
    }
}

impl Sums {
    /// The sum over rows of one column at place `j` of the grid.
    fn at(&self, j: usize, c: usize) -> (f64, f64) {
        let wide = |v: &[[f32; CHUNK]; 2]| (f64::from(v[0][c]), f64::from(v[1][c]));
        if j == STEPS {
            return wide(&self.middle);
        }
        let distance = j.abs_diff(STEPS) - 1;
        let ((re, im), (sre, sim)) = (wide(&self.cosine[distance]), wide(&self.sine[distance]));
        if j > STEPS { (re - sim, im + sre) } else { (re + sim, im - sre) }
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
            let xs = places(task.x, p.radius);
            let turns: Vec<Turns> = (0..height)
                .into_par_iter()
                .with_min_len(64)
                .map(|k| {
                    let signed = if 2 * k > height { k as i64 - height as i64 } else { k as i64 };
                    let turn = |d: f64| {
                        let (cos, sin) = phase(signed, d, height);
                        [cos as f32, sin as f32]
                    };
                    (turn(task.y), std::array::from_fn(|j| turn(p.radius * (j + 1) as f64 / STEPS as f64)))
                })
                .collect();
            let chunks: Vec<Box<Sums>> = (0..half.div_ceil(CHUNK))
                .into_par_iter()
                .map(|chunk| {
                    let first = chunk * CHUNK;
                    let count = CHUNK.min(half - first);
                    let mut sums = Box::new(Sums {
                        middle: [[0.0; CHUNK]; 2],
                        cosine: [[[0.0; CHUNK]; 2]; STEPS],
                        sine: [[[0.0; CHUNK]; 2]; STEPS],
                    });
                    let (mut re, mut im) = ([0.0; CHUNK], [0.0; CHUNK]);
                    for (k, turn) in turns.iter().enumerate() {
                        for (c, v) in z[k * half + first..][..count].iter().enumerate() {
                            (re[c], im[c]) = (v.re, v.im);
                        }
                        add_row(&mut sums, &mut re, &mut im, turn);
                    }
                    sums
                })
                .collect();
            out.par_chunks_exact_mut(REFINE_SIDE).enumerate().for_each(|(j, row)| {
                row.fill(0.0);
                for l in 0..half {
                    let sums = &chunks[l / CHUNK];
                    let (re, im) = sums.at(j, l % CHUNK);
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

#[cfg(feature = "cuda")]
impl RefineGrid for gpu_core::Cuda {
    fn refine_grid_unchecked(
        &self,
        p: RefineParams,
        tasks: View<'_, Self, RefineTask>,
        spectra: View<'_, Self, Complex32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        use gpu_core::Tensor;
        use gpu_core::cuda::Grid;
        // Threads of a block that sums rows, columns of each of them, and threads of a block that sums columns.
        const COLUMNS: u32 = 64;
        const EACH: u32 = 2;
        const THREADS: u32 = 512;
        let (count, height, half) = (p.count as usize, p.height as usize, p.width as usize / 2 + 1);
        let chunks = height.div_ceil(CHUNK_ROWS);
        let mut vertical = Tensor::<Self, Complex32, 3>::scratch(self, [count, height, TURNS])?;
        let mut horizontal = Tensor::<Self, [f64; 2], 3>::scratch(self, [count, REFINE_SIDE, half])?;
        let mut parts = Tensor::<Self, Complex32, 3>::scratch(self, [count, chunks * REFINE_SIDE, half])?;
        let phases = self
            .kernel(&super::cuda::KERNELS, "refine_phases_f32")?
            .read(tasks)?
            .write(vertical.flat_mut())?
            .write(horizontal.flat_mut())?
            .arg(p)
            .grid((Grid::cover((height * TURNS).max(half * REFINE_SIDE), 256)?, p.count, 1))
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void refine_phases_f32(const RefineTask* tasks, float2* vertical, double2* horizontal, RefineParams p);
        // both tables were made for this size above.
        unsafe { phases.launch()? };
        let rows = self
            .kernel(&super::cuda::KERNELS, "refine_rows_f32")?
            .read(spectra)?
            .read(vertical.flat())?
            .write(parts.flat_mut())?
            .arg(p)
            .grid((Grid::cover(half, COLUMNS * EACH)?, chunks as u32, p.count))
            .looping(2)
            .block((COLUMNS, 1, 1));
        // SAFETY: void refine_rows_f32(const float2* z, const float2* vertical, float2* parts, RefineParams p); spectra
        // checked by `refine_grid`, the rest made above.
        unsafe { rows.launch()? };
        let columns = self
            .kernel(&super::cuda::KERNELS, "refine_columns_f32")?
            .read(parts.flat())?
            .read(horizontal.flat())?
            .write(out)?
            .arg(p)
            .grid((REFINE_SIDE as u32, p.count, 1))
            .looping(1)
            .block((THREADS, 1, 1));
        // SAFETY: void refine_columns_f32(const float2* parts, const double2* horizontal, double* out, RefineParams p);
        // as above; `out` checked by `refine_grid`.
        unsafe { columns.launch() }
    }
}
