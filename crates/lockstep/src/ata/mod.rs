//! `lockstep ata …`: one file a subcommand.

mod bench;
mod files;
mod matrix;
mod solve;
mod verify;
mod walls;

use ata_wmma::AtaError;
use clap::Subcommand;

use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

pub(crate) use matrix::plot;

/// Subcommands of `ata`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a synthetic LED wall
    Gen(walls::Gen),
    /// Order the LEDs so that what interacts comes close to the diagonal
    Order(walls::Order),
    /// The exact Gram matrix of patterns
    Gram(walls::Gram),
    /// Make a matrix folder from dense, diagonal, compressed-row, Matrix Market or Toeplitz files
    Import(matrix::Import),
    /// Write a matrix in another form
    Export(matrix::Export),
    /// Size, blocks, bandwidth, bytes and health of a matrix
    Info(matrix::Info),
    /// Multiply a matrix with a batch of vectors
    Apply(matrix::Apply),
    /// Exact sums of patterns times frames: the right sides
    Atb(walls::Atb),
    /// Find the LED values that show a video best
    Solve(Box<solve::Solve>),
    /// The picture that LED values show, and its error
    Render(walls::Render),
    /// Check products, sums and solvers against a folder of reference data, in every precision
    Verify(verify::Verify),
    /// Measure products, the solver and sums on a synthetic wall
    Bench(bench::Bench),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Gen(c) => c.run(session),
            Self::Order(c) => c.run(session),
            Self::Gram(c) => c.run(session),
            Self::Import(c) => c.run(session),
            Self::Export(c) => c.run(session),
            Self::Info(c) => c.run(session),
            Self::Apply(c) => c.run(session),
            Self::Atb(c) => c.run(session),
            Self::Solve(c) => c.run(session),
            Self::Render(c) => c.run(session),
            Self::Verify(c) => c.run(session),
            Self::Bench(c) => c.run(session),
        }
    }
}

impl From<AtaError> for Failure {
    fn from(error: AtaError) -> Self {
        let message = error.to_string();
        match error {
            AtaError::Gpu(error) => error.into(),
            AtaError::File { field, .. } if field == "file" || field == "folder" => Self::new(Exit::Io, message),
            _ => Self::usage(message),
        }
    }
}
