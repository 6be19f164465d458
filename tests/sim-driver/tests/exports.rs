//! The library in the place of `libcuda.so.1`: what a program that is linked to the driver finds in it.
#![cfg(target_os = "linux")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library that cargo built with these tests; none where only the tests' executables were taken.
fn library() -> Option<PathBuf> {
    let program = std::env::current_exe().expect("this program has a file");
    let folder = program.parent().expect("a file is in a folder");
    [folder, folder.parent().unwrap_or(folder)]
        .map(|folder| folder.join("libsim_driver.so"))
        .into_iter()
        .find(|f| f.is_file())
}

/// Functions that `cust_raw` declares, from the list that gpu-core has of them.
fn declared() -> Vec<String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/gpu-core/src/cuda/symbols.rs");
    let text = std::fs::read_to_string(list).expect("the list of symbols");
    let names = text.lines().filter_map(|line| line.strip_prefix("    cu")?.split_once('('));
    names.map(|(name, _)| format!("cu{name}")).collect()
}

#[test]
fn every_function_that_cust_raw_declares_is_there() {
    let Some(file) = library() else { return };
    // SAFETY: the library's initialisers have no requirements.
    let library = unsafe { libloading::Library::new(&file) }.unwrap();
    let declared = declared();
    assert!(declared.len() > 300, "{}", declared.len());
    for name in declared {
        // SAFETY: nothing is called.
        let found = unsafe { library.get::<*const ()>(name.as_bytes()) };
        assert!(found.is_ok(), "{name}");
    }
}

#[test]
fn a_program_linked_to_the_driver_runs_on_it() {
    let Some(file) = library() else { return };
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if Command::new(&rustc).arg("--version").output().is_err() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("sim-driver-link-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("lib64")).unwrap();
    let lib64 = folder.join("lib64");
    for name in ["libcuda.so", "libcuda.so.1"] {
        symlink(&file, lib64.join(name)).unwrap();
    }
    let (source, program) = (folder.join("program.rs"), folder.join("program"));
    std::fs::write(
        &source,
        "#[link(name = \"cuda\")]\nunsafe extern \"C\" { fn cuInit(flags: u32) -> u32; fn cuArrayDestroy(array: u64) -> u32; }\n\
         fn main() { unsafe { assert_eq!((cuInit(0), cuArrayDestroy(0)), (0, 801)); } println!(\"linked\"); }\n",
    )
    .unwrap();
    let mut build = Command::new(rustc);
    build.args(["--edition", "2024", "-L"]).arg(&lib64).arg(&source).arg("-o").arg(&program);
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    // The name under which the program asks for it is the library's own.
    let ran = Command::new(&program).env("LD_LIBRARY_PATH", &lib64).output().unwrap();
    let out = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(out.contains("linked") && out.contains("sim: cuArrayDestroy"), "{out}");
    std::fs::remove_file(lib64.join("libcuda.so")).unwrap();
    assert!(Command::new(&program).env("LD_LIBRARY_PATH", &lib64).output().unwrap().status.success());
    std::fs::remove_dir_all(folder).unwrap();
}
