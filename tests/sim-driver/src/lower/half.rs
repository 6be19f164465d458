//! Arithmetic on half precision and brain floats.

use super::{Lower, Result};
use crate::float;
use crate::ptx::{Operand, Type};

/// What tensor copies put in the place of elements that are outside of the tensor.
const OUT_OF_BOUNDS: u16 = 0x7FF7;

impl Lower<'_> {
    /// Half precision and brain floats, alone or in pairs.
    pub(super) fn half(&mut self, parts: &[&str], ty: Type, operands: &[Operand]) -> Result<bool> {
        let brain = matches!(ty, Type::Bf16 | Type::Bf16x2);
        let pair = matches!(ty, Type::F16x2 | Type::Bf16x2);
        let (ftz, sat, relu) = (parts.contains(&"ftz"), parts.contains(&"sat"), parts.contains(&"relu"));
        let nan = parts.contains(&"NaN");
        let known = |part: &&str| {
            matches!(*part, "rn" | "ftz" | "sat" | "relu" | "NaN" | "approx" | "f16" | "f16x2" | "bf16" | "bf16x2")
        };
        let oob = parts[0] == "fma" && parts.contains(&"oob");
        if !parts[1..].iter().all(|part| known(part) || (oob && *part == "oob")) {
            return Ok(false);
        }
        let sign = 0x8000u16;
        let flush = move |bits: u16| if ftz && !brain && bits & 0x7C00 == 0 { bits & sign } else { bits };
        let wide = move |bits: u16| if brain { float::bf16_to_f32(bits) } else { float::f16_to_f32(bits) };
        let canonical = move |bits: u16| if wide(bits).is_nan() { 0x7FFF } else { bits };
        let one: u16 = if brain { 0x3F80 } else { 0x3C00 };
        let finish = move |bits: u16| -> u16 {
            let bits = canonical(flush(bits));
            if sat {
                return if !(wide(bits) > 0.0) {
                    0
                } else if wide(bits) > 1.0 {
                    one
                } else {
                    bits
                };
            }
            if relu && wide(bits) <= 0.0 { 0 } else { bits }
        };
        type Half = fn(u16, u16, u16) -> u16;
        let (count, f): (usize, Half) = match (parts[0], brain) {
            ("add", false) => (2, |a, b, _| float::add_f16(a, b)),
            ("sub", false) => (2, |a, b, _| float::sub_f16(a, b)),
            ("mul", false) => (2, |a, b, _| float::mul_f16(a, b)),
            ("fma", false) => (3, float::fma_f16),
            ("add", true) => (2, |a, b, _| float::add_bf16(a, b)),
            ("sub", true) => (2, |a, b, _| float::sub_bf16(a, b)),
            ("mul", true) => (2, |a, b, _| float::mul_bf16(a, b)),
            ("fma", true) => (3, float::fma_bf16),
            ("neg", _) => (1, |a, _, _| a ^ 0x8000),
            ("abs", _) => (1, |a, _, _| a & 0x7FFF),
            ("tanh", false) => (1, |a, _, _| float::tanh_approx_f16(a)),
            ("tanh", true) => (1, |a, _, _| float::tanh_approx_bf16(a)),
            ("ex2", true) if ftz => (1, |a, _, _| float::ex2_approx_ftz_bf16(a)),
            ("ex2", false) => (1, |a, _, _| float::ex2_approx_f16(a)),
            ("min", false) if nan => (2, |a, b, _| float::min_nan_f16(a, b)),
            ("max", false) if nan => (2, |a, b, _| float::max_nan_f16(a, b)),
            ("min", true) if nan => (2, |a, b, _| float::min_nan_bf16(a, b)),
            ("max", true) if nan => (2, |a, b, _| float::max_nan_bf16(a, b)),
            ("min", false) => (2, |a, b, _| float::min_f16(a, b)),
            ("max", false) => (2, |a, b, _| float::max_f16(a, b)),
            ("min", true) => (2, |a, b, _| float::min_bf16(a, b)),
            ("max", true) => (2, |a, b, _| float::max_bf16(a, b)),
            _ => return Ok(false),
        };
        let (product, third) = (matches!(parts[0], "mul" | "fma") && !brain, parts[0] == "fma");
        let lanes = move |x: &[u64; 5], shift: u32| {
            let part = |i: usize| flush((x[i] >> shift) as u16);
            if oob && [0, 1].into_iter().any(|i| (x[i] >> shift) as u16 == OUT_OF_BOUNDS) {
                return 0;
            }
            let value = f(part(0), part(1), part(2));
            // Too small before it is rounded: zero.
            let exact = f64::from(wide(part(0))) * f64::from(wide(part(1)));
            let exact = if third { exact + f64::from(wide(part(2))) } else { exact };
            let small = ftz && product && exact.abs() < 1.0 / 16384.0;
            u64::from(finish(if small { value & sign } else { value }))
        };
        self.map(operands, &[ty; 3][..count], ty, move |x| lanes(x, 0) | if pair { lanes(x, 16) << 16 } else { 0 })
    }
}
