//! `lockstep doctor`: what this machine has, and what to do about what is missing.

use clap::Args;
#[cfg(feature = "cuda")]
use gpu_core::Capability;
use gpu_core::{AnyBackend, Backend, Choice, Device, with_backend};
use serde_json::{Value, json};

use crate::backend::Place;
use crate::exit::{Exit, Result};
use crate::session::{Session, bytes};

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep doctor                   everything; exit code 0 even without a GPU, the CPU always works
  lockstep doctor --backend cuda    exit code 4 when there is no usable GPU")]
pub(crate) struct Doctor {
    /// Fail when this backend cannot be used
    #[arg(long, value_name = "WHERE")]
    backend: Option<Place>,
}

/// One finding.
struct Finding {
    what: String,
    state: State,
    found: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works without it, slower or with less.
    Absent,
    Bad,
}

impl Finding {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good, found: found.into(), remedy: None }
    }

    fn absent(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Absent, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn bad(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Bad, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn json(&self) -> Value {
        let state = match self.state {
            State::Good => "ok",
            State::Absent => "absent",
            State::Bad => "bad",
        };
        json!({ "what": self.what, "state": state, "found": self.found, "remedy": self.remedy })
    }
}

impl Doctor {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let mut findings = vec![Finding::good("lockstep", version())];
        let cpu = AnyBackend::choose(Choice::Cpu)?;
        findings.push(Finding::good("CPU", device_line(cpu.device())));
        findings.push(memory(&cpu));
        findings.push(self_test(&cpu));
        cuda(&mut findings);
        for finding in &findings {
            let mark = match finding.state {
                State::Good => "ok    ",
                State::Absent => "absent",
                State::Bad => "BAD   ",
            };
            session.say(format!("{mark}  {:<16} {}", finding.what, finding.found));
            if let Some(remedy) = &finding.remedy {
                session.say(format!("{:24} → {remedy}", ""));
            }
        }
        session.document(&json!({ "findings": findings.iter().map(Finding::json).collect::<Vec<_>>() }))?;
        if let Some(place) = self.backend {
            // The reason is the error itself.
            place.open()?;
        }
        Ok(if findings.iter().any(|f| f.state == State::Bad) { Exit::Check } else { Exit::Ok })
    }
}

fn version() -> String {
    let cuda = if cfg!(feature = "cuda") { "with CUDA" } else { "without CUDA" };
    format!("{} for {} {}, {cuda}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS)
}

fn device_line(device: &Device) -> String {
    let units = if device.arch.is_some() { "multiprocessors" } else { "threads" };
    let arch = device.arch.map_or_else(String::new, |a| format!(", compute capability {}.{}", a.major, a.minor));
    format!("{}, {} {units}, {}{arch}", device.name, device.units, bytes(device.memory))
}

fn memory(any: &AnyBackend) -> Finding {
    let memory = with_backend!(any, |b| b.memory());
    let what = format!("{} memory", any.name());
    let found = format!("{} free, limit {}", bytes(memory.free), bytes(memory.limit));
    // The default transform of one 512 × 512 picture takes about 80 MB.
    if memory.free < 256 << 20 {
        return Finding::absent(what, found, "close other programs, or give commands a smaller --memory");
    }
    Finding::good(what, found)
}

/// Transforms a small picture and back.
fn self_test(any: &AnyBackend) -> Finding {
    let what = format!("{} self test", any.name());
    match with_backend!(any, |b| crate::nsct::round_trip(b)) {
        Ok(error) if error < 5e-4 => {
            Finding::good(what, format!("transform and inverse of a small picture, largest error {error:.1e}"))
        }
        Ok(error) => {
            Finding::bad(what, format!("the inverse is off by {error:.1e}"), "report this with the lines above")
        }
        Err(e) => {
            Finding::bad(what, e.message, e.help.unwrap_or_else(|| "report this with the lines above".to_owned()))
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(findings: &mut Vec<Finding>) {
    findings.push(Finding::absent(
        "CUDA",
        "this program was built without the cargo feature `cuda`",
        "build it with `cargo build --release` (the feature is on by default)",
    ));
}

/// The compiled kernels of all crates.
#[cfg(feature = "cuda")]
fn compiled() -> [&'static gpu_core::cuda::Kernels; 6] {
    [
        ::nsct::kernels::compiled(),
        ::style::kernels::compiled(),
        ::style::ops::compiled(),
        ::ata_wmma::kernels::compiled(),
        ::grid_dsl::kernels::compiled(),
        ::align::kernels::compiled(),
    ]
}

/// The names of all compiled kernels that devices of some architecture run.
#[cfg(feature = "cuda")]
fn kernel_names(device: Option<gpu_core::Arch>) -> Vec<(&'static gpu_core::cuda::Kernels, String)> {
    let number = |arch: &str| arch.trim_start_matches("sm_").trim_end_matches('a').parse::<u32>().unwrap_or(0);
    let runs = |arch: &str| device.is_none_or(|device| number(arch) <= 10 * device.major + device.minor);
    let mut names = Vec::new();
    for kernels in compiled() {
        let artefacts = kernels.artefacts().iter().filter(|a| runs(a.arch));
        let mut own: Vec<_> = artefacts.flat_map(|a| gpu_core::ptx::entries(a.ptx)).map(|e| e.name).collect();
        own.sort();
        own.dedup();
        names.extend(own.into_iter().map(|name| (kernels, name)));
    }
    names
}

/// What is embedded; needs no device.
#[cfg(feature = "cuda")]
fn embedded() -> Finding {
    let artefacts: Vec<_> = compiled().into_iter().flat_map(gpu_core::cuda::Kernels::artefacts).collect();
    let mut targets: Vec<_> = artefacts.iter().map(|a| a.arch).collect();
    targets.sort_unstable();
    targets.dedup();
    let found = format!("{} in {} modules for {}", kernel_names(None).len(), artefacts.len(), targets.join(", "));
    if artefacts.is_empty() {
        return Finding::bad("kernels", found, "compile them with `cargo xtask kernels`, and build the program again");
    }
    Finding::good("kernels", found)
}

/// Loads every kernel, as its first launch would.
#[cfg(feature = "cuda")]
fn loading(device: &gpu_core::Cuda) -> Finding {
    let what = format!("cuda:{} kernels", device.device().ordinal);
    let names = kernel_names(device.device().arch);
    let refused = names.iter().find_map(|(kernels, name)| {
        let launch = device.kernel(kernels, name);
        launch.err().map(|e| (name, e))
    });
    match refused {
        None => Finding::good(what, format!("all {} load", names.len())),
        Some((name, e)) => Finding::bad(
            what,
            format!("{name}: {e}"),
            "update the driver; on a device below compute capability 7.5, run with --backend cpu",
        ),
    }
}

#[cfg(feature = "cuda")]
fn cuda(findings: &mut Vec<Finding>) {
    findings.push(embedded());
    let devices = match gpu_core::Cuda::all() {
        Ok(devices) => devices,
        Err(e) => {
            let remedy = "install an NVIDIA driver (470 or newer) and see that `nvidia-smi` lists a device; in a \
                container, start it with access to the GPU; everything runs on the CPU meanwhile";
            findings.push(Finding::absent("CUDA", e.to_string(), remedy));
            return;
        }
    };
    for device in devices {
        let load = loading(&device);
        let any = AnyBackend::Cuda(device);
        let (name, described) = (format!("cuda:{}", any.device().ordinal), device_line(any.device()));
        findings.push(Finding::good(&name, described));
        let driver = any.device().driver.unwrap_or(0);
        let version = format!("understands CUDA {}.{}", driver / 1000, driver % 1000 / 10);
        findings.push(if driver < 11040 {
            Finding::bad("driver", version, "install driver 470 or newer, which understands CUDA 11.4")
        } else {
            Finding::good("driver", version)
        });
        findings.push(memory(&any));
        findings.push(load);
        let fft = with_backend!(&any, |b| b.supports(Capability::Fft));
        findings.push(if fft {
            Finding::good("cuFFT", "found; the spectral engine runs on the GPU")
        } else {
            Finding::absent(
                "cuFFT",
                "libcufft is not found; taps and ladder engines run instead of the spectral one",
                "install it (`pip install nvidia-cufft-cu12`, or the CUDA runtime libraries) and put its folder \
                 on LD_LIBRARY_PATH",
            )
        });
        findings.push(self_test(&any));
    }
}
