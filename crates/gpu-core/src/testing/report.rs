use std::io::Write;

use serde_json::json;

use super::{Comparison, Tolerance};

/// What a test showed about a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The CPU twin equals the independent oracle.
    CpuMatchesOracle,
    /// The CPU twin's bits do not depend on the number of threads.
    CpuIsDeterministic,
    /// The CUDA twin equals the CPU twin.
    CudaMatchesCpu,
    /// The CUDA twin's bits are the same twice.
    CudaIsDeterministic,
    /// The CUDA twin works on a forked queue.
    CudaOnForkedQueue,
}

impl Proof {
    /// The name of the test.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuMatchesOracle => "cpu_matches_oracle",
            Self::CpuIsDeterministic => "cpu_is_deterministic",
            Self::CudaMatchesCpu => "cuda_matches_cpu",
            Self::CudaIsDeterministic => "cuda_is_deterministic",
            Self::CudaOnForkedQueue => "cuda_on_forked_queue",
        }
    }
}

/// One line of the report that `cargo xtask test-gpu` merges.
#[derive(Clone, Debug)]
pub struct Record {
    /// The crate.
    pub package: &'static str,
    /// The `twins!` entry.
    pub entry: &'static str,
    /// The kernels that it proves.
    pub kernels: &'static [&'static str],
    /// What was shown.
    pub proof: Proof,
    /// Random cases tried.
    pub cases: u32,
    /// The worst differences seen.
    pub worst: Comparison,
    /// The most that a case was allowed; none where bits were compared.
    pub allowed: Option<Tolerance>,
    /// Time in the CPU twin.
    pub cpu_seconds: f64,
    /// Time in the CUDA twin, transfers included.
    pub cuda_seconds: f64,
    /// The device.
    pub device: String,
}

/// Appends a line of JSON to the file that `LOCKSTEP_REPORT` names, if it names one.
///
/// # Panics
/// When the file cannot be written: a lost proof must not look like a missing one.
pub fn record(r: &Record) {
    let Some(path) = std::env::var_os("LOCKSTEP_REPORT") else { return };
    let line = json!({
        "package": r.package, "entry": r.entry, "kernels": r.kernels, "proof": r.proof.name(), "cases": r.cases,
        "elements": r.worst.elements, "worst_ulps": r.worst.worst_ulps, "worst_rel": r.worst.worst_rel,
        "worst_abs": r.worst.worst_abs, "allowed": r.allowed.map(|t| t.to_string()), "cpu_seconds": r.cpu_seconds,
        "cuda_seconds": r.cuda_seconds, "device": r.device,
    });
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(e) = written {
        panic!("cannot write the report {}: {e}", path.display());
    }
}
