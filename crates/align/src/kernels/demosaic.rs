//! `rgb[c, y, x]`: the pixel's own value where it has the colour, else `Σ k v / Σ k` over the pixels of colour `c` around
//! it: normalised convolution.
//!
//! `v = (mosaic − black) / (white − black)`. The weights `k` are products of binomial coefficients, `1 2 1` for Bayer,
//! where this is bilinear interpolation, and `1 4 6 4 1` for X-Trans, where every 5 × 5 pixels have all colours. Pixels
//! outside of the picture are left out. Sums run row by row in `f32`, product and sum rounded alone: twins agree to the
//! bit. For comparing pictures with X-Trans' pattern; Bayer's have [`demosaic_edges`](super::demosaic_edges).
//!
//! Floor: 2 bytes in and 12 out a pixel; 18 operations for Bayer, 50 for X-Trans. An H200 takes 684 µs for 24 MP: 12
//! % of what it copies.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, product, size32};
use crate::{BlackLevel, Cfa};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct DemosaicParams {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Period of the pattern.
    pub period: u32,
    /// How far neighbours lie.
    pub radius: u32,
}

/// Colours and levels of one pattern in the memory of a device.
#[derive(Debug)]
pub struct ColourTable<B: Backend> {
    pub(super) period: usize,
    radius: usize,
    /// 0, 1 or 2 for each position.
    pub(super) colours: Tensor<B, u32, 1>,
    /// Black of each position.
    pub(super) black: Tensor<B, f32, 1>,
    /// 1 / (white − black) of each position.
    pub(super) scale: Tensor<B, f32, 1>,
}

impl<B: Backend> ColourTable<B> {
    /// Makes and uploads the tables. Usable on every queue of the device.
    ///
    /// # Errors
    /// For pictures without filters, and when a black level is not below white.
    pub fn new(b: &B, cfa: &Cfa, black: &BlackLevel, white: u16) -> Result<Self> {
        let radius = match cfa {
            Cfa::Bayer(_) => 1,
            Cfa::XTrans(_) => 2,
            Cfa::Gray => return Err(Error::value("pattern", "the picture has all colours already")),
        };
        let period = cfa.period();
        let colours: Vec<u32> =
            (0..period * period).map(|i| cfa.colour(i / period, i % period).index() as u32).collect();
        let blacks: Vec<f32> = (0..period * period).map(|i| black.at(i / period, i % period)).collect();
        if let Some(bad) = blacks.iter().find(|&&b| b.is_nan() || b >= f32::from(white)) {
            return Err(Error::value("black", format!("{bad} is not below white {white}")));
        }
        let scale: Vec<f32> = blacks.iter().map(|b| 1.0 / (f32::from(white) - b)).collect();
        let n = [period * period];
        Ok(Self {
            period,
            radius,
            colours: Tensor::from_slice(b, n, &colours)?.share(b)?,
            black: Tensor::from_slice(b, n, &blacks)?.share(b)?,
            scale: Tensor::from_slice(b, n, &scale)?.share(b)?,
        })
    }
}

/// The operation on one backend.
pub trait Demosaic: Backend {
    #[doc(hidden)]
    fn demosaic_unchecked(
        &self,
        p: DemosaicParams,
        table: &ColourTable<Self>,
        mosaic: View<'_, Self, u16>,
        rgb: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Turns a mosaic of `height * width` into `[3, height, width]`.
///
/// # Errors
/// When a side is shorter than the period, or a view is too short.
pub fn demosaic<B: Demosaic>(
    b: &B,
    table: &ColourTable<B>,
    height: usize,
    width: usize,
    mosaic: View<'_, B, u16>,
    rgb: ViewMut<'_, B, f32>,
) -> Result<()> {
    if height < table.period || width < table.period {
        return Err(Error::value("mosaic", format!("{height} x {width} is less than one period of {}", table.period)));
    }
    holds("mosaic", product(&[height, width]), mosaic.len())?;
    holds("rgb", product(&[3, height, width]), rgb.len())?;
    let p = DemosaicParams {
        height: size32("height", height)?,
        width: size32("width", width)?,
        period: table.period as u32,
        radius: table.radius as u32,
    };
    b.demosaic_unchecked(p, table, mosaic, rgb)
}

/// Binomial coefficients by radius.
const BINOMIAL: [[f32; 5]; 3] = [[1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 1.0, 0.0, 0.0], [1.0, 4.0, 6.0, 4.0, 1.0]];

/// `sums[x] += k · v[x] · mask[x]`: pixels of other colours add 0, which changes no sum.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
fn add_tap(sums: &mut [f32], k: f32, values: &[f32], mask: &[f32]) {
    for ((sum, v), mask) in sums.iter_mut().zip(values).zip(mask) {
        *sum += k * v * mask;
    }
}

/// `out[x] = own[x]` where the pixel has the colour, else `sums[x] / weight[x]`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
fn finish(out: &mut [f32], sums: &[f32], weight: &[f32], own: &[f32], mask: &[f32]) {
    for ((((out, sum), weight), own), mask) in out.iter_mut().zip(sums).zip(weight).zip(own).zip(mask) {
        let mean = if *weight > 0.0 { sum / weight } else { 0.0 };
        *out = if *mask > 0.0 { *own } else { mean };
    }
}

/// Rows of a task.
const BAND: usize = 16;

impl Demosaic for Cpu {
    fn demosaic_unchecked(
        &self,
        p: DemosaicParams,
        table: &ColourTable<Self>,
        mosaic: View<'_, Self, u16>,
        rgb: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (mosaic, rgb) = (self.read(mosaic)?, self.write(rgb)?);
        let (colours, black) = (self.read(table.colours.flat())?, self.read(table.black.flat())?);
        let scale = self.read(table.scale.flat())?;
        let (height, width) = (p.height as usize, p.width as usize);
        let (period, radius) = (p.period as usize, p.radius as usize);
        let weights = &BINOMIAL[radius][..=2 * radius];
        // Rows have `radius` pixels without light and colour on each side.
        let wide = width + 2 * radius;
        let mut masks = vec![0.0f32; 3 * period * wide];
        for (i, mask) in masks.chunks_exact_mut(wide).enumerate() {
            for x in 0..width {
                mask[radius + x] =
                    f32::from(u8::from(colours[i % period * period + x % period] as usize == i / period));
            }
        }
        let mask = |colour: usize, y: usize| &masks[(colour * period + y % period) * wide..][..wide];
        let has = |colour: usize, y: usize| colours[y % period * period..][..period].contains(&(colour as u32));
        // Weights around a row of a picture with so many; binomials and their sums are exact.
        let weigh = |colour: usize, y: usize, height: usize| {
            let mut sums = vec![0.0f32; width];
            for (d, wy) in weights.iter().enumerate() {
                if let Some(from) = (y + d).checked_sub(radius).filter(|&from| from < height) {
                    let mask = mask(colour, from);
                    for (dx, wx) in weights.iter().enumerate() {
                        add_tap(&mut sums, wy * wx, &mask[dx..dx + width], &mask[dx..dx + width]);
                    }
                }
            }
            sums
        };
        // Those of rows with all their neighbours.
        let inside: Vec<Vec<f32>> =
            (0..3 * period).map(|i| weigh(i / period, i % period + 2 * period, usize::MAX)).collect();
        let area = height * width;
        let (red, rest) = rgb[..3 * area].split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        let bands = red.par_chunks_mut(BAND * width).zip(green.par_chunks_mut(BAND * width));
        bands.zip(blue.par_chunks_mut(BAND * width)).enumerate().for_each_init(
            || (vec![0.0f32; (BAND + 2 * radius) * wide], vec![0.0f32; width]),
            |(levelled, sums), (band, ((red, green), blue))| {
                let first = band * BAND;
                let count = red.len() / width;
                let top = first.saturating_sub(radius);
                let bottom = (first + count + radius).min(height);
                for y in top..bottom {
                    let out = &mut levelled[(y - top) * wide + radius..][..width];
                    let (black, scale) = (&black[y % period * period..], &scale[y % period * period..]);
                    for (out, row) in out.chunks_mut(period).zip(mosaic[y * width..][..width].chunks(period)) {
                        for (((out, &v), black), scale) in out.iter_mut().zip(row).zip(black).zip(scale) {
                            *out = (f32::from(v) - black) * scale;
                        }
                    }
                }
                for (colour, plane) in [red, green, blue].into_iter().enumerate() {
                    for (y, out) in (first..).zip(plane.chunks_exact_mut(width)) {
                        sums.fill(0.0);
                        for (d, wy) in weights.iter().enumerate() {
                            let Some(from) = (y + d).checked_sub(radius).filter(|&from| from < height) else {
                                continue;
                            };
                            if !has(colour, from) {
                                continue;
                            }
                            let (row, mask) = (&levelled[(from - top) * wide..][..wide], mask(colour, from));
                            for (dx, wx) in weights.iter().enumerate() {
                                add_tap(sums, wy * wx, &row[dx..dx + width], &mask[dx..dx + width]);
                            }
                        }
                        let border;
                        let weight = if y < radius || y + radius >= height {
                            border = weigh(colour, y, height);
                            &border
                        } else {
                            &inside[colour * period + y % period]
                        };
                        let own = &levelled[(y - top) * wide + radius..][..width];
                        finish(out, sums, weight, own, &mask(colour, y)[radius..radius + width]);
                    }
                }
            },
        );
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Demosaic for gpu_core::Cuda {
    fn demosaic_unchecked(
        &self,
        p: DemosaicParams,
        table: &ColourTable<Self>,
        mosaic: View<'_, Self, u16>,
        rgb: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let launch = self
            .kernel(&super::cuda::KERNELS, "demosaic_u16")?
            .read(mosaic)?
            .read(table.colours.flat())?
            .read(table.black.flat())?
            .read(table.scale.flat())?
            .write(rgb)?
            .arg(p)
            .grid(super::cuda::pixels(p.height as usize, p.width as usize, 1)?)
            .block(super::cuda::BLOCK);
        // SAFETY: void demosaic_u16(const unsigned short* mosaic, const unsigned* colours, const float* black,
        // const float* scale, float* rgb, DemosaicParams p); tables have period^2 entries, lengths checked by `demosaic`.
        unsafe { launch.launch() }
    }
}
