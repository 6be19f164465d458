//! One pass of an exact selection by rank: counts of one digit of the elements' magnitudes.
//!
//! The *key* of an element is the bit pattern of `|x|` as an `f64`, read as an integer; keys are ordered like magnitudes,
//! NaN behind infinity. Of the elements whose key, shifted right by `shift + width`, equals the plane's prefix, the pass
//! counts how many have each value of the next `width` bits. From the counts follows the digit of the element of a
//! rank, and with it the prefix of the next pass; after all digits the key, and so the element itself, is known.
//!
//! Counts are integers and are added to what is there, so that their order does not matter: both twins agree to the bit.
//!
//! Floor: `size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Planes;
use crate::Real;

/// Most bits of a digit.
pub const DIGIT_BITS: u32 = 12;
/// Counters of a plane.
pub const DIGIT_VALUES: usize = 1 << DIGIT_BITS;
/// The key of every NaN.
const NAN_KEY: u64 = 0x7FF8 << 48;

/// Which bits of the keys a pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// Bits below the digit.
    pub shift: u32,
    /// Bits of the digit, at most 12.
    pub width: u32,
}

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct DigitCountsParams {
    /// Planes.
    pub count: u32,
    /// Planes of a group.
    pub per_group: u32,
    /// Bits below the digit.
    pub shift: u32,
    /// Bits of the digit.
    pub width: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one group to the next.
    pub group_stride: u64,
    /// Elements from one plane of a group to the next.
    pub stride: u64,
}

/// The operation on one backend.
pub trait DigitCounts<T: Real>: Backend {
    #[doc(hidden)]
    fn digit_counts_unchecked(
        &self,
        p: DigitCountsParams,
        prefixes: View<'_, Self, u64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()>;
}

/// Adds the digit's counts of plane `n` to row `n` of `counts`, which is `[count, 4096]`.
///
/// Planes lie in groups of `per_group`, dense inside a group, with `group_stride` elements from one group to the next:
/// the planes of one scale of every image.
///
/// # Errors
/// When the digit lies outside of a key, the groups do not divide the planes, or a view has another length than needed.
pub fn digit_counts<B: DigitCounts<T>, T: Real>(
    b: &B,
    planes: Planes,
    digit: Digit,
    per_group: usize,
    group_stride: usize,
    prefixes: View<'_, B, u64>,
    x: View<'_, B, T>,
    counts: ViewMut<'_, B, u64>,
) -> Result<()> {
    planes.check()?;
    if !(1..=DIGIT_BITS).contains(&digit.width) || digit.shift > u64::BITS - digit.width {
        return Err(Error::value(
            "digit",
            format!("{digit:?} is not inside a key of 64 bits, or wider than {DIGIT_BITS}"),
        ));
    }
    if per_group == 0 || !planes.count.is_multiple_of(per_group) {
        let why = format!("{} planes are not a number of groups of {per_group}", planes.count);
        return Err(Error::value("per_group", why));
    }
    let groups = Planes { count: planes.count / per_group, ..planes };
    groups.fit("x", x.len(), group_stride, per_group.saturating_mul(planes.area()))?;
    if prefixes.len() != planes.count {
        return Err(Error::shape("prefixes", &[planes.count], &[prefixes.len()]));
    }
    if counts.len() != planes.count * DIGIT_VALUES {
        return Err(Error::shape("counts", &[planes.count, DIGIT_VALUES], &[counts.len()]));
    }
    let p = DigitCountsParams {
        count: planes.count as u32,
        per_group: per_group as u32,
        shift: digit.shift,
        width: digit.width,
        area: planes.area() as u64,
        group_stride: group_stride as u64,
        stride: planes.area() as u64,
    };
    b.digit_counts_unchecked(p, prefixes, x, counts)
}

impl<T: Real> DigitCounts<T> for Cpu {
    fn digit_counts_unchecked(
        &self,
        p: DigitCountsParams,
        prefixes: View<'_, Self, u64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        let (prefixes, x, counts) = (self.read(prefixes)?, self.read(x)?, self.write(counts)?);
        let per_group = p.per_group as usize;
        let mask = (1 << p.width) - 1;
        counts.par_chunks_mut(DIGIT_VALUES).zip(prefixes).enumerate().for_each(|(n, (counts, &prefix))| {
            let start = n / per_group * p.group_stride as usize + n % per_group * p.stride as usize;
            for &x in &x[start..][..p.area as usize] {
                let magnitude = x.to_f64().abs();
                // NaN has many bit patterns.
                let key = if magnitude.is_nan() { NAN_KEY } else { magnitude.to_bits() } >> p.shift;
                if key >> p.width == prefix {
                    counts[(key & mask) as usize] += 1;
                }
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> DigitCounts<T> for gpu_core::Cuda {
    fn digit_counts_unchecked(
        &self,
        p: DigitCountsParams,
        prefixes: View<'_, Self, u64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("digit_counts_{}", T::NAME))?;
        let launch = kernel
            .read(prefixes)?
            .read(x)?
            .write(counts)?
            .arg(p)
            .grid(super::cuda::chunks(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void digit_counts_T(const u64* prefixes, const T* x, u64* counts, DigitCountsParams p); `digit_counts`
        // has checked that every plane lies inside its view, and that there is a prefix and room for it.
        unsafe { launch.launch() }
    }
}
