//! Running a graph on many samples, in parallel.

use rayon::prelude::*;

use super::{Dag, Member, Node, NodeId};
use crate::conform::Task;
use crate::error::{ErrClass, Limits, Result};
use crate::machine::Machine;
use crate::run::Sample;
use crate::value::Value;

/// Samples that a graph runs on.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    samples: Vec<Sample>,
}

impl Batch {
    /// One sample a grid.
    pub fn from_grids(grids: impl IntoIterator<Item = Value>) -> Self {
        Self { samples: grids.into_iter().map(Sample::new).collect() }
    }

    /// One sample an example of a task, each with the task's examples to learn from.
    pub fn from_tasks<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Self {
        let of_task = |task: &'t Task| {
            let shared = Sample::new(Value::None).with_samples(task.train.iter().cloned()).samples;
            task.examples().map(move |(input, _)| Sample {
                input: input.clone(),
                samples: shared.clone(),
                candidate: Value::None,
            })
        };
        Self { samples: tasks.into_iter().flat_map(of_task).collect() }
    }

    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

impl From<Vec<Sample>> for Batch {
    fn from(samples: Vec<Sample>) -> Self {
        Self { samples }
    }
}

/// How a graph runs. Nothing here changes a result.
#[derive(Clone, Debug)]
pub struct ExecOpts {
    /// The limits of each program on each sample.
    pub limits: Limits,
    /// A batch with fewer samples than this computes each level's nodes in parallel instead of its samples.
    pub min_batch: usize,
}

impl Default for ExecOpts {
    fn default() -> Self {
        Self { limits: Limits::default(), min_batch: 30 }
    }
}

/// What programs returned on samples.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// For each sample the outputs of all programs, one after the other.
    values: Vec<Vec<Result<Value>>>,
    /// Where each program's outputs begin.
    starts: Vec<usize>,
}

impl RunResult {
    /// What a program returned on a sample.
    pub fn value(&self, program: usize, output: usize, sample: usize) -> Result<&Value> {
        let at = self.starts[program] + output;
        assert!(at < self.starts[program + 1], "program {program} has no output {output}");
        self.values[sample][at].as_ref().map_err(|class| *class)
    }

    /// Digests of all outputs of a sample, in the order of programs.
    pub fn digests(&self, sample: usize) -> impl Iterator<Item = Result<u64>> + '_ {
        self.values[sample].iter().map(|v| v.as_ref().map(Value::digest).map_err(|class| *class))
    }

    /// Samples.
    pub fn samples(&self) -> usize {
        self.values.len()
    }
}

/// The value of a node on one sample, and the fuel that its call took.
type Slot = (Result<Value>, u64);

impl Dag {
    /// Runs all programs on all samples. Values and classes of errors are those of [`Program::run`](crate::Program::run) for each
    /// program alone, whatever the batch and the number of threads.
    pub fn run(&self, batch: &Batch, opts: &ExecOpts) -> RunResult {
        let plan = Plan::new(self);
        let values = if batch.samples.len() < opts.min_batch {
            batch.samples.iter().map(|sample| self.sample(&plan, sample, opts, true)).collect()
        } else {
            batch.samples.par_iter().map(|sample| self.sample(&plan, sample, opts, false)).collect()
        };
        let ends = self.members.iter().scan(0, |end, member| {
            *end += member.outputs.len();
            Some(*end)
        });
        RunResult { values, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn sample(&self, plan: &Plan, sample: &Sample, opts: &ExecOpts, spread: bool) -> Vec<Result<Value>> {
        let limits = &opts.limits;
        if let Err(class) = sample.admit(limits) {
            return self.members.iter().flat_map(|m| m.outputs.iter().map(move |_| Err(class))).collect();
        }
        let mut slots: Vec<Slot> = vec![(Err(ErrClass::Type), 0); self.nodes.len()];
        for level in &plan.levels {
            if spread && level.len() >= WIDE {
                let computed: Vec<Slot> =
                    level.par_iter().map(|&id| compute(&self.nodes[id as usize], &slots, sample, limits)).collect();
                for (&id, slot) in level.iter().zip(computed) {
                    slots[id as usize] = slot;
                }
            } else {
                for &id in level {
                    slots[id as usize] = compute(&self.nodes[id as usize], &slots, sample, limits);
                }
            }
            // What nothing reads any more goes, so that a sample's memory is that of its widest level.
            for &id in &plan.last[self.levels[level[0] as usize] as usize] {
                slots[id as usize].0 = Err(ErrClass::Type);
            }
        }
        self.members.iter().flat_map(|member| outputs(member, &slots, sample, limits)).collect()
    }
}

/// Levels with fewer nodes are not worth the threads.
const WIDE: usize = 16;

/// The order of evaluation.
struct Plan {
    /// Nodes of each level.
    levels: Vec<Vec<NodeId>>,
    /// Nodes whose last reader is in a level.
    last: Vec<Vec<NodeId>>,
}

impl Plan {
    fn new(dag: &Dag) -> Self {
        let count = dag.levels.iter().copied().max().map_or(0, |most| most as usize + 1);
        let mut levels = vec![Vec::new(); count];
        let mut reader: Vec<u32> = dag.levels.clone();
        for (id, node) in dag.nodes.iter().enumerate() {
            levels[dag.levels[id] as usize].push(id as NodeId);
            for operand in node.operands() {
                reader[operand as usize] = reader[operand as usize].max(dag.levels[id]);
            }
        }
        for &output in dag.members.iter().flat_map(|m| &m.outputs) {
            reader[output as usize] = u32::MAX;
        }
        let mut last = vec![Vec::new(); count];
        for (id, &level) in reader.iter().enumerate() {
            if let Some(dropped) = last.get_mut(level as usize) {
                dropped.push(id as NodeId);
            }
        }
        // A graph of literals and inputs may lack level 0.
        let levels = levels.into_iter().filter(|level: &Vec<NodeId>| !level.is_empty()).collect();
        Self { levels, last }
    }
}

fn compute(node: &Node, slots: &[Slot], sample: &Sample, limits: &Limits) -> Slot {
    let read = |id: &NodeId| slots[*id as usize].0.clone();
    let mut machine = Machine::new(limits);
    let value = match node {
        Node::Input(name) => Ok(sample.get(name).clone()),
        Node::Literal(value) => Ok(value.clone()),
        Node::Prim(prim, args) => {
            args.iter().map(read).collect::<Result<Vec<_>>>().and_then(|a| machine.prim(*prim, &a))
        }
        Node::Call(callee, args) => read(callee).and_then(|function| {
            let args = args.iter().map(read).collect::<Result<Vec<_>>>()?;
            machine.call_value(&function, &args)
        }),
    };
    (value, machine.used())
}

/// The outputs of one program. Nodes were computed with all the fuel each; a program whose lines together used more than
/// there is runs again, alone, to fail where it must.
fn outputs(member: &Member, slots: &[Slot], sample: &Sample, limits: &Limits) -> Vec<Result<Value>> {
    let used = member.lines.iter().map(|&id| slots[id as usize].1).fold(0u64, u64::saturating_add);
    if used > limits.fuel {
        return member.program.run(sample, limits, false).returns;
    }
    member.outputs.iter().map(|&id| slots[id as usize].0.clone()).collect()
}
