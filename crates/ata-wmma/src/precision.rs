//! Number formats of the operands, their rounding, and the powers of two that keep `f16` in range.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use crate::error::AtaError;

/// What operands are rounded to. Sums are `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Precision {
    /// `f32`, fused multiply-adds, no matrix units. Product error 2^-24.
    F32,
    /// 10 bits of fraction, the exponent range of `f32`. Product error 2^-10.
    Tf32,
    /// Two TF32 pieces an operand, three products. Product error 2^-21.
    #[default]
    Tf32x3,
    /// `f16`, scaled by powers of two. Product error 2^-10.
    F16,
    /// Two `f16` pieces, three products, scaled. Product error 2^-20.
    F16x2,
    /// `bf16`: 7 bits of fraction. Product error 2^-7; never chosen by itself.
    Bf16,
    /// Three `bf16` pieces, six products. Product error 2^-22.
    Bf16x3,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::F32, Self::Tf32, Self::Tf32x3, Self::F16, Self::F16x2, Self::Bf16, Self::Bf16x3];

    /// Pieces that an operand is split into.
    pub fn pieces(self) -> usize {
        match self {
            Self::F32 | Self::Tf32 | Self::F16 | Self::Bf16 => 1,
            Self::Tf32x3 | Self::F16x2 => 2,
            Self::Bf16x3 => 3,
        }
    }

    /// Pairs of pieces (of the matrix, of the vectors) that are multiplied, in the order of their sums: small to large.
    pub fn products(self) -> &'static [(usize, usize)] {
        match self.pieces() {
            1 => &[(0, 0)],
            2 => &[(1, 0), (0, 1), (0, 0)],
            _ => &[(2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0)],
        }
    }

    /// Bytes of a matrix element on a device.
    pub fn bytes_an_element(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            _ => 4,
        }
    }

    /// Whether operands are scaled by powers of two.
    pub fn is_scaled(self) -> bool {
        matches!(self, Self::F16 | Self::F16x2)
    }

    /// Whether pieces have 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::F16x2 | Self::Bf16 | Self::Bf16x3)
    }

    /// Nearest value of the piece's format, ties to even.
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::F32 => v,
            Self::Tf32 | Self::Tf32x3 => round_tf32(v),
            Self::F16 | Self::F16x2 => round_f16(v),
            Self::Bf16 | Self::Bf16x3 => round_bf16(v),
        }
    }

    /// The pieces of a (scaled) value; those beyond [`pieces`](Self::pieces) are 0.
    pub fn split(self, v: f32) -> [f32; 3] {
        let mut out = [0.0; 3];
        let mut rest = v;
        for piece in out.iter_mut().take(self.pieces()) {
            *piece = self.round(rest);
            rest -= *piece;
        }
        out
    }

    /// Bits of a piece with 16 bits.
    pub fn bits(self, piece: f32) -> u16 {
        match self {
            Self::Bf16 | Self::Bf16x3 => bf16::from_f32(piece).to_bits(),
            _ => f16::from_f32(piece).to_bits(),
        }
    }

    /// The value of a piece with 16 bits.
    pub fn of_bits(self, bits: u16) -> f32 {
        match self {
            Self::Bf16 | Self::Bf16x3 => bf16::from_bits(bits).to_f32(),
            _ => f16::from_bits(bits).to_f32(),
        }
    }

    /// Largest normwise error of a product that is accepted, for every frame and channel.
    pub fn normwise_bound(self) -> f64 {
        match self {
            Self::F16 | Self::Tf32 => 8e-4,
            Self::Bf16 => 6e-3,
            _ => 2e-6,
        }
    }

    /// Largest error of an element relative to `|A| |x|` that is accepted.
    pub fn componentwise_bound(self) -> f64 {
        match self {
            Self::F16 | Self::Tf32 => 1.1e-3,
            Self::Bf16 => 8e-3,
            _ => 3e-6,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Tf32x3 => "tf32x3",
            Self::F16 => "f16",
            Self::F16x2 => "f16x2",
            Self::Bf16 => "bf16",
            Self::Bf16x3 => "bf16x3",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = AtaError;
    fn from_str(s: &str) -> Result<Self, AtaError> {
        Self::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            AtaError::value("precision", format!("`{s}` is none of {names}"))
        })
    }
}

/// Nearest `f16`, ties to even.
pub fn round_f16(v: f32) -> f32 {
    f16::from_f32(v).to_f32()
}

/// Nearest `bf16`, ties to even.
pub fn round_bf16(v: f32) -> f32 {
    bf16::from_f32(v).to_f32()
}

/// Nearest value with 10 bits of fraction, ties to even; kernels round alike with the same integer operations.
pub fn round_tf32(v: f32) -> f32 {
    if !v.is_finite() {
        return v;
    }
    let bits = v.to_bits();
    f32::from_bits((bits + 0xFFF + ((bits >> 13) & 1)) & !0x1FFF)
}

/// `ceil(log2 m)` of a positive finite number.
pub fn ceil_log2(m: f32) -> i32 {
    let wide = f64::from(m).to_bits();
    let exponent = ((wide >> 52) & 0x7FF) as i32 - 1023;
    exponent + i32::from(wide & ((1 << 52) - 1) != 0)
}

/// Exponent of the power of two that a matrix is multiplied by: `14 - ceil(log2 max)`, 0 for a matrix of zeros, inside
/// what `f32` holds both ways.
pub fn matrix_exponent(largest: f32) -> i32 {
    if largest > 0.0 { (14 - ceil_log2(largest)).clamp(-126, 126) } else { 0 }
}

/// Exponent of the power of two that a vector is multiplied by: `-ceil(log2 max)`, 0 for a vector of zeros.
pub fn vector_exponent(largest: f32) -> i32 {
    if largest > 0.0 { (-ceil_log2(largest)).clamp(-126, 126) } else { 0 }
}

/// `2^e` for `e` in -126..=127.
pub fn power_of_two(e: i32) -> f32 {
    f32::from_bits(((e + 127) as u32) << 23)
}

/// `v 2^e` in two exact steps, so that the power itself need not be an `f32`.
pub fn scaled(v: f32, e: i32) -> f32 {
    let half = e >> 1;
    v * power_of_two(half) * power_of_two(e - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_go_to_the_nearest_and_ties_to_even() {
        assert_eq!(round_tf32(1.0 + 2f32.powi(-11)), 1.0);
        assert_eq!(round_tf32(1.0 + 3.0 * 2f32.powi(-11)), 1.0 + 2.0 * 2f32.powi(-10));
        assert_eq!(round_tf32(-1.0 - 2f32.powi(-10)), -1.0 - 2f32.powi(-10));
        assert_eq!(round_f16(1.0 + 2f32.powi(-11)), 1.0);
        assert_eq!(round_bf16(1.0 + 3.0 * 2f32.powi(-8)), 1.0 + 2f32.powi(-6));
    }

    #[test]
    fn pieces_add_up() {
        for v in [1.0f32 / 3.0, -123.456, 7.1e-3, 0.0] {
            for (p, left) in [(Precision::Tf32x3, -21), (Precision::F16x2, -20), (Precision::Bf16x3, -23)] {
                let sum: f64 = p.split(v).iter().map(|&p| f64::from(p)).sum();
                // The second piece of a small number is below the normal range of f16, whose steps are 2^-24.
                let most = (f64::from(v).abs() * 2f64.powi(left)).max(if p == Precision::F16x2 {
                    2f64.powi(-25)
                } else {
                    0.0
                });
                assert!((sum - f64::from(v)).abs() <= most, "{p} of {v}");
            }
        }
    }

    #[test]
    fn exponents_bring_values_into_range() {
        assert_eq!((ceil_log2(1.0), ceil_log2(1.5), ceil_log2(8.0), ceil_log2(f32::from_bits(1))), (0, 1, 3, -149));
        for m in [2.66e8f32, 1e-9, 1.0, 3.0e38, 1e-40] {
            let a = scaled(m, matrix_exponent(m));
            assert!(a <= 16384.0 && (a > 8192.0 || m < 1e-30), "{m} becomes {a}");
            // The exponent ends at -126: what is beyond 2^126 stays below 4.
            assert!(scaled(m, vector_exponent(m)) <= if m > 2f32.powi(126) { 4.0 } else { 1.0 });
        }
        assert_eq!(scaled(3.0, 200), f32::INFINITY);
        assert_eq!(scaled(1.0, -130), 2f32.powi(-130));
    }
}
