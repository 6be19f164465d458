//! Pictures to patches, decoded tokens to pixels, and pixels to pictures.
//!
//! With `u = (x − 128) / 64` of a picture that is continued at the bottom and right by reflection (again and again where it is
//! shorter than its continuation) to multiples of eight:
//! * patches: token `(r, c)` has the values `u[k, 8r + y, 8c + x]` at `64 k + 8 y + x`;
//! * decoded: pixel `(8r + y, 8c + x)` has the token's sixteen values from `16 (8y + x)` on, then `u`, then zeros up to
//!   [`FEATURES`] channels, so that rows of `f16` stay aligned;
//! * repaint: `128 + 64 y` of the top left corner, as a picture.
//!
//! All is exact or one rounding each in both twins, to the bit.
//!
//! Floor: no arithmetic to speak of; what is read and what is written, once, in bytes. Not measured yet.

use gpu_core::{Backend, Cpu, Error, Result, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Sample;
use crate::kernels::Sample as Colour;
use crate::mix::Rounding;

/// Pixels of a patch's side.
pub(crate) const PATCH: usize = 8;
/// Channels that a token gives each of its pixels.
pub(crate) const DECODED: usize = 16;
/// Channels of a decoded pixel: sixteen of its token, three colours, zeros.
pub const FEATURES: usize = 24;

/// Pictures of one size and their continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Pictures.
    pub images: usize,
    /// Rows and columns of a picture.
    pub size: [usize; 2],
    /// Rows and columns with the continuation, multiples of eight.
    pub padded: [usize; 2],
}

impl Frame {
    /// Pictures continued to multiples of a number of pixels.
    pub fn new(images: usize, size: [usize; 2], multiple: usize) -> Self {
        Self { images, size, padded: size.map(|n| n.next_multiple_of(multiple)) }
    }

    /// Rows and columns of tokens.
    pub fn tokens(&self) -> [usize; 2] {
        self.padded.map(|n| n / PATCH)
    }

    fn params(&self) -> Result<PixelParams> {
        let Self { images, size: [h, w], padded: [hp, wp] } = *self;
        let fits = hp.is_multiple_of(PATCH) && wp.is_multiple_of(PATCH) && hp >= h && wp >= w;
        if h == 0 || w == 0 || !fits || hp.max(wp) > 1 << 24 || images > 65_535 {
            let why = format!("{images} pictures of {w} x {h} pixels continued to {wp} x {hp} cannot be worked on");
            return Err(Error::value("picture", why));
        }
        Ok(PixelParams { images: images as u32, h: h as u32, w: w as u32, hp: hp as u32, wp: wp as u32, round: 0 })
    }
}

/// What the kernels get by value. Twin of `PixelParams` in `kernels/tokens.cu`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PixelParams {
    pub(crate) images: u32,
    pub(crate) h: u32,
    pub(crate) w: u32,
    pub(crate) hp: u32,
    pub(crate) wp: u32,
    pub(crate) round: u32,
}

impl PixelParams {
    /// Scaled value of a pixel of the continued picture.
    fn at<S: Colour>(&self, x: &[S], n: usize, row: usize, col: usize, c: usize) -> f32 {
        let (h, w) = (self.h as usize, self.w as usize);
        (x[S::at(h, w, [n, mirrored(row, h), mirrored(col, w), c])].value() - 128.0) / 64.0
    }
}

/// The place inside that one at the far side is mirrored to: the edge is not repeated.
fn mirrored(i: usize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let k = i % (2 * n - 2);
    if k < n { k } else { 2 * n - 2 - k }
}

/// The operations on one backend, for one kind of pictures.
pub trait Pixels<S: Colour, T: Sample>: Backend {
    #[doc(hidden)]
    fn patches_unchecked(&self, p: PixelParams, x: View<'_, Self, S>, y: ViewMut<'_, Self, T>) -> Result<()>;
    #[doc(hidden)]
    fn decoded_unchecked(
        &self,
        p: PixelParams,
        tokens: View<'_, Self, T>,
        x: View<'_, Self, S>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
    /// `size`: rows and columns of the result.
    #[doc(hidden)]
    fn repaint_unchecked(
        &self,
        p: PixelParams,
        size: [u32; 2],
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, S>,
    ) -> Result<()>;
}

fn same(what: &'static str, wanted: &[usize], got: &[usize]) -> Result<()> {
    if wanted == got { Ok(()) } else { Err(Error::shape(what, wanted, got)) }
}

/// Pictures `x` as patches `[images · tokens, 192]`.
///
/// # Errors
/// When sizes do not fit.
pub fn patches<B: Pixels<S, T>, S: Colour, T: Sample>(
    b: &B,
    frame: &Frame,
    x: View<'_, B, S>,
    y: TensorViewMut<'_, B, T, 2>,
) -> Result<()> {
    let (p, [rows, cols], [h, w]) = (frame.params()?, frame.tokens(), frame.size);
    same("x", &[frame.images * 3 * h * w], &[x.len()])?;
    same("y", &[frame.images * rows * cols, 3 * PATCH * PATCH], &y.shape())?;
    if frame.images == 0 { Ok(()) } else { b.patches_unchecked(p, x, y.flat()) }
}

/// Tokens `[images · tokens, 1024]` and their pictures as pixels `[images, rows, columns, FEATURES]`.
///
/// # Errors
/// When sizes do not fit.
pub fn decoded<B: Pixels<S, T>, S: Colour, T: Sample>(
    b: &B,
    frame: &Frame,
    tokens: TensorView<'_, B, T, 2>,
    x: View<'_, B, S>,
    y: TensorViewMut<'_, B, T, 4>,
) -> Result<()> {
    let (p, [rows, cols], [h, w]) = (frame.params()?, frame.tokens(), frame.size);
    same("tokens", &[frame.images * rows * cols, DECODED * PATCH * PATCH], &tokens.shape())?;
    same("x", &[frame.images * 3 * h * w], &[x.len()])?;
    same("y", &[frame.images, frame.padded[0], frame.padded[1], FEATURES], &y.shape())?;
    if frame.images == 0 { Ok(()) } else { b.decoded_unchecked(p, tokens.flat(), x, y.flat()) }
}

/// Pixels `[images, rows, columns, 3]` of the continued pictures as pictures of `size`, cut at the bottom and right.
///
/// # Errors
/// When sizes do not fit.
pub fn repaint<B: Pixels<S, T>, S: Colour, T: Sample>(
    b: &B,
    frame: &Frame,
    x: TensorView<'_, B, T, 4>,
    size: [usize; 2],
    rounding: Rounding,
    y: ViewMut<'_, B, S>,
) -> Result<()> {
    let p = PixelParams { round: (rounding == Rounding::Nearest).into(), ..frame.params()? };
    same("x", &[frame.images, frame.padded[0], frame.padded[1], 3], &x.shape())?;
    if size[0] > frame.padded[0] || size[1] > frame.padded[1] || size.contains(&0) {
        return Err(Error::shape("size", &frame.padded, &size));
    }
    same("y", &[frame.images * 3 * size[0] * size[1]], &[y.len()])?;
    if frame.images == 0 { Ok(()) } else { b.repaint_unchecked(p, size.map(|n| n as u32), x.flat(), y) }
}

impl<S: Colour, T: Sample> Pixels<S, T> for Cpu {
    fn patches_unchecked(&self, p: PixelParams, x: View<'_, Self, S>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let (rows, cols) = (p.hp as usize / PATCH, p.wp as usize / PATCH);
        y.par_chunks_exact_mut(cols * 3 * PATCH * PATCH).enumerate().for_each(|(line, y)| {
            let (n, r) = (line / rows, line % rows);
            for (i, y) in y.iter_mut().enumerate() {
                let (c, k) = (i / (3 * PATCH * PATCH), i % (3 * PATCH * PATCH));
                let (row, col) = (r * PATCH + k / PATCH % PATCH, c * PATCH + k % PATCH);
                *y = T::nearest(p.at(x, n, row, col, k / (PATCH * PATCH)));
            }
        });
        Ok(())
    }

    fn decoded_unchecked(
        &self,
        p: PixelParams,
        tokens: View<'_, Self, T>,
        x: View<'_, Self, S>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (tokens, x, y) = (self.read(tokens)?, self.read(x)?, self.write(y)?);
        let (hp, wp) = (p.hp as usize, p.wp as usize);
        y.par_chunks_exact_mut(wp * FEATURES).enumerate().for_each(|(line, y)| {
            let (n, row) = (line / hp, line % hp);
            for (col, y) in y.chunks_exact_mut(FEATURES).enumerate() {
                let token = (n * hp + row / PATCH * PATCH) / PATCH * (wp / PATCH) + col / PATCH;
                let from = (token * PATCH * PATCH + row % PATCH * PATCH + col % PATCH) * DECODED;
                y[..DECODED].copy_from_slice(&tokens[from..from + DECODED]);
                for (c, y) in y[DECODED..].iter_mut().enumerate() {
                    *y = T::nearest(if c < 3 { p.at(x, n, row, col, c) } else { 0.0 });
                }
            }
        });
        Ok(())
    }

    fn repaint_unchecked(
        &self,
        p: PixelParams,
        size: [u32; 2],
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, S>,
    ) -> Result<()> {
        let (x, y, [h, w]) = (self.read(x)?, self.write(y)?, size.map(|n| n as usize));
        let (hp, wp) = (p.hp as usize, p.wp as usize);
        let rounding = if p.round == 1 { Rounding::Nearest } else { Rounding::Truncate };
        for n in 0..p.images as usize {
            for row in 0..h {
                for col in 0..w {
                    for c in 0..3 {
                        let v = x[((n * hp + row) * wp + col) * 3 + c].widened();
                        y[S::at(h, w, [n, row, col, c])] = S::of(v.mul_add(64.0, 128.0), rounding);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<S: Colour, T: Sample> Pixels<S, T> for gpu_core::Cuda {
    fn patches_unchecked(&self, p: PixelParams, x: View<'_, Self, S>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let blocks = blocks(y.len());
        let launch = self
            .kernel(&super::cuda::OPS, &format!("patches_{}_{}", S::NAME, T::NAME))?
            .read(x)?
            .write(y)?
            .arg(p)
            .grid((blocks, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void patches_S_T(const S* x, T* y, PixelParams p); loops over y, whose length `patches` has checked.
        unsafe { launch.launch() }
    }

    fn decoded_unchecked(
        &self,
        p: PixelParams,
        tokens: View<'_, Self, T>,
        x: View<'_, Self, S>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let blocks = blocks(y.len() / 8);
        let launch = self
            .kernel(&super::cuda::OPS, &format!("decoded_{}_{}", S::NAME, T::NAME))?
            .read(tokens)?
            .read(x)?
            .write(y)?
            .arg(p)
            .grid((blocks, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void decoded_S_T(const T* tokens, const S* x, T* y, PixelParams p); loops over eights of y, and `decoded`
        // has checked all lengths.
        unsafe { launch.launch() }
    }

    fn repaint_unchecked(
        &self,
        p: PixelParams,
        [h, w]: [u32; 2],
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, S>,
    ) -> Result<()> {
        let blocks = blocks(y.len());
        let launch = self
            .kernel(&super::cuda::OPS, &format!("repaint_{}_{}", S::NAME, T::NAME))?
            .read(x)?
            .write(y)?
            .arg(p)
            .arg(h)
            .arg(w)
            .grid((blocks, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void repaint_S_T(const T* x, S* y, PixelParams p, unsigned h, unsigned w); loops over y, and `repaint` has
        // checked all lengths.
        unsafe { launch.launch() }
    }
}

/// Blocks that loop over so many pieces.
#[cfg(feature = "cuda")]
fn blocks(pieces: usize) -> u32 {
    pieces.div_ceil(256).clamp(1, 1 << 16) as u32
}
