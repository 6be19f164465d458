//! Instructions on bits, and products of bytes.

use super::scalar::{low, number};
use super::{Lower, Result};
use crate::program::{Bin32, Bin64, Kind, Logic, Op, Shift, Un32, Un64};
use crate::ptx::{Operand, Type};

impl Lower<'_> {
    pub(super) fn bits(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        if parts[0] == "prmt" {
            return self.permute(parts, operands);
        }
        let Some(ty) = parts.last().and_then(|ty| Type::parse(ty)) else { return Ok(false) };
        match parts[0] {
            "and" | "or" | "xor" => self.logic(parts[0], ty, operands),
            "not" => self.not(ty, operands),
            "cnot" => self.map(operands, &[ty], ty, |x| u64::from(x[0] == 0)),
            "shl" | "shr" => self.shift(parts[0], ty, operands),
            "shf" => {
                let (left, clamp) = (parts.contains(&"l"), parts.contains(&"clamp"));
                self.map(operands, &[ty, ty, Type::U32], ty, move |x| {
                    let both = x[0] | x[1] << 32;
                    let n = if clamp { x[2].min(32) } else { x[2] & 31 };
                    if left { (both << n) >> 32 } else { both >> n }
                })
            }
            "popc" => self.map(operands, &[ty], Type::U32, |x| x[0].count_ones().into()),
            "clz" => {
                let unused = 64 - ty.bits();
                self.map(operands, &[ty], Type::U32, move |x| u64::from(x[0].leading_zeros() - unused))
            }
            "brev" => {
                let unused = 64 - ty.bits();
                self.map(operands, &[ty], ty, move |x| x[0].reverse_bits() >> unused)
            }
            "bfind" => {
                let amount = parts.contains(&"shiftamt");
                self.map(operands, &[ty], Type::U32, move |x| {
                    let value = number(x[0], ty);
                    let value = if value < 0 { !value } else { value };
                    if value == 0 {
                        return u64::from(u32::MAX);
                    }
                    let at = 127 - value.leading_zeros();
                    u64::from(if amount { ty.bits() - 1 - at } else { at })
                })
            }
            "bfe" => self.map(operands, &[ty, Type::U32, Type::U32], ty, move |x| extract(x[0], x[1], x[2], ty)),
            "bfi" => self.map(operands, &[ty, ty, Type::U32, Type::U32], ty, move |x| {
                let bits = ty.bits();
                let (at, len) = field(x[2], x[3], bits);
                if at >= bits || len == 0 {
                    return x[1];
                }
                let len = len.min(bits - at);
                let ones = (u64::MAX >> (64 - len)) << at;
                (x[1] & !ones) | (x[0] << at & ones)
            }),
            "bmsk" => {
                let clamp = parts.contains(&"clamp");
                self.map(operands, &[Type::U32, Type::U32], ty, move |x| {
                    let (at, len) = if clamp { (x[0].min(32), x[1].min(32)) } else { (x[0] & 31, x[1] & 31) };
                    if at >= 32 { 0 } else { ((1u64 << len) - 1) << at }
                })
            }
            "szext" => {
                let clamp = parts.contains(&"clamp");
                self.map(operands, &[ty, Type::U32], ty, move |x| {
                    let n = if clamp { x[1].min(32) } else { x[1] & 31 };
                    if n == 0 {
                        return 0;
                    }
                    let unused = 64 - n as u32;
                    if ty.is_signed() { ((x[0] << unused) as i64 >> unused) as u64 } else { x[0] << unused >> unused }
                })
            }
            "lop3" => {
                let [to, a, b, c, Operand::Integer(table)] = operands else { return Ok(false) };
                let to = self.target(to, Kind::B32)?;
                let (a, b, c) = (self.value(a, ty)?, self.value(b, ty)?, self.value(c, ty)?);
                self.push(Op::Lop3(*table as u8, to.slot, a.slot, b.slot, c.slot));
                Ok(true)
            }
            "dp4a" | "dp2a" => self.dot(parts, operands),
            _ => Ok(false),
        }
    }

    fn logic(&mut self, name: &str, ty: Type, operands: &[Operand]) -> Result<bool> {
        let [to, a, b] = operands else { return Ok(false) };
        let (a, b) = (self.value(a, ty)?, self.value(b, ty)?);
        let to = self.target(to, a.kind)?.slot;
        let (a_slot, b_slot) = (a.slot, b.slot);
        self.push(match (a.kind, name) {
            (Kind::Predicate, "and") => Op::Logic(Logic::And, to, a_slot, b_slot),
            (Kind::Predicate, "or") => Op::Logic(Logic::Or, to, a_slot, b_slot),
            (Kind::Predicate, _) => Op::Logic(Logic::Xor, to, a_slot, b_slot),
            (Kind::B32, "and") => Op::Bin32(Bin32::And, to, a_slot, b_slot),
            (Kind::B32, "or") => Op::Bin32(Bin32::Or, to, a_slot, b_slot),
            (Kind::B32, _) => Op::Bin32(Bin32::Xor, to, a_slot, b_slot),
            (Kind::B64, "and") => Op::Bin64(Bin64::And, to, a_slot, b_slot),
            (Kind::B64, "or") => Op::Bin64(Bin64::Or, to, a_slot, b_slot),
            (Kind::B64, _) => Op::Bin64(Bin64::Xor, to, a_slot, b_slot),
        });
        Ok(true)
    }

    fn not(&mut self, ty: Type, operands: &[Operand]) -> Result<bool> {
        if ty.bits() == 16 {
            return self.map(operands, &[ty], ty, |x| !x[0]);
        }
        let [to, a] = operands else { return Ok(false) };
        let a = self.value(a, ty)?;
        let to = self.target(to, a.kind)?.slot;
        self.push(match a.kind {
            Kind::Predicate => Op::NotP(to, a.slot),
            Kind::B32 => Op::Un32(Un32::Not, to, a.slot),
            Kind::B64 => Op::Un64(Un64::Not, to, a.slot),
        });
        Ok(true)
    }

    fn shift(&mut self, name: &str, ty: Type, operands: &[Operand]) -> Result<bool> {
        let [to, a, b] = operands else { return Ok(false) };
        let left = name == "shl";
        let signed = ty.is_signed();
        if ty.bits() == 16 {
            return self.map(operands, &[ty, Type::U32], ty, move |x| {
                let n = x[1].min(64) as u32;
                let value = number(x[0], ty);
                low((if left { value << n } else { value >> n }) as u64, ty)
            });
        }
        let (a, b) = (self.value(a, ty)?, self.value(b, Type::U32)?);
        let to = self.target(to, a.kind)?.slot;
        self.push(if a.kind == Kind::B64 {
            let how = if left {
                Shift::Left
            } else if signed {
                Shift::RightSigned
            } else {
                Shift::Right
            };
            Op::Shift64(how, to, a.slot, b.slot)
        } else {
            let how = if left {
                Bin32::Shl
            } else if signed {
                Bin32::ShrS
            } else {
                Bin32::ShrU
            };
            Op::Bin32(how, to, a.slot, b.slot)
        });
        Ok(true)
    }

    fn permute(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let mode = parts.get(2).copied().unwrap_or_default().to_owned();
        if !matches!(mode.as_str(), "" | "f4e" | "b4e" | "rc8" | "ecl" | "ecr" | "rc16") {
            return Ok(false);
        }
        self.map(operands, &[Type::B32; 3], Type::B32, move |x| {
            let bytes = (x[0] | x[1] << 32).to_le_bytes();
            let n = (x[2] & 3) as usize;
            let choose = |i: usize| -> usize {
                match mode.as_str() {
                    "f4e" => n + i,
                    "b4e" => (8 + n - i) % 8,
                    "rc8" => n,
                    "ecl" => n.max(i),
                    "ecr" => n.min(i),
                    "rc16" => (n & 1) * 2 + (i & 1),
                    _ => (x[2] >> (4 * i) & 7) as usize,
                }
            };
            (0..4).fold(0, |all, i| {
                let byte = bytes[choose(i)];
                let sign = mode.is_empty() && x[2] >> (4 * i) & 8 != 0;
                let byte = if sign { ((byte as i8) >> 7) as u8 } else { byte };
                all | u64::from(byte) << (8 * i)
            })
        })
    }

    /// `dp4a.atype.btype` and `dp2a.mode.atype.btype`.
    fn dot(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let types: Vec<Type> = parts[1..].iter().filter_map(|ty| Type::parse(ty)).collect();
        let &[a, b] = &types[..] else { return Ok(false) };
        let (a_signed, b_signed) = (a.is_signed(), b.is_signed());
        let result = if a_signed || b_signed { Type::S32 } else { Type::U32 };
        let four = parts[0] == "dp4a";
        let high = parts.contains(&"hi");
        let part = |value: u64, at: u32, bits: u32, signed: bool| -> i64 {
            let value = value >> at & ((1 << bits) - 1);
            let unused = 64 - bits;
            if signed { (value << unused) as i64 >> unused } else { value as i64 }
        };
        self.map(operands, &[a, b, result], result, move |x| {
            let sum: i64 = if four {
                (0..4).map(|i| part(x[0], 8 * i, 8, a_signed) * part(x[1], 8 * i, 8, b_signed)).sum()
            } else {
                let base = if high { 16 } else { 0 };
                (0..2).map(|i| part(x[0], 16 * i, 16, a_signed) * part(x[1], base + 8 * i, 8, b_signed)).sum()
            };
            x[2].wrapping_add(sum as u64)
        })
    }
}

/// Place and length of a field of bits. The ISA looks at 8 bits of each; devices do so for 32 bits only.
fn field(at: u64, len: u64, bits: u32) -> (u32, u32) {
    if bits == 32 {
        ((at & 0xFF) as u32, (len & 0xFF) as u32)
    } else {
        (at.min(1 << 16) as u32, len.min(1 << 16) as u32)
    }
}

/// `bfe`: bits beyond the top repeat the sign, or are zero.
fn extract(value: u64, at: u64, len: u64, ty: Type) -> u64 {
    let (at, len) = field(at, len, ty.bits());
    let wide = number(value, ty);
    let last = ty.bits() - 1;
    if len == 0 {
        return 0;
    }
    let sign = if ty.is_signed() { wide >> (at + len - 1).min(last) & 1 } else { 0 };
    let mut out = 0u64;
    for i in 0..ty.bits() {
        let bit = if i < len && at + i <= last { wide >> (at + i) & 1 } else { sign };
        out |= (bit as u64) << i;
    }
    out
}
