//! cuFFT's functions, found at run time.

use std::ffi::{c_int, c_longlong, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cust::sys::CUstream;
use libloading::Library;

use crate::{Error, Result};

pub(super) type Handle = c_int;
type Code = c_int;
type Exec = unsafe extern "C" fn(Handle, *mut c_void, *mut c_void) -> Code;
type ExecSigned = unsafe extern "C" fn(Handle, *mut c_void, *mut c_void, c_int) -> Code;
type MakePlanMany = unsafe extern "C" fn(
    Handle,
    c_int,
    *mut c_longlong,
    *mut c_longlong,
    c_longlong,
    c_longlong,
    *mut c_longlong,
    c_longlong,
    c_longlong,
    c_int,
    c_longlong,
    *mut usize,
) -> Code;

/// The functions that are used.
pub(super) struct CuFft {
    pub(super) name: String,
    pub(super) create: unsafe extern "C" fn(*mut Handle) -> Code,
    pub(super) destroy: unsafe extern "C" fn(Handle) -> Code,
    pub(super) set_auto_allocation: unsafe extern "C" fn(Handle, c_int) -> Code,
    pub(super) make_plan: MakePlanMany,
    pub(super) set_work_area: unsafe extern "C" fn(Handle, *mut c_void) -> Code,
    pub(super) set_stream: unsafe extern "C" fn(Handle, CUstream) -> Code,
    pub(super) version: unsafe extern "C" fn(*mut c_int) -> Code,
    pub(super) r2c: Exec,
    pub(super) c2r: Exec,
    pub(super) c2c: ExecSigned,
    pub(super) d2z: Exec,
    pub(super) z2d: Exec,
    pub(super) z2z: ExecSigned,
}

static CUFFT: OnceLock<Result<CuFft, String>> = OnceLock::new();

const VERSIONS: [u32; 3] = [12, 11, 10];

pub(super) fn cufft() -> &'static Result<CuFft, String> {
    CUFFT.get_or_init(|| {
        let mut first = None;
        for file in candidates() {
            match load(&file) {
                Ok(library) => return Ok(library),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_default())
    })
}

/// Names for the loader to search for, then files beside a toolkit or in a Python environment.
fn candidates() -> Vec<PathBuf> {
    if let Some(file) = std::env::var_os("LOCKSTEP_CUFFT") {
        return vec![file.into()];
    }
    let names: Vec<String> = VERSIONS.iter().map(|version| format!("libcufft.so.{version}")).collect();
    let mut files: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    for folder in folders() {
        files.extend(names.iter().map(|name| folder.join(name)).filter(|file| file.is_file()));
    }
    files
}

fn folders() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(set).map(|folder| folder.join("lib64")).collect();
    folders.push("/usr/local/cuda/lib64".into());
    // pip's wheels: <environment>/lib/python3.x/{site,dist}-packages/nvidia/<package>/lib
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(set);
    for environment in environments.chain(["/usr/local".into(), "/usr".into()]) {
        for python in below(&environment.join("lib")).filter(|path| name_begins(path, "python3")) {
            for packages in ["site-packages", "dist-packages"] {
                folders.extend(below(&python.join(packages).join("nvidia")).map(|package| package.join("lib")));
            }
        }
    }
    folders
}

/// What a folder holds, sorted; nothing when it cannot be read.
fn below(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.into_iter()
}

fn name_begins(path: &Path, with: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(with))
}

fn load(file: &Path) -> Result<CuFft, String> {
    // SAFETY: the library's initialisers have no requirements; it loads without a driver.
    let library = unsafe { Library::new(file) }.map_err(|e| e.to_string())?;
    // Never closed: plans in statics may outlive everything else.
    let library: &'static Library = Box::leak(Box::new(library));
    macro_rules! symbol {
        ($name:literal) => {{
            // SAFETY: the type of the field that takes it is the C signature of this function.
            *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|e| e.to_string())?
        }};
    }
    Ok(CuFft {
        name: file.display().to_string(),
        create: symbol!("cufftCreate"),
        destroy: symbol!("cufftDestroy"),
        set_auto_allocation: symbol!("cufftSetAutoAllocation"),
        make_plan: symbol!("cufftMakePlanMany64"),
        set_work_area: symbol!("cufftSetWorkArea"),
        set_stream: symbol!("cufftSetStream"),
        version: symbol!("cufftGetVersion"),
        r2c: symbol!("cufftExecR2C"),
        c2r: symbol!("cufftExecC2R"),
        c2c: symbol!("cufftExecC2C"),
        d2z: symbol!("cufftExecD2Z"),
        z2d: symbol!("cufftExecZ2D"),
        z2z: symbol!("cufftExecZ2Z"),
    })
}

/// Whether cuFFT was found.
pub fn is_available() -> bool {
    cufft().is_ok()
}

/// File and version of the library.
///
/// # Errors
/// The loader's words when it was not found.
pub fn library() -> Result<(&'static str, u32), &'static str> {
    let library = cufft().as_ref().map_err(String::as_str)?;
    let mut version = 0;
    // SAFETY: the pointer is valid for the call, which needs no device.
    unsafe { (library.version)(&raw mut version) };
    Ok((&library.name, version.max(0) as u32))
}

/// The result of a call of the library.
pub(super) fn check(call: &'static str, code: Code) -> Result<()> {
    let name = match code {
        0 => return Ok(()),
        1 => "CUFFT_INVALID_PLAN",
        2 => "CUFFT_ALLOC_FAILED",
        4 => "CUFFT_INVALID_VALUE",
        5 => "CUFFT_INTERNAL_ERROR",
        6 => "CUFFT_EXEC_FAILED",
        7 => "CUFFT_SETUP_FAILED",
        8 => "CUFFT_INVALID_SIZE",
        14 => "CUFFT_NOT_IMPLEMENTED",
        16 => "CUFFT_NOT_SUPPORTED",
        _ => "an unknown result of cuFFT",
    };
    Err(Error::Driver { call, code: code.max(0) as u32, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_or_its_absence_explained() {
        match library() {
            Ok((name, version)) => assert!(name.contains("cufft") && version >= 10_000, "{name} {version}"),
            Err(why) => assert!(why.contains("cufft"), "{why}"),
        }
        assert_eq!(is_available(), library().is_ok());
    }
}
