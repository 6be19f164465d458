//! The CUDA compiler: finding one, and installing the pinned one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::workspace::{self, on_path, output, read, run, says, shown, target, write};

/// Version of nvcc that the committed PTX comes from.
pub(crate) const NVCC_VERSION: &str = "13.0.88";

/// Version of the older ptxas that proves the lowered PTX.
pub(crate) const PTXAS_VERSION: &str = "12.0.140";

const COMPILER: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

// In a folder of its own: both wheels hold a file named ptxas.
const ASSEMBLER: [&str; 1] = ["nvidia-cuda-nvcc-cu12==12.0.140"];

// Only where it is asked for: 90 MB for machines without a C++ compiler.
const RUNTIME_COMPILER: [&str; 1] = ["nvidia-cuda-nvrtc==13.0.88"];

/// What compiles the kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// NVIDIA's compiler; it needs a C++ compiler beside it. The committed PTX comes from it.
    #[default]
    Nvcc,
    /// The compiler as a library, for machines without a C++ compiler. Its code has the same results, and other
    /// registers in places.
    Nvrtc,
}

#[derive(Args)]
pub(crate) struct Options {
    /// Also fetches what `cargo xtask kernels --with` needs.
    #[arg(long, value_enum, default_value_t)]
    with: With,
}

fn folder() -> Result<PathBuf> {
    Ok(target()?.join("cuda-toolchain"))
}

fn assembler_folder() -> Result<PathBuf> {
    Ok(folder()?.join("ptxas-12.0"))
}

/// `cargo xtask setup-cuda`.
pub(crate) fn setup(options: &Options) -> Result<()> {
    let folder = folder()?;
    let runtime = options.with == With::Nvrtc || nvrtc().is_ok();
    let compilers = if runtime { [&COMPILER[..], &RUNTIME_COMPILER].concat() } else { COMPILER.to_vec() };
    let pins = [&compilers[..], &ASSEMBLER].concat().join("\n") + "\n";
    let stamp = folder.join("pins.txt");
    if read(&stamp).is_ok_and(|text| text == pins) && installed().is_some() && assembler().is_ok() {
        println!("already installed in {}", shown(&folder));
    } else {
        let python = on_path("python3")
            .context("python3 is not on the PATH; install it (Debian: apt-get install python3-venv)")?;
        if !folder.join("bin/python").is_file() {
            run(Command::new(&python).args(["-m", "venv"]).arg(&folder))
                .context("a Python environment could not be made (Debian: apt-get install python3-venv)")?;
        }
        let pip = || {
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.arg("--only-binary=:all:");
            pip
        };
        run(pip().args(compilers))?;
        run(pip().args(["--upgrade", "--target"]).arg(assembler_folder()?).args(ASSEMBLER))?;
        write(&stamp, pins)?;
    }
    let nvcc = installed().context("the wheels are installed but hold no nvcc")?;
    let assembler = assembler()?;
    println!("nvcc   {}  {}", version_of(&nvcc)?, shown(&nvcc));
    println!("ptxas  {}  {}", version_of(&assembler)?, shown(&assembler));
    if let Ok(nvrtc) = nvrtc() {
        println!("nvrtc  {NVCC_VERSION}  {}", shown(&nvrtc.library));
    } else if host_compiler().is_none() {
        println!(
            "note: nvcc needs a C++ compiler and there is no g++ on the PATH (Debian: apt-get install g++); \
             `cargo xtask setup-cuda --with nvrtc` fetches a compiler that needs none"
        );
    }
    Ok(())
}

/// A file of the wheels that `setup-cuda` installed.
fn wheel_file(name: &str) -> Option<PathBuf> {
    let libraries = workspace::list(&folder().ok()?.join("lib")).ok()?;
    libraries.iter().map(|lib| lib.join("site-packages/nvidia/cu13").join(name)).find(|file| file.exists())
}

/// The nvcc that `setup-cuda` installed.
fn installed() -> Option<PathBuf> {
    wheel_file("bin/nvcc")
}

/// The compiler that is a library, and what it needs.
pub(crate) struct Nvrtc {
    /// Calls the library.
    pub(crate) python: PathBuf,
    pub(crate) library: PathBuf,
    /// Folder of CUDA's headers.
    pub(crate) include: PathBuf,
}

/// The NVRTC that `setup-cuda --with nvrtc` installed.
pub(crate) fn nvrtc() -> Result<Nvrtc> {
    let found = wheel_file("lib/libnvrtc.so.13").zip(wheel_file("include"));
    let (library, include) = found.context("there is no NVRTC; run `cargo xtask setup-cuda --with nvrtc`")?;
    Ok(Nvrtc { python: folder()?.join("bin/python"), library, include })
}

/// The nvcc to use, from the environment, the path or `cargo xtask setup-cuda`, or `None`.
pub(crate) fn nvcc() -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os("LOCKSTEP_NVCC").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("LOCKSTEP_NVCC={} is not a file", path.display());
        }
        return Ok(Some(path));
    }
    let toolkit = std::env::var_os("CUDA_PATH").map(|path| Path::new(&path).join("bin/nvcc")).filter(|f| f.is_file());
    Ok(toolkit.or_else(|| on_path("nvcc")).or_else(installed))
}

/// A ptxas of CUDA 12.0, which proves that the lowered PTX needs no newer driver.
pub(crate) fn assembler() -> Result<PathBuf> {
    let candidates = [
        std::env::var_os("LOCKSTEP_PTXAS").map(PathBuf::from),
        Some(assembler_folder()?.join("nvidia/cuda_nvcc/bin/ptxas")),
        on_path("ptxas"),
    ];
    for candidate in candidates.into_iter().flatten().filter(|file| file.is_file()) {
        if version_of(&candidate).is_ok_and(|version| version.starts_with("12.0.")) {
            return Ok(candidate);
        }
    }
    bail!(
        "there is no ptxas {PTXAS_VERSION}, which proves that the PTX runs on older drivers; run `cargo xtask setup-cuda`"
    )
}

/// The C++ compiler that nvcc will use.
pub(crate) fn host_compiler() -> Option<PathBuf> {
    std::env::var_os("NVCC_CCBIN").map(PathBuf::from).or_else(|| on_path("g++"))
}

/// The version of an nvcc or a ptxas, as `13.0.88`.
pub(crate) fn version_of(tool: &Path) -> Result<String> {
    let out = output(Command::new(tool).arg("--version"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| {
        let digits = word.strip_prefix('V')?;
        digits.starts_with(|c: char| c.is_ascii_digit()).then(|| digits.trim_end_matches(',').to_owned())
    });
    version.with_context(|| format!("{} --version names no version:\n{text}", tool.display()))
}

/// First line of the host compiler's version, for `doctor`.
pub(crate) fn host_compiler_version() -> Option<String> {
    let text = says(host_compiler()?, &["--version"])?;
    text.lines().next().map(str::to_owned)
}
