//! A wave of programs that a device evaluates altogether: nothing goes back and forth between levels.

use std::time::Instant;

use gpu_core::Result as Done;
use rayon::prelude::*;

use super::super::maps::Map;
use super::{MOST_FUEL, Wave};
use crate::dag::{Dag, Node, NodeId, OVERHEAD};
use crate::device::plan::{Plan, Way};
use crate::device::{Counted, Coverage};
use crate::error::{Limits, Result};
use crate::exec::Output;
use crate::kernels::{GridBackend, Instruction, Tallied, step, tally};
use crate::run::Sample;

/// What a device found for one sample.
#[derive(Default)]
pub(in crate::device) struct Known {
    /// Outputs of the programs that have all of theirs, one program after the other.
    pub(in crate::device) outputs: Vec<Result<Output>>,
    /// Programs that lack one: a value on the way had no form on the device.
    pub(in crate::device) redo: Vec<u32>,
}

/// Runs samples through a graph whose nodes are inputs, constants, operations and maps of the device, and functions of maps.
pub(in crate::device) fn whole<B: GridBackend>(
    b: &B,
    dag: &Dag,
    plan: &Plan,
    samples: &[Sample],
    limits: &Limits,
) -> Done<(Vec<Known>, Coverage)> {
    let started = Instant::now();
    let mut wave = Wave::new(b, dag, plan, samples, limits)?;
    for (number, (level, dead)) in plan.levels.iter().zip(&plan.last).enumerate() {
        let begun = Instant::now();
        wave.counts_calls(level);
        wave.operations(level)?;
        wave.read_returned(level)?;
        wave.took(number as u32, begun.elapsed(), level);
        wave.release(dead);
    }
    let this = &wave;
    // Perhaps too much fuel: the CPU tells.
    let unsure = |program| dag.runs_alone(program, limits, |id| this.held[id as usize].fuel + OVERHEAD);
    let unsure: Vec<bool> = (0..dag.programs().len()).map(unsure).collect();
    let one = |s: usize| {
        let admitted = samples[s].admit(limits);
        let mut known = Known::default();
        for (program, &unsure) in unsure.iter().enumerate() {
            let outputs = dag.outputs(program);
            let value = |&id: &NodeId| this.held[id as usize].get(s);
            match admitted {
                Err(class) => known.outputs.extend(outputs.iter().map(|_| Err(class))),
                Ok(()) if unsure || outputs.iter().any(|id| value(id).is_none()) => known.redo.push(program as u32),
                Ok(()) => {
                    let values = outputs.iter().filter_map(value).cloned();
                    known.outputs.extend(values.map(|value| value.map(Output::fast)));
                }
            }
        }
        known
    };
    let known = (0..samples.len()).into_par_iter().map(one).collect();
    let mut coverage = std::mem::take(&mut wave.coverage);
    coverage.forget_host();
    coverage.device_seconds = started.elapsed().as_secs_f64();
    Ok((known, coverage))
}

impl<B: GridBackend> Wave<'_, B> {
    /// Evaluates a level on the device.
    fn operations(&mut self, level: &[NodeId]) -> Done<()> {
        let (mut instructions, mut nodes): (Vec<Instruction>, Vec<NodeId>) = Default::default();
        let mut maps: Vec<(NodeId, &Map)> = Vec::new();
        let plan = self.plan;
        for &id in level {
            match &plan.ways[id as usize] {
                Way::Device(instruction) => {
                    instructions.push(*instruction);
                    nodes.push(id);
                }
                Way::Map(map) => maps.push((id, map)),
                Way::Constant => {}
                Way::Host if matches!(self.dag.nodes()[id as usize], Node::Input(_)) => {
                    self.on_host(&(0..self.samples.len() as u32).map(|s| (id, s)).collect())?;
                }
                // A function of a map, which reads what that has captured: programs with anything else are not here.
                Way::Host => self.held[id as usize].fuel = MOST_FUEL,
            }
        }
        self.constants(level)?;
        step(self.b, &mut self.arena, &instructions)?;
        self.maps(&maps)?;
        nodes.extend(maps.iter().map(|(id, _)| *id));
        nodes.sort_unstable();
        for &id in &nodes {
            self.takes_at_most(id);
        }
        self.tally(&nodes)
    }

    /// Counts what became of nodes, where their values are.
    fn tally(&mut self, nodes: &[NodeId]) -> Done<()> {
        let tallied = |&id: &NodeId| {
            let mut item = Tallied { slot: self.plan.slot[id as usize].unwrap_or_default(), ..Tallied::default() };
            for operand in self.dag.nodes()[id as usize].operands() {
                let is_input = matches!(self.dag.nodes()[operand as usize], Node::Input(_));
                match self.plan.slot[operand as usize] {
                    _ if self.held[operand as usize].uniform.is_some() => {
                        item.container |= self.held[operand as usize].is_container(0);
                    }
                    Some(slot) if is_input => item.untold.push(slot),
                    Some(slot) => item.operands.push(slot),
                    // A function.
                    None => {}
                }
            }
            item
        };
        let all: Vec<Tallied> = nodes.iter().map(tallied).collect();
        for (&id, of) in nodes.iter().zip(tally(self.b, &self.arena, &all)?) {
            let opcode = self.opcode(id);
            self.coverage.opcodes.entry(opcode).or_default().errors += u64::from(of.errors);
            self.coverage.count(opcode, &Counted::tallied(&of));
        }
        Ok(())
    }

    /// Brings what programs return to the host, unless it has no form here.
    fn read_returned(&mut self, level: &[NodeId]) -> Done<()> {
        let samples = self.samples.len() as u32;
        let mut items: Vec<(NodeId, u32, u32)> = Vec::new();
        for &id in level.iter().filter(|&&id| self.plan.returned[id as usize]) {
            let (Some(slot), held) = (self.plan.slot[id as usize], &mut self.held[id as usize]) else { continue };
            if held.uniform.is_none() {
                held.each.resize(samples as usize, None);
                let lacking = (0..samples).filter(|&s| held.each[s as usize].is_none());
                items.extend(lacking.map(|s| (id, s, slot * samples + s)));
            }
        }
        self.bring(&items)
    }
}
