//! `--backend`, `--devices` and `--memory` of `lockstep grid`: the processor, GPUs, or the definition.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use grid_dsl::device::Coverage;
use grid_dsl::profile::Device;
#[cfg(feature = "cuda")]
use grid_dsl::profile::Profile;
use grid_dsl::{Backend, Cpu, Reference};
use serde_json::{Value as Json, json};

use crate::backend::{Place, parse_size};
use crate::exit::{Exit, Failure, Result};
use crate::session::Session;
use crate::shard::Shard;

/// What evaluates programs, as the user wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// The definition, value by value.
    Reference,
    At(Place),
}

impl FromStr for Where {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "reference" => Ok(Self::Reference),
            _ => text.parse().map(Self::At).map_err(|e: gpu_core::Error| format!("{e}, reference")),
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("reference"),
            Self::At(place) => place.fmt(f),
        }
    }
}

/// Where to compute.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where to compute")]
pub(super) struct Machine {
    /// auto (the CPU, which is faster at programs; for `bench` and `tune` GPUs when there are some), cpu, cuda (all GPUs), cuda:N, or
    /// reference (the definition, value by value)
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    backend: Where,
    /// Use so many GPUs [default: all; one when cuda:N names it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    devices: Option<u16>,
    /// Budget for values on each GPU, such as 500M or 2G [default: what it has]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// Let GPUs evaluate what they can of every program; otherwise the processor takes a share of the inputs, and runs
    /// programs with functions of its own
    #[arg(long)]
    no_overlap: bool,
}

/// What evaluates programs, opened.
pub(super) enum Opened {
    Host(&'static dyn Backend),
    #[cfg(feature = "cuda")]
    Cuda(Box<grid_dsl::device::DeviceExecutor<gpu_core::Cuda>>),
}

impl Machine {
    /// Whether the definition was asked for.
    pub(super) fn is_reference(&self) -> bool {
        self.backend == Where::Reference
    }

    /// Whether the processor runs programs while GPUs run others.
    pub(super) fn overlap(&self) -> bool {
        !self.no_overlap
    }

    /// Opens it. Without a name GPUs are taken only if they are what is wanted.
    pub(super) fn open(&self, gpus_wanted: bool) -> Result<Opened> {
        let place = match self.backend {
            Where::Reference => return Ok(Opened::Host(&Reference)),
            Where::At(place) if place.is_auto() && !gpus_wanted => return Ok(Opened::Host(&Cpu)),
            Where::At(place) => place,
        };
        let mut all = place.open_all(&Shard::WHOLE)?;
        let gpus = all.iter().filter(|any| any.name() != "cpu").count();
        if let Some(wanted) = self.devices.map(usize::from) {
            if wanted > gpus && !(place.is_auto() && gpus == 0) {
                let what = format!("--devices {wanted}: --backend {} has {gpus} GPUs", self.backend);
                return Err(Failure::new(Exit::Backend, what).help("`lockstep doctor` lists those of this machine"));
            }
            all.truncate(wanted);
        }
        if let Some(bytes) = self.memory.filter(|_| gpus > 0) {
            all = all.into_iter().map(|any| any.with_memory_limit(bytes)).collect::<gpu_core::Result<_>>()?;
        }
        for any in &all {
            tracing::info!(backend = any.name(), device = %any.device().name, ordinal = any.device().ordinal, "computing");
        }
        Opened::of(all)
    }
}

impl Opened {
    #[cfg(feature = "cuda")]
    fn of(all: Vec<gpu_core::AnyBackend>) -> Result<Self> {
        let cuda = |any| if let gpu_core::AnyBackend::Cuda(b) = any { Some(b) } else { None };
        let queues: Vec<gpu_core::Cuda> = all.into_iter().filter_map(cuda).collect();
        if queues.is_empty() {
            return Ok(Self::Host(&Cpu));
        }
        Ok(Self::Cuda(Box::new(grid_dsl::device::DeviceExecutor::new(queues)?)))
    }

    #[cfg(not(feature = "cuda"))]
    #[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "as it is with GPUs")]
    fn of(_: Vec<gpu_core::AnyBackend>) -> Result<Self> {
        Ok(Self::Host(&Cpu))
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        match self {
            Self::Host(backend) => *backend,
            #[cfg(feature = "cuda")]
            Self::Cuda(executor) => executor.as_ref(),
        }
    }

    /// How many GPUs there are.
    pub(super) fn gpus(&self) -> usize {
        match self {
            Self::Host(_) => 0,
            #[cfg(feature = "cuda")]
            Self::Cuda(executor) => executor.queues().len(),
        }
    }

    /// What can be measured of GPUs; nothing without any.
    pub(super) fn probe(&self) -> Option<&dyn grid_dsl::tune::Probe> {
        match self {
            Self::Host(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(executor) => Some(executor.as_ref()),
        }
    }

    /// What GPUs did since this was asked last; nothing without any.
    pub(super) fn share(&self) -> Option<Share> {
        match self {
            Self::Host(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(executor) => Some(Share::of(executor)),
        }
    }
}

/// What GPUs did, and what they left to the processor.
pub(super) struct Share {
    coverage: Coverage,
    devices: Vec<Device>,
}

impl Share {
    #[cfg(feature = "cuda")]
    pub(super) fn of<B: grid_dsl::kernels::GridBackend>(executor: &grid_dsl::device::DeviceExecutor<B>) -> Self {
        let coverage = executor.coverage();
        let queues = executor.queues();
        // A queue that samples did not suffice for has no share.
        let shares = coverage.queues.iter().copied().chain(std::iter::repeat(grid_dsl::device::Share::default()));
        let device = |(b, share): (&B, grid_dsl::device::Share)| Device {
            name: b.device().name.clone(),
            calls: share.calls,
            seconds: share.seconds,
            peak_bytes: b.memory().peak as u64,
            memory_bytes: b.memory().limit as u64,
        };
        Self { devices: queues.iter().zip(shares).map(device).collect(), coverage }
    }

    /// As it stands in documents.
    pub(super) fn json(&self) -> Json {
        let Coverage {
            on_device,
            on_host,
            spills,
            functions,
            reasons,
            programs_on_host,
            redone,
            failures,
            device_seconds,
            host_seconds,
            ..
        } = &self.coverage;
        let mut most: Vec<_> = reasons.iter().collect();
        most.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let reason = |((name, why), n): (&(&str, grid_dsl::kernels::Spill), &u64)| json!({ "function": name, "reason": why.name(), "count": n });
        json!({
            "devices": self.devices, "coverage": self.coverage.fraction(), "on_device": on_device, "on_host": on_host,
            "spills": spills.iter().map(|(why, n)| (why.name(), n)).collect::<std::collections::BTreeMap<_, _>>(),
            "spilled": most.into_iter().map(reason).collect::<Vec<_>>(),
            "functions": functions, "on_host_altogether": failures,
            "programs_on_host": programs_on_host, "programs_redone": redone,
            "device_seconds": device_seconds, "host_seconds": host_seconds,
        })
    }

    /// In words.
    pub(super) fn tell(&self, session: &Session) {
        let Coverage { on_device, on_host, spills, failures, programs_on_host, redone, .. } = &self.coverage;
        if on_device + on_host > 0 {
            session.note(format!(
                "on {} GPUs: {:.1} % of {} evaluations with grids, patches or containers",
                self.devices.len(),
                100.0 * self.coverage.fraction(),
                on_device + on_host
            ));
        }
        if programs_on_host + redone > 0 {
            session.note(format!(
                "programs times inputs that the processor ran: {programs_on_host} meanwhile, {redone} after a GPU"
            ));
        }
        if !spills.is_empty() {
            let all: Vec<String> = spills.iter().map(|(why, n)| format!("{n} {}", why.name())).collect();
            session.note(format!("left to the processor, inside of programs: {}", all.join(", ")));
        }
        failures.iter().take(3).for_each(|why| session.note(why));
        if failures.len() > 3 {
            session.note(format!("… {} more; --json lists them", failures.len() - 3));
        }
    }

    /// Into what a run cost.
    #[cfg(feature = "cuda")]
    pub(super) fn add_to(&self, profile: &mut Profile) {
        profile.device_share = self.coverage.fraction();
        profile.devices.clone_from(&self.devices);
        for ((name, why), n) in &self.coverage.reasons {
            profile.spills.insert(format!("`{name}`: {}", why.name()), *n);
        }
        for why in &self.coverage.failures {
            *profile.spills.entry(why.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:1", "reference"] {
            assert_eq!(text.parse::<Where>().unwrap().to_string(), text);
        }
        assert!("gpu".parse::<Where>().unwrap_err().ends_with("cuda:N, reference"));
    }
}
