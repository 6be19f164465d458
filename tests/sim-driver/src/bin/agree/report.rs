//! The comparison of two runs as a table, as Markdown and as JSON.

use std::fmt::Write as _;

use crate::compare::{Class, Verdict};
use crate::run::Run;

const CLASSES: [&str; 5] = ["equal", "within bound", "different", "different, unspecified", "not run"];

fn count(verdicts: &[Verdict], group: Option<&str>, class: &str) -> usize {
    verdicts.iter().filter(|v| v.class.word() == class && group.is_none_or(|g| v.group == g)).count()
}

fn groups(verdicts: &[Verdict]) -> Vec<&'static str> {
    let mut groups = Vec::new();
    for verdict in verdicts {
        if !groups.contains(&verdict.group) {
            groups.push(verdict.group);
        }
    }
    groups
}

/// One line about a verdict that is not plainly equal.
fn detail(verdict: &Verdict) -> Option<String> {
    let name = &verdict.name;
    match &verdict.class {
        Class::Equal => None,
        Class::Within => {
            let free = match verdict.unbounded {
                0 => String::new(),
                n => format!("; {n} differ where no bound is stated"),
            };
            let fraction = verdict.worst_fraction;
            Some(format!("{name}: worst {} ulp, {fraction:.2} of the bound{free}", verdict.worst_ulps))
        }
        Class::Different { count, first } | Class::Open { count, first } => {
            Some(format!("{name}: {count} differ; {first}"))
        }
        Class::NotRun { a, b } => {
            let side = |s: &Option<String>| s.as_deref().unwrap_or("ran").to_owned();
            Some(format!("{name}: {} | {}", side(a), side(b)))
        }
    }
}

/// The lists below the table: a title and lines, empty ones left out.
fn lists(verdicts: &[Verdict]) -> Vec<(String, Vec<String>)> {
    let of = |class: &str| verdicts.iter().filter(|v| v.class.word() == class).filter_map(detail).collect::<Vec<_>>();
    let nan = verdicts.iter().filter(|v| v.nan_payloads > 0);
    let nan: Vec<String> = nan.map(|v| format!("{}: {} results", v.name, v.nan_payloads)).collect();
    let all = [
        ("Different", of("different")),
        ("Different where the ISA leaves the result open", of("different, unspecified")),
        ("Within the bound of an approximate instruction", of("within bound")),
        ("Both NaN, with different bits", nan),
        ("Not run on both (first | second)", of("not run")),
    ];
    let filled = all.into_iter().filter(|(_, lines)| !lines.is_empty());
    filled.map(|(title, lines)| (format!("{title} ({})", lines.len()), lines)).collect()
}

fn sides(a: &Run, b: &Run) -> [String; 2] {
    [a, b].map(|r| {
        format!("{} ({}, compute capability {})", r.about("device"), r.about("driver"), r.about("compute capability"))
    })
}

pub(crate) fn table(a: &Run, b: &Run, verdicts: &[Verdict]) -> String {
    let [first, second] = sides(a, b);
    let mut text = format!("first:  {first}\nsecond: {second}\n\n{:<14}", "group");
    for class in CLASSES {
        let _ = write!(text, "{class:>24}");
    }
    text.push('\n');
    for group in groups(verdicts).into_iter().map(Some).chain([None]) {
        let _ = write!(text, "{:<14}", group.unwrap_or("all"));
        for class in CLASSES {
            let _ = write!(text, "{:>24}", count(verdicts, group, class));
        }
        text.push('\n');
    }
    for (title, lines) in lists(verdicts) {
        let _ = writeln!(text, "\n{title}:\n  {}", lines.join("\n  "));
    }
    text
}

pub(crate) fn markdown(a: &Run, b: &Run, verdicts: &[Verdict]) -> String {
    let [first, second] = sides(a, b);
    let mut text = format!("First: {first}. Second: {second}.\n\n| group | {} |\n", CLASSES.join(" | "));
    text += &format!("|---|{}\n", "--:|".repeat(CLASSES.len()));
    for group in groups(verdicts).into_iter().map(Some).chain([None]) {
        let counts = CLASSES.map(|class| count(verdicts, group, class).to_string());
        let _ = writeln!(text, "| {} | {} |", group.unwrap_or("**all**"), counts.join(" | "));
    }
    for (title, lines) in lists(verdicts) {
        let _ = writeln!(text, "\n### {title}\n");
        for line in lines {
            let (name, rest) = line.split_once(": ").unwrap_or((&line, ""));
            let _ = writeln!(text, "- `{name}`: {rest}");
        }
    }
    text
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn json(a: &Run, b: &Run, verdicts: &[Verdict]) -> String {
    let side = |r: &Run| {
        let fields: Vec<String> = r.about.iter().map(|(k, v)| format!("{}: {}", quoted(k), quoted(v))).collect();
        format!("{{{}}}", fields.join(", "))
    };
    let counts = CLASSES.map(|class| format!("{}: {}", quoted(class), count(verdicts, None, class)));
    let mut text = format!("{{\n  \"first\": {},\n  \"second\": {},\n", side(a), side(b));
    let _ = write!(text, "  \"counts\": {{{}}},\n  \"variants\": [\n", counts.join(", "));
    for (k, v) in verdicts.iter().enumerate() {
        let (name, group, class) = (quoted(&v.name), quoted(v.group), quoted(v.class.word()));
        let mut fields = format!("\"name\": {name}, \"group\": {group}, \"class\": {class}");
        match &v.class {
            Class::Within => {
                let _ = write!(fields, ", \"worst_ulps\": {}, \"of_bound\": {:.4}", v.worst_ulps, v.worst_fraction);
            }
            Class::Different { count, first } | Class::Open { count, first } => {
                let _ = write!(fields, ", \"count\": {count}, \"first\": {}", quoted(first));
            }
            Class::NotRun { a, b } => {
                for (side, error) in [("first", a), ("second", b)] {
                    if let Some(error) = error {
                        let _ = write!(fields, ", \"error_{side}\": {}", quoted(error));
                    }
                }
            }
            Class::Equal => {}
        }
        if v.nan_payloads > 0 {
            let _ = write!(fields, ", \"nan_payloads\": {}", v.nan_payloads);
        }
        if v.unbounded > 0 {
            let _ = write!(fields, ", \"unbounded\": {}", v.unbounded);
        }
        let comma = if k + 1 == verdicts.len() { "" } else { "," };
        let _ = writeln!(text, "    {{{fields}}}{comma}");
    }
    text + "  ]\n}\n"
}
