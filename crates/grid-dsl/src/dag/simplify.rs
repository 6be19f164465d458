//! Rewrites of a graph that change no value and no error.
//!
//! A rewrite is done only where what it needs is certain from the graph: two mirrors are nothing on a grid, but an error
//! on a number. Fuel stays what it was: every line is charged to nodes that use at least as much as it did, and a program that
//! comes near to a limit by that count runs again, alone and as it was written.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{Dag, Key, Member, Node, NodeId};
use crate::isometry::Isometry;
use crate::prim::Prim;
use crate::value::{Function, Value};

/// How often each rewrite was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Simplified {
    /// Turns and mirrors of turned or mirrored grids, taken together or left out.
    pub isometries: usize,
    /// `compose` with `identity`, left out.
    pub identities: usize,
    /// `mapply` as `merge` of an `apply` that is there, `mfilter` as `merge` of an `sfilter` that is there.
    pub merges: usize,
}

impl Simplified {
    /// All rewrites.
    pub fn total(self) -> usize {
        self.isometries + self.identities + self.merges
    }
}

/// What is certain of a node's value, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Unknown,
    /// A grid within the limits.
    Grid,
    /// A grid within the limits, without rows of no cells.
    Full,
}

/// Where functions that call one take it.
fn function_position(prim: Prim) -> Option<usize> {
    match prim {
        Prim::Apply | Prim::Mapply => Some(0),
        Prim::Sfilter
        | Prim::Mfilter
        | Prim::Extract
        | Prim::Order
        | Prim::Argmax
        | Prim::Argmin
        | Prim::Valmax
        | Prim::Valmin => Some(1),
        _ => None,
    }
}

/// The reading of a graph while another is made of it.
struct Rewrite<'d> {
    from: &'d Dag,
    to: Dag,
    known: HashMap<Key, NodeId>,
    shapes: Vec<Shape>,
    counts: Simplified,
    /// For each node of the source its node, and those that its fuel is charged to.
    nodes: Vec<NodeId>,
    charges: Vec<Vec<NodeId>>,
    /// Nodes whose weight must be far from its limit for the rewrite to be right.
    guards: Vec<Vec<NodeId>>,
}

impl Dag {
    /// The graph with compositions of turns and mirrors taken together, `compose` with `identity` left out and maps that share
    /// their calls. No value and no error changes.
    pub fn simplified(&self) -> (Self, Simplified) {
        let mut rewrite = Rewrite {
            from: self,
            to: Self { source_lines: self.source_lines, ..Self::default() },
            known: HashMap::new(),
            shapes: Vec::new(),
            counts: Simplified::default(),
            nodes: Vec::new(),
            charges: Vec::new(),
            guards: Vec::new(),
        };
        rewrite.all();
        let counts = rewrite.counts;
        (rewrite.finish(), counts)
    }

    /// The graph without nodes that nothing needs.
    fn compacted(self) -> Self {
        let mut live = vec![false; self.nodes.len()];
        for member in &self.members {
            let roots = member.outputs.iter().chain(&member.lines).chain(&member.guards);
            roots.for_each(|&id| live[id as usize] = true);
        }
        for (id, node) in self.nodes.iter().enumerate().rev() {
            if live[id] {
                node.operands().for_each(|operand| live[operand as usize] = true);
            }
        }
        let mut to = Self { source_lines: self.source_lines, ..Self::default() };
        let (mut known, mut place) = (HashMap::new(), vec![0; self.nodes.len()]);
        for (id, node) in self.nodes.iter().enumerate().filter(|(id, _)| live[*id]) {
            place[id] = to.copy(&mut known, node, |operand| place[operand as usize]);
        }
        let moved = |all: &[NodeId]| all.iter().map(|&id| place[id as usize]).collect();
        let member = |member: Member| Member {
            lines: moved(&member.lines),
            outputs: moved(&member.outputs),
            guards: moved(&member.guards),
            ..member
        };
        to.members = self.members.into_iter().map(member).collect();
        to
    }

    fn copy(&mut self, known: &mut HashMap<Key, NodeId>, node: &Node, place: impl Fn(NodeId) -> NodeId) -> NodeId {
        let moved = |args: &[NodeId]| args.iter().map(|&arg| place(arg)).collect();
        match node {
            Node::Input(name) => self.number(known, Key::Input(name), None),
            Node::Literal(value) => self.number(known, Key::Literal(value.to_text()), Some(value.clone())),
            Node::Prim(prim, args) => self.number(known, Key::Prim(*prim, moved(args)), None),
            Node::Call(callee, args) => self.number(known, Key::Call(place(*callee), moved(args)), None),
        }
    }
}

impl Rewrite<'_> {
    fn all(&mut self) {
        let pairs = |wanted: Prim| -> HashSet<&[NodeId]> {
            let args = |node: &'_ Node| matches!(node, Node::Prim(prim, _) if *prim == wanted);
            let all = self.from.nodes.iter().filter(|node| args(node));
            all.filter_map(|node| if let Node::Prim(_, args) = node { Some(args.as_slice()) } else { None }).collect()
        };
        let (applied, filtered) = (pairs(Prim::Apply), pairs(Prim::Sfilter));
        let plain = self.functions_that_are_called();
        for (id, node) in self.from.nodes.iter().enumerate() {
            let (new, charges, guards) = match node {
                Node::Prim(prim @ (Prim::Mapply | Prim::Mfilter), args)
                    if (if *prim == Prim::Mapply { &applied } else { &filtered }).contains(args.as_slice()) =>
                {
                    self.counts.merges += 1;
                    let inner = if *prim == Prim::Mapply { Prim::Apply } else { Prim::Sfilter };
                    let moved = args.iter().map(|&arg| self.nodes[arg as usize]).collect();
                    let inner = self.add(inner, moved);
                    let merged = self.add(Prim::Merge, vec![inner]);
                    // A function that lost its `identity` may be called here, too.
                    (merged, [vec![inner; 4], vec![merged]].concat(), Vec::new())
                }
                Node::Prim(prim, args) => match self.together(*prim, args) {
                    Some((new, base)) => {
                        self.counts.isometries += 1;
                        // A step reads and makes grids that weigh at most twice what the base does.
                        (new, vec![base; 4], vec![base])
                    }
                    None if plain[id].is_some() => {
                        self.counts.identities += 1;
                        let function = plain[id].map_or(0, |function| self.nodes[function as usize]);
                        (function, Vec::new(), vec![function])
                    }
                    None => {
                        let position = function_position(*prim);
                        let shorter = position.is_some_and(|at| plain[args[at] as usize].is_some());
                        let args: Vec<NodeId> = args.iter().map(|&arg| self.nodes[arg as usize]).collect();
                        // A step that a later one may leave out is charged to its base, too.
                        let base = args.first().copied().filter(|&base| {
                            Isometry::of(*prim).is_some_and(|isometry| isometry != Isometry::Identity)
                                && self.shapes[base as usize] > Shape::Unknown
                        });
                        let new = self.add(*prim, args);
                        match base {
                            Some(base) => (new, vec![base; 4], vec![base]),
                            None => (new, vec![new; if shorter { 4 } else { 1 }], Vec::new()),
                        }
                    }
                },
                other => {
                    let place = &self.nodes;
                    let new = self.to.copy(&mut self.known, other, |operand| place[operand as usize]);
                    self.shapes.resize(self.to.nodes.len(), Shape::Unknown);
                    (new, vec![new], Vec::new())
                }
            };
            self.nodes.push(new);
            self.charges.push(charges);
            self.guards.push(guards);
        }
    }

    /// For each call of `compose` with `identity` the other function: where that is a primitive of one argument, and
    /// everything that reads the call only calls it.
    fn functions_that_are_called(&self) -> Vec<Option<NodeId>> {
        let dag = self.from;
        let literal = |id: NodeId| match &dag.nodes[id as usize] {
            Node::Literal(Value::Fn(Function::Prim(prim))) => Some(*prim),
            _ => None,
        };
        let other = |node: &Node| {
            let Node::Prim(Prim::Compose, args) = node else { return None };
            let [outer, inner] = args.as_slice() else { return None };
            let rest = match (literal(*outer)?, literal(*inner)?) {
                (Prim::Identity, _) => *inner,
                (_, Prim::Identity) => *outer,
                _ => return None,
            };
            literal(rest).filter(|prim| prim.arity() == 1).map(|_| rest)
        };
        let mut plain: Vec<Option<NodeId>> = dag.nodes.iter().map(other).collect();
        for node in &dag.nodes {
            let position = match node {
                Node::Prim(prim, _) => function_position(*prim),
                Node::Call(..) => None,
                _ => continue,
            };
            for (at, operand) in node.operands().enumerate() {
                if position != Some(at) {
                    plain[operand as usize] = None;
                }
            }
        }
        dag.members.iter().flat_map(|m| &m.outputs).for_each(|&output| plain[output as usize] = None);
        plain
    }

    /// A turn or mirror of something that is one itself, as a single one of its base: the new node, and the base.
    fn together(&mut self, prim: Prim, args: &[NodeId]) -> Option<(NodeId, NodeId)> {
        let [arg] = args else { return None };
        let next = Isometry::of(prim).filter(|&isometry| isometry != Isometry::Identity)?;
        let Node::Prim(below, inner) = &self.to.nodes[self.nodes[*arg as usize] as usize] else { return None };
        let first = Isometry::of(*below).filter(|&isometry| isometry != Isometry::Identity)?;
        let base = *inner.first()?;
        let needed = if first.turns() || next.turns() { Shape::Full } else { Shape::Grid };
        if self.shapes[base as usize] < needed {
            return None;
        }
        let new = match first.then(next) {
            Isometry::Identity => base,
            whole => self.add(Prim::by_name(whole.name())?, vec![base]),
        };
        Some((new, base))
    }

    fn add(&mut self, prim: Prim, args: Vec<NodeId>) -> NodeId {
        let shape = self.shape(prim, &args);
        let id = self.to.number(&mut self.known, Key::Prim(prim, args), None);
        self.shapes.resize(self.to.nodes.len(), shape);
        id
    }

    fn shape(&self, prim: Prim, args: &[NodeId]) -> Shape {
        let of = |at: usize| self.shapes[args[at] as usize];
        match prim {
            Prim::Rot90 | Prim::Rot270 | Prim::Lefthalf | Prim::Righthalf => Shape::Full,
            Prim::Dmirror | Prim::Cmirror if of(0) > Shape::Unknown => Shape::Full,
            Prim::Hmirror | Prim::Vmirror => of(0),
            Prim::Rot180
            | Prim::Replace
            | Prim::Switch
            | Prim::Fill
            | Prim::Paint
            | Prim::Underfill
            | Prim::Underpaint
            | Prim::Cover
            | Prim::Move => of(0).max(Shape::Grid),
            Prim::Crop
            | Prim::Canvas
            | Prim::Subgrid
            | Prim::Hconcat
            | Prim::Cellwise
            | Prim::Trim
            | Prim::Compress
            | Prim::Hupscale
            | Prim::Downscale => Shape::Grid,
            _ => Shape::Unknown,
        }
    }

    fn finish(self) -> Dag {
        let Self { from, mut to, nodes, charges, guards, .. } = self;
        let all = |of: &[Vec<NodeId>], ids: &[NodeId]| ids.iter().flat_map(|&id| of[id as usize].clone()).collect();
        // Lines of their own nodes: two that have become one would share what each must use.
        let is_same = |ids: &[NodeId]| {
            let own = |&id: &NodeId| charges[id as usize] == [nodes[id as usize]] && guards[id as usize].is_empty();
            let different: HashSet<NodeId> = ids.iter().map(|&id| nodes[id as usize]).collect();
            ids.iter().all(own) && different.len() == ids.len()
        };
        let member = |member: &Member| Member {
            name: member.name.clone(),
            lines: all(&charges, &member.lines),
            outputs: member.outputs.iter().map(|&id| nodes[id as usize]).collect(),
            guards: all(&guards, &member.lines),
            as_written: member.as_written && is_same(&member.lines),
            program: member.program.clone(),
        };
        to.members = from.members.iter().map(member).collect();
        to.compacted()
    }
}
