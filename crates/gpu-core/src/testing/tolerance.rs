use std::fmt;

use half::{bf16, f16};
use num_complex::Complex;

use crate::Elem;

/// A scalar that tests can make, widen and compare.
pub trait Value: Elem {
    /// Name in reports.
    const NAME: &'static str;
    /// The nearest value of this type.
    fn from_f64(v: f64) -> Self;
    /// Widened; exact for every type here.
    fn to_f64(self) -> f64;
    /// Number of representable values between two finite ones; `u64::MAX` when it has no meaning. -0 equals 0.
    fn ulps(self, other: Self) -> u64;
    /// NaN, infinities, -0, subnormals and the largest finite values, chosen by `which`.
    fn extreme(which: usize) -> Self;
}

macro_rules! float {
    ($t:ty, $bits:ty, $signed:ty) => {
        impl Value for $t {
            const NAME: &'static str = stringify!($t);
            fn from_f64(v: f64) -> Self {
                <$t as FromF64>::narrow(v)
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn ulps(self, other: Self) -> u64 {
                // Orders the bit patterns of both signs on one line.
                fn line(bits: $bits) -> i128 {
                    let s = bits as $signed;
                    if s < 0 { -i128::from(s & <$signed>::MAX) } else { i128::from(s) }
                }
                if self.is_nan() || other.is_nan() {
                    return if self.is_nan() && other.is_nan() { 0 } else { u64::MAX };
                }
                u64::try_from((line(self.to_bits()) - line(other.to_bits())).abs()).unwrap_or(u64::MAX)
            }
            fn extreme(which: usize) -> Self {
                let smallest = <$t>::from_bits(1);
                [
                    <$t>::NAN,
                    <$t>::INFINITY,
                    <$t>::NEG_INFINITY,
                    -<$t>::from_f64(0.0),
                    smallest,
                    -smallest,
                    <$t>::MAX,
                    <$t>::MIN,
                ][which % 8]
            }
        }
    };
}

trait FromF64 {
    fn narrow(v: f64) -> Self;
}
impl FromF64 for f64 {
    fn narrow(v: f64) -> Self {
        v
    }
}
impl FromF64 for f32 {
    fn narrow(v: f64) -> Self {
        v as f32
    }
}
impl FromF64 for f16 {
    fn narrow(v: f64) -> Self {
        f16::from_f64(v)
    }
}
impl FromF64 for bf16 {
    fn narrow(v: f64) -> Self {
        bf16::from_f64(v)
    }
}
float!(f64, u64, i64);
float!(f32, u32, i32);
float!(f16, u16, i16);
float!(bf16, u16, i16);

macro_rules! integer {
    ($($t:ty),*) => { $(
        impl Value for $t {
            const NAME: &'static str = stringify!($t);
            fn from_f64(v: f64) -> Self {
                v as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn ulps(self, other: Self) -> u64 {
                self.abs_diff(other).into()
            }
            fn extreme(which: usize) -> Self {
                [<$t>::MIN, <$t>::MAX][which % 2]
            }
        }
    )* };
}
integer!(u8, i8, u16, i16, u32, i32);

/// How far two results may be apart. Each number must come from a stated bound.
///
/// Two values agree when any of the three limits holds, or when both are NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Representable values between them.
    pub ulps: u64,
    /// Difference relative to the wanted value.
    pub rel: f64,
    /// Difference.
    pub abs: f64,
}

impl Tolerance {
    /// Equal to the bit (-0 equals 0, NaN equals NaN).
    pub const EXACT: Self = Self { ulps: 0, rel: 0.0, abs: 0.0 };

    /// This absolute difference.
    pub const fn abs(abs: f64) -> Self {
        Self { abs, ..Self::EXACT }
    }

    /// This relative difference.
    pub const fn rel(rel: f64) -> Self {
        Self { rel, ..Self::EXACT }
    }

    /// This many representable values.
    pub const fn ulps(ulps: u64) -> Self {
        Self { ulps, ..Self::EXACT }
    }

    /// The larger of each limit.
    pub const fn loosest(self, other: Self) -> Self {
        let ulps = if self.ulps > other.ulps { self.ulps } else { other.ulps };
        Self { ulps, rel: self.rel.max(other.rel), abs: self.abs.max(other.abs) }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::EXACT {
            return f.write_str("exact");
        }
        let mut parts = Vec::new();
        if self.ulps > 0 {
            parts.push(format!("{} ulps", self.ulps));
        }
        if self.rel > 0.0 {
            parts.push(format!("{:.1e} relative", self.rel));
        }
        if self.abs > 0.0 {
            parts.push(format!("{:.1e} absolute", self.abs));
        }
        f.write_str(&parts.join(" or "))
    }
}

/// A tolerance, or a function from the case to one.
pub trait Bound<C> {
    /// The tolerance for a case.
    fn for_case(&self, case: &C) -> Tolerance;
}

impl<C> Bound<C> for Tolerance {
    fn for_case(&self, _case: &C) -> Tolerance {
        *self
    }
}

impl<C, F: Fn(&C) -> Tolerance> Bound<C> for F {
    fn for_case(&self, case: &C) -> Tolerance {
        self(case)
    }
}

/// The outcome of comparing two arrays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Elements compared.
    pub elements: usize,
    /// Elements outside the tolerance.
    pub outside: usize,
    /// Largest distance in representable values.
    pub worst_ulps: u64,
    /// Largest relative difference.
    pub worst_rel: f64,
    /// Largest absolute difference.
    pub worst_abs: f64,
    /// The element furthest outside (flat index, got, wanted, absolute difference, ulps).
    pub worst: Option<(usize, f64, f64, f64, u64)>,
}

impl Comparison {
    /// Whether every element is inside the tolerance.
    pub fn passed(&self) -> bool {
        self.outside == 0
    }

    /// Takes the larger of each figure.
    pub fn merge(&mut self, other: &Self) {
        self.elements += other.elements;
        self.outside += other.outside;
        self.worst_ulps = self.worst_ulps.max(other.worst_ulps);
        self.worst_rel = self.worst_rel.max(other.worst_rel);
        self.worst_abs = self.worst_abs.max(other.worst_abs);
        if self.worst.is_none() {
            self.worst = other.worst;
        }
    }

    /// What to print when it failed; `shape` turns the flat index into coordinates.
    pub fn describe(&self, shape: &[usize]) -> String {
        let Some((index, got, wanted, abs, ulps)) = self.worst else {
            return format!("all {} elements agree", self.elements);
        };
        let mut rest = index;
        let mut at: Vec<usize> = shape
            .iter()
            .rev()
            .map(|&d| {
                let c = rest % d.max(1);
                rest /= d.max(1);
                c
            })
            .collect();
        at.reverse();
        format!(
            "{} of {} elements differ; worst at {at:?}: got {got:e}, wanted {wanted:e}, difference {abs:e}, {ulps} ulps",
            self.outside, self.elements
        )
    }
}

/// Compares arrays of equal length element by element.
///
/// # Panics
/// When the lengths differ.
pub fn compare<T: Value>(got: &[T], wanted: &[T], tolerance: Tolerance) -> Comparison {
    assert_eq!(got.len(), wanted.len(), "arrays of different lengths");
    let mut out = Comparison { elements: got.len(), ..Comparison::default() };
    let mut worst_excess = -1.0;
    for (i, (&g, &w)) in got.iter().zip(wanted).enumerate() {
        let ulps = g.ulps(w);
        if ulps == 0 {
            continue;
        }
        let (gf, wf) = (g.to_f64(), w.to_f64());
        let abs = (gf - wf).abs();
        let abs = if abs.is_nan() { f64::INFINITY } else { abs };
        let rel = if wf == 0.0 { f64::INFINITY } else { abs / wf.abs() };
        out.worst_ulps = out.worst_ulps.max(ulps);
        out.worst_abs = out.worst_abs.max(abs);
        if rel.is_finite() {
            out.worst_rel = out.worst_rel.max(rel);
        }
        if ulps <= tolerance.ulps || rel <= tolerance.rel || abs <= tolerance.abs {
            continue;
        }
        out.outside += 1;
        if abs > worst_excess {
            worst_excess = abs;
            out.worst = Some((i, gf, wf, abs, ulps));
        }
    }
    out
}

/// Flattens complex numbers into re, im, re, im, …
pub fn parts<T: Value>(values: &[Complex<T>]) -> Vec<T> {
    values.iter().flat_map(|z| [z.re, z.im]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulps_count_representable_values() {
        assert_eq!(1.0f32.ulps(1.0 + f32::EPSILON), 1);
        assert_eq!(0.0f64.ulps(-0.0), 0);
        assert_eq!(f32::from_bits(1).ulps(-f32::from_bits(1)), 2);
        assert_eq!(f32::NAN.ulps(f32::NAN), 0);
        assert_eq!(f32::NAN.ulps(0.0), u64::MAX);
        assert_eq!(f16::from_f32(1.0).ulps(f16::from_f32(1.0)), 0);
        assert_eq!(3u8.ulps(250), 247);
    }

    #[test]
    fn the_loosest_of_two_tolerances_has_the_larger_of_each_limit() {
        let some = Tolerance { ulps: 3, rel: 0.0, abs: 1e-3 };
        assert_eq!(some.loosest(Tolerance::EXACT), some);
        assert_eq!(Tolerance::EXACT.loosest(some), some);
        assert_eq!(
            some.loosest(Tolerance { ulps: 1, rel: 0.5, abs: 1e-2 }),
            Tolerance { ulps: 3, rel: 0.5, abs: 1e-2 }
        );
    }

    #[test]
    fn the_worst_element_is_named_with_coordinates() {
        let wanted = [0.0f32; 6];
        let mut got = wanted;
        got[4] = 0.5;
        got[1] = 0.25;
        let c = compare(&got, &wanted, Tolerance::abs(0.3));
        assert!(!c.passed());
        assert_eq!(c.outside, 1);
        assert!(c.describe(&[2, 3]).contains("[1, 1]"), "{}", c.describe(&[2, 3]));
        assert!(compare(&got, &wanted, Tolerance::abs(0.5)).passed());
    }

    #[test]
    fn nan_and_infinity_are_not_close_to_numbers() {
        assert!(!compare(&[f32::NAN], &[1.0], Tolerance::abs(1e30)).passed());
        assert!(!compare(&[f32::INFINITY], &[1.0], Tolerance::rel(1e30)).passed());
        assert!(compare(&[f32::INFINITY], &[f32::INFINITY], Tolerance::EXACT).passed());
    }
}
