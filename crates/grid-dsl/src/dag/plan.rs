//! The order in which a graph is computed.

use super::{Dag, Node, NodeId};
use crate::patterns::{Found, Pattern, Patterns, detect};

/// What is computed at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// One node.
    Node(NodeId),
    /// All nodes of a pattern.
    Pattern(usize),
}

/// Units by level.
pub(super) struct Plan {
    levels: Vec<Level>,
    found: Vec<Found>,
    /// Nodes that depend on the samples of a task alone and that other nodes, or programs, need.
    kept: Vec<bool>,
    shared: usize,
}

/// One level.
#[derive(Default)]
pub(super) struct Level {
    /// What depends on more than the samples of a task.
    pub(super) own: Vec<Unit>,
    /// What depends on them alone; empty without pattern P1.
    pub(super) shared: Vec<Unit>,
    /// Nodes that nothing above this level reads.
    pub(super) last: Vec<NodeId>,
}

impl Plan {
    pub(super) fn new(dag: &Dag, patterns: Patterns) -> Self {
        let found = detect(dag, patterns);
        let nodes = dag.nodes.len();
        let count = dag.levels.iter().copied().max().map_or(0, |most| most as usize + 1);
        let mut levels: Vec<Level> = (0..count).map(|_| Level::default()).collect();
        let mut pattern_of = vec![None; nodes];
        for (at, found) in found.iter().enumerate() {
            found.nodes().iter().for_each(|&node| pattern_of[node as usize] = Some(at));
        }
        // Only the samples below it; a literal has nothing below it at all.
        let mut of_task = vec![patterns.has(Pattern::P1); nodes];
        for (id, node) in dag.nodes.iter().enumerate() {
            of_task[id] &= match node {
                Node::Input(name) => *name == "S",
                _ => node.operands().all(|operand| of_task[operand as usize]),
            };
        }
        for found in &found {
            let all = found.nodes().iter().all(|&node| of_task[node as usize]);
            found.nodes().iter().for_each(|&node| of_task[node as usize] = all);
        }
        // A pattern is computed at the level of its last node: what its nodes read must be there until then.
        let at_level = |id: usize| {
            let node = pattern_of[id].and_then(|at: usize| found[at].nodes().last().copied());
            dag.levels[node.map_or(id, |node| node as usize)]
        };
        let mut reader: Vec<u32> = (0..nodes).map(at_level).collect();
        let (mut kept, mut shared) = (vec![false; nodes], 0);
        for (id, node) in dag.nodes.iter().enumerate() {
            for operand in node.operands() {
                let operand = operand as usize;
                reader[operand] = reader[operand].max(at_level(id));
                kept[operand] |= !of_task[id];
            }
            let unit = match pattern_of[id] {
                None => Unit::Node(id as NodeId),
                Some(at) if found[at].nodes().last() == Some(&(id as NodeId)) => Unit::Pattern(at),
                Some(_) => continue,
            };
            let level = &mut levels[dag.levels[id] as usize];
            if of_task[id] { &mut level.shared } else { &mut level.own }.push(unit);
            shared += usize::from(of_task[id] && node.is_call());
        }
        for &output in dag.members.iter().flat_map(|m| &m.outputs) {
            reader[output as usize] = u32::MAX;
            kept[output as usize] = true;
        }
        for (id, &level) in reader.iter().enumerate() {
            if let Some(level) = levels.get_mut(level as usize) {
                level.last.push(id as NodeId);
            }
        }
        Self { levels, found, kept, shared }
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub(super) fn found(&self) -> &[Found] {
        &self.found
    }

    /// How many units of work are the same for all samples of a task.
    pub(super) fn shared(&self) -> usize {
        self.shared
    }

    /// Whether a node that depends on the samples of a task alone is needed after that.
    pub(super) fn keeps(&self, node: usize) -> bool {
        self.kept[node]
    }
}
