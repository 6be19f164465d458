//! `lockstep grid …`: one file a subcommand.

mod check;
mod dag;
mod import;
mod run;
mod sources;
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
    Dag(dag::Dag),
    /// Compare with stored answers: vectors, programs and traces of a folder
    Verify(verify::Verify),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Run(c) => c.run(session),
            Self::Check(c) => c.run(session),
            Self::Import(c) => c.run(session),
            Self::Dag(c) => c.run(session),
            Self::Verify(c) => c.run(session),
        }
    }
}
