use std::path::PathBuf;

use clap::Args;
use grid_dsl::Value;
use grid_dsl::profile::{Cost, Profile};
use serde_json::json;

use super::drawing;
use super::sources::text;
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, as_text};
use crate::report::{Cell, Page};
use crate::session::{Session, bytes, seconds};

/// Options of `grid report`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid run solvers.py --tasks arc/training.jsonl --merged --profile profile.json
  lockstep grid report profile.json -o report.html

The page holds everything it shows, grids included, and loads nothing.")]
pub(crate) struct Report {
    /// What `run --merged --profile` wrote
    #[arg(value_name = "PROFILE.json")]
    profile: PathBuf,
    /// The page to write
    #[arg(short, long, value_name = "FILE.html", default_value = "report.html")]
    output: PathBuf,
}

impl Report {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        files::spare(&self.output, [&self.profile], "-o")?;
        let profile: Profile = serde_json::from_str(&text(&self.profile)?).map_err(|e| {
            Failure::input(&self.profile, format!("it is no profile: {e}"))
                .help("`lockstep grid run --merged --profile FILE` writes one")
        })?;
        if profile.schema != 1 {
            let why = format!("it has schema {}, and 1 is what can be read", profile.schema);
            return Err(Failure::input(&self.profile, why).help("write it again with this version"));
        }
        let html = page(&profile).html(&format!("Written by lockstep {}.", env!("CARGO_PKG_VERSION")));
        files::write(&self.output, html.as_bytes())?;
        session.note(format!("{} written", self.output.display()));
        session.document(&json!({ "output": as_text(&self.output), "bytes": html.len() }))?;
        Ok(Exit::Ok)
    }
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / if whole > 0.0 { whole } else { 1.0 })
}

/// A share as a bar with its time.
fn bar(part: f64, most: f64) -> Cell {
    Cell::Bar(part / if most > 0.0 { most } else { 1.0 }, seconds(part))
}

fn page(profile: &Profile) -> Page {
    let title = format!("{} programs on {} inputs", profile.programs, profile.samples);
    let lead = format!(
        "One graph of {} calls in {} levels, run by `{}` with {} threads.",
        profile.nodes,
        profile.levels.iter().filter(|level| level.nodes > 0).count(),
        profile.backend,
        profile.threads
    );
    let mut page = Page::new(&title, &lead.replace('`', ""));
    page.markup(drawing::STYLE);
    let calls: u64 = profile.levels.iter().map(|level| level.calls).sum();
    let looked = profile.cache.hits + profile.cache.misses;
    let rate = |count: u64| {
        let rate = count as f64 / profile.seconds.max(1e-9);
        if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    };
    page.markup(&drawing::tiles(&[
        (seconds(profile.seconds), "from beginning to end"),
        (rate(profile.samples), "inputs a second"),
        (rate(profile.programs * profile.samples), "programs on an input a second"),
        (format!("{calls}"), "calls"),
        (percent(profile.cache.hits as f64, looked as f64), "of what was looked up was there"),
        (percent(profile.device_share, 1.0), "of calls on devices"),
        (profile.host_peak_bytes.map_or("unknown".to_owned(), |n| bytes(n as usize)), "most memory of the process"),
    ]));
    pictures(&mut page, profile);
    speed(&mut page, profile);
    opcodes(&mut page, profile);
    patterns(&mut page, profile);
    levels(&mut page, profile);
    devices(&mut page, profile);
    page.section("Settings");
    let knobs = profile.knobs.iter().map(|(name, value)| vec![name.as_str().into(), value.as_str().into()]);
    page.table(&["setting", "value"], knobs.collect());
    page
}

fn pictures(page: &mut Page, profile: &Profile) {
    let drawn = |text: &str| text.parse::<Value>().ok().and_then(|value| drawing::grid(&value));
    let mut html = String::new();
    for picture in &profile.pictures {
        let mut parts = Vec::new();
        parts.extend(drawn(&picture.input).map(|svg| ("input", svg)));
        match drawn(&picture.output) {
            Some(svg) => parts.push(("output", svg)),
            None => parts.push(("output", format!("<code>{}</code>", crate::report::escape(&picture.output)))),
        }
        let wrong = picture.expected.as_ref().filter(|expected| **expected != picture.output);
        parts.extend(wrong.and_then(|expected| drawn(expected)).map(|svg| ("expected", svg)));
        let verdict = match (&picture.expected, wrong) {
            (None, _) => "",
            (_, None) => ", right",
            _ => ", wrong",
        };
        html += &drawing::figure(&format!("{}: {}{verdict}", picture.program, picture.sample), &parts);
    }
    if !html.is_empty() {
        page.section("Grids");
        page.markup(&format!("<div class=\"drawings\">{html}</div>\n"));
    }
}

fn speed(page: &mut Page, profile: &Profile) {
    let steps = profile.progress.windows(2).filter(|pair| pair[1].0 > pair[0].0);
    let rate =
        |pair: &[(f64, u64)]| (pair[1].0, (pair[1].1 - pair[0].1.min(pair[1].1)) as f64 / (pair[1].0 - pair[0].0));
    let points: Vec<(f64, f64)> = steps.map(rate).collect();
    if points.len() > 1 {
        page.section("Inputs a second, over time");
        page.markup(&drawing::curve(&points, "seconds", "inputs a second"));
    }
}

fn opcodes(page: &mut Page, profile: &Profile) {
    page.section("Time by function");
    page.text("Calls in the graph, time of all threads together; calls inside of maps count for the map. What patterns computed is below.");
    if !profile.devices.is_empty() {
        page.text("On a device a function's time is its part of each level's, by the number of calls; a level's is from where it is handed over to where its results are known.");
    }
    let mut all: Vec<(&String, &Cost)> = profile.opcodes.iter().collect();
    all.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
    let most = all.first().map_or(0.0, |(_, cost)| cost.seconds);
    let row = |(name, cost): (&String, &Cost)| {
        let each = cost.seconds / cost.calls.max(1) as f64;
        vec![
            name.as_str().into(),
            bar(cost.seconds, most),
            percent(cost.seconds, profile.busy_seconds).into(),
            cost.calls.to_string().into(),
            seconds(each).into(),
            percent(cost.errors as f64, cost.calls as f64).into(),
        ]
    };
    let rest = all.len().saturating_sub(SHOWN);
    page.table(
        &["function", "time", "share", "calls", "a call", "errors"],
        all.into_iter().take(SHOWN).map(row).collect(),
    );
    if rest > 0 {
        page.text(&format!("{rest} more functions took less."));
    }
}

/// Functions that are listed.
const SHOWN: usize = 40;

fn patterns(page: &mut Page, profile: &Profile) {
    page.section("Time by pattern");
    if profile.patterns.is_empty() {
        page.text(if profile.backend == "cuda" {
            "On GPUs steps compute functions, not patterns: run on the CPU to see what the patterns take."
        } else {
            "No pattern was found, or all are switched off."
        });
        return;
    }
    let most = profile.patterns.values().map(|cost| cost.seconds).fold(0.0, f64::max);
    let rows = profile.patterns.iter().map(|(name, cost)| {
        let words = grid_dsl::Pattern::by_name(name).map_or("", grid_dsl::Pattern::words);
        vec![
            name.as_str().into(),
            bar(cost.seconds, most),
            cost.found.to_string().into(),
            cost.nodes.to_string().into(),
            cost.ran.to_string().into(),
            cost.declined.to_string().into(),
            words.into(),
        ]
    });
    page.table(&["pattern", "time", "in the graph", "nodes", "ran", "one by one", "computed as"], rows.collect());
}

fn levels(page: &mut Page, profile: &Profile) {
    page.section("Time by level");
    let most = profile.levels.iter().map(|level| level.seconds).fold(0.0, f64::max);
    let counted = profile.levels.iter().enumerate().filter(|(_, level)| level.nodes > 0 || level.seconds > 0.0);
    let row = |(at, level): (usize, &grid_dsl::profile::LevelCost)| {
        vec![
            at.to_string().into(),
            bar(level.seconds, most),
            level.nodes.to_string().into(),
            level.calls.to_string().into(),
        ]
    };
    page.table(&["level", "time", "nodes", "calls"], counted.map(row).collect());
}

fn devices(page: &mut Page, profile: &Profile) {
    page.section("Devices, spills and cache");
    if profile.devices.is_empty() {
        page.text("Everything ran on the processor.");
    } else {
        let row = |device: &grid_dsl::profile::Device| {
            vec![
                device.name.as_str().into(),
                Cell::Bar(device.seconds / profile.seconds.max(1e-9), percent(device.seconds, profile.seconds)),
                device.calls.to_string().into(),
                bytes(device.peak_bytes as usize).into(),
                percent(device.peak_bytes as f64, device.memory_bytes as f64).into(),
            ]
        };
        page.table(&["device", "busy", "calls", "most memory", "of all"], profile.devices.iter().map(row).collect());
    }
    if !profile.spills.is_empty() {
        let rows = profile.spills.iter().map(|(why, n)| vec![why.as_str().into(), n.to_string().into()]);
        page.table(&["left to the processor because", "calls"], rows.collect());
    }
    page.text(&format!(
        "Cache: {} hits, {} misses, {} held at most.",
        profile.cache.hits,
        profile.cache.misses,
        bytes(profile.cache.bytes as usize)
    ));
}
