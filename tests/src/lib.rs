//! Tests of the whole workspace: the finished program from outside, and crates working together.
//!
//! What belongs to one crate is tested there; `tests/` here starts the program without a driver, runs it on the golden
//! folder, and uses several queues at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The program `lockstep` with the feature `cuda`: what `LOCKSTEP_COMMAND` names (as `cargo xtask test` does), else built
/// here in the profile of these tests.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("LOCKSTEP_COMMAND") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    // This test lies in target/<profile>/deps; the program is built into the same target folder.
    let this = std::env::current_exe().expect("the path of this test");
    let profile = this.ancestors().nth(2).expect("target/<profile>/deps");
    let target = profile.parent().expect("target/<profile>");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("build").args(["--package", "lockstep", "--features", "cuda"]);
    command.arg("--message-format=json-render-diagnostics").arg("--target-dir").arg(target);
    if profile.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs; without it, set LOCKSTEP_COMMAND");
    let messages = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut executables = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "lockstep")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().expect("cargo names the program")
}

/// The domain's golden folder: `$LOCKSTEP_DATA/<domain>`, by default beside the workspace's own folder.
///
/// # Panics
/// When it is not there.
pub fn golden(domain: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = std::env::var_os("LOCKSTEP_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let folder = workspace.join(root).join(domain);
    assert!(
        folder.is_dir(),
        "{} does not exist; set LOCKSTEP_DATA to the folder that holds {domain}/",
        folder.display()
    );
    folder
}

/// Names of the shared libraries that an ELF program asks the loader for.
///
/// # Panics
/// When the bytes are no little-endian 64-bit ELF file with a dynamic section.
pub fn needed_libraries(elf: &[u8]) -> Vec<String> {
    assert!(elf.starts_with(b"\x7fELF\x02\x01"), "no little-endian 64-bit ELF file");
    let number = |at: usize, bytes: usize| elf[at..at + bytes].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let (headers, size, count) = (number(32, 8) as usize, number(54, 2) as usize, number(56, 2) as usize);
    // Of each segment: type, place in the file, address, bytes in the file.
    let segments: Vec<[u64; 4]> = (0..count)
        .map(|i| headers + i * size)
        .map(|at| [number(at, 4), number(at + 8, 8), number(at + 16, 8), number(at + 32, 8)])
        .collect();
    const LOAD: u64 = 1;
    const DYNAMIC: u64 = 2;
    const NEEDED: u64 = 1;
    const STRING_TABLE: u64 = 5;
    let dynamic = segments.iter().find(|s| s[0] == DYNAMIC).expect("a dynamic section");
    let entries: Vec<(u64, u64)> = (dynamic[1]..dynamic[1] + dynamic[3])
        .step_by(16)
        .map(|at| (number(at as usize, 8), number(at as usize + 8, 8)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let table = entries.iter().find(|(tag, _)| *tag == STRING_TABLE).expect("a string table").1;
    let inside = |s: &&[u64; 4]| s[0] == LOAD && (s[2]..s[2] + s[3]).contains(&table);
    let segment = segments.iter().find(inside).expect("the segment of the string table");
    let strings = (table - segment[2] + segment[1]) as usize;
    let text = |offset: u64| {
        let bytes = elf[strings + offset as usize..].iter().copied().take_while(|b| *b != 0).collect();
        String::from_utf8(bytes).expect("a name in UTF-8")
    };
    entries.iter().filter(|(tag, _)| *tag == NEEDED).map(|(_, offset)| text(*offset)).collect()
}
