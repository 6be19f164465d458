//! Many programs as one graph, in which every distinct expression appears once.

mod exec;
mod inline;
mod plan;
mod simplify;
mod stats;

use std::collections::{HashMap, HashSet};

use crate::error::{ErrClass, Limits};
use crate::lang::{Argument, Callee, Program};
use crate::prim::Prim;
use crate::value::Value;

pub(crate) use exec::Computed;
pub use exec::{Batch, ExecOpts, RunResult};
pub(crate) use inline::{DEEPEST, OVERHEAD};
pub use simplify::Simplified;
pub use stats::Stats;

/// The number of a node.
pub type NodeId = u32;

/// An expression.
#[derive(Clone, Debug)]
pub enum Node {
    /// An input: `I`, `S` or `C`.
    Input(&'static str),
    /// A constant, a number, or a primitive as a value.
    Literal(Value),
    /// A call of a primitive.
    Prim(Prim, Vec<NodeId>),
    /// A call of a function that a node gives.
    Call(NodeId, Vec<NodeId>),
}

impl Node {
    /// The nodes that it reads, the function that it calls first.
    pub fn operands(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (callee, args): (Option<NodeId>, &[NodeId]) = match self {
            Self::Input(_) | Self::Literal(_) => (None, &[]),
            Self::Prim(_, args) => (None, args),
            Self::Call(callee, args) => (Some(*callee), args),
        };
        callee.into_iter().chain(args.iter().copied())
    }

    /// Whether something is computed: inputs and literals are there.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Prim(..) | Self::Call(..))
    }

    /// The name of what is called.
    pub fn opcode(&self) -> &'static str {
        match self {
            Self::Input(name) => name,
            Self::Literal(_) => "literal",
            Self::Prim(prim, _) => prim.name(),
            Self::Call(..) => "call",
        }
    }
}

/// What a program became.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    /// Nodes of the lines that something returned depends on, one a line: equal lines count each.
    lines: Vec<NodeId>,
    outputs: Vec<NodeId>,
    /// Nodes that a rewrite relies on: their values must be far from the limits.
    guards: Vec<NodeId>,
    /// Whether the lines above are those of the program, one after the other, each with a node of its own: then what they do
    /// with less fuel follows from what they used.
    as_written: bool,
    program: Program,
}

impl Member {
    /// Whether the program must run alone, from the fuel that its nodes used: all of them together more than there is, or one
    /// that a rewrite relies on so much that its value may be near to other limits.
    fn runs_alone(&self, limits: &Limits, used: impl Fn(NodeId) -> u64) -> bool {
        let all = self.lines.iter().map(|&id| used(id)).fold(0u64, u64::saturating_add);
        // A node uses at least the weight of its value.
        let heavy = |&id: &NodeId| used(id) > u64::from(limits.weight) / 4;
        let tight = || limits.elements < limits.side || limits.calls < 8 || limits.nesting < 8;
        all > limits.fuel || (!self.guards.is_empty() && (tight() || self.guards.iter().any(heavy)))
    }
}

/// A graph of programs: operands come before what reads them.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    nodes: Vec<Node>,
    levels: Vec<u32>,
    members: Vec<Member>,
    source_lines: usize,
}

/// What makes two expressions the same.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Input(&'static str),
    /// Text and not value: `true` and 1 are equal, but not the same.
    Literal(String),
    Prim(Prim, Vec<NodeId>),
    Call(NodeId, Vec<NodeId>),
}

impl Dag {
    /// Merges programs. Lines that nothing returned depends on are left out.
    ///
    /// ```
    /// use grid_dsl::{Dag, Program};
    ///
    /// let text = "program a(I)\n x = rot90(I)\n y = size(x)\nreturn y\nend\n\
    ///             program b(I)\n u = rot90(I)\n v = hmirror(u)\nreturn v\nend\n";
    /// let stats = Dag::build(&Program::parse(text)?).stats();
    /// assert_eq!((stats.lines, stats.nodes, stats.levels), (4, 3, 2));
    /// # Ok::<(), grid_dsl::Diagnostic>(())
    /// ```
    pub fn build(programs: &[Program]) -> Self {
        let mut dag = Self::default();
        let mut known = HashMap::new();
        for program in programs {
            dag.source_lines += program.lines.len();
            let mut of_line: Vec<Option<NodeId>> = vec![None; program.lines.len()];
            let mut lines = Vec::new();
            for ((at, line), needed) in program.lines.iter().enumerate().zip(program.needed()) {
                if !needed {
                    continue;
                }
                let args: Vec<NodeId> = line.args.iter().map(|a| dag.argument(&mut known, a, &of_line)).collect();
                let key = match &line.callee {
                    Callee::Prim(prim) => Key::Prim(*prim, args),
                    Callee::Line(callee) => {
                        Key::Call(dag.argument(&mut known, &Argument::Line(*callee), &of_line), args)
                    }
                };
                let node = dag.number(&mut known, key, None);
                of_line[at] = Some(node);
                lines.push(node);
            }
            let outputs = program.returns.iter().map(|a| dag.argument(&mut known, a, &of_line)).collect();
            dag.members.push(Member {
                name: program.name.clone(),
                as_written: lines.iter().collect::<HashSet<_>>().len() == lines.len(),
                lines,
                outputs,
                guards: Vec::new(),
                program: program.clone(),
            });
        }
        dag
    }

    fn argument(&mut self, known: &mut HashMap<Key, NodeId>, a: &Argument, of_line: &[Option<NodeId>]) -> NodeId {
        match a {
            // A line that is needed has its node: arguments stand above.
            Argument::Line(at) => of_line[*at].unwrap_or_default(),
            Argument::Input(name) => self.number(known, Key::Input(name), None),
            literal => {
                let value = literal.literal().unwrap_or(Value::None);
                self.number(known, Key::Literal(value.to_text()), Some(value))
            }
        }
    }

    /// The node of an expression: the one that is there, or a new one.
    fn number(&mut self, known: &mut HashMap<Key, NodeId>, key: Key, literal: Option<Value>) -> NodeId {
        if let Some(&node) = known.get(&key) {
            return node;
        }
        let node = match &key {
            Key::Input(name) => Node::Input(name),
            Key::Literal(_) => Node::Literal(literal.unwrap_or(Value::None)),
            Key::Prim(prim, args) => Node::Prim(*prim, args.clone()),
            Key::Call(callee, args) => Node::Call(*callee, args.clone()),
        };
        let below = node.operands().map(|operand| self.levels[operand as usize]).max().unwrap_or(0);
        self.levels.push(below + u32::from(node.is_call()));
        let id = self.nodes.len() as NodeId;
        self.nodes.push(node);
        known.insert(key, id);
        id
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The level of a node: 0 for inputs and literals, else one above the highest operand.
    pub fn level(&self, node: NodeId) -> u32 {
        self.levels[node as usize]
    }

    /// Names of the programs, in order.
    pub fn programs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|m| m.name.as_str())
    }

    /// Nodes that a program returns.
    pub fn outputs(&self, program: usize) -> &[NodeId] {
        &self.members[program].outputs
    }

    /// Whether a program must run alone, from the fuel that its nodes used.
    pub(crate) fn runs_alone(&self, program: usize, limits: &Limits, used: impl Fn(NodeId) -> u64) -> bool {
        self.members[program].runs_alone(limits, used)
    }

    /// The lines of a program that fail because they share its fuel, and those that read them, with their classes: from the
    /// class and the fuel of each node computed with all the fuel. `None` for a program that was rewritten.
    pub(crate) fn short_of_fuel(
        &self,
        program: usize,
        limits: &Limits,
        slot: impl Fn(NodeId) -> (Option<ErrClass>, u64),
    ) -> Option<Vec<(NodeId, ErrClass)>> {
        let member = &self.members[program];
        if !member.as_written {
            return None;
        }
        let mut left = limits.fuel;
        let mut failed: Vec<(NodeId, ErrClass)> = Vec::new();
        for &id in &member.lines {
            let class = |id: NodeId| failed.iter().find(|(of, _)| *of == id).map(|(_, class)| *class).or(slot(id).0);
            // The leftmost operand that failed decides, and nothing is called.
            if let Some(of_operand) = self.nodes[id as usize].operands().find_map(class) {
                if slot(id).0 != Some(of_operand) {
                    failed.push((id, of_operand));
                }
                continue;
            }
            let used = slot(id).1;
            left = left.checked_sub(used).unwrap_or_else(|| {
                failed.push((id, ErrClass::Fuel));
                0
            });
        }
        Some(failed)
    }

    /// What a program returns, and the nodes of its lines, which share its fuel.
    pub(crate) fn needed_by(&self, program: usize) -> impl Iterator<Item = NodeId> + '_ {
        let member = &self.members[program];
        [&member.lines, &member.outputs, &member.guards].into_iter().flatten().copied()
    }

    /// The nodes that a program is asked for: all others of it are below them.
    pub(crate) fn roots(&self, program: usize) -> impl Iterator<Item = NodeId> + '_ {
        let member = &self.members[program];
        [&member.outputs, &member.guards].into_iter().flatten().copied()
    }

    /// A program as it was given.
    pub(crate) fn member_program(&self, program: usize) -> &Program {
        &self.members[program].program
    }

    /// Which nodes some of the programs need, with all that is below them.
    pub(crate) fn needed(&self, programs: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        programs.flat_map(|program| self.needed_by(program)).for_each(|id| needed[id as usize] = true);
        // Operands come before what reads them.
        for id in (0..self.nodes.len()).rev() {
            if needed[id] {
                self.nodes[id].operands().for_each(|operand| needed[operand as usize] = true);
            }
        }
        needed
    }

    /// The graph of some of the programs: their nodes alone, at the levels that they have here.
    pub(crate) fn part(&self, programs: &[usize]) -> Self {
        let needed = self.needed(programs.iter().copied());
        let mut part = Self::default();
        let mut became: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for ((node, &level), &needed) in self.nodes.iter().zip(&self.levels).zip(&needed) {
            became.push(part.nodes.len() as NodeId);
            if needed {
                let new = |ids: &[NodeId]| ids.iter().map(|&id| became[id as usize]).collect();
                part.nodes.push(match node {
                    Node::Prim(prim, args) => Node::Prim(*prim, new(args)),
                    Node::Call(callee, args) => Node::Call(became[*callee as usize], new(args)),
                    other => other.clone(),
                });
                part.levels.push(level);
            }
        }
        let new = |ids: &[NodeId]| ids.iter().map(|&id| became[id as usize]).collect();
        let members = || programs.iter().map(|&program| &self.members[program]);
        part.members = members()
            .map(|m| Member { lines: new(&m.lines), outputs: new(&m.outputs), guards: new(&m.guards), ..m.clone() })
            .collect();
        part.source_lines = members().map(|m| m.program.lines().len()).sum();
        part
    }

    /// Nodes that programs return, one program after the other.
    pub(crate) fn all_outputs(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().flat_map(|m| m.outputs.iter().copied())
    }

    /// Each node in words: `n12 = colorfilter(n9, 5)`.
    pub(crate) fn labels(&self) -> Vec<String> {
        let name = |id: NodeId| match &self.nodes[id as usize] {
            Node::Input(name) => (*name).to_owned(),
            Node::Literal(Value::Fn(crate::value::Function::Prim(prim))) => prim.name().to_owned(),
            Node::Literal(Value::Bool(on)) => if *on { "T" } else { "F" }.to_owned(),
            Node::Literal(value) => match value.as_pair() {
                Some((i, j)) => format!("({i}, {j})"),
                None => value.to_text(),
            },
            _ => format!("n{id}"),
        };
        let label = |(id, node): (usize, &Node)| match node {
            Node::Prim(prim, args) => {
                format!("n{id} = {}({})", prim.name(), args.iter().map(|&a| name(a)).collect::<Vec<_>>().join(", "))
            }
            Node::Call(callee, args) => {
                format!("n{id} = {}({})", name(*callee), args.iter().map(|&a| name(a)).collect::<Vec<_>>().join(", "))
            }
            _ => name(id as NodeId),
        };
        self.nodes.iter().enumerate().map(label).collect()
    }

    /// The graph in the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut lines = vec!["digraph grid {".to_owned()];
        for (id, node) in self.nodes.iter().enumerate() {
            let label = match node {
                Node::Literal(value) => value.to_text().replace('\\', "\\\\").replace('"', "\\\""),
                other => other.opcode().to_owned(),
            };
            lines.push(format!("  n{id} [label=\"{label}\"];"));
            // Only the order of several operands tells what they are.
            let several = node.operands().count() > 1;
            lines.extend((1..).zip(node.operands()).map(|(k, operand)| {
                let which = if several { format!(" [label=\"{k}\"]") } else { String::new() };
                format!("  n{operand} -> n{id}{which};")
            }));
        }
        for member in &self.members {
            let name = &member.name;
            lines.push(format!("  \"{name}\" [shape=box];"));
            lines.extend(member.outputs.iter().map(|output| format!("  n{output} -> \"{name}\";")));
        }
        lines.push("}\n".to_owned());
        lines.join("\n")
    }
}
