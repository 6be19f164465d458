//! Arithmetic on integers and floating-point numbers.

use super::scalar::{classify, number};
use super::{Lower, Result};
use crate::float::{self, Rounding};
use crate::program::{Bin32, Bin64, Kind, Op, Place, Tri32, Tri64, Un32, Un64};
use crate::ptx::{Operand, Type};

/// The rounding of an instruction; to nearest where none is given.
pub(super) fn rounding(parts: &[&str]) -> Rounding {
    for part in parts {
        match *part {
            "rz" => return Rounding::Zero,
            "rm" => return Rounding::Down,
            "rp" => return Rounding::Up,
            _ => {}
        }
    }
    Rounding::Nearest
}

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn bits32(value: f32) -> u64 {
    if value.is_nan() { 0x7FFF_FFFF } else { value.to_bits().into() }
}

fn bits64(value: f64) -> u64 {
    value.to_bits()
}

/// What `.ftz` and `.sat` do to operands and results.
#[derive(Clone, Copy)]
struct Finish {
    ftz: bool,
    sat: bool,
}

impl Finish {
    fn input(self, value: f32) -> f32 {
        if self.ftz { float::ftz_f32(value) } else { value }
    }

    /// As `output`, for a result that is known better: what is too small before it is rounded becomes zero.
    fn tiny(self, exact: f64, value: f32) -> u64 {
        let small = self.ftz && exact.abs() < f64::from(f32::MIN_POSITIVE);
        self.output(if small { 0.0f32.copysign(value) } else { value })
    }

    fn output(self, value: f32) -> u64 {
        let value = if self.ftz { float::ftz_f32(value) } else { value };
        if !self.sat {
            return bits32(value);
        }
        // NaN becomes 0.
        let value = if value > 0.0 { value.min(1.0) } else { 0.0 };
        value.to_bits().into()
    }
}

impl Lower<'_> {
    pub(super) fn arithmetic(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some(ty) = parts.last().and_then(|ty| Type::parse(ty)) else { return Ok(false) };
        match ty {
            Type::F32 => self.single(parts, operands),
            Type::F64 => self.double(parts, operands),
            Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => self.half(parts, ty, operands),
            _ => self.integer(parts, ty, operands),
        }
    }

    fn places(&mut self, operands: &[Operand], ty: Type, count: usize) -> Result<Option<(Place, Vec<Place>)>> {
        if operands.len() != count + 1 {
            return Ok(None);
        }
        let mut from = Vec::new();
        for operand in &operands[1..] {
            from.push(self.value(operand, ty)?);
        }
        let kind = if ty.bytes() == 8 { Kind::B64 } else { Kind::B32 };
        Ok(Some((self.target(&operands[0], kind)?, from)))
    }

    fn integer(&mut self, parts: &[&str], ty: Type, operands: &[Operand]) -> Result<bool> {
        let carries = parts.contains(&"cc") || matches!(parts[0], "addc" | "subc" | "madc");
        if carries {
            return self.with_carry(parts, ty, operands);
        }
        if matches!(parts[0], "mul" | "mad" | "mul24" | "mad24") {
            return self.product(parts, ty, operands);
        }
        let signed = ty.is_signed();
        let (name, wide, narrow) = match parts[0] {
            "add" => ("add", Some(Bin64::Add), Some(Bin32::Add)),
            "sub" => ("sub", Some(Bin64::Sub), Some(Bin32::Sub)),
            "min" if signed => ("min", Some(Bin64::MinS), Some(Bin32::MinS)),
            "max" if signed => ("max", Some(Bin64::MaxS), Some(Bin32::MaxS)),
            "min" => ("min", Some(Bin64::MinU), Some(Bin32::MinU)),
            "max" => ("max", Some(Bin64::MaxU), Some(Bin32::MaxU)),
            "div" if signed => ("div", Some(Bin64::DivS), Some(Bin32::DivS)),
            "rem" if signed => ("rem", Some(Bin64::RemS), Some(Bin32::RemS)),
            "div" => ("div", Some(Bin64::DivU), Some(Bin32::DivU)),
            "rem" => ("rem", Some(Bin64::RemU), Some(Bin32::RemU)),
            "neg" | "abs" | "sad" => (parts[0], None, None),
            _ => return Ok(false),
        };
        let saturate = parts.contains(&"sat");
        if parts.iter().skip(1).any(|part| !matches!(*part, "sat" | "relu") && Type::parse(part).is_none())
            || parts.contains(&"relu")
        {
            return Ok(false);
        }
        if ty.bits() == 16 || saturate || name == "sad" {
            return self.small_integer(name, ty, saturate, operands);
        }
        if matches!(name, "neg" | "abs") {
            let Some((to, from)) = self.places(operands, ty, 1)? else { return Ok(false) };
            self.push(match (ty.bytes(), name) {
                (8, "neg") => Op::Un64(Un64::Neg, to.slot, from[0].slot),
                (8, _) => Op::Un64(Un64::Abs, to.slot, from[0].slot),
                (_, "neg") => Op::Un32(Un32::Neg, to.slot, from[0].slot),
                _ => Op::Un32(Un32::Abs, to.slot, from[0].slot),
            });
            return Ok(true);
        }
        let (Some(wide), Some(narrow), Some((to, from))) = (wide, narrow, self.places(operands, ty, 2)?) else {
            return Ok(false);
        };
        self.push(match ty.bytes() {
            8 => Op::Bin64(wide, to.slot, from[0].slot, from[1].slot),
            _ => Op::Bin32(narrow, to.slot, from[0].slot, from[1].slot),
        });
        Ok(true)
    }

    fn small_integer(&mut self, name: &str, ty: Type, saturate: bool, operands: &[Operand]) -> Result<bool> {
        let clamp = move |value: i128| {
            if !saturate {
                return value as u64;
            }
            let most = (1i128 << (ty.bits() - 1)) - 1;
            value.clamp(-most - 1, most) as u64
        };
        let n = move |value: u64| number(value, ty);
        match name {
            "add" => self.map(operands, &[ty; 2], ty, move |x| clamp(n(x[0]) + n(x[1]))),
            "sub" => self.map(operands, &[ty; 2], ty, move |x| clamp(n(x[0]) - n(x[1]))),
            "min" => self.map(operands, &[ty; 2], ty, move |x| n(x[0]).min(n(x[1])) as u64),
            "max" => self.map(operands, &[ty; 2], ty, move |x| n(x[0]).max(n(x[1])) as u64),
            "div" => {
                self.map(operands, &[ty; 2], ty, move |x| n(x[0]).checked_div(n(x[1])).map_or(u64::MAX, |v| v as u64))
            }
            "rem" => {
                self.map(operands, &[ty; 2], ty, move |x| n(x[0]).checked_rem(n(x[1])).map_or(u64::MAX, |v| v as u64))
            }
            "neg" => self.map(operands, &[ty], ty, move |x| (-n(x[0])) as u64),
            "abs" => self.map(operands, &[ty], ty, move |x| n(x[0]).unsigned_abs() as u64),
            "sad" => self.map(operands, &[ty; 3], ty, move |x| (n(x[0]).abs_diff(n(x[1])) as u64).wrapping_add(x[2])),
            _ => Ok(false),
        }
    }

    fn product(&mut self, parts: &[&str], ty: Type, operands: &[Operand]) -> Result<bool> {
        let signed = ty.is_signed();
        let adds = parts[0].starts_with("mad");
        let mode = parts.get(1).copied().unwrap_or_default();
        if parts.contains(&"sat") && (parts[0] != "mad" || mode != "hi" || ty != Type::S32) {
            return Ok(false);
        }
        if parts[0].ends_with("24") {
            let n = move |value: u64| {
                let value = value & 0xFF_FFFF;
                if signed { ((value << 40) as i64 >> 40) as i128 } else { value as i128 }
            };
            let shift = if mode == "hi" { 16 } else { 0 };
            let types: &[Type] = if adds { &[ty; 3] } else { &[ty; 2] };
            return self.map(operands, types, ty, move |x| {
                ((n(x[0]) * n(x[1]) >> shift) as u64).wrapping_add(if adds { x[2] } else { 0 })
            });
        }
        if parts.contains(&"sat") {
            return self.map(operands, &[ty; 3], ty, move |x| {
                let sum = (number(x[0], ty) * number(x[1], ty) >> 32) + number(x[2], ty);
                sum.clamp(i32::MIN.into(), i32::MAX.into()) as u64
            });
        }
        let count = if adds { 3 } else { 2 };
        match (mode, ty.bytes()) {
            ("wide", 4) => {
                let (Some(to), Some(a), Some(b)) = (operands.first(), operands.get(1), operands.get(2)) else {
                    return Ok(false);
                };
                let (a, b) = (self.value(a, ty)?, self.value(b, ty)?);
                let to = self.target(to, Kind::B64)?.slot;
                if adds {
                    let Some(c) = operands.get(3) else { return Ok(false) };
                    let c = self.value(c, Type::U64)?;
                    self.push(Op::MadWide(signed, to, a.slot, b.slot, c.slot));
                } else {
                    self.push(Op::MulWide(signed, to, a.slot, b.slot));
                }
                Ok(true)
            }
            ("wide", 2) => {
                let result = if signed { Type::S32 } else { Type::U32 };
                let types = [ty, ty, result];
                self.map(operands, &types[..count], result, move |x| {
                    ((number(x[0], ty) * number(x[1], ty)) as u64).wrapping_add(if adds { x[2] } else { 0 })
                })
            }
            ("lo", 4) => {
                let Some((to, from)) = self.places(operands, ty, count)? else { return Ok(false) };
                self.push(if adds {
                    Op::Tri32(Tri32::MadLo, to.slot, from[0].slot, from[1].slot, from[2].slot)
                } else {
                    Op::Bin32(Bin32::MulLo, to.slot, from[0].slot, from[1].slot)
                });
                Ok(true)
            }
            ("lo", 8) => {
                let Some((to, from)) = self.places(operands, ty, count)? else { return Ok(false) };
                self.push(if adds {
                    Op::Tri64(Tri64::MadLo, to.slot, from[0].slot, from[1].slot, from[2].slot)
                } else {
                    Op::Bin64(Bin64::MulLo, to.slot, from[0].slot, from[1].slot)
                });
                Ok(true)
            }
            ("hi", 4) if !adds => {
                let Some((to, from)) = self.places(operands, ty, 2)? else { return Ok(false) };
                let op = if signed { Bin32::MulHiS } else { Bin32::MulHiU };
                self.push(Op::Bin32(op, to.slot, from[0].slot, from[1].slot));
                Ok(true)
            }
            ("lo" | "hi", _) => {
                let shift = if mode == "hi" { ty.bits() } else { 0 };
                self.map(operands, &[ty; 3][..count], ty, move |x| {
                    let product = if signed {
                        (number(x[0], ty) * number(x[1], ty) >> shift) as u64
                    } else {
                        ((number(x[0], ty) as u128 * number(x[1], ty) as u128) >> shift) as u64
                    };
                    product.wrapping_add(if adds { x[2] } else { 0 })
                })
            }
            _ => Ok(false),
        }
    }

    /// Sums and products that read or write the carry flag.
    fn with_carry(&mut self, parts: &[&str], ty: Type, operands: &[Operand]) -> Result<bool> {
        let reads = matches!(parts[0], "addc" | "subc" | "madc");
        let writes = parts.contains(&"cc");
        let product = parts[0].starts_with("mad");
        let high = parts.contains(&"hi");
        let subtract = parts[0].starts_with("sub");
        let Some((to, mut from)) = self.places(operands, ty, if product { 3 } else { 2 })? else { return Ok(false) };
        let carry = Place { kind: Kind::Predicate, slot: self.carry };
        if product {
            let place = self.temporary(to.kind);
            self.scalar(place, &[from[0], from[1]], move |x| {
                let product = if ty.is_signed() {
                    (number(x[0], ty) * number(x[1], ty)) as u128
                } else {
                    number(x[0], ty) as u128 * number(x[1], ty) as u128
                };
                super::scalar::low((if high { product >> ty.bits() } else { product }) as u64, ty)
            });
            from = vec![place, from[2]];
        }
        from.push(if reads { carry } else { self.constant(Kind::Predicate, 0) });
        // With borrows the flag means the same for a difference.
        let sum = move |x: &[u64; 5]| -> i128 {
            let (a, b, c) = (i128::from(x[0]), i128::from(x[1]), i128::from(x[2]));
            if subtract { a - b - c } else { a + b + c }
        };
        let next = self.temporary(Kind::Predicate);
        if writes {
            self.scalar(next, &from, move |x| u64::from(!(0..1i128 << ty.bits()).contains(&sum(x))));
        }
        self.scalar(to, &from, move |x| super::scalar::low(sum(x) as u64, ty));
        if writes {
            self.push(Op::MovP(carry.slot, next.slot));
        }
        Ok(true)
    }

    fn single(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let known = |part: &&str| {
            matches!(
                *part,
                "rn" | "rz"
                    | "rm"
                    | "rp"
                    | "ftz"
                    | "sat"
                    | "approx"
                    | "full"
                    | "f32"
                    | "NaN"
                    | "xorsign"
                    | "abs"
                    | "finite"
                    | "infinite"
                    | "number"
                    | "notanumber"
                    | "normal"
                    | "subnormal"
            )
        };
        if !parts[1..].iter().all(known) {
            return Ok(false);
        }
        let finish = Finish { ftz: parts.contains(&"ftz"), sat: parts.contains(&"sat") };
        let plain = !finish.ftz && !finish.sat;
        let round = rounding(parts);
        let nearest = round == Rounding::Nearest;
        let approximate = parts.contains(&"approx");
        let ty = Type::F32;
        let i = move |bits: u64| finish.input(f(bits));
        let o = move |value: f32| finish.output(value);
        let fast = match parts[0] {
            "add" => Some(Bin32::AddF),
            "sub" => Some(Bin32::SubF),
            "mul" => Some(Bin32::MulF),
            "div" if !approximate && !parts.contains(&"full") => Some(Bin32::DivF),
            _ => None,
        };
        if let (Some(op), true, true) = (fast, plain, nearest) {
            let Some((to, from)) = self.places(operands, ty, 2)? else { return Ok(false) };
            self.push(Op::Bin32(op, to.slot, from[0].slot, from[1].slot));
            return Ok(true);
        }
        match parts[0] {
            "fma" | "mad" if plain && nearest => {
                let Some((to, from)) = self.places(operands, ty, 3)? else { return Ok(false) };
                self.push(Op::Tri32(Tri32::FmaF, to.slot, from[0].slot, from[1].slot, from[2].slot));
                Ok(true)
            }
            "neg" | "abs" if plain => {
                let Some((to, from)) = self.places(operands, ty, 1)? else { return Ok(false) };
                let op = if parts[0] == "neg" { Un32::NegF } else { Un32::AbsF };
                self.push(Op::Un32(op, to.slot, from[0].slot));
                Ok(true)
            }
            "sqrt" if plain && nearest && !approximate => {
                let Some((to, from)) = self.places(operands, ty, 1)? else { return Ok(false) };
                self.push(Op::Un32(Un32::SqrtF, to.slot, from[0].slot));
                Ok(true)
            }
            "add" => self.map(operands, &[ty; 2], ty, move |x| o(float::add_f32(i(x[0]), i(x[1]), round))),
            "sub" => self.map(operands, &[ty; 2], ty, move |x| o(float::sub_f32(i(x[0]), i(x[1]), round))),
            "mul" => self.map(operands, &[ty; 2], ty, move |x| {
                let (a, b) = (i(x[0]), i(x[1]));
                finish.tiny(f64::from(a) * f64::from(b), float::mul_f32(a, b, round))
            }),
            "fma" | "mad" => self.map(operands, &[ty; 3], ty, move |x| {
                let (a, b, c) = (i(x[0]), i(x[1]), i(x[2]));
                let exact = f64::from(a).mul_add(f64::from(b), f64::from(c));
                finish.tiny(exact, float::fma_f32(a, b, c, round))
            }),
            "div" if approximate => {
                self.map(operands, &[ty; 2], ty, move |x| o(float::div_approx_f32(i(x[0]), i(x[1]), finish.ftz)))
            }
            "div" if parts.contains(&"full") => {
                self.map(operands, &[ty; 2], ty, move |x| o(float::div_full_f32(i(x[0]), i(x[1]), finish.ftz)))
            }
            "div" => self.map(operands, &[ty; 2], ty, move |x| {
                let (a, b) = (i(x[0]), i(x[1]));
                finish.tiny(f64::from(a) / f64::from(b), float::div_f32(a, b, round))
            }),
            "neg" => self.map(operands, &[ty], ty, move |x| o(-i(x[0]))),
            "abs" => self.map(operands, &[ty], ty, move |x| o(i(x[0]).abs())),
            "rcp" if approximate => {
                self.map(operands, &[ty], ty, move |x| o(float::rcp_approx_f32(i(x[0]), finish.ftz)))
            }
            "rcp" => self.map(operands, &[ty], ty, move |x| o(float::rcp_f32(i(x[0]), round))),
            "sqrt" if approximate => {
                self.map(operands, &[ty], ty, move |x| o(float::sqrt_approx_f32(i(x[0]), finish.ftz)))
            }
            "sqrt" => self.map(operands, &[ty], ty, move |x| o(float::sqrt_f32(i(x[0]), round))),
            "rsqrt" => self.map(operands, &[ty], ty, move |x| o(float::rsqrt_approx_f32(i(x[0]), finish.ftz))),
            "sin" => self.map(operands, &[ty], ty, move |x| o(float::sin_approx_f32(i(x[0]), finish.ftz))),
            "cos" => self.map(operands, &[ty], ty, move |x| o(float::cos_approx_f32(i(x[0]), finish.ftz))),
            "lg2" => self.map(operands, &[ty], ty, move |x| o(float::lg2_approx_f32(i(x[0]), finish.ftz))),
            "ex2" => self.map(operands, &[ty], ty, move |x| o(float::ex2_approx_f32(i(x[0]), finish.ftz))),
            "tanh" => self.map(operands, &[ty], ty, move |x| o(float::tanh_approx_f32(i(x[0])))),
            "min" | "max" => {
                let f: fn(f32, f32) -> f32 = match (parts[0], parts.contains(&"NaN"), parts.contains(&"xorsign")) {
                    ("min", false, false) => float::min_f32,
                    ("min", true, false) => float::min_nan_f32,
                    ("min", false, true) => float::min_xorsign_abs_f32,
                    ("min", true, true) => float::min_nan_xorsign_abs_f32,
                    (_, false, false) => float::max_f32,
                    (_, true, false) => float::max_nan_f32,
                    (_, false, true) => float::max_xorsign_abs_f32,
                    (_, true, true) => float::max_nan_xorsign_abs_f32,
                };
                self.map(operands, &[ty; 2], ty, move |x| bits32(f(i(x[0]), i(x[1]))))
            }
            "copysign" => self.map(operands, &[ty; 2], ty, |x| (x[0] & 0x8000_0000) | (x[1] & 0x7FFF_FFFF)),
            "testp" => {
                let test = parts.get(1).copied().unwrap_or_default().to_owned();
                self.map(operands, &[ty], Type::Pred, move |x| u64::from(classify(&test, f(x[0]).classify())))
            }
            _ => Ok(false),
        }
    }

    fn double(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let known = |part: &&str| {
            matches!(
                *part,
                "rn" | "rz"
                    | "rm"
                    | "rp"
                    | "f64"
                    | "approx"
                    | "ftz"
                    | "finite"
                    | "infinite"
                    | "number"
                    | "notanumber"
                    | "normal"
                    | "subnormal"
            )
        };
        if !parts[1..].iter().all(known) {
            return Ok(false);
        }
        let round = rounding(parts);
        let nearest = round == Rounding::Nearest;
        let ty = Type::F64;
        let fast = match parts[0] {
            "add" => Some(Bin64::AddF),
            "sub" => Some(Bin64::SubF),
            "mul" => Some(Bin64::MulF),
            "div" => Some(Bin64::DivF),
            _ => None,
        };
        if let (Some(op), true) = (fast, nearest) {
            let Some((to, from)) = self.places(operands, ty, 2)? else { return Ok(false) };
            self.push(Op::Bin64(op, to.slot, from[0].slot, from[1].slot));
            return Ok(true);
        }
        let approximate = parts.contains(&"approx");
        match parts[0] {
            "fma" | "mad" if nearest => {
                let Some((to, from)) = self.places(operands, ty, 3)? else { return Ok(false) };
                self.push(Op::Tri64(Tri64::FmaF, to.slot, from[0].slot, from[1].slot, from[2].slot));
                Ok(true)
            }
            "neg" | "abs" => {
                let Some((to, from)) = self.places(operands, ty, 1)? else { return Ok(false) };
                let op = if parts[0] == "neg" { Un64::NegF } else { Un64::AbsF };
                self.push(Op::Un64(op, to.slot, from[0].slot));
                Ok(true)
            }
            "sqrt" if nearest => {
                let Some((to, from)) = self.places(operands, ty, 1)? else { return Ok(false) };
                self.push(Op::Un64(Un64::SqrtF, to.slot, from[0].slot));
                Ok(true)
            }
            "add" => self.map(operands, &[ty; 2], ty, move |x| bits64(float::add_f64(d(x[0]), d(x[1]), round))),
            "sub" => self.map(operands, &[ty; 2], ty, move |x| bits64(float::sub_f64(d(x[0]), d(x[1]), round))),
            "mul" => self.map(operands, &[ty; 2], ty, move |x| bits64(float::mul_f64(d(x[0]), d(x[1]), round))),
            "div" => self.map(operands, &[ty; 2], ty, move |x| bits64(float::div_f64(d(x[0]), d(x[1]), round))),
            "fma" | "mad" => {
                self.map(operands, &[ty; 3], ty, move |x| bits64(float::fma_f64(d(x[0]), d(x[1]), d(x[2]), round)))
            }
            "rcp" if approximate => self.map(operands, &[ty], ty, move |x| bits64(float::rcp_approx_ftz_f64(d(x[0])))),
            "rcp" => self.map(operands, &[ty], ty, move |x| bits64(float::rcp_f64(d(x[0]), round))),
            "sqrt" => self.map(operands, &[ty], ty, move |x| bits64(float::sqrt_f64(d(x[0]), round))),
            "rsqrt" if parts.contains(&"ftz") => {
                self.map(operands, &[ty], ty, move |x| bits64(float::rsqrt_approx_ftz_f64(d(x[0]))))
            }
            "rsqrt" => self.map(operands, &[ty], ty, move |x| bits64(1.0 / d(x[0]).sqrt())),
            "min" => self.map(operands, &[ty; 2], ty, |x| bits64(float::min_f64(d(x[0]), d(x[1])))),
            "max" => self.map(operands, &[ty; 2], ty, |x| bits64(float::max_f64(d(x[0]), d(x[1])))),
            "copysign" => self.map(operands, &[ty; 2], ty, |x| (x[0] & 1 << 63) | (x[1] & !(1 << 63))),
            "testp" => {
                let test = parts.get(1).copied().unwrap_or_default().to_owned();
                self.map(operands, &[ty], Type::Pred, move |x| u64::from(classify(&test, d(x[0]).classify())))
            }
            _ => Ok(false),
        }
    }
}
