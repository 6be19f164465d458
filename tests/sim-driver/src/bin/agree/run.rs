//! Runs the corpus on one driver, in a child process that is started again where a variant kills it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::corpus::Variant;
use crate::driver::{Driver, POISON};
use crate::inputs::generate;

/// Without a line for this long, the child hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Children started at most: a GPU that is gone fails each of them.
const RESTARTS: usize = 100;
/// Before each line that a child has for us; a driver may print too.
const MARK: &str = "@agree\t";

/// The results of one driver.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The driver, its device and its compute capability.
    pub(crate) about: Vec<(String, String)>,
    pub(crate) results: HashMap<String, Result<Vec<u64>, String>>,
}

impl Run {
    pub(crate) fn about(&self, key: &str) -> &str {
        self.about.iter().find(|(k, _)| k == key).map_or("?", |(_, v)| v)
    }

    pub(crate) fn result(&self, name: &str) -> Result<&[u64], &str> {
        match self.results.get(name) {
            Some(result) => result.as_deref().map_err(String::as_str),
            None => Err("not in the file"),
        }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        if let Some(line) = line.strip_prefix("# ") {
            let (key, value) = line.split_once(": ").ok_or_else(|| format!("not a header: {line}"))?;
            if !self.about.iter().any(|(k, _)| k == key) {
                self.about.push((key.to_owned(), value.to_owned()));
            }
            return Ok(());
        }
        let (name, rest) = line.split_once('\t').ok_or_else(|| format!("not a result: {line}"))?;
        let result = match rest.split_once('\t') {
            Some(("fail", text)) => Err(text.to_owned()),
            Some((width, hex)) => Ok(from_hex(width.parse().map_err(|_| format!("{name}: width {width}"))?, hex)
                .ok_or_else(|| format!("{name}: not hexadecimal"))?),
            None => return Err(format!("{name}: no result")),
        };
        self.results.insert(name.to_owned(), result);
        Ok(())
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut run = Self::default();
        for line in text.lines().filter(|l| !l.is_empty()) {
            run.take(line).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(run)
    }

    /// The file's text, the variants in the order of the corpus.
    pub(crate) fn text(&self, variants: &[Variant]) -> String {
        let mut text = String::new();
        for (key, value) in &self.about {
            let _ = writeln!(text, "# {key}: {value}");
        }
        for variant in variants {
            match self.results.get(&variant.name) {
                Some(Ok(values)) => text += &line(variant, values),
                Some(Err(error)) => text += &format!("{}\tfail\t{error}", variant.name),
                None => continue,
            }
            text.push('\n');
        }
        text
    }
}

/// A result line: the width of the values and the values in hexadecimal; all 8 bytes where the kernel wrote beyond.
fn line(variant: &Variant, values: &[u64]) -> String {
    let poison = u64::from_ne_bytes([POISON; 8]);
    let clean = |v: &u64| variant.width == 8 || (v ^ poison) >> (8 * variant.width) == 0;
    let width = if values.iter().all(clean) { variant.width } else { 8 };
    let mut text = format!("{}\t{width}\t", variant.name);
    for value in values {
        let shown = if width == 8 { *value } else { value & ((1 << (8 * width)) - 1) };
        let _ = write!(text, "{shown:0w$x}", w = 2 * width);
    }
    text
}

fn from_hex(width: usize, hex: &str) -> Option<Vec<u64>> {
    let poison = u64::from_ne_bytes([POISON; 8]);
    if !matches!(width, 1..=8) || !hex.is_ascii() || !hex.len().is_multiple_of(2 * width) {
        return None;
    }
    let above = if width == 8 { 0 } else { poison >> (8 * width) << (8 * width) };
    (0..hex.len() / (2 * width))
        .map(|i| u64::from_str_radix(&hex[2 * width * i..2 * width * (i + 1)], 16).ok().map(|v| v | above))
        .collect()
}

/// The child: runs the variants from number `from` on and prints a line for each.
#[allow(clippy::print_stdout, reason = "the lines are for the parent process")]
pub(crate) fn worker(driver: &Path, variants: &[Variant], from: usize) -> Result<(), String> {
    let say = |line: &str| {
        println!("{MARK}{line}");
        let _ = std::io::stdout().flush();
    };
    let path = driver.display().to_string();
    let driver = Driver::open(driver)?;
    say(&format!("# driver: {path}"));
    say(&format!("# device: {}", driver.device));
    say(&format!("# compute capability: {}.{}", driver.sm / 10, driver.sm % 10));
    for variant in &variants[from..] {
        if variant.sm > driver.sm {
            say(&format!("{}\tfail\tneeds sm_{}", variant.name, variant.sm));
            continue;
        }
        say(&format!("> {}", variant.name));
        let inputs = generate(variant);
        match driver.run(&variant.ptx, &inputs, variant.threads, variant.block, variant.slots) {
            Ok(values) => say(&line(variant, &values)),
            Err(failure) => {
                let note = if failure.sticky { " (sticky: the context was lost)" } else { "" };
                say(&format!("{}\tfail\t{}{note}", variant.name, failure.text));
                if failure.sticky {
                    std::process::exit(3);
                }
            }
        }
    }
    say("done");
    Ok(())
}

/// Runs the variants in children of this program; `note` is told what went wrong on the way.
pub(crate) fn run(driver: &Path, filter: &str, variants: &[Variant], note: impl Fn(&str)) -> Result<Run, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut run = Run::default();
    let (mut from, mut current) = (0, None::<String>);
    for _ in 0..RESTARTS {
        let mut child = Command::new(&program)
            .args(["worker", "--filter", filter, "--from", &from.to_string(), "--driver"])
            .arg(driver)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let pipe = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
                if sender.send(text).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let mut done = false;
        let end = loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(text) => {
                    // A driver's own output may stand before the mark on the same line.
                    let Some((_, text)) = text.split_once(MARK) else { continue };
                    if text == "done" {
                        done = true;
                    } else if let Some(name) = text.strip_prefix("> ") {
                        current = Some(name.to_owned());
                    } else {
                        run.take(text)?;
                        if !text.starts_with("# ") {
                            (from, current) = (from + 1, None);
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break None,
                Err(mpsc::RecvTimeoutError::Timeout) => break Some(format!("no result in {} s", PATIENCE.as_secs())),
            }
        };
        if end.is_some() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        let _ = reader.join();
        if done || from >= variants.len() {
            return Ok(run);
        }
        match current.take() {
            Some(name) => {
                let reason = end.unwrap_or_else(|| format!("the process ended: {status}"));
                note(&format!("{name}: {reason}; going on after it"));
                run.results.insert(name, Err(reason));
                from += 1;
            }
            None if status.code() == Some(3) => {
                note(&format!("{}: the context was lost; going on in a new process", variants[from - 1].name));
            }
            None => return Err(format!("{}: the driver does not start ({status})", driver.display())),
        }
    }
    note(&format!("gave up after {RESTARTS} processes; {} variants are left", variants.len() - from));
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::all;

    #[test]
    fn a_file_reads_as_it_was_written() {
        let variants: Vec<Variant> = all().into_iter().take(3).collect();
        let mut run = Run { about: vec![("device".into(), "none: at all".into())], results: HashMap::new() };
        let poison = u64::from_ne_bytes([POISON; 8]);
        run.results.insert(variants[0].name.clone(), Ok(vec![poison & !0xffff | 0x1234, poison & !0xffff]));
        run.results.insert(variants[1].name.clone(), Ok(vec![7, poison]));
        run.results.insert(variants[2].name.clone(), Err("cuModuleLoadData: CUDA_ERROR_INVALID_PTX".into()));
        let text = run.text(&variants);
        let mut read = Run::default();
        text.lines().for_each(|l| read.take(l).unwrap());
        assert_eq!((&read.about, &read.results), (&run.about, &run.results));
        assert!(text.contains("\t2\t1234"), "{text}");
        assert!(from_hex(4, "0102").is_none() && from_hex(0, "").is_none());
    }
}
