//! What the environment sets.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

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
    pub(crate) patches: Vec<Patch>,
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
}

/// One replaced line of a module that has a certain entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) entry: String,
    pub(crate) line: usize,
    pub(crate) old: String,
    pub(crate) new: String,
}

/// The settings of this process.
pub(crate) static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    Settings::read(&|name| std::env::var(name).ok()).unwrap_or_else(|why| {
        // A driver has no other way to speak before a program asks it something.
        crate::driver::say(&format!("{why}; settings of the environment are ignored"));
        Settings::read(&|_| None).unwrap_or_else(|_| unreachable!("no setting is wrong when none is given"))
    })
});

impl Settings {
    pub(crate) fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, default: u64| match get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse::<u64>().map_err(|_| format!("{name}={text} is not a number")),
        };
        let optional = |name: &str| get(name).map(|_| number(name, 0)).transpose();
        let arch = get("SIM_ARCH").unwrap_or_else(|| "9.0".into());
        let parsed = arch.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let arch = parsed.ok_or_else(|| format!("SIM_ARCH={arch}: expected a version such as 8.6"))?;
        let patches = match get("SIM_PATCH") {
            None => Vec::new(),
            Some(file) => patches(&std::fs::read_to_string(&file).map_err(|e| format!("SIM_PATCH={file}: {e}"))?)?,
        };
        let mut errors = Vec::new();
        for text in get("SIM_ERROR").iter().flat_map(|all| all.split(',')) {
            let mut parts = text.split(':');
            let one =
                (|| Some((parts.next()?.trim().to_owned(), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))(
                );
            errors.push(one.ok_or_else(|| format!("SIM_ERROR={text}: expected FUNCTION:CALL:CODE"))?);
        }
        let mut attributes = HashMap::new();
        for text in get("SIM_ATTRIBUTES").iter().flat_map(|all| all.split(',')) {
            let one = text.split_once('=').and_then(|(k, v)| Some((k.trim().parse().ok()?, v.trim().parse().ok()?)));
            let (key, value) = one.ok_or_else(|| format!("SIM_ATTRIBUTES={text}: expected NUMBER=VALUE"))?;
            attributes.insert(key, value);
        }
        Ok(Self {
            devices: number("SIM_DEVICES", 1)? as usize,
            arch,
            memory: number("SIM_MEMORY", 8 << 30)?,
            checks: checks(&get("SIM_CHECKS").unwrap_or_else(|| "all".into()))?,
            fuel: number("SIM_FUEL", 20_000_000_000)?,
            report: get("SIM_REPORT"),
            patches,
            errors,
            fail_allocation: optional("SIM_FAIL_ALLOCATION")?,
            lose_device: optional("SIM_LOSE_DEVICE")?,
            attributes,
            verbose: get("SIM_VERBOSE").is_some_and(|value| value != "0"),
        })
    }

    /// Counts a call; the code that it must fail with.
    pub(crate) fn planned(&self, function: &str) -> Option<u32> {
        static CALLS: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
        if self.errors.iter().all(|(name, ..)| name != function) {
            return None;
        }
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.get_or_insert_default().entry(function.to_owned()).or_default();
        *count += 1;
        self.errors.iter().find(|(name, call, _)| name == function && call == count).map(|(.., code)| *code)
    }
}

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

fn patches(text: &str) -> Result<Vec<Patch>, String> {
    let mut all = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let mut parts = line.split('\t');
        let one = (|| {
            let (entry, number) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
            Some(Patch { entry, line: number, old: parts.next()?.into(), new: parts.next()?.into() })
        })();
        all.push(
            one.ok_or_else(|| format!("SIM_PATCH line {}: expected ENTRY, LINE, OLD and NEW between tabs", i + 1))?,
        );
    }
    Ok(all)
}

/// A module's text with the patches that belong to it.
pub(crate) fn patched(text: &str, patches: &[Patch]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for patch in patches {
        let has_entry = lines.iter().any(|line| {
            line.contains(".entry")
                && line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').any(|w| w == patch.entry)
        });
        if let Some(line) = lines.get_mut(patch.line.wrapping_sub(1)).filter(|_| has_entry)
            // A tab inside of the line became a space, since tabs part the columns of the file.
            && line.split_whitespace().eq(patch.old.split_whitespace())
        {
            line.clone_from(&patch.new);
        }
    }
    lines.join("\n")
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
        ] {
            let why = Settings::read(&set(name, value)).err().unwrap();
            assert!(why.contains(name) && why.contains(value), "{why}");
        }
    }

    #[test]
    fn a_patch_changes_its_line_only() {
        let text = ".visible .entry k(\n)\n{\n\tadd.s32 %r1, %r2, 1;\n}";
        let patch = |entry: &str, old: &str| Patch { entry: entry.into(), line: 4, old: old.into(), new: "x".into() };
        assert!(patched(text, &[patch("k", "add.s32 %r1, %r2, 1;")]).contains("{\nx\n}"));
        assert_eq!(patched(text, &[patch("other", "add.s32 %r1, %r2, 1;")]), text);
        assert_eq!(patched(text, &[patch("k", "sub")]), text);
    }
}
