//! Names the library as programs linked to the driver ask for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Linkers of other systems know no such name, and nothing there loads the driver by it.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    }
}
