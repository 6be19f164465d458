//! Test executables: building them, and running one test by test, so that nothing is lost when one brings it down.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::tee::{Stream, tee};
use crate::test::{needs_device, needs_simulator};
use crate::workspace::{cargo, line, output};

/// One executable that cargo built. Paths are absolute here and relative to the bundle in a manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Executable {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) file: PathBuf,
    /// The folder it must run in: that of its package.
    pub(crate) folder: PathBuf,
}

impl Executable {
    /// `nsct::twins`.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}", self.package, self.target)
    }
}

/// What `cargo <arguments>` builds of one kind: `test` for test executables, else the kind of target (`bench`, `bin`).
pub(crate) fn build(arguments: &[&str], packages: &[String], kind: &str) -> Result<Vec<Executable>> {
    let mut command = cargo();
    command.args(arguments).args(packages.iter().flat_map(|name| ["--package", name]));
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    println!("$ {}", line(&command));
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", line(&command)))?;
    if !out.status.success() {
        bail!("{} ended with {}", line(&command), out.status);
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut all = Vec::new();
    for message in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let Some(file) = message["executable"].as_str() else { continue };
        let right_kind = if kind == "test" {
            message["profile"]["test"] == true
        } else {
            message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
        };
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let folder = manifest.parent().unwrap_or(Path::new(".")).to_path_buf();
        if right_kind {
            let target = message["target"]["name"].as_str().unwrap_or_default().to_owned();
            all.push(Executable { package: package_name(manifest)?, target, file: file.into(), folder });
        }
    }
    all.sort_by_key(Executable::name);
    Ok(all)
}

fn package_name(manifest: &Path) -> Result<String> {
    let table: toml::Table = toml::from_str(&crate::workspace::read(manifest)?).context("Cargo.toml")?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    Ok(name.with_context(|| format!("{} names no package", manifest.display()))?.to_owned())
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The names of an executable's tests.
pub(crate) struct Tests {
    /// Need a CUDA device.
    pub(crate) device: Vec<String>,
    /// Ignored for another reason: the golden data.
    pub(crate) data: Vec<String>,
    /// All others.
    pub(crate) plain: Vec<String>,
}

/// Lists the tests of an executable whose full name (`nsct::twins::taps_exact::cuda_matches_cpu`) contains `filter`.
pub(crate) fn list(executable: &Executable, filter: Option<&str>) -> Result<Tests> {
    let names = |arguments: &[&str]| -> Result<Vec<String>> {
        let out = output(Command::new(&executable.file).current_dir(&executable.folder).args(arguments))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let names = text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned);
        let full = |name: &String| format!("{}::{name}", executable.name());
        Ok(names.filter(|name| filter.is_none_or(|part| full(name).contains(part))).collect())
    };
    let ignored: BTreeSet<String> = names(&["--list", "--ignored"])?.into_iter().collect();
    let mut tests = Tests { device: Vec::new(), data: Vec::new(), plain: Vec::new() };
    for name in names(&["--list"])? {
        match ignored.contains(&name) {
            // `cargo xtask test` runs them.
            true if needs_simulator(&name) => {}
            true if needs_device(&name) => tests.device.push(name),
            true => tests.data.push(name),
            false => tests.plain.push(name),
        }
    }
    Ok(tests)
}

/// How to run tests.
pub(crate) struct Setup<'a> {
    /// Variables that the tests read.
    pub(crate) variables: &'a [(String, String)],
    /// Words before the executable, such as a sanitizer's.
    pub(crate) before: &'a [String],
    /// One test at a time.
    pub(crate) alone: bool,
    /// Keeps what the tests print, for a place where several processes run.
    pub(crate) quiet: bool,
}

/// Runs these tests of an executable, ignored or not; one outcome for each of them, whatever happens, and what they
/// printed where that is kept.
///
/// When the program dies, the test that was running has failed, and the rest run in a new process.
pub(crate) fn run(
    executable: &Executable,
    names: &[String],
    setup: &Setup<'_>,
) -> Result<(Vec<(String, Outcome)>, String)> {
    let mut left: Vec<String> = names.to_vec();
    let mut outcomes = Vec::new();
    let mut printed = String::new();
    let mut alone = setup.alone;
    while !left.is_empty() {
        let round = one_process(executable, &left, setup, alone, &mut printed)?;
        if round.finished.is_empty() && round.running.is_none() && alone {
            bail!("{} ran none of {} tests: {}", executable.name(), left.len(), round.end);
        }
        let done: BTreeSet<&String> = round.finished.iter().map(|(name, _)| name).chain(&round.running).collect();
        left.retain(|name| !done.contains(name));
        if let Some(name) = &round.running {
            let text = format!("test {name} brought the program down ({}); the rest run in a new one", round.end);
            if setup.quiet {
                printed += &(text + "\n");
            } else {
                println!("{text}");
            }
            outcomes.push((name.clone(), Outcome::Failed(format!("the program died: {}", round.end))));
        }
        if round.good != round.finished.iter().all(|(_, o)| *o == Outcome::Passed) && round.running.is_none() {
            // A sanitizer's finding, or an exit code that contradicts the lines printed.
            outcomes.push((format!("{} as a whole", executable.target), Outcome::Failed(round.end.clone())));
        }
        outcomes.extend(round.finished);
        // Tests in parallel do not tell which of them it was: the rest go one by one.
        alone = true;
    }
    Ok((outcomes, printed))
}

struct Round {
    finished: Vec<(String, Outcome)>,
    /// The test that was running when the program died.
    running: Option<String>,
    good: bool,
    end: String,
}

fn one_process(
    executable: &Executable,
    names: &[String],
    setup: &Setup<'_>,
    alone: bool,
    printed: &mut String,
) -> Result<Round> {
    let mut command = match setup.before.split_first() {
        None => Command::new(&executable.file),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&executable.file);
            command
        }
    };
    command.current_dir(&executable.folder).env("CARGO_MANIFEST_DIR", &executable.folder);
    command.envs(setup.variables.iter().map(|(key, value)| (key, value)));
    command.args(["--include-ignored", "--exact"]).args(names);
    if alone {
        command.arg("--test-threads=1");
    }
    let mut finished = Vec::new();
    let mut running = None;
    let mut summary = false;
    let status = tee(&mut command, |stream, text| {
        if stream == Stream::Out {
            match test_line(text) {
                Some((name, Some(outcome))) => {
                    finished.push((name, outcome));
                    running = None;
                }
                Some((name, None)) => running = Some(name),
                // With one thread the result may come on a line of its own, after what the test printed.
                None => {
                    if let Some(outcome) = word(text)
                        && let Some(name) = running.take()
                    {
                        finished.push((name, outcome));
                    }
                }
            }
        }
        summary |= text.contains("SUMMARY:");
        if setup.quiet {
            printed.push_str(text);
            printed.push('\n');
        }
        !setup.quiet
    })?;
    let mut end = status.to_string();
    let mut good = status.success();
    if !setup.before.is_empty() && !summary {
        good = false;
        end = format!("{} printed no summary ({status})", setup.before[0]);
    }
    Ok(Round { finished, running, good, end })
}

/// Reads `test NAME ... ok`; the outcome is missing where the line ends early.
fn test_line(text: &str) -> Option<(String, Option<Outcome>)> {
    let (name, rest) = text.strip_prefix("test ")?.split_once(" ... ").or_else(|| {
        let name = text.strip_prefix("test ")?.strip_suffix(" ...")?;
        Some((name, ""))
    })?;
    // `test name - should panic ... ok`
    let name = name.split(" - ").next().unwrap_or(name);
    Some((name.to_owned(), word(rest)))
}

fn word(text: &str) -> Option<Outcome> {
    match text.trim() {
        "ok" => Some(Outcome::Passed),
        "FAILED" => Some(Outcome::Failed("see its output above".into())),
        text if text.starts_with("ignored") => Some(Outcome::Skipped(text.trim_start_matches("ignored, ").to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        assert_eq!(test_line("test a::b ... ok"), Some(("a::b".into(), Some(Outcome::Passed))));
        assert_eq!(test_line("test a::b - should panic ... ok"), Some(("a::b".into(), Some(Outcome::Passed))));
        assert_eq!(test_line("test a::b ... "), Some(("a::b".into(), None)));
        assert_eq!(
            test_line("test a ... ignored, needs x"),
            Some(("a".into(), Some(Outcome::Skipped("needs x".into()))))
        );
        assert_eq!(test_line("test result: ok. 1 passed"), None);
    }

    /// A stand-in for a test executable whose second test kills it.
    #[cfg(unix)]
    #[test]
    fn a_test_that_kills_the_program_fails_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("xtask-suite-{}", std::process::id()));
        let file = folder.join("fake");
        let script = "#!/bin/sh\nfor name in \"$@\"; do case $name in\n--*) ;;\n\
            two) printf 'test two ... '; kill -9 $$;;\n*) echo \"test $name ... ok\";;\nesac; done\n";
        crate::workspace::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let executable = Executable { package: "p".into(), target: "t".into(), file, folder: folder.clone() };
        let names = ["one", "two", "three"].map(str::to_owned);
        let setup = Setup { variables: &[], before: &[], alone: true, quiet: true };
        let (outcomes, printed) = run(&executable, &names, &setup).unwrap();
        let failed: Vec<&str> =
            outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Failed(_))).map(|(n, _)| n.as_str()).collect();
        assert_eq!((outcomes.len(), failed), (3, vec!["two"]));
        assert!(printed.contains("test three ... ok"), "{printed}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
