//! `--backend`, `--memory`, `--threads`.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use gpu_core::{AnyBackend, Choice};

use crate::exit::{Exit, Failure, Result};
use crate::shard::Shard;

/// A backend as the user wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    choice: Choice,
    /// Whether the user named one device, so that ranks do not spread over several.
    fixed: bool,
}

impl FromStr for Place {
    type Err = gpu_core::Error;
    fn from_str(text: &str) -> gpu_core::Result<Self> {
        Ok(Self { choice: text.parse()?, fixed: text.contains(':') })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.choice.fmt(f)
    }
}

impl Place {
    /// Opens it.
    pub(crate) fn open(self) -> Result<AnyBackend> {
        Ok(AnyBackend::choose(self.choice)?)
    }

    /// Opens it. Of several shards on one machine, each takes its own GPU.
    pub(crate) fn open_for(self, shard: Option<&Shard>) -> Result<AnyBackend> {
        Ok(AnyBackend::choose(self.for_rank(shard.map_or(0, |s| s.local_rank), device_count))?)
    }

    /// Opens every GPU where none was named and this process is not one of several shards, else as
    /// [`open_for`](Self::open_for).
    pub(crate) fn open_all(self, shard: &Shard) -> Result<Vec<AnyBackend>> {
        let first = self.open_for(Some(shard))?;
        let alone = shard.count == 1 && !self.fixed && first.name() != "cpu";
        let others = if alone { 1..device_count() } else { 0..0 };
        // Each takes half a second to start.
        std::thread::scope(|scope| {
            let starting: Vec<_> = others.map(|n| scope.spawn(move || AnyBackend::choose(Choice::Cuda(n)))).collect();
            let others = starting.into_iter().map(|thread| {
                let lost = |_| Failure::new(Exit::Backend, "a thread that starts a device ended early");
                Ok(thread.join().map_err(lost)??)
            });
            std::iter::once(Ok(first)).chain(others).collect()
        })
    }

    /// Whether the CPU may do what no GPU can.
    pub(crate) fn is_auto(self) -> bool {
        self.choice == Choice::Auto
    }

    /// The GPU of a rank: its number on this machine modulo the devices that CUDA_VISIBLE_DEVICES leaves visible.
    fn for_rank(self, local_rank: usize, devices: impl FnOnce() -> usize) -> Choice {
        if self.fixed || self.choice == Choice::Cpu || local_rank == 0 {
            return self.choice;
        }
        match devices() {
            0 => self.choice,
            n => Choice::Cuda(local_rank % n),
        }
    }
}

/// Where to compute, and with how much of the machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where to compute")]
pub(crate) struct BackendArgs {
    /// auto (a GPU when there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub(crate) backend: Place,
    /// Budget for buffers of the computation, such as 500M or 2G [default: what the device has]. Transforms work on
    /// channels in turns to stay inside; exit code 6 when not even one fits. Files in memory are not counted
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) threads: Option<u16>,
}

impl BackendArgs {
    /// Opens the backend. Of several shards on one machine, each takes its own GPU.
    pub(crate) fn open(&self, shard: Option<&Shard>) -> Result<AnyBackend> {
        if let Some(n) = self.threads {
            start_threads(n)?;
        }
        let any = self.backend.open_for(shard)?;
        let any = match self.memory {
            Some(bytes) => any.with_memory_limit(bytes)?,
            None => any,
        };
        tracing::info!(backend = any.name(), device = %any.device().name, ordinal = any.device().ordinal, "computing");
        Ok(any)
    }
}

/// Starts this many threads for all work on the CPU.
pub(crate) fn start_threads(n: u16) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n.into());
    pool.build_global().map_err(|e| Failure::new(Exit::Backend, format!("cannot start {n} threads: {e}")))
}

/// Visible CUDA devices; 0 without a driver.
pub(crate) fn device_count() -> usize {
    #[cfg(feature = "cuda")]
    {
        gpu_core::Cuda::count().unwrap_or(0)
    }
    #[cfg(not(feature = "cuda"))]
    {
        0
    }
}

/// Reads `1500`, `500K`, `64M`, `2G`, `1T`, also with `B` or `iB` behind; powers of 1024.
pub(crate) fn parse_size(text: &str) -> std::result::Result<usize, String> {
    let wrong = || format!("`{text}` is no size; write a number with K, M, G or T, such as 500M or 2G");
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    let stem = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, factor) = match stem.char_indices().last() {
        Some((i, 'k')) => (&stem[..i], 1u64 << 10),
        Some((i, 'm')) => (&stem[..i], 1 << 20),
        Some((i, 'g')) => (&stem[..i], 1 << 30),
        Some((i, 't')) => (&stem[..i], 1 << 40),
        _ => (stem, 1),
    };
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = value * factor as f64;
    if bytes.is_finite() && (1.0..9e18).contains(&bytes) { Ok(bytes as usize) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("1500"), Ok(1500));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("1.5 MiB"), Ok(3 << 19));
        assert_eq!(parse_size("10kb"), Ok(10 << 10));
        for bad in ["", "G", "-1M", "nan", "1e400", "five", "0"] {
            assert!(parse_size(bad).is_err_and(|e| e.contains("500M")), "{bad}");
        }
    }

    #[test]
    fn ranks_of_one_machine_take_turns() {
        let at = |text: &str, rank, devices| text.parse::<Place>().unwrap().for_rank(rank, || devices);
        assert_eq!(at("auto", 5, 4), Choice::Cuda(1));
        assert_eq!(at("cuda", 3, 4), Choice::Cuda(3));
        assert_eq!(at("cuda:0", 3, 4), Choice::Cuda(0), "an ordinal that was asked for stays");
        assert_eq!(at("auto", 5, 0), Choice::Auto);
        assert_eq!(at("auto", 0, 4), Choice::Auto, "the first rank falls back to the CPU as a single process does");
        assert_eq!(at("cpu", 5, 4), Choice::Cpu);
    }
}
