//! Formats of raw frames, and frames as the network takes them.
//!
//! Rows are converted by all threads; a value depends on its own pixels alone, so that results have the same bits with any
//! number of threads.

use ::style::mix::{Rounding, mixed, planes_of, recoloured};
use clap::ValueEnum;
use rayon::prelude::*;

use super::frames::Frame;

/// Rows that a thread works on at a time. Even: NV12 has one colour for two rows.
const ROWS: usize = 16;
/// Pixels that a loop holds as planes.
const BLOCK: usize = 256;
/// Bytes that a thread copies at a time.
const AT_ONCE: usize = 1 << 18;

/// Formats of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Pixels {
    /// Red, green, blue; a byte each
    #[default]
    Rgb24,
    /// Red, green, blue, opacity; a byte each
    Rgba,
    /// A plane of brightness, then one of colours at half the size; both sides even
    Nv12,
}

impl Pixels {
    /// Bytes of a frame.
    pub(super) fn frame_bytes(self, h: usize, w: usize) -> usize {
        match self {
            Self::Rgb24 => 3 * h * w,
            Self::Rgba => 4 * h * w,
            Self::Nv12 => h * w + h * w / 2,
        }
    }

    /// The memory of a frame that its bytes are read into, as long as they are.
    pub(super) fn raw(self, frame: &mut Frame, h: usize, w: usize) -> &mut [u8] {
        frame.rgb.resize(3 * h * w, 0);
        if self == Self::Rgb24 {
            return &mut frame.rgb;
        }
        frame.raw.resize(self.frame_bytes(h, w), 0);
        &mut frame.raw
    }

    /// Makes RGB of the bytes that were read.
    pub(super) fn decode(self, Frame { rgb, raw }: &mut Frame, h: usize, w: usize) {
        match self {
            Self::Rgb24 => {}
            Self::Rgba => {
                let parts = rgb.par_chunks_mut(3 * ROWS * w).zip(raw.par_chunks(4 * ROWS * w));
                parts.for_each(|(rgb, rgba)| {
                    for (to, from) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(rgba.as_chunks::<4>().0) {
                        to.copy_from_slice(&from[..3]);
                    }
                });
            }
            Self::Nv12 => nv12_to_rgb(raw, rgb, h, w),
        }
    }

    /// The bytes to write, from the RGB of a result. Opacity is that of the bytes that were read.
    pub(super) fn encode(self, Frame { rgb, raw }: &mut Frame, h: usize, w: usize) -> &[u8] {
        match self {
            Self::Rgb24 => return rgb,
            Self::Rgba => {
                let parts = raw.par_chunks_mut(4 * ROWS * w).zip(rgb.par_chunks(3 * ROWS * w));
                parts.for_each(|(rgba, rgb)| {
                    for (to, from) in rgba.as_chunks_mut::<4>().0.iter_mut().zip(rgb.as_chunks::<3>().0) {
                        to[..3].copy_from_slice(from);
                    }
                });
            }
            Self::Nv12 => rgb_to_nv12(rgb, raw, h, w),
        }
        raw
    }
}

/// Copies bytes with all threads.
pub(super) fn copy(to: &mut [u8], from: &[u8]) {
    let parts = to.par_chunks_mut(AT_ONCE).zip(from.par_chunks(AT_ONCE));
    parts.for_each(|(to, from)| to.copy_from_slice(from));
}

/// Bytes, pixel after pixel, as planes.
pub(super) fn planes(to: &mut [f32], bytes: &[u8]) {
    let pixels = bytes.len() / 3;
    let (red, rest) = to.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);
    let planes = red.par_chunks_mut(AT_ONCE).zip(green.par_chunks_mut(AT_ONCE)).zip(blue.par_chunks_mut(AT_ONCE));
    planes.zip(bytes.par_chunks(3 * AT_ONCE)).for_each(|(((red, green), blue), bytes)| {
        let planes = red.iter_mut().zip(green).zip(blue);
        for (((r, g), b), from) in planes.zip(bytes.as_chunks::<3>().0) {
            [*r, *g, *b] = from.map(f32::from);
        }
    });
}

/// What becomes of the network's values before they are bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixing {
    pub(super) strength: f32,
    pub(super) original_colors: bool,
    pub(super) rounding: Rounding,
}

impl Mixing {
    /// Puts what the network made of a frame, as planes, in the place of its bytes: the values of `mix` and
    /// `keep_colours`, made whole numbers at the end.
    pub(super) fn apply(self, styled: &[f32], frame: &mut [u8]) {
        let planes = planes_of(styled, frame.len() / 3);
        frame.par_chunks_mut(3 * ROWS * BLOCK).enumerate().for_each(|(part, frame)| {
            for (block, frame) in frame.as_chunks_mut::<3>().0.chunks_mut(BLOCK).enumerate() {
                let first = part * ROWS * BLOCK + block * BLOCK;
                let styled = planes.map(|plane| &plane[first..first + frame.len()]);
                self.block(styled, frame);
            }
        });
    }

    /// Some pixels, as planes of their own: what loops over pixels of three bytes cannot do many at a time.
    fn block(self, [red, green, blue]: [&[f32]; 3], frame: &mut [[u8; 3]]) {
        let (mut under, mut styled) = ([[0f32; BLOCK]; 3], [[0f32; BLOCK]; 3]);
        for (i, pixel) in frame.iter().enumerate() {
            for c in 0..3 {
                under[c][i] = f32::from(pixel[c]);
            }
        }
        for (to, from) in styled.iter_mut().zip([red, green, blue]) {
            to[..from.len()].copy_from_slice(from);
        }
        if self.original_colors {
            let ([r, g, b], [red, green, blue]) = (&mut styled, &under);
            for i in 0..BLOCK {
                [r[i], g[i], b[i]] = recoloured([r[i], g[i], b[i]], [red[i], green[i], blue[i]]);
            }
        }
        for (c, (styled, under)) in styled.iter().zip(&under).enumerate() {
            let mut bytes = [0; BLOCK];
            for (to, (s, u)) in bytes.iter_mut().zip(styled.iter().zip(under)) {
                *to = self.rounding.byte(mixed(*u, *s, self.strength));
            }
            for (pixel, byte) in frame.iter_mut().zip(bytes) {
                pixel[c] = byte;
            }
        }
    }
}

/// Shares of red and blue in brightness: BT.709 for high definition, BT.601 below.
fn shares(h: usize) -> (f32, f32) {
    if h >= 720 { (0.2126, 0.0722) } else { (0.299, 0.114) }
}

/// Video range: 16..235 for brightness, 16..240 for colour differences (ITU-R BT.601 and BT.709).
fn nv12_to_rgb(bytes: &[u8], rgb: &mut [u8], h: usize, w: usize) {
    let (kr, kb) = shares(h);
    let kg = 1.0 - kr - kb;
    let (luma, chroma) = bytes.split_at(h * w);
    // Two rows have one row of colours.
    let rows = rgb.par_chunks_mut(6 * w).zip(luma.par_chunks(2 * w)).zip(chroma.par_chunks(w));
    rows.with_min_len(ROWS / 2).for_each(|((rgb, luma), chroma)| {
        for (rgb, luma) in rgb.chunks_exact_mut(3 * w).zip(luma.chunks_exact(w)) {
            let blocks = rgb.chunks_mut(3 * BLOCK).zip(luma.chunks(BLOCK)).zip(chroma.chunks(BLOCK));
            for ((rgb, luma), chroma) in blocks {
                let mut planes = [[0u8; BLOCK]; 3];
                let mut colours = [[0f32; BLOCK]; 2];
                for (i, colour) in chroma.as_chunks::<2>().0.iter().enumerate() {
                    for (plane, c) in colours.iter_mut().zip(colour) {
                        let c = (f32::from(*c) - 128.0) * (255.0 / 224.0);
                        plane[2 * i..2 * i + 2].copy_from_slice(&[c, c]);
                    }
                }
                for (i, (&y, (cb, cr))) in luma.iter().zip(colours[0].iter().zip(&colours[1])).enumerate() {
                    let y = (f32::from(y) - 16.0) * (255.0 / 219.0);
                    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
                    let g = (y - kr * r - kb * b) / kg;
                    for (plane, v) in planes.iter_mut().zip([r, g, b]) {
                        plane[i] = nearest(v);
                    }
                }
                for (i, to) in rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    *to = [planes[0][i], planes[1][i], planes[2][i]];
                }
            }
        }
    });
}

fn nearest(v: f32) -> u8 {
    Rounding::Nearest.byte(v)
}

/// The reverse; a colour is the mean of its four pixels.
fn rgb_to_nv12(rgb: &[u8], out: &mut [u8], h: usize, w: usize) {
    let (kr, kb) = shares(h);
    let kg = 1.0 - kr - kb;
    let (luma, chroma) = out.split_at_mut(h * w);
    let rows = luma.par_chunks_mut(2 * w).zip(chroma.par_chunks_mut(w)).zip(rgb.par_chunks(6 * w));
    rows.with_min_len(ROWS / 2).for_each(|((luma, chroma), rgb)| {
        let ((luma, below), (rgb, rgb_below)) = (luma.split_at_mut(w), rgb.split_at(3 * w));
        let above = luma.as_chunks_mut::<2>().0.iter_mut().zip(rgb.as_chunks::<6>().0);
        let below = below.as_chunks_mut::<2>().0.iter_mut().zip(rgb_below.as_chunks::<6>().0);
        for ((above, below), colour) in above.zip(below).zip(chroma.as_chunks_mut::<2>().0) {
            let mut sum = [0f32; 2];
            for (luma, rgb) in [above, below] {
                for (to, rgb) in luma.iter_mut().zip(rgb.as_chunks::<3>().0) {
                    let [r, g, b] = rgb.map(f32::from);
                    let y = kr * r + kg * g + kb * b;
                    *to = nearest(16.0 + y * (219.0 / 255.0));
                    sum[0] += (b - y) / (2.0 * (1.0 - kb));
                    sum[1] += (r - y) / (2.0 * (1.0 - kr));
                }
            }
            *colour = sum.map(|c| nearest((128.0 + c / 4.0 * (224.0 / 255.0)).clamp(16.0, 240.0)));
        }
    });
}

#[cfg(test)]
mod tests {
    use ::style::mix::{keep_colours, mix};

    use super::*;

    /// Bytes of all kinds, the same each time.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    #[test]
    fn colours_survive_nv12() {
        for h in [2, 720] {
            let w = 4;
            for colour in [[0u8, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 140, 200]] {
                let rgb = colour.repeat(h * w);
                let (mut raw, mut back) = (vec![0; h * w * 3 / 2], vec![0; 3 * h * w]);
                rgb_to_nv12(&rgb, &mut raw, h, w);
                nv12_to_rgb(&raw, &mut back, h, w);
                // Two roundings of values whose steps are up to 1.2 and 2.2 of 255.
                let most = rgb.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(most.is_some_and(|d| d <= 3), "{colour:?} at {h} rows: {most:?}");
            }
        }
        let mut white = [0; 6];
        rgb_to_nv12(&[255; 12], &mut white, 2, 2);
        assert_eq!(white, [235, 235, 235, 235, 128, 128], "video range");
    }

    /// The formulas pixel by pixel, in the order of a frame.
    #[test]
    fn nv12_is_its_formula_at_every_pixel() {
        let (h, w) = (38, 10);
        let (kr, kb) = shares(h);
        let kg = 1.0 - kr - kb;
        let raw = bytes(h * w * 3 / 2);
        let mut rgb = vec![0; 3 * h * w];
        nv12_to_rgb(&raw, &mut rgb, h, w);
        for i in 0..h * w {
            let at = h * w + i / w / 2 * w + i % w / 2 * 2;
            let y = (f32::from(raw[i]) - 16.0) * (255.0 / 219.0);
            let [cb, cr] = [raw[at], raw[at + 1]].map(|c| (f32::from(c) - 128.0) * (255.0 / 224.0));
            let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
            let wanted = [r, (y - kr * r - kb * b) / kg, b].map(|v| v.round().clamp(0.0, 255.0) as u8);
            assert_eq!(rgb[3 * i..3 * i + 3], wanted, "pixel {i}");
        }
        let rgb = bytes(3 * h * w);
        let mut raw = vec![0; h * w * 3 / 2];
        rgb_to_nv12(&rgb, &mut raw, h, w);
        let luma =
            |i: usize| kr * f32::from(rgb[3 * i]) + kg * f32::from(rgb[3 * i + 1]) + kb * f32::from(rgb[3 * i + 2]);
        for i in 0..h * w {
            assert_eq!(raw[i], (16.0 + luma(i) * (219.0 / 255.0)).round() as u8, "pixel {i}");
        }
        for (i, colour) in raw[h * w..].chunks_exact(2).enumerate() {
            let first = i / (w / 2) * 2 * w + i % (w / 2) * 2;
            let mut sum = [0f32; 2];
            for at in [first, first + 1, first + w, first + w + 1] {
                sum[0] += (f32::from(rgb[3 * at + 2]) - luma(at)) / (2.0 * (1.0 - kb));
                sum[1] += (f32::from(rgb[3 * at]) - luma(at)) / (2.0 * (1.0 - kr));
            }
            let wanted = sum.map(|c| (128.0 + c / 4.0 * (224.0 / 255.0)).round().clamp(16.0, 240.0) as u8);
            assert_eq!(colour, wanted, "colour {i}");
        }
    }

    #[test]
    fn opacity_is_handed_through() {
        let (h, w) = (35, 4);
        let mut frame = Frame::default();
        let source = bytes(4 * h * w);
        Pixels::Rgba.raw(&mut frame, h, w).copy_from_slice(&source);
        Pixels::Rgba.decode(&mut frame, h, w);
        assert!(frame.rgb.chunks_exact(3).zip(source.chunks_exact(4)).all(|(rgb, rgba)| *rgb == rgba[..3]));
        frame.rgb.iter_mut().for_each(|v| *v = !*v);
        let out = Pixels::Rgba.encode(&mut frame, h, w);
        for (out, source) in out.chunks_exact(4).zip(source.chunks_exact(4)) {
            assert_eq!(out, [!source[0], !source[1], !source[2], source[3]]);
        }
    }

    /// What is done at once for a pixel is what `apply` does plane by plane; on one thread and on several.
    #[test]
    fn mixing_is_that_of_planes() {
        // More than one part of every loop, and a rest.
        let pixels = AT_ONCE + 12_345;
        let frame = bytes(3 * pixels);
        let styled: Vec<f32> = bytes(3 * pixels).iter().rev().map(|&v| f32::from(v) * 1.7 - 90.0).collect();
        let mut under = vec![0.0; 3 * pixels];
        planes(&mut under, &frame);
        assert!((0..3 * pixels).all(|i| under[i] == f32::from(frame[i % pixels * 3 + i / pixels])));
        let mut copied = vec![0; frame.len()];
        copy(&mut copied, &frame);
        assert_eq!(copied, frame);
        for (strength, original_colors, rounding) in
            [(0.37, false, Rounding::Truncate), (1.0, true, Rounding::Nearest), (0.6, true, Rounding::Truncate)]
        {
            let (mut wanted, mut styled_planes) = (under.clone(), styled.clone());
            if original_colors {
                keep_colours(&mut styled_planes, &under);
            }
            mix(&mut wanted, &styled_planes, strength);
            let wanted: Vec<u8> =
                (0..3 * pixels).map(|i| rounding.apply(wanted[i % 3 * pixels + i / 3], 255.0) as u8).collect();
            let mixing = Mixing { strength, original_colors, rounding };
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut got = frame.clone();
                pool.install(|| mixing.apply(&styled, &mut got));
                assert!(got == wanted, "{mixing:?} with {threads} threads");
            }
        }
    }
}
