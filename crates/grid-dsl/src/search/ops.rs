//! Operations from a grid to a grid: each as lines of a program, and as an [`Action`] on [`Small`] grids that does the same.

use super::action::{Action, Pick, Span};
use super::grid::Small;
use crate::isometry::Isometry;

/// An operation.
pub struct Operation {
    name: String,
    lines: Vec<String>,
    action: Action,
}

impl Operation {
    /// A short name: `crop 3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its lines, with `{in}` and `{out}` for the grids and `{a}`, `{b}`, `{c}` for what is between.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Writes the image of a grid; nothing where the lines fail, or give something else than a grid that fits.
    pub fn apply(&self, from: &Small, to: &mut Small) -> Option<()> {
        self.action.apply(from, to)
    }

    pub(crate) fn action(&self) -> Action {
        self.action
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

fn op(name: impl Into<String>, lines: &[&str], action: Action) -> Operation {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Operation { name: name.into(), lines, action }
}

/// More than a hundred operations, in the order in which searches try them.
pub fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    turns_and_parts(&mut all);
    sizes(&mut all);
    joined(&mut all);
    objects(&mut all);
    colours(&mut all);
    cuts(&mut all);
    all
}

fn turns_and_parts(all: &mut Vec<Operation>) {
    for isometry in Isometry::ALL.into_iter().skip(1) {
        let line = format!("{{out}} = {}({{in}})", isometry.name());
        all.push(op(isometry.name(), &[&line], Action::Turn(isometry)));
    }
    let parts = [
        ("tophalf", Span::FirstHalf, Span::All),
        ("bottomhalf", Span::LastHalf, Span::All),
        ("lefthalf", Span::All, Span::FirstHalf),
        ("righthalf", Span::All, Span::LastHalf),
        ("trim", Span::Inner, Span::Inner),
    ];
    for (name, rows, columns) in parts {
        all.push(op(name, &[&format!("{{out}} = {name}({{in}})")], Action::Part(rows, columns)));
    }
    all.push(op("compress", &["{out} = compress({in})"], Action::Compress));
    all.push(op("dedupe rows", &["{out} = dedupe({in})"], Action::Dedupe { rows: true }));
    let columns = ["{a} = dmirror({in})", "{b} = dedupe({a})", "{out} = dmirror({b})"];
    all.push(op("dedupe columns", &columns, Action::Dedupe { rows: false }));
}

fn sizes(all: &mut Vec<Operation>) {
    for n in 2..=5 {
        all.push(op(format!("upscale {n}"), &[&format!("{{out}} = upscale({{in}}, {n})")], Action::Scale(n, n)));
    }
    for n in 2..=3 {
        all.push(op(format!("downscale {n}"), &[&format!("{{out}} = downscale({{in}}, {n})")], Action::Thin(n)));
        all.push(op(format!("hupscale {n}"), &[&format!("{{out}} = hupscale({{in}}, {n})")], Action::Scale(1, n)));
        all.push(op(format!("vupscale {n}"), &[&format!("{{out}} = vupscale({{in}}, {n})")], Action::Scale(n, 1)));
    }
}

/// The grid beside or above a mirrored copy of itself.
fn joined(all: &mut Vec<Operation>) {
    for (join, place, beside) in [("hconcat", "beside", true), ("vconcat", "below", false)] {
        let (second, third) = (format!("{{a}} = {join}({{in}}, {{in}})"), format!("{{out}} = {join}({{a}}, {{in}})"));
        let repeat = |n: u8| if beside { Action::Repeat(1, n) } else { Action::Repeat(n, 1) };
        all.push(op(format!("2 {place}"), &[&second.replace("{a}", "{out}")], repeat(2)));
        all.push(op(format!("3 {place}"), &[&second, &third], repeat(3)));
    }
    for (mirror, vmirror) in [("vmirror", true), ("hmirror", false)] {
        let line = format!("{{a}} = {mirror}({{in}})");
        for beside in [true, false] {
            let join = if beside { "hconcat" } else { "vconcat" };
            for mirror_first in [false, true] {
                let args = if mirror_first { "{a}, {in}" } else { "{in}, {a}" };
                let name = if mirror_first { format!("{mirror} {join} it") } else { format!("it {join} {mirror}") };
                let action = Action::Join { beside, vmirror, mirror_first };
                all.push(op(name, &[&line, &format!("{{out}} = {join}({args})")], action));
            }
        }
    }
}

fn objects(all: &mut Vec<Operation>) {
    for (univalued, diagonal) in [(true, true), (true, false), (false, true), (false, false)] {
        let flag = |on: bool| if on { "T" } else { "F" };
        let line = format!("{{a}} = objects({{in}}, {}, {}, T)", flag(univalued), flag(diagonal));
        for (pick, largest) in [("argmax", true), ("argmin", false)] {
            let lines = [line.as_str(), &format!("{{b}} = {pick}({{a}}, size)"), "{out} = subgrid({b}, {in})"];
            let name = format!("{pick} object {}{}", flag(univalued), flag(diagonal));
            all.push(op(name, &lines, Action::Object { univalued, diagonal, largest }));
        }
        if univalued {
            let lines = [line.as_str(), "{b} = sizefilter({a}, ONE)", "{c} = merge({b})", "{out} = cover({in}, {c})"];
            let name = format!("without single cells {}", flag(diagonal));
            all.push(op(name, &lines, Action::WithoutSingles { diagonal }));
        }
    }
    let lines = ["{a} = fgpartition({in})", "{b} = merge({a})", "{out} = subgrid({b}, {in})"];
    all.push(op("foreground", &lines, Action::Foreground));
}

fn colours(all: &mut Vec<Operation>) {
    for c in 1..=9 {
        let line = format!("{{out}} = replace({{in}}, {c}, 0)");
        all.push(op(format!("{c} to 0"), &[&line], Action::Replace(Pick::Colour(c), 0)));
        let line = format!("{{out}} = replace({{in}}, 0, {c})");
        all.push(op(format!("0 to {c}"), &[&line], Action::Replace(Pick::Colour(0), c)));
        let of = format!("{{a}} = ofcolor({{in}}, {c})");
        let lines =
            [&of, "{b} = shape({in})", "{c} = canvas(ZERO, {b})", &format!("{{out}} = fill({{c}}, {c}, {{a}})")];
        all.push(op(format!("keep {c}"), &lines, Action::Keep(c)));
        let lines = [&of, "{b} = backdrop({a})", &format!("{{out}} = fill({{in}}, {c}, {{b}})")];
        all.push(op(format!("box of {c}"), &lines, Action::FillBox(c)));
    }
    for c in 0..=9 {
        let lines = [&format!("{{a}} = ofcolor({{in}}, {c})"), "{out} = subgrid({a}, {in})"];
        all.push(op(format!("crop {c}"), &lines, Action::CropTo(Pick::Colour(c))));
    }
    let lines = ["{a} = mostcolor({in})", "{out} = replace({in}, {a}, ZERO)"];
    all.push(op("most to 0", &lines, Action::Replace(Pick::Most, 0)));
    let lines = ["{a} = leastcolor({in})", "{out} = replace({in}, {a}, ZERO)"];
    all.push(op("least to 0", &lines, Action::Replace(Pick::Least, 0)));
    let lines = ["{a} = mostcolor({in})", "{b} = leastcolor({in})", "{out} = switch({in}, {a}, {b})"];
    all.push(op("switch most and least", &lines, Action::SwitchMostAndLeast));
    let lines = ["{a} = leastcolor({in})", "{b} = ofcolor({in}, {a})", "{out} = subgrid({b}, {in})"];
    all.push(op("crop least", &lines, Action::CropTo(Pick::Least)));
    let lines = ["{a} = mostcolor({in})", "{out} = canvas({a}, UNITY)"];
    all.push(op("most as one cell", &lines, Action::OneCell(Pick::Most)));
    let lines = ["{a} = leastcolor({in})", "{out} = canvas({a}, UNITY)"];
    all.push(op("least as one cell", &lines, Action::OneCell(Pick::Least)));
    let lines = ["{a} = mostcolor({in})", "{b} = shape({in})", "{out} = canvas({a}, {b})"];
    all.push(op("most everywhere", &lines, Action::Everywhere(Pick::Most)));
}

fn cuts(all: &mut Vec<Operation>) {
    for (split, columns) in [("hsplit", true), ("vsplit", false)] {
        for n in 2..=4 {
            for (pick, part) in [("first", Span::FirstOf(n)), ("last", Span::LastOf(n))] {
                let lines = [&format!("{{a}} = {split}({{in}}, {n})"), &*format!("{{out}} = {pick}({{a}})")];
                let action = if columns { Action::Part(Span::All, part) } else { Action::Part(part, Span::All) };
                all.push(op(format!("{pick} of {split} {n}"), &lines, action));
            }
        }
    }
    // Starts and sizes, and the rows and columns that they are of a grid of at most thirty.
    let cuts = [
        ("corner 1", "ORIGIN, UNITY", Span::First(1), Span::First(1)),
        ("corner 2", "ORIGIN, TWO_BY_TWO", Span::First(2), Span::First(2)),
        ("corner 3", "ORIGIN, THREE_BY_THREE", Span::First(3), Span::First(3)),
        ("first row", "ORIGIN, (1, 30)", Span::First(1), Span::All),
        ("first column", "ORIGIN, (30, 1)", Span::All, Span::First(1)),
        ("last row", "(-1, 0), (31, 30)", Span::Last, Span::All),
        ("last column", "(0, -1), (30, 31)", Span::All, Span::Last),
        ("without first row", "(1, 0), (30, 30)", Span::WithoutFirst, Span::All),
        ("without first column", "(0, 1), (30, 30)", Span::All, Span::WithoutFirst),
        ("without last row", "ORIGIN, (-1, 30)", Span::WithoutLast, Span::All),
        ("without last column", "ORIGIN, (30, -1)", Span::All, Span::WithoutLast),
    ];
    for (name, args, rows, columns) in cuts {
        all.push(op(name, &[&format!("{{out}} = crop({{in}}, {args})")], Action::Part(rows, columns)));
    }
    let lines = ["{a} = lefthalf({in})", "{b} = righthalf({in})", "{out} = cellwise({a}, {b}, ZERO)"];
    all.push(op("left and right", &lines, Action::Agree { beside: true }));
    let lines = ["{a} = tophalf({in})", "{b} = bottomhalf({in})", "{out} = cellwise({a}, {b}, ZERO)"];
    all.push(op("top and bottom", &lines, Action::Agree { beside: false }));
}
