//! How large a graph is, and what it is made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Dag, Node};
use crate::value::Maker;

/// Counts of a graph. Inputs and literals are no nodes here: nothing is computed for them.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Programs.
    pub programs: usize,
    /// Lines of the programs, dead ones included.
    pub lines: usize,
    /// Calls that are computed.
    pub nodes: usize,
    /// Levels of calls.
    pub levels: u32,
    /// Calls by function.
    pub opcodes: BTreeMap<&'static str, usize>,
    /// Calls by level, from 1, and function.
    pub level_opcodes: BTreeMap<u32, BTreeMap<&'static str, usize>>,
    /// Groups of one function in one level.
    pub groups: usize,
    /// Calls that make a function.
    pub closures: usize,
    /// Operands of those that are known only at run time.
    pub captured: usize,
}

impl Dag {
    /// Counts nodes, levels and opcodes.
    pub fn stats(&self) -> Stats {
        let calls = || self.nodes.iter().zip(&self.levels).filter(|(node, _)| node.is_call());
        let mut opcodes = BTreeMap::new();
        let mut level_opcodes: BTreeMap<u32, BTreeMap<&'static str, usize>> = BTreeMap::new();
        for (node, &level) in calls() {
            *opcodes.entry(node.opcode()).or_default() += 1;
            *level_opcodes.entry(level).or_default().entry(node.opcode()).or_default() += 1;
        }
        let makes = |node: &&Node| Maker::ALL.iter().any(|maker| maker.name() == node.opcode());
        let computed =
            |node: &Node| node.operands().filter(|&at| !matches!(self.nodes[at as usize], Node::Literal(_))).count();
        let closures: Vec<&Node> = self.nodes.iter().filter(makes).collect();
        Stats {
            programs: self.members.len(),
            lines: self.source_lines,
            nodes: calls().count(),
            levels: self.levels.iter().copied().max().unwrap_or(0),
            groups: level_opcodes.values().map(BTreeMap::len).sum(),
            opcodes,
            level_opcodes,
            closures: closures.len(),
            captured: closures.into_iter().map(computed).sum(),
        }
    }
}
