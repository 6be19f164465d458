//! A wave of programs that a device evaluates altogether: nothing goes back and forth between levels.

use std::sync::Arc;
use std::time::Instant;

use gpu_core::Result as Done;
use rayon::prelude::*;

use super::super::maps::Map;
use super::{Held, MOST_FUEL, TOGETHER, Wave};
use crate::dag::{Dag, Node, NodeId, OVERHEAD};
use crate::device::plan::{Plan, Way};
use crate::device::{Counted, Coverage};
use crate::error::{ErrClass, Limits, Result};
use crate::exec::{Brought, Output};
use crate::fast::Val;
use crate::kernels::{GridBackend, Instruction, Packed, Tallied, step, take_packed, tally};
use crate::run::Sample;

/// What a device found for one sample.
pub(in crate::device) struct Known {
    found: Arc<Found>,
    /// The number of the sample in its wave, and whether it may be run at all.
    sample: usize,
    admitted: Result<()>,
    /// Programs that lack an output: a value on the way had no form on the device.
    pub(in crate::device) redo: Vec<u32>,
}

/// What a wave found.
#[derive(Default)]
struct Found {
    /// Where the outputs of all programs are, one program after the other.
    outputs: Vec<u32>,
    places: Vec<Place>,
}

/// Where the values of a node are.
enum Place {
    /// One for all samples.
    Same(Result<Val>),
    /// On the host, as far as there are any.
    Held(Vec<Option<Result<Val>>>),
    /// In a list of a device, whose number it has, from there on: one a sample.
    Packed(u32, Arc<Packed>, usize),
}

impl Known {
    /// Of a sample about which a device says nothing.
    pub(in crate::device) fn nothing(programs: usize) -> Self {
        Self { found: Arc::default(), sample: 0, admitted: Ok(()), redo: (0..programs as u32).collect() }
    }

    /// Some of the outputs of all programs, which are not among those to be run again.
    pub(in crate::device) fn outputs(&self, which: std::ops::Range<usize>) -> impl Iterator<Item = Result<Output>> {
        let output = |&at: &u32| {
            self.admitted?;
            match &self.found.places[at as usize] {
                Place::Same(value) => value.clone().map(Output::fast),
                Place::Held(values) => values[self.sample].clone().unwrap_or(Err(ErrClass::Type)).map(Output::fast),
                Place::Packed(list, packed, from) => Output::packed(*list, packed, from + self.sample),
            }
        };
        self.found.outputs[which].iter().map(output)
    }
}

impl Place {
    fn has(&self, sample: usize) -> bool {
        match self {
            Self::Same(_) => true,
            Self::Held(values) => values.get(sample).is_some_and(Option::is_some),
            Self::Packed(_, packed, from) => packed.has_form(from + sample),
        }
    }
}

/// Runs samples through a graph whose nodes are inputs, constants, operations and maps of the device, and functions of maps.
/// What it returns stays packed until somebody looks at it.
pub(in crate::device) fn whole<B: GridBackend>(
    b: &B,
    dag: &Dag,
    plan: &Plan,
    samples: &[Sample],
    limits: &Limits,
    brought: &Brought,
) -> Done<(Vec<Known>, Coverage)> {
    let started = Instant::now();
    let mut wave = Wave::new(b, dag, plan, samples, limits)?;
    let mut places: Vec<Option<Place>> = dag.nodes().iter().map(|_| None).collect();
    for (number, (level, dead)) in plan.levels.iter().zip(&plan.last).enumerate() {
        let begun = Instant::now();
        wave.counts_calls(level);
        wave.operations(level)?;
        wave.read_returned(level, brought, &mut places)?;
        wave.took(number as u32, begun.elapsed(), level);
        wave.release(dead);
    }
    // Perhaps too much fuel: the CPU tells.
    let unsure = |program| dag.runs_alone(program, limits, |id| wave.held[id as usize].fuel + OVERHEAD);
    let unsure: Vec<bool> = (0..dag.programs().len()).map(unsure).collect();
    let found = Arc::new(wave.found(places));
    let one = |sample: usize| {
        let admitted = samples[sample].admit(limits);
        let mut outputs = found.outputs.as_slice();
        let lacks = |&program: &usize| {
            let (own, others) = outputs.split_at(dag.outputs(program).len());
            outputs = others;
            unsure[program] || own.iter().any(|&at| !found.places[at as usize].has(sample))
        };
        let programs = 0..if admitted.is_ok() { unsure.len() } else { 0 };
        let redo = programs.filter(lacks).map(|program| program as u32).collect();
        Known { found: found.clone(), sample, admitted, redo }
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

    /// Brings what programs return to the host, packed.
    fn read_returned(&mut self, level: &[NodeId], brought: &Brought, places: &mut [Option<Place>]) -> Done<()> {
        let samples = self.samples.len();
        let lacking = |id: &NodeId| {
            let Held { uniform, each, .. } = &self.held[*id as usize];
            self.plan.returned[*id as usize] && uniform.is_none() && each.is_empty()
        };
        let lacking = level.iter().filter(|id| lacking(id)).filter_map(|&id| Some((id, self.plan.slot[id as usize]?)));
        for nodes in lacking.collect::<Vec<_>>().chunks((TOGETHER / samples.max(1)).max(1)) {
            let of_slot = |slot: u32| slot * samples as u32..(slot + 1) * samples as u32;
            let all: Vec<u32> = nodes.iter().flat_map(|(_, slot)| of_slot(*slot)).collect();
            let mut packed = Packed::default();
            take_packed(self.b, &self.arena, &all, &mut packed)?;
            let (list, packed) = brought.keep(packed);
            for (k, (id, _)) in nodes.iter().enumerate() {
                places[*id as usize] = Some(Place::Packed(list, packed.clone(), k * samples));
            }
        }
        Ok(())
    }

    /// Where outputs are, once all levels are done.
    fn found(&mut self, mut places: Vec<Option<Place>>) -> Found {
        let (mut found, mut at) = (Found::default(), vec![None; places.len()]);
        for id in self.dag.all_outputs() {
            let id = id as usize;
            let number = *at[id].get_or_insert_with(|| {
                let held = &mut self.held[id];
                let own =
                    || held.uniform.take().map_or_else(|| Place::Held(std::mem::take(&mut held.each)), Place::Same);
                found.places.push(places[id].take().unwrap_or_else(own));
                found.places.len() as u32 - 1
            });
            found.outputs.push(number);
        }
        found
    }
}
