//! Options that several subcommands take.

use std::str::FromStr;

use ::align::{Combine, MaxShift, Options, Planes, Refine};
use clap::{Args, ValueEnum};
use gpu_core::{AnyBackend, Cpu};

use crate::backend::{Place, parse_size, start_threads};
use crate::exit::Result;
use crate::shard::Shard;

/// How shifts are estimated.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Estimating")]
pub(crate) struct EstimateArgs {
    /// What is correlated: one averaged plane, or every channel of the mosaic
    #[arg(long, value_enum, default_value_t)]
    pub(crate) planes: PlanesArg,
    /// How channels become one shift
    #[arg(long, value_enum, default_value_t)]
    pub(crate) combine: CombineArg,
    /// Largest shift in pixels, or auto: a quarter of the shorter side
    #[arg(long, value_name = "N|auto", default_value = "128")]
    pub(crate) max_shift: Shift,
    /// What happens after the peak: a second look whose windows follow the shift, and Gauss-Newton on the pictures
    #[arg(long, value_enum, default_value_t)]
    pub(crate) refine: RefineArg,
    /// Align parts of the pictures, too: finds pairs that are turned or scaled
    #[arg(long)]
    pub(crate) tiles: bool,
}

/// `--planes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanesArg {
    /// The mean of each block of the pattern
    #[default]
    Luma,
    /// Each channel
    Channels,
}

/// `--combine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CombineArg {
    /// Correlations are added
    #[default]
    Sum,
    /// The median of the channels' shifts
    Median,
    /// The mean of the channels' shifts
    Mean,
}

/// `--refine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RefineArg {
    /// The peak's own precision
    None,
    /// Small pictures get a second look with windows that follow the shift
    #[default]
    Follow,
    /// And Gauss-Newton ends it
    Gn,
}

/// `--max-shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift(MaxShift);

impl FromStr for Shift {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(MaxShift::Auto));
        }
        let pixels = text.parse().ok().filter(|n| (1..=100_000).contains(n));
        let wrong = || format!("`{text}` is no shift; write pixels such as 128, or auto");
        pixels.map(|n| Self(MaxShift::Pixels(n))).ok_or_else(wrong)
    }
}

impl EstimateArgs {
    /// The library's options.
    pub(crate) fn options(&self, machine: &MachineArgs) -> Options {
        Options {
            max_shift: self.max_shift.0,
            planes: match self.planes {
                PlanesArg::Luma => Planes::Luma,
                PlanesArg::Channels => Planes::Channels,
            },
            combine: match self.combine {
                CombineArg::Sum => Combine::Sum,
                CombineArg::Median => Combine::Median,
                CombineArg::Mean => Combine::Mean,
            },
            refine: match self.refine {
                RefineArg::None => Refine::None,
                RefineArg::Follow => Refine::Follow,
                RefineArg::Gn => Refine::Gn,
            },
            tiles: self.tiles,
            memory: machine.memory,
            ..Options::default()
        }
    }
}

/// Where to compute.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where to compute")]
pub(crate) struct MachineArgs {
    /// auto (GPUs when there are some and work for them), cpu, cuda or cuda:N
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub(crate) backend: Place,
    /// Budget for spectra, workspace and colours, and as much again for pictures of the next scenes that wait, such as 500M
    /// or 2G [default: what is free, and a quarter of it]; results do not depend on it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) threads: Option<u16>,
}

impl MachineArgs {
    /// Starts the CPU's threads.
    pub(crate) fn start(&self) -> Result<()> {
        self.threads.map_or(Ok(()), start_threads)
    }

    /// Starts the CPU's threads and opens the backend.
    pub(crate) fn open(&self) -> Result<AnyBackend> {
        self.start()?;
        let any = self.backend.open_for(None)?;
        tracing::info!(backend = any.name(), device = %any.device().name, "computing");
        Ok(any)
    }

    /// Opens the backend, and all GPUs where none was named, to align so many bytes of files. With `auto`, work that the
    /// CPU has done before a GPU has started stays there.
    pub(crate) fn open_all(&self, shard: &Shard, bytes: u64, compare: bool) -> Result<Vec<AnyBackend>> {
        if self.backend.is_auto() {
            let [cpu, gpu] = estimates(bytes, compare, rayon::current_num_threads());
            if cpu <= gpu {
                tracing::info!(%cpu, %gpu, "too little work for a GPU, in estimated seconds");
                return Ok(vec![AnyBackend::Cpu(Cpu::new())]);
            }
        }
        self.backend.open_all(shard)
    }
}

/// Seconds until a GPU can work: its context, and its kernels compiled by the driver or found in its cache.
const START: f64 = 0.6;
/// Nanoseconds a pixel on one thread of a CPU: aligning, and comparing for masks (`BENCHMARKS.md`: `align_further`,
/// `demosaic` and the kernels behind it).
const ON_CPU: [f64; 2] = [7.0, 22.0];
/// The same with a GPU, whatever the threads: a mosaic over the bus, and colours that come back to be summed.
const ON_GPU: [f64; 2] = [0.4, 4.0];

/// Seconds that a CPU and a GPU are expected to take beside reading, which both wait for alike. RAW files have about a
/// byte a pixel.
fn estimates(bytes: u64, compare: bool, threads: usize) -> [f64; 2] {
    let each = |cost: [f64; 2]| 1e-9 * bytes as f64 * (cost[0] + if compare { cost[1] } else { 0.0 });
    [each(ON_CPU) / threads.max(1) as f64, START + each(ON_GPU)]
}

#[cfg(test)]
mod tests {
    use super::estimates;

    #[test]
    fn little_work_stays_on_the_cpu() {
        let better = |bytes, compare, threads| {
            let [cpu, gpu] = estimates(bytes, compare, threads);
            if cpu <= gpu { "cpu" } else { "gpu" }
        };
        assert_eq!(better(8_000_000, true, 2), "cpu", "one small scene");
        assert_eq!(better(9 * 30_000_000, false, 2), "gpu", "one scene of 24 megapixels");
        assert_eq!(better(9 * 30_000_000, false, 16), "cpu", "the same with many threads");
        assert_eq!(better(200 * 9 * 30_000_000, true, 1), "gpu", "a data set");
        assert_eq!(better(0, false, 0), "cpu");
    }
}
