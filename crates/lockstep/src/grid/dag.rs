use std::path::PathBuf;

use clap::Args;
use grid_dsl::Dag as Graph;

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

All programs of all files become one graph, in which every distinct expression appears once; lines that nothing \
returned depends on are left out.")]
pub(crate) struct Dag {
    /// Files of programs, or of solvers in Python (.py)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the graph for Graphviz
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl Dag {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let mut programs = Vec::new();
        for path in &self.files {
            programs.extend(self.reading.sound_programs(path)?);
        }
        let graph = Graph::build(&programs);
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
        session.document(&stats)?;
        Ok(Exit::Ok)
    }
}

/// Functions that are listed, the most frequent first.
const SHOWN: usize = 20;
