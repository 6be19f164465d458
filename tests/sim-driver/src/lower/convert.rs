//! `cvt`.

use super::scalar::{low, number};
use super::{Lower, Result};
use crate::float::{self, Rounding};
use crate::program::{Convert, Kind, Op, Place, Un32, Un64};
use crate::ptx::{Operand, Type};

/// How a number becomes an integer.
fn to_integral(value: f64, parts: &[String]) -> f64 {
    for part in parts {
        match part.as_str() {
            "rni" => return value.round_ties_even(),
            "rzi" => return value.trunc(),
            "rmi" => return value.floor(),
            "rpi" => return value.ceil(),
            _ => {}
        }
    }
    value
}

/// The exact value of a floating-point type's bits.
fn exact(bits: u64, ty: Type) -> f64 {
    match ty {
        Type::F16 => f64::from(float::f16_to_f32(bits as u16)),
        Type::Bf16 => f64::from(float::bf16_to_f32(bits as u16)),
        Type::F32 | Type::Tf32 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    }
}

/// A number rounded to a floating-point type, as bits.
fn rounded(value: f64, ty: Type, round: Rounding) -> u64 {
    match ty {
        Type::F16 => float::f64_to_f16(value, round).into(),
        Type::Bf16 if value.is_nan() => 0x7FFF,
        Type::Bf16 => float::f64_to_bf16(value, round).into(),
        Type::F32 if value.is_nan() => 0x7FFF_FFFF,
        Type::F32 => float::f64_to_f32(value, round).to_bits().into(),
        _ if value.is_nan() => 0xFFF8_0000_0000_0000,
        _ => value.to_bits(),
    }
}

/// An integer of at most 64 bits rounded to a floating-point type.
fn from_integer(value: i128, ty: Type, round: Rounding) -> u64 {
    // Only unsigned ones are beyond the largest signed one.
    match (ty, i64::try_from(value)) {
        (Type::F64, Ok(value)) => float::i64_to_f64(value, round).to_bits(),
        (Type::F64, Err(_)) => float::u64_to_f64(value as u64, round).to_bits(),
        (Type::F32, Ok(value)) => float::i64_to_f32(value, round).to_bits().into(),
        (Type::F32, Err(_)) => float::u64_to_f32(value as u64, round).to_bits().into(),
        (Type::Bf16, Ok(value)) => float::i64_to_bf16(value, round).into(),
        (Type::Bf16, Err(_)) => float::u64_to_bf16(value as u64, round).into(),
        (_, Ok(value)) => float::i64_to_f16(value, round).into(),
        (_, Err(_)) => float::u64_to_f16(value as u64, round).into(),
    }
}

/// A number in an integer type, at the nearest end of its range when it lies outside.
/// NaN becomes 0, and 1 in the highest bit where source or result have 64 bits.
fn to_integer(value: f64, from: Type, ty: Type, parts: &[String]) -> u64 {
    if value.is_nan() {
        return if ty.bits() == 64 || from == Type::F64 { 1 << (ty.bits() - 1) } else { 0 };
    }
    let value = to_integral(value, parts);
    let bits = ty.bits();
    let (least, most) =
        if ty.is_signed() { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    // The conversion to 128 bits saturates by itself.
    (value as i128).clamp(least, most) as u64
}

impl Lower<'_> {
    pub(super) fn convert(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        if parts[0] != "cvt" || parts.len() < 3 {
            return Ok(false);
        }
        let names = &parts[parts.len() - 2..];
        let (Some(to), Some(from)) = (Type::parse(names[0]), Type::parse(names[1])) else { return Ok(false) };
        let modifiers: Vec<String> = parts[1..parts.len() - 2].iter().map(|part| (*part).to_owned()).collect();
        let known = |part: &String| {
            matches!(
                part.as_str(),
                "rn" | "rz" | "rm" | "rp" | "rni" | "rzi" | "rmi" | "rpi" | "rna" | "ftz" | "sat" | "relu"
            )
        };
        if !modifiers.iter().all(known) {
            return Ok(false);
        }
        if matches!(to, Type::F16x2 | Type::Bf16x2) {
            return self.convert_pair(to, from, &modifiers, operands);
        }
        let [target, source] = operands else { return Ok(false) };
        // Registers may be wider than the types.
        let source = match source {
            Operand::Name(name) if matches!(self.find(name), Some(super::Named::Register(..))) => {
                self.register(source)?
            }
            other => self.value(other, from)?,
        };
        let target = self.register(target)?;
        if source.kind == Kind::Predicate || target.kind == Kind::Predicate {
            return Ok(false);
        }
        if modifiers.is_empty() && self.convert_integers(target, source, to, from) {
            return Ok(true);
        }
        let simple = modifiers.len() == 1 && modifiers[0] == "rn";
        match (from, to) {
            (Type::F32, Type::F64) if modifiers.is_empty() => {
                self.push(Op::Convert(Convert::F32ToF64, target.slot, source.slot));
                return Ok(true);
            }
            (Type::F64, Type::F32) if simple => {
                self.push(Op::Convert(Convert::F64ToF32, target.slot, source.slot));
                return Ok(true);
            }
            (Type::S32, Type::F32) if simple => {
                self.push(Op::Un32(Un32::FromS32, target.slot, source.slot));
                return Ok(true);
            }
            (Type::U32, Type::F32) if simple => {
                self.push(Op::Un32(Un32::FromU32, target.slot, source.slot));
                return Ok(true);
            }
            _ => {}
        }
        let f = conversion(to, from, modifiers);
        self.scalar(target, &[source], move |x| {
            let out = low(f(x[0]), to);
            // Registers are wider than small integers, which are extended.
            if to.is_signed() { number(out, to) as u64 } else { out }
        });
        Ok(true)
    }

    /// Conversions between integers without a modifier: cut, or extend.
    fn convert_integers(&mut self, target: Place, source: Place, to: Type, from: Type) -> bool {
        if to.is_float() || from.is_float() {
            return false;
        }
        match (from.bits(), to.bits(), source.kind, target.kind) {
            (32, 64, Kind::B32, Kind::B64) => {
                let how = if from.is_signed() { Convert::Sign } else { Convert::Zero };
                self.push(Op::Convert(how, target.slot, source.slot));
            }
            (64, 32, Kind::B64, Kind::B32) => self.push(Op::Convert(Convert::Low, target.slot, source.slot)),
            (32, 32, Kind::B32, Kind::B32) => self.push(Op::Un32(Un32::Mov, target.slot, source.slot)),
            (64, 64, Kind::B64, Kind::B64) => self.push(Op::Un64(Un64::Mov, target.slot, source.slot)),
            _ => {
                self.scalar(target, &[source], move |x| {
                    let value = low(number(low(x[0], from), from) as u64, to);
                    if to.is_signed() { number(value, to) as u64 } else { value }
                });
            }
        }
        true
    }

    /// Two singles into one register: the first operand is the upper half.
    fn convert_pair(&mut self, to: Type, from: Type, modifiers: &[String], operands: &[Operand]) -> Result<bool> {
        let half = if to == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        if from != Type::F32 || operands.len() != 3 {
            return Ok(false);
        }
        let f = conversion(half, from, modifiers.to_vec());
        self.map(operands, &[Type::F32; 2], to, move |x| (f(x[0]) & 0xFFFF) << 16 | (f(x[1]) & 0xFFFF))
    }
}

type Conversion = Box<dyn Fn(u64) -> u64 + Send + Sync>;

fn conversion(to: Type, from: Type, modifiers: Vec<String>) -> Conversion {
    let has = |name: &str| modifiers.iter().any(|part| part == name);
    let (ftz, sat, relu) = (has("ftz"), has("sat"), has("relu"));
    let names: Vec<&str> = modifiers.iter().map(String::as_str).collect();
    let round = super::arithmetic::rounding(&names);
    let flush = move |value: f64, ty: Type| {
        let subnormal = ty == Type::F32 && value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
        if ftz && subnormal { 0.0f64.copysign(value) } else { value }
    };
    // Too small before it is rounded: zero.
    let keep = move |value: f64, bits: u64| {
        let small = ftz && value.abs() < f64::from(f32::MIN_POSITIVE);
        if small { bits & 0x8000_0000 } else { bits }
    };
    if to == Type::Tf32 {
        let (away, zero) = (has("rna"), has("rz"));
        return Box::new(move |x| {
            let value = f32::from_bits(x as u32);
            let bits = match (away, zero) {
                // Rounding the bits is all that it does, also to what is not a number.
                (true, _) => {
                    let size = (x as u32 & 0x7FFF_FFFF).saturating_add(0x1000).min(0x7FFF_FFFF);
                    (x as u32 & 0x8000_0000) | (size & !0x1FFF)
                }
                (_, true) => float::f32_to_tf32_rz(value),
                _ => float::f32_to_tf32_rn(value),
            };
            if relu && f32::from_bits(bits) <= 0.0 { 0 } else { bits.into() }
        });
    }
    match (from.is_float(), to.is_float()) {
        (true, true) => Box::new(move |x| {
            // Half precision keeps what is subnormal in a single.
            let input = if to == Type::F16 { exact(x, from) } else { flush(exact(x, from), from) };
            let value = to_integral(input, &modifiers);
            let value = if sat { if value > 0.0 { value.min(1.0) } else { 0.0 } } else { value };
            let value = if relu && value <= 0.0 { 0.0 } else { value };
            let bits = rounded(value, to, round);
            if to == Type::F32 { keep(value, bits) } else { bits }
        }),
        (false, true) => Box::new(move |x| {
            let value = number(low(x, from), from);
            let value = if sat { value.clamp(0, 1) } else { value };
            from_integer(value, to, round)
        }),
        (true, false) => Box::new(move |x| to_integer(flush(exact(x, from), from), from, to, &modifiers)),
        (false, false) => Box::new(move |x| {
            let value = number(low(x, from), from);
            if !sat {
                return value as u64;
            }
            let bits = to.bits();
            let (least, most) = if to.is_signed() {
                (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
            } else {
                (0, (1i128 << bits) - 1)
            };
            value.clamp(least, most) as u64
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: f64, from: Type, ty: Type, how: &str) -> u64 {
        low(to_integer(value, from, ty, &[how.to_owned()]), ty)
    }

    #[test]
    fn floats_to_integers() {
        for (x, want) in [(2.5, [2, 2, 2, 3]), (-2.5, [-2, -2, -3, -2]), (3.5, [4, 3, 3, 4]), (-0.3, [0, 0, -1, 0])] {
            for (how, want) in ["rni", "rzi", "rmi", "rpi"].into_iter().zip(want) {
                assert_eq!(integer(x, Type::F64, Type::S32, how), u64::from(want as u32));
                assert_eq!(integer(x, Type::F32, Type::S64, how), i64::from(want) as u64);
                assert_eq!(integer(x, Type::F16, Type::S8, how), u64::from(want as u8));
                assert_eq!(integer(x, Type::F64, Type::U64, how), want.max(0) as u64);
            }
        }
        for (ty, low, high) in [
            (Type::S8, 0x80, 0x7F),
            (Type::U8, 0, 0xFF),
            (Type::S32, 0x8000_0000, 0x7FFF_FFFF),
            (Type::U32, 0, 0xFFFF_FFFF),
            (Type::S64, 1 << 63, u64::MAX >> 1),
            (Type::U64, 0, u64::MAX),
        ] {
            for big in [1e30, f64::INFINITY] {
                assert_eq!(integer(big, Type::F64, ty, "rzi"), high);
                assert_eq!(integer(-big, Type::F32, ty, "rni"), low);
            }
            assert_eq!(integer(f64::NAN, Type::F64, ty, "rzi"), 1 << (ty.bits() - 1));
            assert_eq!(integer(f64::NAN, Type::F32, ty, "rzi"), if ty.bits() == 64 { 1 << 63 } else { 0 });
        }
    }
}
