//! The order of evaluation of a graph.

use crate::dag::{Dag, NodeId};

/// Nodes by level, and when their values can go.
pub(crate) struct Plan {
    /// Nodes of each level.
    pub(crate) levels: Vec<Vec<NodeId>>,
    /// Nodes whose last reader is in a level, by the level's number in the graph.
    pub(crate) last: Vec<Vec<NodeId>>,
}

impl Plan {
    pub(crate) fn new(dag: &Dag) -> Self {
        let nodes = dag.nodes();
        let level = |id: usize| dag.level(id as NodeId);
        let count = (0..nodes.len()).map(level).max().map_or(0, |most| most as usize + 1);
        let mut levels = vec![Vec::new(); count];
        let mut reader: Vec<u32> = (0..nodes.len()).map(level).collect();
        for (id, node) in nodes.iter().enumerate() {
            levels[level(id) as usize].push(id as NodeId);
            for operand in node.operands() {
                reader[operand as usize] = reader[operand as usize].max(level(id));
            }
        }
        for program in 0..dag.programs().len() {
            for &output in dag.outputs(program) {
                reader[output as usize] = u32::MAX;
            }
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
