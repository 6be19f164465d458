//! One wave: a number of samples through all levels of a graph.

mod maps;
mod whole;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gpu_core::Result as Done;
use rayon::prelude::*;

use super::Coverage;
use super::maps::Map;
use super::plan::{Plan, Way};
use crate::dag::{Dag, Node, NodeId, OVERHEAD};
use crate::error::{ErrClass, Limits, Result};
use crate::exec::{Output, is_container, run_program};
use crate::fast::{Fast, Val};
use crate::kernels::{
    Arena, Form, GridBackend, HEAD, Instruction, Packed, Spill, Words, decode_val, is_plain, put, put_all, step, take,
    take_packed, words_of,
};
use crate::prim::Prim;
use crate::run::Sample;

pub(super) use whole::{Known, whole};

/// For each sample the outputs of all programs.
pub(super) type Values = Vec<Vec<Result<Output>>>;

/// More than the fuel of any evaluation that a device does: operands and results of at most 1,024 cells with a weight of 5,
/// a few times for functions of each object, 255 copies of a grid, or a step for each pair of cells of two patches.
const MOST_FUEL: u64 = 1 << 21;

/// The same of one that moves a patch step by step: 42 times, and each time a step for each pair of cells.
const MOST_GRAVITATE: u64 = 1 << 26;

/// Values that are copied at once: 38 MB of payloads.
const TOGETHER: usize = 1 << 15;

/// Heads that are copied at once.
const HEADS: usize = 1 << 20;

/// What the host knows of a node's values.
#[derive(Clone, Default)]
struct Held {
    /// The same for all samples.
    uniform: Option<Result<Val>>,
    /// For each sample the value, where the host has it; empty where it has none.
    each: Vec<Option<Result<Val>>>,
    /// Which values are containers.
    containers: Vec<bool>,
    /// The most fuel that the node took for a sample.
    fuel: u64,
}

impl Held {
    fn get(&self, sample: usize) -> Option<&Result<Val>> {
        self.uniform.as_ref().or_else(|| self.each.get(sample)?.as_ref())
    }

    fn is_container(&self, sample: usize) -> bool {
        self.containers.get(sample).or(self.containers.first()).copied().unwrap_or(false)
    }
}

/// For each sample why its value is left to the host, if it is.
type Spills = Vec<(usize, Option<Spill>)>;

/// Nodes with their samples.
type Items = Vec<(NodeId, u32)>;

/// What evaluations gave, and the fuel that they took.
type Evaluated = Vec<((NodeId, u32), Result<Val>, u64)>;

struct Wave<'a, B: GridBackend> {
    b: &'a B,
    dag: &'a Dag,
    plan: &'a Plan,
    samples: &'a [Sample],
    limits: &'a Limits,
    arena: Arena<B>,
    /// Elements of maps, once there were some.
    elements: Option<Arena<B>>,
    held: Vec<Held>,
    /// Where values are copied to, over and over.
    room: Packed,
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
    let mut wave = Wave::new(b, dag, plan, samples, limits)?;
    for (number, (level, dead)) in plan.levels.iter().zip(&plan.last).enumerate() {
        wave.level(number as u32, level)?;
        let begun = Instant::now();
        let returned: Vec<NodeId> = level.iter().copied().filter(|&id| plan.returned[id as usize]).collect();
        wave.fetch(returned.iter().map(|&id| (id, (0..samples.len() as u32).collect())).collect())?;
        wave.coverage.device_seconds += begun.elapsed().as_secs_f64();
        wave.took(number as u32, begun.elapsed(), &returned);
        wave.release(dead);
    }
    let this = &wave;
    let one = |s: usize| {
        let admitted = samples[s].admit(limits);
        let programs = 0..dag.programs().len();
        let outputs = programs.flat_map(|program| {
            if admitted.is_ok() && dag.runs_alone(program, limits, |id| this.held[id as usize].fuel + OVERHEAD) {
                // Perhaps too much: the program alone tells.
                let alone = run_program(dag.member_program(program), &samples[s], limits, false).returns;
                return alone.into_iter().map(|value| value.map(Output::Value)).collect();
            }
            let outputs = dag.outputs(program).iter();
            let value = |&id: &NodeId| {
                admitted?;
                this.value(id, s).clone().map(Output::fast)
            };
            outputs.map(value).collect::<Vec<_>>()
        });
        outputs.collect()
    };
    let values = (0..samples.len()).into_par_iter().map(one).collect();
    wave.coverage.finished = vec![(Instant::now(), samples.len() as u64)];
    Ok((values, wave.coverage))
}

/// What stands for values that nobody has.
const NOTHING: &Result<Val> = &Err(ErrClass::Type);

impl<'a, B: GridBackend> Wave<'a, B> {
    fn new(b: &'a B, dag: &'a Dag, plan: &'a Plan, samples: &'a [Sample], limits: &'a Limits) -> Done<Self> {
        let arena = Arena::new(b, plan.slots, samples.len())?;
        let held = vec![Held::default(); dag.nodes().len()];
        Ok(Self {
            b,
            dag,
            plan,
            samples,
            limits,
            arena,
            elements: None,
            held,
            room: Packed::default(),
            coverage: Coverage::default(),
        })
    }

    /// Forgets values that nobody reads any more.
    fn release(&mut self, dead: &[NodeId]) {
        for &id in dead {
            let held = &mut self.held[id as usize];
            held.containers = Vec::new();
            if !self.plan.returned[id as usize] {
                (held.uniform, held.each) = (None, Vec::new());
            }
        }
    }

    /// Where the values of a node lie, sample by sample; one that no device holds lies nowhere.
    fn places(&self, id: NodeId) -> std::ops::Range<u32> {
        let samples = self.samples.len() as u32;
        self.plan.slot[id as usize].map_or(0..0, |slot| slot * samples..(slot + 1) * samples)
    }

    /// Nodes whose heads are copied at once.
    fn nodes_at_once(&self) -> usize {
        (HEADS / self.samples.len().max(1)).max(1)
    }
}

impl<B: GridBackend> Wave<'_, B> {
    /// The value of a node that is on the host.
    fn value(&self, id: NodeId, sample: usize) -> &Result<Val> {
        self.held[id as usize].get(sample).unwrap_or(NOTHING)
    }

    /// Brings values to the host that are not there yet.
    fn fetch(&mut self, wanted: BTreeMap<NodeId, Vec<u32>>) -> Done<()> {
        let samples = self.samples.len();
        let mut items: Vec<(NodeId, u32, u32)> = Vec::new();
        for (id, of) in wanted {
            let (Some(slot), held) = (self.plan.slot[id as usize], &mut self.held[id as usize]) else { continue };
            if held.uniform.is_none() {
                held.each.resize(samples, None);
                let lacking = of.into_iter().filter(|&s| held.each[s as usize].is_none());
                items.extend(lacking.map(|s| (id, s, slot * samples as u32 + s)));
            }
        }
        items.sort_unstable();
        items.dedup();
        self.bring(&items)
    }

    /// Copies values of nodes and samples from their places to the host.
    fn bring(&mut self, items: &[(NodeId, u32, u32)]) -> Done<()> {
        for part in items.chunks(TOGETHER) {
            let places: Vec<u32> = part.iter().map(|(_, _, place)| *place).collect();
            take_packed(self.b, &self.arena, &places, &mut self.room)?;
            let room = &self.room;
            let values: Vec<_> = (0..part.len()).into_par_iter().map(|n| room.decode(n).ok()).collect();
            for ((id, s, _), value) in part.iter().zip(values) {
                self.held[*id as usize].each[*s as usize] = value;
            }
        }
        Ok(())
    }

    /// Operands of evaluations.
    fn operands(&self, items: &[(NodeId, u32)]) -> BTreeMap<NodeId, Vec<u32>> {
        let mut wanted: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
        for of_node in items.chunk_by(|a, b| a.0 == b.0) {
            for operand in self.dag.nodes()[of_node[0].0 as usize].operands() {
                wanted.entry(operand).or_default().extend(of_node.iter().map(|(_, s)| *s));
            }
        }
        wanted
    }

    /// A node's value for one sample, from operands on the host, and its fuel.
    fn evaluate(&self, fast: &mut Fast, id: NodeId, sample: usize) -> (Result<Val>, u64) {
        fast.refill(id);
        let read = |id: NodeId| self.value(id, sample).as_ref().map_err(|class| *class);
        let all = |args: &[NodeId]| args.iter().map(|&a| read(a)).collect::<Result<Vec<&Val>>>();
        let value = match &self.dag.nodes()[id as usize] {
            Node::Input(name) => Ok(Val::from(self.samples[sample].get(name))),
            Node::Literal(value) => Ok(Val::from(value)),
            Node::Prim(prim, args) => all(args).and_then(|args| fast.prim(*prim, &args)),
            Node::Call(callee, args) => read(*callee).and_then(|function| fast.call(function, &all(args)?)),
        };
        (value, fast.m.used())
    }

    /// Evaluates on the host, and gives a device the values that it reads.
    fn on_host(&mut self, items: &Items) -> Done<()> {
        let samples = self.samples.len();
        // All samples of a few nodes at a time: values in words are larger than values.
        for part in items.chunks(TOGETHER) {
            let this = &*self;
            let one = |fast: &mut Fast, &(id, s): &(NodeId, u32)| {
                let (value, fuel) = this.evaluate(fast, id, s as usize);
                ((id, s), value, fuel)
            };
            let done: Evaluated = part.par_iter().map_init(|| Fast::new(this.limits), one).collect();
            let plan = self.plan;
            let place = |id: NodeId, s: u32| plan.slot[id as usize].map(|slot| slot * samples as u32 + s);
            let list = done.iter().filter_map(|((id, s), value, _)| Some((place(*id, *s)?, value)));
            let list: Vec<_> = list.collect();
            put_in(self.b, &mut self.arena, &list, put)?;
            for ((id, s), value, fuel) in done {
                let held = &mut self.held[id as usize];
                held.each.resize(samples, None);
                held.containers.resize(samples, false);
                held.containers[s as usize] = is_container(&value);
                held.fuel = held.fuel.max(fuel);
                if value.is_err() && self.dag.nodes()[id as usize].is_call() {
                    self.coverage.opcodes.entry(self.dag.nodes()[id as usize].opcode()).or_default().errors += 1;
                }
                held.each[s as usize] = Some(value);
            }
        }
        Ok(())
    }

    fn level(&mut self, number: u32, level: &[NodeId]) -> Done<()> {
        let samples = self.samples.len() as u32;
        let (mut instructions, mut on_device, mut on_host): (Vec<Instruction>, Vec<NodeId>, Items) = Default::default();
        let mut maps: Vec<(NodeId, &Map)> = Vec::new();
        let plan = self.plan;
        for &id in level {
            match &plan.ways[id as usize] {
                Way::Map(map) => maps.push((id, map)),
                Way::Device(instruction) => {
                    instructions.push(*instruction);
                    on_device.push(id);
                }
                Way::Constant => {}
                Way::Host => on_host.extend((0..samples).map(|s| (id, s))),
            }
        }
        self.constants(level)?;
        self.counts_calls(level);
        let started = Instant::now();
        self.fetch(self.operands(&on_host))?;
        self.on_host(&on_host)?;
        for of_node in on_host.chunk_by(|a, b| a.0 == b.0) {
            if self.dag.nodes()[of_node[0].0 as usize].is_call() {
                let all = of_node.iter().map(|(_, s)| (*s as usize, Some(Spill::Function)));
                self.count(of_node[0].0, all.collect());
            }
        }
        self.coverage.host_seconds += started.elapsed().as_secs_f64();
        let nodes: Vec<NodeId> = on_host.chunk_by(|a, b| a.0 == b.0).map(|of_node| of_node[0].0).collect();
        self.took(number, started.elapsed(), &nodes);
        let (started, mut of_host) = (Instant::now(), Duration::ZERO);
        step(self.b, &mut self.arena, &instructions)?;
        self.maps(&maps)?;
        on_device.extend(maps.iter().map(|(id, _)| *id));
        for nodes in on_device.chunks(self.nodes_at_once()) {
            let left = self.settle(nodes)?;
            let begun = Instant::now();
            self.fetch(self.operands(&left))?;
            self.on_host(&left)?;
            let took = begun.elapsed();
            of_host += took;
            let calls = left.chunk_by(|a, b| a.0 == b.0).map(|of| (self.opcode(of[0].0), of.len() as u64));
            let calls: Vec<_> = calls.collect();
            self.coverage.took(number, took, &calls);
        }
        let of_device = started.elapsed().saturating_sub(of_host);
        self.coverage.host_seconds += of_host.as_secs_f64();
        self.coverage.device_seconds += of_device.as_secs_f64();
        self.took(number, of_device, &on_device);
        Ok(())
    }

    fn opcode(&self, id: NodeId) -> &'static str {
        self.dag.nodes()[id as usize].opcode()
    }

    /// Counts the calls of a level's nodes.
    fn counts_calls(&mut self, level: &[NodeId]) {
        for &id in level.iter().filter(|&&id| self.dag.nodes()[id as usize].is_call()) {
            let opcode = self.opcode(id);
            self.coverage.opcodes.entry(opcode).or_default().calls += self.samples.len() as u64;
        }
    }

    /// Nodes of a level took so long together, for all samples. Inputs and literals are no functions.
    fn took(&mut self, level: u32, time: Duration, nodes: &[NodeId]) {
        let dag = self.dag;
        let calls = nodes.iter().map(|&id| &dag.nodes()[id as usize]).filter(|node| node.is_call());
        let calls: Vec<_> = calls.map(|node| (node.opcode(), 1)).collect();
        self.coverage.took(level, time, &calls);
    }

    /// Literals, and functions of literals: one value for all samples.
    fn constants(&mut self, level: &[NodeId]) -> Done<()> {
        let mut fast = Fast::new(self.limits);
        let plan = self.plan;
        let constant = |id: &NodeId| matches!(plan.ways[*id as usize], Way::Constant);
        let mut list = Vec::new();
        for id in level.iter().copied().filter(constant) {
            let (value, fuel) = self.evaluate(&mut fast, id, 0);
            list.extend(plan.slot[id as usize].map(|slot| (slot, value.clone())));
            let containers = vec![is_container(&value)];
            self.held[id as usize] = Held { uniform: Some(value), each: Vec::new(), containers, fuel };
        }
        let list: Vec<_> = list.iter().map(|(slot, value)| (*slot, value)).collect();
        put_in(self.b, &mut self.arena, &list, put_all)
    }

    /// Looks at what a device did for some nodes and counts it, and tells what is left to the host.
    fn settle(&mut self, nodes: &[NodeId]) -> Done<Items> {
        let mut left = Vec::new();
        for (&id, spills) in nodes.iter().zip(self.look(nodes)?) {
            left.extend(spills.iter().filter(|(_, spill)| spill.is_some()).map(|(s, _)| (id, *s as u32)));
            let errors = self.held[id as usize].each.iter().filter(|value| matches!(value, Some(Err(_)))).count();
            self.coverage.opcodes.entry(self.opcode(id)).or_default().errors += errors as u64;
            self.takes_at_most(id);
            self.count(id, spills);
        }
        Ok(left)
    }

    /// A node of a device takes no more fuel than this, beside what its elements take.
    fn takes_at_most(&mut self, id: NodeId) {
        let most = if self.opcode(id) == Prim::Gravitate.name() { MOST_GRAVITATE } else { MOST_FUEL };
        let fuel = &mut self.held[id as usize].fuel;
        *fuel = fuel.saturating_add(most);
    }

    /// Takes over what heads say of some nodes; for each node and sample whether, and why, a value is left to the host.
    fn look(&mut self, nodes: &[NodeId]) -> Done<Vec<Spills>> {
        let samples = self.samples.len();
        let places: Vec<u32> = nodes.iter().flat_map(|&id| self.places(id)).collect();
        let (heads, _) = take(self.b, &self.arena, &places, false)?;
        let of_node = |heads: &[i32]| {
            let all = || heads.chunks_exact(HEAD);
            let each = all().map(|head| if is_plain(head) { decode_val(head, &[]).ok() } else { None }).collect();
            let held = Held {
                uniform: None,
                each,
                containers: all().map(|head| Form::is_container(head[0])).collect(),
                fuel: 0,
            };
            let spill = |head: &[i32]| (head[0] == Form::Spilled as i32).then(|| Spill::of(head[1]));
            (held, all().map(spill).enumerate().collect::<Vec<_>>())
        };
        let looked: Vec<_> = heads.par_chunks_exact(HEAD * samples.max(1)).map(of_node).collect();
        let mut all = Vec::with_capacity(nodes.len());
        for (&id, (held, spills)) in nodes.iter().zip(looked) {
            let fuel = self.held[id as usize].fuel;
            self.held[id as usize] = Held { fuel, ..held };
            all.push(spills);
        }
        Ok(all)
    }

    /// Counts evaluations of a node: for each sample why the host did it, if it did.
    fn count(&mut self, id: NodeId, spills: Spills) {
        let node = &self.dag.nodes()[id as usize];
        let operands: Vec<&Held> = node.operands().map(|operand| &self.held[operand as usize]).collect();
        let mut counted = super::Counted::default();
        for (sample, spill) in spills {
            counted.add(operands.iter().any(|operand| operand.is_container(sample)), spill);
        }
        self.coverage.count(node.opcode(), &counted);
    }
}

/// Writes heads and payloads to an arena.
type Put<B> = fn(&B, &mut Arena<B>, &[u32], &[i32], &[u32]) -> Done<()>;

/// Copies values to an arena: to places with [`put`], to slots with [`put_all`].
fn put_in<B: GridBackend>(b: &B, arena: &mut Arena<B>, list: &[(u32, &Result<Val>)], how: Put<B>) -> Done<()> {
    for part in list.chunks(TOGETHER) {
        let words: Vec<Words> = part.par_iter().map(|(_, value)| words_of(value)).collect();
        for full in [false, true] {
            let (mut places, mut heads, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
            for ((place, _), (head, payload)) in part.iter().zip(&words).filter(|(_, w)| w.1.is_some() == full) {
                places.push(*place);
                heads.extend_from_slice(head);
                if let Some(words) = payload {
                    payloads.extend_from_slice(&words[..]);
                }
            }
            how(b, arena, &places, &heads, &payloads)?;
        }
    }
    Ok(())
}
