//! What the environment sets.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{LazyLock, Mutex};

use super::functions;
use super::patches::Patches;
use super::state::{STATE, lock};
use crate::launch::Checks;

/// Settings, read once when the first function of the driver is called.
pub(crate) struct Settings {
    /// `SIM_DEVICES`
    pub(crate) devices: usize,
    /// `SIM_ARCH`, as `9.0`
    pub(crate) arch: (u32, u32),
    /// `SIM_MEMORY`: bytes of each device.
    pub(crate) memory: u64,
    /// `SIM_CHECKS`: `all`, `none`, or a list of `race`, `unwritten`.
    pub(crate) checks: Checks,
    /// `SIM_FUEL`: instructions of one launch.
    pub(crate) fuel: u64,
    /// `SIM_REPORT`: file to which a line of JSON is added for each fault.
    pub(crate) report: Option<String>,
    /// `SIM_PATCH`: file of replaced PTX lines.
    pub(crate) patches: Patches,
    /// `SIM_ERROR`: `cuMemAlloc_v2:3:2` lets the third call of that function fail with code 2.
    errors: Vec<(String, u64, u32)>,
    /// `SIM_FAIL_ALLOCATION`: number of the allocation that finds no memory.
    pub(crate) fail_allocation: Option<u64>,
    /// `SIM_LOSE_DEVICE`: number of the launch that loses its device.
    pub(crate) lose_device: Option<u64>,
    /// `SIM_ATTRIBUTES`: `115=0,…`, values of device attributes by their number.
    pub(crate) attributes: HashMap<i32, i32>,
    /// `SIM_VERBOSE`
    pub(crate) verbose: bool,
    /// Why the environment cannot be used; all else is as if it were empty then.
    pub(crate) wrong: Option<String>,
    /// Calls so far of the functions that `SIM_ERROR` names.
    calls: Mutex<HashMap<String, u64>>,
}

/// The settings of this process.
pub(crate) static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    Settings::read(&|name| std::env::var(name).ok()).unwrap_or_else(|why| {
        let none = Settings::read(&|_| None);
        let settings = none.unwrap_or_else(|_| unreachable!("no setting is wrong when none is given"));
        Settings { wrong: Some(why), ..settings }
    })
});

impl Settings {
    pub(crate) fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, default: u64| match get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse::<u64>().map_err(|_| format!("{name}={text} is not a number")),
        };
        let positive = |name: &str, default: u64| match number(name, default)? {
            0 => Err(format!("{name}=0: expected a number from 1 on")),
            value => Ok(value),
        };
        let optional = |name: &str| get(name).map(|_| positive(name, 1)).transpose();
        let arch = get("SIM_ARCH").unwrap_or_else(|| "9.0".into());
        let parsed = arch.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let arch = parsed.ok_or_else(|| format!("SIM_ARCH={arch}: expected a version such as 8.6"))?;
        let patches = match get("SIM_PATCH") {
            None => Patches::default(),
            Some(file) => {
                Patches::read(&std::fs::read_to_string(&file).map_err(|e| format!("SIM_PATCH={file}: {e}"))?)?
            }
        };
        let mut errors = Vec::new();
        for text in get("SIM_ERROR").iter().flat_map(|all| all.split(',')) {
            let mut parts = text.split(':');
            let one =
                (|| Some((parts.next()?.trim().to_owned(), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))(
                );
            let one: Option<(String, u64, u32)> = one.filter(|&(_, call, code)| call > 0 && code > 0);
            let one = one.ok_or_else(|| format!("SIM_ERROR={text}: expected FUNCTION:CALL:CODE, both from 1 on"))?;
            functions::check(&one.0).map_err(|why| format!("SIM_ERROR={text}: {why}"))?;
            errors.push(one);
        }
        let mut attributes = HashMap::new();
        for text in get("SIM_ATTRIBUTES").iter().flat_map(|all| all.split(',')) {
            let one = text.split_once('=').and_then(|(k, v)| Some((k.trim().parse().ok()?, v.trim().parse().ok()?)));
            let (key, value) = one.ok_or_else(|| format!("SIM_ATTRIBUTES={text}: expected NUMBER=VALUE"))?;
            attributes.insert(key, value);
        }
        Ok(Self {
            devices: match number("SIM_DEVICES", 1)? {
                many if many > MOST_DEVICES => return Err(format!("SIM_DEVICES={many}: at most {MOST_DEVICES}")),
                devices => devices as usize,
            },
            arch,
            memory: positive("SIM_MEMORY", 8 << 30)?,
            checks: checks(&get("SIM_CHECKS").unwrap_or_else(|| "all".into()))?,
            fuel: positive("SIM_FUEL", 1_000_000_000)?,
            report: get("SIM_REPORT"),
            patches,
            errors,
            fail_allocation: optional("SIM_FAIL_ALLOCATION")?,
            lose_device: optional("SIM_LOSE_DEVICE")?,
            attributes,
            verbose: get("SIM_VERBOSE").is_some_and(|value| value != "0"),
            wrong: None,
            calls: Mutex::default(),
        })
    }

    /// Counts a call; the code that it must fail with.
    pub(crate) fn planned(&self, function: &str) -> Option<u32> {
        if self.errors.iter().all(|(name, ..)| name != function) {
            return None;
        }
        let mut calls = lock(&self.calls);
        let count = calls.entry(function.to_owned()).or_default();
        *count += 1;
        self.errors.iter().find(|(name, call, _)| name == function && call == count).map(|(.., code)| *code)
    }

    /// Planned faults that have not come: a test that waits for them would pass for nothing.
    pub(crate) fn unreached(&self) -> Vec<String> {
        let allocations = lock(&STATE.memory).allocations();
        self.short_of(allocations, STATE.launches.load(Relaxed))
    }

    fn short_of(&self, allocations: u64, launches: u64) -> Vec<String> {
        let mut all = self.patches.unused();
        if let Some(wanted) = self.fail_allocation.filter(|&wanted| wanted > allocations) {
            all.push(format!("SIM_FAIL_ALLOCATION={wanted} was not reached: there were {allocations} allocations"));
        }
        if let Some(wanted) = self.lose_device.filter(|&wanted| wanted > launches) {
            all.push(format!("SIM_LOSE_DEVICE={wanted} was not reached: there were {launches} launches"));
        }
        let calls = lock(&self.calls);
        for (name, wanted, code) in &self.errors {
            let made = calls.get(name).copied().unwrap_or(0);
            if made < *wanted {
                all.push(format!("SIM_ERROR={name}:{wanted}:{code} was not reached: there were {made} calls"));
            }
        }
        all
    }
}

/// Handles of devices' contexts leave room for as many.
const MOST_DEVICES: u64 = 64;

fn checks(text: &str) -> Result<Checks, String> {
    let mut checks = Checks { race: false, unwritten: false };
    for word in text.split(',') {
        match word.trim() {
            "all" => checks = Checks { race: true, unwritten: true },
            "none" | "" => {}
            "race" => checks.race = true,
            "unwritten" => checks.unwritten = true,
            other => return Err(format!("SIM_CHECKS={other}: there are all, none, race, unwritten")),
        }
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_refused() {
        let set =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(Settings::read(&set("SIM_ARCH", "7.5")).ok().unwrap().arch, (7, 5));
        assert_eq!(
            Settings::read(&set("SIM_CHECKS", "race")).ok().unwrap().checks,
            Checks { race: true, unwritten: false }
        );
        for (name, value) in [
            ("SIM_ARCH", "new"),
            ("SIM_DEVICES", "two"),
            ("SIM_CHECKS", "speed"),
            ("SIM_ERROR", "cuInit"),
            ("SIM_PATCH", "/none"),
            ("SIM_MEMORY", "8G"),
            ("SIM_FUEL", "0"),
            ("SIM_DEVICES", "65"),
            ("SIM_FAIL_ALLOCATION", "0"),
            ("SIM_LOSE_DEVICE", "0"),
            ("SIM_ERROR", "cuFoo:1:2"),
            ("SIM_ERROR", "cuMemAlloc_v2:0:2"),
            ("SIM_ERROR", "cuMemAlloc_v2:1:0"),
            ("SIM_ERROR", "cuGetErrorName:1:2"),
        ] {
            let why = Settings::read(&set(name, value)).err().unwrap();
            assert!(why.contains(name) && why.contains(value), "{why}");
        }
    }

    #[test]
    fn the_name_that_was_meant_is_told() {
        let get = |asked: &str| (asked == "SIM_ERROR").then(|| "cuMemcpyDtoH:1:700".to_owned());
        let why = Settings::read(&get).err().unwrap();
        assert!(why.contains("cuMemcpyDtoH_v2"), "{why}");
    }

    #[test]
    fn faults_that_never_come_are_told() {
        let get = |asked: &str| match asked {
            "SIM_FAIL_ALLOCATION" => Some("9".to_owned()),
            "SIM_LOSE_DEVICE" => Some("4".to_owned()),
            "SIM_ERROR" => Some("cuMemAlloc_v2:2:2,cuMemFree_v2:1:1".to_owned()),
            _ => None,
        };
        let settings = Settings::read(&get).ok().unwrap();
        assert_eq!(settings.short_of(9, 4).len(), 2);
        assert_eq!((settings.planned("cuMemAlloc_v2"), settings.planned("cuMemAlloc_v2")), (None, Some(2)));
        assert_eq!(settings.planned("cuMemFree_v2"), Some(1));
        assert!(settings.short_of(9, 4).is_empty());
        let all = settings.short_of(8, 3);
        assert!(
            all.len() == 2 && all[0].contains("were 8 allocations") && all[1].contains("were 3 launches"),
            "{all:?}"
        );
    }
}
