//! The Lockstep command: `lockstep nsct …`, `style …`, `align …`, `ata …`, `grid …`, `demo`, `doctor`, `compare`.
//!
//! Everything here is thin: options, files and messages. The work is in the crates below.

mod align;
mod ata;
mod backend;
mod compare;
mod demo;
mod doctor;
mod exit;
mod files;
mod grid;
mod interrupt;
mod jobs;
mod nsct;
mod photos;
mod pictures;
mod progress;
mod report;
mod session;
mod shard;
mod style;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Exit, Failure};
use session::Session;

/// Batched image transforms on CPUs and GPUs, with equal answers on both
#[derive(Parser, Debug)]
#[command(name = "lockstep", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = Exit::TABLE, after_long_help = AFTER)]
struct Cli {
    #[command(flatten)]
    session: Session,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Examples:
  lockstep demo                                   pictures and a page of results in demo-output/
  lockstep nsct denoise photo.jpg -o clean.png    remove noise whose strength is estimated
  lockstep nsct show photo.jpg -o sheet.png       all directions of all scales on one sheet
  lockstep style apply --model candy.pth --in photo.jpg --out candy.jpg
  lockstep align run RawNIND/ -o out/ --report    shifts of all scenes, and pages to look at
  lockstep grid run flip.grid --grid 012/345 --show
  lockstep doctor                                 what this machine has, and what is missing

Exit codes: 0 done, 1 a check or comparison failed, 2 usage or bad input, 3 some items of a batch failed,
4 no such backend or device lost, 5 reading or writing failed, 6 out of memory, 130 interrupted: run again
to go on";

#[derive(Subcommand, Debug)]
enum Command {
    /// Nonsubsampled contourlet transform: decompose, reconstruct, denoise, fuse, …
    #[command(subcommand)]
    Nsct(Box<nsct::Command>),
    /// Style transfer: photographs as a painter's, with the models that people have
    #[command(subcommand)]
    Style(style::Command),
    /// RAW photographs of one scene: shifts between them, masks, training lists
    #[command(subcommand)]
    Align(align::Command),
    /// Symmetric block-diagonal matrices times batches of frames, and LED values from video
    #[command(subcommand)]
    Ata(Box<ata::Command>),
    /// The ARC grid language: run, check, import, verify and search programs; variants of tasks
    #[command(subcommand)]
    Grid(grid::Command),
    /// Run everything on bundled photographs and write pictures and one HTML page
    Demo(demo::Demo),
    /// Show devices, driver, kernels, memory and libraries, with a remedy for what is missing
    Doctor(doctor::Doctor),
    /// Run a subcommand on two backends and report the largest differences of what they write
    Compare(compare::Compare),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.session.install_log();
    // Where nobody looks at a terminal, a message is one line: programs search it, and a path stays whole.
    let wrap_lines = std::io::stderr().is_terminal();
    let handler = move |_: &_| -> Box<dyn miette::ReportHandler> {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(wrap_lines).build())
    };
    // There is another one only where a program sets two.
    let _ = miette::set_hook(Box::new(handler));
    let session = &cli.session;
    let done = match cli.command {
        Command::Nsct(command) => command.run(session),
        Command::Style(command) => command.run(session),
        Command::Align(command) => command.run(session),
        Command::Ata(command) => command.run(session),
        Command::Grid(command) => command.run(session),
        Command::Demo(demo) => demo.run(session),
        Command::Doctor(doctor) => doctor.run(session),
        Command::Compare(compare) => compare.run(session),
    };
    match done.and_then(|exit| session::lost_output().map_or(Ok(exit), Err)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report_failure(session, &failure);
            failure.exit.into()
        }
    }
}

/// Prints an error: the message with its remedy, or one line of JSON.
pub(crate) fn report_failure(session: &Session, failure: &Failure) {
    let mut stderr = std::io::stderr().lock();
    // Nothing can be done when standard error is closed.
    let _ = if session.json {
        writeln!(stderr, "{}", failure.to_json())
    } else {
        write!(stderr, "{:?}", miette::Report::new(failure.clone()))
    };
}
