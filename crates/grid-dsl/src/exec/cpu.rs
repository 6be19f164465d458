//! The fast CPU back end: values in fixed layouts, samples and the nodes of a level over threads.

use std::sync::Mutex;

use rayon::prelude::*;

use super::{Backend, Cache, Counted, Moments, Options, Output, Plan, Profile, RunResult, refused};
use crate::dag::{Batch, Dag, Node, NodeId};
use crate::error::{ErrClass, Limits, Result};
use crate::fast::{Fast, Val, Wide};
use crate::lang::{Argument, Callee, Program};
use crate::patterns::{Found, Patterns, detect};
use crate::prim::Prim;
use crate::run::{Outcome, Sample};
use crate::value::Value;

/// The fast CPU back end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// The value of a node on one sample, and the fuel that its call took.
type Slot = (Result<Val>, u64);

/// Levels with fewer nodes are not worth the threads.
const WIDE: usize = 16;

/// Results that took fewer visits are computed again. Kept values lie between those that go, which makes memory slower for all:
/// the 400 solvers of arc-dsl take a third longer with these than without any, and twice as long with an eighth of these visits.
const WORTH_KEEPING: u64 = 1 << 14;

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn call(&self, prim: Prim, args: &[Value], limits: &Limits) -> Result<Value> {
        let args: Vec<Val> = args.iter().map(Val::from).collect();
        Fast::new(limits).prim(prim, &args.iter().collect::<Vec<_>>()).map(|value| value.to_value())
    }

    fn program(&self, program: &Program, sample: &Sample, limits: &Limits, strict: bool) -> Outcome {
        run_program(program, sample, limits, strict)
    }

    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, cache: &Cache, profile: &mut Profile) -> RunResult {
        let samples = batch.samples();
        let run = Run::new(dag, opts, cache, samples.len() < opts.spread_below);
        let mut outputs = Vec::with_capacity(samples.len());
        let (mut counted, finished) = (Counted::new(), Moments::default());
        // Without a budget all samples are in progress at once, as far as there are threads.
        let mut at_once = opts.max_batch.unwrap_or(samples.len()).max(1);
        profile.parts = 0;
        let threads = rayon::current_num_threads();
        while outputs.len() < samples.len() {
            let first = opts.memory.is_some() && outputs.is_empty();
            let end = samples.len().min(outputs.len() + if first { 1 } else { at_once });
            let part = &samples[outputs.len()..end];
            // One at a time: some take a hundred times as long as others.
            let each = part.par_iter().with_max_len(1);
            let done: Vec<(Vec<Result<Output>>, Counted)> =
                each.map(|sample| run.sample(sample)).inspect(|_| finished.done(1)).collect();
            for (of_sample, counts) in done {
                outputs.push(of_sample);
                counted.add(&counts);
            }
            profile.parts += 1;
            profile.high_water_bytes = profile.high_water_bytes.max(counted.bytes * part.len().min(threads));
            if let Some(memory) = opts.memory {
                at_once = (memory / counted.bytes.max(1)).clamp(1, opts.max_batch.unwrap_or(usize::MAX).max(1));
            }
        }
        counted.report(profile);
        run.report(&counted, samples.len(), profile);
        profile.finished = finished.all();
        RunResult::new(outputs, (0..dag.programs().len()).map(|program| dag.outputs(program).len()))
    }
}

/// A graph, prepared.
pub(crate) struct Run<'r> {
    dag: &'r Dag,
    plan: Plan,
    opts: &'r Options,
    cache: &'r Cache,
    literals: Vec<Option<Val>>,
    /// For each node the key of its expression and the inputs that it reads, as bits.
    keys: Vec<(u128, u8)>,
    /// Whether the nodes of a level are spread over threads, too.
    spread: bool,
    /// The patterns whose time is told apart, and each node's place in [`Pattern::ALL`]; no entries where there are none.
    found: Vec<Found>,
    pattern_of: Vec<Option<u8>>,
    /// Evaluators between samples.
    idle: Mutex<Vec<Fast<'r>>>,
}

impl<'r> Run<'r> {
    pub(crate) fn new(dag: &'r Dag, opts: &'r Options, cache: &'r Cache, spread: bool) -> Self {
        let literal = |node: &Node| if let Node::Literal(value) = node { Some(Val::from(value)) } else { None };
        let keys = if cache.is_off() { Vec::new() } else { expression_keys(dag, &opts.limits) };
        let found = if opts.patterns == Patterns::NONE { Vec::new() } else { detect(dag, opts.patterns) };
        let mut pattern_of = if found.is_empty() { Vec::new() } else { vec![None; dag.nodes().len()] };
        for found in &found {
            found.nodes().iter().for_each(|&id| pattern_of[id as usize] = Some(found.pattern() as u8));
        }
        Self {
            plan: Plan::new(dag),
            literals: dag.nodes().iter().map(literal).collect(),
            dag,
            opts,
            cache,
            keys,
            spread: spread && rayon::current_num_threads() > 1,
            found,
            pattern_of,
            idle: Mutex::default(),
        }
    }

    /// An evaluator without any results.
    fn fast(&self) -> Fast<'r> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| Fast::new(&self.opts.limits))
    }

    /// An evaluator is not needed any more.
    fn done(&self, mut fast: Fast<'r>, counted: &mut Counted) {
        counted.generic(&fast);
        fast.forget();
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(fast);
        }
    }

    fn sample(&self, sample: &Sample) -> (Vec<Result<Output>>, Counted) {
        let mut counted = Counted::new();
        if let Some(class) = refused(sample, &self.opts.limits) {
            return (self.dag.all_outputs().map(|_| Err(class)).collect(), counted);
        }
        let inputs = Inputs::new(sample, &self.keys);
        let slots = if self.spread {
            self.level_by_level(&inputs, &mut counted)
        } else {
            self.node_by_node(&inputs, |_| true, &mut counted)
        };
        let outputs = (0..self.dag.programs().len()).flat_map(|p| self.outputs(p, &slots, sample, &mut counted));
        let outputs = outputs.collect();
        (outputs, counted)
    }

    /// What patterns took on all samples.
    fn report(&self, counted: &Counted, samples: usize, profile: &mut Profile) {
        for found in &self.found {
            let pattern = profile.patterns.entry(found.pattern().name()).or_default();
            pattern.found += 1;
            pattern.nodes += found.nodes().len() as u64;
            pattern.computed += samples as u64;
            pattern.seconds = counted.patterns[found.pattern() as usize] as f64 * 1e-9;
        }
    }

    /// All nodes, those of a level side by side.
    fn level_by_level(&self, inputs: &Inputs, counted: &mut Counted) -> Vec<Slot> {
        let mut values = Values::new(self.dag.nodes().len());
        let mut fast = self.fast();
        for level in &self.plan.levels {
            if level.len() < WIDE {
                counted.start();
                for &id in level {
                    let slot = self.node(id, &values.slots, inputs, &mut fast, counted);
                    values.put(id, slot);
                }
            } else {
                let parts: Vec<(Vec<(NodeId, Slot)>, Counted)> = level
                    .par_chunks(level.len().div_ceil(4 * rayon::current_num_threads()).max(4))
                    .map(|part| {
                        let (mut fast, mut counted) = (self.fast(), Counted::new());
                        let one = |&id: &NodeId| (id, self.node(id, &values.slots, inputs, &mut fast, &mut counted));
                        let done = part.iter().map(one).collect();
                        self.done(fast, &mut counted);
                        (done, counted)
                    })
                    .collect();
                for (done, counts) in parts {
                    counted.add(&counts);
                    for (id, slot) in done {
                        values.put(id, slot);
                    }
                }
            }
            // What nothing reads any more goes, so that a sample's memory is that of its widest level.
            values.forget(&self.plan.last_in_level[self.dag.level(level[0]) as usize]);
        }
        self.done(fast, counted);
        counted.bytes = counted.bytes.max(values.most);
        values.slots
    }

    /// The nodes of a graph that are needed, one behind the other: what a node reads was mostly computed shortly before, and is
    /// in the processor's caches still; what nothing reads any more goes at once.
    fn node_by_node(&self, inputs: &Inputs, needed: impl Fn(usize) -> bool, counted: &mut Counted) -> Vec<Slot> {
        let mut values = Values::new(self.dag.nodes().len());
        let mut fast = self.fast();
        counted.start();
        for (id, last) in self.plan.last_in_node.iter().enumerate().filter(|(id, _)| needed(*id)) {
            let slot = self.node(id as NodeId, &values.slots, inputs, &mut fast, counted);
            values.put(id as NodeId, slot);
            values.forget(last);
        }
        self.done(fast, counted);
        counted.bytes = counted.bytes.max(values.most);
        values.slots
    }

    /// The outputs of some programs on one sample: only what they need is computed.
    pub(crate) fn some(&self, sample: &Sample, programs: &[u32], counted: &mut Counted) -> Vec<Vec<Result<Output>>> {
        let all = || programs.iter().map(|&program| program as usize);
        if let Some(class) = refused(sample, &self.opts.limits) {
            return all().map(|program| self.dag.outputs(program).iter().map(|_| Err(class)).collect()).collect();
        }
        let needed = self.dag.needed(all());
        let inputs = Inputs::new(sample, &self.keys);
        let slots = self.node_by_node(&inputs, |id| needed[id], counted);
        all().map(|program| self.outputs(program, &slots, sample, counted)).collect()
    }

    /// One node, from the cache or computed.
    fn node(&self, id: NodeId, slots: &[Slot], inputs: &Inputs, fast: &mut Fast, counted: &mut Counted) -> Slot {
        let node = &self.dag.nodes()[id as usize];
        let (callee, args) = match node {
            Node::Input(name) => return (Ok(inputs.get(name).clone()), 0),
            Node::Literal(_) => {
                return (self.literals[id as usize].clone().ok_or(ErrClass::Type), 0);
            }
            Node::Prim(_, args) => (None, args),
            Node::Call(callee, args) => (Some(*callee), args),
        };
        let key = self.keys.get(id as usize).map(|(key, reads)| inputs.key(*key, *reads));
        let known = key.and_then(|key| self.cache.get(key));
        let slot = known.unwrap_or_else(|| {
            fast.refill(id);
            let value = evaluate(node, callee, args, slots, fast);
            let used = fast.m.used();
            if let Some(key) = key.filter(|_| used >= WORTH_KEEPING) {
                self.cache.put(key, &value, used);
            }
            (value, used)
        });
        let container = node.operands().any(|operand| is_container(&slots[operand as usize].0));
        let nanos = counted.node(node, self.dag.level(id), slot.0.is_err(), container);
        if let Some(pattern) = self.pattern_of.get(id as usize).copied().flatten() {
            counted.patterns[usize::from(pattern)] += nanos;
        }
        slot
    }

    /// The outputs of one program. Nodes were computed with all the fuel each; where the lines together used more than there
    /// is, those after it ended fail. A program that was rewritten runs again, alone, to fail where it must.
    fn outputs(&self, program: usize, slots: &[Slot], sample: &Sample, counted: &mut Counted) -> Vec<Result<Output>> {
        if self.dag.runs_alone(program, &self.opts.limits, |id| slots[id as usize].1) {
            let slot = |id: NodeId| (slots[id as usize].0.as_ref().err().copied(), slots[id as usize].1);
            if let Some(failed) = self.dag.short_of_fuel(program, &self.opts.limits, slot) {
                let class = |id: &NodeId| failed.iter().find(|(of, _)| of == id).map(|(_, class)| *class);
                let outputs = self.dag.outputs(program).iter();
                let output = |id| class(id).map_or_else(|| slots[*id as usize].0.clone().map(Output::fast), Err);
                return outputs.map(output).collect();
            }
            counted.reruns += 1;
            let outcome = run_program(self.dag.member_program(program), sample, &self.opts.limits, false);
            return outcome.returns.into_iter().map(|r| r.map(Output::Value)).collect();
        }
        let outputs = self.dag.outputs(program).iter();
        outputs.map(|&id| slots[id as usize].0.clone().map(Output::fast)).collect()
    }
}

/// Values of nodes, and what they take together.
struct Values {
    slots: Vec<Slot>,
    bytes: usize,
    most: usize,
}

impl Values {
    fn new(nodes: usize) -> Self {
        Self { slots: vec![(Err(ErrClass::Type), 0); nodes], bytes: 0, most: 0 }
    }

    fn put(&mut self, id: NodeId, slot: Slot) {
        self.bytes += slot.0.as_ref().map_or(0, Val::bytes);
        self.most = self.most.max(self.bytes);
        self.slots[id as usize] = slot;
    }

    /// What failed is still known to have failed.
    fn forget(&mut self, nodes: &[NodeId]) {
        for &id in nodes {
            if let Ok(value) = &mut self.slots[id as usize].0 {
                self.bytes -= value.bytes();
                *value = Val::None;
            }
        }
    }
}

/// Whether a value is a grid, a patch or another container but a pair.
pub(crate) fn is_container(value: &Result<Val>) -> bool {
    value.as_ref().is_ok_and(|v| v.is_set() || (v.is_tuple() && v.as_pair().is_none()))
}

/// Calls what a node calls, unless an operand failed: then the leftmost failure is the node's.
fn evaluate(node: &Node, callee: Option<NodeId>, args: &[NodeId], slots: &[Slot], fast: &mut Fast) -> Result<Val> {
    let read = |id: NodeId| slots[id as usize].0.as_ref().map_err(|class| *class);
    let function = callee.map(read).transpose()?;
    // All primitives take at most four arguments; a call may have more, to fail.
    let mut few: [&Val; 4] = [&Val::None; 4];
    let many: Vec<&Val>;
    let args: &[&Val] = if args.len() <= few.len() {
        for (place, &id) in few.iter_mut().zip(args) {
            *place = read(id)?;
        }
        &few[..args.len()]
    } else {
        many = args.iter().map(|&id| read(id)).collect::<Result<_>>()?;
        &many
    };
    match (node, function) {
        (Node::Prim(prim, _), _) => fast.prim(*prim, args),
        (_, Some(function)) => fast.call(function, args),
        _ => Err(ErrClass::Type),
    }
}

/// The inputs of a sample, with their digests where there is a cache.
struct Inputs {
    values: [Val; 3],
    digests: Option<[u128; 3]>,
}

fn input_number(name: &str) -> usize {
    match name {
        "S" => 1,
        "C" => 2,
        _ => 0,
    }
}

impl Inputs {
    fn new(sample: &Sample, keys: &[(u128, u8)]) -> Self {
        let values = [&sample.input, &sample.samples, &sample.candidate].map(Val::from);
        let reads = keys.iter().fold(0, |all, (_, reads)| all | reads);
        let digest = |k: usize| if reads >> k & 1 == 1 { values[k].wide_digest() } else { 0 };
        let digests = (!keys.is_empty()).then(|| [digest(0), digest(1), digest(2)]);
        Self { values, digests }
    }

    fn get(&self, name: &str) -> &Val {
        &self.values[input_number(name)]
    }

    /// The key of an expression on these inputs.
    fn key(&self, expression: u128, reads: u8) -> u128 {
        let mut hash = Wide(expression);
        for (k, digest) in self.digests.iter().flatten().enumerate() {
            if reads >> k & 1 == 1 {
                hash.bytes(&digest.to_le_bytes());
            }
        }
        hash.0
    }
}

/// Keys of expressions: what is called, on which expressions, within which limits.
fn expression_keys(dag: &Dag, limits: &Limits) -> Vec<(u128, u8)> {
    let mut within = Wide::default();
    within.bytes(format!("{limits:?}").as_bytes());
    let mut keys: Vec<(u128, u8)> = Vec::with_capacity(dag.nodes().len());
    for node in dag.nodes() {
        let mut hash = within;
        let mut reads = 0;
        match node {
            Node::Input(name) => {
                hash.bytes(b"input ");
                reads = 1 << input_number(name);
            }
            Node::Literal(value) => {
                hash.bytes(b"literal ");
                hash.bytes(value.to_text().as_bytes());
            }
            Node::Prim(..) | Node::Call(..) => {}
        }
        hash.bytes(node.opcode().as_bytes());
        for operand in node.operands() {
            let (key, of_operand) = keys[operand as usize];
            hash.bytes(&key.to_le_bytes());
            reads |= of_operand;
        }
        keys.push((hash.0, reads));
    }
    keys
}

/// As [`Program::run`], on values in fixed layouts.
pub(crate) fn run_program(program: &Program, sample: &Sample, limits: &Limits, strict: bool) -> Outcome {
    let mut fast = Fast::new(limits);
    let admitted = refused(sample, limits).map_or(Ok(()), Err);
    let inputs = Inputs::new(sample, &[]);
    let needed = if strict { vec![true; program.lines().len()] } else { program.needed() };
    let mut lines: Vec<Option<Result<Val>>> = Vec::with_capacity(program.lines().len());
    for (number, (line, needed)) in (0..).zip(program.lines().iter().zip(needed)) {
        fast.at(number);
        let value = needed.then(|| {
            admitted?;
            let function = match line.callee {
                Callee::Prim(_) => None,
                Callee::Line(at) => Some(line_value(&lines, at)?),
            };
            let args = line.args.iter().map(|a| argument(a, &lines, &inputs)).collect::<Result<Vec<Val>>>()?;
            let args: Vec<&Val> = args.iter().collect();
            match (&line.callee, function) {
                (Callee::Prim(prim), _) => fast.prim(*prim, &args),
                (_, Some(function)) => fast.call(&function, &args),
                _ => Err(ErrClass::Type),
            }
        });
        lines.push(value);
    }
    let returned = program.returns().iter().map(|a| admitted.and_then(|()| argument(a, &lines, &inputs)));
    let returned: Vec<Result<Value>> = returned.map(|v| v.map(|v| v.to_value())).collect();
    let lines = lines.into_iter().map(|line| line.map(|value| value.map(|v| v.to_value()))).collect();
    let mut outcome = Outcome { returns: returned, lines, used: fast.m.used() };
    if let Some((_, class)) = outcome.first_failure().filter(|_| strict) {
        outcome.returns.iter_mut().for_each(|value| *value = Err(class));
    }
    outcome
}

fn line_value(lines: &[Option<Result<Val>>], at: usize) -> Result<Val> {
    // A line that was passed over is not asked for.
    lines.get(at).cloned().flatten().unwrap_or(Err(ErrClass::Type))
}

fn argument(argument: &Argument, lines: &[Option<Result<Val>>], inputs: &Inputs) -> Result<Val> {
    match argument {
        Argument::Line(at) => line_value(lines, *at),
        Argument::Input(name) => Ok(inputs.get(name).clone()),
        literal => literal.literal().map(|value| Val::from(&value)).ok_or(ErrClass::Type),
    }
}
