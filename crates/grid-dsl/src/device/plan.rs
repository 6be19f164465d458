//! Which nodes of a graph a device evaluates, and in which slots their values live.

use crate::dag::{Dag, Node, NodeId};
use crate::kernels::{Instruction, Op};
use crate::prim::Prim;
use crate::value::Value;

/// How a node gets its value.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// A literal, or a function of literals: one value for all samples.
    Constant,
    /// The host, for each sample; inputs are there.
    Host,
    /// A device.
    Device(Instruction),
}

/// The order of evaluation.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) ways: Vec<Way>,
    /// Slots of nodes whose values a device holds.
    pub(super) slot: Vec<Option<u32>>,
    /// Nodes of each level.
    pub(super) levels: Vec<Vec<NodeId>>,
    /// Nodes that nobody reads behind a level.
    pub(super) last: Vec<Vec<NodeId>>,
    /// Slots that are needed at once.
    pub(super) slots: usize,
    /// Nodes that programs return.
    pub(super) returned: Vec<bool>,
}

/// The operation of a node on a device, its operands there, and the number of a function.
fn operation(dag: &Dag, prim: Prim, args: &[NodeId]) -> Option<(Op, Vec<NodeId>, u32)> {
    let op = Op::of(prim)?;
    let mut args = args.to_vec();
    if args.len() != prim.arity() {
        return None;
    }
    let key = match op.function_at() {
        Some(at) => match &dag.nodes()[args.remove(at) as usize] {
            Node::Literal(Value::Fn(by)) => op.key_of(by)?,
            _ => return None,
        },
        None => 0,
    };
    Some((op, args, key))
}

impl Plan {
    pub(super) fn new(dag: &Dag) -> Self {
        let nodes = dag.nodes();
        let mut ways: Vec<Way> = Vec::with_capacity(nodes.len());
        let mut on_device: Vec<Option<(Op, Vec<NodeId>, u32)>> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let constant = |id: NodeId| matches!(ways[id as usize], Way::Constant);
            let way = match node {
                Node::Input(_) => Way::Host,
                Node::Literal(_) => Way::Constant,
                other if other.operands().all(constant) => Way::Constant,
                _ => Way::Host,
            };
            let operation = match (node, &way) {
                (Node::Prim(prim, args), Way::Host) => operation(dag, *prim, args),
                _ => None,
            };
            ways.push(way);
            on_device.push(operation);
        }
        let count = (0..nodes.len()).map(|id| dag.level(id as NodeId) as usize + 1).max().unwrap_or(0);
        let mut levels = vec![Vec::new(); count];
        let mut reader: Vec<usize> = (0..nodes.len()).map(|id| dag.level(id as NodeId) as usize).collect();
        let mut held = vec![false; nodes.len()];
        let mut returned = vec![false; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            let level = dag.level(id as NodeId) as usize;
            levels[level].push(id as NodeId);
            for operand in node.operands() {
                reader[operand as usize] = reader[operand as usize].max(level);
            }
            if let Some((_, operands, _)) = &on_device[id] {
                held[id] = true;
                for &operand in operands {
                    held[operand as usize] = true;
                }
            }
        }
        for program in 0..dag.programs().len() {
            for &output in dag.outputs(program) {
                returned[output as usize] = true;
            }
        }
        let mut last = vec![Vec::new(); count];
        for (id, &level) in reader.iter().enumerate() {
            last[level].push(id as NodeId);
        }
        let (slot, slots) = allocate(&levels, &last, &held);
        for (id, operation) in on_device.into_iter().enumerate() {
            let Some((op, all, key)) = operation else { continue };
            let mut operands = [0; 4];
            for (to, from) in operands.iter_mut().zip(&all) {
                *to = slot[*from as usize].unwrap_or_default();
            }
            ways[id] = Way::Device(Instruction { op, target: slot[id].unwrap_or_default(), operands, key });
        }
        Self { ways, slot, levels, last, slots, returned }
    }

    /// Which nodes of the graph a device evaluates with all that is below them: inputs, constants, and operations of such.
    pub(super) fn whole(&self, dag: &Dag) -> Vec<bool> {
        let mut whole: Vec<bool> = Vec::with_capacity(self.ways.len());
        for (node, way) in dag.nodes().iter().zip(&self.ways) {
            whole.push(match way {
                Way::Constant => true,
                Way::Host => matches!(node, Node::Input(_)),
                Way::Device(_) => node.operands().all(|operand| whole[operand as usize]),
            });
        }
        whole
    }
}

/// A slot for every value that a device holds, used again one level behind its last reader.
fn allocate(levels: &[Vec<NodeId>], last: &[Vec<NodeId>], held: &[bool]) -> (Vec<Option<u32>>, usize) {
    let (mut slot, mut free, mut slots) = (vec![None; held.len()], Vec::new(), 0);
    for (nodes, dead) in levels.iter().zip(last) {
        for &id in nodes.iter().filter(|&&id| held[id as usize]) {
            slot[id as usize] = Some(free.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            }));
        }
        free.extend(dead.iter().filter_map(|&id| slot[id as usize]));
    }
    (slot, slots as usize)
}
