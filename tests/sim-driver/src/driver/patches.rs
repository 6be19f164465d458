//! Lines of PTX that `SIM_PATCH` replaces.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::state::lock;

/// One replaced line of a module that has a certain entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    entry: String,
    line: usize,
    old: String,
    new: String,
}

/// What became of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Applied,
    /// What stands in its line.
    Differs(String),
}

/// All patches, and what became of those whose entry was loaded.
#[derive(Default)]
pub(crate) struct Patches {
    all: Vec<Patch>,
    fates: Mutex<BTreeMap<usize, Fate>>,
}

impl Patches {
    /// Reads the text of a patch file.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let parts: Vec<&str> = line.split('\t').collect();
            let &[entry, number, old, new] = &parts[..] else {
                return Err(format!(
                    "SIM_PATCH line {}: {} columns between tabs, expected ENTRY, LINE, OLD and NEW (inside of OLD and \
                     NEW a space stands for a tab)",
                    i + 1,
                    parts.len()
                ));
            };
            let number = number.trim().parse().ok().filter(|&number| number > 0);
            let number = number.ok_or_else(|| format!("SIM_PATCH line {}: LINE is a number from 1 on", i + 1))?;
            all.push(Patch { entry: entry.trim().to_owned(), line: number, old: old.to_owned(), new: new.to_owned() });
        }
        Ok(Self { all, fates: Mutex::default() })
    }

    /// A module's text with the patches that belong to it.
    pub(crate) fn apply(&self, text: &str) -> String {
        if self.all.is_empty() {
            return text.to_owned();
        }
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (i, patch) in self.all.iter().enumerate() {
            let has_entry = lines.iter().any(|line| {
                line.contains(".entry")
                    && line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').any(|w| w == patch.entry)
            });
            if !has_entry {
                continue;
            }
            let mut fates = lock(&self.fates);
            match lines.get_mut(patch.line - 1) {
                // Compilers write tabs, which here part columns.
                Some(line) if line.split_whitespace().eq(patch.old.split_whitespace()) => {
                    line.clone_from(&patch.new);
                    fates.insert(i, Fate::Applied);
                }
                line => {
                    let there = line.map_or_else(|| "nothing".to_owned(), |line| format!("`{}`", line.trim()));
                    fates.entry(i).or_insert(Fate::Differs(there));
                }
            }
        }
        lines.join("\n")
    }

    /// Says which patches have changed nothing.
    pub(crate) fn unused(&self) -> Vec<String> {
        let fates = lock(&self.fates);
        let tell = |(i, patch): (usize, &Patch)| {
            let why = match fates.get(&i) {
                Some(Fate::Applied) => return None,
                Some(Fate::Differs(there)) => format!("line {} is {there}, not `{}`", patch.line, patch.old.trim()),
                None => "no module with this entry was loaded".to_owned(),
            };
            Some(format!("SIM_PATCH has changed nothing in {}: {why}", patch.entry))
        };
        self.all.iter().enumerate().filter_map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ".visible .entry k(\n)\n{\n\tadd.s32 \t%r1, %r2, 1;\n}";

    fn apply(patch: &str) -> (String, Vec<String>) {
        let patches = Patches::read(patch).unwrap();
        (patches.apply(TEXT), patches.unused())
    }

    #[test]
    fn a_patch_changes_its_line_only() {
        let (text, unused) = apply("k\t4\tadd.s32 %r1, %r2, 1;\tx\n");
        assert!(text.contains("{\nx\n}") && unused.is_empty(), "{text} {unused:?}");
    }

    #[test]
    fn a_patch_that_changes_nothing_is_told() {
        for (patch, why) in [
            ("other\t4\tadd.s32 %r1, %r2, 1;\tx", "no module"),
            ("k\t4\tsub.s32 %r1;\tx", "line 4 is `add.s32 \t%r1, %r2, 1;`, not `sub.s32 %r1;`"),
            ("k\t9\tsub;\tx", "line 9 is nothing"),
        ] {
            let (text, unused) = apply(patch);
            assert_eq!(text, TEXT);
            assert!(unused.len() == 1 && unused[0].contains(why), "{unused:?}");
        }
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        for (text, why) in [
            ("k\t4\tadd.s32 \t%r1;\tx", "5 columns"),
            ("k 4 a b", "1 columns"),
            ("k\t0\ta\tb", "from 1 on"),
            ("k\tfour\ta\tb", "from 1 on"),
        ] {
            let told = Patches::read(text).err().unwrap();
            assert!(told.contains(why) && told.contains("line 1"), "{told}");
        }
    }
}
