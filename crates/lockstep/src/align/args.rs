//! Options that several subcommands take.

use std::str::FromStr;

use ::align::{Combine, MaxShift, Options, Planes, Refine};
use clap::{Args, ValueEnum};
use gpu_core::AnyBackend;

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
    /// auto (GPUs when there are some), cpu, cuda or cuda:N
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub(crate) backend: Place,
    /// Budget for spectra and workspace, such as 500M or 2G [default: what is free]; results do not depend on it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) threads: Option<u16>,
}

impl MachineArgs {
    /// Opens the backend.
    pub(crate) fn open(&self) -> Result<AnyBackend> {
        if let Some(n) = self.threads {
            start_threads(n)?;
        }
        let any = self.backend.open_for(None)?;
        tracing::info!(backend = any.name(), device = %any.device().name, "computing");
        Ok(any)
    }

    /// Opens the backend, and all GPUs where none was named.
    pub(crate) fn open_all(&self, shard: &Shard) -> Result<Vec<AnyBackend>> {
        if let Some(n) = self.threads {
            start_threads(n)?;
        }
        self.backend.open_all(shard)
    }
}
