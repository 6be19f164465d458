//! `rgb[c, y, x]`: the pixel's own value where it has the colour, else `Σ k v / Σ k` over the pixels of colour `c` around
//! it: normalised convolution.
//!
//! `v = (mosaic − black) / (white − black)`. The weights `k` are products of binomial coefficients, `1 2 1` for Bayer,
//! where this is bilinear interpolation, and `1 4 6 4 1` for X-Trans, where every 5 × 5 pixels have all colours. Pixels
//! outside of the picture are left out. Sums run row by row in `f32`, product and sum rounded alone: twins agree to the
//! bit. For comparing pictures; nothing here is good enough to look at.
//!
//! Floor: 2 bytes in and 12 out a pixel; 18 operations for Bayer, 50 for X-Trans.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
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
    period: usize,
    radius: usize,
    /// 0, 1 or 2 for each position.
    colours: Tensor<B, u32, 1>,
    /// Black of each position.
    black: Tensor<B, f32, 1>,
    /// 1 / (white − black) of each position.
    scale: Tensor<B, f32, 1>,
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
        let weights = &BINOMIAL[radius];
        let area = height * width;
        let (red, rest) = rgb[..3 * area].split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        let rows = red.par_chunks_exact_mut(width).zip(green.par_chunks_exact_mut(width));
        rows.zip(blue.par_chunks_exact_mut(width)).enumerate().with_min_len(4).for_each_init(
            || vec![0.0f32; (2 * radius + 1) * width],
            |levelled, (y, ((red, green), blue))| {
                let (top, bottom) = (y.saturating_sub(radius), (y + radius).min(height - 1));
                for ny in top..=bottom {
                    let row = &mosaic[ny * width..][..width];
                    let out = &mut levelled[(ny - top) * width..][..width];
                    for (x, (out, &v)) in out.iter_mut().zip(row).enumerate() {
                        let i = ny % period * period + x % period;
                        *out = (f32::from(v) - black[i]) * scale[i];
                    }
                }
                for x in 0..width {
                    let (mut sums, mut weight) = ([0.0f32; 3], [0.0f32; 3]);
                    let (left, right) = (x.saturating_sub(radius), (x + radius).min(width - 1));
                    for ny in top..=bottom {
                        for nx in left..=right {
                            let c = colours[ny % period * period + nx % period] as usize;
                            let k = weights[ny + radius - y] * weights[nx + radius - x];
                            sums[c] += k * levelled[(ny - top) * width + nx];
                            weight[c] += k;
                        }
                    }
                    let own = colours[y % period * period + x % period] as usize;
                    let mut out = [0.0f32; 3];
                    for c in 0..3 {
                        out[c] = if c == own {
                            levelled[(y - top) * width + x]
                        } else if weight[c] > 0.0 {
                            sums[c] / weight[c]
                        } else {
                            0.0
                        };
                    }
                    (red[x], green[x], blue[x]) = (out[0], out[1], out[2]);
                }
            },
        );
        Ok(())
    }
}
