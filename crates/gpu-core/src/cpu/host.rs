//! What the operating system says about this machine.

use std::fs::read_to_string;

fn field(file: &str, name: &str) -> Option<String> {
    let text = read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn meminfo(name: &str) -> Option<usize> {
    let kib: usize = field("/proc/meminfo", name)?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The processor's name.
pub(super) fn name() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Bytes of memory in the machine; without an answer, no limit.
pub(super) fn memory_total() -> usize {
    meminfo("MemTotal").unwrap_or(isize::MAX as usize)
}

/// Bytes that can be allocated without swapping; without an answer, no limit.
pub(crate) fn memory_available() -> usize {
    meminfo("MemAvailable").unwrap_or(isize::MAX as usize)
}
