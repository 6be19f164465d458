//! Loads, stores, atomics, asynchronous copies, and addresses.

use super::{Lower, Named, Result};
use crate::launch::{LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW, WINDOW};
use crate::order::Scope;
use crate::program::{Access, Atomic, Bin64, Kind, Op, Place, Slot, Strength, Un64};
use crate::ptx::{Operand, Space, Type};

/// Of an access that orders nothing.
pub(super) const PLAIN: (Strength, Scope) = (Strength::Plain, Scope::Device);

/// The modifiers of a memory instruction.
struct Modifiers {
    space: Space,
    strength: Strength,
    scope: Scope,
    count: u8,
    ty: Option<Type>,
    /// Whether a cache hint is one more operand.
    hint: bool,
}

/// Reads modifiers; `None` for one that is not known.
fn modifiers(parts: &[&str]) -> Option<Modifiers> {
    let mut all = Modifiers {
        space: Space::Generic,
        strength: Strength::Plain,
        scope: Scope::Device,
        count: 1,
        ty: None,
        hint: false,
    };
    let counts = parts.iter().filter(|part| matches!(**part, "v2" | "v4")).count();
    let types = parts.iter().filter(|part| Type::parse(part).is_some()).count();
    if counts > 1 || types > 1 {
        return None;
    }
    for part in parts {
        match *part {
            "global" => all.space = Space::Global,
            "const" => all.space = Space::Const,
            "shared" | "shared::cta" | "shared::cluster" => all.space = Space::Shared,
            "local" => all.space = Space::Local,
            "param" | "param::entry" | "param::func" => all.space = Space::Param,
            "volatile" | "relaxed" | "mmio" => all.strength = Strength::Relaxed,
            "acquire" => all.strength = Strength::Acquire,
            "release" => all.strength = Strength::Release,
            "acq_rel" => all.strength = Strength::Both,
            "v2" => all.count = 2,
            "v4" => all.count = 4,
            "L2::cache_hint" | "level::cache_hint" => all.hint = true,
            // Caches do not change results here.
            "weak" | "nc" | "ca" | "cg" | "cs" | "cv" | "lu" | "wb" | "wt" | "gpu" | "sys" | "cluster" => {}
            "cta" => all.scope = Scope::Block,
            part if part.starts_with("L1::") || part.starts_with("L2::") => {}
            part => all.ty = Some(Type::parse(part)?),
        }
    }
    Some(all)
}

impl Lower<'_> {
    pub(super) fn memory(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        match parts[0] {
            "ld" | "ldu" => self.load(parts, operands),
            "st" => self.store(parts, operands),
            "atom" | "red" => self.atomic(parts, operands),
            "cp" => self.copy_async(parts, operands),
            "cvta" => self.generic(parts, operands),
            "isspacep" => self.is_space(parts, operands),
            "createpolicy" => self.policy(parts, operands),
            "mbarrier" => self.mbarrier(parts, operands),
            "mapa" | "getctarank" => self.cluster(parts, operands),
            _ => Ok(false),
        }
    }

    /// The smallest access decides in what units races are looked for.
    fn note(&mut self, space: Space, size: u8) {
        let size = size.min(4);
        if matches!(space, Space::Shared | Space::Generic) {
            self.shared_granule = self.shared_granule.min(size);
        }
        if !matches!(space, Space::Shared | Space::Local | Space::Param) {
            self.global_granule = self.global_granule.min(size);
        }
    }

    /// The place that `[…]` names. A variable decides the space by itself.
    pub(super) fn access(
        &mut self,
        mut space: Space,
        size: u8,
        count: u8,
        operand: &Operand,
        strength: (Strength, Scope),
    ) -> Result<Access> {
        let Operand::Address(base, offset) = operand else { return self.unsupported("an address was expected") };
        let mut offset = *offset;
        let address = match &**base {
            Operand::Name(name) => match self.find(name) {
                Some(Named::Register(Kind::Predicate, ..)) => return self.unsupported("a predicate as an address"),
                Some(Named::Register(kind, slot)) => Place { kind, slot },
                Some(Named::Variable(found, at)) => {
                    offset = offset.wrapping_add(at as i64);
                    space = found;
                    self.constant(Kind::B64, 0)
                }
                _ => return self.unsupported(format!("{name} is not known")),
            },
            Operand::Integer(at) => {
                offset = offset.wrapping_add(*at as i64);
                self.constant(Kind::B64, 0)
            }
            _ => return self.unsupported("this kind of address"),
        };
        self.note(space, size);
        let (strength, scope) = strength;
        self.exact |= strength.is_atomic();
        Ok(Access { space, size, count, address, offset, strength, scope })
    }

    fn load(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some(all) = modifiers(&parts[1..]) else { return Ok(false) };
        let (Some(ty), Some(to), Some(from)) = (all.ty, operands.first(), operands.get(1)) else { return Ok(false) };
        if ty == Type::B128 || operands.len() > 2 + usize::from(all.hint) {
            return Ok(false);
        }
        let access = self.access(all.space, ty.bytes() as u8, all.count, from, (all.strength, all.scope))?;
        let to = self.elements(to, all.count, ty, false)?;
        if access.space == Space::Param && all.count == 1 && access.address.slot & crate::program::CONSTANT != 0 {
            let size = access.size;
            let inside = |offset: &u32| {
                self.parameters.iter().any(|&(at, len)| {
                    *offset >= at && u64::from(*offset) + u64::from(size) <= u64::from(at) + u64::from(len)
                })
            };
            let Some(offset) = u32::try_from(access.offset).ok().filter(inside) else {
                return self.unsupported("a read beyond the end of a parameter");
            };
            self.push(Op::Parameter { to: to[0], offset, size, signed: ty.is_signed() });
            return Ok(true);
        }
        self.push(Op::Load { access, signed: ty.is_signed(), to });
        Ok(true)
    }

    /// The registers of a vector, or values to store.
    fn elements(&mut self, operand: &Operand, count: u8, ty: Type, store: bool) -> Result<[Place; 4]> {
        let single = [operand.clone()];
        let list = match operand {
            Operand::List(list) => &list[..],
            _ => &single[..],
        };
        if list.len() != usize::from(count) {
            return self.unsupported(format!("a vector of {} elements, {count} were expected", list.len()));
        }
        let mut places = [Place { kind: Kind::B32, slot: 0 }; 4];
        for (place, operand) in places.iter_mut().zip(list) {
            *place = match operand {
                // Registers may be wider than what is stored.
                Operand::Name(name) if store && !matches!(self.find(name), Some(Named::Register(..))) => {
                    self.value(operand, ty)?
                }
                Operand::Name(_) => self.register(operand)?,
                _ if store => self.value(operand, ty)?,
                _ => self.register(operand)?,
            };
            if place.kind == Kind::Predicate {
                return self.unsupported("a predicate in memory");
            }
            if place.kind == Kind::B32 && ty.bytes() == 8 {
                return self.unsupported("a register that is narrower than the memory");
            }
        }
        Ok(places)
    }

    fn store(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some(all) = modifiers(&parts[1..]) else { return Ok(false) };
        let (Some(ty), Some(to), Some(from)) = (all.ty, operands.first(), operands.get(1)) else { return Ok(false) };
        if ty == Type::B128 || operands.len() > 2 + usize::from(all.hint) || parts.contains(&"async") {
            return Ok(false);
        }
        let access = self.access(all.space, ty.bytes() as u8, all.count, to, (all.strength, all.scope))?;
        let from = self.elements(from, all.count, ty, true)?;
        self.push(Op::Store { access, from });
        Ok(true)
    }

    fn atomic(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let name = |part: &&str| {
            matches!(*part, "add" | "min" | "max" | "and" | "or" | "xor" | "exch" | "cas" | "inc" | "dec")
        };
        let Some(op) = parts.iter().copied().find(|part| name(part)) else { return Ok(false) };
        let rest: Vec<&str> = parts[1..].iter().copied().filter(|part| *part != op && *part != "noftz").collect();
        let Some(all) = modifiers(&rest) else { return Ok(false) };
        let Some(ty) = all.ty else { return Ok(false) };
        if operands.len() > 4 + usize::from(all.hint) {
            return Ok(false);
        }
        let signed = ty.is_signed();
        let atomic = match (op, ty) {
            ("add", Type::F32) => Atomic::AddF32,
            ("add", Type::F64) => Atomic::AddF64,
            ("add", Type::F16) => Atomic::AddF16,
            ("add", Type::F16x2) => Atomic::AddF16x2,
            ("add", Type::Bf16) => Atomic::AddBf16,
            ("add", Type::Bf16x2) => Atomic::AddBf16x2,
            (_, ty) if ty.is_float() => return Ok(false),
            ("add", _) => Atomic::Add,
            ("min", _) if signed => Atomic::MinS,
            ("max", _) if signed => Atomic::MaxS,
            ("min", _) => Atomic::MinU,
            ("max", _) => Atomic::MaxU,
            ("and", _) => Atomic::And,
            ("or", _) => Atomic::Or,
            ("xor", _) => Atomic::Xor,
            ("exch", _) => Atomic::Exchange,
            ("cas", _) => Atomic::CompareExchange,
            ("inc", Type::U32) => Atomic::Increment,
            ("dec", Type::U32) => Atomic::Decrement,
            _ => return Ok(false),
        };
        let has_result = parts[0] == "atom";
        let (to, rest) = if has_result {
            let Some((to, rest)) = operands.split_first() else { return Ok(false) };
            (Some(self.register(to)?), rest)
        } else {
            (None, operands)
        };
        let (Some(address), Some(operand)) = (rest.first(), rest.get(1)) else { return Ok(false) };
        // Atomics are strong, even where no semantics is given.
        let strength = if all.strength == Strength::Plain { Strength::Relaxed } else { all.strength };
        let access = self.access(all.space, ty.bytes() as u8, 1, address, (strength, all.scope))?;
        if all.count > 1 {
            // One atomic for each element: the vector itself is none.
            let Operand::List(list) = operand else { return Ok(false) };
            if has_result || list.len() != usize::from(all.count) {
                return Ok(false);
            }
            for (i, operand) in (0..).zip(list) {
                let access = Access { offset: access.offset + i * i64::from(access.size), ..access };
                let operand = self.value(operand, ty)?;
                self.push(Op::Atomic { access, op: atomic, to: None, operand, other: None });
            }
            return Ok(true);
        }
        let operand = self.value(operand, ty)?;
        let other = match (atomic, rest.get(2)) {
            (Atomic::CompareExchange, Some(other)) => Some(self.value(other, ty)?),
            (Atomic::CompareExchange, None) => return Ok(false),
            _ => None,
        };
        self.push(Op::Atomic { access, op: atomic, to, operand, other });
        Ok(true)
    }

    fn copy_async(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        if parts.get(1) != Some(&"async") {
            return Ok(false);
        }
        match parts.get(2) {
            Some(&"bulk") => return self.bulk(parts, operands),
            Some(&"mbarrier") => return self.arrive_after_copies(parts, operands),
            Some(&"commit_group") => self.push(Op::CommitCopies),
            Some(&"wait_all") => self.push(Op::WaitCopies(None)),
            Some(&"wait_group") => {
                let [Operand::Integer(left)] = operands else { return Ok(false) };
                self.push(Op::WaitCopies(Some(*left as u32)));
            }
            Some(&("ca" | "cg")) => {
                let cache =
                    |part: &&str| matches!(*part, "shared" | "shared::cta" | "global") || part.starts_with("L2::");
                if !parts[3..].iter().all(cache) {
                    return Ok(false);
                }
                let operands = match operands.split_last() {
                    Some((_, rest)) if parts.contains(&"L2::cache_hint") => rest,
                    _ => operands,
                };
                let [to, from, Operand::Integer(size), rest @ ..] = operands else { return Ok(false) };
                if !matches!(size, 4 | 8 | 16) {
                    return Ok(false);
                }
                let read = match rest {
                    [] => None,
                    [read] => Some(self.bytes_to_read(read, *size as u32)?),
                    _ => return Ok(false),
                };
                let to = self.access(Space::Shared, 4, 1, to, PLAIN)?;
                let from = self.access(Space::Global, 4, 1, from, PLAIN)?;
                self.push(Op::CopyAsync {
                    to: to.address,
                    to_offset: to.offset,
                    from: from.address,
                    from_offset: from.offset,
                    size: *size as u8,
                    read,
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A policy for caches, which there are none of.
    fn policy(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let known = |part: &&str| {
            matches!(*part, "fractional" | "range" | "cvt" | "global" | "L2" | "b64") || part.starts_with("L2::")
        };
        let Some(to) = operands.first().filter(|_| parts[1..].iter().all(known)) else { return Ok(false) };
        let (to, none) = (self.target(to, Kind::B64)?.slot, self.constant64(0));
        self.push(Op::Un64(Un64::Mov, to, none));
        Ok(true)
    }

    /// How much an asynchronous copy reads: a number of bytes, or nothing where a predicate says so.
    fn bytes_to_read(&mut self, operand: &Operand, size: u32) -> Result<Slot> {
        if let Operand::Name(name) = operand
            && let Some(Named::Register(Kind::Predicate, ignore)) = self.find(name)
        {
            let to = self.fresh(Kind::B32);
            let (none, all) = (self.constant32(0), self.constant32(size));
            self.push(Op::Select32(to, none, all, ignore));
            return Ok(to);
        }
        Ok(self.value(operand, Type::U32)?.slot)
    }

    /// `cvta` between a space and generic addresses.
    fn generic(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let [to, from] = operands else { return Ok(false) };
        let away = parts.get(1) == Some(&"to");
        let window = match parts.get(1 + usize::from(away)) {
            Some(&("global" | "const")) => 0,
            Some(&("shared" | "shared::cta")) => SHARED_WINDOW,
            Some(&"local") => LOCAL_WINDOW,
            Some(&("param" | "param::entry")) => PARAMETER_WINDOW,
            _ => return Ok(false),
        };
        if parts.last() != Some(&"u64") {
            return Ok(false);
        }
        let to = self.target(to, Kind::B64)?.slot;
        let from = self.value(from, Type::U64)?.slot;
        let window = self.constant64(window);
        if window == self.constant64(0) {
            self.push(Op::Un64(Un64::Mov, to, from));
        } else {
            self.push(Op::Bin64(if away { Bin64::Sub } else { Bin64::Add }, to, from, window));
        }
        Ok(true)
    }

    fn is_space(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let [to, from] = operands else { return Ok(false) };
        let (to, from) = (self.target(to, Kind::Predicate)?, self.value(from, Type::U64)?);
        let inside = |window: u64| move |address: u64| address.wrapping_sub(window) < WINDOW;
        let f: Box<dyn Fn(u64) -> bool + Send + Sync> = match parts.get(1) {
            Some(&"global") => Box::new(|address| !(SHARED_WINDOW..PARAMETER_WINDOW + WINDOW).contains(&address)),
            Some(&"const") => Box::new(|_| false),
            Some(&("shared" | "shared::cta" | "shared::cluster")) => Box::new(inside(SHARED_WINDOW)),
            Some(&"local") => Box::new(inside(LOCAL_WINDOW)),
            Some(&"param") => Box::new(inside(PARAMETER_WINDOW)),
            _ => return Ok(false),
        };
        self.scalar(to, &[from], move |x| u64::from(f(x[0])));
        Ok(true)
    }
}
