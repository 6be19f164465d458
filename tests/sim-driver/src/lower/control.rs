//! Branches, calls, barriers, and what lanes do together.

use std::collections::HashMap;

use super::memory::PLAIN;
use super::{Lower, Named, Result, Scope};
use crate::order;
use crate::program::{Access, Barrier, CLUSTER, Kind, Op, Place, Reduce, Shuffle, Slot, Vote};
use crate::ptx::{Operand, Space, Type};
use crate::tensor;

/// Calls inside of calls.
const DEEPEST: usize = 32;

impl Lower<'_> {
    pub(super) fn control(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        match parts[0] {
            "bra" => {
                let [Operand::Name(name)] = operands else { return Ok(false) };
                let label = self.label(name);
                self.push(Op::Branch(label as u32));
            }
            "brx" => {
                let [index, Operand::Name(table)] = operands else { return Ok(false) };
                let Some(Named::Targets(targets)) = self.find(table) else {
                    return self.unsupported(format!("{table} is no table of branch targets"));
                };
                let labels: Vec<u32> = targets.iter().map(|name| self.label(name) as u32).collect();
                let index = self.value(index, Type::U32)?;
                self.push(Op::BranchIndex(index.slot, labels.into()));
            }
            "ret" => match self.leave {
                Some(label) => self.push(Op::Branch(label as u32)),
                None => self.push(Op::Exit),
            },
            "exit" => self.push(Op::Exit),
            "trap" | "brkpt" => self.push(Op::Trap("trap")),
            "call" => return self.call(operands),
            "bar" | "barrier" => return self.barrier(parts, operands),
            "membar" | "fence" => return Ok(self.fence(parts)),
            "shfl" => return self.shuffle(parts, operands),
            "vote" => return self.vote(parts, operands),
            "match" => return self.matching(parts, operands),
            "redux" => return self.reduce(parts, operands),
            "elect" => {
                let [Operand::Pair(to, within), members] = operands else { return Ok(false) };
                let (to, within) = (self.target(to, Kind::B32)?, self.target(within, Kind::Predicate)?);
                let mask = self.value(members, Type::B32)?.slot;
                self.push(Op::Elect { to: to.slot, within: within.slot, mask });
            }
            "activemask" => {
                let [to] = operands else { return Ok(false) };
                let to = self.target(to, Kind::B32)?;
                self.push(Op::ActiveMask(to.slot));
            }
            "mma" => {
                let Some(mma) = tensor::Mma::parse(&parts[1..]) else { return Ok(false) };
                return self.mma(mma, operands);
            }
            "wmma" => return self.wmma(parts, operands),
            "movmatrix" => {
                let (["movmatrix", "sync", "aligned", "m8n8", "trans", "b16"], [to, from]) = (parts, operands) else {
                    return Ok(false);
                };
                let from = self.value(from, Type::B32)?.slot;
                let to = self.target(to, Kind::B32)?.slot;
                self.push(Op::Transpose { to, from });
            }
            "ldmatrix" | "stmatrix" => return self.move_matrix(parts, operands),
            "nanosleep" | "pmevent" | "prefetch" | "prefetchu" | "discard" | "applypriority" | "griddepcontrol"
            | "setmaxnreg" => {
                self.push(Op::Nop);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Puts the called function in the place of the call.
    fn call(&mut self, operands: &[Operand]) -> Result<bool> {
        let (results, name, arguments) = match operands {
            [Operand::List(results), Operand::Name(name), Operand::List(arguments)] => {
                (&results[..], name, &arguments[..])
            }
            [Operand::List(results), Operand::Name(name)] => (&results[..], name, &[][..]),
            [Operand::Name(name), Operand::List(arguments)] => (&[][..], name, &arguments[..]),
            [Operand::Name(name)] => (&[][..], name, &[][..]),
            _ => return Ok(false),
        };
        if name == "__assertfail" {
            self.push(Op::Trap("an assertion of the kernel does not hold"));
            return Ok(true);
        }
        let found = self.module.functions.iter().find(|function| function.name == *name);
        let Some(function) = found.filter(|function| !function.body.is_empty() || function.unsupported.is_some())
        else {
            return self.unsupported(format!("call of {name}, which has no body here"));
        };
        if self.depth >= DEEPEST {
            return self.unsupported(format!("recursion through {name}"));
        }
        let mut names = HashMap::new();
        for (formals, actuals) in [(&function.results, results), (&function.parameters, arguments)] {
            if formals.len() != actuals.len() {
                return self.unsupported(format!("a call of {name} with another number of arguments"));
            }
            for (formal, actual) in formals.iter().zip(actuals) {
                let Operand::Name(actual) = actual else { return self.unsupported("an argument that is no variable") };
                match self.find(actual) {
                    Some(variable @ Named::Variable(Space::Local, _)) => {
                        names.insert(formal.name.clone(), variable);
                    }
                    _ => return self.unsupported(format!("{actual} as an argument")),
                }
            }
        }
        let leave = self.labels.len();
        self.labels.push(None);
        // Lanes that the guard leaves out go around.
        if let Some(guard) = self.guard.take() {
            self.guard = Some(crate::program::Guard { negated: !guard.negated, ..guard });
            self.push(Op::Branch(leave as u32));
            self.guard = None;
        }
        let scope = std::mem::replace(&mut self.scope, Scope { names: vec![names], labels: Vec::new() });
        let before = (self.leave.replace(leave), self.line, self.source);
        self.depth += 1;
        self.body(function)?;
        self.depth -= 1;
        (self.leave, self.line, self.source) = before;
        self.scope = scope;
        self.labels[leave] = Some(self.steps.len() as u32);
        Ok(true)
    }

    fn fence(&mut self, parts: &[&str]) -> bool {
        let scope = match parts[1..] {
            ["proxy" | "mbarrier_init", ..] => return self.proxy_fence(parts),
            ["cta"] | ["sc" | "acq_rel" | "acquire" | "release", "cta"] => order::Scope::Block,
            ["gl" | "sys"] if parts[0] == "membar" => order::Scope::Device,
            ["sc" | "acq_rel" | "acquire" | "release", "gpu" | "sys" | "cluster"] => order::Scope::Device,
            _ => return false,
        };
        self.exact = true;
        self.push(Op::Fence(scope));
        true
    }

    fn barrier(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        if parts.get(1) == Some(&"warp") {
            let [members] = operands else { return Ok(false) };
            let members = self.value(members, Type::B32)?;
            self.push(Op::SyncWarp(members.slot));
            return Ok(true);
        }
        // `bar` is aligned by itself, `barrier` where it says so.
        let aligned = parts[0] == "bar" || parts.contains(&"aligned");
        if parts.contains(&"cluster") {
            // A cluster of one block: all of them meet where they wait.
            let (id, from) = (self.constant32(CLUSTER), self.constant32(0));
            let wait = Op::Barrier { kind: Barrier::Sync, aligned, id, threads: None, to: None, from, negated: false };
            self.push(if parts[2..].contains(&"wait") { wait } else { Op::Nop });
            return Ok(matches!(parts.get(2), Some(&("wait" | "arrive"))) && operands.is_empty());
        }
        let kind = match () {
            () if parts.contains(&"arrive") => Barrier::Arrive,
            () if parts.contains(&"popc") => Barrier::Count,
            () if parts.contains(&"and") => Barrier::And,
            () if parts.contains(&"or") => Barrier::Or,
            () if parts.contains(&"sync") => Barrier::Sync,
            () => return Ok(false),
        };
        let none = self.constant32(0);
        if matches!(kind, Barrier::Count | Barrier::And | Barrier::Or) {
            let (to, rest) = operands
                .split_first()
                .ok_or_else(|| super::Unsupported { line: self.line, why: "a barrier without operands".into() })?;
            let (predicate, rest) = rest
                .split_last()
                .ok_or_else(|| super::Unsupported { line: self.line, why: "a barrier without a predicate".into() })?;
            let to = self.register(to)?;
            let (predicate, negated) = match predicate {
                Operand::Not(inner) => (&**inner, true),
                other => (other, false),
            };
            let from = self.value(predicate, Type::Pred)?.slot;
            let Some(id) = rest.first().filter(|_| rest.len() <= 2) else { return Ok(false) };
            let id = self.value(id, Type::U32)?.slot;
            let threads = rest.get(1).map(|threads| self.value(threads, Type::U32)).transpose()?;
            let threads = threads.map(|place| place.slot);
            self.exact |= threads.is_some();
            self.push(Op::Barrier { kind, aligned, id, threads, to: Some(to), from, negated });
            return Ok(true);
        }
        let id = match operands.first() {
            Some(id) => self.value(id, Type::U32)?.slot,
            None => none,
        };
        let threads = operands.get(1).map(|threads| self.value(threads, Type::U32)).transpose()?;
        let threads = threads.map(|place| place.slot);
        if kind == Barrier::Arrive && threads.is_none() {
            return Ok(false);
        }
        self.exact |= threads.is_some();
        self.push(Op::Barrier { kind, aligned, id, threads, to: None, from: none, negated: false });
        Ok(true)
    }

    fn split_pair(&mut self, operand: &Operand) -> Result<(Place, Option<Slot>)> {
        match operand {
            Operand::Pair(to, within) => {
                let within = self.target(within, Kind::Predicate)?;
                Ok((self.target(to, Kind::B32)?, Some(within.slot)))
            }
            other => Ok((self.target(other, Kind::B32)?, None)),
        }
    }

    fn shuffle(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let sync = parts.get(1) == Some(&"sync");
        let how = match parts.get(1 + usize::from(sync)) {
            Some(&"up") => Shuffle::Up,
            Some(&"down") => Shuffle::Down,
            Some(&"bfly") => Shuffle::Butterfly,
            Some(&"idx") => Shuffle::Index,
            _ => return Ok(false),
        };
        let (Some(to), Some(from), Some(b), Some(c)) =
            (operands.first(), operands.get(1), operands.get(2), operands.get(3))
        else {
            return Ok(false);
        };
        let (to, within) = self.split_pair(to)?;
        let from = self.value(from, Type::B32)?.slot;
        let (b, c) = (self.value(b, Type::B32)?.slot, self.value(c, Type::B32)?.slot);
        let mask = match operands.get(4) {
            Some(mask) if sync => Some(self.value(mask, Type::B32)?.slot),
            None if !sync => None,
            _ => return Ok(false),
        };
        self.push(Op::Shuffle { how, to: to.slot, within, from, b, c, mask });
        Ok(true)
    }

    fn vote(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let sync = parts.get(1) == Some(&"sync");
        let how = match parts.get(1 + usize::from(sync)) {
            Some(&"all") => Vote::All,
            Some(&"any") => Vote::Any,
            Some(&"uni") => Vote::Uniform,
            Some(&"ballot") => Vote::Ballot,
            _ => return Ok(false),
        };
        let (Some(to), Some(from)) = (operands.first(), operands.get(1)) else { return Ok(false) };
        let to = self.register(to)?;
        let (from, negated) = match from {
            Operand::Not(inner) => (&**inner, true),
            other => (other, false),
        };
        let from = self.value(from, Type::Pred)?.slot;
        let mask = match operands.get(2) {
            Some(mask) if sync => Some(self.value(mask, Type::B32)?.slot),
            None if !sync => None,
            _ => return Ok(false),
        };
        self.push(Op::Vote { how, to, from, negated, mask });
        Ok(true)
    }

    fn matching(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let all = match parts.get(1) {
            Some(&"all") => true,
            Some(&"any") => false,
            _ => return Ok(false),
        };
        let ty = if parts.last() == Some(&"b64") { Type::B64 } else { Type::B32 };
        let [to, from, mask] = operands else { return Ok(false) };
        let (to, within) = self.split_pair(to)?;
        let from = self.value(from, ty)?;
        let mask = self.value(mask, Type::B32)?.slot;
        self.push(Op::Match { all, to: to.slot, within, from, mask });
        Ok(true)
    }

    fn reduce(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let signed = parts.last() == Some(&"s32");
        let how = match parts.get(2) {
            Some(&"add") => Reduce::Add,
            Some(&"min") if signed => Reduce::MinS,
            Some(&"max") if signed => Reduce::MaxS,
            Some(&"min") => Reduce::MinU,
            Some(&"max") => Reduce::MaxU,
            Some(&"and") => Reduce::And,
            Some(&"or") => Reduce::Or,
            Some(&"xor") => Reduce::Xor,
            _ => return Ok(false),
        };
        if !matches!(parts.last(), Some(&("s32" | "u32" | "b32"))) {
            return Ok(false);
        }
        let [to, from, mask] = operands else { return Ok(false) };
        let to = self.target(to, Kind::B32)?.slot;
        let (from, mask) = (self.value(from, Type::B32)?.slot, self.value(mask, Type::B32)?.slot);
        self.push(Op::Reduce { how, to, from, mask });
        Ok(true)
    }

    /// Registers of a fragment.
    fn registers(&mut self, operand: &Operand, count: usize, write: bool) -> Result<Vec<Place>> {
        let single = [operand.clone()];
        let list = match operand {
            Operand::List(list) => &list[..],
            _ => &single[..],
        };
        if list.len() != count {
            return self.unsupported(format!("a fragment of {} registers, {count} were expected", list.len()));
        }
        let mut places = Vec::new();
        for operand in list {
            places.push(match operand {
                Operand::Name(_) => self.register(operand)?,
                _ if write => return self.unsupported("a constant in the place of a result"),
                _ => self.value(operand, Type::B32)?,
            });
        }
        Ok(places)
    }

    fn mma(&mut self, mma: tensor::Mma, operands: &[Operand]) -> Result<bool> {
        let [d, a, b, c] = operands else { return Ok(false) };
        let counts = mma.registers();
        let a = self.registers(a, counts.0, false)?;
        let b = self.registers(b, counts.1, false)?;
        let c = self.registers(c, counts.2, false)?;
        let d = self.registers(d, counts.3, true)?;
        self.push(Op::Mma { mma, d, a, b, c });
        Ok(true)
    }

    fn wmma(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let (memory, store) = match tensor::Wmma::parse(&parts[1..]) {
            Some(tensor::Wmma::Multiply(mma)) => return self.mma(mma, operands),
            Some(tensor::Wmma::Load(memory)) => (memory, false),
            Some(tensor::Wmma::Store(memory)) => (memory, true),
            None => return Ok(false),
        };
        let (Some(first), Some(second)) = (operands.first(), operands.get(1)) else { return Ok(false) };
        let (list, address) = if store { (second, first) } else { (first, second) };
        let space = match memory.space {
            tensor::Space::Generic => Space::Generic,
            tensor::Space::Global => Space::Global,
            tensor::Space::Shared => Space::Shared,
        };
        let registers = self.registers(list, memory.fragment.registers(), !store)?;
        let access = self.access(space, memory.fragment.elem.bytes() as u8, 1, address, PLAIN)?;
        let stride = match operands.get(2) {
            Some(stride) => self.value(stride, Type::U32)?.slot,
            None => self.constant32(memory.default_stride() as u32),
        };
        self.push(Op::Fragment { memory, access, stride, store, registers });
        Ok(true)
    }

    fn move_matrix(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some(moves) = tensor::MatrixMove::parse(&parts[1..]) else { return Ok(false) };
        let store = parts[0] == "stmatrix";
        let (Some(first), Some(second)) = (operands.first(), operands.get(1)) else { return Ok(false) };
        let (list, address) = if store { (second, first) } else { (first, second) };
        let registers = self.registers(list, moves.count, !store)?;
        let space = if moves.shared { Space::Shared } else { Space::Generic };
        let access: Access = self.access(space, 2, 1, address, PLAIN)?;
        self.push(Op::MoveMatrix { moves, access, store, registers });
        Ok(true)
    }
}
