//! Which CUDA device tests and benchmarks have used: as the driver named it to them. `nvidia-smi` knows nothing of a
//! driver that `LOCKSTEP_DRIVER` names, or that lies in the place of `libcuda.so.1`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{file_name, line, says};

/// A CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Version of NVIDIA's driver, or the library that took its place.
    pub(crate) driver: String,
}

impl Device {
    fn new(name: String) -> Self {
        let version = || says("nvidia-smi", &["--query-gpu=driver_version", "--format=csv,noheader"]);
        let named = std::env::var_os("LOCKSTEP_DRIVER");
        let driver = if simulated(&name) { library(named.as_deref()) } else { version().unwrap_or_default() };
        // One line a device.
        let driver = driver.lines().next().unwrap_or("unknown").trim().to_owned();
        Self { name, driver }
    }

    /// The device that tests of CUDA twins say they ran on; none where no such test passed.
    pub(crate) fn of_records(records: &[Value]) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let on_device = records.iter().filter(|record| text(&record["proof"]).starts_with("cuda_"));
        let names: BTreeSet<String> =
            on_device.map(|record| text(&record["device"])).filter(|name| !name.is_empty()).collect();
        // A name that says "simulated" first: then all of it counts as simulated.
        let (mut all, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| simulated(name));
        all.extend(others);
        (!all.is_empty()).then(|| Self::new(all.join(" and ")))
    }

    /// The device that the `lockstep` command finds as `--backend`.
    pub(crate) fn of_command(file: &Path, backend: &str) -> Result<Self> {
        let mut command = Command::new(file);
        command.args(["nsct", "info", "--json", "--backend", backend]).stdin(Stdio::null());
        let out = command.output().with_context(|| format!("cannot start {}", line(&command)))?;
        let about: Option<Value> = serde_json::from_slice(&out.stdout).ok();
        let name = about.as_ref().and_then(|about| about["device"].as_str()).filter(|name| !name.is_empty());
        match name {
            Some(name) if out.status.success() => Ok(Self::new(name.to_owned())),
            _ => bail!("{} names no device: {}", line(&command), String::from_utf8_lossy(&out.stderr).trim_end()),
        }
    }

    /// The device that the `lockstep` command finds, if times on it mean something.
    pub(crate) fn to_measure(command: Option<&Path>, backend: &str) -> Result<Self> {
        let file = command.context("there is no lockstep command to name the device (a bundle of --tests-only?)")?;
        let device = Self::of_command(file, backend)?;
        if device.is_simulated() {
            bail!(
                "{} (driver {}) is no GPU, and its times say nothing of one: unset LOCKSTEP_DRIVER, see LD_LIBRARY_PATH",
                device.name,
                device.driver
            );
        }
        Ok(device)
    }

    /// Whether kernels are interpreted on the CPU.
    pub(crate) fn is_simulated(&self) -> bool {
        simulated(&self.name)
    }
}

/// As `gpu_core::testing::is_simulated` tells it.
fn simulated(name: &str) -> bool {
    name.starts_with("Simulated")
}

/// What a simulated device's driver is called.
fn library(named: Option<&OsStr>) -> String {
    named.map_or_else(|| "in the place of libcuda.so.1".to_owned(), |file| file_name(Path::new(file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tests_themselves_name_the_device() {
        let record = |proof: &str, device: &str| json!({ "proof": proof, "device": device });
        let name = |records: &[Value]| Device::of_records(records).map(|device| (device.is_simulated(), device.name));
        let (gpu, simulated) = ("NVIDIA H200", "Simulated device (sm_90)");
        let host = record("cpu_matches_oracle", "");
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[host.clone(), record("cuda_matches_cpu", "")]), None);
        assert_eq!(name(&[host, record("cuda_matches_cpu", gpu)]), Some((false, gpu.to_owned())));
        assert_eq!(name(&[record("cuda_on_forked_queue", simulated)]), Some((true, simulated.to_owned())));
        let both = name(&[record("cuda_matches_cpu", gpu), record("cuda_matches_cpu", simulated)]);
        assert_eq!(both, Some((true, format!("{simulated} and {gpu}"))));
    }

    #[test]
    fn a_simulated_device_has_no_version_of_nvidias_driver() {
        assert_eq!(library(Some(OsStr::new("target/debug/libsim_driver.so"))), "libsim_driver.so");
        assert_eq!(library(None), "in the place of libcuda.so.1");
    }

    #[cfg(unix)]
    #[test]
    fn the_command_is_asked() {
        use std::os::unix::fs::PermissionsExt;
        let file = std::env::temp_dir().join(format!("xtask-device-{}", std::process::id())).join("lockstep");
        let ask = |script: &str| {
            crate::workspace::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            Device::of_command(&file, "cuda")
        };
        let device = ask(r#"test "$5" = cuda && echo '{"device":"Simulated device (sm_90)"}'"#).unwrap();
        assert!(device.is_simulated());
        let refused = Device::to_measure(Some(&file), "cuda").unwrap_err().to_string();
        assert!(refused.contains("is no GPU"), "{refused}");
        ask(r#"echo '{"device":"NVIDIA H200"}'"#).unwrap();
        assert_eq!(Device::to_measure(Some(&file), "cuda").unwrap().name, "NVIDIA H200");
        assert!(Device::to_measure(None, "cuda").is_err());
        assert!(ask("echo no driver >&2; exit 4").unwrap_err().to_string().ends_with("names no device: no driver"));
        assert!(ask("echo '{}'").is_err() && Device::of_command(Path::new("/nonexistent"), "cuda").is_err());
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}
