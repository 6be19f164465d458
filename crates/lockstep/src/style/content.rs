//! Pictures as the network takes them, and back.

use std::path::{Path, PathBuf};

use ::style::mix::Rounding;
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb};
use ndarray::{Array4, ArrayView4};
use sha2::{Digest, Sha256};

use super::library::hash_values;
use crate::exit::{Failure, Result};
use crate::pictures::{self, Depth, Layout, Picture};

/// A picture as three planes of `f32` in 0..255.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `[3][height * width]`.
    pub(crate) planes: Vec<f32>,
    /// Transparency, 0..65535 or 0..255 as in the file.
    alpha: Option<Vec<u16>>,
    depth: Depth,
}

impl Content {
    /// Gray becomes three equal planes, 16 bits become fractions.
    pub(crate) fn of(picture: &Picture) -> Result<Self> {
        let [batch, channels, height, width] = picture.shape;
        if batch != 1 || !(channels == 1 || channels == 3) {
            return Err(Failure::usage(format!("{batch} pictures of {channels} channels are no gray or RGB picture")));
        }
        let scale = 255.0 / picture.depth.peak();
        let one = |c: usize| picture.plane(c).iter().map(move |v| (v * scale) as f32);
        let mut planes = Vec::with_capacity(3 * height * width);
        for c in 0..3 {
            planes.extend(one(c % channels));
        }
        Ok(Self { height, width, planes, alpha: picture.alpha.clone(), depth: picture.depth })
    }

    /// `[1, 3, height, width]`.
    pub(crate) fn view(&self) -> Result<ArrayView4<'_, f32>> {
        ArrayView4::from_shape((1, 3, self.height, self.width), &self.planes)
            .map_err(|e| Failure::usage(format!("the picture's planes have another size: {e}")))
    }

    /// Another size, by Lanczos' filter.
    pub(crate) fn resized(&self, height: usize, width: usize) -> Result<Self> {
        let (h, w) = (height as u32, width as u32);
        let area = self.height * self.width;
        // The library takes 0..1 for the range of floating point pixels, and clamps to it.
        let interleaved = (0..area).flat_map(|i| [0, 1, 2].map(|c| self.planes[c * area + i] / 255.0)).collect();
        let image = ImageBuffer::<Rgb<f32>, Vec<f32>>::from_raw(self.width as u32, self.height as u32, interleaved)
            .ok_or_else(|| Failure::usage("the picture's planes have another size"))?;
        let image = resize(&image, w, h, FilterType::Lanczos3);
        let alpha = match &self.alpha {
            None => None,
            Some(alpha) => {
                let alpha =
                    ImageBuffer::<Luma<u16>, Vec<u16>>::from_raw(self.width as u32, self.height as u32, alpha.clone())
                        .ok_or_else(|| Failure::usage("the picture's transparency has another size"))?;
                Some(resize(&alpha, w, h, FilterType::Lanczos3).into_raw())
            }
        };
        let planes = (0..3)
            .flat_map(|c| image.as_raw().iter().skip(c).step_by(3).map(|v| (v * 255.0).clamp(0.0, 255.0)))
            .collect();
        Ok(Self { height, width, planes, alpha, depth: self.depth })
    }

    /// A picture of whole numbers with these planes, which may be larger at the bottom and right; transparency as it was.
    pub(crate) fn finish(&self, planes: &Array4<f32>, bits: u8, rounding: Rounding) -> Picture {
        let (_, _, height, width) = planes.dim();
        let depth = if bits == 16 { Depth::U16 } else { Depth::U8 };
        let peak = depth.peak();
        let samples = planes.iter().map(|&v| f64::from(rounding.apply(v, peak as f32))).collect();
        let scale = peak / self.depth.peak();
        let alpha = self.alpha.as_ref().filter(|_| (height, width) == (self.height, self.width));
        let alpha = alpha.map(|alpha| alpha.iter().map(|a| (f64::from(*a) * scale).round() as u16).collect());
        Picture { shape: [1, 3, height, width], samples, depth, layout: Layout::Hwc, alpha }
    }
}

/// A gray picture that says where a style goes: shares of 0..1.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    path: PathBuf,
    image: ImageBuffer<Luma<f32>, Vec<f32>>,
}

impl Mask {
    /// Reads one; colours become their brightness.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let picture = pictures::read(path, Layout::Auto)?;
        let [.., h, w] = picture.shape;
        let peak = picture.depth.peak();
        let gray: Vec<f32> = picture.luma().iter().map(|v| (v / peak) as f32).collect();
        let image = ImageBuffer::from_raw(w as u32, h as u32, gray);
        let image = image.ok_or_else(|| Failure::input(path, "this is no picture that can be a mask"))?;
        Ok(Self { path: path.to_owned(), image })
    }

    /// A short text that a mask with other values does not have.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.image.width().to_le_bytes());
        hash_values(&mut hash, self.image.as_raw());
        format!("{:x}", hash.finalize())
    }

    /// Its values at the size of a picture.
    pub(crate) fn scaled(&self, height: usize, width: usize) -> Result<Vec<f32>> {
        if self.image.dimensions() == (width as u32, height as u32) {
            return Ok(self.image.as_raw().clone());
        }
        pictures::room(&self.path, (height as u64 * width as u64).saturating_mul(24))?;
        let image = resize(&self.image, width as u32, height as u32, FilterType::Triangle);
        Ok(image.into_raw().into_iter().map(|v| v.clamp(0.0, 1.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_brightness() {
        let planes: Vec<f32> =
            (0..3 * 12 * 20).map(|i| if i < 12 * 20 { 200.0 } else { 30.0 + (i % 20) as f32 }).collect();
        let content = Content { height: 12, width: 20, planes, alpha: Some(vec![7; 240]), depth: Depth::U8 };
        let smaller = content.resized(6, 10).unwrap();
        let mean = |planes: &[f32]| planes.iter().sum::<f32>() / planes.len() as f32;
        assert!(smaller.planes[..60].iter().all(|v| (v - 200.0).abs() < 0.01), "{:?}", &smaller.planes[..60]);
        assert!((mean(&smaller.planes[60..]) - mean(&content.planes[240..])).abs() < 0.5);
        assert_eq!(smaller.alpha, Some(vec![7; 60]));
    }
}
