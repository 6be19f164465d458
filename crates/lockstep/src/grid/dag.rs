use std::path::PathBuf;

use clap::Args;
use grid_dsl::{Explanation, Pattern};
use serde_json::{Value as Json, json};

use super::merged::Rewriting;
use super::sources::Reading;
use crate::exit::{Exit, Result};
use crate::files;
use crate::session::Session;

/// Options of `grid dag`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid dag solvers.py
  lockstep grid dag examples/*.grid --dot graph.dot
  lockstep grid dag solvers.grid --json
  lockstep grid dag examples/*.grid --explain --no-pattern P3

All programs of all files become one graph, in which every distinct expression appears once; lines that nothing \
returned depends on are left out. --explain lists the patterns that runs compute as a whole: P1 maps over the samples of a \
task, P2 several kinds of components of one grid, P3 several maps over one container, P4 components that are filtered, merged \
and written into a grid, P5 turns and mirrors one after the other.")]
pub(crate) struct Dag {
    /// Files of programs, or of solvers in Python (.py)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the graph for Graphviz
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// List the patterns of the graph, and what they are turned into
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    rewriting: Rewriting,
    #[command(flatten)]
    reading: Reading,
}

impl Dag {
    pub(crate) fn run(&self, session: &Session, explain: bool) -> Result<Exit> {
        if let Some(path) = &self.dot {
            files::spare(path, &self.files, "--dot")?;
        }
        let mut programs = Vec::new();
        for path in &self.files {
            programs.extend(self.reading.sound_programs(path)?);
        }
        let (graph, simplified) = self.rewriting.graph(&programs);
        if let Some(path) = &self.dot {
            files::write(path, graph.to_dot().as_bytes())?;
        }
        let stats = graph.stats();
        session.say(format!("{} programs, {} lines", stats.programs, stats.lines));
        session.say(format!(
            "{} nodes in {} levels, {} groups of one function in a level",
            stats.nodes, stats.levels, stats.groups
        ));
        session.say(format!(
            "{} nodes make functions, {} operands of theirs are computed",
            stats.closures, stats.captured
        ));
        let mut opcodes: Vec<_> = stats.opcodes.iter().collect();
        opcodes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        for (name, count) in opcodes.into_iter().take(SHOWN) {
            session.say(format!("  {name:<16} {count:>6}"));
        }
        if self.rewriting.simplify {
            session.say(format!("{} rewrites before that", simplified.total()));
        }
        let mut document = serde_json::to_value(&stats).unwrap_or_default();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("simplified".to_owned(), json!(simplified));
            if self.explain || explain {
                let explained = graph.explain(self.rewriting.patterns());
                session.say(spoken(&explained));
                fields.insert("patterns".to_owned(), json!(told(&explained)));
            }
        }
        session.document(&document)?;
        Ok(Exit::Ok)
    }
}

/// Counts of patterns, then each one.
fn spoken(explained: &Explanation) -> String {
    let mut lines = vec![String::new()];
    for pattern in Pattern::ALL {
        lines.push(format!("{pattern} {:>5} times: {}", explained.count(pattern), pattern.words()));
    }
    format!("{}\n\n{}", lines.join("\n"), explained.to_string().trim_end())
}

fn told(explained: &Explanation) -> Vec<Json> {
    let one = |found: &grid_dsl::Found| {
        let nodes: Vec<&str> = found.nodes().iter().map(|&node| explained.label(node)).collect();
        json!({ "pattern": found.pattern().name(), "becomes": found.becomes(), "nodes": nodes, "absorbed": found.absorbed().len() })
    };
    explained.found().iter().map(one).collect()
}

/// Functions that are listed, the most frequent first.
const SHOWN: usize = 20;
