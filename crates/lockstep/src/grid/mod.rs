//! `lockstep grid …`: one file a subcommand.

mod augment;
mod bench;
mod check;
mod dag;
pub(crate) mod drawing;
mod import;
mod machine;
mod merged;
mod report;
mod run;
mod search;
mod sources;
mod tune;
mod verify;

use clap::Subcommand;

use crate::exit::{Exit, Result};
use crate::session::Session;

/// Subcommands of `grid`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run programs on grids or tasks, and show what they return
    Run(Box<run::Run>),
    /// Say what is wrong with programs, with line and column
    Check(check::Check),
    /// Read solvers from a Python file and write them as programs
    Import(import::Import),
    /// Merge programs into one graph, and count its nodes
    #[command(visible_alias = "stats")]
    Dag(dag::Dag),
    /// List the patterns of the merged graph, and what they are turned into: `dag --explain`
    Explain(dag::Dag),
    /// Compare with stored answers: vectors, programs and traces of a folder
    #[command(visible_alias = "conform")]
    Verify(verify::Verify),
    /// Measure components, merged graphs and the latency of one task
    Bench(Box<bench::Bench>),
    /// Look for programs that solve a task: all compositions of operations, shortest first
    Search(search::Search),
    /// Make variants of tasks: turned, mirrored, with other colours, and back again
    Augment(augment::Augment),
    /// Measure thresholds on this machine, for `run --merged --tuning`
    Tune(tune::Tune),
    /// Write a page about what a run cost, from what `run --merged --profile` wrote
    Report(report::Report),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Run(c) => c.run(session),
            Self::Check(c) => c.run(session),
            Self::Import(c) => c.run(session),
            Self::Dag(c) => c.run(session, false),
            Self::Explain(c) => c.run(session, true),
            Self::Verify(c) => c.run(session),
            Self::Bench(c) => c.run(session),
            Self::Search(c) => c.run(session),
            Self::Augment(c) => c.run(session),
            Self::Tune(c) => c.run(session),
            Self::Report(c) => c.run(session),
        }
    }
}
