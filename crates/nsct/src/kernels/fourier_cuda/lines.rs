//! Transforms by `kernels/fourier_kernels.cuh`: rows and columns of a power of two in registers and shared memory.

use gpu_core::cuda::{Grid, Launch};
use gpu_core::{Backend, Cuda, Result, Tensor, View, ViewMut};
use num_complex::Complex;
use rustacuda_derive::DeviceCopy;

use super::super::cuda::KERNELS;
use super::super::dct2::Dct2Params;
use super::super::idct2::Idct2Params;
use super::super::irfft2::Irfft2Params;
use super::super::rfft2::Rfft2Params;
use super::super::tree_analysis::TreeParams;
use super::roots;
use crate::Real;

/// What every kernel of `fourier_kernels.cuh` gets by value.
#[derive(Clone, Copy, Debug, Default, DeviceCopy)]
#[repr(C)]
struct LineParams {
    /// Planes of a tree that a block of a column kernel works on.
    group: u32,
    /// Planes of a tree.
    bands: u32,
    height: u32,
    width: u32,
    /// The first plane, counted over the trees of all images, of this launch.
    first: u32,
    flags: u32,
    x_stride: u64,
    y_stride: u64,
    plane_stride: u64,
    scale: f64,
}

const ADD: u32 = 1;
const GAIN: u32 = 2;

/// Elements of the half spectra between both passes over trees. Fewer would stay in the second-level cache, but shorter
/// launches cost more than that saves: on an H200 a batch of `[8, 3, 512, 512]` takes 1.60 ms with 2^23, 1.46 with 2^25,
/// 1.42 with 2^26 and 1.40 with 2^28.
const TREE_ELEMENTS: usize = 1 << 26;
/// Planes that a block of a column kernel works on at most.
const GROUP: usize = 4;
/// Elements of the images that the other operations work on in one launch.
const IMAGE_ELEMENTS: usize = 1 << 23;

/// Tables for one plane size.
#[derive(Debug)]
pub(super) struct Lines {
    height: usize,
    width: usize,
    rows: Tables,
    columns: Tables,
    /// Images or pairs in one launch: the limit of a grid's second axis.
    most: usize,
}

/// `exp(-2πi k / N)` and `exp(-πi k / 2N)`.
#[derive(Debug)]
struct Tables {
    len: usize,
    roots: Tensor<Cuda, Complex<f32>, 1>,
    quarter: Tensor<Cuda, Complex<f32>, 1>,
}

impl Tables {
    fn new(b: &Cuda, len: usize) -> Result<Self> {
        Ok(Self { len, roots: roots(b, len, len)?, quarter: roots(b, len, 4 * len)? })
    }
}

/// Views from image `n` on; beyond the last image nothing is read.
fn from<T: Real>(view: View<'_, Cuda, T>, start: usize) -> Result<View<'_, Cuda, T>> {
    view.slice(start..view.len())
}

fn from_mut<T: Real>(view: ViewMut<'_, Cuda, T>, start: usize) -> Result<ViewMut<'_, Cuda, T>> {
    let len = view.len();
    view.slice(start..len)
}

/// Complex numbers lie at multiples of eight bytes: leaves out a first odd element.
fn aligned<T: Real>(work: ViewMut<'_, Cuda, T>) -> Result<ViewMut<'_, Cuda, T>> {
    let odd = work.as_view().parts().1 % 2;
    from_mut(work, odd)
}

impl Lines {
    /// Whether the kernels serve planes of this type and size.
    pub(super) fn serve<T: Real>(height: usize, width: usize) -> bool {
        let served = |n: usize| matches!(n, 128 | 256 | 512 | 1024);
        T::NAME == f32::NAME && served(height) && served(width)
    }

    pub(super) fn new(b: &Cuda, height: usize, width: usize) -> Result<Self> {
        let most = b.most_blocks()[1].max(1) as usize;
        Ok(Self { height, width, rows: Tables::new(b, width)?, columns: Tables::new(b, height)?, most })
    }

    fn area(&self) -> usize {
        self.height * self.width
    }

    fn half(&self) -> usize {
        self.height * (self.width / 2 + 1)
    }

    /// Images of one launch.
    pub(super) fn images(&self) -> usize {
        (IMAGE_ELEMENTS / self.area()).clamp(1, self.most)
    }

    /// Elements of a plane of a tree between both passes: a half spectrum, its rows padded to whole cache lines.
    fn padded(&self) -> usize {
        2 * self.height * (self.width / 2 + 1).next_multiple_of(8)
    }

    /// Planes of trees of one launch.
    fn jobs(&self, bands: usize) -> usize {
        let jobs = (TREE_ELEMENTS / self.padded()).clamp(1, self.most);
        // Whole trees, or whole groups of planes.
        if jobs >= bands { jobs / bands * bands } else { (jobs / GROUP * GROUP).max(1) }
    }

    pub(super) fn work_len(&self, bands: usize) -> usize {
        let planes = self.images() * 2 * self.half();
        planes.max(self.jobs(bands) * self.padded()) + 1
    }

    fn params(&self) -> LineParams {
        LineParams { height: self.height as u32, width: self.width as u32, ..LineParams::default() }
    }

    /// A kernel over rows: `lines` of them, or pairs of them, of each of `jobs` planes.
    fn row_kernel<'b>(&self, b: &'b Cuda, name: &str, lines: usize, jobs: usize) -> Result<Launch<'b>> {
        let n = self.rows.len;
        let rows = (2048 / n) as u32;
        Ok(b.kernel(&KERNELS, &format!("{name}_{n}_f32"))?.grid((Grid::cover(lines, rows)?, jobs as u32, 1)).block((
            (n / 8) as u32,
            rows,
            1,
        )))
    }

    /// A kernel over columns, likewise.
    fn column_kernel<'b>(&self, b: &'b Cuda, name: &str, lines: usize, jobs: usize) -> Result<Launch<'b>> {
        let n = self.columns.len;
        let columns = (4096 / n) as u32;
        Ok(b.kernel(&KERNELS, &format!("{name}_{n}_f32"))?
            .grid((Grid::cover(lines, columns)?, jobs as u32, 1))
            .block((columns, (n / 8) as u32, 1)))
    }

    pub(super) fn dct2<T: Real>(
        &self,
        b: &Cuda,
        d: Dct2Params,
        (gain, gained): (View<'_, Cuda, T>, bool),
        x: View<'_, Cuda, T>,
        mut y: ViewMut<'_, Cuda, T>,
        mut work: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let flags = if d.add == 1 { ADD } else { 0 } | if gained { GAIN } else { 0 };
        let p = LineParams { flags, x_stride: d.x_stride, y_stride: d.y_stride, ..self.params() };
        for (first, jobs) in groups(d.count as usize, self.images()) {
            let x = from(x, first * d.x_stride as usize)?;
            let rows = self
                .row_kernel(b, "cosine_rows", self.height / 2, jobs)?
                .read(x)?
                .write(work.reborrow())?
                .read(self.rows.roots.flat())?
                .read(self.rows.quarter.flat())?
                .arg(p);
            // SAFETY: void cosine_rows(const float* x, float* y, const float2* table, const float2* quarter,
            // LineParams p); views checked by `dct2`, the workspace holds `images()` dense planes.
            unsafe { rows.launch()? };
            let columns = self
                .column_kernel(b, "cosine_columns", self.width / 2, jobs)?
                .read(work.as_view())?
                .read(gain)?
                .write(from_mut(y.reborrow(), first * d.y_stride as usize)?)?
                .read(self.columns.roots.flat())?
                .read(self.columns.quarter.flat())?
                .arg(p);
            // SAFETY: void cosine_columns(const float* x, const float* gain, float* y, const float2* table,
            // const float2* quarter, LineParams p); as above.
            unsafe { columns.launch()? };
        }
        Ok(())
    }

    pub(super) fn idct2<T: Real>(
        &self,
        b: &Cuda,
        d: Idct2Params,
        (gain, gained): (View<'_, Cuda, T>, bool),
        x: View<'_, Cuda, T>,
        mut y: ViewMut<'_, Cuda, T>,
        mut work: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let flags = if gained { GAIN } else { 0 };
        let p = LineParams { flags, x_stride: d.x_stride, y_stride: d.y_stride, ..self.params() };
        for (first, jobs) in groups(d.count as usize, self.images()) {
            let columns = self
                .column_kernel(b, "inverse_cosine_columns", self.width / 2, jobs)?
                .read(from(x, first * d.x_stride as usize)?)?
                .read(gain)?
                .write(work.reborrow())?
                .read(self.columns.roots.flat())?
                .read(self.columns.quarter.flat())?
                .arg(p);
            // SAFETY: void inverse_cosine_columns(const float* x, const float* gain, float* y, const float2* table,
            // const float2* quarter, LineParams p); views checked by `idct2`, the workspace holds `images()` planes.
            unsafe { columns.launch()? };
            let rows = self
                .row_kernel(b, "inverse_cosine_rows", self.height / 2, jobs)?
                .read(work.as_view())?
                .write(from_mut(y.reborrow(), first * d.y_stride as usize)?)?
                .read(self.rows.roots.flat())?
                .read(self.rows.quarter.flat())?
                .arg(p);
            // SAFETY: void inverse_cosine_rows(const float* x, float* y, const float2* table, const float2* quarter,
            // LineParams p); as above.
            unsafe { rows.launch()? };
        }
        Ok(())
    }

    pub(super) fn rfft2<T: Real>(
        &self,
        b: &Cuda,
        d: Rfft2Params,
        x: View<'_, Cuda, T>,
        mut z: ViewMut<'_, Cuda, Complex<T>>,
    ) -> Result<()> {
        let p = LineParams { x_stride: d.x_stride, y_stride: d.z_stride, scale: d.scale, ..self.params() };
        for (first, jobs) in groups(d.count as usize, self.images()) {
            let len = z.len();
            let mut z = z.reborrow().slice(first * d.z_stride as usize..len)?;
            let rows = self
                .row_kernel(b, "real_rows", self.height / 2, jobs)?
                .read(from(x, first * d.x_stride as usize)?)?
                .write(z.reborrow())?
                .read(self.rows.roots.flat())?
                .arg(p);
            // SAFETY: void real_rows(const float* x, float2* z, const float2* table, LineParams p); views checked by
            // `rfft2`.
            unsafe { rows.launch()? };
            let columns = self
                .column_kernel(b, "spectrum_columns", self.width / 2 + 1, jobs)?
                .write(z.reborrow())?
                .read(self.columns.roots.flat())?
                .arg(p);
            // SAFETY: void spectrum_columns(float2* z, const float2* table, LineParams p); as above.
            unsafe { columns.launch()? };
        }
        Ok(())
    }

    pub(super) fn irfft2<T: Real>(
        &self,
        b: &Cuda,
        d: Irfft2Params,
        z: View<'_, Cuda, Complex<T>>,
        mut y: ViewMut<'_, Cuda, T>,
        work: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let mut work = aligned(work)?;
        let p = LineParams { x_stride: d.z_stride, y_stride: d.y_stride, scale: d.scale, ..self.params() };
        for (first, jobs) in groups(d.count as usize, self.images()) {
            let columns = self
                .column_kernel(b, "inverse_spectrum_columns", self.width / 2 + 1, jobs)?
                .read(z.slice(first * d.z_stride as usize..z.len())?)?
                .write(work.reborrow())?
                .read(self.columns.roots.flat())?
                .arg(p);
            // SAFETY: void inverse_spectrum_columns(const float2* z, float2* y, const float2* table, LineParams p);
            // views checked by `irfft2`, the workspace holds `images()` half spectra.
            unsafe { columns.launch()? };
            let rows = self
                .row_kernel(b, "inverse_real_rows", self.height / 2, jobs)?
                .read(work.as_view())?
                .write(from_mut(y.reborrow(), first * d.y_stride as usize)?)?
                .read(self.rows.roots.flat())?
                .arg(p);
            // SAFETY: void inverse_real_rows(const float2* z, float* y, const float2* table, LineParams p); as above.
            unsafe { rows.launch()? };
        }
        Ok(())
    }

    pub(super) fn tree_analysis<T: Real>(
        &self,
        b: &Cuda,
        t: TreeParams,
        gains: View<'_, Cuda, T>,
        z: View<'_, Cuda, Complex<T>>,
        mut y: ViewMut<'_, Cuda, T>,
        work: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let mut work = aligned(work)?;
        for (_, jobs, p) in self.launches(b, t) {
            let columns = self
                .column_kernel(b, "tree_columns", self.width / 2 + 1, jobs / p.group as usize)?
                .read(gains)?
                .read(z)?
                .write(work.reborrow())?
                .read(self.columns.roots.flat())?
                .arg(p);
            // SAFETY: void tree_columns(const float* gains, const float2* z, float2* a, const float2* table,
            // LineParams p); views checked by `tree_analysis`, the workspace holds `jobs()` padded half spectra.
            unsafe { columns.launch()? };
            let rows = self
                .row_kernel(b, "tree_rows", self.height / 2, jobs)?
                .read(work.as_view())?
                .write(y.reborrow())?
                .read(self.rows.roots.flat())?
                .arg(p);
            // SAFETY: void tree_rows(const float2* a, float* y, const float2* table, LineParams p); as above.
            unsafe { rows.launch()? };
        }
        Ok(())
    }

    pub(super) fn tree_synthesis<T: Real>(
        &self,
        b: &Cuda,
        t: TreeParams,
        gains: View<'_, Cuda, T>,
        y: View<'_, Cuda, T>,
        mut z: ViewMut<'_, Cuda, Complex<T>>,
        work: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let mut work = aligned(work)?;
        for (first, jobs, p) in self.launches(b, t) {
            let rows = self
                .row_kernel(b, "forward_tree_rows", self.height / 2, jobs)?
                .read(y)?
                .write(work.reborrow())?
                .read(self.rows.roots.flat())?
                .arg(p);
            // SAFETY: void forward_tree_rows(const float* y, float2* a, const float2* table, LineParams p); views
            // checked by `tree_synthesis`, the workspace holds `jobs()` padded half spectra.
            unsafe { rows.launch()? };
            // One block sums what is here of an image's planes, in their order, onto what came before.
            let group = jobs.min(t.bands as usize);
            let flags = if first.is_multiple_of(t.bands as usize) { 0 } else { ADD };
            let columns = self
                .column_kernel(b, "forward_tree_columns", self.width / 2 + 1, jobs / group)?
                .read(gains)?
                .read(work.as_view())?
                .write(z.reborrow())?
                .read(self.columns.roots.flat())?
                .arg(LineParams { group: group as u32, flags, ..p });
            // SAFETY: void forward_tree_columns(const float* gains, const float2* a, float2* z, const float2* table,
            // LineParams p); as above; a launch holds whole images or a part of one.
            unsafe { columns.launch()? };
        }
        Ok(())
    }

    /// The launches over all planes of trees: first plane, planes, and what kernels get.
    fn launches(&self, b: &Cuda, t: TreeParams) -> impl Iterator<Item = (usize, usize, LineParams)> {
        let bands = t.bands as usize;
        let each = self.jobs(bands);
        // Two blocks of a column kernel on every multiprocessor at least.
        let (strips, blocks) = ((self.width / 2 + 1).div_ceil(4096 / self.columns.len), 2 * b.device().units);
        // Launches that hold a part of an image end with it.
        let images = t.count as usize;
        let (outer, inner) = if each >= bands { (1, images * bands) } else { (images, bands) };
        let p = LineParams {
            bands: t.bands,
            x_stride: t.z_stride,
            y_stride: t.image_stride,
            plane_stride: t.plane_stride,
            ..self.params()
        };
        (0..outer).flat_map(move |n| {
            groups(inner, each).map(move |(first, jobs)| {
                let first = n * inner + first;
                let fits =
                    |g: &usize| bands.is_multiple_of(*g) && jobs.is_multiple_of(*g) && jobs / g * strips >= blocks;
                let group = (1..=GROUP).rev().find(fits).unwrap_or(1);
                (first, jobs, LineParams { first: first as u32, group: group as u32, ..p })
            })
        })
    }
}

/// Splits `count` into runs of at most `size`: (first, length).
fn groups(count: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(size.max(1)).map(move |first| (first, size.min(count - first)))
}
