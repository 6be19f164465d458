//! What an aligned pair is worth for training: gains, loss, and the mask of pixels that show the same.

use std::borrow::Cow;

use gpu_core::{Tensor, View};
use ndarray::Array2;
use rayon::prelude::*;

use crate::kernels::{
    ColourTable, RANK_BINS, demosaic, demosaic_edges, difference, keep_below, open_cross, quantile, rect_sums,
};
use crate::overlap::overlap;
use crate::{AlignBackend, Cfa, Error, RawFrame, Rect, Result};

/// The largest difference that a pixel may have.
const MOST: f32 = 0.4;
/// The part of the pixels that is kept when all of them differ little.
const KEPT: f64 = 0.9999;

/// A picture with all colours, in the memory of a device.
#[derive(Debug)]
pub struct Developed<B: AlignBackend> {
    rgb: Tensor<B, f32, 3>,
    /// Mean of the mosaic, 0 for black and 1 for white.
    pub raw_mean: f64,
    /// Mean over all colours.
    pub rgb_mean: f64,
}

/// What the comparison of a pair says.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the pictures have in common, in the ground truth.
    pub gt: Rect,
    /// The same in the noisy picture.
    pub noisy: Rect,
    /// Mean of the ground truth's mosaic over that of the noisy one.
    pub raw_gain: f64,
    /// The same for pictures with all colours.
    pub rgb_gain: f64,
    /// Mean of `|gt − gain · noisy|` over what is common, with the gain of the whole pictures.
    pub loss: f64,
    /// Differences from here on are masked.
    pub threshold: f32,
    /// Values of the ground truth's mosaic from here on are over-exposed.
    pub overexposure: f64,
    /// 255 where the pair can be trained on, else 0; as large as what is common.
    pub mask: Array2<u8>,
    /// The part that can be trained on.
    pub mask_mean: f64,
}

/// Interpolates the colours of a picture.
///
/// # Errors
/// What the device says.
pub fn develop<B: AlignBackend>(b: &B, frame: &RawFrame) -> Result<Developed<B>> {
    let [height, width] = frame.size();
    let mut rgb = Tensor::scratch(b, [3, height, width])?;
    if let Some(planes) = &frame.rgb {
        let values: Vec<f32> = planes.iter().copied().collect();
        b.upload(&values, rgb.flat_mut())?;
    } else {
        let table = ColourTable::new(b, &frame.cfa, &frame.black, frame.white)?;
        let mosaic = Tensor::from_array(b, frame.mosaic.view())?;
        if matches!(frame.cfa, Cfa::Bayer(_)) {
            demosaic_edges(b, &table, height, width, mosaic.flat(), rgb.flat_mut())?;
        } else {
            demosaic(b, &table, height, width, mosaic.flat(), rgb.flat_mut())?;
        }
    }
    let mut rows = Tensor::<B, f64, 1>::scratch(b, [height])?;
    let rgb_mean = mean(b, (&rgb, Rect { top: 0, left: 0, height, width }), &mut rows)?;
    Ok(Developed { rgb, raw_mean: raw_mean(frame)?, rgb_mean })
}

/// Mean of all colours in a rectangle; `rows` takes the sum of each row.
fn mean<B: AlignBackend>(b: &B, (rgb, of): (&Tensor<B, f32, 3>, Rect), rows: &mut Tensor<B, f64, 1>) -> Result<f64> {
    let [_, height, width] = rgb.shape();
    rect_sums(b, [height, width], (rgb.flat(), of), rows.flat_mut())?;
    let sums = rows.to_vec(b)?;
    Ok(sums[..of.height].iter().sum::<f64>() / (3 * of.height * of.width) as f64)
}

/// Mean of a mosaic, 0 for black and 1 for white.
fn raw_mean(frame: &RawFrame) -> Result<f64> {
    let p = frame.cfa.period();
    let width = frame.mosaic.ncols();
    let values = in_rows(frame)?;
    // Sums of whole numbers: in any order.
    let sums = values.par_chunks(width * p).map(|band| {
        let mut sums = vec![0u64; p * p];
        for (y, row) in band.chunks(width).enumerate() {
            for cell in row.chunks(p) {
                for (sum, &v) in sums[y * p..].iter_mut().zip(cell) {
                    *sum += u64::from(v);
                }
            }
        }
        sums
    });
    let sums = sums.reduce(|| vec![0; p * p], |a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect());
    let each = (frame.mosaic.len() / (p * p)) as f64;
    let levels = frame.black.levels().iter().zip(&sums).map(|(&black, &sum)| {
        let black = f64::from(black);
        (sum as f64 / each - black) / (f64::from(frame.white) - black)
    });
    Ok(levels.sum::<f64>() / (p * p) as f64)
}

/// The values of a mosaic, row by row.
fn in_rows(frame: &RawFrame) -> Result<&[u16]> {
    frame.mosaic.as_slice().ok_or_else(|| Error::value("mosaic", "its rows do not follow each other in memory"))
}

/// `min(1, (linear white − black) / (white − black))`, 1 where the file does not say how far the sensor is linear.
pub fn overexposure(frame: &RawFrame) -> f64 {
    frame.meta.linear_limit.unwrap_or(1.0).min(1.0)
}

/// Bytes that a picture with all colours takes.
pub fn picture_bytes([height, width]: [usize; 2]) -> usize {
    12 * height * width
}

/// Bytes beside two pictures: the mosaic while colours are interpolated, or differences, a mask, their rows' sums and
/// counts, or three masks while a pair is compared.
pub fn pair_bytes([height, width]: [usize; 2]) -> usize {
    5 * height * width + 8 * height + 4 * RANK_BINS + 1024
}

/// Where a [`Comparer`] gets its pictures from, by their number.
type Load<'a> = Box<dyn Fn(usize) -> Result<Cow<'a, RawFrame>> + 'a>;

/// Compares pairs of a scene; keeps as many pictures with all colours as memory allows.
pub struct Comparer<'a, B: AlignBackend> {
    b: &'a B,
    load: Load<'a>,
    slots: usize,
    /// What is held, the oldest first.
    held: Vec<(usize, Developed<B>)>,
    /// The ground truth of the last pair.
    gt: Option<(usize, Cow<'a, RawFrame>)>,
}

impl<B: AlignBackend> std::fmt::Debug for Comparer<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held: Vec<usize> = self.held.iter().map(|(picture, _)| *picture).collect();
        f.debug_struct("Comparer").field("slots", &self.slots).field("held", &held).finish_non_exhaustive()
    }
}

impl<'a, B: AlignBackend> Comparer<'a, B> {
    /// Plans for pictures of one size, of which no more than `useful` are to be kept, in `memory` bytes of the device
    /// (`None`: what is free). What is kept changes no result.
    ///
    /// # Errors
    /// [`gpu_core::Error::OutOfMemory`] naming the smallest need when not even one pair fits.
    pub fn new(b: &'a B, frames: &'a [RawFrame], useful: usize, memory: Option<usize>) -> Result<Self> {
        let size = frames.first().map_or([0, 0], RawFrame::size);
        let load = move |i: usize| {
            let frame = frames.get(i).ok_or_else(|| Error::value("picture", format!("there is none {i}")))?;
            Ok(Cow::Borrowed(frame))
        };
        Self::loading(b, size, (useful, memory), load)
    }

    /// As [`new`](Self::new), for pictures of `size` that `load` gives by their number: they may be more than memory
    /// holds. One of them and the ground truth of the last pair are held at a time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn loading(
        b: &'a B,
        size: [usize; 2],
        (useful, memory): (usize, Option<usize>),
        load: impl Fn(usize) -> Result<Cow<'a, RawFrame>> + 'a,
    ) -> Result<Self> {
        let slots = slots(size, useful, crate::memory::budget(b, memory))?;
        Ok(Self { b, load: Box::new(load), slots, held: Vec::new(), gt: None })
    }

    /// Pictures that are kept at most.
    pub fn slots(&self) -> usize {
        self.slots
    }

    fn hold(&mut self, picture: usize, other: usize) -> Result<()> {
        if self.held.iter().any(|(held, _)| *held == picture) {
            return Ok(());
        }
        if self.held.len() >= self.slots {
            // Pairs come ground truth by ground truth, each with the same pictures: the last one is needed last.
            let last = self.held.iter().rposition(|(held, _)| *held != other);
            last.map(|at| self.held.remove(at));
        }
        let developed = match &self.gt {
            Some((gt, frame)) if *gt == picture => develop(self.b, frame)?,
            _ => develop(self.b, &*(self.load)(picture)?)?,
        };
        self.held.push((picture, developed));
        Ok(())
    }

    /// Compares a pair of pictures; see [`compare`].
    ///
    /// # Errors
    /// As [`compare`], and what loading a picture says.
    pub fn compare(&mut self, gt: usize, noisy: usize, shift: [i32; 2]) -> Result<Comparison> {
        if self.gt.as_ref().is_none_or(|(held, _)| *held != gt) {
            // Room for the next one.
            self.gt = None;
            self.gt = Some((gt, (self.load)(gt)?));
        }
        self.hold(gt, noisy)?;
        self.hold(noisy, gt)?;
        let find = |picture: usize| self.held.iter().find(|(held, _)| *held == picture).map(|(_, d)| d);
        let (Some(a), Some(z), Some((_, frame))) = (find(gt), find(noisy), &self.gt) else {
            return Err(Error::value("picture", "a pair does not fit"));
        };
        compare_developed(self.b, (a, frame), z, shift)
    }
}

/// How many pictures with all colours `budget` bytes hold beside what comparing takes: 2 at least, `useful` at most.
///
/// # Errors
/// [`gpu_core::Error::OutOfMemory`] naming the smallest need when not even one pair fits.
pub fn slots(size: [usize; 2], useful: usize, budget: usize) -> Result<usize> {
    let pictures = |n: usize| (n + 1) * picture_bytes(size) + pair_bytes(size);
    Ok(gpu_core::batch_within(&pictures, useful.max(2) - 1, budget).map_err(Error::from)? + 1)
}

/// Compares an aligned pair and makes its mask.
///
/// With `L = Σ_c |g(gt_c) − g(gain · noisy_c)|`, `g(v) = v^(1/2.2)` and the gain of what is common, pixels are kept where `L` is below
/// `min(0.4, 0.9999-quantile of L)` (1 in place of 0), opened by a cross of five pixels, and not over-exposed in the
/// ground truth.
///
/// # Errors
/// When the pictures do not fit, or the shift leaves nothing in common.
pub fn compare<B: AlignBackend>(
    b: &B,
    (gt, gt_frame): (&Developed<B>, &RawFrame),
    (noisy, noisy_frame): (&Developed<B>, &RawFrame),
    shift: [i32; 2],
) -> Result<Comparison> {
    gt_frame.fits(noisy_frame)?;
    compare_developed(b, (gt, gt_frame), noisy, shift)
}

/// As [`compare`], for pictures of one camera.
fn compare_developed<B: AlignBackend>(
    b: &B,
    (gt, gt_frame): (&Developed<B>, &RawFrame),
    noisy: &Developed<B>,
    shift: [i32; 2],
) -> Result<Comparison> {
    let size = gt_frame.size();
    if [gt.rgb.shape(), noisy.rgb.shape()] != [[3, size[0], size[1]]; 2] {
        return Err(Error::value("pictures", format!("they are not all of {} x {}", size[0], size[1])));
    }
    let (from_gt, from_noisy) = overlap(size, size, shift, gt_frame.cfa.period())?;
    let gain = |a: f64, b: f64| if b > 0.0 { a / b } else { 1.0 };
    let (raw_gain, rgb_gain) = (gain(gt.raw_mean, noisy.raw_mean), gain(gt.rgb_mean, noisy.rgb_mean));
    let (rows, columns) = (from_gt.height, from_gt.width);
    let area = rows * columns;
    let mut sums = Tensor::<B, f64, 1>::scratch(b, [rows])?;
    let mut mean = |picture: &Developed<B>, of: Rect| mean(b, (&picture.rgb, of), &mut sums);
    let common_gain = gain(mean(gt, from_gt)?, mean(noisy, from_noisy)?);
    let mut differences = Tensor::<B, f32, 1>::scratch(b, [area])?;
    let (gt_view, noisy_view): (View<'_, B, f32>, View<'_, B, f32>) = (gt.rgb.flat(), noisy.rgb.flat());
    difference(
        b,
        size,
        (gt_view, from_gt),
        (noisy_view, from_noisy),
        [common_gain as f32, rgb_gain as f32],
        differences.flat_mut(),
        sums.flat_mut(),
    )?;
    let loss = sums.to_vec(b)?.iter().sum::<f64>() / (3 * area) as f64;
    let threshold = match quantile(b, differences.flat(), KEPT)?.min(MOST) {
        t if t > 0.0 => t,
        _ => 1.0,
    };
    let mut kept = Tensor::<B, u8, 1>::scratch(b, [area])?;
    keep_below(b, differences.flat(), threshold, kept.flat_mut())?;
    // Room for the masks.
    drop((differences, sums));
    let (mut opened, mut work) = (Tensor::<B, u8, 1>::scratch(b, [area])?, Tensor::<B, u8, 1>::scratch(b, [area])?);
    open_cross(b, [rows, columns], kept.flat(), opened.flat_mut(), work.flat_mut())?;
    let limit = overexposure(gt_frame);
    let exposed = exposed_values(gt_frame, limit);
    let mut mask = opened.to_vec(b)?;
    let width = gt_frame.mosaic.ncols();
    let mosaic = in_rows(gt_frame)?;
    let p = gt_frame.cfa.period();
    let kept: usize = mask
        .par_chunks_mut(columns.max(1))
        .enumerate()
        .map(|(y, mask)| {
            let y = from_gt.top + y;
            let exposed = &exposed[y % p * p..][..p];
            let row = &mosaic[y * width + from_gt.left..][..columns];
            let levels = exposed.iter().cycle().skip(from_gt.left % p);
            let mut count = 0;
            for ((kept, &v), &exposed) in mask.iter_mut().zip(row).zip(levels) {
                let keep = *kept == 1 && f64::from(v) < exposed;
                *kept = if keep { 255 } else { 0 };
                count += usize::from(keep);
            }
            count
        })
        .sum();
    let mask = Array2::from_shape_vec((rows, columns), mask).map_err(|e| Error::value("mask", e.to_string()))?;
    let mask_mean = kept as f64 / area as f64;
    Ok(Comparison {
        gt: from_gt,
        noisy: from_noisy,
        raw_gain,
        rgb_gain,
        loss,
        threshold,
        overexposure: limit,
        mask,
        mask_mean,
    })
}

/// The value from which on each position of the pattern is over-exposed.
fn exposed_values(frame: &RawFrame, limit: f64) -> Vec<f64> {
    let white = f64::from(frame.white);
    let of = |&black: &f32| f64::from(black) + limit * (white - f64::from(black));
    frame.black.levels().iter().map(of).collect()
}

/// Cuts a mosaic. The rectangle must start on a whole period for the pattern to stay the same.
pub fn cut(frame: &RawFrame, r: Rect) -> Array2<u16> {
    frame.mosaic.slice(ndarray::s![r.top..r.top + r.height, r.left..r.left + r.width]).to_owned()
}

/// Whether a frame has filters, so that its colours must be interpolated.
pub fn is_mosaic(frame: &RawFrame) -> bool {
    frame.cfa != Cfa::Gray
}

/// A rectangle of the colours, `[3, height, width]`.
///
/// # Errors
/// What the device says.
pub fn cut_rgb<B: AlignBackend>(b: &B, picture: &Developed<B>, r: Rect) -> Result<ndarray::Array3<f32>> {
    let all = picture.rgb.to_array(b)?;
    Ok(all.slice(ndarray::s![.., r.top..r.top + r.height, r.left..r.left + r.width]).to_owned())
}
