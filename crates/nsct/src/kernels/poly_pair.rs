//! Both outputs of an analysis node from the powers of its mapping: `y0 = Σ_d a_d t_d`, `y1 = Σ_d b_d t_d`.
//!
//! `t_0` is the node's input, `t_d = K^d t_0`. Sums go from the highest degree down, the first term a product and every
//! further one fused, so that both twins agree to the bit.
//!
//! Floor: `(degree + 3) * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// Highest power of a mapping in any filter of the transform.
pub(crate) const MAX_DEGREE: usize = 4;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PolyPairParams {
    /// Planes.
    pub count: u32,
    /// Highest power.
    pub degree: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one plane of `t_0` to the next.
    pub x_stride: u64,
    /// Elements from the first output of a plane to the first output of the next plane.
    pub y_stride: u64,
    /// Elements from the first output of a plane to its second.
    pub pair_stride: u64,
    /// Coefficients of the first output.
    pub first: [f64; MAX_DEGREE + 1],
    /// Coefficients of the second output.
    pub second: [f64; MAX_DEGREE + 1],
}

/// The operation on one backend.
pub trait PolyPair<T: Real>: Backend {
    #[doc(hidden)]
    fn poly_pair_unchecked(
        &self,
        p: PolyPairParams,
        x: View<'_, Self, T>,
        powers: &[View<'_, Self, T>],
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Combines `x` and its powers to two outputs.
///
/// `powers` holds `t_1`, `t_2`, … with the planes of each densely behind one another. The first output of plane `n` starts at `n * y_stride`, the
/// second `pair_stride` behind it. Polynomials are written constant term first; the longer one sets the degree, and there
/// are as many powers.
///
/// # Errors
/// When a polynomial is empty or of degree above 4, the number of powers is another, or a view is too short.
pub fn poly_pair<B: PolyPair<T>, T: Real>(
    b: &B,
    planes: Planes,
    [first, second]: [&[f64]; 2],
    x: View<'_, B, T>,
    x_stride: usize,
    powers: &[View<'_, B, T>],
    y: ViewMut<'_, B, T>,
    y_stride: usize,
    pair_stride: usize,
) -> Result<()> {
    planes.check()?;
    let area = planes.area();
    let terms = first.len().max(second.len());
    if terms == 0 || terms > MAX_DEGREE + 1 {
        return Err(Error::value("polynomial", format!("{terms} coefficients; 1 to {} are possible", MAX_DEGREE + 1)));
    }
    let degree = terms - 1;
    planes.fit("x", x.len(), x_stride, area)?;
    if powers.len() != degree {
        return Err(Error::value("powers", format!("{} were given for a polynomial of degree {degree}", powers.len())));
    }
    for power in powers {
        planes.fit("powers", power.len(), area, area)?;
    }
    if pair_stride < area || (planes.count > 1 && y_stride < pair_stride + area) {
        return Err(Error::value("y", "the two outputs of a plane overlap each other or the next plane"));
    }
    planes.fit("y", y.len(), y_stride, pair_stride + area)?;
    let padded = |c: &[f64]| {
        let mut all = [0.0; MAX_DEGREE + 1];
        all[..c.len()].copy_from_slice(c);
        all
    };
    let p = PolyPairParams {
        count: planes.count as u32,
        degree: degree as u32,
        area: area as u64,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
        pair_stride: pair_stride as u64,
        first: padded(first),
        second: padded(second),
    };
    b.poly_pair_unchecked(p, x, powers, y)
}

impl<T: Real> PolyPair<T> for Cpu {
    fn poly_pair_unchecked(
        &self,
        p: PolyPairParams,
        x: View<'_, Self, T>,
        powers: &[View<'_, Self, T>],
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let powers = powers.iter().map(|&t| self.read(t)).collect::<Result<Vec<_>>>()?;
        let area = p.area as usize;
        let planes = Planes { count: p.count as usize, height: 1, width: area };
        let narrow = |c: &[f64]| c[..=p.degree as usize].iter().map(|&v| T::of(v)).collect::<Vec<T>>();
        let (first, second) = (narrow(&p.first), narrow(&p.second));
        let pair_stride = p.pair_stride as usize;
        planes.pairs(x, p.x_stride, y, p.y_stride, pair_stride + area, |n, x, pair| {
            let (y0, y1) = pair.split_at_mut(pair_stride);
            let mut inputs = vec![x];
            inputs.extend(powers.iter().map(|t| &t[n * area..][..area]));
            let chunks = y0[..area].par_chunks_mut(CHUNK).zip(y1.par_chunks_mut(CHUNK)).enumerate();
            chunks.with_min_len(4).for_each(|(i, (y0, y1))| {
                let parts: Vec<&[T]> = inputs.iter().map(|t| &t[i * CHUNK..][..y0.len()]).collect();
                T::polynomial(y0, &parts, &first);
                T::polynomial(y1, &parts, &second);
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> PolyPair<T> for gpu_core::Cuda {
    fn poly_pair_unchecked(
        &self,
        p: PolyPairParams,
        x: View<'_, Self, T>,
        powers: &[View<'_, Self, T>],
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("poly_pair_{}", T::NAME))?;
        // Powers beyond the degree are not read.
        let power = |d: usize| powers.get(d).copied().unwrap_or(x);
        let launch = kernel
            .read(x)?
            .read(power(0))?
            .read(power(1))?
            .read(power(2))?
            .read(power(3))?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void poly_pair_T(const T* x, const T* t1, const T* t2, const T* t3, const T* t4, T* y,
        // PolyPairParams p); `poly_pair` has checked that every plane lies inside its view.
        unsafe { launch.launch() }
    }
}
