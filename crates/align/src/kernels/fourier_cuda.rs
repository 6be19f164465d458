//! The CUDA twins of [`fft_r2c`](super::fft_r2c) and [`fft_c2r`](super::fft_c2r).
//!
//! By cuFFT where it is found, else by kernels of our own, which need only a driver: rows of `W` real numbers as `W / 2`
//! complex ones, then columns, each line in shared memory. In both, planes are transformed as if each were alone, so a
//! batch gives the bits of single planes.
//!
//! Our kernels move 8 bytes in and out for each element of the half spectrum and pass: on an H200 28 % of
//! the floor of two passes (80 µs for 24 MP, where cuFFT takes 63).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use gpu_core::cuda::fft::{self, FftKind, FftPlan};
use gpu_core::cuda::{Grid, Launch};
use gpu_core::{Backend, Cuda, Elem, Error, QueueId, Result, Tensor, View, ViewMut};
use num_complex::Complex32;
use rustacuda_derive::DeviceCopy;

use super::cuda::{BLOCK, KERNELS, pixels};
use super::fft_c2r::FftC2r;
use super::fft_r2c::FftR2c;
use super::fourier::{Fourier, FourierPlan, good_size};

/// What every kernel of `fft.cu` gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
struct FftParams {
    planes: u32,
    height: u32,
    width: u32,
    lines: u32,
    inverse: u32,
    scale: f32,
    radices: u64,
}

/// What transforms of one plane size use on a device.
#[derive(Debug)]
pub struct CudaTransforms {
    height: usize,
    width: usize,
    path: Path,
}

#[derive(Debug)]
enum Path {
    Own(Own),
    Library(Library),
}

/// Tables for lines of one length.
#[derive(Debug)]
struct Axis {
    /// Complex elements of a line.
    len: usize,
    /// One radix in four bits, the first pass lowest.
    radices: u64,
    /// Where the kernels put each element.
    places: Tensor<Cuda, u32, 1>,
    /// Roots of unity of the length, or of twice the length for rows.
    roots: Tensor<Cuda, Complex32, 1>,
    /// Lines of a block.
    lines: usize,
}

/// This crate's kernels.
#[derive(Debug)]
struct Own {
    rows: Axis,
    columns: Axis,
}

/// The library's plans, which belong to a queue each.
#[derive(Debug, Default)]
struct Library {
    queues: Mutex<HashMap<QueueId, Plans>>,
}

#[derive(Debug)]
struct Plans {
    forward: FftPlan,
    inverse: FftPlan,
}

/// Rows of a thread that scales a spectrum.
const ROWS: usize = 4;

/// The passes of a line: eights first, since they move the least.
fn radices(mut n: usize) -> Vec<usize> {
    let mut all = Vec::new();
    for radix in [8, 4, 2, 3, 5, 7] {
        while n.is_multiple_of(radix) {
            all.push(radix);
            n /= radix;
        }
    }
    all
}

/// Where element `n` of a line goes for transforms that work in place: its digits reversed.
fn places(n: usize, radices: &[usize]) -> Vec<u32> {
    let place = |mut element: usize| {
        let (mut at, mut block) = (0, n);
        for radix in radices.iter().rev() {
            block /= radix;
            at += element % radix * block;
            element /= radix;
        }
        at as u32
    };
    (0..n).map(place).collect()
}

impl Axis {
    fn new(b: &Cuda, len: usize, denominator: usize, lines: usize) -> Result<Self> {
        let radices = radices(len);
        let roots: Vec<Complex32> = (0..denominator)
            .map(|k| {
                let angle = -std::f64::consts::TAU * k as f64 / denominator as f64;
                Complex32::new(angle.cos() as f32, angle.sin() as f32)
            })
            .collect();
        Ok(Self {
            len,
            radices: radices.iter().rev().fold(0, |all, &radix| all << 4 | radix as u64),
            places: Tensor::from_slice(b, [len], &places(len, &radices))?.share(b)?,
            roots: Tensor::from_slice(b, [denominator], &roots)?.share(b)?,
            lines,
        })
    }

    /// One kernel over `count` lines of each of `planes` planes.
    fn launch<'a, T: Elem, U: Elem>(
        &'a self,
        b: &'a Cuda,
        name: &str,
        count: usize,
        (from, to): (View<'a, Cuda, T>, ViewMut<'a, Cuda, U>),
        p: FftParams,
    ) -> Result<Launch<'a>> {
        let launch = b.kernel(&KERNELS, name)?.read(from)?.write(to)?;
        self.finish(launch, count, p)
    }

    fn finish<'a>(&'a self, launch: Launch<'a>, count: usize, p: FftParams) -> Result<Launch<'a>> {
        // A butterfly of eight for each thread, where there are so many.
        let threads = (self.len * self.lines / 8).next_multiple_of(32).clamp(32, 512) as u32;
        Ok(launch
            .read(self.roots.flat())?
            .read(self.places.flat())?
            .arg(FftParams { lines: self.lines as u32, radices: self.radices, ..p })
            .grid((Grid::cover(count, self.lines as u32)?, p.planes, 1))
            .looping(1)
            .block((threads, 1, 1))
            .shared((8 * self.len * self.lines) as u32))
    }
}

/// Lines of a block: as many as are asked for while two blocks fit the shared memory, else as many as fit.
fn lines_of(shared: usize, len: usize, most: usize) -> usize {
    let fit = |lines: &usize, bytes: usize| 8 * len * lines <= bytes;
    let halves = || std::iter::successors(Some(most), |n| Some(n / 2).filter(|&n| n > 0));
    let spacious = halves().take_while(|&n| n >= most.div_ceil(2)).find(|n| fit(n, shared / 2));
    spacious.or_else(|| halves().find(|n| fit(n, shared))).unwrap_or(0)
}

impl Own {
    fn new(b: &Cuda, height: usize, width: usize) -> Result<Self> {
        let device = b.device();
        let refused = |why: &str| Error::Unsupported {
            what: format!("a transform of {height} x {width} without cuFFT ({why})"),
            device: device.name.clone(),
        };
        if good_size(height, false) != height || good_size(width, true) != width {
            return Err(refused("only sizes 2^a 3^b 5^c 7^d"));
        }
        let half = width / 2;
        // Short rows share a block; eight columns are two sectors of memory.
        let rows = lines_of(device.shared_per_block, half, (1024 / half).clamp(1, 16));
        let columns = lines_of(device.shared_per_block, height, 8);
        if rows == 0 || columns == 0 {
            return Err(refused("its shared memory is too small"));
        }
        Ok(Self { rows: Axis::new(b, half, width, rows)?, columns: Axis::new(b, height, height, columns)? })
    }
}

impl Library {
    /// Makes the plans at the first use on a queue.
    fn with_plans<R>(
        &self,
        b: &Cuda,
        [height, width]: [usize; 2],
        body: impl FnOnce(&Plans) -> Result<R>,
    ) -> Result<R> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let plans = match queues.entry(b.queue()) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let dims = [height, width];
                place.insert(Plans {
                    forward: FftPlan::new(b, &dims, 1, FftKind::R2C)?,
                    inverse: FftPlan::new(b, &dims, 1, FftKind::C2R)?,
                })
            }
        };
        body(plans)
    }
}

impl CudaTransforms {
    fn half(&self) -> usize {
        self.width / 2 + 1
    }

    fn area(&self) -> usize {
        self.height * self.half()
    }

    fn params(&self, planes: usize) -> FftParams {
        let (planes, height, width) = (planes as u32, self.height as u32, self.width as u32);
        FftParams { planes, height, width, lines: 1, inverse: 0, scale: 1.0, radices: 0 }
    }

    /// Kernels and library read and write two reals at once.
    fn aligned(what: &'static str, start: usize) -> Result<()> {
        if start.is_multiple_of(2) {
            return Ok(());
        }
        Err(Error::value(what, format!("the view starts at element {start}; it must be an even one")))
    }

    fn backward(&self) -> FftParams {
        let scale = (1.0 / (self.height as f64 * self.width as f64)) as f32;
        FftParams { inverse: 1, scale, ..self.params(1) }
    }
}

impl Fourier for Cuda {
    type Prepared = CudaTransforms;

    fn prepare(&self, height: usize, width: usize, library: bool) -> Result<CudaTransforms> {
        let path = if library && fft::is_available() {
            let library = Library::default();
            library.with_plans(self, [height, width], |_| Ok(()))?;
            Path::Library(library)
        } else {
            Path::Own(Own::new(self, height, width)?)
        };
        Ok(CudaTransforms { height, width, path })
    }

    fn work_len(prepared: &CudaTransforms) -> usize {
        prepared.area()
    }

    fn held_bytes(&self, height: usize, width: usize) -> usize {
        // The library tells what its plans need when they are made; as much as a half spectrum each is usual.
        let plans = if fft::is_available() { 2 * 8 * height * (width / 2 + 1) } else { 0 };
        plans + 16 * (height + width)
    }
}

impl FftR2c for Cuda {
    fn fft_r2c_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        x: View<'_, Self, f32>,
        mut z: ViewMut<'_, Self, Complex32>,
        _work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()> {
        let t = plan.prepared();
        CudaTransforms::aligned("x", x.parts().1)?;
        match &t.path {
            Path::Library(library) => library.with_plans(self, [t.height, t.width], |plans| {
                for n in 0..planes {
                    let x = x.slice(n * t.height * t.width..(n + 1) * t.height * t.width)?;
                    let z = z.reborrow().slice(n * t.area()..(n + 1) * t.area())?;
                    plans.forward.real_to_complex(self, x, z)?;
                }
                Ok(())
            }),
            Path::Own(own) => {
                let p = t.params(planes);
                let rows = own.rows.launch(self, "fft_rows_f32", t.height, (x, z.reborrow()), p)?;
                // SAFETY: void fft_rows_f32(const float2* x, float2* z, const float2* table, const unsigned* places,
                // FftParams p); lengths checked by `fft_r2c`, tables made for these lengths, shared memory for a block.
                unsafe { rows.launch()? };
                let columns = self.kernel(&KERNELS, "fft_columns_f32")?.write(z)?;
                let columns = own.columns.finish(columns, t.half(), p)?;
                // SAFETY: void fft_columns_f32(float2* z, const float2* table, const unsigned* places, FftParams p); as
                // above.
                unsafe { columns.launch() }
            }
        }
    }
}

impl FftC2r for Cuda {
    fn fft_c2r_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        z: View<'_, Self, Complex32>,
        mut x: ViewMut<'_, Self, f32>,
        mut work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()> {
        let t = plan.prepared();
        CudaTransforms::aligned("x", x.as_view().parts().1)?;
        let (area, pixels_of) = (t.area(), t.height * t.width);
        for n in 0..planes {
            let z = z.slice(n * area..(n + 1) * area)?;
            let mut work = work.reborrow().slice(0..area)?;
            let x = x.reborrow().slice(n * pixels_of..(n + 1) * pixels_of)?;
            match &t.path {
                Path::Library(library) => {
                    let spectrum = self
                        .kernel(&KERNELS, "fft_spectrum_f32")?
                        .read(z)?
                        .write(work.reborrow())?
                        .arg(t.backward())
                        .grid(pixels(t.height.div_ceil(ROWS), t.half(), 1)?)
                        .block(BLOCK);
                    // SAFETY: void fft_spectrum_f32(const float2* z, float2* y, FftParams p); one half spectrum each.
                    unsafe { spectrum.launch()? };
                    library
                        .with_plans(self, [t.height, t.width], |plans| plans.inverse.complex_to_real(self, work, x))?;
                }
                Path::Own(own) => {
                    let columns = (z, work.reborrow());
                    let columns = own.columns.launch(self, "fft_columns_back_f32", t.half(), columns, t.backward())?;
                    // SAFETY: void fft_columns_back_f32(const float2* from, float2* to, const float2* table,
                    // const unsigned* places, FftParams p); one half spectrum each, tables made for these lengths.
                    unsafe { columns.launch()? };
                    let rows = (work.as_view(), x);
                    let rows = own.rows.launch(self, "fft_rows_back_f32", t.height, rows, t.params(1))?;
                    // SAFETY: void fft_rows_back_f32(const float2* z, float2* x, const float2* table,
                    // const unsigned* places, FftParams p); a half spectrum and a plane.
                    unsafe { rows.launch()? };
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_reversed_once_each() {
        for n in [1, 2, 6, 8, 60, 105, 1500, 2016] {
            let radices = radices(n);
            assert_eq!(radices.iter().product::<usize>(), n);
            let mut places = places(n, &radices);
            if n == 8 {
                assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7]);
            }
            if n == 6 {
                // Threes last: elements 0 3 | 1 4 | 2 5 are the halves.
                assert_eq!(places, [0, 2, 4, 1, 3, 5]);
            }
            places.sort_unstable();
            assert!(places.iter().enumerate().all(|(i, &p)| i == p as usize), "{n}");
        }
    }

    #[test]
    fn blocks_hold_what_fits() {
        assert_eq!(lines_of(228 << 10, 1024, 8), 8);
        assert_eq!(lines_of(228 << 10, 2000, 8), 4);
        assert_eq!(lines_of(228 << 10, 4704, 8), 4);
        assert_eq!(lines_of(64 << 10, 4704, 8), 1);
        assert_eq!(lines_of(64 << 10, 9000, 8), 0);
    }
}
