//! The workspace's own command: `cargo xtask <command>`; `cargo xtask --help` lists them.
//!
//! It depends on no crate of the workspace, so that it builds in seconds and works while they do not compile.

#![forbid(unsafe_code)]
// A command talks to a person through its output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod bundle;
mod check;
mod ci;
mod device;
mod doctor;
mod documents;
mod driver_symbols;
mod entries;
mod kernels;
mod lock;
mod mutate;
mod report;
mod results;
mod simulated;
mod source;
mod suite;
mod tee;
mod test;
mod test_gpu;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Kernels, tests, benchmarks and CI of the Lockstep workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs the pinned CUDA compiler from PyPI into target/cuda-toolchain (270 MB; needs python3).
    SetupCuda(toolchain::Options),
    /// Compiles every crates/*/kernels/*.cu to PTX and writes kernels.lock, or checks what is committed.
    Kernels(kernels::Options),
    /// Runs every test that needs no GPU, without features and with cuda, and the documentation's examples.
    ///
    /// Tests for a CUDA device run as well, on a simulated one (tests/sim-driver): that stage proves that kernels give
    /// the CPU's results without a fault, and says nothing about speed. Tests that need a real device are listed as
    /// ignored at the end.
    ///
    /// `cargo xtask test -- NAME` runs the tests whose name contains NAME; the simulated stage then proves only their
    /// kernels.
    Test(test::Options),
    /// Runs every test on a machine with a CUDA device and reports what was proved.
    ///
    /// The report names the device as the tests met it. On a driver that interprets kernels (tests/sim-driver) it is
    /// called simulated and proves nothing about a GPU.
    TestGpu(test_gpu::Options),
    /// Puts small faults into kernels and runs their tests over a stand-in driver: would they notice? Needs no GPU.
    ///
    /// It takes the committed kernels of this workspace (crates/*/kernels) and no others, and changes one instruction at
    /// a time in a copy. A fault that makes a test fail is caught: by a wrong result, or by what the simulated device
    /// reports. One with which all tests pass is a survivor: the tests would not notice it, or it changes nothing that
    /// can be seen. Each fault costs a run of its kernel's tests, and four hundred of them take long: begin with --filter;
    /// --resume goes on after a stop.
    MutateKernels(mutate::Options),
    /// Shows which tools this machine has, and how to get the missing ones.
    Doctor,
    /// Runs all that a change must pass: format, lints, kernels, documentation, tests.
    Ci(ci::Options),
    /// Measures kernels, whole transforms and other programs; writes benches/results and BENCHMARKS.md.
    Bench(bench::Options),
    /// Writes the list of driver functions that gpu-core defines (src/cuda/symbols.rs) from cust_raw's declarations.
    DriverSymbols(driver_symbols::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::SetupCuda(options) => toolchain::setup(&options),
        Command::Kernels(options) => kernels::run(&options),
        Command::Test(options) => test::run(&options),
        Command::TestGpu(options) => test_gpu::run(&options),
        Command::MutateKernels(options) => mutate::run(&options),
        Command::Doctor => doctor::run(),
        Command::Ci(options) => ci::run_all(&options),
        Command::Bench(options) => bench::run(&options),
        Command::DriverSymbols(options) => driver_symbols::run(&options),
    }
}
