//! From the tree to the compact form: names become registers, offsets and addresses; calls are put in place.

mod arithmetic;
mod bits;
mod control;
mod convert;
mod half;
mod mbarrier;
mod memory;
mod modifiers;
mod moves;
mod names;
mod scalar;
mod special;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::special::special;
use crate::allocate::allocate;
use crate::program::{CONSTANT, Guard, Kind, Op, Place, Program, Slot, Step};
use crate::ptx::{Function, Instruction, Module, Operand, Space, Statement, Type};

/// What cannot be executed, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    pub(crate) line: u32,
    pub(crate) why: String,
}

type Result<T> = std::result::Result<T, Unsupported>;

/// What a name stands for.
#[derive(Clone, Debug)]
enum Named {
    Register(Kind, Slot),
    /// The first of so many registers.
    Registers(Kind, Slot, u32),
    /// A variable at an offset of its space, or at an address.
    Variable(Space, u64),
    Targets(Vec<String>),
}

/// Names of one function, and of the braces inside it.
#[derive(Default)]
struct Scope {
    names: Vec<HashMap<String, Named>>,
    /// Of each brace.
    labels: Vec<HashMap<String, usize>>,
}

/// Instructions of a kernel, with those of all that it calls.
const MOST_STEPS: usize = 1 << 19;
/// Bytes of parameters that a launch can have.
const MOST_PARAMETERS: u64 = 32_764;

struct Lower<'m> {
    module: &'m Module,
    /// Where the module's variables in device memory are.
    addresses: &'m HashMap<String, u64>,
    steps: Vec<Step>,
    counts: [u32; 3],
    constants32: Vec<[u32; 32]>,
    constants64: Vec<[u64; 32]>,
    known32: HashMap<u32, Slot>,
    known64: HashMap<u64, Slot>,
    scope: Scope,
    /// Positions of labels, by number; branches hold the number until the end.
    labels: Vec<Option<u32>>,
    parameters: Vec<(u32, u32)>,
    shared: u32,
    shared_align: u32,
    shared_names: HashMap<String, u64>,
    dynamic_names: HashSet<String>,
    local: u64,
    /// Where `ret` leads inside of a call, and how deep calls are nested.
    leave: Option<usize>,
    depth: usize,
    guard: Option<Guard>,
    line: u32,
    source: u32,
    sources: Vec<crate::ptx::Source>,
    source_base: u32,
    carry: Slot,
    shared_granule: u8,
    global_granule: u8,
    exact: bool,
}

/// Compiles one entry.
pub(crate) fn entry(
    module: &Module,
    name: &str,
    addresses: &HashMap<String, u64>,
    text: &Arc<Vec<String>>,
) -> Result<Program> {
    let none = Unsupported { line: 0, why: format!("there is no entry {name}") };
    let function = module.functions.iter().find(|f| f.is_entry && f.name == name).ok_or(none)?;
    let mut lower = Lower {
        module,
        addresses,
        steps: Vec::new(),
        counts: [0, 0, 1],
        constants32: Vec::new(),
        constants64: Vec::new(),
        known32: HashMap::new(),
        known64: HashMap::new(),
        scope: Scope::default(),
        labels: Vec::new(),
        parameters: Vec::new(),
        shared: 0,
        shared_align: 16,
        shared_names: HashMap::new(),
        dynamic_names: HashSet::new(),
        local: 0,
        leave: None,
        depth: 0,
        guard: None,
        line: function.line,
        source: 0,
        sources: Vec::new(),
        source_base: 0,
        carry: 0,
        shared_granule: 4,
        global_granule: 4,
        exact: false,
    };
    lower.place_shared(function)?;
    let mut scope = HashMap::new();
    let mut offset = 0u64;
    for parameter in &function.parameters {
        offset = offset.next_multiple_of(parameter.align as u64);
        scope.insert(parameter.name.clone(), Named::Variable(Space::Param, offset));
        lower.parameters.push((offset as u32, parameter.size as u32));
        offset = offset.saturating_add(parameter.size as u64);
        if offset > MOST_PARAMETERS {
            return lower.unsupported(format!("more than {MOST_PARAMETERS} bytes of parameters"));
        }
    }
    lower.scope.names.push(scope);
    lower.body(function)?;
    lower.push(Op::Exit);
    lower.finish(function, offset as u32, text)
}

impl Lower<'_> {
    fn unsupported<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(Unsupported { line: self.line, why: why.into() })
    }

    fn push(&mut self, op: Op) {
        self.steps.push(Step { op, guard: self.guard, line: self.line, source: self.source });
    }

    fn fresh(&mut self, kind: Kind) -> Slot {
        let i = match kind {
            Kind::B32 => 0,
            Kind::B64 => 1,
            Kind::Predicate => 2,
        };
        self.counts[i] += 1;
        self.counts[i] - 1
    }

    fn temporary(&mut self, kind: Kind) -> Place {
        Place { kind, slot: self.fresh(kind) }
    }

    fn constant32(&mut self, value: u32) -> Slot {
        if let Some(&slot) = self.known32.get(&value) {
            return slot;
        }
        let slot = CONSTANT | self.constants32.len() as u32;
        self.constants32.push([value; 32]);
        self.known32.insert(value, slot);
        slot
    }

    fn constant64(&mut self, value: u64) -> Slot {
        if let Some(&slot) = self.known64.get(&value) {
            return slot;
        }
        let slot = CONSTANT | self.constants64.len() as u32;
        self.constants64.push([value; 32]);
        self.known64.insert(value, slot);
        slot
    }

    fn constant(&mut self, kind: Kind, value: u64) -> Place {
        let slot = match kind {
            Kind::B64 => self.constant64(value),
            Kind::B32 => self.constant32(value as u32),
            Kind::Predicate => self.constant32(if value == 0 { 0 } else { u32::MAX }),
        };
        Place { kind, slot }
    }

    fn label(&mut self, name: &str) -> usize {
        if let Some(&label) = self.scope.labels.iter().rev().find_map(|labels| labels.get(name)) {
            return label;
        }
        // One that is not there, which is told at the end.
        self.labels.push(None);
        self.labels.len() - 1
    }

    /// Makes the labels known that stand between two braces.
    fn open_labels(&mut self, inside: &[Statement]) {
        let (mut depth, mut labels) = (0, HashMap::new());
        for statement in inside {
            match statement {
                Statement::Open => depth += 1,
                Statement::Close if depth == 0 => break,
                Statement::Close => depth -= 1,
                Statement::Label(name) if depth == 0 => {
                    labels.insert(name.clone(), self.labels.len());
                    self.labels.push(None);
                }
                _ => {}
            }
        }
        self.scope.labels.push(labels);
    }

    fn body(&mut self, function: &Function) -> Result<()> {
        if let Some(e) = &function.unsupported {
            return Err(Unsupported { line: e.line, why: e.why.clone() });
        }
        let before = (self.source_base, self.guard);
        self.source_base = self.sources.len() as u32;
        self.sources.extend(&function.sources);
        self.open_labels(&function.body);
        for (i, statement) in function.body.iter().enumerate() {
            match statement {
                Statement::Label(name) => {
                    let label = self.label(name);
                    self.labels[label] = Some(self.steps.len() as u32);
                }
                Statement::Instruction(instruction) => self.one(instruction)?,
                Statement::Registers(ty, name, count) => self.declare(*ty, name, *count)?,
                Statement::Variable(variable) => self.variable(variable)?,
                Statement::Open => {
                    self.scope.names.push(HashMap::new());
                    self.open_labels(&function.body[i + 1..]);
                }
                Statement::Close => {
                    self.scope.names.pop();
                    self.scope.labels.pop();
                }
                Statement::Targets(name, targets) => self.name(name, Named::Targets(targets.clone())),
            }
        }
        (self.source_base, self.guard) = before;
        Ok(())
    }

    fn one(&mut self, instruction: &Instruction) -> Result<()> {
        self.line = instruction.line;
        self.source = if instruction.source == 0 { 0 } else { self.source_base + instruction.source };
        let outer = self.guard;
        if let Some((name, negated)) = &instruction.guard {
            let Some(Named::Register(Kind::Predicate, slot)) = self.find(name) else {
                return self.unsupported(format!("{name} is no predicate"));
            };
            self.guard = Some(Guard { slot, negated: *negated });
        }
        let parts: Vec<&str> = instruction.opcode.split('.').collect();
        if let Some(part) = modifiers::unknown(&parts) {
            return self.unsupported(format!("{part} in {}", instruction.opcode));
        }
        if self.steps.len() > MOST_STEPS {
            return self.unsupported(format!("more than {MOST_STEPS} instructions, calls put in place"));
        }
        let done = self.instruction(&parts, &instruction.operands);
        self.guard = outer;
        match done {
            Ok(true) => Ok(()),
            Ok(false) => self.unsupported(format!("instruction {}", instruction.opcode)),
            Err(e) => Err(e),
        }
    }

    /// Tries each family of instructions.
    fn instruction(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        Ok(self.control(parts, operands)?
            || self.memory(parts, operands)?
            || self.moves(parts, operands)?
            || self.convert(parts, operands)?
            || self.arithmetic(parts, operands)?
            || self.bits(parts, operands)?)
    }

    // Operands.

    fn register(&mut self, operand: &Operand) -> Result<Place> {
        match operand {
            Operand::Name(name) if name == "_" => Ok(self.temporary(Kind::B64)),
            Operand::Name(name) => match self.find(name) {
                Some(Named::Register(kind, slot)) => Ok(Place { kind, slot }),
                _ => self.unsupported(format!("{name} is no register")),
            },
            _ => self.unsupported(format!("a register was expected, not {operand:?}")),
        }
    }

    /// A register that a result of this kind can go to.
    fn target(&mut self, operand: &Operand, kind: Kind) -> Result<Place> {
        if *operand == Operand::Name("_".into()) {
            return Ok(self.temporary(kind));
        }
        let place = self.register(operand)?;
        if place.kind == kind { Ok(place) } else { self.unsupported("a register of another width was expected") }
    }

    /// A value of a type; constants in its width.
    fn value(&mut self, operand: &Operand, ty: Type) -> Result<Place> {
        let kind = match ty {
            Type::Pred => Kind::Predicate,
            _ if ty.bytes() == 8 => Kind::B64,
            _ => Kind::B32,
        };
        let bits = match operand {
            Operand::Integer(value) if ty.bits() < 64 => value & ((1 << ty.bits()) - 1),
            Operand::Integer(value) => *value,
            Operand::Single(bits) if ty == Type::F64 => f64::from(f32::from_bits(*bits)).to_bits(),
            Operand::Single(bits) => (*bits).into(),
            Operand::Double(bits) if ty == Type::F32 => (f64::from_bits(*bits) as f32).to_bits().into(),
            Operand::Double(bits) => *bits,
            Operand::Name(name) => return self.named_value(name, kind, 0),
            Operand::Sum(name, offset) => return self.named_value(name, kind, *offset),
            _ => return self.unsupported(format!("operand {operand:?}")),
        };
        Ok(self.constant(kind, bits))
    }

    fn named_value(&mut self, name: &str, kind: Kind, offset: i64) -> Result<Place> {
        match self.find(name) {
            Some(Named::Register(found, slot)) if found == kind => Ok(Place { kind, slot }),
            Some(Named::Register(Kind::B64, slot)) if kind == Kind::B32 => {
                let to = self.fresh(Kind::B32);
                self.push_unguarded(Op::Convert(crate::program::Convert::Low, to, slot));
                Ok(Place { kind, slot: to })
            }
            Some(Named::Register(..)) => self.unsupported(format!("{name} has another width")),
            Some(Named::Variable(_, at)) => Ok(self.constant(kind, at.wrapping_add(offset as u64))),
            _ => match special(name) {
                Some((what, found)) => {
                    let to = self.temporary(found);
                    self.push_unguarded(Op::Special(what, to));
                    if found == kind {
                        return Ok(to);
                    }
                    let out = self.temporary(kind);
                    let how =
                        if kind == Kind::B64 { crate::program::Convert::Zero } else { crate::program::Convert::Low };
                    self.push_unguarded(Op::Convert(how, out.slot, to.slot));
                    Ok(out)
                }
                None => self.unsupported(format!("{name} is not known")),
            },
        }
    }

    /// A temporary is written by all lanes.
    fn push_unguarded(&mut self, op: Op) {
        let guard = self.guard.take();
        self.push(op);
        self.guard = guard;
    }

    fn finish(mut self, function: &Function, parameter_bytes: u32, text: &Arc<Vec<String>>) -> Result<Program> {
        let mut steps = std::mem::take(&mut self.steps);
        for step in &mut steps {
            let resolve = |label: u32| self.labels[label as usize];
            match &mut step.op {
                Op::Branch(target) => match resolve(*target) {
                    Some(at) => *target = at,
                    None => {
                        return Err(Unsupported {
                            line: step.line,
                            why: "a branch to a label that is not there".into(),
                        });
                    }
                },
                Op::BranchIndex(_, targets) => {
                    let all: Option<Vec<u32>> = targets.iter().map(|&target| resolve(target)).collect();
                    match all {
                        Some(all) => *targets = all.into(),
                        None => {
                            return Err(Unsupported {
                                line: step.line,
                                why: "a table names a label that is not there".into(),
                            });
                        }
                    }
                }
                _ => {}
            }
        }
        let registers = allocate(&mut steps, self.counts);
        Ok(Program {
            name: function.name.clone(),
            steps,
            registers,
            constants32: self.constants32,
            constants64: self.constants64,
            parameters: self.parameters,
            parameter_bytes,
            shared: self.shared,
            shared_end: self.shared.next_multiple_of(self.shared_align),
            local: (self.local as u32).next_multiple_of(16),
            most_threads: function.most_threads.unwrap_or(1024),
            shared_granule: self.shared_granule,
            global_granule: self.global_granule,
            exact: self.exact,
            sources: self.sources,
            files: self.module.files.clone(),
            text: Arc::clone(text),
        })
    }
}
