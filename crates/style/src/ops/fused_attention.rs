//! Attention of tokens to those of their window and to one global token.
//!
//! With `Q, K, V = x · W_qkvᵀ + b_qkv` of the tokens (rows 0..D of the weights are Q, then K, then V; each head has a
//! stretch of `d = D / heads` of them) and `K_g, V_g` of the global token by the same map, a token's head is
//! `o = Σ softmax_k(scale · q·k) v` over the keys of the window and the global one, and the result
//! `y = (heads side by side) · W_outᵀ + b_out + residual`. The grid is cut at multiples of the window; *shifted*, at
//! half a window and then every window, so that the first and the last in each direction are half as wide. No mask.
//!
//! One call, four launches: the map of the tokens and of the global token, the windows, the output's map; see
//! [`linear`](super::linear). A block takes 128 (`f32`: 64) queries of a window and head; keys and values go through shared
//! memory in tiles, and the softmax runs online: maximum and sum are carried along, and what was summed is scaled when the
//! maximum grows, so that no logit overflows. `f16` multiplies on tensor cores; logits, softmax and sums are `f32`, its
//! weights (0..1) are rounded to `f16` for the second product. Q, K, V and the heads are rounded to `T` when they are stored.
//!
//! Floor: `8 D² + 4 D (keys)` flop a token with `keys = window² + 1`; `12 · D · size_of::<T>()` bytes a token
//! (`x` and `y`, and the Q, K, V and heads in between twice) and the weights. Not measured yet.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Sample;
use super::linear::{Activation, Linear, Product, linear_into};
use super::math::softmax;
use crate::cpu::Packed;

/// Most channels of a head.
pub const MAX_HEAD: usize = 64;

/// The maps of an attention, and how it works.
#[derive(Debug)]
pub struct Attention<B: Product<T>, T: Sample> {
    /// `[3D, D]`.
    pub qkv: Linear<B, T>,
    /// `[D, D]`.
    pub out: Linear<B, T>,
    /// Heads; `D / heads` is a multiple of 8 and at most [`MAX_HEAD`].
    pub heads: usize,
    /// Tokens of a window's side, even.
    pub window: usize,
    /// What products of queries and keys are multiplied by: `1 / sqrt(D / heads)`.
    pub scale: f32,
}

/// What the kernels get by value. Twin of `WindowParams` in `kernels/window_attention.cu`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct WindowParams {
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) dim: u32,
    pub(crate) heads: u32,
    pub(crate) window: u32,
    pub(crate) shift: u32,
    pub(crate) windows_y: u32,
    pub(crate) windows_x: u32,
    pub(crate) images: u32,
    pub(crate) scale: f32,
}

impl WindowParams {
    /// Rows (or columns) of a window, of so many tokens.
    fn span(&self, i: usize, tokens: u32) -> std::ops::Range<usize> {
        let (w, shift, n) = (self.window as usize, self.shift as usize, tokens as usize);
        (i * w).saturating_sub(shift)..(i * w + w - shift).min(n)
    }
}

/// The windows' part on one backend.
pub trait WindowAttention<T: Sample>: Backend {
    /// Heads from Q, K, V: `[images, rows, cols, 3D]` and `[images, 3D]` to `[images, rows, cols, D]`.
    #[doc(hidden)]
    fn window_attention_unchecked(
        &self,
        p: WindowParams,
        qkv: View<'_, Self, T>,
        global: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Working memory of [`fused_attention_into`]; what it holds before and after has no meaning.
#[derive(Debug)]
pub struct AttentionWork<B: Backend, T: Sample> {
    qkv: Tensor<B, T, 2>,
    global: Tensor<B, T, 2>,
    heads: Tensor<B, T, 2>,
}

impl<B: Backend, T: Sample> AttentionWork<B, T> {
    /// Memory for tokens `[images, rows, cols, D]`.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(b: &B, [images, rows, cols, dim]: [usize; 4]) -> Result<Self> {
        let tokens = images * rows * cols;
        Ok(Self {
            qkv: Tensor::scratch(b, [tokens, 3 * dim])?,
            global: Tensor::scratch(b, [images, 3 * dim])?,
            heads: Tensor::scratch(b, [tokens, dim])?,
        })
    }
}

/// Attention of the tokens `x` `[images, rows, cols, D]` in windows and to `global` `[images, D]`, both normalised, then
/// the sum with the residual, into `y` of the shape of `x`. Rows and columns are multiples of the window.
///
/// # Errors
/// When shapes do not fit, or the window is odd or does not divide the grid.
pub fn fused_attention_into<B: Product<T> + WindowAttention<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 4>,
    global: TensorView<'_, B, T, 2>,
    attention: &Attention<B, T>,
    shifted: bool,
    residual: Option<TensorView<'_, B, T, 4>>,
    y: TensorViewMut<'_, B, T, 4>,
    work: &mut AttentionWork<B, T>,
) -> Result<()> {
    let [images, rows, cols, dim] = x.shape();
    let Attention { qkv, out, heads, window, scale } = attention;
    let (heads, window) = (*heads, *window);
    let maps = [qkv.outputs(), qkv.inputs(), out.outputs(), out.inputs()];
    if maps != [3 * dim, dim, dim, dim] {
        return Err(Error::shape("weights", &[3 * dim, dim, dim, dim], &maps));
    }
    let width = dim.checked_div(heads).unwrap_or(0);
    if width * heads != dim || width == 0 || width > MAX_HEAD || !width.is_multiple_of(8) {
        let why = format!("{heads} heads of {dim} channels; each has a multiple of 8 up to {MAX_HEAD}");
        return Err(Error::value("heads", why));
    }
    if window == 0 || !window.is_multiple_of(2) || !rows.is_multiple_of(window) || !cols.is_multiple_of(window) {
        let why = format!("{window} tokens on a grid of {rows} x {cols}; it must be even and divide both sides");
        return Err(Error::value("window", why));
    }
    if window > 1 << 10 || images > 65_535 || rows.max(cols) > 1 << 20 {
        return Err(Error::value(
            "x",
            format!("{images} grids of {rows} x {cols} in windows of {window} are too large"),
        ));
    }
    for (what, got) in [("y", y.shape()), ("residual", residual.map_or(x.shape(), |r| r.shape()))] {
        if got != x.shape() {
            return Err(Error::shape(what, &x.shape(), &got));
        }
    }
    if global.shape() != [images, dim] {
        return Err(Error::shape("global", &[images, dim], &global.shape()));
    }
    let tokens = images * rows * cols;
    let need = [[tokens, 3 * dim], [images, 3 * dim], [tokens, dim]];
    if [work.qkv.shape(), work.global.shape(), work.heads.shape()] != need {
        return Err(Error::shape("work", &need.concat(), &[work.qkv.len(), work.global.len(), work.heads.len()]));
    }
    if tokens == 0 {
        return Ok(());
    }
    linear_into(b, TensorView::new(x.flat(), [tokens, dim])?, qkv, Activation::None, None, work.qkv.view_mut())?;
    linear_into(b, global, qkv, Activation::None, None, work.global.view_mut())?;
    let shift = if shifted { window / 2 } else { 0 };
    let p = WindowParams {
        rows: rows as u32,
        cols: cols as u32,
        dim: dim as u32,
        heads: heads as u32,
        window: window as u32,
        shift: shift as u32,
        windows_y: (rows / window + usize::from(shifted)) as u32,
        windows_x: (cols / window + usize::from(shifted)) as u32,
        images: images as u32,
        scale: *scale,
    };
    b.window_attention_unchecked(p, work.qkv.flat(), work.global.flat(), work.heads.flat_mut())?;
    let residual = residual.map(|r| TensorView::new(r.flat(), [tokens, dim])).transpose()?;
    let y = TensorViewMut::new(y.flat(), [tokens, dim])?;
    linear_into(b, work.heads.view(), out, Activation::None, residual, y)
}

/// [`fused_attention_into`] a new tensor.
///
/// # Errors
/// As [`fused_attention_into`], and when there is no memory.
pub fn fused_attention<B: Product<T> + WindowAttention<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 4>,
    global: TensorView<'_, B, T, 2>,
    attention: &Attention<B, T>,
    shifted: bool,
    residual: Option<TensorView<'_, B, T, 4>>,
) -> Result<Tensor<B, T, 4>> {
    let mut y = Tensor::scratch(b, x.shape())?;
    let mut work = AttentionWork::new(b, x.shape())?;
    fused_attention_into(b, x, global, attention, shifted, residual, y.view_mut(), &mut work)?;
    Ok(y)
}

/// Memory of one thread.
struct Window {
    keys: Packed,
    values: Packed,
    queries: Vec<f32>,
    logits: Vec<f32>,
    heads: Vec<f32>,
}

/// One window: its tokens' heads, `[tokens][dim]`. `qkv` are the image's.
fn window<T: Sample>(p: &WindowParams, at: [usize; 2], qkv: &[T], global: &[T], memory: &mut Window) -> Vec<f32> {
    let (rows, cols) = (p.span(at[0], p.rows), p.span(at[1], p.cols));
    let (dim, width) = (p.dim as usize, (p.dim / p.heads) as usize);
    let of = |token: usize| {
        let (r, c) = (rows.start + token / cols.len(), cols.start + token % cols.len());
        &qkv[(r * p.cols as usize + c) * 3 * dim..][..3 * dim]
    };
    let tokens = rows.len() * cols.len();
    let key = |k: usize| if k < tokens { of(k) } else { global };
    let mut out = vec![0.0; tokens * dim];
    for head in 0..p.heads as usize {
        let first = head * width;
        // Side by side first: the packing reads them in stretches.
        let gather = |flat: &mut Vec<f32>, part: usize| {
            flat.clear();
            for k in 0..=tokens {
                flat.extend(key(k)[part * dim + first..][..width].iter().map(|v| v.widened()));
            }
        };
        let flat = &mut memory.queries;
        gather(flat, 1);
        memory.keys.fill(width, tokens + 1, |k, c| flat[k * width + c]);
        gather(flat, 2);
        memory.values.fill(tokens + 1, width, |c, k| flat[k * width + c]);
        let (pitch, heads_pitch) = (memory.keys.pitch(), memory.values.pitch());
        // So many queries at a time that their logits stay in the cache.
        for start in (0..tokens).step_by(48) {
            let count = 48.min(tokens - start);
            memory.queries.clear();
            for token in start..start + count {
                memory.queries.extend(of(token)[first..first + width].iter().map(|v| v.widened()));
            }
            memory.logits.resize(count * pitch, 0.0);
            memory.keys.apply(&memory.queries, width, &mut memory.logits);
            let sums: Vec<f32> =
                memory.logits.chunks_exact_mut(pitch).map(|row| softmax(&mut row[..=tokens], p.scale)).collect();
            memory.heads.resize(count * heads_pitch, 0.0);
            memory.values.apply(&memory.logits, pitch, &mut memory.heads);
            for (i, (row, sum)) in memory.heads.chunks_exact(heads_pitch).zip(sums).enumerate() {
                let to = &mut out[(start + i) * dim + first..][..width];
                to.iter_mut().zip(row).for_each(|(to, v)| *to = v / sum);
            }
        }
    }
    out
}

impl<T: Sample> WindowAttention<T> for Cpu {
    fn window_attention_unchecked(
        &self,
        p: WindowParams,
        qkv: View<'_, Self, T>,
        global: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (qkv, global, y) = (self.read(qkv)?, self.read(global)?, self.write(y)?);
        let (dim, line) = (p.dim as usize, (p.cols * p.dim) as usize);
        let image = p.rows as usize * line;
        let memory = || Window {
            keys: Packed::empty(),
            values: Packed::empty(),
            queries: Vec::new(),
            logits: Vec::new(),
            heads: Vec::new(),
        };
        for (i, mut y) in y.chunks_exact_mut(image).enumerate() {
            let (qkv, global) = (&qkv[i * 3 * image..][..3 * image], &global[i * 3 * dim..][..3 * dim]);
            // A band of windows is a stretch of the result.
            let mut bands = Vec::new();
            for wy in 0..p.windows_y as usize {
                let (band, rest) = y.split_at_mut(p.span(wy, p.rows).len() * line);
                bands.push((wy, band));
                y = rest;
            }
            bands.into_par_iter().for_each(|(wy, band)| {
                let all: Vec<Vec<f32>> = (0..p.windows_x as usize)
                    .into_par_iter()
                    .map_init(memory, |memory, wx| window(&p, [wy, wx], qkv, global, memory))
                    .collect();
                for (wx, heads) in all.iter().enumerate() {
                    let cols = p.span(wx, p.cols);
                    for (row, heads) in band.chunks_exact_mut(line).zip(heads.chunks_exact(cols.len() * dim)) {
                        let to = &mut row[cols.start * dim..cols.end * dim];
                        to.iter_mut().zip(heads).for_each(|(to, v)| *to = T::nearest(*v));
                    }
                }
            });
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> WindowAttention<T> for gpu_core::Cuda {
    fn window_attention_unchecked(
        &self,
        p: WindowParams,
        qkv: View<'_, Self, T>,
        global: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;

        // Queries of a block; twins of kQueries in kernels/window_attention.cu.
        let queries = if T::ROUNDS { 128 } else { 64 };
        let pieces = (p.window * p.window).div_ceil(queries) as usize;
        let windows = p.windows_y as usize * p.windows_x as usize;
        let launch = self
            .kernel(&super::cuda::OPS, &format!("window_attention_{}", T::NAME))?
            .read(qkv)?
            .read(global)?
            .write(y)?
            .arg(p)
            .grid((Grid::cover(windows * pieces, 1)?, p.heads, p.images))
            .looping(2)
            .block((256, 1, 1));
        // SAFETY: void window_attention_T(const T* qkv, const T* global, T* y, WindowParams p); a block some queries of a
        // window and head, and `fused_attention_into` has checked all lengths.
        unsafe { launch.launch() }
    }
}
