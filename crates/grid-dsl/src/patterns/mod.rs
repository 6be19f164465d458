//! Patterns in a graph that are computed in another way than node by node, with the same values, classes and fuel.
//!
//! Each pattern is found on the [`Dag`] alone, listed by [`Dag::explain`], and can be switched off by itself. What runs for a
//! pattern looks at its operands first: where anything is out of the ordinary (no grid of plain numbers, a value near a
//! limit, a function that it does not know) it declines, and the nodes are computed one by one.

mod dense;
mod detect;
mod isometry;
mod maps;
mod modes;
mod region;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dag::{Dag, NodeId};
use crate::error::{ErrClass, Limits, Result};
use crate::value::Value;

pub(crate) use detect::detect;

/// A kind of pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pattern {
    /// Functions of the inputs and of the outputs of a task's samples.
    P1,
    /// Several kinds of components of one grid.
    P2,
    /// Several maps over one container.
    P3,
    /// Components that are filtered, merged and written into a grid.
    P4,
    /// Turns and mirrors one after the other.
    P5,
}

impl Pattern {
    /// All patterns.
    pub const ALL: [Self; 5] = [Self::P1, Self::P2, Self::P3, Self::P4, Self::P5];

    /// `P1` to `P5`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
        }
    }

    /// The pattern of a name, in either case.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name().eq_ignore_ascii_case(name))
    }

    /// What is computed in place of its nodes.
    pub const fn words(self) -> &'static str {
        match self {
            Self::P1 => "one batch of a function's calls on all inputs and outputs, once for all samples of a task",
            Self::P2 => "background, labels and cells of the grid found once for all modes",
            Self::P3 => "one traversal of the container; a function that several use is called once an element",
            Self::P4 => "written from the label map, without making the objects",
            Self::P5 => "one index map",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which patterns are used. All are unless they are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patterns([bool; 5]);

impl Default for Patterns {
    fn default() -> Self {
        Self([true; 5])
    }
}

impl Patterns {
    /// No pattern: every node by itself.
    pub const NONE: Self = Self([false; 5]);

    /// The same without one.
    #[must_use]
    pub const fn without(mut self, pattern: Pattern) -> Self {
        self.0[pattern as usize] = false;
        self
    }

    /// The same with one more.
    #[must_use]
    pub const fn with(mut self, pattern: Pattern) -> Self {
        self.0[pattern as usize] = true;
        self
    }

    /// Whether a pattern is used.
    pub const fn has(self, pattern: Pattern) -> bool {
        self.0[pattern as usize]
    }

    /// Those that are used.
    pub fn iter(self) -> impl Iterator<Item = Pattern> {
        Pattern::ALL.into_iter().filter(move |&pattern| self.has(pattern))
    }
}

/// A pattern that was found: which nodes it covers.
#[derive(Clone, Debug)]
pub struct Found {
    pattern: Pattern,
    nodes: Vec<NodeId>,
    absorbed: Vec<NodeId>,
    becomes: String,
    work: Work,
}

impl Found {
    /// The kind.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// The nodes, operands before what reads them.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Those of the nodes whose values are never made.
    pub fn absorbed(&self) -> &[NodeId] {
        &self.absorbed
    }

    /// What is computed in their place, in words.
    pub fn becomes(&self) -> &str {
        &self.becomes
    }

    /// Computes all nodes, or declines: they must then be computed one by one.
    pub(crate) fn run(&self, read: &Read, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
        match &self.work {
            Work::Chain(chain) => chain.run(read, limits),
            Work::Modes(modes) => modes.run(read, limits),
            Work::Region(region) => region.run(read, limits),
            Work::Maps(maps) => maps.run(read, limits),
        }
    }
}

/// How a pattern is computed.
#[derive(Clone, Debug)]
enum Work {
    Chain(isometry::Chain),
    Modes(modes::Modes),
    Region(region::Region),
    Maps(maps::Maps),
}

/// The value of a node on one sample, and the fuel that its call took.
pub(crate) type Slot = (Result<Value>, u64);

/// The value of a node that has been computed.
pub(crate) type Read<'r, 'v> = dyn Fn(NodeId) -> Result<&'v Value> + 'r;

/// What stands in the slot of a node whose value is not made: nothing reads it.
fn absent(fuel: u64) -> Slot {
    (Err(ErrClass::Type), fuel)
}

/// The fuel of a primitive's call that does no work beyond reading its arguments and making its result.
fn plain_fuel(args: u64, result: u64) -> u64 {
    1 + args + result
}

/// Slots, unless a call among them has used more fuel than there is: it must then fail as it does alone.
fn within_fuel(slots: Vec<(NodeId, Slot)>, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
    slots.iter().all(|(_, (_, used))| *used <= limits.fuel).then_some(slots)
}

/// The patterns of a graph, in the order of what they compute.
#[derive(Clone, Debug)]
pub struct Explanation {
    found: Vec<Found>,
    labels: Vec<String>,
}

impl Explanation {
    /// What was found.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// How often a pattern was found.
    pub fn count(&self, pattern: Pattern) -> usize {
        self.found.iter().filter(|found| found.pattern == pattern).count()
    }

    /// A node in words: `n12 = colorfilter(n9, 5)`.
    pub fn label(&self, node: NodeId) -> &str {
        &self.labels[node as usize]
    }
}

/// A paragraph a pattern: its nodes, and what they become.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.found {
            writeln!(f, "{}: {}", found.pattern, found.becomes)?;
            for &node in &found.nodes {
                let mark = if found.absorbed.contains(&node) { "  (not made)" } else { "" };
                writeln!(f, "    {}{mark}", self.label(node))?;
            }
        }
        Ok(())
    }
}

impl Dag {
    /// The patterns of the graph, as far as they are switched on. A node belongs to one pattern at most: to P4, P5, P1, P2 or
    /// P3, in this order.
    ///
    /// ```
    /// use grid_dsl::{Dag, Pattern, Patterns, Program};
    ///
    /// let text = "program a(I)\n x = rot90(I)\n y = hmirror(x)\nreturn y\nend\n";
    /// let explained = Dag::build(&Program::parse(text)?).explain(Patterns::default());
    /// assert_eq!(explained.count(Pattern::P5), 1);
    /// assert_eq!(explained.found()[0].becomes(), "one index map: cmirror");
    /// # Ok::<(), grid_dsl::Diagnostic>(())
    /// ```
    pub fn explain(&self, patterns: Patterns) -> Explanation {
        Explanation { found: detect(self, patterns), labels: self.labels() }
    }
}
