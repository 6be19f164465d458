//! `cargo xtask kernels`: compiles the kernels to PTX that old drivers take, and writes down what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::check;
use crate::entries;
use crate::lock::{Lock, Locked};
use crate::source::{Arch, Artefact, FLAGS, artefacts};
use crate::toolchain::{self, NVCC_VERSION, Nvrtc, With};
use crate::workspace::{Package, files_below, output, packages, read, root, sha256, shown, target, write};

#[derive(Args)]
pub(crate) struct Options {
    /// Changes nothing; fails when sources, kernels.lock, PTX or twin tests do not fit together.
    #[arg(long)]
    pub(crate) check: bool,
    /// Only this crate under crates/.
    #[arg(long = "crate", value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// Only kernel files whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub(crate) filter: Option<String>,
    /// Compiles also what is up to date.
    #[arg(long)]
    pub(crate) force: bool,
    /// The compiler: nvcc, or NVRTC where there is no C++ compiler (`cargo xtask setup-cuda --with nvrtc`).
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["check", "cubin"])]
    pub(crate) with: With,
    /// Writes machine code for one device (as `sm_90a`) to target/kernels instead, for profiling.
    #[arg(long, value_name = "ARCH", conflicts_with = "check")]
    pub(crate) cubin: Option<String>,
}

/// What compiling one artefact gives.
pub(crate) struct Compiled {
    pub(crate) ptx: String,
    pub(crate) locked: Locked,
}

/// The tools, found once.
pub(crate) struct Compiler {
    tool: Tool,
    /// Version of nvcc, or `nvrtc` and its version: as the lock names it.
    pub(crate) version: String,
    assembler: PathBuf,
    include: PathBuf,
    scratch: PathBuf,
}

enum Tool {
    Nvcc(PathBuf),
    Nvrtc(Nvrtc),
}

/// Calls NVRTC through Python, which `setup-cuda` needs anyhow.
const NVRTC_CALLER: &str = include_str!("nvrtc.py");

/// What NVRTC gets instead of [`FLAGS`]: it optimises always, and brings no C headers.
const NVRTC_FLAGS: [&str; 3] = ["--std=c++17", "--fmad=false", "-DINFINITY=__int_as_float(0x7f800000)"];

impl Compiler {
    /// `None` when there is no nvcc.
    pub(crate) fn find(root: &Path) -> Result<Option<Self>> {
        let Some(nvcc) = toolchain::nvcc()? else {
            return Ok(None);
        };
        let version = toolchain::version_of(&nvcc)?;
        Self::new(root, Tool::Nvcc(nvcc), version).map(Some)
    }

    /// The compiler that was asked for.
    fn chosen(root: &Path, with: With) -> Result<Self> {
        if with == With::Nvrtc {
            return Self::new(root, Tool::Nvrtc(toolchain::nvrtc()?), format!("nvrtc {NVCC_VERSION}"));
        }
        let nvcc = Self::find(root)?.context("there is no nvcc; run `cargo xtask setup-cuda`")?;
        if toolchain::host_compiler().is_none() {
            bail!("nvcc needs a C++ compiler; install g++ (Debian: apt-get install g++), or use --with nvrtc");
        }
        if nvcc.version != NVCC_VERSION {
            println!(
                "note: nvcc {} is not the pinned {NVCC_VERSION} (`cargo xtask setup-cuda`), so its PTX differs from \
                 the committed",
                nvcc.version
            );
        }
        Ok(nvcc)
    }

    fn new(root: &Path, tool: Tool, version: String) -> Result<Self> {
        Ok(Self {
            tool,
            version,
            assembler: toolchain::assembler()?,
            include: include_folder(root),
            scratch: target()?.join("kernels"),
        })
    }

    /// Runs in the folder of the source with its bare name, so that no path reaches the PTX.
    fn nvcc(&self, nvcc: &Path, artefact: &Artefact) -> Command {
        let mut nvcc = Command::new(nvcc);
        nvcc.current_dir(&artefact.kernels_folder).args(FLAGS).args(["-I", "."]).arg("-I").arg(&self.include);
        nvcc.arg(artefact.source.file_name().unwrap_or_default());
        nvcc
    }

    /// Compiles one artefact to PTX in `file`.
    fn to_ptx(&self, artefact: &Artefact, file: &Path) -> Command {
        let arch = format!("-arch=compute_{}", artefact.arch.number);
        match &self.tool {
            Tool::Nvcc(nvcc) => {
                let mut nvcc = self.nvcc(nvcc, artefact);
                nvcc.arg("-ptx").arg(arch).arg("-o").arg(file);
                nvcc
            }
            Tool::Nvrtc(nvrtc) => {
                let mut python = Command::new(&nvrtc.python);
                python.current_dir(&artefact.kernels_folder).args(["-c", NVRTC_CALLER]).arg(&nvrtc.library);
                python.arg(artefact.source.file_name().unwrap_or_default()).arg(file).arg(arch).args(NVRTC_FLAGS);
                for folder in [Path::new("."), &self.include, &nvrtc.include, &nvrtc.include.join("cccl")] {
                    python.arg(format!("-I{}", folder.display()));
                }
                python
            }
        }
    }

    /// Compiles, lowers and proves one artefact.
    pub(crate) fn compile(&self, artefact: &Artefact) -> Result<Compiled> {
        let arch = artefact.arch;
        std::fs::create_dir_all(&self.scratch).with_context(|| shown(&self.scratch))?;
        let crate_name = artefact.kernels_folder.parent().map(crate::workspace::file_name).unwrap_or_default();
        // Two runs at once must not write to one file.
        let file = self.scratch.join(format!("{crate_name}.{}.{}.ptx", artefact.name(), std::process::id()));
        let result = output(&mut self.to_ptx(artefact, &file)).and_then(|_| self.lower_and_prove(&file, arch));
        for leftover in [&file, &file.with_extension("cubin")] {
            let _ = std::fs::remove_file(leftover);
        }
        let (ptx, entry) = result.with_context(|| shown(&artefact.source))?;
        if entry.is_empty() {
            bail!("{} has no extern \"C\" __global__ function", shown(&artefact.source));
        }
        if let Some(name) = entry.keys().find(|name| name.starts_with("_Z")) {
            bail!("{}: kernel {name} is not extern \"C\", so no program can name it", shown(&artefact.source));
        }
        let locked = Locked {
            source: artefact.source_hash.clone(),
            ptx: sha256(ptx.as_bytes()),
            nvcc: self.version.clone(),
            version: arch.ptx.to_owned(),
            target: format!("sm_{}", arch.number),
            counted_on: arch.counted_on.to_owned(),
            entry,
        };
        Ok(Compiled { ptx, locked })
    }

    fn lower_and_prove(&self, file: &Path, arch: Arch) -> Result<(String, BTreeMap<String, crate::lock::Entry>)> {
        let ptx = entries::lower(&read(file)?, arch.ptx)?;
        write(file, &ptx)?;
        let mut assembler = Command::new(&self.assembler);
        assembler.arg("-v").arg(format!("-arch={}", arch.counted_on)).arg(file);
        let out = output(assembler.arg("-o").arg(file.with_extension("cubin"))).with_context(|| {
            format!("PTX lowered to version {} does not assemble: it uses newer instructions", arch.ptx)
        })?;
        let entry = entries::resources(&ptx, &String::from_utf8_lossy(&out.stderr))?;
        Ok((ptx, entry))
    }

    fn cubin(&self, artefact: &Artefact, arch: &str) -> Result<PathBuf> {
        let stem = artefact.source.with_extension(format!("{arch}.cubin"));
        let file = self.scratch.join(crate::workspace::file_name(&stem));
        std::fs::create_dir_all(&self.scratch).with_context(|| shown(&self.scratch))?;
        let Tool::Nvcc(nvcc) = &self.tool else { bail!("machine code comes from nvcc alone") };
        let mut nvcc = self.nvcc(nvcc, artefact);
        output(nvcc.args(["-cubin", "-lineinfo"]).arg(format!("-arch={arch}")).arg("-o").arg(&file))?;
        Ok(file)
    }
}

/// Headers that every crate may include.
pub(crate) fn include_folder(root: &Path) -> PathBuf {
    root.join("crates/gpu-core/kernels/include")
}

/// Runs `work` over `items` in two threads; results in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Vec<Result<R>> {
    in_threads(2, items, work)
}

/// Runs `work` over `items` in some threads; results in the order of the items.
pub(crate) fn in_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Vec<Result<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let worker = || {
        while let Some((i, item)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            items.get(i).map(|item| (i, item))
        } {
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// `cargo xtask kernels`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = root()?;
    let all = packages(&root)?;
    let chosen: Vec<Package> = match &options.package {
        None => all,
        Some(name) => {
            let names = all.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
            let found = all.into_iter().find(|package| package.name == *name);
            vec![found.with_context(|| format!("there is no crate {name}; crates/ holds {names}"))?]
        }
    };
    if options.check {
        let wanted = |artefact: &Artefact| matches(artefact, options);
        return check::run(&root, &chosen, wanted);
    }
    let compiler = Compiler::chosen(&root, options.with)?;
    for package in &chosen {
        build(package, &compiler, options)?;
    }
    if let Err(e) = check::twins(&chosen) {
        println!("still to do before `cargo xtask ci`:\n{e}");
    }
    Ok(())
}

/// `cargo xtask kernels --check` for every crate.
pub(crate) fn check_all() -> Result<()> {
    let root = root()?;
    check::run(&root, &packages(&root)?, |_| true)
}

fn matches(artefact: &Artefact, options: &Options) -> bool {
    options.filter.as_ref().is_none_or(|part| artefact.name().contains(part.as_str()))
}

fn build(package: &Package, compiler: &Compiler, options: &Options) -> Result<()> {
    let everything = artefacts(package, &compiler.include)?;
    let chosen: Vec<&Artefact> = everything.iter().filter(|artefact| matches(artefact, options)).collect();
    if let Some(arch) = &options.cubin {
        for file in in_parallel(&chosen, |artefact| compiler.cubin(artefact, arch)) {
            println!("{}", shown(&file?));
        }
        return Ok(());
    }
    let mut lock = Lock::load(&package.folder)?;
    let stale: Vec<&Artefact> = chosen
        .iter()
        .copied()
        .filter(|artefact| options.force || !up_to_date(artefact, &lock, &compiler.version))
        .collect();
    let mut faults = Vec::new();
    for (artefact, result) in stale.iter().zip(in_parallel(&stale, |artefact| compiler.compile(artefact))) {
        let compiled = match result {
            Ok(compiled) => compiled,
            Err(e) => {
                faults.push(format!("{e:#}"));
                continue;
            }
        };
        write(&artefact.ptx_file(), &compiled.ptx)?;
        for (name, entry) in &compiled.locked.entry {
            let spills = if entry.spill_stores + entry.spill_loads > 0 { ", SPILLS" } else { "" };
            println!(
                "{}: {} {name}: {} registers, {} B shared, {} B stack{spills}",
                package.name,
                artefact.name(),
                entry.registers,
                entry.shared,
                entry.stack
            );
        }
        lock.artefact.insert(artefact.name(), compiled.locked);
    }
    let names: Vec<String> = everything.iter().map(Artefact::name).collect();
    lock.artefact.retain(|name, _| names.contains(name));
    lock.save(&package.folder)?;
    for file in files_below(&package.folder.join("kernels/ptx"), "ptx")? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !names.contains(&name) {
            println!("{}: removing {}, whose source is gone", package.name, shown(&file));
            std::fs::remove_file(&file).with_context(|| shown(&file))?;
        }
    }
    if !everything.is_empty() {
        println!(
            "{}: {} compiled, {} up to date",
            package.name,
            stale.len() - faults.len(),
            chosen.len() - stale.len()
        );
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

fn up_to_date(artefact: &Artefact, lock: &Lock, compiler: &str) -> bool {
    lock.artefact.get(&artefact.name()).is_some_and(|locked| {
        locked.source == artefact.source_hash
            && locked.nvcc == compiler
            && read(&artefact.ptx_file()).is_ok_and(|ptx| sha256(ptx.as_bytes()) == locked.ptx)
    })
}
