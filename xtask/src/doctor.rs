//! `cargo xtask doctor`: which tools this machine has, what each is for, and how to get the missing ones.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::toolchain::{self, NVCC_VERSION, PTXAS_VERSION};
use crate::workspace::{on_path, root, says, shown};

/// One line of the table.
struct Finding {
    what: &'static str,
    found: Option<String>,
    used_for: &'static str,
    remedy: &'static str,
}

/// `cargo xtask doctor`.
pub(crate) fn run() -> Result<()> {
    println!("building and testing");
    let mut missing = print(&building()?);
    println!("\nkernels");
    missing += print(&kernels()?);
    println!("\ndevice");
    missing += print(&device_findings());
    println!("\n{}", if missing == 0 { "nothing is missing".to_owned() } else { format!("{missing} missing") });
    Ok(())
}

/// The part of the device alone; fails when no driver is found.
pub(crate) fn device() -> Result<()> {
    let findings = device_findings();
    print(&findings);
    match findings.iter().find(|finding| finding.what == "driver" && finding.found.is_none()) {
        Some(driver) => bail!("no NVIDIA driver on this machine: {}", driver.remedy),
        None => Ok(()),
    }
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    says(program, arguments)?.lines().next().map(str::to_owned)
}

fn building() -> Result<Vec<Finding>> {
    let root = root()?;
    let data = std::env::var_os("LOCKSTEP_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    Ok(vec![
        Finding {
            what: "rustc",
            found: first_line("rustc", &["--version"]),
            used_for: "everything",
            remedy: "install Rust with rustup",
        },
        Finding {
            what: "C compiler",
            found: first_line("cc", &["--version"]),
            used_for: "linking",
            remedy: "Debian: apt-get install gcc",
        },
        Finding {
            what: "cargo-nextest",
            found: first_line("cargo-nextest", &["nextest", "--version"]),
            used_for: "`cargo xtask test` (without it: cargo test)",
            remedy: "cargo install --locked cargo-nextest",
        },
        Finding {
            what: "cargo-deny",
            found: first_line("cargo-deny", &["--version"]),
            used_for: "licences and advisories in `cargo xtask ci`",
            remedy: "cargo install --locked cargo-deny",
        },
        Finding {
            what: "typos",
            found: first_line("typos", &["--version"]),
            used_for: "spelling in `cargo xtask ci`",
            remedy: "cargo install --locked typos-cli",
        },
        Finding {
            what: "golden data",
            found: data.is_dir().then(|| data.display().to_string()),
            used_for: "tests named golden",
            remedy: "set LOCKSTEP_DATA to the folder of golden data",
        },
    ])
}

fn kernels() -> Result<Vec<Finding>> {
    let nvcc = toolchain::nvcc()?.and_then(|file| Some((toolchain::version_of(&file).ok()?, file)));
    let nvcc = nvcc.map(|(version, file)| {
        let other = if version == NVCC_VERSION { "" } else { ", not the pinned version" };
        format!("{version}{other}  {}", shown(&file))
    });
    let assembler = toolchain::assembler().ok().map(|file| format!("{PTXAS_VERSION}  {}", shown(&file)));
    Ok(vec![
        Finding {
            what: "python3",
            found: first_line("python3", &["--version"]),
            used_for: "`cargo xtask setup-cuda`, benchmarks of other programs",
            remedy: "Debian: apt-get install python3-venv",
        },
        Finding { what: "nvcc", found: nvcc, used_for: "`cargo xtask kernels`", remedy: "cargo xtask setup-cuda" },
        Finding {
            what: "ptxas 12.0",
            found: assembler,
            used_for: "proving that the PTX suits older drivers",
            remedy: "cargo xtask setup-cuda",
        },
        Finding {
            what: "g++",
            found: toolchain::host_compiler_version(),
            used_for: "nvcc's host compiler",
            remedy: "Debian: apt-get install g++",
        },
    ])
}

fn device_findings() -> Vec<Finding> {
    vec![
        Finding {
            what: "driver",
            found: driver().map(|file| file.display().to_string()),
            used_for: "the CUDA backend",
            remedy: "install NVIDIA's driver (R470 or newer), or set LOCKSTEP_DRIVER to its libcuda.so.1",
        },
        Finding {
            what: "devices",
            found: devices(),
            used_for: "the CUDA backend",
            remedy: "nvidia-smi lists none; `lockstep doctor` asks the driver itself",
        },
        Finding {
            what: "cuFFT",
            found: ["libcufft.so.12", "libcufft.so.11", "libcufft.so.10"]
                .iter()
                .find_map(|name| library(name))
                .map(|file| file.display().to_string()),
            used_for: "the spectral engine on the device (without it: other kernels)",
            remedy: "pip install nvidia-cufft, or the toolkit's libcufft on the library path",
        },
        Finding {
            what: "sanitizer",
            found: sanitizer().map(|file| file.display().to_string()),
            used_for: "`cargo xtask test-gpu --sanitize`",
            remedy: "install compute-sanitizer (part of the CUDA toolkit)",
        },
    ]
}

fn print(findings: &[Finding]) -> usize {
    for finding in findings {
        match &finding.found {
            Some(detail) => println!("  {:<14}{detail}", finding.what),
            None => println!("  {:<14}missing; for {}; {}", finding.what, finding.used_for, finding.remedy),
        }
    }
    findings.iter().filter(|finding| finding.found.is_none()).count()
}

/// What `nvidia-smi` lists, unless another driver is named, whose devices it does not know.
fn devices() -> Option<String> {
    if std::env::var_os("LOCKSTEP_DRIVER").is_some() {
        return Some("those of the driver that LOCKSTEP_DRIVER names; `lockstep doctor` asks it".to_owned());
    }
    let text = says("nvidia-smi", &["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])?;
    Some(text.replace('\n', "\n               "))
}

/// The driver's library, found as a file; nothing is loaded.
fn driver() -> Option<PathBuf> {
    match std::env::var_os("LOCKSTEP_DRIVER").map(PathBuf::from) {
        Some(file) if file.is_file() => Some(file),
        Some(file) => library(&file.to_string_lossy()),
        None => library("libcuda.so.1"),
    }
}

/// A shared library by the places where the loader looks.
fn library(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let known =
        ["/usr/local/nvidia/lib64", "/usr/local/cuda/lib64", "/usr/lib/wsl/lib", "/usr/lib64"].map(PathBuf::from);
    let beside = std::env::split_paths(&paths).chain(known).map(|folder| folder.join(name)).find(|file| file.is_file());
    beside.or_else(|| {
        let ldconfig = on_path("ldconfig").unwrap_or_else(|| "/sbin/ldconfig".into());
        let text = says(ldconfig, &["-p"])?;
        let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
        Some(PathBuf::from(line.split_once("=> ")?.1.trim()))
    })
}

/// NVIDIA's checker of memory accesses.
pub(crate) fn sanitizer() -> Option<PathBuf> {
    let toolkits = [std::env::var_os("CUDA_PATH").map(PathBuf::from), Some("/usr/local/cuda".into())];
    let beside = |folder: PathBuf| Path::new(&folder).join("bin/compute-sanitizer");
    on_path("compute-sanitizer").or_else(|| toolkits.into_iter().flatten().map(beside).find(|file| file.is_file()))
}
