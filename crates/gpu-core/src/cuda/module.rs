//! Compiled kernels: embedding them, choosing the one that fits the device, loading it once.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, RwLock};

use cust::module::Module;
use cust::sys::{self, CUfunction, CUfunction_attribute};

use super::driver;
use super::gpu::Gpu;
use super::queue::Handle;
use crate::{Arch, Error, Result, ptx};

/// One PTX text of a crate; [`kernels!`](crate::kernels) makes it.
#[derive(Debug)]
pub struct Artefact {
    /// Name of the source file without its ending.
    pub module: &'static str,
    /// The architecture it was compiled for, as `sm_75` or `sm_90a`.
    pub arch: &'static str,
    /// The text.
    pub ptx: &'static str,
}

/// The compiled kernels of a crate; [`kernels!`](crate::kernels) makes it.
#[derive(Debug)]
pub struct Kernels {
    artefacts: &'static [Artefact],
    /// Which artefacts hold a kernel, and what it takes.
    index: OnceLock<HashMap<String, Vec<Found>>>,
}

/// A kernel in an artefact.
#[derive(Debug)]
struct Found {
    artefact: usize,
    parameters: Vec<usize>,
}

/// Embeds the PTX of a crate's kernels: `kernels/ptx/<file>.<arch>.ptx`, written by `cargo xtask kernels`.
///
/// ```ignore
/// gpu_core::kernels! {
///     pub(crate) static KERNELS = [("taps", ["sm_75"]), ("products", ["sm_80", "sm_90a"])];
/// }
/// ```
#[macro_export]
macro_rules! kernels {
    ($(#[$meta:meta])* $vis:vis static $name:ident = [$(($file:literal, [$($arch:literal),+ $(,)?])),* $(,)?];) => {
        $(#[$meta])*
        $vis static $name: $crate::cuda::Kernels = $crate::cuda::Kernels::new(&[$($(
            $crate::cuda::Artefact {
                module: $file,
                arch: $arch,
                ptx: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/ptx/", $file, ".", $arch, ".ptx")),
            }
        ),+),*]);
    };
}

impl Kernels {
    /// For the macro.
    pub const fn new(artefacts: &'static [Artefact]) -> Self {
        Self { artefacts, index: OnceLock::new() }
    }

    /// What is embedded.
    pub fn artefacts(&self) -> &'static [Artefact] {
        self.artefacts
    }

    /// Bytes of each parameter of a kernel, in order, as its PTX states them. Needs no device.
    pub fn parameters(&self, kernel: &str) -> Option<&[usize]> {
        self.index().get(kernel)?.first().map(|found| found.parameters.as_slice())
    }

    fn index(&self) -> &HashMap<String, Vec<Found>> {
        self.index.get_or_init(|| {
            let mut index: HashMap<String, Vec<Found>> = HashMap::new();
            for (i, artefact) in self.artefacts.iter().enumerate() {
                for entry in ptx::entries(artefact.ptx) {
                    index.entry(entry.name).or_default().push(Found { artefact: i, parameters: entry.parameters });
                }
            }
            index
        })
    }

    /// The artefact with this kernel that was compiled for the highest architecture that runs on the device.
    fn choose(&self, kernel: &str, device: Arch) -> Result<(&'static Artefact, &Found)> {
        let error = |why: String| Error::Kernel { name: kernel.to_owned(), why };
        let found = self.index().get(kernel).ok_or_else(|| {
            let mut names: Vec<_> = self.index().keys().map(String::as_str).collect();
            names.sort_unstable();
            error(format!("there is none of this name; there are {}", names.join(", ")))
        })?;
        let all = found.iter().filter_map(|found| Some((self.artefacts.get(found.artefact)?, found)));
        let fitting =
            all.filter(|(artefact, _)| Target::of(artefact.arch).is_some_and(|target| target.runs_on(device)));
        fitting.max_by_key(|(artefact, _)| Target::of(artefact.arch)).ok_or_else(|| {
            let compiled: Vec<_> = found.iter().filter_map(|f| Some(self.artefacts.get(f.artefact)?.arch)).collect();
            error(format!("compiled for {}, the device is sm_{}{}", compiled.join(", "), device.major, device.minor))
        })
    }
}

/// An architecture that code was compiled for. Ordered so that the specific variant of an architecture is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    arch: Arch,
    /// `sm_90a` and the like run on that architecture alone.
    exact: bool,
}

impl Target {
    fn of(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sm_")?;
        let (digits, exact) = digits.strip_suffix('a').map_or((digits, false), |digits| (digits, true));
        let number: u32 = digits.parse().ok()?;
        Some(Self { arch: Arch { major: number / 10, minor: number % 10 }, exact })
    }

    fn runs_on(self, device: Arch) -> bool {
        if self.exact { self.arch == device } else { self.arch <= device }
    }
}

/// A kernel in the memory of a device.
#[derive(Debug)]
pub(super) struct Loadable {
    pub(super) name: Arc<str>,
    pub(super) parameters: Vec<usize>,
    pub(super) function: Handle<CUfunction>,
    /// Most threads that one block may have with the registers that the kernel takes.
    pub(super) threads: u32,
    /// Shared memory that it declares.
    pub(super) shared: u32,
    /// Dynamic shared memory that launches may ask for without another setting.
    pub(super) shared_allowed: AtomicU32,
}

/// Dynamic and declared shared memory up to this much need no setting.
const SHARED_BY_DEFAULT: u32 = 48 * 1024;

type ByName = HashMap<String, &'static Loadable>;

/// Kernels and modules that one device has loaded. Nothing is unloaded: launches may be queued until the process ends.
#[derive(Default)]
pub(super) struct Loaded {
    /// By the address of the `Kernels`, which is a static, and then by name.
    kernels: RwLock<HashMap<usize, ByName>>,
    /// By the address of the artefact.
    modules: Mutex<HashMap<usize, &'static Module>>,
}

impl Loaded {
    /// A kernel, loaded when asked for the first time. The context must be current.
    pub(super) fn kernel(&self, gpu: &Gpu, kernels: &'static Kernels, name: &str) -> Result<&'static Loadable> {
        let key = std::ptr::from_ref(kernels).addr();
        let known = self.kernels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = known.get(&key).and_then(|names| names.get(name)) {
            return Ok(kernel);
        }
        drop(known);
        let kernel: &'static Loadable = Box::leak(Box::new(self.load(gpu, kernels, name)?));
        let mut known = self.kernels.write().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(key).or_default().entry(name.to_owned()).or_insert(kernel))
    }

    fn load(&self, gpu: &Gpu, kernels: &'static Kernels, name: &str) -> Result<Loadable> {
        let arch = gpu.device.arch.unwrap_or(Arch { major: 0, minor: 0 });
        let (artefact, found) = kernels.choose(name, arch)?;
        let module = self.module(gpu, artefact)?;
        let function = module.get_function(name).map_err(|_| Error::Kernel {
            name: name.to_owned(),
            why: gpu.failure("cuModuleGetFunction", driver::last_code()).to_string(),
        })?;
        let function = Handle(function.to_raw());
        let attribute = |which| function_attribute(gpu, function, which);
        let shared = attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
        Ok(Loadable {
            name: name.into(),
            parameters: found.parameters.clone(),
            function,
            threads: attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            shared,
            shared_allowed: AtomicU32::new(SHARED_BY_DEFAULT.saturating_sub(shared)),
        })
    }

    fn module(&self, gpu: &Gpu, artefact: &'static Artefact) -> Result<&'static Module> {
        let key = std::ptr::from_ref(artefact).addr();
        // Held while loading, so that two threads do not compile the same PTX.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&key) {
            return Ok(module);
        }
        let loaded = match machine_code(gpu, artefact) {
            Some(file) => load_machine_code(gpu, artefact, &file)?,
            None => load_ptx(gpu, artefact)?,
        };
        let module: &'static Module = Box::leak(Box::new(loaded));
        modules.insert(key, module);
        Ok(module)
    }
}

fn function_attribute(gpu: &Gpu, function: Handle<CUfunction>, which: CUfunction_attribute) -> Result<u32> {
    let mut value = 0;
    // SAFETY: the pointer is valid for the call, the function's module is never unloaded.
    let code = unsafe { sys::cuFuncGetAttribute(&raw mut value, which, function.0) };
    gpu.check("cuFuncGetAttribute", code)?;
    Ok(value.max(0) as u32)
}

/// `LOCKSTEP_KERNEL_DIR`: a folder of `<file>.<arch>.cubin` that take the place of embedded PTX, for profiling.
fn machine_code(gpu: &Gpu, artefact: &Artefact) -> Option<PathBuf> {
    static FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("LOCKSTEP_KERNEL_DIR").map(PathBuf::from));
    let folder = FOLDER.as_deref()?;
    let Arch { major, minor } = gpu.device.arch?;
    let exact = [
        format!("{}.sm_{major}{minor}a.cubin", artefact.module),
        format!("{}.sm_{major}{minor}.cubin", artefact.module),
    ];
    exact.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

fn load_machine_code(gpu: &Gpu, artefact: &Artefact, file: &Path) -> Result<Module> {
    let bytes = std::fs::read(file).map_err(|e| Error::Io { path: file.to_path_buf(), message: e.to_string() })?;
    tracing::debug!(module = artefact.module, file = %file.display(), "loading machine code");
    Module::from_cubin(bytes, &[]).map_err(|_| Error::Kernel {
        name: artefact.module.to_owned(),
        why: format!("{}: {}", file.display(), gpu.failure("cuModuleLoadDataEx", driver::last_code())),
    })
}

fn load_ptx(gpu: &Gpu, artefact: &Artefact) -> Result<Module> {
    let error = |why: String| Error::Kernel { name: format!("{}.{}", artefact.module, artefact.arch), why };
    let text = CString::new(artefact.ptx).map_err(|_| error("the PTX holds a zero byte".to_owned()))?;
    let start = std::time::Instant::now();
    let loaded = Module::from_ptx_cstr(&text, &[]).map_err(|_| {
        let failure = gpu.failure("cuModuleLoadDataEx", driver::last_code());
        // The compiler's message needs a buffer that `cust` does not pass, so the same is tried once more.
        let log = compiler_log(&text);
        error(if log.is_empty() { failure.to_string() } else { format!("{failure}: {log}") })
    })?;
    tracing::debug!(module = artefact.module, arch = artefact.arch, seconds = start.elapsed().as_secs_f64(), "loaded");
    Ok(loaded)
}

/// What the driver's compiler says about a text that it refuses.
fn compiler_log(text: &CString) -> String {
    let mut log = vec![0u8; 4096];
    let mut options =
        [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // Sizes travel in the place of the pointer.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(log.len())];
    let mut module = std::ptr::null_mut();
    // SAFETY: two options with their two values; text and log live until the call is over.
    let code = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut module,
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    if code == sys::CUresult::CUDA_SUCCESS {
        // SAFETY: loaded just now and given to nobody.
        unsafe { sys::cuModuleUnload(module) };
        return String::new();
    }
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    static SET: Kernels = Kernels::new(&[
        Artefact { module: "a", arch: "sm_75", ptx: ".entry a_f32( .param .u64 x ) {}" },
        Artefact { module: "a", arch: "sm_80", ptx: ".entry a_f32( .param .u64 x ) {}" },
        Artefact { module: "a", arch: "sm_90a", ptx: ".entry a_f32( .param .u64 x ) {} .entry hopper_f32() {}" },
    ]);

    fn chosen(kernel: &str, major: u32, minor: u32) -> Result<&'static str> {
        SET.choose(kernel, Arch { major, minor }).map(|(artefact, _)| artefact.arch)
    }

    #[test]
    fn the_highest_artefact_that_fits_is_taken() {
        assert_eq!(chosen("a_f32", 7, 5).unwrap(), "sm_75");
        assert_eq!(chosen("a_f32", 8, 9).unwrap(), "sm_80");
        assert_eq!(chosen("a_f32", 9, 0).unwrap(), "sm_90a");
        // Code for one architecture alone does not run on later ones.
        assert_eq!(chosen("a_f32", 10, 0).unwrap(), "sm_80");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let old = chosen("a_f32", 7, 0).unwrap_err().to_string();
        assert!(old.contains("sm_75") && old.contains("sm_70"), "{old}");
        let only = chosen("hopper_f32", 8, 0).unwrap_err().to_string();
        assert!(only.contains("sm_90a"), "{only}");
        let unknown = chosen("b_f32", 8, 0).unwrap_err().to_string();
        assert!(unknown.contains("a_f32, hopper_f32"), "{unknown}");
    }

    #[test]
    fn parameters_are_known_without_a_device() {
        assert_eq!(SET.parameters("a_f32").unwrap(), [8]);
        assert_eq!(SET.parameters("b_f32"), None);
    }
}
