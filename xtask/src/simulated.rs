//! The tests for a CUDA device, on a driver that interprets kernels on the CPU (`tests/sim-driver`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::Report;
use crate::tee::{Tally, tee};
use crate::test::{DEVICE, modules, needs_device};
use crate::workspace::{cargo, line, packages, run as run_command};

/// What the simulated device says where it does not know an instruction.
const UNKNOWN: &str = "unsupported in kernel";
/// Random cases of the tests of whole transforms, which take thousands of times longer than on a GPU.
pub(crate) const FEW_CASES: u32 = 4;
/// Random cases of all others: what tests try unless told otherwise.
pub(crate) const CASES: u32 = 64;
/// One of so many cases is computed again, and on a forked queue: every run watches for races, so that its order of
/// blocks and warps, which is what two runs differ in, matters less than on a GPU.
const REPEATED: u32 = 4;
/// Packages whose kernels convolve whole images or multiply tiles: a case is far more work than one of others.
const TILES: [&str; 2] = ["style", "ata-wmma"];
/// Words in the names of tests on golden data: whole pictures, which would take hours.
const GOLDEN: [&str; 2] = ["golden", "every_case"];
/// A word in the names of others that take many minutes here, and a second on a GPU.
const LONG: &str = "long_run";
/// [`is_whole`] as a regular expression.
const WHOLE: &str = "(^|::)(on_cuda|large_[^:]*)::";

/// Tests that run with the same number of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Small,
    Tiles,
    Whole,
}

/// What became of the tests.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    pub(crate) good: bool,
    names: Vec<String>,
}

impl Done {
    /// Whether a test has run, and is in the tally.
    pub(crate) fn ran(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// Builds the driver; its file.
pub(crate) fn library(root: &Path) -> Result<PathBuf> {
    run_command(cargo().args(["build", "--quiet", "--package", "sim-driver", "--lib"]))?;
    let folder = std::env::current_exe()?.parent().map_or_else(|| root.join("target/debug"), Path::to_path_buf);
    let name = format!("{}sim_driver{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let file = folder.join(name);
    if file.is_file() { Ok(file) } else { bail!("cargo built no {}", file.display()) }
}

/// Variables with which tests find the simulated device instead of a GPU.
pub(crate) fn variables(library: &Path) -> Vec<(String, String)> {
    let file = library.display().to_string();
    [
        ("LOCKSTEP_DRIVER", file.as_str()),
        ("LOCKSTEP_CUFFT", &file),
        ("LOCKSTEP_REQUIRE_CUDA", "1"),
        // It has red zones of its own, and only without painted ones it sees what nobody wrote.
        ("LOCKSTEP_RED_ZONES", "0"),
        // Fewer blocks in the second and third direction than some twins have planes: kernels loop over the rest.
        ("SIM_ATTRIBUTES", "6=1024,7=1024"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Tests on golden data are told by their names alone, whatever runs them.
fn is_golden(test: &str) -> bool {
    GOLDEN.iter().any(|word| test.contains(word))
}

/// Whether an ignored test runs on the simulated device.
fn is_ours(test: &str) -> bool {
    needs_device(test) && !is_golden(test) && !test.contains(LONG)
}

/// Whole transforms, in modules `on_cuda`, and entries for large sizes.
pub(crate) fn is_whole(test: &str) -> bool {
    modules(test).any(|module| module == "on_cuda" || module.starts_with("large_"))
}

/// Random cases of those tests of a package that have the most.
pub(crate) fn most_cases(package: &str) -> u32 {
    if TILES.contains(&package) { FEW_CASES } else { CASES }
}

/// Runs the ignored tests that need a device, of a list of all that `arguments` choose.
pub(crate) fn run(
    root: &Path,
    selection: &[String],
    ignored: &[String],
    arguments: &[String],
    nextest: bool,
) -> Result<Done> {
    let library = library(root)?;
    let records = root.join("target/lockstep/simulated.jsonl");
    std::fs::create_dir_all(records.parent().unwrap_or(root)).context("target/lockstep")?;
    let _ = std::fs::remove_file(&records);
    let (mut tally, mut good, mut names) = (Tally::default(), true, Vec::new());
    for part in [Part::Small, Part::Tiles, Part::Whole] {
        // Lists do not name packages: the small ones and those of tiles are told apart by the command.
        let chosen = |name: &&String| is_ours(name) && is_whole(name) == (part == Part::Whole);
        let members: Vec<&String> = ignored.iter().filter(chosen).collect();
        if members.is_empty() {
            continue;
        }
        let mut command = command(selection, &members, part, arguments, nextest);
        command.envs(variables(&library)).env("LOCKSTEP_REPORT", &records);
        if std::env::var_os("LOCKSTEP_CASES").is_none() {
            let cases = if part == Part::Small { CASES } else { FEW_CASES };
            command.env("LOCKSTEP_CASES", cases.to_string());
            if std::env::var_os("LOCKSTEP_REPEATS").is_none() {
                command.env("LOCKSTEP_REPEATS", (cases / REPEATED).to_string());
            }
        }
        println!("$ {}", line(&command));
        let (more, succeeded) = watch(&mut command)?;
        if more != Tally::default() {
            names.extend(members.into_iter().cloned());
        }
        tally.add(more);
        good &= succeeded;
    }
    // A part of the tests proves a part of the kernels, and a skip has been told already.
    if good && arguments.is_empty() {
        good = explain(root, &records)? || tally.skipped > 0;
    }
    Ok(Done { tally, good, names })
}

/// The tests of a part as nextest chooses them, by the rules of [`is_ours`] and [`is_whole`].
fn filter(part: Part) -> String {
    let tiles = format!("({})", TILES.map(|name| format!("package({name})")).join(" or "));
    let part = match part {
        Part::Small => format!("not test(/{WHOLE}/) and not {tiles}"),
        Part::Tiles => format!("not test(/{WHOLE}/) and {tiles}"),
        Part::Whole => format!("test(/{WHOLE}/)"),
    };
    format!("test(/{DEVICE}/) and not test(/{}|{LONG}/) and {part}", GOLDEN.join("|"))
}

/// The same packages as a selection, as far as the part has tests in them.
fn packages_of(part: Part, selection: &[String]) -> Vec<String> {
    let tiles = |flag: &str| TILES.into_iter().flat_map(|name| [flag.to_owned(), name.to_owned()]).collect::<Vec<_>>();
    match part {
        Part::Small => [selection, &tiles("--exclude")].concat(),
        Part::Tiles => [tiles("--package"), ["--features", "cuda"].map(str::to_owned).to_vec()].concat(),
        Part::Whole => selection.to_vec(),
    }
}

fn command(selection: &[String], members: &[&String], part: Part, arguments: &[String], nextest: bool) -> Command {
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--profile", "simulated", "--run-ignored", "only", "--no-tests=pass"]);
        command.args(selection).args(arguments).args(["-E", &filter(part)]);
    } else {
        command.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]).args(packages_of(part, selection));
        command.args(arguments).args(["--", "--ignored", "--exact"]).args(members);
    }
    command
}

/// Runs a test command. A test that fails because an instruction is not known counts as skipped.
fn watch(command: &mut Command) -> Result<(Tally, bool)> {
    let mut tally = Tally::default();
    let (mut current, mut unknown): (Option<String>, Vec<String>) = (None, Vec::new());
    let status = tee(command, |_, text| {
        // As nextest begins a failed test's output, and as `cargo test` does.
        let of_libtest = text.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = of_libtest {
            current = Some(name.to_owned());
        } else if let Some(name) = text.trim_start().strip_prefix("FAIL [") {
            current = name.rsplit(' ').next().map(str::to_owned);
        } else if text.contains(UNKNOWN)
            && let Some(name) = current.take()
            && !unknown.contains(&name)
        {
            unknown.push(name);
        }
        let Tally { passed, failed, .. } = Tally::of_line(text).unwrap_or_default();
        tally.add(Tally { passed, failed, skipped: 0 });
        true
    })?;
    let skipped = unknown.len() as u64;
    for name in &unknown {
        println!("ignored: {name}: the simulated device does not know an instruction (see above)");
    }
    let good = status.success() || (tally.failed > 0 && tally.failed == skipped);
    tally.failed -= skipped.min(tally.failed);
    tally.skipped += skipped;
    Ok((tally, good))
}

/// Says what was proved; whether it was everything.
fn explain(root: &Path, records: &Path) -> Result<bool> {
    let mut report = Report::new("", packages(root)?, None)?;
    report.add_records(records)?;
    let unproved = report.unproved();
    if unproved.is_empty() {
        println!(
            "simulated: all {} kernels give the CPU's results on a simulated device; `cargo xtask test-gpu` proves them on a GPU",
            report.kernels()
        );
        return Ok(true);
    }
    println!("kernels without a simulated proof:\n  {}", unproved.join("\n  "));
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_instruction_is_a_skip_and_a_wrong_result_is_not() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            watch(&mut command).unwrap()
        };
        let unknown = "echo '  FAIL [ 1s] p::t a::cuda_x'; echo 'code 801 (unsupported in kernel k, PTX line 3)';\
            echo 'Summary [ 1s] 3 tests run: 2 passed, 1 failed, 0 skipped'; exit 100";
        let (tally, good) = shell(unknown);
        assert!(good && (tally.passed, tally.failed, tally.skipped) == (2, 0, 1), "{tally}");
        let libtest = "echo '---- a::cuda_x stdout ----'; echo 'code 801 (unsupported in kernel k, PTX line 3)';\
            echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out'; exit 101";
        let (tally, good) = shell(libtest);
        assert!(good && (tally.passed, tally.failed, tally.skipped) == (2, 0, 1), "{tally}");
        let (tally, good) = shell(&unknown.replace("unsupported in kernel", "wrong in kernel"));
        assert!(!good && (tally.failed, tally.skipped) == (1, 0), "{tally}");
    }

    #[test]
    fn parts_of_the_suite() {
        assert!(is_whole("on_cuda::batch_is_loop") && !is_whole("taps::cuda_matches_cpu"));
        assert!(is_whole("large_128_f32::cuda_matches_cpu") && !is_whole("large::cuda_matches_cpu"));
        assert!(!is_whole("large_weights_on_cuda") && !is_whole("rows_large_f32::cuda_matches_cpu"));
        assert_eq!((most_cases("nsct"), most_cases("style")), (CASES, FEW_CASES));
        assert!(is_ours("taps::cuda_matches_cpu") && is_ours("batches_and_layouts_on_cuda"));
        for golden in ["every_case_on_cuda", "cuda::golden_cases_match_on_cuda", "golden_pictures_in_half_on_cuda"] {
            assert!(needs_device(golden) && !is_ours(golden), "{golden}");
        }
    }

    #[test]
    fn both_runners_are_given_the_same_tests() {
        let names = ["a::cuda_b".to_owned(), "c_on_cuda".to_owned()];
        let selection = ["--workspace", "--exclude", "xtask", "--features", "cuda"].map(str::to_owned);
        let words = |part, nextest| {
            let command = command(&selection, &names.iter().collect::<Vec<_>>(), part, &["x".to_owned()], nextest);
            command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let members = "x -- --ignored --exact a::cuda_b c_on_cuda";
        let (same, test) = ("--workspace --exclude xtask --features cuda", "test --no-fail-fast --lib --bins --tests");
        assert_eq!(words(Part::Small, false), format!("{test} {same} --exclude style --exclude ata-wmma {members}"));
        let tiles = "--package style --package ata-wmma --features cuda";
        assert_eq!(words(Part::Tiles, false), format!("{test} {tiles} {members}"));
        assert_eq!(words(Part::Whole, false), format!("{test} {same} {members}"));
        let golden = r"test(/(^|::)(on_cuda|simulated)::|cuda[^:]*$/) and not test(/golden|every_case|long_run/) and";
        let packages = "(package(style) or package(ata-wmma))";
        let whole = "test(/(^|::)(on_cuda|large_[^:]*)::/)";
        for (part, rest) in [
            (Part::Small, format!("not {whole} and not {packages}")),
            (Part::Tiles, format!("not {whole} and {packages}")),
            (Part::Whole, whole.to_owned()),
        ] {
            let words = words(part, true);
            assert!(words.ends_with(&format!("{same} x -E {golden} {rest}")), "{words}");
        }
    }

    /// A test that wants data and does not say so in its name would fail on every machine without them.
    #[test]
    fn names_of_device_tests_say_whether_they_need_data() {
        let root = crate::workspace::root().unwrap();
        let mut known = 0;
        for folder in ["crates", "tests/tests"] {
            for file in crate::workspace::files_below(&root.join(folder), "rs").unwrap() {
                let text = crate::workspace::read(&file).unwrap();
                for part in text.split("#[ignore = \"needs a CUDA device").skip(1) {
                    let Some((reason, rest)) = part.split_once("\"]") else { continue };
                    let name = rest.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
                    let name = name.unwrap_or_default();
                    assert_eq!(is_golden(name), reason.contains("LOCKSTEP_DATA"), "{}: {name}", file.display());
                    known += 1;
                }
            }
        }
        assert!(known > 50, "only {known} found");
    }
}
