//! Finding patterns in a graph.

use std::collections::{BTreeMap, HashSet};

use super::isometry::Chain;
use super::maps::{Map, Maps};
use super::modes::{Member, Mode, Modes};
use super::region::{Between, Filter, Region};
use super::{Found, Pattern, Patterns, Work};
use crate::dag::{Dag, Node, NodeId};
use crate::isometry::Isometry;
use crate::prim::Prim;
use crate::value::Value;

/// What is known about a graph while patterns are looked for.
struct Search<'d> {
    dag: &'d Dag,
    /// How often a node is read; what is returned counts.
    readers: Vec<u32>,
    taken: Vec<bool>,
    found: Vec<Found>,
}

/// The patterns of a graph. Those that leave values out come first: they save most.
pub(crate) fn detect(dag: &Dag, patterns: Patterns) -> Vec<Found> {
    let mut readers = vec![0; dag.nodes().len()];
    let operands = dag.nodes().iter().flat_map(Node::operands);
    let outputs = (0..dag.programs().len()).flat_map(|p| dag.outputs(p).iter().copied());
    operands.chain(outputs).for_each(|node| readers[node as usize] += 1);
    let mut search = Search { dag, readers, taken: vec![false; dag.nodes().len()], found: Vec::new() };
    for pattern in [Pattern::P4, Pattern::P5, Pattern::P1, Pattern::P2, Pattern::P3] {
        match pattern {
            _ if !patterns.has(pattern) => {}
            Pattern::P1 => search.samples(),
            Pattern::P2 => search.modes(),
            Pattern::P3 => search.maps(),
            Pattern::P4 => search.regions(),
            Pattern::P5 => search.chains(),
        }
    }
    search.found.sort_by_key(|found| (found.pattern, found.nodes.first().copied()));
    search.found
}

impl<'d> Search<'d> {
    fn prim(&self, node: NodeId) -> Option<(Prim, &'d [NodeId])> {
        match &self.dag.nodes()[node as usize] {
            Node::Prim(prim, args) if !self.taken[node as usize] => Some((*prim, args)),
            _ => None,
        }
    }

    fn literal(&self, node: NodeId) -> Option<&'d Value> {
        match &self.dag.nodes()[node as usize] {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Whether only one node reads it, and nothing returns it.
    fn single(&self, node: NodeId) -> bool {
        self.readers[node as usize] == 1
    }

    fn calls(&self) -> Vec<(NodeId, Prim, &'d [NodeId])> {
        let ids = 0..self.dag.nodes().len() as NodeId;
        ids.filter_map(|id| self.prim(id).map(|(prim, args)| (id, prim, args))).collect()
    }

    fn push(&mut self, pattern: Pattern, mut nodes: Vec<NodeId>, absorbed: Vec<NodeId>, becomes: String, work: Work) {
        for &node in &nodes {
            self.taken[node as usize] = true;
        }
        nodes.sort_unstable();
        self.found.push(Found { pattern, nodes, absorbed, becomes, work });
    }

    /// P5: the longest chains, from their ends.
    fn chains(&mut self) {
        for (id, prim, _) in self.calls().into_iter().rev() {
            if self.taken[id as usize] || Isometry::of(prim).is_none_or(|i| i == Isometry::Identity) {
                continue;
            }
            let (mut steps, mut base, mut at) = (Vec::new(), id, Some(id));
            while let Some(node) = at.take() {
                let Some((prim, [arg])) = self.prim(node) else { break };
                let Some(isometry) = Isometry::of(prim).filter(|&i| i != Isometry::Identity) else { break };
                steps.push((node, isometry));
                base = *arg;
                at = self.single(*arg).then_some(*arg);
            }
            if steps.len() < 2 {
                continue;
            }
            steps.reverse();
            let whole = steps.iter().fold(Isometry::Identity, |all, (_, step)| all.then(*step));
            let nodes: Vec<NodeId> = steps.iter().map(|(node, _)| *node).collect();
            let absorbed = nodes[..nodes.len() - 1].to_vec();
            let becomes = format!("one index map: {}", whole.name());
            self.push(Pattern::P5, nodes, absorbed, becomes, Work::Chain(Chain { base, steps, whole }));
        }
    }

    /// The components that a call asks for, with flags that are known.
    fn mode(&self, node: NodeId) -> Option<(NodeId, Member)> {
        let (prim, args) = self.prim(node)?;
        let flags = args.get(1..)?.iter().map(|&flag| self.literal(flag)).collect::<Option<Vec<_>>>()?;
        let weight = flags.iter().map(|flag| u64::from(flag.weight())).sum();
        let mode = match (prim, flags.as_slice()) {
            (Prim::Objects, [u, d, b]) => Mode { univalued: u.truth(), diagonal: d.truth(), bare: b.truth() },
            (Prim::OG | Prim::OGT, [Value::Int(flags @ 0..=7)]) => {
                Mode { univalued: flags & 4 != 0, diagonal: flags & 2 != 0, bare: flags & 1 != 0 }
            }
            _ => return None,
        };
        Some((args[0], Member { node, mode, flags: weight, tuple: prim == Prim::OGT }))
    }

    /// P2: calls by their grid.
    fn modes(&mut self) {
        let mut grids: BTreeMap<NodeId, Vec<Member>> = BTreeMap::new();
        for (id, ..) in self.calls() {
            if let Some((grid, member)) = self.mode(id) {
                grids.entry(grid).or_default().push(member);
            }
        }
        for (grid, members) in grids {
            if members.len() < 2 {
                continue;
            }
            let nodes = members.iter().map(|member| member.node).collect();
            let becomes = format!("{} modes of one grid: background, labels and cells found once", members.len());
            self.push(Pattern::P2, nodes, Vec::new(), becomes, Work::Modes(Modes { grid, members }));
        }
    }

    /// P4: backwards from what writes into a grid.
    fn regions(&mut self) {
        for (sink, write, args) in self.calls() {
            let (canvas, colour, patch) = match (write, args) {
                (Prim::Fill | Prim::Underfill, [g, c, p]) => (*g, Some(*c), *p),
                (Prim::Cover | Prim::Paint | Prim::Underpaint, [g, p]) => (*g, None, *p),
                _ => continue,
            };
            if let Some((region, nodes)) = self.region(sink, write, canvas, colour, patch) {
                let absorbed = nodes[..nodes.len() - 1].to_vec();
                let filters = region.filters.len();
                let becomes = format!("`{}` from the label map, {filters} filters, no object is made", write.name());
                self.push(Pattern::P4, nodes, absorbed, becomes, Work::Region(region));
            }
        }
    }

    fn region(
        &self,
        sink: NodeId,
        write: Prim,
        canvas: NodeId,
        colour: Option<NodeId>,
        patch: NodeId,
    ) -> Option<(Region, Vec<NodeId>)> {
        let mut nodes = vec![sink];
        // Each node on the way is read by the next one alone.
        let step = |nodes: &mut Vec<NodeId>, node: NodeId| {
            let call = self.prim(node).filter(|_| self.single(node))?;
            nodes.push(node);
            Some(call)
        };
        let mut at = patch;
        let (mut prim, mut args) = step(&mut nodes, at)?;
        let between = match (prim, args) {
            (Prim::Toindices, [_]) if !matches!(write, Prim::Paint | Prim::Underpaint) => Some(Between::Indices(at)),
            (Prim::Recolor, [new, _]) => Some(Between::Recolor(at, *new)),
            _ => None,
        };
        if between.is_some() {
            at = *args.last()?;
            (prim, args) = step(&mut nodes, at)?;
        }
        let (mut merge, mut filters) = (None, Vec::new());
        match (prim, args) {
            (Prim::Merge, [_]) => merge = Some(at),
            (Prim::Mfilter, [_, f]) => filters.push((at, Filter::Where(*f))),
            _ => return None,
        }
        loop {
            at = args[0];
            (prim, args) = step(&mut nodes, at)?;
            let filter = match (prim, args) {
                (Prim::Colorfilter, [_, c]) => Filter::Colour(*c),
                (Prim::Sizefilter, [_, n]) => Filter::Size(*n),
                (Prim::Sfilter, [_, f]) => Filter::Where(*f),
                _ => break,
            };
            filters.push((at, filter));
        }
        let (grid, Member { mode, flags, tuple: false, .. }) = self.mode(at)? else { return None };
        filters.reverse();
        nodes.reverse();
        let region = Region { grid, objects: at, mode, flags, filters, merge, between, sink, write, canvas, colour };
        Some((region, nodes))
    }

    /// Whether a node is the inputs (or, with `false`, the outputs) of the samples.
    fn part_of_samples(&self, node: NodeId, inputs: bool) -> bool {
        let Node::Prim(Prim::Apply, args) = &self.dag.nodes()[node as usize] else { return false };
        let [f, c] = args.as_slice() else { return false };
        let Some(Value::Fn(crate::value::Function::Prim(part))) = self.literal(*f) else { return false };
        let wanted = if inputs { *part == Prim::First } else { matches!(part, Prim::Last | Prim::Second) };
        wanted && matches!(self.dag.nodes()[*c as usize], Node::Input("S"))
    }

    /// P1: maps of one function over the inputs and over the outputs of the samples.
    fn samples(&mut self) {
        let mut by_function: BTreeMap<(NodeId, u32), Vec<Map>> = BTreeMap::new();
        for (id, prim, args) in self.calls() {
            let Some(map) = Map::read(id, prim, args) else { continue };
            if self.part_of_samples(map.container, true) || self.part_of_samples(map.container, false) {
                by_function.entry((map.function, self.dag.level(id))).or_default().push(map);
            }
        }
        for maps in by_function.into_values() {
            let of = |inputs: bool| maps.iter().any(|map| self.part_of_samples(map.container, inputs));
            if !(of(true) && of(false)) {
                continue;
            }
            let nodes = maps.iter().map(|map| map.node).collect();
            let becomes = "one batch of calls on all inputs and outputs of the samples, once a task".to_owned();
            self.push(Pattern::P1, nodes, Vec::new(), becomes, Work::Maps(Maps(maps)));
        }
    }

    /// P3: maps by container and level.
    fn maps(&mut self) {
        let mut containers: BTreeMap<(NodeId, u32), Vec<Map>> = BTreeMap::new();
        for (id, prim, args) in self.calls() {
            if let Some(map) = Map::read(id, prim, args) {
                containers.entry((map.container, self.dag.level(id))).or_default().push(map);
            }
        }
        for maps in containers.into_values().filter(|maps| maps.len() > 1) {
            let nodes = maps.iter().map(|map| map.node).collect();
            let functions = maps.iter().map(|map| map.function).collect::<HashSet<_>>().len();
            let becomes = format!("{} maps in one traversal, {functions} functions called an element", maps.len());
            self.push(Pattern::P3, nodes, Vec::new(), becomes, Work::Maps(Maps(maps)));
        }
    }
}
