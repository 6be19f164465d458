//! `cargo xtask bench`: measures, stores the rows, and writes the tables.

mod jobs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bundle::{self, Manifest};
use crate::device::Device;
use crate::documents;
use crate::results::{self, Row, percentiles};
use crate::suite::Executable;
use crate::workspace::{file_name, files_below, line, on_path, read, root, shown};

// Each flag of the command is one.
#[allow(clippy::struct_excessive_bools)]
#[derive(Args)]
pub(crate) struct Options {
    /// Measures on the CPU (default, unless --gpu is given).
    #[arg(long)]
    cpu: bool,
    /// Measures on the first CUDA device.
    #[arg(long)]
    gpu: bool,
    /// Measures the programs of benches/peers in the same run.
    #[arg(long)]
    peers: bool,
    /// Runs what `cargo xtask test-gpu --bundle DIR` built.
    #[arg(long, value_name = "DIR")]
    prebuilt: Option<PathBuf>,
    /// Measures only these domains, by commas, such as nsct,style (default: all).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Leaves out the benchmarks of the crates (criterion): single kernels, and engines by size.
    #[arg(long)]
    whole_only: bool,
    /// Half a second for each benchmark of the crates instead of eight.
    #[arg(long, conflicts_with = "whole_only")]
    quick: bool,
    /// Measures nothing; writes the tables and BENCHMARKS.md from benches/results/*.json.
    #[arg(long)]
    render: bool,
    /// A checkout of github.com/michaelhodel/arc-dsl: with --cpu --peers, what grid is measured beside.
    #[arg(long, value_name = "DIR", requires = "peers")]
    arc_dsl: Option<PathBuf>,
    /// A checkout of github.com/top-quarks/ARC-solution in which `make` has run, or the program that it made: the same.
    #[arg(long, value_name = "PATH", requires = "peers")]
    icecuber: Option<PathBuf>,
    /// The Python that runs the peers (default: .venv's, else python3).
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = match &options.prebuilt {
        Some(folder) => folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?,
        None => root()?,
    };
    if options.render {
        return results::render(&root);
    }
    let manifest = if options.prebuilt.is_some() {
        Manifest::load(&root)?
    } else {
        let mut manifest = Manifest { commit: bundle::commit(&root), ..Manifest::default() };
        manifest.add_optimised(&root)?;
        manifest
    };
    let mut backends = Vec::new();
    if options.cpu || !options.gpu {
        backends.push("cpu");
    }
    if options.gpu {
        backends.push("cuda");
    }
    let stored: Vec<Row> = results::stored(&root)?.into_iter().flat_map(|(_, rows)| rows).collect();
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for backend in backends {
        // First, so that minutes of measuring are not lost where there is no device.
        let on = device(backend, manifest.command.as_deref())?;
        let mut keep = |new: Result<Vec<Row>>| -> Result<()> {
            match new {
                Ok(mut new) => {
                    label(&mut new, backend, &on, &manifest.commit);
                    rows.extend(new);
                    results::compare(&mut rows);
                    // At once: what comes later may take long or bring all down.
                    return results::store(&root, &rows);
                }
                Err(error) => {
                    eprintln!("FAILED: {error:#}");
                    faults.push(format!("{error:#}"));
                }
            }
            Ok(())
        };
        measure(&root, &manifest, backend, options, &mut keep)?;
    }
    if rows.is_empty() {
        bail!("nothing was measured\n{}", faults.join("\n"));
    }
    for text in results::slower(&stored, &rows) {
        println!("slower: {text}");
    }
    results::render(&root)?;
    if !faults.is_empty() {
        bail!("stored what was measured, but {} failed:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// The weights that peers are given: of the golden data.
fn style_weights(root: &Path) -> Option<PathBuf> {
    let data = crate::test::data_folder(root).ok()??;
    Some(data.join("style/weights/candy.safetensors")).filter(|file| file.is_file())
}

/// Whether `--only` names a domain, or the domain of a crate (`ata` of ata-wmma).
fn wants(options: &Options, name: &str) -> bool {
    options.only.is_empty() || options.only.iter().any(|only| name.split('-').next() == only.split('-').next())
}

/// Gives `keep` the rows of everything wanted, or why they are missing.
fn measure(
    root: &Path,
    manifest: &Manifest,
    backend: &str,
    options: &Options,
    keep: &mut dyn FnMut(Result<Vec<Row>>) -> Result<()>,
) -> Result<()> {
    let weights = style_weights(root);
    let data = crate::test::data_folder(root)?;
    if data.is_none() && wants(options, "grid") {
        println!("NOT MEASURED: grid needs the golden data; set LOCKSTEP_DATA to their folder");
    }
    if options.peers && backend == "cpu" && wants(options, "grid") {
        for (option, path) in [("--arc-dsl", &options.arc_dsl), ("--icecuber", &options.icecuber)] {
            if path.is_none() {
                println!("NOT MEASURED: the peer of grid that {option} names (see benches/peers/README.md)");
            }
        }
    }
    let peers = jobs::GridPeers { arc_dsl: options.arc_dsl.as_deref(), icecuber: options.icecuber.as_deref() };
    for job in jobs::all(backend, weights.as_deref(), data.as_deref(), &peers) {
        if !wants(options, job.domain()) {
            continue;
        }
        let file = manifest.command.as_ref().context("there is no lockstep command (a bundle of --tests-only?)")?;
        let mut command = Command::new(file);
        command.args(job.ours.split(' ')).args(["--json", "--backend", backend]);
        keep(rows_of(&mut command).and_then(|rows| rows.context("the command did not measure")))?;
        for (script, arguments) in job.peers.iter().filter(|_| options.peers) {
            let mut command = Command::new(python(root, options)?);
            command.arg(root.join("benches/peers").join(script)).args(arguments.split(' ')).arg("--json");
            if job.domain() == "ata" {
                command.arg("--command").arg(file);
            }
            keep(peer_rows(&mut command, script))?;
        }
    }
    if !options.whole_only {
        let wanted = |bench: &&Executable| wants(options, &bench.package);
        for bench in manifest.benches.iter().filter(wanted) {
            keep(criterion(root, bench, backend, options.quick))?;
        }
        let photo = data.as_ref().map(|data| data.join("align/raw/gopro_hero6_12mp.dng")).filter(|file| file.is_file());
        if let (Some(photo), Some(file), true) = (photo, &manifest.command, wants(options, "align")) {
            let mut command = Command::new(python(root, options)?);
            command.arg(root.join("benches/peers/align_run.py")).arg("--lockstep").arg(file).arg("--photo").arg(photo);
            command.args(["--json", "--backend", backend, "--threads", &cores().to_string()]);
            keep(peer_rows(&mut command, "align_run.py"))?;
        }
        if options.peers && wants(options, "align") {
            let script = if backend == "cpu" { "align_speed.py" } else { "align_torch.py" };
            let mut command = Command::new(python(root, options)?);
            command.arg(root.join("benches/peers").join(script));
            command.args(["--json", "--workers", &cores().to_string()]);
            keep(peer_rows(&mut command, script))?;
        }
    }
    // Last, since compiling takes minutes.
    if let (Some(file), true) = (&weights, options.peers && backend == "cuda" && wants(options, "style")) {
        for size in COMPILED {
            let mut command = Command::new(python(root, options)?);
            command.arg(root.join("benches/peers/style_torch.py")).arg("--weights").arg(file);
            command.args(["--compile", "--json"]).args(size.split(' '));
            keep(peer_rows(&mut command, "style_torch.py"))?;
        }
    }
    Ok(())
}

/// What `torch.compile` is measured on, each in a process of its own.
const COMPILED: [&str; 6] = [
    "--sizes 256x256 --batch 1",
    "--sizes 512x512 --batch 1",
    "--sizes 512x512 --batch 8",
    "--sizes 1080x1920 --batch 1",
    "--sizes 256x256 --batch 8",
    "--sizes 2160x3840 --batch 1",
];

/// Rows of another program; none where it lacks a package.
fn peer_rows(command: &mut Command, script: &str) -> Result<Vec<Row>> {
    let rows = rows_of(command)?;
    if rows.is_none() {
        println!("NOT MEASURED: {script} lacks a package (see benches/peers/README.md)");
    }
    Ok(rows.unwrap_or_default())
}

/// The Python of the option, of the workspace's environment, or of the machine.
fn python(root: &Path, options: &Options) -> Result<PathBuf> {
    let own = Some(root.join(".venv/bin/python")).filter(|file| file.is_file());
    options.python.clone().or(own).or_else(|| on_path("python3")).context("there is no python3 on the PATH")
}

/// Runs a program that prints a document of rows; `None` when it is Python that lacks a package.
fn rows_of(command: &mut Command) -> Result<Option<Vec<Row>>> {
    println!("\n$ {}", line(command));
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", line(command)))?;
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    eprint!("{errors}");
    if !out.status.success() {
        if errors.contains("ModuleNotFoundError") {
            return Ok(None);
        }
        bail!("{} ended with {}", line(command), out.status);
    }
    let rows = documents::rows(&text).with_context(|| line(command))?;
    for row in &rows {
        println!("{:<22} {} {} {:<20} {:.6} s", row.kernel, row.shape, row.element, row.variant, row.seconds_median);
    }
    Ok(Some(rows))
}

/// Runs a criterion benchmark and reads the samples that it stores.
fn criterion(root: &Path, bench: &Executable, backend: &str, quick: bool) -> Result<Vec<Row>> {
    let home = root.join("target/criterion-rows").join(&bench.target).join(backend);
    let _ = std::fs::remove_dir_all(&home);
    let mut command = Command::new(&bench.file);
    command
        .arg("--bench")
        .current_dir(&bench.folder)
        .env("CRITERION_HOME", &home)
        .env("CARGO_MANIFEST_DIR", &bench.folder);
    if quick {
        command.args(["--warm-up-time", "0.1", "--measurement-time", "0.4", "--sample-size", "20", "--noplot"]);
    }
    crate::workspace::run(command.env("LOCKSTEP_BENCH_BACKEND", backend))?;
    let mut rows = Vec::new();
    for file in files_below(&home, "json")? {
        let new = file.parent().is_some_and(|folder| file_name(folder) == "new");
        if new && file_name(&file) == "benchmark.json" {
            rows.push(criterion_row(&file).with_context(|| shown(&file))?);
        }
    }
    Ok(rows)
}

/// Group = kernel, function = `<backend>_<type>[_<variant>]`, parameter = shape.
fn criterion_row(file: &Path) -> Result<Row> {
    let json = |path: &Path| -> Result<serde_json::Value> { Ok(serde_json::from_str(&read(path)?)?) };
    let about = json(file)?;
    let sample = json(&file.with_file_name("sample.json"))?;
    let numbers = |key: &str| -> Vec<f64> {
        sample[key].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect()
    };
    let seconds: Vec<f64> = numbers("times").iter().zip(numbers("iters")).map(|(ns, n)| ns / n * 1e-9).collect();
    let samples = seconds.len() as u64;
    let [median, p10, p90] = percentiles(seconds).context("no samples")?;
    let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
    let function = text("function_id");
    let mut words = function.splitn(3, '_').map(str::to_owned);
    Ok(Row {
        kernel: text("group_id"),
        shape: text("value_str"),
        backend: words.next().unwrap_or_default(),
        element: words.next().unwrap_or_default(),
        variant: words.next().unwrap_or_default(),
        bytes: about["throughput"]["Bytes"].as_f64(),
        samples,
        seconds_median: median,
        seconds_p10: p10,
        seconds_p90: p90,
        ..Row::default()
    })
}

/// Name of the device and version of its driver.
fn device(backend: &str, command: Option<&Path>) -> Result<(String, String)> {
    match backend {
        "cpu" => Ok((processor(), String::new())),
        _ => Device::to_measure(command, backend).map(|device| (device.name, device.driver)),
    }
}

/// Adds what the programs that measure do not know.
fn label(rows: &mut [Row], backend: &str, (device, driver): &(String, String), commit: &str) {
    let date = today();
    for row in rows {
        for (field, value) in [
            (&mut row.backend, backend),
            (&mut row.device, device),
            (&mut row.driver, driver),
            (&mut row.commit, commit),
            (&mut row.date, &date),
        ] {
            if field.is_empty() {
                value.clone_into(field);
            }
        }
    }
}

/// Model and number of cores.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{}, {} cores", model.unwrap_or(std::env::consts::ARCH), cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The date in UTC, as 2026-11-20.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    date_of(seconds / 86_400)
}

/// Days since 1970-01-01 to a date, counting in eras of 400 years that begin in March.
fn date_of(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        let dates = [0, 59, 11_016, 19_782, 20_777].map(date_of);
        assert_eq!(dates, ["1970-01-01", "1970-03-01", "2000-02-29", "2024-02-29", "2026-11-20"]);
    }

    #[test]
    fn samples_of_criterion_become_a_row() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let file = folder.join("benchmark.json");
        let about = r#"{"group_id":"taps","function_id":"cpu_f32_dmaxflat7","value_str":"[1,512,512]","throughput":{"Bytes":2048}}"#;
        crate::workspace::write(&file, about).unwrap();
        let sample = r#"{"iters":[1,2,4],"times":[1000,4000,12000]}"#;
        crate::workspace::write(&folder.join("sample.json"), sample).unwrap();
        let row = criterion_row(&file).unwrap();
        assert_eq!((row.kernel.as_str(), row.backend.as_str(), row.element.as_str()), ("taps", "cpu", "f32"));
        assert_eq!((row.variant.as_str(), row.shape.as_str(), row.bytes), ("dmaxflat7", "[1,512,512]", Some(2048.0)));
        assert!((row.seconds_median - 2e-6).abs() < 1e-12 && row.samples == 3);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
