//! The order of evaluation of a graph.

use crate::dag::{Dag, NodeId};

/// Nodes by level, and when their values can go.
pub(crate) struct Plan {
    /// Nodes of each level.
    pub(crate) levels: Vec<Vec<NodeId>>,
    /// Nodes whose last reader is in a level, by the level's number in the graph.
    pub(crate) last_in_level: Vec<Vec<NodeId>>,
    /// Nodes whose last reader is a node, by that.
    pub(crate) last_in_node: Vec<Vec<NodeId>>,
}

impl Plan {
    pub(crate) fn new(dag: &Dag) -> Self {
        let level = |id: usize| dag.level(id as NodeId) as usize;
        let all = 0..dag.nodes().len();
        let count = all.clone().map(level).max().map_or(0, |most| most + 1);
        let mut levels = vec![Vec::new(); count];
        all.for_each(|id| levels[level(id)].push(id as NodeId));
        // A graph of literals and inputs may lack level 0.
        let levels = levels.into_iter().filter(|level: &Vec<NodeId>| !level.is_empty()).collect();
        let last_in_node = last_read(dag, |id| id, dag.nodes().len());
        Self { levels, last_in_level: last_read(dag, level, count), last_in_node }
    }
}

/// For every time the nodes that are read then and never again, or not at all. What programs return is never among them.
fn last_read(dag: &Dag, time: impl Fn(usize) -> usize, times: usize) -> Vec<Vec<NodeId>> {
    let mut last: Vec<Option<usize>> = (0..dag.nodes().len()).map(|id| Some(time(id))).collect();
    for (id, node) in dag.nodes().iter().enumerate() {
        node.operands().for_each(|operand| last[operand as usize] = last[operand as usize].max(Some(time(id))));
    }
    dag.all_outputs().for_each(|output| last[output as usize] = None);
    let mut read = vec![Vec::new(); times];
    for (id, last) in last.into_iter().enumerate() {
        if let Some(time) = last {
            read[time].push(id as NodeId);
        }
    }
    read
}
