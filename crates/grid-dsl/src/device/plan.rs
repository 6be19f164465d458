//! Which nodes of a graph a device evaluates, and in which slots their values live.

use super::maps::Map;
use crate::dag::{Dag, Node, NodeId};
use crate::kernels::{Gather, Instruction, Op};
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
    /// A device, call by call for each element of a container.
    Map(Box<Map>),
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
    /// Values of elements of maps that a device holds at once; 0 without maps.
    pub(super) places: usize,
}

/// What a device does of a node.
enum Doing {
    Operation(Op, Vec<NodeId>, u32),
    Map(Map),
}

impl Doing {
    fn operands(&self) -> &[NodeId] {
        match self {
            Self::Operation(_, operands, _) => operands,
            Self::Map(map) => &map.operands,
        }
    }
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

/// Whether a node gives a tuple of grids, or lines: of those a device knows no figures, but what maps make of them.
fn is_tuple(dag: &Dag, id: NodeId) -> bool {
    match &dag.nodes()[id as usize] {
        Node::Prim(Prim::Hsplit | Prim::Vsplit | Prim::Repeat | Prim::Frontiers, _) => true,
        Node::Prim(Prim::Apply, args) => args.get(1).is_some_and(|&of| is_tuple(dag, of)),
        Node::Prim(Prim::Sfilter, args) => args.first().is_some_and(|&of| is_tuple(dag, of)),
        _ => false,
    }
}

/// What a device does of a node whose operands are not the same for all samples.
fn doing(dag: &Dag, node: &Node) -> Option<Doing> {
    if let Node::Prim(prim, args) = node
        && !(Gather::of(*prim).is_some() && args.iter().any(|&arg| is_tuple(dag, arg)))
        && let Some((op, operands, key)) = operation(dag, *prim, args)
    {
        return Some(Doing::Operation(op, operands, key));
    }
    Map::of(dag, node).map(Doing::Map)
}

/// Most values of elements of maps that are on a device at once, 1.2 GB: so many keep it busy for far longer than a launch
/// takes.
const MOST_PLACES: usize = 1 << 20;

impl Plan {
    pub(super) fn new(dag: &Dag) -> Self {
        let nodes = dag.nodes();
        let mut ways: Vec<Way> = Vec::with_capacity(nodes.len());
        let mut on_device: Vec<Option<Doing>> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let constant = |id: NodeId| matches!(ways[id as usize], Way::Constant);
            let way = match node {
                Node::Input(_) => Way::Host,
                Node::Literal(_) => Way::Constant,
                other if other.operands().all(constant) => Way::Constant,
                _ => Way::Host,
            };
            on_device.push(if matches!(way, Way::Host) { doing(dag, node) } else { None });
            ways.push(way);
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
            if let Some(doing) = &on_device[id] {
                held[id] = true;
                for &operand in doing.operands() {
                    held[operand as usize] = true;
                    // What a function has captured is read where it is called.
                    reader[operand as usize] = reader[operand as usize].max(level);
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
        let mut places = 0;
        for (id, doing) in on_device.into_iter().enumerate() {
            ways[id] = match doing {
                None => continue,
                Some(Doing::Map(map)) => {
                    places = MOST_PLACES;
                    Way::Map(Box::new(map))
                }
                Some(Doing::Operation(op, all, key)) => {
                    let mut operands = [0; 4];
                    for (to, from) in operands.iter_mut().zip(&all) {
                        *to = slot[*from as usize].unwrap_or_default();
                    }
                    Way::Device(Instruction { op, target: slot[id].unwrap_or_default(), operands, key })
                }
            };
        }
        Self { ways, slot, levels, last, slots, returned, places }
    }

    /// Leaves as much room for elements of maps as an eighth of a budget of bytes.
    pub(super) fn within(&mut self, budget: usize, each: usize) {
        self.places = self.places.min(budget / 8 / each.max(1));
    }

    /// Which nodes of the graph a device evaluates with all that is below them: inputs, constants, and operations and maps of
    /// such. Functions of maps are no nodes there: what they have captured is.
    pub(super) fn whole(&self, dag: &Dag) -> Vec<bool> {
        let mut whole: Vec<bool> = Vec::with_capacity(self.ways.len());
        for (node, way) in dag.nodes().iter().zip(&self.ways) {
            whole.push(match way {
                Way::Constant => true,
                Way::Map(map) => map.operands.iter().all(|&operand| whole[operand as usize]),
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
