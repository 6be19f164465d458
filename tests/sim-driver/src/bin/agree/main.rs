//! Runs small PTX instruction tests on two drivers (a GPU's and a stand-in that interprets PTX) and compares the
//! results bit by bit.

#![allow(clippy::format_push_string, clippy::format_collect, reason = "short texts, built once")]

mod compare;
mod corpus;
mod driver;
mod inputs;
mod report;
mod run;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::compare::{Class, compare};
use crate::corpus::Variant;
use crate::run::Run;

const USAGE: &str = "usage:
  agree run --driver FILE [--out FILE] [--filter TEXT]      results of one driver, a line a variant
  agree compare A B [OUTPUT]                                two such files
  agree both --driver FILE --against FILE [OUTPUT]          two drivers
  agree emit DIR [--filter TEXT]                            the modules as .ptx files
  agree list [--filter TEXT]                                the variants' names, groups and least targets

OUTPUT: [--json FILE] [--markdown FILE] [--filter TEXT] [--strict]
TEXT: part of a variant's name, or a group (integer, float, convert, approximate, warp, control, memory, atomic, matrix).
Exit code 1 on a difference; with --strict also where a variant ran on one side only.";

/// The command line: words, and options with their values.
struct Arguments {
    words: Vec<String>,
    options: HashMap<String, String>,
    strict: bool,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let known = ["driver", "against", "out", "filter", "json", "markdown", "from"];
        let mut parsed = Self { words: Vec::new(), options: HashMap::new(), strict: false };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some("strict") => parsed.strict = true,
                Some(name) if known.contains(&name) => {
                    let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
                    parsed.options.insert(name.to_owned(), value);
                }
                Some(name) => return Err(format!("no option --{name}\n{USAGE}")),
                None => parsed.words.push(argument),
            }
        }
        Ok(parsed)
    }

    fn option(&self, name: &str) -> Option<&Path> {
        self.options.get(name).map(Path::new)
    }

    fn required(&self, name: &str) -> Result<&Path, String> {
        self.option(name).ok_or_else(|| format!("--{name} is needed\n{USAGE}"))
    }

    fn word(&self, k: usize) -> Result<&Path, String> {
        self.words.get(k).map(Path::new).ok_or_else(|| USAGE.to_owned())
    }

    fn filter(&self) -> &str {
        self.options.get("filter").map_or("", String::as_str)
    }

    /// The variants that the filter keeps.
    fn variants(&self) -> Vec<Variant> {
        let filter = self.filter();
        corpus::all().into_iter().filter(|v| v.name.contains(filter) || v.group == filter).collect()
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[allow(clippy::print_stderr, reason = "the command's progress")]
fn collect(driver: &Path, arguments: &Arguments, variants: &[Variant]) -> Result<Run, String> {
    run::run(driver, arguments.filter(), variants, |note| eprintln!("{}: {note}", driver.display()))
}

#[allow(clippy::print_stdout, reason = "the command's result")]
fn judge(a: &Run, b: &Run, variants: &[Variant], arguments: &Arguments) -> Result<bool, String> {
    let verdicts: Vec<_> = variants.iter().map(|v| compare(v, a.result(&v.name), b.result(&v.name))).collect();
    print!("{}", report::table(a, b, &verdicts));
    if let Some(path) = arguments.option("json") {
        write(path, &report::json(a, b, &verdicts))?;
    }
    if let Some(path) = arguments.option("markdown") {
        write(path, &report::markdown(a, b, &verdicts))?;
    }
    Ok(verdicts.iter().all(|v| match &v.class {
        Class::Different { .. } => false,
        Class::NotRun { a, b } => !arguments.strict || a.is_some() == b.is_some(),
        _ => true,
    }))
}

fn emit(folder: &Path, variants: &[Variant]) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (k, variant) in variants.iter().enumerate() {
        let stem: String = variant.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let path: PathBuf = folder.join(format!("{k:04}_{stem}.ptx"));
        write(&path, &format!("// {}\n{}", variant.name, variant.ptx))?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the command's result")]
fn command() -> Result<bool, String> {
    let arguments = Arguments::parse(std::env::args().skip(2))?;
    let variants = arguments.variants();
    match std::env::args().nth(1).as_deref() {
        Some("run") => {
            let text = collect(arguments.required("driver")?, &arguments, &variants)?.text(&variants);
            match arguments.option("out") {
                Some(path) => write(path, &text)?,
                None => print!("{text}"),
            }
        }
        Some("worker") => {
            let from = arguments.options.get("from").and_then(|f| f.parse().ok()).unwrap_or(0);
            run::worker(arguments.required("driver")?, &variants, from)?;
        }
        Some("compare") => {
            let (a, b) = (Run::read(arguments.word(0)?)?, Run::read(arguments.word(1)?)?);
            return judge(&a, &b, &variants, &arguments);
        }
        Some("both") => {
            let a = collect(arguments.required("driver")?, &arguments, &variants)?;
            let b = collect(arguments.required("against")?, &arguments, &variants)?;
            return judge(&a, &b, &variants, &arguments);
        }
        Some("emit") => emit(arguments.word(0)?, &variants)?,
        Some("list") => variants.iter().for_each(|v| println!("{}\t{}\tsm_{}", v.name, v.group, v.sm)),
        _ => return Err(USAGE.to_owned()),
    }
    Ok(true)
}

#[allow(clippy::print_stderr, reason = "the command's errors")]
fn main() -> ExitCode {
    match command() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
