//! `cargo xtask driver-symbols`: the list of driver functions that gpu-core defines, from `cust_raw`'s declarations.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::workspace::{cargo, output, read, root, shown, write};

#[derive(Args)]
pub(crate) struct Options {
    /// Changes nothing; fails when the file differs from what would be written.
    #[arg(long)]
    pub(crate) check: bool,
}

/// `cargo xtask driver-symbols`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let file = root()?.join("crates/gpu-core/src/cuda/symbols.rs");
    let (version, folder) = cust_raw()?;
    let declarations = declarations(&read(&folder.join("src/cuda.rs"))?)?;
    let text = symbols(&version, &declarations);
    if !options.check {
        write(&file, text)?;
        println!("wrote {} functions to {}", declarations.len(), shown(&file));
    } else if read(&file)? != text {
        bail!("{} differs from the declarations of cust_raw {version}; run `cargo xtask driver-symbols`", shown(&file));
    }
    Ok(())
}

/// Version and folder of the `cust_raw` that the workspace builds with.
fn cust_raw() -> Result<(String, PathBuf)> {
    let out = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_slice(&out.stdout).context("the output of cargo metadata")?;
    let package = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == "cust_raw");
    let package = package.context("the workspace does not depend on cust_raw")?;
    let text = |key: &str| package[key].as_str().with_context(|| format!("cust_raw has no {key}"));
    let folder = Path::new(text("manifest_path")?).parent().context("cust_raw has no folder")?.to_path_buf();
    Ok((text("version")?.to_owned(), folder))
}

/// Every `pub fn cuXxx(…) -> CUresult;` as `cuXxx(…)` on one line, in the order of the source.
fn declarations(source: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for after in source.split("pub fn cu").skip(1) {
        let (declaration, _) = after.split_once(';').context("a declaration does not end")?;
        let Some(declaration) = declaration.strip_suffix("-> CUresult") else {
            bail!("cu{declaration} does not return CUresult");
        };
        let words: Vec<&str> = declaration.split_whitespace().collect();
        let line = words.join(" ").replace("::std::os::raw::", "").replace("( ", "(").replace(", )", ")");
        all.push(format!("cu{line}"));
    }
    if all.is_empty() {
        bail!("cust_raw declares no functions");
    }
    Ok(all)
}

fn symbols(version: &str, declarations: &[String]) -> String {
    let mut text = format!(
        "// Written by `cargo xtask driver-symbols` from cust_raw {version}; do not edit.\n\
         //! Every driver function that `cust_raw` declares, defined here so that no library has to provide it.\n\n\
         use std::ffi::*;\n\nuse cust::sys::*;\n\nuse super::driver::forward;\n\nforward! {{\n"
    );
    for declaration in declarations {
        text.push_str("    ");
        text.push_str(declaration);
        text.push_str(";\n");
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_become_lines() {
        let source = "extern \"C\" {\n    pub fn cuInit(Flags: ::std::os::raw::c_uint) -> CUresult;\n}\nextern \"C\" {\n    \
            pub fn cuMemAlloc_v2(\n        dptr: *mut CUdeviceptr,\n        bytesize: usize,\n    ) -> CUresult;\n}\n";
        let all = declarations(source).unwrap();
        assert_eq!(all, ["cuInit(Flags: c_uint)", "cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize)"]);
        assert!(declarations("pub fn cuOdd() -> u32;").is_err() && declarations("").is_err());
        assert!(symbols("1.0", &all).ends_with(
            "forward! {\n    cuInit(Flags: c_uint);\n    cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize);\n}\n"
        ));
    }
}
