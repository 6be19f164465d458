//! What an aligned pair is worth for training: gains, loss, and the mask of pixels that show the same.

use gpu_core::{Tensor, View};
use ndarray::Array2;

use crate::kernels::{ColourTable, RANK_BINS, demosaic, demosaic_edges, difference, lane_sum, open_cross, quantile};
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
    // Some values at a time: a picture may be larger than what the host has left.
    let (mut sum, mut band) = (0.0, vec![0.0f32; rgb.len().min(1 << 20)]);
    for start in (0..rgb.len()).step_by(1 << 20) {
        let band = &mut band[..(rgb.len() - start).min(1 << 20)];
        b.download(rgb.flat().slice(start..start + band.len())?, band)?;
        sum = band.iter().fold(sum, |sum, &v| sum + f64::from(v));
    }
    let rgb_mean = sum / rgb.len() as f64;
    Ok(Developed { rgb, raw_mean: raw_mean(frame), rgb_mean })
}

/// Mean of a mosaic, 0 for black and 1 for white.
fn raw_mean(frame: &RawFrame) -> f64 {
    let p = frame.cfa.period();
    let mut sums = vec![0u64; p * p];
    for (y, row) in frame.mosaic.rows().into_iter().enumerate() {
        for (x, &v) in row.iter().enumerate() {
            sums[y % p * p + x % p] += u64::from(v);
        }
    }
    let each = (frame.mosaic.len() / (p * p)) as f64;
    let levels = frame.black.levels().iter().zip(&sums).map(|(&black, &sum)| {
        let black = f64::from(black);
        (sum as f64 / each - black) / (f64::from(frame.white) - black)
    });
    levels.sum::<f64>() / (p * p) as f64
}

/// `min(1, (linear white − black) / (white − black))`, 1 where the file does not say how far the sensor is linear.
pub fn overexposure(frame: &RawFrame) -> f64 {
    frame.meta.linear_limit.unwrap_or(1.0).min(1.0)
}

/// Bytes that a picture with all colours takes.
pub fn picture_bytes([height, width]: [usize; 2]) -> usize {
    12 * height * width
}

/// Bytes beside two pictures: the mosaic while colours are interpolated, or differences, their rows' sums and counts, or
/// three masks while a pair is compared.
pub fn pair_bytes([height, width]: [usize; 2]) -> usize {
    4 * height * width + 8 * height + 4 * RANK_BINS + 1024
}

/// Compares pairs of a scene; keeps as many pictures with all colours as memory allows.
#[derive(Debug)]
pub struct Comparer<'a, B: AlignBackend> {
    b: &'a B,
    frames: &'a [RawFrame],
    slots: usize,
    /// What is held, the oldest first.
    held: Vec<(usize, Developed<B>)>,
}

impl<'a, B: AlignBackend> Comparer<'a, B> {
    /// Plans for pictures of one size, of which no more than `useful` are to be kept, in `memory` bytes of the device
    /// (`None`: what is free). What is kept changes no result.
    ///
    /// # Errors
    /// [`gpu_core::Error::OutOfMemory`] naming the smallest need when not even one pair fits.
    pub fn new(b: &'a B, frames: &'a [RawFrame], useful: usize, memory: Option<usize>) -> Result<Self> {
        let size = frames.first().map_or([0, 0], RawFrame::size);
        let slots = slots(size, useful, crate::memory::budget(b, memory))?;
        Ok(Self { b, frames, slots, held: Vec::new() })
    }

    /// Pictures that are kept at most.
    pub fn slots(&self) -> usize {
        self.slots
    }

    fn hold(&mut self, picture: usize, other: usize) -> Result<()> {
        if self.held.iter().any(|(held, _)| *held == picture) {
            return Ok(());
        }
        let frame =
            self.frames.get(picture).ok_or_else(|| Error::value("picture", format!("there is none {picture}")))?;
        if self.held.len() >= self.slots {
            // Pairs come ground truth by ground truth, each with the same pictures: the last one is needed last.
            let last = self.held.iter().rposition(|(held, _)| *held != other);
            last.map(|at| self.held.remove(at));
        }
        self.held.push((picture, develop(self.b, frame)?));
        Ok(())
    }

    /// Compares a pair of `frames`; see [`compare`].
    ///
    /// # Errors
    /// As [`compare`].
    pub fn compare(&mut self, gt: usize, noisy: usize, shift: [i32; 2]) -> Result<Comparison> {
        self.hold(gt, noisy)?;
        self.hold(noisy, gt)?;
        let find = |picture: usize| self.held.iter().find(|(held, _)| *held == picture).map(|(_, d)| d);
        let (Some(a), Some(z)) = (find(gt), find(noisy)) else {
            return Err(Error::value("picture", "a pair does not fit"));
        };
        compare(self.b, (a, &self.frames[gt]), (z, &self.frames[noisy]), shift)
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
    let size = gt_frame.size();
    let (from_gt, from_noisy) = overlap(size, size, shift, noisy_frame.cfa.period())?;
    let gain = |a: f64, b: f64| if b > 0.0 { a / b } else { 1.0 };
    let (raw_gain, rgb_gain) = (gain(gt.raw_mean, noisy.raw_mean), gain(gt.rgb_mean, noisy.rgb_mean));
    let (means, loss) = common(b, (gt, from_gt), (noisy, from_noisy), rgb_gain as f32)?;
    let common_gain = gain(means[0], means[1]);
    let (rows, columns) = (from_gt.height, from_gt.width);
    let area = rows * columns;
    let mut differences = Tensor::<B, f32, 1>::scratch(b, [area])?;
    let mut losses = Tensor::<B, f64, 1>::scratch(b, [rows])?;
    let (gt_view, noisy_view): (View<'_, B, f32>, View<'_, B, f32>) = (gt.rgb.flat(), noisy.rgb.flat());
    difference(
        b,
        size,
        (gt_view, from_gt),
        (noisy_view, from_noisy),
        common_gain as f32,
        differences.flat_mut(),
        losses.flat_mut(),
    )?;
    let threshold = match quantile(b, differences.flat(), KEPT)?.min(MOST) {
        t if t > 0.0 => t,
        _ => 1.0,
    };
    let kept: Vec<u8> = differences.to_vec(b)?.iter().map(|&l| u8::from(l < threshold)).collect();
    // Room for the masks.
    drop((differences, losses));
    let kept = Tensor::<B, u8, 1>::from_slice(b, [area], &kept)?;
    let (mut opened, mut work) = (Tensor::<B, u8, 1>::scratch(b, [area])?, Tensor::<B, u8, 1>::scratch(b, [area])?);
    open_cross(b, [rows, columns], kept.flat(), opened.flat_mut(), work.flat_mut())?;
    let limit = overexposure(gt_frame);
    let exposed = exposed_values(gt_frame, limit);
    let mut mask =
        Array2::from_shape_vec((rows, columns), opened.to_vec(b)?).map_err(|e| Error::value("mask", e.to_string()))?;
    let p = gt_frame.cfa.period();
    for ((y, x), kept) in mask.indexed_iter_mut() {
        let (y, x) = (from_gt.top + y, from_gt.left + x);
        let over = f64::from(gt_frame.mosaic[[y, x]]) >= exposed[y % p * p + x % p];
        *kept = if *kept == 1 && !over { 255 } else { 0 };
    }
    let mask_mean = mask.iter().filter(|&&v| v == 255).count() as f64 / area as f64;
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

/// Means of all colours over what two pictures have in common, and the mean of `|gt − gain · noisy|` there.
fn common<B: AlignBackend>(
    b: &B,
    (gt, from_gt): (&Developed<B>, Rect),
    (noisy, from_noisy): (&Developed<B>, Rect),
    gain: f32,
) -> Result<([f64; 2], f64)> {
    let [_, height, width] = gt.rgb.shape();
    // Some rows at a time: a picture may fill the memory of a device.
    let rows = (1 << 20) / width + 1;
    let mut bands = [vec![0.0f32; rows * width], vec![0.0f32; rows * width]];
    let (mut sums, mut loss) = ([0.0; 2], 0.0);
    for (colour, start) in (0..3).flat_map(|c| (0..from_gt.height).step_by(rows).map(move |y| (c, y))) {
        let count = rows.min(from_gt.height - start);
        for (band, (picture, from)) in bands.iter_mut().zip([(gt, from_gt), (noisy, from_noisy)]) {
            let first = (colour * height + from.top + start) * width;
            b.download(picture.rgb.flat().slice(first..first + count * width)?, &mut band[..count * width])?;
        }
        let rows = |k: usize, from: Rect| {
            bands[k][..count * width].chunks_exact(width).map(move |row| &row[from.left..from.left + from.width])
        };
        for (a, z) in rows(0, from_gt).zip(rows(1, from_noisy)) {
            let n = a.len();
            sums[0] += lane_sum(n, |x| a[x].into());
            sums[1] += lane_sum(n, |x| z[x].into());
            loss += lane_sum(n, |x| (a[x] - gain * z[x]).abs().into());
        }
    }
    let n = (3 * from_gt.height * from_gt.width) as f64;
    Ok((sums.map(|sum| sum / n), loss / n))
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
