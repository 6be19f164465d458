//! Moves, selections and comparisons.

use super::scalar::number;
use super::{Lower, Result};
use crate::float::{bf16_to_f32, f16_to_f32};
use crate::program::{Compare, Convert, Kind, Logic, Op, Place, Un32, Un64};
use crate::ptx::{Operand, Type};

impl Lower<'_> {
    pub(super) fn moves(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        match parts[0] {
            "mov" => self.mov(parts, operands),
            "selp" => self.select(parts, operands),
            "slct" => self.select_by_sign(parts, operands),
            "setp" => self.set_predicate(parts, operands),
            "set" => self.set(parts, operands),
            _ => Ok(false),
        }
    }

    fn copy(&mut self, to: Place, from: Place) -> Result<()> {
        match (to.kind, from.kind) {
            (Kind::B32, Kind::B32) => self.push(Op::Un32(Un32::Mov, to.slot, from.slot)),
            (Kind::B64, Kind::B64) => self.push(Op::Un64(Un64::Mov, to.slot, from.slot)),
            (Kind::Predicate, Kind::Predicate) => self.push(Op::MovP(to.slot, from.slot)),
            (Kind::B64, Kind::B32) => self.push(Op::Convert(Convert::Zero, to.slot, from.slot)),
            (Kind::B32, Kind::B64) => self.push(Op::Convert(Convert::Low, to.slot, from.slot)),
            _ => return self.unsupported("a move between a predicate and a register"),
        }
        Ok(())
    }

    fn mov(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let (Some(ty), [to, from]) = (parts.get(1).and_then(|ty| Type::parse(ty)), operands) else { return Ok(false) };
        match (to, from) {
            (Operand::List(to), from) => self.unpack(to, from, ty),
            (to, Operand::List(from)) => self.pack(to, from, ty),
            _ => {
                let from = self.value(from, ty)?;
                let to = self.target(to, from.kind)?;
                self.copy(to, from)?;
                Ok(true)
            }
        }
    }

    fn unpack(&mut self, to: &[Operand], from: &Operand, ty: Type) -> Result<bool> {
        let from = self.value(from, ty)?;
        // The results may be where the source is: keep it.
        let kept = self.temporary(from.kind);
        self.copy(kept, from)?;
        let width = ty.bits() / to.len().max(1) as u32;
        for (i, operand) in to.iter().enumerate() {
            if *operand == Operand::Name("_".into()) {
                continue;
            }
            let to = self.register(operand)?;
            match (kept.kind, to.kind, width, i) {
                (Kind::B64, Kind::B32, 32, 0) => self.push(Op::Convert(Convert::Low, to.slot, kept.slot)),
                (Kind::B64, Kind::B32, 32, 1) => self.push(Op::Convert(Convert::High, to.slot, kept.slot)),
                (_, Kind::B32, 8 | 16, _) => {
                    let shift = i as u32 * width;
                    self.scalar(to, &[kept], move |x| x[0] >> shift & ((1 << width) - 1));
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn pack(&mut self, to: &Operand, from: &[Operand], ty: Type) -> Result<bool> {
        let kind = if ty.bytes() == 8 { Kind::B64 } else { Kind::B32 };
        let to = self.target(to, kind)?;
        let width = ty.bits() / from.len().max(1) as u32;
        let part = match width {
            8 => Type::B8,
            16 => Type::B16,
            32 => Type::B32,
            _ => return Ok(false),
        };
        let mut places = Vec::new();
        for operand in from {
            places.push(self.value(operand, part)?);
        }
        if let (Kind::B64, [low, high]) = (kind, &places[..]) {
            self.push(Op::Join(to.slot, low.slot, high.slot));
            return Ok(true);
        }
        let count = places.len();
        self.scalar(to, &places, move |x| {
            (0..count).fold(0, |all, i| all | (x[i] & ((1 << width) - 1)) << (i as u32 * width))
        });
        Ok(true)
    }

    fn select(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let (Some(ty), [to, a, b, p]) = (parts.get(1).and_then(|ty| Type::parse(ty)), operands) else {
            return Ok(false);
        };
        let (a, b) = (self.value(a, ty)?, self.value(b, ty)?);
        let p = self.value(p, Type::Pred)?;
        let to = self.target(to, a.kind)?;
        self.push(match a.kind {
            Kind::B32 => Op::Select32(to.slot, a.slot, b.slot, p.slot),
            Kind::B64 => Op::Select64(to.slot, a.slot, b.slot, p.slot),
            Kind::Predicate => return Ok(false),
        });
        Ok(true)
    }

    fn select_by_sign(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let types: Vec<Type> = parts[1..].iter().filter_map(|ty| Type::parse(ty)).collect();
        let &[ty, by] = &types[..] else { return Ok(false) };
        let ftz = parts.contains(&"ftz");
        self.map(operands, &[ty, ty, by], ty, move |x| {
            let first = match by {
                Type::F32 => {
                    let value = f32::from_bits(x[2] as u32);
                    let value = if ftz && value.is_subnormal() { 0.0 } else { value };
                    value >= 0.0
                }
                _ => (x[2] as u32).cast_signed() >= 0,
            };
            if first { x[0] } else { x[1] }
        })
    }

    /// The result of a comparison, combined with a third predicate where there is one.
    fn set_predicate(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some(&name) = parts.get(1) else { return Ok(false) };
        let Some(ty) = parts.last().and_then(|ty| Type::parse(ty)) else { return Ok(false) };
        let logic = parts.iter().find_map(|part| match *part {
            "and" => Some(Logic::And),
            "or" => Some(Logic::Or),
            "xor" => Some(Logic::Xor),
            _ => None,
        });
        let (Some(to), Some(a), Some(b)) = (operands.first(), operands.get(1), operands.get(2)) else {
            return Ok(false);
        };
        if operands.len() != 3 + usize::from(logic.is_some()) {
            return Ok(false);
        }
        let (to, opposite) = match to {
            Operand::Pair(to, opposite) => {
                (self.target(to, Kind::Predicate)?, Some(self.target(opposite, Kind::Predicate)?))
            }
            to => (self.target(to, Kind::Predicate)?, None),
        };
        let pair = matches!(ty, Type::F16x2 | Type::Bf16x2);
        if pair && opposite.is_none() {
            return Ok(false);
        }
        if logic.is_none() && opposite.is_none() {
            return self.compare(name, ty, to, a, b, parts.contains(&"ftz"));
        }
        let plain = self.temporary(Kind::Predicate);
        let mut inverse = None;
        if pair {
            // Of a pair, the second result is of the upper half.
            let (low, high) = (self.half_of(name, ty, a, b, parts, 0)?, self.half_of(name, ty, a, b, parts, 16)?);
            let (Some(low), Some(high)) = (low, high) else { return Ok(false) };
            self.push(Op::MovP(plain.slot, low.slot));
            inverse = Some(high);
        } else if !self.compare(name, ty, plain, a, b, parts.contains(&"ftz"))? {
            return Ok(false);
        } else if opposite.is_some() {
            let place = self.temporary(Kind::Predicate);
            self.push(Op::NotP(place.slot, plain.slot));
            inverse = Some(place);
        }
        let third = match (logic, operands.get(3)) {
            (Some(_), Some(Operand::Not(inner))) => {
                let from = self.value(inner, Type::Pred)?;
                let place = self.temporary(Kind::Predicate);
                self.push(Op::NotP(place.slot, from.slot));
                Some(place)
            }
            (Some(_), Some(third)) => Some(self.value(third, Type::Pred)?),
            (None, None) => None,
            _ => return Ok(false),
        };
        // The third may be one of the results.
        let third = match third {
            Some(third) => {
                let kept = self.temporary(Kind::Predicate);
                self.push(Op::MovP(kept.slot, third.slot));
                Some(kept)
            }
            None => None,
        };
        for (to, from) in [(Some(to), Some(plain)), (opposite, inverse)] {
            if let (Some(to), Some(from)) = (to, from) {
                self.push(match (logic, third) {
                    (Some(logic), Some(third)) => Op::Logic(logic, to.slot, from.slot, third.slot),
                    _ => Op::MovP(to.slot, from.slot),
                });
            }
        }
        Ok(true)
    }

    fn compare(&mut self, name: &str, ty: Type, to: Place, a: &Operand, b: &Operand, ftz: bool) -> Result<bool> {
        let (a, b) = (self.value(a, ty)?, self.value(b, ty)?);
        if matches!(ty, Type::F16 | Type::Bf16) || ftz {
            let widen = move |bits: u64| match ty {
                Type::F16 => f16_to_f32(bits as u16),
                Type::Bf16 => bf16_to_f32(bits as u16),
                _ => f32::from_bits(bits as u32),
            };
            // Below the type's smallest normal number.
            let least = if ty == Type::F16 { 1.0 / 16384.0 } else { f32::MIN_POSITIVE };
            let flush = move |value: f32| if ftz && value.abs() < least { 0.0 * value } else { value };
            let Some(compare) = float_comparison(name) else { return Ok(false) };
            self.scalar(to, &[a, b], move |x| u64::from(compare(flush(widen(x[0])), flush(widen(x[1])))));
            return Ok(true);
        }
        if matches!(ty, Type::F32 | Type::F64) {
            let (op, swapped) = match name {
                "eq" => (Compare::EqF, false),
                "ne" => (Compare::NeF, false),
                "lt" => (Compare::LtF, false),
                "le" => (Compare::LeF, false),
                "gt" => (Compare::LtF, true),
                "ge" => (Compare::LeF, true),
                "equ" => (Compare::EquF, false),
                "neu" => (Compare::NeuF, false),
                "ltu" => (Compare::LtuF, false),
                "leu" => (Compare::LeuF, false),
                "gtu" => (Compare::LtuF, true),
                "geu" => (Compare::LeuF, true),
                "num" => (Compare::NumF, false),
                "nan" => (Compare::NanF, false),
                _ => return Ok(false),
            };
            self.push_compare(op, to, a, b, swapped);
            return Ok(true);
        }
        if ty.bits() == 16 {
            let Some(compare) = integer_comparison(name, ty) else { return Ok(false) };
            self.scalar(to, &[a, b], move |x| u64::from(compare(number(x[0], ty), number(x[1], ty))));
            return Ok(true);
        }
        let signed = ty.is_signed();
        let (op, swapped) = match name {
            "eq" => (Compare::Eq, false),
            "ne" => (Compare::Ne, false),
            "lt" | "gt" => (if signed { Compare::LtS } else { Compare::LtU }, name == "gt"),
            "le" | "ge" => (if signed { Compare::LeS } else { Compare::LeU }, name == "ge"),
            "lo" | "hi" => (Compare::LtU, name == "hi"),
            "ls" | "hs" => (Compare::LeU, name == "hs"),
            _ => return Ok(false),
        };
        self.push_compare(op, to, a, b, swapped);
        Ok(true)
    }

    /// The comparison of one half of a pair.
    fn half_of(
        &mut self,
        name: &str,
        ty: Type,
        a: &Operand,
        b: &Operand,
        parts: &[&str],
        shift: u32,
    ) -> Result<Option<Place>> {
        let (a, b) = (self.value(a, ty)?, self.value(b, ty)?);
        let widen = if ty == Type::F16x2 { f16_to_f32 } else { bf16_to_f32 };
        let ftz = parts.contains(&"ftz") && ty == Type::F16x2;
        let flush = move |value: f32| if ftz && value.abs() < 1.0 / 16384.0 { 0.0 * value } else { value };
        let Some(compare) = float_comparison(name) else { return Ok(None) };
        let to = self.temporary(Kind::Predicate);
        let half = move |x: u64| flush(widen((x >> shift) as u16));
        self.scalar(to, &[a, b], move |x| u64::from(compare(half(x[0]), half(x[1]))));
        Ok(Some(to))
    }

    /// `set` of pairs: a mask, or 1.0, for each half.
    fn set_pair(&mut self, parts: &[&str], result: Type, ty: Type, operands: &[Operand]) -> Result<bool> {
        let (Some(&name), [to, a, b]) = (parts.get(1), operands) else { return Ok(false) };
        let truth = match (result, ty) {
            (Type::U32 | Type::S32, _) => 0xFFFF,
            (Type::F16x2, Type::F16x2) => 0x3C00,
            (Type::Bf16x2, Type::Bf16x2) => 0x3F80,
            _ => return Ok(false),
        };
        let (low, high) = (self.half_of(name, ty, a, b, parts, 0)?, self.half_of(name, ty, a, b, parts, 16)?);
        let (Some(low), Some(high)) = (low, high) else { return Ok(false) };
        let to = self.target(to, Kind::B32)?;
        self.scalar(to, &[low, high], move |x| (x[0] | x[1] << 16) * truth);
        Ok(true)
    }

    fn push_compare(&mut self, op: Compare, to: Place, a: Place, b: Place, swapped: bool) {
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        self.push(match a.kind {
            Kind::B64 => Op::Compare64(op, to.slot, a.slot, b.slot),
            _ => Op::Compare32(op, to.slot, a.slot, b.slot),
        });
    }

    /// `set` gives all ones, or 1.0, instead of a predicate.
    fn set(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let types: Vec<Type> = parts[1..].iter().filter_map(|ty| Type::parse(ty)).collect();
        let (&[result, _], Some((to, rest))) = (&types[..], operands.split_first()) else { return Ok(false) };
        let Some(ty) = parts.last().and_then(|ty| Type::parse(ty)) else { return Ok(false) };
        if matches!(ty, Type::F16x2 | Type::Bf16x2) {
            return self.set_pair(parts, result, ty, operands);
        }
        let truth = match result {
            Type::U32 | Type::S32 => u64::from(u32::MAX),
            Type::F32 => 1f32.to_bits().into(),
            Type::F16 => 0x3C00,
            Type::Bf16 => 0x3F80,
            _ => return Ok(false),
        };
        let held = self.fresh(Kind::Predicate);
        let name = format!("%set%{held}");
        self.name(&name, super::Named::Register(Kind::Predicate, held));
        let mut inner = vec![Operand::Name(name)];
        inner.extend_from_slice(rest);
        let kept: Vec<&str> =
            parts.iter().enumerate().filter(|(i, _)| *i != parts.len() - 2).map(|(_, part)| *part).collect();
        if !self.set_predicate(&kept, &inner)? {
            return Ok(false);
        }
        let to = self.target(to, Kind::B32)?;
        let (yes, no) = (self.constant32(truth as u32), self.constant32(0));
        self.push(Op::Select32(to.slot, yes, no, held));
        Ok(true)
    }
}

fn float_comparison(name: &str) -> Option<fn(f32, f32) -> bool> {
    Some(match name {
        "eq" => |a, b| a == b,
        // Ordered: false for what is not a number.
        "ne" => |a, b| a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_ne),
        "lt" => |a, b| a < b,
        "le" => |a, b| a <= b,
        "gt" => |a, b| a > b,
        "ge" => |a, b| a >= b,
        "equ" => |a, b| a == b || a.is_nan() || b.is_nan(),
        "neu" => |a, b| a != b,
        "ltu" => |a, b| a < b || a.is_nan() || b.is_nan(),
        "leu" => |a, b| a <= b || a.is_nan() || b.is_nan(),
        "gtu" => |a, b| a > b || a.is_nan() || b.is_nan(),
        "geu" => |a, b| a >= b || a.is_nan() || b.is_nan(),
        "num" => |a, b| !a.is_nan() && !b.is_nan(),
        "nan" => |a, b| a.is_nan() || b.is_nan(),
        _ => return None,
    })
}

fn integer_comparison(name: &str, ty: Type) -> Option<fn(i128, i128) -> bool> {
    Some(match name {
        "eq" => |a, b| a == b,
        "ne" => |a, b| a != b,
        "lt" => |a, b| a < b,
        "le" => |a, b| a <= b,
        "gt" => |a, b| a > b,
        "ge" => |a, b| a >= b,
        "lo" if !ty.is_signed() => |a, b| a < b,
        "ls" if !ty.is_signed() => |a, b| a <= b,
        "hi" if !ty.is_signed() => |a, b| a > b,
        "hs" if !ty.is_signed() => |a, b| a >= b,
        _ => return None,
    })
}
