//! The interpreter's loop: one instruction for all lanes that execute it.

use multiversion::multiversion;

use crate::access::lanes;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Shared};
use crate::program::{Bin32, Bin64, Compare, Convert, Kind, Logic, Op, Program, Shift, Slot, Tri32, Tri64, Un32, Un64};
use crate::warp::{Pause, Warp};

/// Instructions that a warp executes before others get a turn.
const SLICE: u32 = 20_000;
/// What a wait at a barrier costs, in instructions.
const BARRIER: u64 = 16;
/// Instructions for lanes that are ahead of others, when those took a whole slice.
const TURN: u32 = 2_000;

/// What a device gives for a result that is not a number.
#[inline(always)]
fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7FFF_FFFF } else { value.to_bits() }
}

/// Payloads of double precision are kept.
#[inline(always)]
fn canonical64(value: f64) -> u64 {
    value.to_bits()
}

#[inline(always)]
fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

#[inline(always)]
fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

#[inline(always)]
fn map1<A: Copy, R: Copy + Default>(a: [A; 32], op: impl Fn(A) -> R) -> [R; 32] {
    let mut out = [R::default(); 32];
    for i in 0..32 {
        out[i] = op(a[i]);
    }
    out
}

#[inline(always)]
fn map2<A: Copy, B: Copy, R: Copy + Default>(a: [A; 32], b: [B; 32], op: impl Fn(A, B) -> R) -> [R; 32] {
    let mut out = [R::default(); 32];
    for i in 0..32 {
        out[i] = op(a[i], b[i]);
    }
    out
}

#[inline(always)]
fn map3<A: Copy, B: Copy, C: Copy, R: Copy + Default>(
    a: [A; 32],
    b: [B; 32],
    c: [C; 32],
    op: impl Fn(A, B, C) -> R,
) -> [R; 32] {
    let mut out = [R::default(); 32];
    for i in 0..32 {
        out[i] = op(a[i], b[i], c[i]);
    }
    out
}

#[inline(always)]
fn bits<A: Copy>(a: [A; 32], b: [A; 32], op: impl Fn(A, A) -> bool) -> u32 {
    let mut out = 0;
    for i in 0..32 {
        out |= u32::from(op(a[i], b[i])) << i;
    }
    out
}

impl Warp {
    #[inline(always)]
    fn un32(&mut self, p: &Program, op: Un32, to: Slot, a: Slot, mask: u32) {
        let a = self.get32(p, a);
        let out = match op {
            Un32::Mov => a,
            Un32::Not => map1(a, |a| !a),
            Un32::Neg => map1(a, u32::wrapping_neg),
            Un32::Abs => map1(a, |a| (a as i32).wrapping_abs() as u32),
            Un32::NegF => map1(a, |a| a ^ 0x8000_0000),
            Un32::AbsF => map1(a, |a| a & 0x7FFF_FFFF),
            Un32::SqrtF => map1(a, |a| canonical(f(a).sqrt())),
            Un32::FromS32 => map1(a, |a| (a as i32 as f32).to_bits()),
            Un32::FromU32 => map1(a, |a| (a as f32).to_bits()),
        };
        self.put32(to, mask, out);
    }

    #[inline(always)]
    fn bin32(&mut self, p: &Program, op: Bin32, to: Slot, a: Slot, b: Slot, mask: u32) {
        let (a, b) = (self.get32(p, a), self.get32(p, b));
        let out = match op {
            Bin32::Add => map2(a, b, u32::wrapping_add),
            Bin32::Sub => map2(a, b, u32::wrapping_sub),
            Bin32::MulLo => map2(a, b, u32::wrapping_mul),
            Bin32::MulHiU => map2(a, b, |a, b| (u64::from(a) * u64::from(b) >> 32) as u32),
            Bin32::MulHiS => map2(a, b, |a, b| (i64::from(a as i32) * i64::from(b as i32) >> 32) as u32),
            Bin32::MinU => map2(a, b, u32::min),
            Bin32::MaxU => map2(a, b, u32::max),
            Bin32::MinS => map2(a, b, |a, b| (a as i32).min(b as i32) as u32),
            Bin32::MaxS => map2(a, b, |a, b| (a as i32).max(b as i32) as u32),
            Bin32::And => map2(a, b, |a, b| a & b),
            Bin32::Or => map2(a, b, |a, b| a | b),
            Bin32::Xor => map2(a, b, |a, b| a ^ b),
            // Amounts beyond the width shift everything out.
            Bin32::Shl => map2(a, b, |a, b| if b < 32 { a << b } else { 0 }),
            Bin32::ShrU => map2(a, b, |a, b| if b < 32 { a >> b } else { 0 }),
            Bin32::ShrS => map2(a, b, |a, b| (a as i32 >> b.min(31)) as u32),
            // What a division by zero gives is unspecified; devices give all ones.
            Bin32::DivU => map2(a, b, |a, b| a.checked_div(b).unwrap_or(u32::MAX)),
            Bin32::RemU => map2(a, b, |a, b| a.checked_rem(b).unwrap_or(u32::MAX)),
            Bin32::DivS => map2(a, b, |a, b| if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }),
            Bin32::RemS => map2(a, b, |a, b| if b == 0 { u32::MAX } else { (a as i32).wrapping_rem(b as i32) as u32 }),
            Bin32::AddF => map2(a, b, |a, b| canonical(f(a) + f(b))),
            Bin32::SubF => map2(a, b, |a, b| canonical(f(a) - f(b))),
            Bin32::MulF => map2(a, b, |a, b| canonical(f(a) * f(b))),
            Bin32::DivF => map2(a, b, |a, b| canonical(f(a) / f(b))),
        };
        self.put32(to, mask, out);
    }

    #[inline(always)]
    fn bin64(&mut self, p: &Program, op: Bin64, to: Slot, a: Slot, b: Slot, mask: u32) {
        let (a, b) = (self.get64(p, a), self.get64(p, b));
        let out = match op {
            Bin64::Add => map2(a, b, u64::wrapping_add),
            Bin64::Sub => map2(a, b, u64::wrapping_sub),
            Bin64::MulLo => map2(a, b, u64::wrapping_mul),
            Bin64::MinU => map2(a, b, u64::min),
            Bin64::MaxU => map2(a, b, u64::max),
            Bin64::MinS => map2(a, b, |a, b| (a as i64).min(b as i64) as u64),
            Bin64::MaxS => map2(a, b, |a, b| (a as i64).max(b as i64) as u64),
            Bin64::And => map2(a, b, |a, b| a & b),
            Bin64::Or => map2(a, b, |a, b| a | b),
            Bin64::Xor => map2(a, b, |a, b| a ^ b),
            Bin64::DivU => map2(a, b, |a, b| a.checked_div(b).unwrap_or(u64::MAX)),
            Bin64::RemU => map2(a, b, |a, b| a.checked_rem(b).unwrap_or(u64::MAX)),
            Bin64::DivS => map2(a, b, |a, b| if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }),
            Bin64::RemS => map2(a, b, |a, b| if b == 0 { u64::MAX } else { (a as i64).wrapping_rem(b as i64) as u64 }),
            Bin64::AddF => map2(a, b, |a, b| canonical64(d(a) + d(b))),
            Bin64::SubF => map2(a, b, |a, b| canonical64(d(a) - d(b))),
            Bin64::MulF => map2(a, b, |a, b| canonical64(d(a) * d(b))),
            Bin64::DivF => map2(a, b, |a, b| canonical64(d(a) / d(b))),
        };
        self.put64(to, mask, out);
    }

    #[inline(always)]
    fn un64(&mut self, p: &Program, op: Un64, to: Slot, a: Slot, mask: u32) {
        let a = self.get64(p, a);
        let out = match op {
            Un64::Mov => a,
            Un64::Not => map1(a, |a| !a),
            Un64::Neg => map1(a, u64::wrapping_neg),
            Un64::Abs => map1(a, |a| (a as i64).wrapping_abs() as u64),
            Un64::NegF => map1(a, |a| a ^ 1 << 63),
            Un64::AbsF => map1(a, |a| a & !(1 << 63)),
            Un64::SqrtF => map1(a, |a| canonical64(d(a).sqrt())),
        };
        self.put64(to, mask, out);
    }

    #[inline(always)]
    fn compare32(&mut self, p: &Program, op: Compare, to: Slot, a: Slot, b: Slot, mask: u32) {
        let (a, b) = (self.get32(p, a), self.get32(p, b));
        let out = match op {
            Compare::Eq => bits(a, b, |a, b| a == b),
            Compare::Ne => bits(a, b, |a, b| a != b),
            Compare::LtU => bits(a, b, |a, b| a < b),
            Compare::LeU => bits(a, b, |a, b| a <= b),
            Compare::LtS => bits(a, b, |a, b| (a as i32) < b as i32),
            Compare::LeS => bits(a, b, |a, b| a as i32 <= b as i32),
            Compare::EqF => bits(a, b, |a, b| f(a) == f(b)),
            Compare::NeF => bits(a, b, |a, b| f(a) < f(b) || f(a) > f(b)),
            Compare::LtF => bits(a, b, |a, b| f(a) < f(b)),
            Compare::LeF => bits(a, b, |a, b| f(a) <= f(b)),
            Compare::EquF => bits(a, b, |a, b| !(f(a) < f(b) || f(a) > f(b))),
            Compare::NeuF => bits(a, b, |a, b| f(a) != f(b)),
            Compare::LtuF => bits(a, b, |a, b| !(f(a) >= f(b))),
            Compare::LeuF => bits(a, b, |a, b| !(f(a) > f(b))),
            Compare::NumF => bits(a, b, |a, b| !f(a).is_nan() && !f(b).is_nan()),
            Compare::NanF => bits(a, b, |a, b| f(a).is_nan() || f(b).is_nan()),
        };
        self.put_predicate(to, mask, out);
    }

    #[inline(always)]
    fn compare64(&mut self, p: &Program, op: Compare, to: Slot, a: Slot, b: Slot, mask: u32) {
        let (a, b) = (self.get64(p, a), self.get64(p, b));
        let out = match op {
            Compare::Eq => bits(a, b, |a, b| a == b),
            Compare::Ne => bits(a, b, |a, b| a != b),
            Compare::LtU => bits(a, b, |a, b| a < b),
            Compare::LeU => bits(a, b, |a, b| a <= b),
            Compare::LtS => bits(a, b, |a, b| (a as i64) < b as i64),
            Compare::LeS => bits(a, b, |a, b| a as i64 <= b as i64),
            Compare::EqF => bits(a, b, |a, b| d(a) == d(b)),
            Compare::NeF => bits(a, b, |a, b| d(a) < d(b) || d(a) > d(b)),
            Compare::LtF => bits(a, b, |a, b| d(a) < d(b)),
            Compare::LeF => bits(a, b, |a, b| d(a) <= d(b)),
            Compare::EquF => bits(a, b, |a, b| !(d(a) < d(b) || d(a) > d(b))),
            Compare::NeuF => bits(a, b, |a, b| d(a) != d(b)),
            Compare::LtuF => bits(a, b, |a, b| !(d(a) >= d(b))),
            Compare::LeuF => bits(a, b, |a, b| !(d(a) > d(b))),
            Compare::NumF => bits(a, b, |a, b| !d(a).is_nan() && !d(b).is_nan()),
            Compare::NanF => bits(a, b, |a, b| d(a).is_nan() || d(b).is_nan()),
        };
        self.put_predicate(to, mask, out);
    }

    #[inline(always)]
    fn convert(&mut self, p: &Program, how: Convert, to: Slot, a: Slot, mask: u32) {
        match how {
            Convert::Zero => {
                let a = self.get32(p, a);
                self.put64(to, mask, map1(a, u64::from));
            }
            Convert::Sign => {
                let a = self.get32(p, a);
                self.put64(to, mask, map1(a, |a| i64::from(a as i32) as u64));
            }
            Convert::F32ToF64 => {
                let a = self.get32(p, a);
                self.put64(to, mask, map1(a, |a| canonical64(f64::from(f(a)))));
            }
            Convert::Low => {
                let a = self.get64(p, a);
                self.put32(to, mask, map1(a, |a| a as u32));
            }
            Convert::High => {
                let a = self.get64(p, a);
                self.put32(to, mask, map1(a, |a| (a >> 32) as u32));
            }
            Convert::F64ToF32 => {
                let a = self.get64(p, a);
                self.put32(to, mask, map1(a, |a| canonical(d(a) as f32)));
            }
        }
    }

    /// Runs until all lanes are done, wait at a barrier, or the slice is over.
    pub(crate) fn run(&mut self, shared: &mut Shared, launch: &Launch<'_>) -> Result<Pause, Fault> {
        run(self, shared, launch)
    }
}

/// The loop in several versions: vector instructions make it twice as fast, and a fused multiply-add without them is
/// a call.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt", "aarch64+neon"))]
fn run(warp: &mut Warp, shared: &mut Shared, launch: &Launch<'_>) -> Result<Pause, Fault> {
    let program = launch.program;
    let steps = &program.steps[..];
    let mut left = SLICE;
    // Instructions of earlier turns of this slice.
    let mut before = 0u64;
    let mut ahead = false;
    loop {
        if (warp.pc >= warp.next && !ahead) || warp.mask == 0 {
            if !warp.regroup() {
                if let Some(fault) = warp.stuck(program) {
                    return Err(fault);
                }
                // Also a loop around a barrier comes to an end some day.
                let here = warp.waiting.first().map_or(warp.pc, |group| group.pc);
                launch.burn(before.wrapping_add(u64::from(SLICE - left) + BARRIER), here)?;
                return Ok(if warp.waiting.is_empty() { Pause::Done } else { Pause::Barrier });
            }
            ahead = false;
        }
        if left == 0 {
            if warp.pending.is_empty() || ahead {
                launch.burn(before.wrapping_add(SLICE.into()), warp.pc)?;
                if warp.mask != 0 {
                    warp.regroup();
                }
                return Ok(Pause::Slice);
            }
            // Lanes of this warp may wait for others that are ahead of them.
            warp.turn();
            (ahead, left) = (true, TURN);
            before = before.wrapping_add(TURN.into());
        }
        left -= 1;
        let step = &steps[warp.pc as usize];
        let mask = match step.guard {
            None => warp.mask,
            Some(guard) => {
                let lanes = warp.predicates[guard.slot as usize];
                warp.mask & if guard.negated { !lanes } else { lanes }
            }
        };
        warp.pc += 1;
        if mask == 0 {
            continue;
        }
        match &step.op {
            Op::Nop => {}
            Op::Un32(op, to, a) => warp.un32(program, *op, *to, *a, mask),
            Op::Bin32(op, to, a, b) => warp.bin32(program, *op, *to, *a, *b, mask),
            Op::Tri32(op, to, a, b, c) => {
                let (a, b, c) = (warp.get32(program, *a), warp.get32(program, *b), warp.get32(program, *c));
                let out = match op {
                    Tri32::MadLo => map3(a, b, c, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
                    Tri32::FmaF => map3(a, b, c, |a, b, c| canonical(f(a).mul_add(f(b), f(c)))),
                };
                warp.put32(*to, mask, out);
            }
            Op::Un64(op, to, a) => warp.un64(program, *op, *to, *a, mask),
            Op::Bin64(op, to, a, b) => warp.bin64(program, *op, *to, *a, *b, mask),
            Op::Tri64(op, to, a, b, c) => {
                let (a, b, c) = (warp.get64(program, *a), warp.get64(program, *b), warp.get64(program, *c));
                let out = match op {
                    Tri64::MadLo => map3(a, b, c, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
                    Tri64::FmaF => map3(a, b, c, |a, b, c| canonical64(d(a).mul_add(d(b), d(c)))),
                };
                warp.put64(*to, mask, out);
            }
            Op::Shift64(how, to, a, b) => {
                let (a, b) = (warp.get64(program, *a), warp.get32(program, *b));
                let out = match how {
                    Shift::Left => map2(a, b, |a, b| if b < 64 { a << b } else { 0 }),
                    Shift::Right => map2(a, b, |a, b| if b < 64 { a >> b } else { 0 }),
                    Shift::RightSigned => map2(a, b, |a, b| (a as i64 >> b.min(63)) as u64),
                };
                warp.put64(*to, mask, out);
            }
            Op::MulWide(signed, to, a, b) => {
                let (a, b) = (warp.get32(program, *a), warp.get32(program, *b));
                let out = if *signed {
                    map2(a, b, |a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64)
                } else {
                    map2(a, b, |a, b| u64::from(a) * u64::from(b))
                };
                warp.put64(*to, mask, out);
            }
            Op::MadWide(signed, to, a, b, c) => {
                let (a, b, c) = (warp.get32(program, *a), warp.get32(program, *b), warp.get64(program, *c));
                let out = if *signed {
                    map3(a, b, c, |a, b, c| ((i64::from(a as i32) * i64::from(b as i32)) as u64).wrapping_add(c))
                } else {
                    map3(a, b, c, |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c))
                };
                warp.put64(*to, mask, out);
            }
            Op::Convert(how, to, a) => warp.convert(program, *how, *to, *a, mask),
            Op::Join(to, a, b) => {
                let (a, b) = (warp.get32(program, *a), warp.get32(program, *b));
                warp.put64(*to, mask, map2(a, b, |a, b| u64::from(a) | u64::from(b) << 32));
            }
            Op::Compare32(op, to, a, b) => warp.compare32(program, *op, *to, *a, *b, mask),
            Op::Compare64(op, to, a, b) => warp.compare64(program, *op, *to, *a, *b, mask),
            Op::Select32(to, a, b, p) => {
                let (a, b, p) = (warp.get32(program, *a), warp.get32(program, *b), warp.predicate(program, *p));
                let out = std::array::from_fn(|i| if p >> i & 1 == 1 { a[i] } else { b[i] });
                warp.put32(*to, mask, out);
            }
            Op::Select64(to, a, b, p) => {
                let (a, b, p) = (warp.get64(program, *a), warp.get64(program, *b), warp.predicate(program, *p));
                let out = std::array::from_fn(|i| if p >> i & 1 == 1 { a[i] } else { b[i] });
                warp.put64(*to, mask, out);
            }
            Op::Logic(op, to, a, b) => {
                let (a, b) = (warp.predicate(program, *a), warp.predicate(program, *b));
                let out = match op {
                    Logic::And => a & b,
                    Logic::Or => a | b,
                    Logic::Xor => a ^ b,
                };
                warp.put_predicate(*to, mask, out);
            }
            Op::NotP(to, a) => {
                let a = warp.predicate(program, *a);
                warp.put_predicate(*to, mask, !a);
            }
            Op::MovP(to, a) => {
                let a = warp.predicate(program, *a);
                warp.put_predicate(*to, mask, a);
            }
            Op::Lop3(table, to, a, b, c) => {
                let (a, b, c) = (warp.get32(program, *a), warp.get32(program, *b), warp.get32(program, *c));
                let term = |bit: u8| 0u32.wrapping_sub(u32::from(*table >> bit & 1));
                let out = map3(a, b, c, |a, b, c| {
                    (term(0) & !a & !b & !c)
                        | (term(1) & !a & !b & c)
                        | (term(2) & !a & b & !c)
                        | (term(3) & !a & b & c)
                        | (term(4) & a & !b & !c)
                        | (term(5) & a & !b & c)
                        | (term(6) & a & b & !c)
                        | (term(7) & a & b & c)
                });
                warp.put32(*to, mask, out);
            }
            Op::Scalar { f, to, from } => {
                let mut operands = [[0; 32]; 5];
                for (values, place) in operands.iter_mut().zip(from) {
                    *values = warp.get(program, *place);
                }
                let mut out = [0; 32];
                for lane in lanes(mask) {
                    out[lane] = f(&operands.map(|values| values[lane]));
                }
                warp.put(*to, mask, out);
            }
            Op::Special(what, to) => warp.special(shared, launch, *what, *to, mask),
            Op::Parameter { to, offset, size, signed } => {
                let mut bytes = [0; 8];
                let size = usize::from(*size);
                bytes[..size].copy_from_slice(&launch.parameters[*offset as usize..*offset as usize + size]);
                let unused = 64 - 8 * size as u32;
                let value = u64::from_le_bytes(bytes);
                let value = if *signed { ((value << unused) as i64 >> unused) as u64 } else { value };
                match to.kind {
                    Kind::B32 => warp.put32(to.slot, mask, [value as u32; 32]),
                    _ => warp.put(*to, mask, [value; 32]),
                }
            }
            Op::Load { access, signed, to } => warp.load(shared, launch, *access, *signed, to, mask)?,
            Op::Store { access, from } => warp.store(shared, launch, *access, from, mask)?,
            Op::Atomic { .. } => warp.atomic(shared, launch, &step.op, mask)?,
            Op::CopyAsync { .. } => warp.begin_copies(shared, launch, &step.op, mask)?,
            Op::CommitCopies => {
                for lane in lanes(mask) {
                    warp.copy_groups[lane] += 1;
                }
            }
            Op::WaitCopies(left) => warp.finish_copies(shared, launch, *left, mask)?,
            Op::Branch(target) => warp.branch(mask, *target),
            Op::BranchIndex(index, targets) => {
                let index = warp.get32(program, *index);
                let mut rest = mask;
                warp.mask &= !mask;
                while rest != 0 {
                    let lane = rest.trailing_zeros() as usize;
                    let same = lanes(rest).filter(|&i| index[i] == index[lane]).fold(0, |all, i| all | 1 << i);
                    let Some(target) = targets.get(index[lane] as usize) else {
                        return Err(warp.fault(FaultKind::Trap, lane as u32, "a branch behind the end of its table"));
                    };
                    warp.pending.push((*target, same));
                    rest &= !same;
                }
                warp.regroup();
                ahead = false;
            }
            Op::Mbarrier(step) => {
                if warp.mbarrier(shared, launch, step, mask)? {
                    // Whoever it waits for gets a turn.
                    before = before.wrapping_sub(left.into());
                    left = 0;
                }
            }
            Op::Exit => {
                warp.end_bulk(shared, launch, mask)?;
                warp.finish_copies(shared, launch, None, mask)?;
                warp.exited |= mask;
                warp.mask &= !mask;
            }
            Op::Trap(why) => {
                let kind = if *why == "trap" { FaultKind::Trap } else { FaultKind::Assertion };
                return Err(warp.fault(kind, mask.trailing_zeros(), *why));
            }
            _ => warp.collective(shared, launch, &step.op, mask)?,
        }
    }
}
