//! One wave: a number of samples through all levels of a graph.

use gpu_core::Result as Done;
use rayon::prelude::*;

use super::plan::{Plan, Way};
use super::{Coverage, is_container};
use crate::dag::{Dag, Node, NodeId};
use crate::error::{ErrClass, Limits, Result};
use crate::kernels::{Arena, Form, GridBackend, HEAD, Instruction, Slot, Spill, step};
use crate::machine::Machine;
use crate::run::Sample;
use crate::value::Value;

/// For each sample the outputs of all programs.
pub(super) type Values = Vec<Vec<Result<Value>>>;

/// More than the fuel of any evaluation that a device does: operands and results of at most 1,024 cells with a weight of 5,
/// a few times for functions of each object.
const MOST_FUEL: u64 = 1 << 17;

/// Values of a node on the host.
enum Store {
    /// On the device, or nowhere any more.
    None,
    /// The same for all samples.
    Uniform(Result<Value>),
    /// For each sample, where the host has it.
    Each(Vec<Option<Result<Value>>>),
}

struct Wave<'a, B: GridBackend> {
    b: &'a B,
    dag: &'a Dag,
    plan: &'a Plan,
    samples: &'a [Sample],
    limits: &'a Limits,
    arena: Arena<B>,
    stores: Vec<Store>,
    /// Which values are containers, a node and sample each.
    containers: Vec<Vec<bool>>,
    /// Fuel of host evaluations, a node and sample each; none for what a device did.
    fuel: Vec<Vec<u64>>,
    coverage: Coverage,
}

/// Runs samples through the graph.
pub(super) fn wave<B: GridBackend>(
    b: &B,
    dag: &Dag,
    plan: &Plan,
    samples: &[Sample],
    limits: &Limits,
) -> Done<(Values, Coverage)> {
    let nodes = dag.nodes().len();
    let mut wave = Wave {
        b,
        dag,
        plan,
        samples,
        limits,
        arena: Arena::new(b, plan.slots, samples.len())?,
        stores: (0..nodes).map(|_| Store::None).collect(),
        containers: vec![Vec::new(); nodes],
        fuel: vec![Vec::new(); nodes],
        coverage: Coverage::default(),
    };
    let mut returned: Vec<Option<Vec<Result<Value>>>> = vec![None; nodes];
    for (level, dead) in plan.levels.iter().zip(&plan.last) {
        wave.level(level)?;
        for &id in level.iter().filter(|&&id| plan.returned[id as usize]) {
            wave.fetch(id)?;
            returned[id as usize] = Some((0..samples.len()).map(|s| wave.value(id, s)).collect());
        }
        for &id in dead {
            wave.stores[id as usize] = Store::None;
        }
    }
    let one = |s: usize| {
        let admitted = samples[s].admit(limits);
        let programs = 0..dag.programs().len();
        let outputs = programs.flat_map(|program| {
            if admitted.is_ok() && dag.runs_alone(program, limits, |id| wave.fuel_of(id, s)) {
                // Perhaps too much: the program alone tells.
                return dag.member_program(program).run(&samples[s], limits, false).returns;
            }
            let outputs = dag.outputs(program).iter();
            outputs.map(|&id| admitted.and_then(|()| read(returned[id as usize].as_deref(), s))).collect()
        });
        outputs.collect()
    };
    Ok(((0..samples.len()).into_par_iter().map(one).collect(), wave.coverage))
}

fn read(values: Option<&[Result<Value>]>, sample: usize) -> Result<Value> {
    values.and_then(|v| v.get(sample)).cloned().unwrap_or(Err(ErrClass::Type))
}

impl<B: GridBackend> Wave<'_, B> {
    fn fuel_of(&self, id: NodeId, sample: usize) -> u64 {
        self.fuel[id as usize].get(sample).or(self.fuel[id as usize].first()).copied().unwrap_or(MOST_FUEL)
    }

    /// The value of a node that [`fetch`](Self::fetch) has brought.
    fn value(&self, id: NodeId, sample: usize) -> Result<Value> {
        match &self.stores[id as usize] {
            Store::Uniform(value) => value.clone(),
            Store::Each(all) => all[sample].clone().unwrap_or(Err(ErrClass::Type)),
            Store::None => Err(ErrClass::Type),
        }
    }

    /// Brings a node's values to the host, where they are not there yet.
    fn fetch(&mut self, id: NodeId) -> Done<()> {
        let known = match &self.stores[id as usize] {
            Store::Uniform(..) => true,
            Store::Each(all) => all.iter().all(Option::is_some),
            Store::None => false,
        };
        let Some(slot) = self.plan.slot[id as usize].filter(|_| !known) else { return Ok(()) };
        let slots = self.arena.read(self.b, slot as usize)?;
        let mut all = match std::mem::replace(&mut self.stores[id as usize], Store::None) {
            Store::Each(all) => all,
            _ => vec![None; self.samples.len()],
        };
        for (own, slot) in all.iter_mut().zip(slots) {
            if let (None, Slot::Known(value)) = (&own, slot) {
                *own = Some(value);
            }
        }
        self.stores[id as usize] = Store::Each(all);
        Ok(())
    }

    /// What the definition of the node's function says for one sample, and its fuel.
    fn evaluate(&self, id: NodeId, sample: usize) -> (Result<Value>, u64) {
        let mut machine = Machine::new(self.limits);
        let all = |args: &[NodeId]| args.iter().map(|&a| self.value(a, sample)).collect::<Result<Vec<_>>>();
        let value = match &self.dag.nodes()[id as usize] {
            Node::Input(name) => Ok(self.samples[sample].get(name).clone()),
            Node::Literal(value) => Ok(value.clone()),
            Node::Prim(prim, args) => all(args).and_then(|args| machine.prim(*prim, &args)),
            Node::Call(callee, args) => self.value(*callee, sample).and_then(|f| machine.call_value(&f, &all(args)?)),
        };
        (value, machine.used())
    }

    fn level(&mut self, level: &[NodeId]) -> Done<()> {
        let mut instructions: Vec<Instruction> = Vec::new();
        let mut on_device: Vec<NodeId> = Vec::new();
        for &id in level {
            match &self.plan.ways[id as usize] {
                Way::Device(instruction) => {
                    instructions.push(*instruction);
                    on_device.push(id);
                }
                way => {
                    let uniform = matches!(way, Way::Constant);
                    self.on_host(id, uniform)?;
                }
            }
        }
        step(self.b, &mut self.arena, &instructions)?;
        for (id, instruction) in on_device.into_iter().zip(&instructions) {
            self.settle(id, instruction.target)?;
        }
        Ok(())
    }

    /// Evaluates a node on the host, and gives a device the values that it can hold.
    fn on_host(&mut self, id: NodeId, uniform: bool) -> Done<()> {
        let operands: Vec<NodeId> = self.dag.nodes()[id as usize].operands().collect();
        for &operand in &operands {
            self.fetch(operand)?;
        }
        let samples = self.samples.len();
        if uniform {
            let (value, used) = self.evaluate(id, 0);
            self.containers[id as usize] = vec![value.as_ref().is_ok_and(is_container); samples];
            self.fuel[id as usize] = vec![used];
            self.upload(id, &vec![Slot::Known(value.clone()); samples])?;
            self.stores[id as usize] = Store::Uniform(value);
            return Ok(());
        }
        let this = &*self;
        let all: Vec<_> = (0..samples).into_par_iter().map(|s| this.evaluate(id, s)).collect();
        if self.dag.nodes()[id as usize].is_call() {
            for s in 0..samples {
                self.count(id, &operands, s, Some(Spill::Function));
            }
        }
        self.containers[id as usize] = all.iter().map(|(v, _)| v.as_ref().is_ok_and(is_container)).collect();
        self.fuel[id as usize] = all.iter().map(|(_, used)| *used).collect();
        let slots: Vec<Slot> = all.iter().map(|(value, _)| Slot::Known(value.clone())).collect();
        self.upload(id, &slots)?;
        self.stores[id as usize] = Store::Each(all.into_iter().map(|(value, _)| Some(value)).collect());
        Ok(())
    }

    fn upload(&mut self, id: NodeId, slots: &[Slot]) -> Done<()> {
        match self.plan.slot[id as usize] {
            Some(slot) => self.arena.write(self.b, slot as usize, slots),
            None => Ok(()),
        }
    }

    /// Looks at what a device did for a node, and evaluates on the host what it left.
    fn settle(&mut self, id: NodeId, target: u32) -> Done<()> {
        let heads = self.arena.heads(self.b, target as usize)?;
        let operands: Vec<NodeId> = self.dag.nodes()[id as usize].operands().collect();
        let containers = Form::Grid as i32..=Form::Objects as i32;
        let mut kinds: Vec<bool> = heads
            .chunks_exact(HEAD)
            .map(|head| containers.contains(&head[0]) || head[0] == Form::Strips as i32)
            .collect();
        let spilled = |head: &[i32]| (head[0] == Form::Spilled as i32).then(|| Spill::of(head[1]));
        let spills: Vec<Option<Spill>> = heads.chunks_exact(HEAD).map(spilled).collect();
        let left: Vec<usize> = (0..spills.len()).filter(|&s| spills[s].is_some()).collect();
        let mut used = vec![MOST_FUEL; spills.len()];
        if !left.is_empty() {
            for &operand in &operands {
                self.fetch(operand)?;
            }
            let this = &*self;
            let values: Vec<_> = left.par_iter().map(|&s| (s, this.evaluate(id, s))).collect();
            let mut all = vec![None; spills.len()];
            for (s, (value, fuel)) in values {
                kinds[s] = value.as_ref().is_ok_and(is_container);
                used[s] = fuel;
                self.arena.write_one(self.b, target as usize, s, &Slot::Known(value.clone()))?;
                all[s] = Some(value);
            }
            self.stores[id as usize] = Store::Each(all);
        }
        for (s, spill) in spills.into_iter().enumerate() {
            self.count(id, &operands, s, spill);
        }
        self.containers[id as usize] = kinds;
        self.fuel[id as usize] = used;
        Ok(())
    }

    fn count(&mut self, id: NodeId, operands: &[NodeId], sample: usize, spill: Option<Spill>) {
        let counts = operands.iter().any(|&o| self.containers[o as usize].get(sample) == Some(&true));
        self.coverage.count(self.dag.nodes()[id as usize].opcode(), counts, spill);
    }
}
