//! Register allocation. PTX names a new register for every value; kept apart, those of one warp would not fit the
//! caches. Liveness over the control flow graph, then a linear scan over the intervals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::operands::Role;
use crate::program::{CONSTANT, Kind, Op, Step};

/// First and last position at which a register holds a value that is read later.
type Interval = Option<(u32, u32)>;

fn index(kind: Kind) -> usize {
    match kind {
        Kind::B32 => 0,
        Kind::B64 => 1,
        Kind::Predicate => 2,
    }
}

/// A set of register numbers.
#[derive(Clone, PartialEq)]
struct Set(Vec<u64>);

impl Set {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }
    fn add(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }
    fn remove(&mut self, i: usize) {
        self.0[i / 64] &= !(1 << (i % 64));
    }
    fn each(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors((bits != 0).then_some(bits), |bits| Some(bits & (bits - 1)).filter(|&b| b != 0))
                .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

struct Block {
    range: std::ops::Range<usize>,
    next: Vec<usize>,
    live_in: Set,
}

fn targets(step: &Step) -> (Vec<usize>, bool) {
    match &step.op {
        Op::Branch(target) => (vec![*target as usize], step.guard.is_some()),
        Op::BranchIndex(_, targets) => (targets.iter().map(|&t| t as usize).collect(), step.guard.is_some()),
        Op::Exit | Op::Trap(_) => (Vec::new(), step.guard.is_some()),
        _ => (Vec::new(), true),
    }
}

fn blocks(steps: &[Step], registers: usize) -> Vec<Block> {
    let mut begins = vec![false; steps.len() + 1];
    begins[0] = true;
    for (i, step) in steps.iter().enumerate() {
        let (to, falls) = targets(step);
        if !to.is_empty() || !falls || matches!(step.op, Op::Exit) {
            begins[i + 1] = true;
        }
        for target in to {
            begins[target] = true;
        }
    }
    let starts: Vec<usize> = (0..steps.len()).filter(|&i| begins[i]).collect();
    let mut of = vec![0; steps.len() + 1];
    for (block, &start) in starts.iter().enumerate() {
        let end = starts.get(block + 1).copied().unwrap_or(steps.len());
        of[start..end].fill(block);
    }
    starts
        .iter()
        .enumerate()
        .map(|(block, &start)| {
            let end = starts.get(block + 1).copied().unwrap_or(steps.len());
            let (to, falls) = targets(&steps[end - 1]);
            let mut next: Vec<usize> = to.into_iter().filter(|&t| t < steps.len()).map(|t| of[t]).collect();
            if falls && end < steps.len() {
                next.push(of[end]);
            }
            Block { range: start..end, next, live_in: Set::new(registers) }
        })
        .collect()
}

/// Calls `see` with the number that a register has among those of all kinds.
fn each_register(step: &mut Step, bases: [usize; 3], see: &mut dyn FnMut(usize, Role)) {
    if let Some(guard) = &step.guard {
        see(bases[2] + guard.slot as usize, Role::Use);
    }
    step.op.visit(&mut |kind, slot, role| {
        if *slot & CONSTANT == 0 {
            see(bases[index(kind)] + *slot as usize, role);
        }
    });
}

/// Renumbers the registers of `counts` kinds so that few are left, and says how many.
pub(crate) fn allocate(steps: &mut [Step], counts: [u32; 3]) -> [u32; 3] {
    let bases = [0, counts[0] as usize, (counts[0] + counts[1]) as usize];
    let total = counts.iter().map(|&n| n as usize).sum();
    let mut blocks = blocks(steps, total);
    // Uses and definitions of each step, once.
    let mut seen: Vec<(Vec<usize>, Vec<usize>)> = Vec::with_capacity(steps.len());
    for step in steps.iter_mut() {
        let (mut uses, mut defs) = (Vec::new(), Vec::new());
        each_register(step, bases, &mut |register, role| match role {
            Role::Use => uses.push(register),
            Role::Def => defs.push(register),
        });
        seen.push((uses, defs));
    }
    let guarded: Vec<bool> = steps.iter().map(|step| step.guard.is_some()).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for b in (0..blocks.len()).rev() {
            let mut live = out_of(&blocks, b, total);
            for i in blocks[b].range.clone().rev() {
                step_back(&mut live, &seen[i], guarded[i]);
            }
            if live != blocks[b].live_in {
                blocks[b].live_in = live;
                changed = true;
            }
        }
    }
    let mut intervals: Vec<Interval> = vec![None; total];
    let mut extend = |register: usize, at: usize| {
        let at = at as u32;
        let interval = intervals[register].get_or_insert((at, at));
        *interval = (interval.0.min(at), interval.1.max(at));
    };
    // Positions: twice the step, plus one for what a step writes.
    for b in 0..blocks.len() {
        let range = blocks[b].range.clone();
        let mut live = out_of(&blocks, b, total);
        for register in live.each() {
            extend(register, 2 * range.end);
        }
        for i in range.clone().rev() {
            for &register in &seen[i].1 {
                extend(register, 2 * i + 1);
            }
            step_back(&mut live, &seen[i], guarded[i]);
            for &register in &seen[i].0 {
                extend(register, 2 * i);
            }
        }
        for register in live.each() {
            extend(register, 2 * range.start);
        }
    }
    let mut numbers = vec![0u32; total];
    let mut used = [0u32; 3];
    for kind in 0..3 {
        let range = bases[kind]..bases[kind] + counts[kind] as usize;
        used[kind] = scan(range, &intervals, &mut numbers);
    }
    for step in steps.iter_mut() {
        if let Some(guard) = &mut step.guard {
            guard.slot = numbers[bases[2] + guard.slot as usize];
        }
        step.op.visit(&mut |kind, slot, _| {
            if *slot & CONSTANT == 0 {
                *slot = numbers[bases[index(kind)] + *slot as usize];
            }
        });
    }
    used
}

fn out_of(blocks: &[Block], b: usize, total: usize) -> Set {
    let mut live = Set::new(total);
    for &next in &blocks[b].next {
        for (word, more) in live.0.iter_mut().zip(&blocks[next].live_in.0) {
            *word |= more;
        }
    }
    live
}

fn step_back(live: &mut Set, (uses, defs): &(Vec<usize>, Vec<usize>), guarded: bool) {
    // Lanes that the guard leaves out keep the old value.
    if !guarded {
        for &register in defs {
            live.remove(register);
        }
    }
    for &register in uses {
        live.add(register);
    }
}

/// Gives the registers of one kind their final numbers.
fn scan(range: std::ops::Range<usize>, intervals: &[Interval], numbers: &mut [u32]) -> u32 {
    let mut order: Vec<(u32, u32, usize)> =
        range.filter_map(|register| intervals[register].map(|(start, end)| (start, end, register))).collect();
    order.sort_unstable();
    let mut active: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
    let mut free: Vec<u32> = Vec::new();
    let mut used = 0;
    for (start, end, register) in order {
        while let Some(&Reverse((last, number))) = active.peek() {
            if last >= start {
                break;
            }
            active.pop();
            free.push(number);
        }
        let number = free.pop().unwrap_or_else(|| {
            used += 1;
            used - 1
        });
        numbers[register] = number;
        active.push(Reverse((end, number)));
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Bin32, Guard, Un32};

    fn step(op: Op) -> Step {
        Step { op, guard: None, line: 0, source: 0 }
    }

    #[test]
    fn values_that_do_not_meet_share_a_register() {
        let mut steps: Vec<Step> = (0..10).map(|i| step(Op::Un32(Un32::Mov, i + 1, i))).collect();
        steps.push(step(Op::Exit));
        assert!(allocate(&mut steps, [11, 0, 0])[0] <= 2);
    }

    #[test]
    fn a_value_carried_around_a_loop_keeps_its_register() {
        // r0 is written before the loop and read in it; r1 and r2 are temporary.
        let mut steps = vec![
            step(Op::Un32(Un32::Mov, 0, CONSTANT)),
            step(Op::Un32(Un32::Mov, 1, CONSTANT)),
            step(Op::Bin32(Bin32::Add, 2, 0, 1)),
            step(Op::Un32(Un32::Mov, 3, 2)),
            Step { op: Op::Branch(1), guard: Some(Guard { slot: 0, negated: false }), line: 0, source: 0 },
            step(Op::Exit),
        ];
        allocate(&mut steps, [4, 0, 1]);
        let Op::Un32(_, kept, _) = steps[0].op else { panic!() };
        for step in &steps[1..4] {
            match step.op {
                Op::Un32(_, d, _) | Op::Bin32(_, d, _, _) => assert_ne!(d, kept),
                _ => {}
            }
        }
    }

    #[test]
    fn a_guarded_write_keeps_what_was_there() {
        let mut steps = vec![
            step(Op::Un32(Un32::Mov, 0, CONSTANT)),
            step(Op::Un32(Un32::Mov, 1, CONSTANT)),
            Step { op: Op::Un32(Un32::Mov, 0, 1), guard: Some(Guard { slot: 0, negated: false }), line: 0, source: 0 },
            step(Op::Un32(Un32::Mov, 2, 0)),
            step(Op::Exit),
        ];
        allocate(&mut steps, [3, 0, 1]);
        let (Op::Un32(_, first, _), Op::Un32(_, second, _)) = (&steps[0].op, &steps[1].op) else { panic!() };
        assert_ne!(first, second);
    }
}
