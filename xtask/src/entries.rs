//! Reading and lowering PTX, and reading what ptxas says about it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::lock::Entry;

/// Strips comment lines (they carry the compiler's build number) and lowers the version to `version`.
pub(crate) fn lower(ptx: &str, version: &str) -> Result<String> {
    let mut out = String::with_capacity(ptx.len());
    let mut versions = 0;
    let mut blank = true;
    // A hint to the assembler, which new ones refuse in old versions of PTX and old ones ignore.
    let hint = |line: &str| line.trim_start().starts_with(".pragma \"used_bytes_mask");
    let says = |line: &&str| !line.trim_start().starts_with("//") && !hint(line);
    for line in ptx.lines().map(str::trim_end).filter(says) {
        // One empty line stands for several: stripping leaves gaps.
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        if line.starts_with(".version ") {
            versions += 1;
            out.push_str(".version ");
            out.push_str(version);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    let out = without_module_ids(&out);
    if versions == 1 { Ok(out) } else { bail!("the PTX has {versions} .version lines where one is expected") }
}

/// nvcc names things of one file alone (static, or in an unnamed namespace) by a checksum of the folder it ran in;
/// zeros in its place make the PTX the same everywhere.
fn without_module_ids(ptx: &str) -> String {
    let mut out = ptx.to_owned();
    for marker in ["_INTERNAL_", "_GLOBAL__N__"] {
        let ids: std::collections::BTreeSet<String> = ptx
            .split(marker)
            .skip(1)
            .filter_map(|after| after.get(..8))
            .filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()))
            .map(str::to_owned)
            .collect();
        for id in ids {
            out = out.replace(&format!("{marker}{id}_"), &format!("{marker}00000000_"));
        }
    }
    out
}

/// Parameter sizes in bytes of every `.entry`.
pub(crate) fn parameters(ptx: &str) -> Result<BTreeMap<String, Vec<usize>>> {
    let mut all = BTreeMap::new();
    for after in ptx.split(".entry ").skip(1) {
        let (name, rest) = after.split_once('(').context("an .entry has no parameter list")?;
        let (list, _) = rest.split_once(')').context("an .entry's parameter list does not end")?;
        let sizes = list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(parameter_size);
        let sizes = sizes.collect::<Result<_>>().with_context(|| format!("parameters of {}", name.trim()))?;
        all.insert(name.trim().to_owned(), sizes);
    }
    Ok(all)
}

/// `.param .u64 name` is 8, `.param .align 8 .b8 name[32]` is 32.
fn parameter_size(text: &str) -> Result<usize> {
    let kinds = ["u", "s", "b", "f"];
    let width = text.split_whitespace().find_map(|word| {
        let word = word.strip_prefix('.')?;
        let digits = kinds.iter().find_map(|kind| word.strip_prefix(kind))?;
        digits.parse::<usize>().ok().map(|bits| bits / 8)
    });
    let count = match text.split_once('[') {
        Some((_, rest)) => rest.trim_end_matches(']').parse().with_context(|| format!("the length in `{text}`"))?,
        None => 1,
    };
    Ok(width.with_context(|| format!("the type in `{text}`"))? * count)
}

/// Joins the parameters of the entries with what `ptxas -v` printed about each.
pub(crate) fn resources(ptx: &str, verbose: &str) -> Result<BTreeMap<String, Entry>> {
    let mut all = BTreeMap::new();
    for (name, parameters) in parameters(ptx)? {
        let mut entry = counted(&name, verbose).with_context(|| format!("ptxas says nothing of {name}"))?;
        entry.parameters = parameters;
        all.insert(name, entry);
    }
    Ok(all)
}

fn counted(name: &str, verbose: &str) -> Option<Entry> {
    let start = verbose.find(&format!("Compiling entry function '{name}'"))?;
    let mut lines = verbose[start..].lines().skip(1).take_while(|line| !line.contains("Compiling entry function"));
    let mut entry = Entry::default();
    let mut found = false;
    while let Some(line) = lines.next() {
        if line.ends_with(&format!("Function properties for {name}")) {
            let line = lines.next()?;
            entry.stack = number_before(line, "bytes stack frame")?;
            entry.spill_stores = number_before(line, "bytes spill stores")?;
            entry.spill_loads = number_before(line, "bytes spill loads")?;
        } else if let Some((_, used)) = line.split_once("Used ") {
            entry.registers = number_before(used, "registers")?;
            entry.shared = number_before(used, "bytes smem").unwrap_or(0);
            found = true;
        }
    }
    found.then_some(entry)
}

/// The number before `unit` in a comma list, as in `Used 32 registers, 1024 bytes smem`.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let part = line.split(',').map(str::trim).find_map(|part| part.strip_suffix(unit))?;
    part.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = "//\n// Compiler Build ID: CL-1\n//\n\n.version 9.0\n.target sm_75\n\n\t// .globl\tblur\n\n\
        .visible .entry blur(\n\t.param .u64 blur_param_0,\n\t.param .align 8 .b8 blur_param_1[32],\n\
        \t.param .u64 .ptr .global .align 4 blur_param_2,\n\t.param .f32 blur_param_3\n)\n{\n\tret;\n}\n\
        .visible .entry idle()\n{\n\tret;\n}\n";

    #[test]
    fn lowering_changes_the_version_and_drops_comments() {
        let text = lower(PTX, "7.0").unwrap();
        assert!(text.starts_with(".version 7.0\n.target sm_75\n\n.visible .entry blur("), "{text}");
        assert!(!text.contains("//"));
        let hinted = PTX.replace("\tret;", "\t.pragma \"used_bytes_mask 4095\";\n\tret;");
        assert_eq!(lower(&hinted, "7.0").unwrap(), text, "a hint that older versions do not know");
        assert!(lower(".target sm_75\n", "7.0").is_err());
    }

    #[test]
    fn module_ids_are_zeros() {
        let text = ".version 9.0\n.func _ZN27_INTERNAL_7197ade1_4_a_cu_k29_GLOBAL__N__7197ade1_4_a_cu_k1fEf\n";
        let lowered = lower(text, "7.0").unwrap();
        assert!(
            lowered.ends_with("_ZN27_INTERNAL_00000000_4_a_cu_k29_GLOBAL__N__00000000_4_a_cu_k1fEf\n"),
            "{lowered}"
        );
    }

    #[test]
    fn parameter_sizes_are_read() {
        let all = parameters(PTX).unwrap();
        assert_eq!(all["blur"], [8, 32, 8, 4]);
        assert!(all["idle"].is_empty());
    }

    #[test]
    fn resources_are_read_from_ptxas() {
        let verbose = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'blur' for 'sm_80'\n\
            ptxas info    : Function properties for blur\n\
            \x20   16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
            ptxas info    : Used 30 registers, 1024 bytes smem, 416 bytes cmem[0]\n\
            ptxas info    : Compiling entry function 'idle' for 'sm_80'\n\
            ptxas info    : Function properties for idle\n\
            \x20   0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 4 registers, 352 bytes cmem[0]\n";
        let all = resources(PTX, verbose).unwrap();
        let blur = &all["blur"];
        assert_eq!(
            (blur.registers, blur.shared, blur.stack, blur.spill_stores, blur.spill_loads),
            (30, 1024, 16, 8, 4)
        );
        assert_eq!((all["idle"].registers, all["idle"].shared), (4, 0));
        assert!(resources(PTX, "ptxas info    : 0 bytes gmem\n").is_err());
    }
}
